//! Re-rating: what charges would have been under other prices, and the entries that make up the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use support::{Desk, record, reserve, reserve_tokens, settle, tenant_quota, with};
use tollgate_core::catalog::{Catalog, Overrides, OverridesScope, PriceBook};
use tollgate_core::ledger::{Command, Event, RerateBy, Rerated};
use tollgate_core::money::Usd;
use tollgate_core::usage_report;

const GPT_4O: (&str, &str) = ("openai", "gpt-4o");

fn prices(document: Value) -> RerateBy {
    let document = serde_json::from_value(document).expect("a document");
    let tenant = Overrides::new(OverridesScope::Tenant, 1, document).expect("a checked document");
    RerateBy::Prices(PriceBook { tenant: Some(tenant), platform: None })
}

fn rerate(desk: &Desk, id: &str, by: &RerateBy) -> Option<Rerated> {
    let reservation = desk.ledger().reservation(&id.parse().unwrap()).expect("a reservation");
    desk.ledger().rerate(Catalog::builtin().unwrap(), reservation, by)
}

/// Posts what makes up the difference, and says whether there was anything to post.
fn post(desk: &mut Desk, adjustment: &str, line: &Rerated) -> bool {
    let Some(order) = line.adjustment(&adjustment.parse().unwrap()) else { return false };
    let before = desk.history().len();
    desk.command(Command::Adjust(order)).expect(200, json!({ "id": line.id.as_str() }));
    desk.history().len() > before
}

fn desk() -> Desk {
    Desk::open(
        json!({ "quotas": { "month": tenant_quota("all", "10", "month"), "day": tenant_quota("llm", "10", "day") } }),
    )
}

/// What the roll-up has in money, calls and tokens.
fn usage(desk: &Desk) -> (Usd, i64, i64) {
    let entries = desk.history();
    let totals = entries.iter().filter_map(usage_report::contribution).map(|(_, totals)| totals);
    totals.fold((Usd::ZERO, 0, 0), |(usd, calls, tokens), totals| {
        (usd.plus(totals.usd), calls + totals.calls, tokens + totals.input_tokens + totals.output_tokens)
    })
}

fn charge(desk: &mut Desk, id: &str) {
    desk.expect(reserve_tokens(id, GPT_4O, 1000, 1000), 201, json!({}));
    let settle = json!({ "op": "settle", "id": id, "usage": { "input": 1000, "output": 1000 } });
    desk.expect(settle, 200, json!({ "charge": { "usd": "0.0125" } }));
}

#[test]
fn a_line_says_what_it_would_be_and_why() {
    let mut desk = desk();
    charge(&mut desk, "a");
    let half = prices(json!({ "markups": [{ "id": "m", "factor": "0.5" }] }));
    let line = rerate(&desk, "a", &half).unwrap();
    assert_eq!(
        (line.old.to_string(), line.new.to_string(), line.difference.to_string()),
        ("0.0125".to_owned(), "0.00625".to_owned(), "-0.00625".to_owned())
    );
    assert_eq!(line.why, "input 0.0000025 → 0.00000125 USD; output 0.00001 → 0.000005 USD");
    assert_eq!(line.model.as_deref(), Some("openai/gpt-4o"));
    assert!(line.old_basis.unwrap().applied.is_none() && line.new_basis.unwrap().applied.is_some());
    let same = rerate(&desk, "a", &RerateBy::AsCharged).unwrap();
    assert_eq!((same.difference, same.why.as_str()), (Usd::ZERO, "the same prices"));
    // Rates that begin later say nothing of it.
    let later = prices(json!({ "markups": [{ "id": "m", "factor": "0.5", "from": "2026-11-24T12:00:00.001Z" }] }));
    assert_eq!(rerate(&desk, "a", &later).unwrap().difference, Usd::ZERO);
}

#[test]
fn what_cannot_be_told_is_left_as_it_is_and_says_so() {
    let mut desk = desk();
    let half = prices(json!({ "markups": [{ "id": "m", "factor": "0.5" }] }));
    desk.expect(record("amount", "1"), 201, json!({}));
    desk.expect(with(reserve("gone", "1"), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.expect(reserve("freed", "1"), 201, json!({}));
    desk.expect(json!({ "op": "release", "id": "freed" }), 200, json!({}));
    let usage = json!({ "input": 1000 });
    let fallback =
        json!({ "quotas": {}, "unknownModel": { "fallback": { "perMillion": { "input": "10", "output": "30" } } } });
    desk.onboard("other", fallback).expect(200, json!({}));
    desk.expect(
        json!({ "op": "record", "id": "unknown", "resource": "llm", "provider": "p", "model": "m", "usage": usage }),
        201,
        json!({ "charge": { "usd": "0.01" } }),
    );
    desk.onboard("default", json!({ "quotas": {} })).expect(200, json!({}));
    desk.at("2026-11-24T13:00:00Z").expect(reserve("later", "1"), 201, json!({}));
    for (id, why) in [
        ("amount", "charged by an amount"),
        ("gone", "nobody reported what was used"),
        ("unknown", "the catalog has no model `m` of provider `p`"),
    ] {
        let line = rerate(&desk, id, &half).unwrap();
        assert_eq!((line.difference, line.why.as_str()), (Usd::ZERO, why));
        assert!(line.adjustment(&"x".parse().unwrap()).is_none());
    }
    assert_eq!(rerate(&desk, "freed", &half), None);
    assert_eq!(rerate(&desk, "later", &half), None);
    // As it was charged: by the fallback rates of then.
    assert_eq!(rerate(&desk, "unknown", &RerateBy::AsCharged).unwrap().why, "the same prices");
}

#[test]
fn an_adjustment_is_an_entry_of_its_own_that_counters_usage_and_refold_follow() {
    let mut desk = desk();
    charge(&mut desk, "a");
    let before = desk.history();
    let thrice = prices(json!({ "markups": [{ "id": "m", "factor": "3" }] }));
    let line = rerate(&desk, "a", &thrice).unwrap();
    assert!(post(&mut desk, "fix-1", &line));
    assert_eq!(&desk.history()[..before.len()], &before[..], "the past is as it was");
    assert!(
        matches!(&desk.history()[before.len()].event, Event::Adjusted { charged, .. } if charged.charge.usd == line.new)
    );
    assert_eq!(
        (desk.spent_and_held("month"), desk.spent_and_held("day")),
        ("0.0375/0".to_owned(), "0.0375/0".to_owned())
    );
    assert_eq!(usage(&desk), ("0.0375".parse().unwrap(), 1, 2000));
    desk.expect(
        json!({ "op": "getReservation", "id": "a" }),
        200,
        json!({ "state": "settled", "charge": { "usd": "0.0375" } }),
    );
    // The settle is still known for what it was.
    desk.expect(
        json!({ "op": "settle", "id": "a", "usage": { "input": 1000, "output": 1000 } }),
        200,
        json!({ "replayed": true }),
    );
    // Under the same id nothing happens, also with other prices; under another one the difference to what is charged now.
    let ten = prices(json!({ "markups": [{ "id": "m", "factor": "10" }] }));
    let again = rerate(&desk, "a", &ten).unwrap();
    assert_eq!((again.old.to_string(), again.difference.to_string()), ("0.0375".to_owned(), "0.0875".to_owned()));
    assert!(!post(&mut desk, "fix-1", &again));
    assert!(post(&mut desk, "fix-2", &again));
    let back = rerate(&desk, "a", &RerateBy::AsCharged).unwrap();
    assert!(post(&mut desk, "fix-3", &back));
    desk.restart();
    assert_eq!(desk.spent_and_held("month"), "0.0125/0");
    assert_eq!(usage(&desk), ("0.0125".parse().unwrap(), 1, 2000));
}

#[test]
fn an_adjustment_lands_in_the_period_of_its_charge_where_that_is_still_counted() {
    let mut desk = desk();
    charge(&mut desk, "a");
    desk.at("2026-11-25T12:00:00Z");
    charge(&mut desk, "b");
    let double = prices(json!({ "markups": [{ "id": "m", "factor": "2" }] }));
    let line = rerate(&desk, "a", &double).unwrap();
    assert!(post(&mut desk, "fix", &line));
    // The day is over; the month is not.
    assert_eq!(
        (desk.spent_and_held("month"), desk.spent_and_held("day")),
        ("0.0375/0".to_owned(), "0.0125/0".to_owned())
    );
}

#[test]
fn an_adjustment_crosses_thresholds_and_may_pass_the_limit() {
    let mut desk = Desk::open(json!({ "quotas": { "month": tenant_quota("all", "0.02", "month") } }));
    charge(&mut desk, "a");
    let double = prices(json!({ "markups": [{ "id": "m", "factor": "2" }] }));
    let line = rerate(&desk, "a", &double).unwrap();
    assert!(post(&mut desk, "fix", &line));
    assert_eq!(desk.warnings(), ["month 0.8 2026-11-01", "month 1 2026-11-01"]);
    desk.ask(reserve("b", "0.001")).expect_denial("month");
}

#[test]
fn an_expired_charge_that_was_settled_late_stays_late() {
    let mut desk = desk();
    desk.expect(with(reserve_tokens("a", GPT_4O, 1000, 1000), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.at("2026-11-24T12:01:00Z").expect(
        json!({ "op": "settle", "id": "a", "usage": { "input": 1000 } }),
        200,
        json!({ "late": true }),
    );
    let double = prices(json!({ "markups": [{ "id": "m", "factor": "2" }] }));
    let line = rerate(&desk, "a", &double).unwrap();
    assert!(post(&mut desk, "fix", &line));
    desk.expect(
        json!({ "op": "getReservation", "id": "a" }),
        200,
        json!({ "state": "expired", "late": true, "charge": { "usd": "0.005" } }),
    );
}

#[test]
fn a_sandbox_is_re_rated_by_its_resources() {
    let mut desk = desk();
    let estimate = json!({ "sandbox": { "tier": "standard", "seconds": 600, "vcpus": 2, "memoryGib": "0.5" } });
    desk.expect(json!({ "op": "reserve", "id": "box", "resource": "e2b", "estimate": estimate }), 201, json!({}));
    desk.expect(
        json!({ "op": "settle", "id": "box", "sandbox": { "seconds": 100 } }),
        200,
        json!({ "charge": { "usd": "0.003025" } }),
    );
    // A price for the whole box instead of its parts: 100 × 0.0001.
    let whole = prices(
        json!({ "rates": [{ "provider": "e2b", "model": "standard", "perUnit": { "sandbox_second": "0.0001" } }] }),
    );
    let line = rerate(&desk, "box", &whole).unwrap();
    assert_eq!(
        (line.new.to_string(), line.why.as_str()),
        ("0.01".to_owned(), "sandbox_second at 0.0001 USD is new; vcpu_second is gone; gib_second is gone")
    );
}

/// Which model, its prompt and answer, and whether it is settled by an amount.
type Call = (usize, u32, u32, bool);
/// Which model has rates of its own, the factor on all, and its rate, in millionths.
type Round = (usize, u32, u32);

/// Calls of a few models, and the factors and rates that they are re-rated by, one after the other.
fn histories() -> impl Strategy<Value = (Vec<Call>, Vec<Round>)> {
    let calls = prop::collection::vec((0..3_usize, 0..2_000_000_u32, 0..100_000_u32, any::<bool>()), 1..12);
    (calls, prop::collection::vec((0..4_usize, 0..3_000_000_u32, 0..90_000_000_u32), 1..4))
}

#[test]
fn the_sum_of_differences_is_the_difference_of_sums_and_posting_twice_is_once() {
    let models = [GPT_4O, ("openai", "gpt-4o-mini"), ("anthropic", "claude-haiku-4-5")];
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&histories(), |(calls, rounds)| {
        let mut desk = Desk::open(json!({ "quotas": { "all": tenant_quota("all", "1000000", "lifetime") } }));
        for (at, (model, input, output, by_amount)) in calls.iter().enumerate() {
            let id = format!("c{at}");
            let (input, output) = (u64::from(*input), u64::from(*output));
            desk.expect(reserve_tokens(&id, models[*model], input, output), 201, json!({}));
            if !by_amount {
                let usage = json!({ "input": input, "output": output });
                desk.expect(json!({ "op": "settle", "id": id, "usage": usage }), 200, json!({}));
            } else {
                desk.expect(settle(&id, "0.5"), 200, json!({}));
            }
        }
        for (round, (model, factor, rate)) in rounds.iter().enumerate() {
            let decimal = |millionths: &u32| format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
            let mut document = json!({ "markups": [{ "id": "m", "factor": decimal(factor) }] });
            if let Some((provider, model)) = models.get(*model) {
                document["rates"] = json!([{ "provider": provider, "model": model, "perMillion": { "input": decimal(rate), "output": "7" } }]);
            }
            let by = prices(document);
            let before = usage(&desk);
            let lines: Vec<Rerated> = (0..calls.len()).filter_map(|at| rerate(&desk, &format!("c{at}"), &by)).collect();
            let sum = |part: fn(&Rerated) -> Usd| lines.iter().map(part).sum::<Usd>();
            prop_assert_eq!(sum(|line| line.difference), sum(|line| line.new).minus(sum(|line| line.old)));
            prop_assert_eq!(sum(|line| line.old), before.0);
            for line in lines.iter().chain(&lines) {
                post(&mut desk, &format!("round-{round}"), line);
            }
            let after = usage(&desk);
            prop_assert_eq!(after.0, sum(|line| line.new));
            prop_assert_eq!((after.1, after.2), (before.1, before.2));
            prop_assert_eq!(desk.quota("all")["spent"].as_str().unwrap().parse::<Usd>().unwrap(), after.0);
            for line in &lines {
                prop_assert_eq!(rerate(&desk, line.id.as_str(), &by).unwrap().difference, Usd::ZERO);
            }
        }
        desk.restart();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
