//! The stored ledger gives the very same answers as the one in memory, whatever is asked, however requests are gathered into turns,
//! whenever it is restarted, and wherever the database fails in between.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use common::{Flaky, body, catalog, request};
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::api::{self, ArchiveRequest, Ask, JournalQuery, Request};
use tollgate_core::local::LocalLedger;
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::UsageCursor;

#[derive(Clone, Debug)]
enum Step {
    Turn {
        wait_ms: i64,
        commands: Vec<Value>,
    },
    Restart,
    /// One command in a batch of its own.
    Batch {
        wait_ms: i64,
        command: Value,
    },
    Fail {
        statement: u32,
        command: Value,
    },
}

fn id() -> impl Strategy<Value = String> {
    (0..12_u32).prop_map(|n| format!("r{n}"))
}

fn money() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..500_u32).prop_map(|cents| format!("{}.{:02}", cents / 100, cents % 100)),
        (1..999_u32).prop_map(|pico| format!("0.000000000{pico:03}")),
    ]
}

fn user() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!("u1")), Just(json!("u2"))]
}

fn command() -> impl Strategy<Value = Value> {
    let with_user = |mut command: Value, user: Value| {
        if !user.is_null() {
            command["userId"] = user;
        }
        command
    };
    prop_oneof![
        4 => (id(), money(), user(), 1..4000_u32, 0..3_usize).prop_map(move |(id, usd, user, ttl, rule)| {
            let rule = ["release", "charge_input", "charge_hold"][rule];
            with_user(json!({ "op": "reserve", "id": id, "resource": "llm", "estimate": { "usd": usd },
                              "ttlSeconds": ttl, "onExpiry": rule }), user)
        }),
        2 => (id(), 0..3000_u32, 0..500_u32, user()).prop_map(move |(id, input, output, user)| {
            with_user(json!({ "op": "reserve", "id": id, "resource": "llm", "provider": "openai", "model": "gpt-4o",
                              "estimate": { "inputTokens": input, "maxOutputTokens": output },
                              "attribution": { "touchpoint": "t" } }), user)
        }),
        3 => (id(), money()).prop_map(|(id, usd)| json!({ "op": "settle", "id": id, "usd": usd })),
        1 => (id(), 0..3000_u32, 0..900_u32).prop_map(|(id, input, output)| {
            json!({ "op": "settle", "id": id, "usage": { "input": input, "output": output } })
        }),
        2 => id().prop_map(|id| json!({ "op": "release", "id": id })),
        1 => (id(), 0..3_u32, 1..9000_u32, money()).prop_map(|(id, n, ttl, usd)| {
            json!({ "op": "extend", "id": id, "extend": { "id": format!("e{n}"), "ttlSeconds": ttl, "estimate": { "usd": usd } } })
        }),
        2 => (id(), money(), user(), any::<bool>()).prop_map(move |(id, usd, user, always)| {
            let mode = if always { "always" } else { "within_limit" };
            with_user(json!({ "op": "record", "id": id, "resource": "e2b", "usd": usd, "mode": mode }), user)
        }),
        1 => (money(), 0..2_usize).prop_map(|(limit, period)| {
            json!({ "op": "putQuota", "id": "custom", "quota": { "scope": "user", "scopeId": "u1", "resource": "all",
                    "unit": "usd", "limit": limit, "period": if period == 0 { "hour" } else { "day" } } })
        }),
        1 => Just(json!({ "op": "deleteQuota", "id": "custom" })),
        1 => Just(json!({ "op": "resetQuota", "id": "hour" })),
        1 => id().prop_map(|id| json!({ "op": "getReservation", "id": id })),
        1 => Just(json!({ "op": "listQuotas" })),
        1 => Just(json!({ "op": "usage", "groupBy": ["user", "model", "touchpoint", "day", "resource"] })),
        3 => report(),
        1 => (id(), money(), 0..5_usize, user()).prop_map(move |(id, usd, name, user)| {
            let (provider, model) = [("openai", "openai/gpt-4o"), ("openai", "gpt-4o-2024-11-20"), ("azure", "mine"),
                                     ("openai", "gpt-4o-2024-08-06"), ("nobody", "é \"quoted\" \\ name")][name];
            with_user(json!({ "op": "record", "id": id, "resource": "llm", "provider": provider, "model": model, "usd": usd }), user)
        }),
        1 => any::<bool>().prop_map(|alias| {
            let aliases = if alias { json!([{ "provider": "azure", "model": "mine", "is": { "provider": "openai", "model": "gpt-4o" } }]) } else { json!([]) };
            json!({ "op": "putOverrides", "overrides": { "aliases": aliases } })
        }),
        1 => (0..3_u32, money()).prop_map(|(id, amount)| {
            json!({ "op": "addCredit", "id": "paid", "credit": { "id": format!("c{id}"), "amount": amount } })
        }),
        1 => any::<bool>().prop_map(|forfeit| json!({ "op": "deleteQuota", "id": "paid", "forfeit": forfeit })),
        1 => Just(json!({ "op": "putQuota", "id": "paid", "quota": { "scope": "tenant", "resource": "llm", "unit": "usd",
                          "limit": "1", "period": "lifetime", "filter": { "provider": ["openai", "azure"], "model": "gpt-4o" } } })),
        1 => (0..60_u32).prop_map(|after| json!({ "op": "entries", "after": after, "limit": 50 })),
    ]
}

/// A page of a report: from the beginning, or after a group that may be there.
fn report() -> impl Strategy<Value = Value> {
    let dimensions =
        prop::sample::subsequence(vec!["user", "model", "calledModel", "touchpoint", "day", "resource"], 1..4);
    let zone =
        prop::sample::select(vec!["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/New_York", "Pacific/Chatham"]);
    let quarter = (0..200_i64)
        .prop_map(|quarters| Timestamp::from_millis(1_795_500_000_000 + quarters * 900_000).unwrap().to_string());
    let after =
        prop::option::of((money(), prop::option::of(prop_oneof![Just("u1"), Just("llm"), Just("openai/gpt-4o")])));
    (dimensions, zone, prop::option::of(quarter), 1..5_u32, after).prop_map(|(dimensions, zone, from, limit, after)| {
        let mut query = json!({ "op": "usage", "groupBy": dimensions, "limit": limit, "from": from });
        if dimensions.contains(&"day") {
            query["timeZone"] = zone.into();
        }
        if let Some((usd, value)) = after {
            let value = value.map(str::to_owned);
            query["after"] =
                UsageCursor { usd: usd.parse().unwrap(), group: vec![value; dimensions.len()] }.to_string().into();
        }
        query
    })
}

fn is_for_batches(command: &Value) -> bool {
    let ops = ["reserve", "settle", "release", "extend", "record"];
    ops.iter().any(|op| command["op"] == *op)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..4_000_000_i64, prop::collection::vec(command(), 1..6))
            .prop_map(|(wait_ms, commands)| Step::Turn { wait_ms, commands }),
        4 => (0..4_000_000_i64, command().prop_filter("not in a batch", is_for_batches))
            .prop_map(|(wait_ms, command)| Step::Batch { wait_ms, command }),
        1 => Just(Step::Restart),
        1 => (0..6_u32, command()).prop_map(|(statement, command)| Step::Fail { statement, command }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stored_and_in_memory_answer_alike(steps in prop::collection::vec(step(), 1..25)) {
        let mut now = 1_795_500_000_000_i64;
        let plan = json!({ "quotas": {
            "hour": { "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "20", "period": "hour" },
            "day": { "scope": "tenant", "resource": "all", "unit": "usd", "limit": "60", "period": "day" },
            "u2": { "scope": "user", "scopeId": "u2", "resource": "llm", "unit": "usd", "limit": "5", "period": "week" },
        } });
        let clock = |now| Timestamp::from_millis(now).unwrap();
        let config = serde_json::from_value(json!({ "tenant": "acme", "plan": plan })).unwrap();
        let mut memory = LocalLedger::new(config, catalog(), clock(now)).unwrap();
        let database = Flaky::new();
        let mut store = database.open();
        store.execute(catalog(), clock(now), &[common::onboard(&plan)]).unwrap();

        for step in steps {
            match step {
                Step::Restart => store = database.open(),
                Step::Batch { wait_ms, command } => {
                    now += wait_ms;
                    let batch = Ask::Batch(api::parse_batch(&json!({ "commands": [command] }).to_string()).unwrap());
                    let answers = store.carry_out(catalog(), clock(now), &[batch]).unwrap();
                    let (status, found) = common::alone(&answers[0]);
                    let expected = memory.execute(catalog(), clock(now), &request(&command));
                    prop_assert_eq!(status, u64::from(expected.status), "{}", command);
                    prop_assert_eq!(found, body(&expected), "{}", command);
                }
                Step::Fail { statement, command } => {
                    database.fail_in.set(Some(statement));
                    let request = request(&command);
                    if let Ok(answers) = store.execute(catalog(), clock(now), core::slice::from_ref(&request)) {
                        database.fail_in.set(None);
                        let expected = memory.execute(catalog(), clock(now), &request);
                        prop_assert_eq!(&answers[0], &expected, "{}", command);
                    }
                }
                Step::Turn { wait_ms, commands } => {
                    now += wait_ms;
                    // A history that is asked within a turn shows the whole turn; in memory there are no turns.
                    let requests: Vec<Request> = commands.iter().map(request).collect();
                    let (commands, histories): (Vec<_>, Vec<_>) =
                        requests.into_iter().partition(|request| !matches!(request, Request::History(_)));
                    let ordered: Vec<Request> = commands.into_iter().chain(histories).collect();
                    let answers = store.execute(catalog(), clock(now), &ordered).unwrap();
                    for (request, answer) in ordered.iter().zip(&answers) {
                        let expected = memory.execute(catalog(), clock(now), request);
                        prop_assert_eq!(answer.status, expected.status, "{:?}", request);
                        prop_assert_eq!(body(answer), body(&expected), "{:?}", request);
                        prop_assert_eq!(&answer.headers, &expected.headers);
                    }
                }
            }
        }
        let reopened = database.open();
        let report = reopened.audit().unwrap().unwrap();
        prop_assert!(report.clean, "{:?}", report);
        prop_assert_eq!(
            serde_json::to_value(reopened.ledger().snapshot()).unwrap(),
            serde_json::to_value(memory.ledger().snapshot()).unwrap()
        );
    }
}

/// What happens to a ledger that is archived now and then.
#[derive(Clone, Debug)]
enum ArchivedStep {
    Turn {
        wait_ms: i64,
        commands: Vec<Value>,
    },
    Restart,
    /// All rows but so many.
    Archive {
        keep: usize,
    },
}

fn archived_step() -> impl Strategy<Value = ArchivedStep> {
    let not_by_number = |command: &Value| command["op"] != "entries";
    prop_oneof![
        8 => (0..4_000_000_i64, prop::collection::vec(command().prop_filter("entries differ", not_by_number), 1..6))
            .prop_map(|(wait_ms, commands)| ArchivedStep::Turn { wait_ms, commands }),
        1 => Just(ArchivedStep::Restart),
        3 => (0..4_usize).prop_map(|keep| ArchivedStep::Archive { keep }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same, but for what is archived: there a repeat is told so, where the ledger in memory, which archives nothing, repeats its answer or
    /// refuses; neither holds or charges anything.
    #[test]
    fn archiving_changes_no_answer_but_that_to_a_repeat(steps in prop::collection::vec(archived_step(), 1..25)) {
        let mut now = 1_795_500_000_000_i64;
        let plan = json!({ "quotas": {
            "hour": { "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "20", "period": "hour" },
            "day": { "scope": "tenant", "resource": "all", "unit": "usd", "limit": "60", "period": "day" },
        } });
        let clock = |now| Timestamp::from_millis(now).unwrap();
        let config = serde_json::from_value(json!({ "tenant": "acme", "plan": plan })).unwrap();
        let mut memory = LocalLedger::new(config, catalog(), clock(now)).unwrap();
        let database = Flaky::new();
        let mut store = database.open();
        store.execute(catalog(), clock(now), &[common::onboard(&plan)]).unwrap();
        for step in steps {
            match step {
                ArchivedStep::Restart => store = database.open(),
                ArchivedStep::Archive { keep } => {
                    let rows = store.journal(JournalQuery { after: 0, limit: 1_000 }).unwrap().unwrap().rows;
                    if let Some(last) = rows.len().checked_sub(keep + 1).map(|at| &rows[at]) {
                        let order = ArchiveRequest { through: last.through, head: last.head.clone(), forget_through: None };
                        prop_assert!(store.archive(clock(now), &order).unwrap().unwrap().complete);
                    }
                }
                ArchivedStep::Turn { wait_ms, commands } => {
                    now += wait_ms;
                    for command in commands {
                        let request = request(&command);
                        let answer = store.execute(catalog(), clock(now), core::slice::from_ref(&request)).unwrap().remove(0);
                        let expected = memory.execute(catalog(), clock(now), &request);
                        let (found, wanted) = (body(&answer), body(&expected));
                        if answer.status == 410 {
                            let looked = command["op"] == "getReservation" && wanted["state"] != "held";
                            prop_assert!(expected.is_problem() || wanted["replayed"] == true || looked, "{}", command);
                        } else {
                            prop_assert_eq!((answer.status, found), (expected.status, wanted), "{}", command);
                        }
                    }
                }
            }
            let report = store.audit().unwrap().unwrap();
            prop_assert!(report.clean, "{:?}", report);
        }
        for question in [json!({ "op": "listQuotas" }), json!({ "op": "usage", "groupBy": ["user", "model", "day"] })] {
            let request = request(&question);
            let stored = database.open().execute(catalog(), clock(now), core::slice::from_ref(&request)).unwrap();
            prop_assert_eq!(body(&stored[0]), body(&memory.execute(catalog(), clock(now), &request)));
        }
    }
}
