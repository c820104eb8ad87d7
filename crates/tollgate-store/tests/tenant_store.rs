//! The stored ledger: what survives, what is written, and that nothing is half done.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use std::sync::Arc;

use common::{Flaky, at, body, catalog, onboard, request, usd_quota};
use serde_json::json;
use tollgate_core::api::{Code, RepairRequest, parse_rerate};
use tollgate_core::catalog::OverridesDocument;
use tollgate_core::ledger::{Entry, Ledger, Snapshot};
use tollgate_store::{Cell, OverridesStore, Param, PolicyStore, Sql, StoreError, TenantStore};

const NOW: &str = "2026-11-24T12:00:00Z";
const LATER: &str = "2026-11-24T12:00:10Z";

fn opened() -> (Flaky, TenantStore<Flaky>) {
    let database = Flaky::new();
    let mut store = database.open();
    let plan = json!({ "quotas": { "month": usd_quota("10", "month") } });
    let answers = store.execute(catalog(), at(NOW), &[onboard(&plan)]).unwrap();
    assert_eq!(answers[0].status, 200, "{}", answers[0].body);
    (database, store)
}

fn run(store: &mut TenantStore<Flaky>, now: &str, commands: &[serde_json::Value]) -> Vec<(u16, serde_json::Value)> {
    let requests: Vec<_> = commands.iter().map(request).collect();
    let answers = store.execute(catalog(), at(now), &requests).unwrap();
    answers.iter().map(|answer| (answer.status, body(answer))).collect()
}

fn reserve(id: &str, usd: &str) -> serde_json::Value {
    json!({ "op": "reserve", "id": id, "resource": "llm", "estimate": { "usd": usd },
            "attribution": { "touchpoint": "main-chat" } })
}

#[test]
fn fifty_requests_of_a_dollar_on_ten_admit_exactly_ten_in_one_commit() {
    let (database, mut store) = opened();
    let commits = database.count("journal");
    let commands: Vec<_> = (0..50).map(|n| reserve(&format!("r{n}"), "1")).collect();
    let admitted = run(&mut store, NOW, &commands).iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(admitted, 10);
    assert_eq!(database.count("journal"), commits + 1);
}

#[test]
fn everything_that_was_acknowledged_is_there_after_a_restart() {
    let (database, mut store) = opened();
    run(&mut store, NOW, &[reserve("open", "1"), reserve("settled", "2"), reserve("released", "3")]);
    run(
        &mut store,
        NOW,
        &[json!({ "op": "settle", "id": "settled", "usd": "1.5" }), json!({ "op": "release", "id": "released" })],
    );
    let before = run(&mut store, NOW, &[json!({ "op": "listQuotas" })]);
    drop(store);

    let mut store = database.open();
    assert_eq!(run(&mut store, NOW, &[json!({ "op": "listQuotas" })]), before);
    for (id, state) in [("open", "held"), ("settled", "settled"), ("released", "released")] {
        let found = run(&mut store, NOW, &[json!({ "op": "getReservation", "id": id })]);
        assert_eq!((found[0].0, &found[0].1["state"]), (200, &json!(state)), "{id}");
    }
    // Repeats find the first answer; another content is a conflict.
    let again = run(
        &mut store,
        NOW,
        &[
            json!({ "op": "settle", "id": "settled", "usd": "1.5" }),
            json!({ "op": "settle", "id": "settled", "usd": "1.6" }),
            reserve("released", "3"),
            json!({ "op": "settle", "id": "open", "usd": "4" }),
        ],
    );
    assert_eq!((again[0].0, &again[0].1["replayed"]), (200, &json!(true)));
    assert_eq!(again[1].1["code"], "idempotency_conflict");
    assert_eq!((again[2].0, &again[2].1["state"]), (201, &json!("released")));
    assert_eq!(again[3].1["overrun"], "3");
}

#[test]
fn a_failed_statement_leaves_nothing_behind_and_the_next_turn_goes_on() {
    // Whichever statement of the turn fails, nothing of it may remain, in the database or in memory.
    for statement in 0.. {
        let (database, mut store) = opened();
        run(&mut store, NOW, &[reserve("a", "1")]);
        let commits = database.count("journal");
        let quotas = run(&mut store, NOW, &[json!({ "op": "listQuotas" })]);
        database.fail_in.set(Some(statement));
        let commands = [request(&reserve("b", "2")), request(&json!({ "op": "settle", "id": "a", "usd": "1" }))];
        let result = store.execute(catalog(), at(NOW), &commands);
        if result.is_ok() {
            assert!(statement > 2, "the turn has more statements than {statement}");
            return;
        }
        assert_eq!(result, Err(StoreError::Sql(tollgate_store::SqlError("disk full".to_owned()))));
        assert_eq!(database.count("journal"), commits, "statement {statement}");
        assert_eq!(run(&mut store, NOW, &[json!({ "op": "listQuotas" })]), quotas, "statement {statement}");
        assert_eq!(run(&mut store, NOW, &[reserve("b", "2")])[0].1["held"]["usd"], "2");
    }
}

#[test]
fn an_unknown_tenant_stores_nothing() {
    let database = Flaky::new();
    let mut store = database.open();
    for command in [
        reserve("a", "1"),
        json!({ "op": "listQuotas" }),
        json!({ "op": "usage" }),
        json!({ "op": "entries" }),
        json!({ "op": "getReservation", "id": "a" }),
        json!({ "op": "settle", "id": "a", "usd": "1" }),
    ] {
        let answers = run(&mut store, NOW, &[command]);
        assert_eq!((answers[0].0, &answers[0].1["code"]), (404, &json!("tenant_not_found")));
    }
    assert_eq!(database.count("sqlite_master"), 0);
}

#[test]
fn expiry_is_decided_by_the_stored_deadline() {
    let (database, mut store) = opened();
    let hold = json!({ "op": "reserve", "id": "a", "resource": "llm", "estimate": { "usd": "4" }, "ttlSeconds": 60 });
    run(&mut store, NOW, &[hold]);
    drop(store);
    let mut store = database.open();
    assert_eq!(store.next_deadline(), Some(at("2026-11-24T12:01:00Z")));
    store.expire(catalog(), at("2026-11-24T12:00:59.999Z")).unwrap();
    assert_eq!(store.ledger().open_holds(), 1);
    store.expire(catalog(), at("2026-11-24T12:01:00Z")).unwrap();
    assert_eq!(store.next_deadline(), None);
    // Whether it fires once or twice changes nothing.
    let entries = store.ledger().last_seq();
    store.expire(catalog(), at("2026-11-24T12:02:00Z")).unwrap();
    assert_eq!(store.ledger().last_seq(), entries);
    let found = run(&mut store, NOW, &[json!({ "op": "getReservation", "id": "a" })]);
    assert_eq!((&found[0].1["state"], &found[0].1["charge"]["usd"]), (&json!("expired"), &json!("4")));
}

#[test]
fn snapshots_bound_the_tail_and_usage_stays_exact_across_them() {
    let (database, mut store) = opened();
    let plan = json!({ "op": "putQuota", "id": "month", "quota": usd_quota("1000000", "month") });
    run(&mut store, NOW, &[plan]);
    let mut expected = 0_u64;
    for batch in 0..30 {
        let now = format!("2026-11-{:02}T{:02}:30:00Z", 24 + batch / 20, batch % 20);
        let now = if batch == 0 { NOW.to_owned() } else { now.replace("-24T0", "-25T0").replace("-24T1", "-25T1") };
        let records: Vec<_> = (0..50)
            .map(|n| {
                json!({ "op": "record", "id": format!("{batch}-{n}"), "resource": "llm", "usd": "0.000000000001",
                        "userId": format!("u{}", n % 3), "attribution": { "touchpoint": format!("t{}", n % 2) } })
            })
            .collect();
        assert!(run(&mut store, &now, &records).iter().all(|(status, _)| *status == 201));
        expected += 50;
    }
    let total = |store: &mut TenantStore<Flaky>, query: serde_json::Value| {
        let answers = run(store, "2026-11-26T00:00:00Z", &[query]);
        assert_eq!(answers[0].0, 200, "{}", answers[0].1);
        answers[0].1.clone()
    };
    assert!(database.count("snapshot") >= 1);
    assert!(database.count("usage") > 0);
    let usd = tollgate_core::money::Usd::from_picos(i128::from(expected)).to_string();
    for reopened in [false, true] {
        if reopened {
            database.statements.borrow_mut().clear();
            store = database.open();
        }
        let all = total(&mut store, json!({ "op": "usage" }));
        assert_eq!((&all["total"]["usd"], &all["total"]["calls"]), (&json!(usd), &json!(expected)));
        let by_user = total(&mut store, json!({ "op": "usage", "groupBy": ["user", "touchpoint"] }));
        assert_eq!(by_user["groups"].as_array().unwrap().len(), 6);
        let by_day = total(&mut store, json!({ "op": "usage", "groupBy": ["day"] }));
        let calls: u64 =
            by_day["groups"].as_array().unwrap().iter().map(|group| group["calls"].as_u64().unwrap()).sum();
        assert_eq!(calls, expected);
        let part = total(&mut store, json!({ "op": "usage", "to": "2026-11-24T13:00:00Z" }));
        assert_eq!(part["total"]["calls"], 50);
    }
    // The tail that start-up folds is what came after the snapshot.
    let reads = database.statements.borrow().iter().filter(|sql| sql.contains("entries FROM journal")).count();
    assert!(reads < 20, "{reads}");
}

#[test]
fn entries_page_through_the_whole_ledger_and_refold_to_the_state() {
    let (_database, mut store) = opened();
    for n in 0..20 {
        run(
            &mut store,
            NOW,
            &[reserve(&format!("r{n}"), "0.25"), json!({ "op": "settle", "id": format!("r{n}"), "usd": "0.2" })],
        );
    }
    let mut refolded = Ledger::new();
    let mut after = 0;
    loop {
        let page = run(&mut store, NOW, &[json!({ "op": "entries", "after": after, "limit": 7 })]).remove(0).1;
        for entry in page["entries"].as_array().unwrap() {
            let entry: Entry = serde_json::from_value(entry.clone()).unwrap();
            assert_eq!(entry.seq, refolded.last_seq() + 1);
            refolded.evolve(&entry);
        }
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(
        serde_json::to_value(refolded.snapshot()).unwrap(),
        serde_json::to_value(store.ledger().snapshot()).unwrap()
    );
}

#[test]
fn a_row_that_was_tampered_with_or_is_missing_is_not_folded() {
    let (database, mut store) = opened();
    run(&mut store, NOW, &[reserve("a", "1")]);
    run(&mut store, NOW, &[reserve("b", "1")]);
    database.database.query("DELETE FROM journal WHERE last_entry = ?1", &[Param::Integer(3)]).unwrap();
    assert!(matches!(TenantStore::open(database), Err(StoreError::Damaged(_))));
}

#[test]
fn a_commit_larger_than_a_row_is_written_in_several() {
    let (database, mut store) = opened();
    let tags: serde_json::Map<_, _> = (0..3).map(|n| (format!("tag-{n}"), json!("x".repeat(256)))).collect();
    let reserves: Vec<_> = (0..1_500)
        .map(|n| {
            json!({ "op": "reserve", "id": format!("r{n}"), "resource": "llm", "estimate": { "usd": "0" },
                    "attribution": { "tags": tags } })
        })
        .collect();
    let commits = database.count("journal");
    assert!(run(&mut store, NOW, &reserves).iter().all(|(status, _)| *status == 201));
    assert!(database.count("journal") >= commits + 2);
    let releases: Vec<_> = (0..1_500).map(|n| json!({ "op": "release", "id": format!("r{n}") })).collect();
    assert!(run(&mut store, NOW, &releases).iter().all(|(status, _)| *status == 200));
    assert_eq!(database.count("closed"), 1_500);
    assert_eq!(database.open().ledger().last_seq(), store.ledger().last_seq());
}

/// A ledger with entries in a snapshot, in the tail, open, ended, expired and corrected.
fn lived_in() -> (Flaky, TenantStore<Flaky>) {
    let (database, mut store) = opened();
    run(&mut store, NOW, &[json!({ "op": "putQuota", "id": "month", "quota": usd_quota("100000", "month") })]);
    let short =
        json!({ "op": "reserve", "id": "late", "resource": "llm", "estimate": { "usd": "4" }, "ttlSeconds": 1 });
    run(&mut store, NOW, &[short]);
    for batch in 0..5 {
        let records: Vec<_> = (0..300)
            .map(|n| json!({ "op": "record", "id": format!("{batch}-{n}"), "resource": "llm", "usd": "0.01" }))
            .collect();
        run(&mut store, "2026-11-24T12:00:05Z", &records);
    }
    run(
        &mut store,
        "2026-11-24T12:00:06Z",
        &[json!({ "op": "settle", "id": "late", "usd": "1" }), reserve("open", "2")],
    );
    (database, store)
}

#[test]
fn an_audit_of_what_nobody_touched_is_clean() {
    let (database, store) = lived_in();
    for store in [store, database.open()] {
        let report = store.audit().unwrap().unwrap();
        assert!(report.clean, "{report:?}");
        assert_eq!(report.entries, store.ledger().last_seq());
        assert!(report.head.starts_with("sha256:"));
    }
    assert!(Flaky::new().open().audit().unwrap().is_none());
}

#[test]
fn an_audit_finds_what_was_changed_behind_the_ledgers_back() {
    for (tamper, place) in [
        (
            "UPDATE journal SET entries = replace(entries, '\"0.01\"', '\"0.02\"') WHERE last_entry = (SELECT last_entry FROM journal ORDER BY 1 LIMIT 1 OFFSET 4)",
            "journal row ",
        ),
        ("UPDATE usage SET usd_pico = usd_pico + 1", "usage "),
        ("DELETE FROM closed WHERE id = '1-7'", "closed reservations"),
        ("UPDATE closed SET reservation = reservation + 1 WHERE id = '1-7'", "closed.1-7"),
        ("UPDATE closed SET reservation = replace(reservation, '\"4\"', '\"5\"') WHERE id = 'late'", "closed.late"),
        ("UPDATE closed SET id = 'other' WHERE id = '1-7'", "closed.1-7"),
        (
            "DELETE FROM journal WHERE last_entry = (SELECT last_entry FROM journal ORDER BY 1 LIMIT 1 OFFSET 5)",
            "entry number",
        ),
        (
            "UPDATE snapshot SET state = replace(state, '\"spent\":\"', '\"spent\":\"1')",
            "quotas.month.counters[0].spent",
        ),
    ] {
        let (database, store) = lived_in();
        drop(store);
        let before = database.database.query("SELECT total_changes()", &[]).unwrap();
        database.database.query(tamper, &[]).unwrap();
        assert_ne!(before, database.database.query("SELECT total_changes()", &[]).unwrap(), "{tamper} changes nothing");
        let report = database.open().audit().unwrap().unwrap();
        assert!(!report.clean, "{tamper}");
        let json = serde_json::to_value(&report).unwrap();
        let places: Vec<_> =
            json["differences"].as_array().unwrap().iter().map(|found| found["place"].as_str().unwrap()).collect();
        assert!(places.iter().any(|found| found.starts_with(place)), "{tamper}: {places:?}");
    }
}

#[test]
fn an_audit_finds_what_was_changed_of_a_corrected_end() {
    let refund = json!({ "op": "refund", "id": "late", "refund": { "id": "r", "usd": "0.5", "reason": "why not", "by": "support" } });
    let tampers = [
        "UPDATE closed SET reservation = json_remove(reservation, '$.end.refunds') WHERE id = 'late'",
        "UPDATE closed SET reservation = json_set(reservation, '$.end.spent.usd', '100') WHERE id = 'late'",
        "UPDATE closed SET reservation = json_set(reservation, '$.end.refunds[0].usd', '0.1') WHERE id = 'late'",
        "UPDATE closed SET reservation = json_set(reservation, '$.end.changed', 1) WHERE id = 'late'",
    ];
    for tamper in tampers {
        let (database, mut store) = lived_in();
        assert_eq!(run(&mut store, LATER, core::slice::from_ref(&refund))[0].0, 200);
        assert!(store.audit().unwrap().unwrap().clean);
        drop(store);
        database.database.query(tamper, &[]).unwrap();
        let mut store = database.open();
        let report = store.audit().unwrap().unwrap();
        let places: Vec<_> = report.differences.iter().map(|found| json!(found)["place"].clone()).collect();
        assert_eq!(places, ["closed.late"], "{tamper}");
        let order = RepairRequest { by: "ops@example.com".parse().unwrap() };
        assert!(store.repair(at(LATER), &order).unwrap().unwrap().entry.is_some());
        assert!(database.open().audit().unwrap().unwrap().clean, "{tamper}");
        assert_eq!(run(&mut store, LATER, core::slice::from_ref(&refund))[0].1["replayed"], true, "{tamper}");
    }
}

#[test]
fn an_audit_finds_a_row_that_is_as_it_was_before_a_refund() {
    // One that only refers to its entries, and one that is there in full.
    for id in ["1-7", "late"] {
        let (database, mut store) = lived_in();
        let rows = database.database.query(&format!("SELECT entry, reservation FROM closed WHERE id = '{id}'"), &[]);
        let (entry, row) = match &rows.unwrap()[0][..] {
            [Cell::Integer(entry), Cell::Text(row)] => (*entry, row.clone()),
            other => panic!("{other:?}"),
        };
        let refund = json!({ "op": "refund", "id": id, "refund": { "id": "r", "reason": "why not", "by": "support" } });
        assert_eq!(run(&mut store, LATER, core::slice::from_ref(&refund))[0].0, 200);
        drop(store);
        let put_back = "UPDATE closed SET entry = ?1, reservation = ?2 WHERE id = ?3";
        database.database.query(put_back, &[Param::Integer(entry), Param::Text(&row), Param::Text(id)]).unwrap();
        let mut store = database.open();
        let report = store.audit().unwrap().unwrap();
        let places: Vec<_> = report.differences.iter().map(|found| json!(found)["place"].clone()).collect();
        assert_eq!(places, [format!("closed.{id}")]);
        let order = RepairRequest { by: "ops@example.com".parse().unwrap() };
        assert!(store.repair(at(LATER), &order).unwrap().unwrap().entry.is_some());
        assert!(store.audit().unwrap().unwrap().clean, "{id}");
        assert_eq!(run(&mut store, LATER, core::slice::from_ref(&refund))[0].1["replayed"], true, "{id}");
    }
}

#[test]
fn a_repair_sets_right_what_the_journal_tells_and_says_so() {
    for tamper in [
        "UPDATE usage SET usd_pico = usd_pico + 1",
        "DELETE FROM usage",
        "DELETE FROM closed WHERE id = '1-7'",
        "UPDATE closed SET reservation = replace(reservation, '\"4\"', '\"5\"') WHERE id = 'late'",
        "UPDATE closed SET entry = entry - 1",
        "INSERT INTO closed (id, reservation, entry) SELECT 'forged', reservation, entry FROM closed WHERE id = '1-7'",
        "UPDATE snapshot SET state = replace(state, '\"spent\":\"', '\"spent\":\"1')",
    ] {
        let (database, store) = lived_in();
        let expected = store.ledger().snapshot();
        drop(store);
        database.database.query(tamper, &[]).unwrap();
        let mut store = database.open();
        let entries = store.ledger().last_seq();
        let order = RepairRequest { by: "ops@example.com".parse().unwrap() };
        let report = store.repair(at(LATER), &order).unwrap().unwrap();
        assert_eq!(report.entry, Some(entries + 1), "{tamper}");
        assert!(!report.repaired.is_empty());
        for store in [&store, &database.open()] {
            let audit = store.audit().unwrap().unwrap();
            assert!(audit.clean, "{tamper}: {audit:#?}");
        }
        // But for the entry that tells of it, the state is what it was.
        let told = run(&mut store, LATER, &[json!({ "op": "entries", "after": entries })]).remove(0).1;
        assert_eq!(
            (&told["entries"][0]["type"], &told["entries"][0]["by"]),
            (&json!("repaired"), &json!("ops@example.com"))
        );
        let quotas = |snapshot: &Snapshot| serde_json::to_value(snapshot).unwrap()["quotas"].clone();
        assert_eq!(quotas(&store.ledger().snapshot()), quotas(&expected), "{tamper}");
        assert_eq!(
            run(&mut store, LATER, &[json!({ "op": "settle", "id": "late", "usd": "1" })])[0].1["replayed"],
            true
        );
        // Once is enough.
        assert_eq!(store.repair(at(LATER), &order).unwrap().unwrap().entry, None);
    }
}

#[test]
fn a_broken_journal_is_reported_and_not_repaired_away() {
    for tamper in [
        "UPDATE journal SET entries = replace(entries, '\"0.01\"', '\"0.02\"') WHERE last_entry = (SELECT last_entry FROM journal ORDER BY 1 LIMIT 1 OFFSET 4)",
        "DELETE FROM journal WHERE last_entry = (SELECT last_entry FROM journal ORDER BY 1 LIMIT 1 OFFSET 5)",
        "UPDATE journal SET hash = 'sha256:0' WHERE last_entry = (SELECT last_entry FROM journal ORDER BY 1 LIMIT 1 OFFSET 5)",
    ] {
        let (database, store) = lived_in();
        drop(store);
        database.database.query(tamper, &[]).unwrap();
        let mut store = database.open();
        assert!(store.audit().unwrap().unwrap().damaged, "{tamper}");
        let order = RepairRequest { by: "ops".parse().unwrap() };
        let entries = store.ledger().last_seq();
        assert_eq!(store.repair(at(LATER), &order).unwrap().unwrap_err().code, Code::LedgerDamaged, "{tamper}");
        assert_eq!(database.open().ledger().last_seq(), entries);
    }
    let order = RepairRequest { by: "ops".parse().unwrap() };
    assert_eq!(Flaky::new().open().repair(at(LATER), &order).unwrap().unwrap_err().code, Code::TenantNotFound);
}

#[test]
fn re_rating_is_paged_posted_once_and_leaves_a_clean_audit() {
    let (database, mut store) = opened();
    let record = |id: &str, input: u64| json!({ "op": "record", "id": id, "resource": "llm", "provider": "openai", "model": "gpt-4o", "usage": { "input": input } });
    // Held at most a second, and charged late, so that its charge has two entries.
    let late = json!({ "op": "reserve", "id": "late", "resource": "llm", "provider": "openai", "model": "gpt-4o",
        "estimate": { "inputTokens": 8000, "maxOutputTokens": 1 }, "ttlSeconds": 1 });
    run(&mut store, NOW, &[record("a", 1000), late, record("b", 2000)]);
    run(&mut store, LATER, &[json!({ "op": "settle", "id": "late", "usage": { "input": 4000 } }), record("c", 16_000)]);
    let rerate = |store: &mut TenantStore<Flaky>, more: serde_json::Value| {
        let mut pages = Vec::new();
        let mut totals = json!(null);
        let mut after = json!(0);
        while !after.is_null() {
            let mut request =
                json!({ "from": "2026-11-01T00:00:00Z", "to": LATER, "limit": 2, "after": after, "totals": totals });
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let request = parse_rerate(&request.to_string()).unwrap();
            let report = store.rerate(catalog(), at(LATER), &request).unwrap().unwrap();
            let report = serde_json::to_value(report).unwrap();
            (totals, after) = (report["totals"].clone(), report["next"].clone());
            pages.push(report);
        }
        (totals, pages)
    };
    let double = json!({ "overrides": { "markups": [{ "id": "m", "factor": "2" }] } });
    let (totals, pages) = rerate(&mut store, double.clone());
    // 1000, 2000 and, late, 4000 tokens; what was recorded at the end of the period is not in it.
    assert_eq!(totals, json!({ "charges": 3, "changed": 3, "old": "0.0175", "new": "0.035", "difference": "0.0175" }));
    assert!(pages.len() > 2, "{}", pages.len());
    let posted = json!({ "overrides": double["overrides"], "post": "fix" });
    for (sum, old) in [(3, "0.0175"), (0, "0.035")] {
        let (totals, pages) = rerate(&mut store, posted.clone());
        assert_eq!(pages.iter().map(|page| page["posted"].as_u64().unwrap()).sum::<u64>(), sum);
        assert_eq!((&totals["old"], &totals["new"]), (&json!(old), &json!("0.035")));
    }
    assert!(store.audit().unwrap().unwrap().clean);
    drop(store);
    let mut store = database.open();
    let report = store.audit().unwrap().unwrap();
    assert!(report.clean, "{}", serde_json::to_string(&report).unwrap());
    let found = run(&mut store, LATER, &[json!({ "op": "getReservation", "id": "late" }), json!({ "op": "usage" })]);
    assert_eq!((&found[0].1["charge"]["usd"], &found[0].1["late"]), (&json!("0.02"), &json!(true)));
    // 0.035 of the three, and 16,000 tokens at the old price.
    assert_eq!((&found[1].1["total"]["usd"], &found[1].1["total"]["inputTokens"]), (&json!("0.075"), &json!(23_000)));
}

#[test]
fn a_post_that_fails_leaves_nothing() {
    let (database, mut store) = opened();
    let usage = json!({ "input": 1000 });
    run(
        &mut store,
        NOW,
        &[
            json!({ "op": "record", "id": "a", "resource": "llm", "provider": "openai", "model": "gpt-4o", "usage": usage }),
        ],
    );
    let request = json!({ "from": "2026-11-01T00:00:00Z", "to": LATER, "post": "fix", "overrides": { "markups": [{ "id": "m", "factor": "2" }] } });
    let request = parse_rerate(&request.to_string()).unwrap();
    for failing in 0..4 {
        database.fail_in.set(Some(failing));
        let done = store.rerate(catalog(), at(LATER), &request);
        let failed = done.is_err();
        assert!(failed || database.fail_in.get().is_some(), "statement {failing}");
        database.fail_in.set(None);
        if failed {
            let quota = run(&mut store, LATER, &[json!({ "op": "listQuotas" })]);
            assert_eq!(quota[0].1["quotas"][0]["spent"], "0.0025");
        }
        assert!(store.audit().unwrap().unwrap().clean);
    }
    store.rerate(catalog(), at(LATER), &request).unwrap().unwrap();
    assert_eq!(run(&mut store, LATER, &[json!({ "op": "listQuotas" })])[0].1["quotas"][0]["spent"], "0.005");
}

#[test]
fn the_platforms_documents_are_kept_with_their_versions() {
    let database = Flaky::new();
    let document = |json: serde_json::Value| serde_json::from_value::<OverridesDocument>(json).unwrap();
    let mut store = OverridesStore::open(database.clone());
    assert_eq!(store.overrides().unwrap(), (0, Arc::default()));
    assert_eq!(store.put(&OverridesDocument::default()).unwrap(), 0);
    // A database that has had policies for longer than there are overrides.
    let mut policies = PolicyStore::open(database.clone());
    let policy = tollgate_core::policy::Policy::default();
    policies.put(&policy).unwrap();
    let margin = document(json!({ "markups": [{ "id": "m", "factor": "1.2" }] }));
    assert_eq!((store.put(&margin).unwrap(), store.put(&margin).unwrap()), (1, 1));
    assert_eq!(store.put(&OverridesDocument::default()).unwrap(), 2);
    assert_eq!(store.put(&margin).unwrap(), 3);
    assert_eq!(OverridesStore::open(database.clone()).overrides().unwrap(), (3, Arc::new(margin)));
    assert_eq!(policies.policy().unwrap(), (1, policy));
}
