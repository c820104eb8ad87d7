//! A clock that is set back by more than an hour: the ledger follows, and what is over comes again as it was.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod support;

use serde_json::{Value, json};
use support::{Desk, Local, at, record, release, reserve, settle, tenant_quota, with};
use tollgate_core::ledger::{Entry, Event, Ledger, Pace, Snapshot};

const NOVEMBER: &str = "2026-11-24T12:00:00Z";
const WRONG: &str = "2030-05-10T08:00:00Z";

fn desk(quotas: Value) -> Desk {
    Desk::open(json!({ "quotas": quotas }))
}

/// How often the ledger followed the clock, and how often it took counters or credits back.
fn steps(desk: &Desk) -> (usize, usize) {
    let entries = desk.history();
    let count = |is: fn(&Entry) -> bool| entries.iter().filter(|entry| is(entry)).count();
    (
        count(|entry| matches!(entry.event, Event::ClockSetBack { .. })),
        count(|entry| matches!(entry.event, Event::CountersRestored { .. })),
    )
}

#[test]
fn a_clock_that_once_said_2030_denies_nothing_until_2030() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "60"), 201, json!({}));
    desk.at(WRONG).expect(reserve("b", "90"), 201, json!({}));
    desk.expect(settle("b", "90"), 200, json!({}));
    assert_eq!(desk.spent_and_held("month"), "90/0");
    desk.at("2026-11-24T12:01:00Z");
    assert_eq!(desk.spent_and_held("month"), "60/0", "as it was before");
    desk.ask(reserve("c", "40.01")).expect_denial("month");
    desk.expect(reserve("c", "40"), 201, json!({ "expiresAt": "2026-11-24T12:11:00.000Z" }));
    desk.restart();
    assert_eq!(desk.spent_and_held("month"), "60/40");
    assert_eq!(steps(&desk), (1, 1));
    let steps_back =
        desk.history().into_iter().find(|entry| matches!(entry.event, Event::ClockSetBack { .. })).unwrap();
    assert_eq!(
        serde_json::to_value(&steps_back).unwrap(),
        json!({ "seq": steps_back.seq, "at": "2026-11-24T12:01:00.000Z", "type": "clock_set_back", "from": "2030-05-10T08:00:00.000Z" })
    );
    // The months in between begin as ever, and when 2030 comes, what was spent there counts.
    desk.at("2026-12-02T00:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "0/0");
    desk.expect(record("d", "7"), 201, json!({}));
    assert_eq!(desk.spent_and_held("month"), "7/0");
    desk.at("2030-05-12T00:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "90/0");
    desk.expect(record("e", "1"), 201, json!({}));
    assert_eq!(desk.spent_and_held("month"), "91/0");
    desk.at("2030-06-01T00:00:00Z").expect(record("f", "2"), 201, json!({}));
    assert_eq!(desk.spent_and_held("month"), "2/0");
}

#[test]
fn an_hour_is_overruled_and_a_millisecond_more_is_followed() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "1"), 201, json!({}));
    let last = |desk: &Desk| desk.history().last().unwrap().at.to_string();
    desk.at("2026-11-24T11:00:00.000Z").expect(record("b", "1"), 201, json!({}));
    assert_eq!((steps(&desk), last(&desk)), ((0, 0), "2026-11-24T12:00:00.000Z".to_owned()));
    desk.at("2026-11-24T10:59:59.999Z").expect(record("c", "1"), 201, json!({}));
    assert_eq!(last(&desk), "2026-11-24T10:59:59.999Z");
    assert_eq!(steps(&desk), (1, 0), "the month is the same, and nothing has to be folded again");
    assert_eq!(desk.spent_and_held("month"), "3/0");
}

/// 1970 is what a clock says that has lost the time. Its month would begin with nothing spent.
#[test]
fn a_clock_that_has_lost_the_time_is_overruled() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "60"), 201, json!({}));
    for lost in ["1970-01-01T00:00:00Z", "2024-12-31T23:59:59.999Z"] {
        desk.at(lost).ask(reserve("b", "41")).expect_denial("month");
    }
    assert_eq!(steps(&desk), (0, 0));
    desk.at("2025-01-01T00:00:00Z").expect(reserve("b", "41"), 201, json!({}));
}

#[test]
fn jumps_forth_and_back_count_once() {
    let mut desk =
        desk(json!({ "month": tenant_quota("llm", "100", "month"), "hour": tenant_quota("llm", "20", "hour") }));
    let mut spent = 0;
    for round in 0..40 {
        desk.at(NOVEMBER).expect(record(&format!("n-{round}"), "0.5"), 201, json!({}));
        spent += 1;
        assert_eq!(desk.quota("month")["spent"], (f64::from(spent) / 2.0).to_string());
        // Each time another month and hour, years away.
        let wrong = format!("{}-{:02}-10T{:02}:30:00Z", 2027 + round / 12, 1 + round % 12, round % 24);
        desk.at(&wrong).expect(record(&format!("w-{round}"), "20"), 201, json!({}));
        assert_eq!(desk.spent_and_held("month"), "20/0", "{wrong}");
    }
    desk.at(NOVEMBER);
    assert_eq!(desk.spent_and_held("hour"), "20/0");
    desk.ask(reserve("more", "0.5")).expect_denial("hour");
    assert!(desk.snapshot().len() < 20_000, "what waits is bounded: {}", desk.snapshot().len());
    // Time goes on, and each of those months is what it was, also those that were too far away to wait.
    for round in 0..40 {
        desk.at(&format!("{}-{:02}-20T00:00:00Z", 2027 + round / 12, 1 + round % 12));
        assert_eq!(desk.spent_and_held("month"), "20/0");
        desk.expect(record(&format!("t-{round}"), "1"), 201, json!({}));
        assert_eq!(desk.spent_and_held("month"), "21/0");
    }
    let (_, restored) = steps(&desk);
    assert!(restored <= 40 + 3, "folded again for every 32 months: {restored}");
    // What is over is folded again once the clock is set back to it.
    desk.at("2031-01-01T00:00:00Z").expect(record("z", "1"), 201, json!({}));
    desk.at("2030-03-10T00:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "21/0");
}

#[test]
fn holds_of_a_wrong_clock_end_within_their_time_and_those_of_before_when_they_should() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(with(reserve("before", "1"), json!({ "ttlSeconds": 86_400 })), 201, json!({}));
    // Two hours ahead: nothing has expired.
    desk.at("2026-11-24T14:00:00Z").expect(with(reserve("wrong", "2"), json!({ "ttlSeconds": 600 })), 201, json!({}));
    desk.expect(with(reserve("longer", "4"), json!({ "ttlSeconds": 60 })), 201, json!({}));
    desk.expect(
        json!({ "op": "extend", "id": "longer", "extend": { "id": "x", "ttlSeconds": 1200 } }),
        200,
        json!({ "expiresAt": "2026-11-24T14:20:00.000Z" }),
    );
    desk.at("2026-11-24T12:05:00Z");
    let expires =
        |desk: &mut Desk, id: &str| desk.ask(json!({ "op": "getReservation", "id": id })).body["expiresAt"].clone();
    assert_eq!(expires(&mut desk, "before"), "2026-11-25T12:00:00.000Z");
    assert_eq!(expires(&mut desk, "wrong"), "2026-11-24T12:15:00.000Z");
    assert_eq!(expires(&mut desk, "longer"), "2026-11-24T12:25:00.000Z");
    assert_eq!(desk.spent_and_held("month"), "0/7");
    desk.restart();
    desk.at("2026-11-24T12:15:00Z");
    assert_eq!(desk.spent_and_held("month"), "2/5");
    desk.at("2026-11-24T12:25:00Z");
    assert_eq!(desk.spent_and_held("month"), "6/1");
    desk.expect(release("before"), 200, json!({}));
    assert_eq!(desk.spent_and_held("month"), "6/0");
}

#[test]
fn a_hold_of_a_wrong_month_stays_with_it() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "60"), 201, json!({}));
    desk.at(WRONG).expect(with(reserve("w", "30"), json!({ "ttlSeconds": 3600 })), 201, json!({}));
    desk.at("2026-11-24T12:01:00Z").expect(record("b", "5"), 201, json!({}));
    desk.at("2026-11-24T12:02:00Z").expect(settle("w", "31"), 200, json!({ "overrun": "1" }));
    assert_eq!(desk.spent_and_held("month"), "65/0");
    desk.at("2030-05-31T00:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "31/0");
}

#[test]
fn thresholds_are_crossed_once() {
    let quota = with(tenant_quota("llm", "100", "month"), json!({ "warnAt": ["0.5", "0.8"] }));
    let mut desk = desk(json!({ "month": quota }));
    desk.expect(record("a", "60"), 201, json!({}));
    desk.at(WRONG).expect(record("b", "60"), 201, json!({}));
    desk.at("2026-11-24T12:01:00Z").expect(record("c", "10"), 201, json!({}));
    desk.expect(record("d", "10"), 201, json!({}));
    desk.at("2030-05-11T00:00:00Z").expect(record("e", "1"), 201, json!({}));
    assert_eq!(desk.warnings(), ["month 0.5 2026-11-01", "month 0.5 2030-05-01", "month 0.8 2026-11-01"]);
}

#[test]
fn a_rolling_window_has_what_was_really_called_just_before() {
    let quota =
        json!({ "scope": "tenant", "resource": "llm", "unit": "requests", "limit": "5", "period": { "rolling": 60 } });
    let mut desk = desk(json!({ "burst": quota }));
    for (second, id) in [(0, "a"), (20, "b"), (30, "c")] {
        desk.at(&format!("2026-11-24T12:00:{second:02}Z")).expect(record(id, "0.1"), 201, json!({}));
    }
    // A hold and a record under the wrong clock, twice so long ago there that the first has left the window.
    desk.at("2030-05-10T08:00:00Z").expect(record("left", "0.1"), 201, json!({}));
    desk.at("2030-05-10T08:02:00Z").expect(reserve("w", "0.1"), 201, json!({}));
    desk.at("2026-11-24T12:00:40Z");
    assert_eq!(desk.spent_and_held("burst"), "3/1");
    desk.expect(reserve("d", "0.1"), 201, json!({}));
    desk.ask(reserve("e", "0.1")).expect_denial("burst");
    desk.restart();
    // The first leaves a minute after it was called; those of the wrong clock a minute after the step.
    desk.at("2026-11-24T12:01:00Z");
    assert_eq!(desk.spent_and_held("burst"), "2/2");
    desk.expect(release("w"), 200, json!({}));
    assert_eq!(desk.spent_and_held("burst"), "2/1");
    desk.at("2026-11-24T12:01:39.999Z");
    assert_eq!(desk.spent_and_held("burst"), "0/1");
    desk.at("2026-11-24T12:01:40Z");
    assert_eq!(desk.spent_and_held("burst"), "0/0");
}

#[test]
fn a_late_settle_of_a_wrong_clock_counts_where_its_call_now_counts() {
    let quota =
        json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "100", "period": { "rolling": 3600 } });
    let mut desk = desk(json!({ "burst": quota }));
    desk.at(WRONG);
    desk.expect(with(reserve("w", "10"), json!({ "ttlSeconds": 60, "onExpiry": "charge_hold" })), 201, json!({}));
    desk.at("2030-05-10T08:10:00Z").expect(record("x", "1"), 201, json!({}));
    desk.at("2026-11-24T12:00:00Z");
    assert_eq!(desk.spent_and_held("burst"), "11/0");
    desk.restart();
    desk.at("2026-11-24T12:30:00Z").expect(settle("w", "4"), 200, json!({ "late": true }));
    assert_eq!(desk.spent_and_held("burst"), "5/0");
    desk.at("2026-11-24T13:00:00Z");
    assert_eq!(desk.spent_and_held("burst"), "0/0");
}

#[test]
fn what_the_month_before_left_is_still_there() {
    let quota = with(tenant_quota("llm", "100", "month"), json!({ "rollover": "50" }));
    let mut desk = desk(json!({ "month": quota }));
    desk.expect(record("a", "80"), 201, json!({}));
    desk.at("2026-12-05T00:00:00Z");
    assert_eq!(desk.quota("month")["effectiveLimit"], "120");
    desk.at(WRONG).expect(record("b", "1"), 201, json!({}));
    desk.at("2026-12-05T00:00:00Z");
    assert_eq!(desk.quota("month")["effectiveLimit"], "120");
    desk.expect(record("c", "1"), 201, json!({}));
    assert_eq!(desk.quota("month")["effectiveLimit"], "120");
    desk.at(WRONG);
    assert_eq!(desk.spent_and_held("month"), "1/0");
}

#[test]
fn credits_that_lapsed_only_there_can_be_spent_again() {
    let quota = tenant_quota("llm", "0", "lifetime");
    let mut desk = desk(json!({ "paid": quota }));
    let credit = |id: &str, amount: &str, expires: &str| json!({ "op": "addCredit", "id": "paid", "credit": { "id": id, "amount": amount, "expiresAt": expires } });
    desk.expect(credit("soon", "10", "2026-12-24T00:00:00Z"), 200, json!({}));
    desk.expect(credit("later", "20", "2027-12-24T00:00:00Z"), 200, json!({}));
    desk.expect(credit("revoked", "40", "2027-12-24T00:00:00Z"), 200, json!({}));
    let rolls = json!({ "credit": { "id": "rolls", "amount": "5", "expiresAt": "2028-01-01T00:00:00Z", "rollover": { "max": "3", "until": "2035-01-01T00:00:00Z" } } });
    desk.expect(with(json!({ "op": "addCredit", "id": "paid" }), rolls), 200, json!({}));
    desk.expect(json!({ "op": "revokeCredit", "id": "paid", "creditId": "revoked" }), 200, json!({}));
    desk.expect(record("a", "4"), 201, json!({}));
    assert_eq!(desk.quota("paid")["effectiveLimit"], "35");
    desk.at(WRONG);
    assert_eq!(desk.quota("paid")["effectiveLimit"], "7", "what was drawn, and what rolled over");
    desk.at("2026-12-01T00:00:00Z");
    assert_eq!(desk.quota("paid")["effectiveLimit"], "35", "also what had rolled over");
    desk.expect(record("b", "10"), 201, json!({}));
    desk.restart();
    assert_eq!(desk.quota("paid")["credits"][1]["id"], "later");
    assert_eq!(desk.quota("paid")["credits"][1]["remaining"], "16");
    // They end when they should.
    desk.at("2027-12-24T00:00:00Z");
    assert_eq!(desk.quota("paid")["effectiveLimit"], "19");
}

#[test]
fn a_credit_comes_back_step_by_step() {
    let mut desk = desk(json!({ "paid": tenant_quota("llm", "0", "lifetime") }));
    let rolls = json!({ "credit": { "id": "rolls", "amount": "8", "expiresAt": "2028-01-01T00:00:00Z", "rollover": { "max": "5", "until": "2030-01-01T00:00:00Z" } } });
    desk.expect(with(json!({ "op": "addCredit", "id": "paid" }), rolls), 200, json!({}));
    desk.at("2031-01-01T00:00:00Z");
    assert_eq!(desk.quota("paid")["remaining"], "0", "all of it has lapsed");
    desk.at("2029-01-01T00:00:00Z");
    assert_eq!(desk.quota("paid")["remaining"], "5", "what had rolled over by then");
    desk.at("2027-01-01T00:00:00Z");
    assert_eq!(desk.quota("paid")["remaining"], "8", "none of it had");
    desk.restart();
    assert_eq!(desk.quota("paid")["remaining"], "8");
    desk.at("2028-06-01T00:00:00Z");
    assert_eq!(desk.quota("paid")["remaining"], "5", "and it rolls over when it should");
}

#[test]
fn an_increase_that_was_ended_stays_so() {
    let mut desk = Desk::with_monthly_limit("100");
    let increase = |id: &str| json!({ "op": "increaseLimit", "id": "month", "increase": { "id": id, "amount": "10", "until": "2031-01-01T00:00:00Z" } });
    desk.expect(increase("ended"), 200, json!({}));
    desk.expect(increase("goes-on"), 200, json!({}));
    desk.at(WRONG).expect(json!({ "op": "endIncrease", "id": "month", "increaseId": "ended" }), 200, json!({}));
    desk.at(NOVEMBER);
    assert_eq!(desk.quota("month")["effectiveLimit"], "110");
}

#[test]
fn a_reset_and_what_came_after_it_are_folded_again() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "60"), 201, json!({}));
    desk.expect(json!({ "op": "resetQuota", "id": "month" }), 200, json!({}));
    desk.expect(record("b", "5"), 201, json!({}));
    desk.expect(with(reserve("h", "30"), json!({ "ttlSeconds": 1, "onExpiry": "release" })), 201, json!({}));
    desk.at(WRONG).expect(record("c", "1"), 201, json!({}));
    // The hold of November expired there; its actual charge comes while the month is over.
    desk.expect(settle("h", "29"), 200, json!({ "late": true }));
    desk.at("2026-11-25T00:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "34/0");
}

#[test]
fn a_ledger_in_memory_follows_also_without_its_first_entries() {
    let month = json!({ "quotas": { "month": tenant_quota("llm", "1000000", "month") } });
    let mut local = Local::open(json!({ "tenant": "acme", "plan": month }));
    for number in 0..tollgate_core::local::MAX_KEPT_ENTRIES {
        local.ask(at(NOVEMBER), &record(&format!("r-{number}"), "0.5")).expect(201, json!({}));
    }
    let wrong = local.ask(at(WRONG), &record("w", "7"));
    wrong.expect(201, json!({}));
    let spent = |local: &mut Local| {
        local.ask(at("2026-11-24T12:01:00Z"), &json!({ "op": "listQuotas" })).body["quotas"][0]["spent"].clone()
    };
    assert_eq!(spent(&mut local), "50000");
    assert_eq!(local.ask(at("2026-11-24T12:02:00Z"), &record("x", "1")).status, 201);
    assert_eq!(spent(&mut local), "50001");
}

#[test]
fn a_step_back_is_worth_what_it_costs() {
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(record("a", "1"), 201, json!({}));
    let ledger = Ledger::restore(serde_json::from_str::<Snapshot>(&desk.snapshot()).unwrap());
    let (behind, level) = (at("2026-11-24T10:00:00Z"), at(NOVEMBER));
    let mut pace = Pace::default();
    assert!(pace.begin(&ledger, level).is_none());
    assert!(pace.begin(&ledger, behind).is_some());
    pace.has_stepped(&ledger, 998);
    assert!(pace.begin(&ledger, behind).is_some(), "a few entries are folded in no time");
    for (folded, turns) in [(3_000, 3), (u64::MAX, 1_024)] {
        pace.has_stepped(&ledger, folded);
        let waited = (0..).take_while(|_| pace.begin(&ledger, behind).is_none()).count();
        assert_eq!(waited, turns, "after {folded}");
    }
}
