//! What becomes known of a charge after its end: late settles, re-rating and refunds, with credits and resets in between. More examples are in
//! `tests/conformance/ledger`; here is what takes re-rating, entries of older versions, or the two entries that tell all of a call.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{Desk, record, reserve, settle, tenant_quota, with};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Entry, Event, Ledger, MAX_REFUNDS, RerateBy};
use tollgate_core::usage_report;

const CALL: &str = "openai/gpt-4o";

/// A lifetime quota whose own limit is nothing, and a credit that ends at midnight.
fn prepaid(usd: &str) -> Desk {
    let mut desk = Desk::open(json!({ "quotas": { "q": tenant_quota("all", "0", "lifetime") } }));
    desk.expect(credit("one", usd, Some("2026-11-25T00:00:00Z")), 200, json!({}));
    desk
}

fn credit(id: &str, usd: &str, ends: Option<&str>) -> Value {
    json!({ "op": "addCredit", "id": "q", "credit": { "id": id, "amount": usd, "expiresAt": ends } })
}

fn refund(id: &str, refund: &str, usd: &str) -> Value {
    json!({ "op": "refund", "id": id, "refund": { "id": refund, "usd": usd, "reason": "why not", "by": "support" } })
}

/// A call by usage that costs 0.0125.
fn call(desk: &mut Desk, id: &str) {
    let (provider, model) = CALL.split_once('/').unwrap();
    let usage = json!({ "input": 1000, "output": 1000 });
    let record =
        json!({ "op": "record", "id": id, "resource": "llm", "provider": provider, "model": model, "usage": usage });
    desk.expect(record, 201, json!({ "charge": { "usd": "0.0125" } }));
}

/// Re-rates a call by a factor on all prices, and posts what makes up the difference. Old and new, and whether there was anything to post.
fn rerate(desk: &mut Desk, id: &str, post: &str, factor: &str) -> (String, String, bool) {
    let markups = json!({ "op": "putOverrides", "overrides": { "markups": [{ "id": "m", "factor": factor }] } });
    desk.expect(markups, 200, json!({}));
    let by = RerateBy::Prices(desk.ledger().prices().clone());
    let reservation = desk.ledger().reservation(&id.parse().unwrap()).unwrap();
    let line = desk.ledger().rerate(Catalog::builtin().unwrap(), reservation, &by).unwrap();
    let order = line.adjustment(&post.parse().unwrap());
    let posts = order.is_some();
    if let Some(order) = order {
        desk.command(tollgate_core::ledger::Command::Adjust(order)).expect(200, json!({}));
    }
    (line.old.to_string(), line.new.to_string(), posts)
}

fn reported(desk: &Desk) -> String {
    let entries = desk.history();
    let totals = entries.iter().filter_map(usage_report::contribution).map(|(_, totals)| totals.usd);
    totals.sum::<tollgate_core::money::Usd>().to_string()
}

#[test]
fn a_re_rated_charge_that_was_refunded_never_counts_less_than_nothing() {
    let mut desk = Desk::open(json!({ "quotas": { "q": tenant_quota("all", "10", "month") } }));
    call(&mut desk, "a");
    desk.expect(refund("a", "r", "0.01"), 200, json!({ "left": "0.0025" }));
    // Half of the price is less than was taken back.
    assert_eq!(rerate(&mut desk, "a", "half", "0.5"), ("0.0025".to_owned(), "0".to_owned(), true));
    assert_eq!((desk.spent_and_held("q"), reported(&desk)), ("0/0".to_owned(), "0".to_owned()));
    desk.expect(refund("a", "s", "0.001"), 400, json!({ "field": "usd" }));
    // There is nothing to make up where what counts stays the same.
    assert_eq!(rerate(&mut desk, "a", "third", "0.3"), ("0".to_owned(), "0".to_owned(), false));
    assert_eq!(rerate(&mut desk, "a", "twice", "2"), ("0".to_owned(), "0.015".to_owned(), true));
    assert_eq!((desk.spent_and_held("q"), reported(&desk)), ("0.015/0".to_owned(), "0.015".to_owned()));
    desk.restart();
    let told = json!({ "charge": { "usd": "0.025" }, "left": "0.015", "refunds": [{ "id": "r", "usd": "0.01" }], "adjustments": ["half", "twice"] });
    desk.expect(json!({ "op": "getReservation", "id": "a" }), 200, told);
}

#[test]
fn re_rating_draws_and_gives_back_where_the_call_drew() {
    let mut desk = prepaid("1");
    call(&mut desk, "a");
    desk.expect(credit("ever", "1", None), 200, json!({}));
    desk.at("2026-11-25T01:00:00Z");
    rerate(&mut desk, "a", "twice", "2");
    desk.expect(json!({ "op": "listQuotas" }), 200, json!({ "quotas": [{ "spent": "0.025", "remaining": "1" }] }));
    rerate(&mut desk, "a", "half", "0.5");
    desk.expect(json!({ "op": "listQuotas" }), 200, json!({ "quotas": [{ "spent": "0.00625", "remaining": "1" }] }));
}

#[test]
fn re_rating_after_a_reset_is_exact_in_both_directions() {
    let mut desk = Desk::open(json!({ "quotas": { "q": tenant_quota("all", "10", "month") } }));
    call(&mut desk, "a");
    desk.expect(json!({ "op": "resetQuota", "id": "q" }), 200, json!({}));
    for (post, factor, spent) in [("x", "2", "0.0125"), ("y", "1.5", "0.00625"), ("z", "0.5", "0"), ("w", "3", "0.025")]
    {
        rerate(&mut desk, "a", post, factor);
        assert_eq!(desk.spent_and_held("q"), format!("{spent}/0"), "times {factor}");
        desk.restart();
    }
}

#[test]
fn the_two_entries_of_a_call_tell_what_it_drew() {
    let mut desk = prepaid("50");
    desk.expect(with(reserve("freed", "10"), json!({ "ttlSeconds": 1, "onExpiry": "release" })), 201, json!({}));
    desk.expect(with(reserve("charged", "10"), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.expect(reserve("settled", "10"), 201, json!({}));
    desk.expect(settle("settled", "4"), 200, json!({}));
    desk.expect(reserve("released", "3"), 201, json!({}));
    desk.expect(json!({ "op": "release", "id": "released" }), 200, json!({}));
    desk.expect(record("record", "2"), 201, json!({}));
    desk.at("2026-11-24T12:05:00Z").expect(json!({ "op": "listQuotas" }), 200, json!({}));
    for id in ["freed", "charged", "settled", "released", "record"] {
        let of_call = |entry: &&Entry| match &entry.event {
            Event::Reserved { id: of, .. } => of.as_str() == id,
            _ => entry.ends().is_some_and(|of| of.as_str() == id),
        };
        let mut folded = Ledger::new();
        let history = desk.history();
        history.iter().filter(of_call).for_each(|entry| folded.evolve(entry));
        let id = id.parse().unwrap();
        assert_eq!(folded.reservation(&id), desk.ledger().reservation(&id));
    }
}

#[test]
fn where_there_are_no_credits_entries_say_nothing_of_them() {
    let mut desk = Desk::open(json!({ "quotas": { "q": tenant_quota("all", "10", "month") } }));
    desk.expect(with(reserve("a", "1"), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.expect(reserve("b", "1"), 201, json!({}));
    desk.expect(json!({ "op": "release", "id": "b" }), 200, json!({}));
    desk.at("2026-11-24T12:05:00Z").expect(settle("a", "2"), 200, json!({ "late": true }));
    desk.expect(refund("a", "r", "1"), 200, json!({}));
    for entry in desk.history() {
        let text = serde_json::to_string(&entry).unwrap();
        for word in ["drawn", "drew", "resets", "dropped"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

#[test]
fn a_charge_is_refunded_so_often_at_most() {
    let mut desk = Desk::open(json!({ "quotas": {} }));
    desk.expect(record("a", "100"), 201, json!({}));
    for number in 0..MAX_REFUNDS {
        desk.expect(refund("a", &format!("r-{number}"), "1"), 200, json!({}));
    }
    desk.expect(refund("a", "one-more", "1"), 400, json!({ "code": "invalid_request", "field": "id" }));
    desk.expect(refund("a", "r-7", "1"), 200, json!({ "replayed": true, "left": "68" }));
    desk.restart();
    desk.expect(json!({ "op": "getReservation", "id": "a" }), 200, json!({ "left": "68" }));
}

#[test]
fn what_an_explanation_says_of_refunds() {
    let mut desk = Desk::open(json!({ "quotas": {} }));
    desk.expect(record("a", "10"), 201, json!({}));
    desk.expect(refund("a", "r", "2.5"), 200, json!({}));
    let explanation = ["charged 10 USD as a whole", "refunded 2.5 USD by support: why not", "7.5 USD are left"];
    desk.expect(json!({ "op": "getReservation", "id": "a" }), 200, json!({ "explanation": explanation }));
}

#[test]
fn a_warning_looks_at_the_limit_that_a_late_cost_leads_to() {
    let mut desk = Desk::open(
        json!({ "quotas": { "q": with(tenant_quota("all", "100", "lifetime"), json!({ "warnAt": ["0.8"] })) } }),
    );
    desk.expect(credit("one", "50", Some("2026-11-25T00:00:00Z")), 200, json!({}));
    desk.expect(with(reserve("late", "10"), json!({ "ttlSeconds": 1, "onExpiry": "release" })), 201, json!({}));
    desk.at("2026-11-25T00:00:00Z").expect(record("a", "75"), 201, json!({}));
    // 85 of 110, not of 100.
    desk.expect(settle("late", "10"), 200, json!({ "quotas": [{ "spent": "85", "effectiveLimit": "110" }] }));
    assert_eq!(desk.warnings(), Vec::<String>::new());
    desk.expect(record("b", "3"), 201, json!({}));
    assert_eq!(desk.warnings(), ["q 0.8 1970-01-01"]);
}

/// What version 0.1.0 wrote: neither what was drawn nor what a reset had dropped.
#[test]
fn entries_without_what_they_draw_fold_as_they_did() {
    let mut desk = prepaid("50");
    desk.expect(with(reserve("a", "10"), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.expect(reserve("b", "10"), 201, json!({}));
    desk.expect(json!({ "op": "meter", "id": "b", "meter": { "id": "m", "usd": "4" } }), 200, json!({}));
    desk.at("2026-11-24T12:01:00Z").expect(json!({ "op": "resetQuota", "id": "q" }), 200, json!({}));
    desk.expect(record("c", "8"), 201, json!({}));
    desk.expect(json!({ "op": "meter", "id": "b", "meter": { "id": "n", "usd": "6" } }), 200, json!({}));
    desk.expect(settle("b", "5"), 200, json!({ "quotas": [{ "spent": "9" }] }));
    desk.expect(settle("a", "13"), 200, json!({ "late": true, "quotas": [{ "spent": "12" }] }));
    let mut folded = Ledger::new();
    for entry in desk.history() {
        let mut text: Value = serde_json::to_value(&entry).unwrap();
        for member in ["drawn", "drew", "resets"] {
            text.as_object_mut().unwrap().remove(member);
        }
        if let Some(places) = text.get_mut("countedOn").and_then(Value::as_array_mut) {
            places.iter_mut().for_each(|place| drop(place.as_object_mut().unwrap().remove("dropped")));
        }
        folded.evolve(&serde_json::from_value(text).unwrap());
    }
    let quota = serde_json::to_value(folded.snapshot()).unwrap()["quotas"]["q"].clone();
    // `b` went from 6 to 5 and nothing came back; `a` cost 3 more, and no credit had a part in that.
    assert_eq!(quota["counters"][0]["spent"], "13");
    assert_eq!(quota["funds"]["credits"][0]["drawn"], "10");
}
