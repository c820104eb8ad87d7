//! What is the platform's own, a tenant does not see: not in any answer, and not in any entry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{Desk, reserve_tokens, tenant_quota, with};
use tollgate_core::api::EntriesPage;
use tollgate_core::catalog::{OverridesDocument, OverridesScope};
use tollgate_core::ledger::{Command, Entry, Event, OverridesOrder, Repair};
use tollgate_core::sight::Sight;

/// Numbers and names that only the platform's agreements have; none of them is a price that comes out.
const SECRETS: [&str; 7] = ["3.33333", "13.37", "1.7", "margin", "11.1111", "hidden-model", "272001"];

/// Own rates of one model, with a tier, and under another name; a markup on everything.
fn platform(desk: &mut Desk) {
    let document = json!({
        "rates": [{ "provider": "openai", "model": "gpt-4o", "perMillion": { "input": "3.33333", "output": "13.37" },
                    "tiers": [{ "above": 272_001, "perMillion": { "input": "13.37" } }] }],
        "aliases": [{ "provider": "azure", "model": "prod", "is": { "provider": "openai", "model": "gpt-4o" } },
                    { "provider": "azure", "model": "unused", "is": { "provider": "acme", "model": "hidden-model" } }],
        "markups": [{ "id": "margin", "factor": "1.7" }],
    });
    let document: OverridesDocument = serde_json::from_value(document).unwrap();
    let order = OverridesOrder { scope: OverridesScope::Platform, version: Some(4), document: Arc::new(document) };
    desk.command(Command::SetOverrides(order)).expect(200, json!({}));
}

fn desk() -> Desk {
    let fallback = json!({ "fallback": { "perMillion": { "input": "11.1111", "output": "11.1111" } } });
    let mut desk =
        Desk::open(json!({ "quotas": { "month": tenant_quota("all", "1000", "month") }, "unknownModel": fallback }));
    platform(&mut desk);
    desk
}

/// Everything that can be asked which has a price in it.
fn ask_everything(desk: &mut Desk) -> Vec<Value> {
    let models = [("openai", "gpt-4o"), ("azure", "prod"), ("acme", "unheard-of"), ("openai", "gpt-4o-mini")];
    let usage = json!({ "input": 300_000, "output": 1000 });
    let mut answers = Vec::new();
    for (number, (provider, model)) in models.into_iter().enumerate() {
        let call = |more: Value| with(json!({ "resource": "llm", "provider": provider, "model": model }), more);
        let id = |what: &str| format!("{what}-{number}");
        let reserve = |what: &str| reserve_tokens(&id(what), (provider, model), 300_000, 1000);
        for command in [
            reserve("settled"),
            json!({ "op": "extend", "id": id("settled"), "extend": { "id": "e", "ttlSeconds": 900 } }),
            json!({ "op": "meter", "id": id("settled"), "meter": { "id": "m", "usage": { "input": 300_000 } } }),
            json!({ "op": "getReservation", "id": id("settled") }),
            json!({ "op": "settle", "id": id("settled"), "usage": usage }),
            json!({ "op": "settle", "id": id("settled"), "usage": usage }),
            json!({ "op": "getReservation", "id": id("settled") }),
            reserve("released"),
            json!({ "op": "release", "id": id("released") }),
            with(reserve("late"), json!({ "ttlSeconds": 1 })),
            call(json!({ "op": "record", "id": id("recorded"), "usage": usage })),
            json!({ "op": "refund", "id": id("recorded"), "refund": { "id": "r", "usd": "0.01", "reason": "a test", "by": "support" } }),
            with(reserve("explained"), json!({ "op": "explain" })),
            call(json!({ "op": "price", "usage": usage })),
        ] {
            let reply = desk.ask(command.clone());
            // A price by itself takes no policy's fallback.
            assert!(reply.status < 300 || reply.body["code"] == "unpriced", "{command}: {}", reply.body);
            answers.push(reply.body);
        }
    }
    desk.at("2026-11-24T12:05:00Z");
    for number in 0..models.len() {
        answers.push(desk.ask(json!({ "op": "getReservation", "id": format!("late-{number}") })).body);
        let settle = json!({ "op": "settle", "id": format!("late-{number}"), "usage": usage });
        answers.push(desk.ask(settle).body);
    }
    answers.push(desk.ask(json!({ "op": "getOverrides" })).body);
    answers.push(desk.ask(json!({ "op": "listQuotas" })).body);
    answers
}

fn entries(history: &[Entry], sight: Sight) -> Value {
    let mut page = EntriesPage::new(1000);
    assert!(history.iter().all(|entry| page.add(entry, sight)), "they are all on one page");
    serde_json::from_str(&page.answer(0).body).unwrap()
}

/// Those that stand there by themselves, not as a part of another number.
fn secrets_in(answer: &Value) -> Vec<&'static str> {
    let text = answer.to_string();
    let goes_on = |character: Option<char>| character.is_some_and(|it| it.is_ascii_alphanumeric() || it == '.');
    let is_there = |secret: &&str| {
        text.match_indices(*secret).any(|(at, found)| {
            !goes_on(text[..at].chars().next_back()) && !goes_on(text[at + found.len()..].chars().next())
        })
    };
    SECRETS.into_iter().filter(is_there).collect()
}

#[test]
fn an_answer_for_a_tenant_has_nothing_of_the_platforms() {
    let mut desk = desk();
    let answers = ask_everything(desk.seen_by(Sight::Tenant));
    for answer in &answers {
        assert!(secrets_in(answer).is_empty(), "{answer}");
    }
    let told = answers.iter().filter(|answer| answer.to_string().contains(r#""applied":{"platformVersion":4}"#));
    assert!(told.count() > 20, "they say that the platform's document applied, and which");
}

#[test]
fn an_entry_for_a_tenant_has_nothing_of_the_platforms() {
    let mut desk = desk();
    ask_everything(&mut desk);
    let seen = entries(&desk.history(), Sight::Tenant);
    let list = seen["entries"].as_array().unwrap();
    for entry in list {
        assert!(secrets_in(entry).is_empty(), "{entry}");
    }
    let of = |kind: &str| list.iter().find(|entry| entry["type"] == kind).unwrap_or_else(|| panic!("no {kind}"));
    for kind in
        ["reserved", "extended", "metered", "settled", "released", "expired", "settled_late", "recorded", "refunded"]
    {
        of(kind);
    }
    let set = of("overrides_set");
    assert_eq!(
        *set,
        json!({ "seq": set["seq"], "at": set["at"], "type": "overrides_set", "scope": "platform", "version": 4 })
    );
    assert_eq!(of("plan_applied")["unknownModel"], json!({ "fallback": {} }));
}

#[test]
fn an_administrator_sees_all_of_it_and_so_does_whoever_reads_what_is_stored() {
    let mut desk = desk();
    let mut answers = ask_everything(&mut desk);
    let history = desk.history();
    let whole = entries(&history, Sight::Everything);
    let stored: Vec<Value> = history.iter().map(|entry| serde_json::to_value(entry).unwrap()).collect();
    assert_eq!(whole["entries"], json!(stored));
    answers.push(whole);
    let seen: Vec<_> =
        SECRETS.into_iter().filter(|secret| answers.iter().any(|answer| answer.to_string().contains(secret))).collect();
    assert_eq!(seen, SECRETS);
    assert!(!json!(answers).to_string().contains("platformVersion\":4}"), "nothing stands in its place");
}

#[test]
fn amounts_and_prices_are_the_same_for_everybody() {
    let (mut tenants, mut all) = (desk(), desk());
    let pairs = ask_everything(tenants.seen_by(Sight::Tenant)).into_iter().zip(ask_everything(&mut all));
    for (mut seen, mut whole) in pairs {
        for answer in [&mut seen, &mut whole] {
            strip(answer);
        }
        assert_eq!(seen, whole);
    }
    assert_eq!(tenants.snapshot(), all.snapshot());
    assert_eq!(json!(tenants.history()), json!(all.history()), "what is stored does not depend on who asks");
}

/// Takes out what may differ.
fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.remove("applied");
            members.remove("explanation");
            members.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn a_tenant_sees_its_own_agreements_and_the_explanation_of_its_price() {
    let mut desk = desk();
    let own = json!({
        "rates": [{ "provider": "openai", "model": "gpt-4o", "perMillion": { "input": "2", "output": "8" } }],
        "aliases": [{ "provider": "azure", "model": "mine", "is": { "provider": "openai", "model": "gpt-4o" } }],
    });
    desk.expect(json!({ "op": "putOverrides", "overrides": own }), 200, json!({}));
    desk.seen_by(Sight::Tenant);
    let record = |id: &str, provider: &str, model: &str| json!({ "op": "record", "id": id, "resource": "llm", "provider": provider, "model": model, "usage": { "input": 1000 } });
    let body = desk.expect(record("a", "azure", "mine"), 201, json!({ "charge": { "usd": "0.0034" } }));
    let applied = &body["charge"]["basis"]["applied"];
    assert_eq!(applied["alias"]["is"]["model"], "gpt-4o");
    assert_eq!(applied["rates"]["entry"]["perMillion"]["input"], "2");
    assert_eq!((&applied["markup"], &applied["platformVersion"]), (&Value::Null, &json!(4)));
    let explanation =
        |desk: &mut Desk, id: &str| desk.ask(json!({ "op": "getReservation", "id": id })).body["explanation"].clone();
    assert_eq!(
        explanation(&mut desk, "a"),
        json!([
            "rates of tenant:openai/gpt-4o@1970-01-01",
            "mine stands for openai/gpt-4o (tenant overrides, version 1)",
            "own rates (tenant overrides, version 1)",
            "the platform's terms (version 4)",
            "1000 input × 0.0000034 USD = 0.0034 USD",
            "sum 0.0034 USD",
        ])
    );
    desk.ask(record("b", "acme", "unheard-of"));
    assert_eq!(
        explanation(&mut desk, "b"),
        json!([
            "rates of policy/fallback",
            "the platform's terms (version 4)",
            "1000 input × 0.00001888887 USD = 0.01888887 USD",
            "sum 0.01888887 USD",
            "the price list does not know the model: the policy's fallback rates were taken",
        ])
    );
    let set = entries(&desk.history(), Sight::Tenant)["entries"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|entry| entry["type"] == "overrides_set")
        .unwrap()
        .clone();
    assert_eq!((&set["scope"], &set["document"]["aliases"][0]["model"]), (&json!("tenant"), &json!("mine")));
}

#[test]
fn a_repair_tells_a_tenant_where_and_not_what() {
    let repair = Repair {
        place: "overrides[0].document.markups[0].factor".to_owned(),
        kept: "\"1.7\"".to_owned(),
        refolded: "\"1.71\"".to_owned(),
    };
    let event = Event::Repaired { by: "ops@platform.example".parse().unwrap(), differences: vec![repair] };
    let entry = Entry { seq: 9, at: support::at(support::OPENING), event };
    let seen = &entries(core::slice::from_ref(&entry), Sight::Tenant)["entries"][0];
    let place = json!({ "place": "overrides[0].document.markups[0].factor" });
    assert_eq!(
        *seen,
        json!({ "seq": 9, "at": "2026-11-24T12:00:00.000Z", "type": "repaired", "differences": [place] })
    );
    assert_eq!(entries(&[entry], Sight::Everything)["entries"][0]["by"], "ops@platform.example");
}
