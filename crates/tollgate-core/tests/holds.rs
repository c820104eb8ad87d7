//! How many holds may be open, how they are listed, and how many are released at once.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Desk, Local, OPENING, Reply, at, release, reserve, settle, tenant_quota, with};
use tollgate_core::api::{Request, parse_command};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Ledger, Rejection};

fn of_user(user: &str, id: &str, ttl_seconds: u32) -> Value {
    with(reserve(id, "0"), json!({ "userId": user, "ttlSeconds": ttl_seconds }))
}

/// Zero dollars pass every quota, so one user could open all the holds that a tenant may have.
#[test]
fn a_user_has_a_tenth_of_the_tenants_holds_and_is_told_when_one_ends() {
    let mut local = Local::open(json!({ "tenant": "acme", "plan": { "quotas": {} } }));
    let mut ask = |time: &str, command: Value| local.ask(at(time), &command);
    let noon = OPENING;
    // The first one opened is the last one to end.
    assert!((0..1_000).all(|n| ask(noon, of_user("u-7", &format!("r-{n}"), 2_000 - n)).status == 201));
    let refused = ask(noon, of_user("u-7", "one-more", 60));
    refused.expect(
        429,
        json!({ "code": "too_many_holds", "holds": { "scope": "user", "scopeId": "u-7", "open": 1_000, "limit": 1_000,
            "freesAt": "2026-11-24T12:16:41.000Z", "retryAfterSeconds": 1_001 } }),
    );
    assert_eq!(refused.header("Retry-After"), Some("1001"));
    assert!(refused.body["detail"].as_str().unwrap().starts_with("user `u-7` has 1000 open holds, and may have 1000"));
    ask(noon, json!({ "op": "explain", "userId": "u-7", "resource": "llm", "estimate": { "usd": "0" } }))
        .expect(429, json!({ "code": "too_many_holds", "holds": { "scope": "user" } }));
    // Nobody else is concerned, and what is known is answered again.
    ask(noon, of_user("u-8", "other", 60)).expect(201, json!({}));
    ask(noon, reserve("nobody", "0")).expect(201, json!({}));
    ask(noon, of_user("u-7", "r-0", 2_000)).expect(201, json!({ "replayed": true }));
    ask(noon, json!({ "op": "record", "id": "spent", "userId": "u-7", "resource": "llm", "usd": "1" }))
        .expect(201, json!({}));
    // The hold that would end first is prolonged: the next one makes room.
    ask(noon, json!({ "op": "extend", "id": "r-999", "extend": { "id": "x", "ttlSeconds": 5_000 } }))
        .expect(200, json!({}));
    ask(noon, of_user("u-7", "one-more", 60))
        .expect(429, json!({ "holds": { "open": 1_000, "retryAfterSeconds": 1_002 } }));
    // A millisecond before there is none, and then there is.
    ask("2026-11-24T12:16:41.999Z", of_user("u-7", "one-more", 60))
        .expect(429, json!({ "holds": { "retryAfterSeconds": 1 } }));
    ask("2026-11-24T12:16:42Z", of_user("u-7", "one-more", 60)).expect(201, json!({}));
    ask("2026-11-24T12:16:42Z", of_user("u-7", "two-more", 60)).expect(429, json!({}));
    // Each way out makes room.
    for end in [settle("r-0", "0"), release("r-1")] {
        ask("2026-11-24T12:16:42Z", end.clone()).expect(200, json!({}));
        ask("2026-11-24T12:16:42Z", of_user("u-7", &format!("after {}", end["id"]).replace(['"', ' '], "-"), 60))
            .expect(201, json!({}));
        ask("2026-11-24T12:16:42Z", of_user("u-7", "two-more", 60)).expect(429, json!({}));
    }
}

/// A user who had more before there was a cap keeps them, and waits for as many to end as are too many.
#[test]
fn holds_from_before_the_cap_go_on_and_a_restart_counts_them() {
    let mut ledger = Ledger::new();
    for seq in 1..=1_003_u64 {
        let entry = json!({ "seq": seq, "at": "2026-11-24T12:00:00.000Z", "type": "reserved", "id": format!("r-{seq}"),
            "call": { "resource": "llm", "userId": "u-7" }, "terms": { "estimate": { "usd": "0" }, "ttlSeconds": 600, "onExpiry": "release" },
            "held": { "usd": "0", "requests": 1 }, "input": { "usd": "0", "requests": 1 },
            "expiresAt": format!("2026-11-24T12:{:02}:{:02}.000Z", 10 + seq / 60, seq % 60), "countedOn": [] });
        let entry = if seq > 1 {
            entry
        } else {
            json!({ "seq": 1, "at": "2026-11-24T12:00:00.000Z", "type": "plan_applied", "tenant": "acme", "plan": "p", "policyVersion": 0,
                "unknownModel": "deny", "withoutQuota": "allow" })
        };
        ledger.evolve(&serde_json::from_value(entry).unwrap());
    }
    let restarted = Ledger::restore(ledger.snapshot());
    for ledger in [ledger, restarted] {
        let request = parse_command(&of_user("u-7", "one-more", 60).to_string()).unwrap();
        let Request::Command(command) = request else { panic!() };
        let catalog = Catalog::builtin().unwrap();
        let refused = ledger.decide(catalog, at(OPENING), &command).unwrap_err();
        let Rejection::TooManyHolds(holds) = refused else { panic!("{refused:?}") };
        assert_eq!((holds.open, holds.most), (1_002, 1_000));
        // Three must end: those of entries 2, 3 and 4.
        assert_eq!(holds.frees_at, at("2026-11-24T12:10:04Z"));
    }
}

#[test]
fn open_holds_are_listed_by_page_and_released_in_bulk() {
    let mut local =
        Local::open(json!({ "tenant": "acme", "plan": { "quotas": { "q": tenant_quota("llm", "10000", "day") } } }));
    let mut ask = |command: Value| local.ask(at(OPENING), &command);
    for n in 0..700 {
        let touchpoint = if n % 2 == 0 { "chat" } else { "agent" };
        let user = if n < 600 { "u-7" } else { "u-8" };
        let hold = with(
            reserve(&format!("r-{n:03}"), "1"),
            json!({ "userId": user, "ttlSeconds": 1_000 + n / 10, "attribution": { "touchpoint": touchpoint } }),
        );
        ask(hold).expect(201, json!({}));
    }
    // In the order of deadlines and ids, a hundred at a time, whatever happens in between.
    let first = ask(json!({ "op": "listReservations" }));
    let listed = |reply: &Reply| -> Vec<String> {
        reply.body["reservations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hold| hold["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&first), (0..100).map(|n| format!("r-{n:03}")).collect::<Vec<_>>());
    first.expect(200, json!({ "next": format!("{}.r-099", at("2026-11-24T12:16:49Z").millis()) }));
    ask(release("r-099")).expect(200, json!({}));
    ask(release("r-100")).expect(200, json!({}));
    let second = ask(json!({ "op": "listReservations", "state": "held", "after": first.body["next"], "limit": 3 }));
    assert_eq!(listed(&second), ["r-101", "r-102", "r-103"]);
    let by_user = ask(json!({ "op": "listReservations", "userId": "u-8", "touchpoint": "agent", "limit": 1000 }));
    assert_eq!(listed(&by_user).len(), 50);
    by_user.expect(200, json!({ "next": null }));
    assert_eq!(by_user.body["reservations"][0], ask(json!({ "op": "getReservation", "id": "r-601" })).body);
    // A page that ends exactly with the last one says so.
    ask(json!({ "op": "listReservations", "userId": "u-8", "touchpoint": "agent", "limit": 50 }))
        .expect(200, json!({ "next": null }));

    ask(json!({ "op": "meter", "id": "r-000", "meter": { "id": "m", "usd": "0.25" } })).expect(200, json!({}));
    let before = ask(json!({ "op": "entries", "limit": 1000 })).body["entries"].as_array().unwrap().len();
    ask(json!({ "op": "releaseReservations", "userId": "u-7" }))
        .expect(200, json!({ "released": 500, "remaining": 98 }));
    ask(json!({ "op": "releaseReservations", "userId": "u-7" })).expect(200, json!({ "released": 98, "remaining": 0 }));
    ask(json!({ "op": "releaseReservations", "userId": "u-7" })).expect(200, json!({ "released": 0, "remaining": 0 }));
    let entries = ask(json!({ "op": "entries", "after": before, "limit": 1000 }));
    let entries = entries.body["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 598, "nothing is written where nothing is left");
    assert!(entries.iter().all(|entry| entry["type"] == "released"));
    ask(json!({ "op": "getReservation", "id": "r-000" }))
        .expect(200, json!({ "state": "released", "charge": { "usd": "0.25" } }));
    ask(json!({ "op": "listQuotas" })).expect(200, json!({ "quotas": [{ "spent": "0.25", "held": "100" }] }));

    ask(json!({ "op": "releaseReservations", "ids": ["r-600", "r-000", "unknown"] }))
        .expect(200, json!({ "released": 1, "remaining": 0 }));
    ask(json!({ "op": "releaseReservations", "touchpoint": "chat", "openedBefore": OPENING }))
        .expect(200, json!({ "released": 0 }));
    ask(json!({ "op": "releaseReservations", "touchpoint": "chat", "openedBefore": "2026-11-24T12:00:00.001Z" }))
        .expect(200, json!({ "released": 49 }));
    ask(json!({ "op": "releaseReservations", "all": true })).expect(200, json!({ "released": 50, "remaining": 0 }));
    ask(json!({ "op": "listReservations" })).expect(200, json!({ "reservations": [], "next": null }));
}

#[test]
fn a_release_in_bulk_says_what_it_means() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "1")).expect(201, json!({}));
    let ids: Vec<String> = (0..501).map(|n| n.to_string()).collect();
    for (wrong, field) in [
        (json!({}), json!("all")),
        (json!({ "all": false }), json!("all")),
        (json!({ "all": true, "userId": "u-7" }), json!("all")),
        (json!({ "ids": [] }), json!("ids")),
        (json!({ "ids": ids }), json!("ids")),
        (json!({ "ids": ["a b"] }), json!("ids[0]")),
        (json!({ "userId": "" }), json!("userId")),
        (json!({ "user": "u-7" }), json!("user")),
        (json!({ "openedBefore": "yesterday" }), json!("openedBefore")),
    ] {
        desk.ask(with(json!({ "op": "releaseReservations" }), wrong.clone()))
            .expect(400, json!({ "code": "invalid_request", "field": field }));
    }
    for (wrong, field) in [
        (json!({ "state": "settled" }), "state"),
        (json!({ "limit": 0 }), "limit"),
        (json!({ "limit": 1001 }), "limit"),
        (json!({ "after": "r-1" }), "after"),
        (json!({ "after": "12.a b" }), "after"),
        (json!({ "userId": "a/b" }), "userId"),
        (json!({ "ids": ["a"] }), "ids"),
    ] {
        desk.ask(with(json!({ "op": "listReservations" }), wrong.clone()))
            .expect(400, json!({ "code": "invalid_request", "field": field }));
    }
    assert_eq!(desk.spent_and_held("month"), "0/1");
}

/// A page is read into memory by whoever asks, and crosses a connection.
#[test]
fn a_page_of_holds_is_a_mebibyte_at_most() {
    let mut local = Local::open(json!({ "tenant": "acme", "plan": { "quotas": {} } }));
    // Two bytes each in UTF-8.
    let tags: serde_json::Map<String, Value> = (0..4).map(|n| (format!("t{n}"), json!("é".repeat(120)))).collect();
    let name = "é".repeat(60);
    for n in 0..1_000 {
        let attribution = json!({ "touchpoint": name, "conversationId": name, "tags": tags });
        let hold = with(reserve(&format!("{n:04}{}", "x".repeat(120)), "1"), json!({ "attribution": attribution }));
        local.ask(at(OPENING), &hold).expect(201, json!({}));
    }
    let (mut found, mut pages, mut after) = (0, 0, Value::Null);
    loop {
        let page = local
            .ask(at(OPENING), &with(json!({ "op": "listReservations", "limit": 1_000 }), json!({ "after": after })));
        let length = page.body.to_string().len();
        assert!(length <= 1 << 20, "{length}");
        found += page.body["reservations"].as_array().unwrap().len();
        pages += 1;
        after = page.body["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(found, 1_000);
    assert!(pages > 1, "they are too long for one page");
}
