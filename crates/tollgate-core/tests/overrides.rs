//! Own rates, aliases and markups: what a call costs where the price list is not the last word.
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
use support::{Desk, Local, at, reserve_tokens, tenant_quota};
use tollgate_core::api::parse_overrides;
use tollgate_core::catalog::{Catalog, Overrides, OverridesDocument, OverridesScope};
use tollgate_core::ledger::{Command, Event, OverridesOrder};

const GPT_4O: (&str, &str) = ("openai", "gpt-4o");

fn desk() -> Desk {
    Desk::open(json!({ "quotas": { "month": tenant_quota("all", "1000", "month") } }))
}

fn put(overrides: Value) -> Value {
    json!({ "op": "putOverrides", "overrides": overrides })
}

/// The price of a million tokens of prompt and a million of answer.
fn price(desk: &mut Desk, (provider, model): (&str, &str), at: &str, more: Value) -> Value {
    let mut request = json!({ "op": "price", "provider": provider, "model": model, "at": at, "usage": { "input": 1_000_000, "output": 1_000_000 } });
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    desk.ask(request).body
}

fn usd(desk: &mut Desk, model: (&str, &str), at: &str) -> String {
    let answer = price(desk, model, at, json!({}));
    answer["usd"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

fn platform(desk: &mut Desk, version: u64, document: &Value) {
    let document: OverridesDocument = serde_json::from_value(document.clone()).unwrap();
    let order =
        OverridesOrder { scope: OverridesScope::Platform, version: Some(version), document: Arc::new(document) };
    desk.command(Command::SetOverrides(order)).expect(200, json!({}));
}

#[test]
fn own_rates_stand_for_themselves_and_the_tenants_come_first() {
    let mut desk = desk();
    // The price list: 2.5 and 10.
    assert_eq!(usd(&mut desk, GPT_4O, "2026-12-01T00:00:00Z"), "12.5");
    let rates = |input: &str| json!({ "rates": [{ "provider": "openai", "model": "gpt-4o", "perMillion": { "input": input, "output": "8" } }] });
    platform(&mut desk, 4, &rates("2"));
    let answer = price(&mut desk, GPT_4O, "2026-12-01T00:00:00Z", json!({}));
    assert_eq!(
        (&answer["usd"], &answer["basis"]["rateCard"]),
        (&json!("10"), &json!("platform:openai/gpt-4o@1970-01-01"))
    );
    assert_eq!(answer["basis"]["applied"]["rates"]["version"], 4);
    desk.expect(put(rates("1")), 200, json!({ "version": 1, "platformVersion": 4 }));
    let answer = price(&mut desk, GPT_4O, "2026-12-01T00:00:00Z", json!({}));
    assert_eq!(
        (&answer["usd"], &answer["basis"]["rateCard"]),
        (&json!("9"), &json!("tenant:openai/gpt-4o@1970-01-01"))
    );
    assert_eq!(answer["basis"]["applied"]["rates"]["scope"], "tenant");
    // Batch is not in them, so the price list's own batch rates hold: half.
    let answer = price(&mut desk, GPT_4O, "2026-12-01T00:00:00Z", json!({ "mode": "batch" }));
    assert_eq!((&answer["usd"], &answer["basis"]["applied"]), (&json!("6.25"), &Value::Null));
    // Nothing left: the price list again.
    desk.expect(put(json!({})), 200, json!({ "version": 2, "rates": [] }));
    assert_eq!(usd(&mut desk, GPT_4O, "2026-12-01T00:00:00Z"), "10");
}

#[test]
fn of_several_the_one_that_began_last_holds_while_it_lasts() {
    let mut desk = desk();
    let own = |from: Value, until: Value, input: &str| json!({ "provider": "openai", "model": "gpt-4o", "from": from, "until": until, "perMillion": { "input": input, "output": "0" } });
    let rates = [
        own(json!("2026-12-01T00:00:00Z"), Value::Null, "4"),
        own(json!("2026-12-24T00:00:00Z"), json!("2026-12-27T00:00:00Z"), "1"),
        own(json!("2027-01-01T12:00:00Z"), json!("2027-02-01T00:00:00Z"), "5"),
    ];
    desk.expect(put(json!({ "rates": rates })), 200, json!({ "version": 1 }));
    for (at, expected) in [
        ("2026-11-30T23:59:59.999Z", "12.5"),
        ("2026-12-01T00:00:00Z", "4"),
        ("2026-12-23T23:59:59.999Z", "4"),
        ("2026-12-24T00:00:00Z", "1"),
        ("2026-12-26T23:59:59.999Z", "1"),
        ("2026-12-27T00:00:00Z", "4"),
        ("2027-01-01T11:59:59.999Z", "4"),
        ("2027-01-01T12:00:00Z", "5"),
        ("2027-02-01T00:00:00Z", "4"),
    ] {
        assert_eq!(usd(&mut desk, GPT_4O, at), expected, "{at}");
    }
    let card = price(&mut desk, GPT_4O, "2027-01-02T00:00:00Z", json!({}))["basis"]["rateCard"].clone();
    assert_eq!(card, "tenant:openai/gpt-4o@2027-01-01T12:00:00.000Z");
}

#[test]
fn own_rates_have_tiers_modes_and_regions_like_a_card() {
    let mut desk = desk();
    desk.expect(
        put(json!({ "rates": [{ "provider": "acme", "model": "own-1", "perMillion": { "input": "1", "output": "2" }, "perUnit": { "web_search": "0.01" },
            "tiers": [{ "above": 500_000, "perMillion": { "input": "3" } }],
            "modes": { "batch": { "multiplier": "0.5" } },
            "regions": { "eu": { "perMillion": { "input": "1.5" } } } }] })),
        200,
        json!({ "version": 1 }),
    );
    let model = ("acme", "own-1");
    let mut cost = |usage: Value, more: Value| {
        let mut more = more;
        more["usage"] = usage;
        let answer = price(&mut desk, model, "2026-12-01T00:00:00Z", more);
        answer["usd"].as_str().map_or_else(|| answer["field"].clone(), |usd| json!(usd))
    };
    // 500,000 × 1/1e6; 500,001 × 3/1e6.
    assert_eq!(cost(json!({ "input": 500_000 }), json!({})), "0.5");
    assert_eq!(cost(json!({ "input": 500_001 }), json!({})), "1.500003");
    // 1,000 × 1/1e6 × 0.5 + 0.01: fees are not multiplied by a mode.
    assert_eq!(cost(json!({ "input": 1_000, "web_search": 1 }), json!({ "mode": "batch" })), "0.0105");
    assert_eq!(cost(json!({ "input": 1_000 }), json!({ "region": "eu" })), "0.0015");
    assert_eq!(cost(json!({ "input": 1_000 }), json!({ "region": "mars" })), "region");
    assert_eq!(cost(json!({ "input": 1_000 }), json!({ "mode": "flex" })), "mode");
    assert_eq!(cost(json!({ "input_audio": 1 }), json!({})), "usage");
}

#[test]
fn the_markup_that_says_most_applies_to_whichever_rates_were_chosen() {
    let mut desk = desk();
    platform(
        &mut desk,
        1,
        &json!({ "markups": [
            { "id": "margin", "percent": "20" },
            { "id": "models", "resource": "llm", "factor": "1.3" },
            { "id": "openai", "provider": "openai", "percent": "-10" },
            { "id": "openai-later", "provider": "openai", "from": "2027-01-01T00:00:00Z", "factor": "2" },
            { "id": "mini", "provider": "openai", "model": "gpt-4o-mini", "factor": "0" } ] }),
    );
    let mut applied = |model, at: &str, more: Value| {
        let answer = price(&mut desk, model, at, more);
        let markup = &answer["basis"]["applied"]["markup"];
        format!(
            "{} {} {}",
            answer["usd"].as_str().unwrap(),
            markup["id"].as_str().unwrap(),
            markup["factor"].as_str().unwrap()
        )
    };
    let now = "2026-12-01T00:00:00Z";
    assert_eq!(applied(GPT_4O, now, json!({})), "11.25 openai 0.9");
    assert_eq!(applied(GPT_4O, "2027-01-01T00:00:00Z", json!({})), "25 openai-later 2");
    assert_eq!(applied(("openai", "gpt-4o-mini"), now, json!({})), "0 mini 0");
    // 1 and 5.
    assert_eq!(applied(("anthropic", "claude-haiku-4-5"), now, json!({})), "7.8 models 1.3");
    let seconds = json!({ "resource": "e2b", "usage": { "vcpu_second": 1000 } });
    assert_eq!(applied(("e2b", "standard"), now, seconds), "0.0168 margin 1.2");
    // The tenant's comes first, even where it says less; and it multiplies own rates, fees too.
    desk.expect(
        put(json!({ "markups": [{ "id": "friend", "factor": "0.5" }],
            "rates": [{ "provider": "openai", "model": "gpt-4o", "perMillion": { "input": "1", "output": "1" }, "perUnit": { "web_search": "0.1" } }] })),
        200,
        json!({ "version": 1 }),
    );
    let answer = price(&mut desk, GPT_4O, now, json!({ "usage": { "input": 1_000_000, "web_search": 1 } }));
    assert_eq!(answer["usd"], "0.55");
    assert_eq!(
        answer["basis"]["applied"]["markup"],
        json!({ "scope": "tenant", "version": 1, "id": "friend", "factor": "0.5" })
    );
}

#[test]
fn an_alias_leads_to_its_model_in_one_step() {
    let mut desk = desk();
    platform(
        &mut desk,
        1,
        &json!({ "aliases": [
                { "provider": "azure", "model": "prod-chat", "is": { "provider": "azure", "model": "gpt-4o" }, "until": "2027-01-01T00:00:00Z" },
                { "provider": "azure", "model": "prod-chat", "is": { "provider": "azure", "model": "gpt-4o-mini" }, "from": "2027-01-01T00:00:00Z" } ],
            "markups": [{ "id": "azure-4o", "provider": "azure", "model": "gpt-4o", "factor": "2" }] }),
    );
    let deployment = ("azure", "prod-chat");
    let before = price(&mut desk, deployment, "2026-12-01T00:00:00Z", json!({}));
    assert_eq!(before["basis"]["rateCard"].as_str().unwrap().split('@').next(), Some("azure/gpt-4o"));
    assert_eq!(before["basis"]["applied"]["alias"]["is"]["model"], "gpt-4o");
    assert_eq!(before["basis"]["applied"]["markup"]["id"], "azure-4o");
    let after = price(&mut desk, deployment, "2027-01-01T00:00:00Z", json!({}));
    assert_eq!(after["basis"]["rateCard"].as_str().unwrap().split('@').next(), Some("azure/gpt-4o-mini"));
    assert_eq!(after["basis"]["applied"]["markup"], Value::Null);
    // The tenant's own rates for the name come before the platform's alias.
    desk.expect(
        put(json!({ "rates": [{ "provider": "azure", "model": "prod-chat", "perMillion": { "input": "7", "output": "0" } }] })),
        200,
        json!({}),
    );
    assert_eq!(usd(&mut desk, deployment, "2026-12-01T00:00:00Z"), "7");
    assert_eq!(price(&mut desk, ("azure", "prod-chat-2"), "2026-12-01T00:00:00Z", json!({}))["code"], "unpriced");
}

#[test]
fn a_settle_has_the_rates_of_its_reservation_whatever_came_since() {
    let own = |input: &str| {
        json!({ "rates": [{ "provider": "acme", "model": "own", "perMillion": { "input": input, "output": "10" } }],
            "aliases": [{ "provider": "acme", "model": "nick", "is": { "provider": "openai", "model": "gpt-4o" } }],
            "markups": [{ "id": "m", "factor": "1.5" }] })
    };
    for restart in [false, true] {
        let mut desk = desk();
        desk.expect(reserve_tokens("plain", GPT_4O, 1000, 1000), 201, json!({ "held": { "usd": "0.0125" } }));
        desk.expect(put(own("4")), 200, json!({ "version": 1 }));
        // (1000 × 4 + 1000 × 10) / 1e6 × 1.5; (1000 × 2.5 + 1000 × 10) / 1e6 × 1.5.
        desk.expect(reserve_tokens("own", ("acme", "own"), 1000, 1000), 201, json!({ "held": { "usd": "0.021" } }));
        desk.expect(reserve_tokens("nick", ("acme", "nick"), 1000, 1000), 201, json!({ "held": { "usd": "0.01875" } }));
        desk.expect(reserve_tokens("longer", ("acme", "own"), 1000, 1000), 201, json!({ "held": { "usd": "0.021" } }));
        desk.expect(put(own("400")), 200, json!({ "version": 2 }));
        desk.expect(put(json!({ "markups": [{ "id": "m", "factor": "100" }] })), 200, json!({ "version": 3 }));
        if restart {
            desk.restart();
        }
        let full = json!({ "input": 1000, "output": 1000 });
        let settle = |id: &str| json!({ "op": "settle", "id": id, "usage": full });
        desk.expect(settle("plain"), 200, json!({ "charge": { "usd": "0.0125" }, "overrun": "0" }));
        let basis = json!({ "applied": { "markup": { "version": 1 }, "rates": { "version": 1 } } });
        desk.expect(settle("own"), 200, json!({ "charge": { "usd": "0.021", "basis": basis }, "overrun": "0" }));
        desk.expect(settle("nick"), 200, json!({ "charge": { "usd": "0.01875" }, "overrun": "0" }));
        // An extension too: 2000 × 4/1e6 × 1.5 + 1000 × 10/1e6 × 1.5.
        let estimate = json!({ "inputTokens": 2000, "maxOutputTokens": 1000 });
        desk.expect(
            json!({ "op": "extend", "id": "longer", "extend": { "id": "e", "estimate": estimate } }),
            200,
            json!({ "held": { "usd": "0.027" } }),
        );
        // What is new has the new prices: 12.5 × 100 and none.
        desk.expect(reserve_tokens("new", GPT_4O, 1000, 1000), 201, json!({ "held": { "usd": "1.25" } }));
        assert_eq!(desk.ask(reserve_tokens("gone", ("acme", "own"), 1, 1)).body["code"], "unpriced");
    }
}

#[test]
fn fallback_rates_are_marked_up_too() {
    let mut desk = Desk::open(
        json!({ "quotas": {}, "unknownModel": { "fallback": { "perMillion": { "input": "10", "output": "30" } } } }),
    );
    desk.expect(put(json!({ "markups": [{ "id": "m", "percent": "10" }] })), 200, json!({}));
    desk.expect(reserve_tokens("a", ("nobody", "new"), 1000, 0), 201, json!({ "held": { "usd": "0.011" } }));
    desk.expect(put(json!({})), 200, json!({}));
    let settle = json!({ "op": "settle", "id": "a", "usage": { "input": 1000 } });
    desk.expect(settle, 200, json!({ "charge": { "usd": "0.011", "flags": ["fallback_rates"] } }));
}

#[test]
fn fallback_rates_are_those_of_the_reservation_whatever_plan_came_since() {
    let plan = |rule: Value| json!({ "quotas": {}, "unknownModel": rule });
    let fallback = |input: &str| plan(json!({ "fallback": { "perMillion": { "input": input, "output": "4" } } }));
    for (now, restart) in [(fallback("5"), false), (plan(json!("deny")), false), (fallback("5"), true)] {
        let mut desk = Desk::open(fallback("1"));
        desk.expect(reserve_tokens("a", ("nobody", "new"), 1000, 1000), 201, json!({ "held": { "usd": "0.005" } }));
        desk.onboard("other", now).expect(200, json!({}));
        if restart {
            desk.restart();
        }
        let usage = json!({ "op": "settle", "id": "a", "usage": { "input": 1000, "output": 1000 } });
        desk.expect(usage, 200, json!({ "charge": { "usd": "0.005", "flags": ["fallback_rates"] }, "overrun": "0" }));
    }
}

#[test]
fn a_sandbox_tier_of_ones_own_is_held_and_charged_by_its_rates() {
    let mut desk = desk();
    desk.expect(
        put(json!({ "rates": [{ "provider": "e2b", "model": "gpu-own", "perUnit": { "sandbox_second": "0.0015", "vcpu_second": "0.00001" } }],
            "markups": [{ "id": "sandboxes", "resource": "e2b", "percent": "10" }] })),
        200,
        json!({}),
    );
    let estimate = json!({ "sandbox": { "tier": "gpu-own", "seconds": 600, "vcpus": 2 } });
    // (600 × 0.0015 + 1200 × 0.00001) × 1.1
    desk.expect(
        json!({ "op": "reserve", "id": "box", "resource": "e2b", "estimate": estimate }),
        201,
        json!({ "held": { "usd": "1.0032" } }),
    );
    // (100 × 0.0015 + 200 × 0.00001) × 1.1
    desk.expect(
        json!({ "op": "settle", "id": "box", "sandbox": { "seconds": 100 } }),
        200,
        json!({ "charge": { "usd": "0.1672" } }),
    );
}

#[test]
fn the_same_document_again_is_the_same_version_and_an_old_one_of_the_platform_changes_nothing() {
    let mut desk = desk();
    let document = json!({ "markups": [{ "id": "m", "factor": "1.10" }] });
    desk.expect(put(document.clone()), 200, json!({ "version": 1 }));
    desk.expect(put(document.clone()), 200, json!({ "version": 1 }));
    desk.expect(
        json!({ "op": "getOverrides" }),
        200,
        json!({ "version": 1, "markups": [{ "id": "m", "factor": "1.1" }] }),
    );
    platform(&mut desk, 7, &document);
    platform(&mut desk, 6, &json!({}));
    platform(&mut desk, 7, &json!({}));
    let events = desk.history().into_iter().filter(|entry| matches!(entry.event, Event::OverridesSet { .. }));
    assert_eq!(events.count(), 2);
}

#[test]
fn bad_documents_name_their_field_and_change_nothing() {
    let own = json!({ "provider": "p", "model": "m", "perMillion": { "input": "1" } });
    let own_with = |more: Value| {
        let mut own = own.clone();
        own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "rates": [own] })
    };
    let markup = |more: Value| {
        let mut markup = json!({ "id": "m" });
        markup.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "markups": [markup] })
    };
    let alias = |is: Value| json!({ "aliases": [{ "provider": "azure", "model": "x", "is": is }] });
    let gpt = json!({ "provider": "openai", "model": "gpt-4o" });
    for (document, field) in [
        (json!({ "rate": [] }), "rate"),
        (json!({ "rates": {} }), "rates"),
        (json!({ "rates": [[]] }), "rates[0]"),
        (json!({ "rates": [{ "provider": "p", "perMillion": {} }] }), "rates[0].model"),
        (json!({ "rates": [{ "provider": "p", "model": "m" }] }), "rates[0]"),
        (json!({ "rates": [own, own] }), "rates[1].from"),
        (own_with(json!({ "perMillion": { "input": 1 } })), "rates[0].perMillion.input"),
        (own_with(json!({ "perMillion": { "input": "-1" } })), "rates[0]"),
        (own_with(json!({ "perMillion": { "request": "1" } })), "rates[0]"),
        (own_with(json!({ "from": "2026-12-01" })), "rates[0].from"),
        (own_with(json!({ "from": "2026-12-01T00:00:00Z", "until": "2026-12-01T00:00:00Z" })), "rates[0].until"),
        (own_with(json!({ "tiers": [{ "perMillion": { "input": "1" } }] })), "rates[0].tiers[0].above"),
        (own_with(json!({ "tiers": [{ "above": 1, "multiplier": "1" }] })), "rates[0].tiers[0].multiplier"),
        (own_with(json!({ "tiers": [{ "above": 2 }, { "above": 2 }] })), "rates[0].tiers[1].above"),
        (own_with(json!({ "modes": { "fast": { "multiplier": "1" } } })), "rates[0].modes.fast"),
        (own_with(json!({ "modes": { "batch": {} } })), "rates[0].modes.batch"),
        (own_with(json!({ "modes": { "batch": { "multiplier": "101" } } })), "rates[0].modes.batch.multiplier"),
        (own_with(json!({ "modes": { "batch": { "multiplier": "0.1234567" } } })), "rates[0].modes.batch.multiplier"),
        (
            own_with(json!({ "regions": { "eu": { "multiplier": "1", "perMillion": { "input": "1" } } } })),
            "rates[0].regions.eu",
        ),
        (own_with(json!({ "regions": { "eu": { "multiplier": "1", "above": 1 } } })), "rates[0].regions.eu.above"),
        (markup(json!({})), "markups[0]"),
        (markup(json!({ "factor": "1", "percent": "1" })), "markups[0]"),
        (markup(json!({ "factor": 1 })), "markups[0].factor"),
        (markup(json!({ "factor": "-1" })), "markups[0].factor"),
        (markup(json!({ "factor": "1e1" })), "markups[0].factor"),
        (markup(json!({ "percent": "-101" })), "markups[0].percent"),
        (markup(json!({ "percent": "0.12345678901" })), "markups[0].percent"),
        (markup(json!({ "factor": "1", "model": "gpt-4o" })), "markups[0].provider"),
        (markup(json!({ "factor": "1", "resource": "gpu" })), "markups[0].resource"),
        (
            json!({ "markups": [{ "id": "m", "factor": "1" }, { "id": "m", "factor": "1", "resource": "llm" }] }),
            "markups[1].id",
        ),
        (json!({ "markups": [{ "id": "m", "factor": "1" }, { "id": "n", "factor": "1" }] }), "markups[1].from"),
        (alias(json!({ "provider": "openai", "model": "gpt-4oo" })), "aliases[0].is.model"),
        (alias(json!("gpt-4o")), "aliases[0].is"),
        (
            json!({ "aliases": [{ "provider": "azure", "model": "x", "is": gpt }, { "provider": "azure", "model": "x", "is": gpt }] }),
            "aliases[1].from",
        ),
        (
            json!({ "aliases": [{ "provider": "azure", "model": "x", "is": gpt }, { "provider": "azure", "model": "y", "is": { "provider": "azure", "model": "x" } }] }),
            "aliases[1].is",
        ),
        (json!({ "rates": [own], "aliases": [{ "provider": "p", "model": "m", "is": gpt }] }), "aliases[0].model"),
    ] {
        let mut desk = desk();
        let reply = desk.ask(put(document.clone()));
        // What does not even read is placed in the whole command.
        let named = reply.body["field"].as_str().unwrap_or_default();
        assert_eq!((reply.status, named.trim_start_matches("overrides.")), (400, field), "{document}: {}", reply.body);
        desk.expect(json!({ "op": "getOverrides" }), 200, json!({ "version": 0 }));
        // On a route of its own there is nothing before the field.
        let parsed = parse_overrides(&document.to_string());
        let named = match parsed {
            Err(problem) => problem.field,
            Ok(document) => {
                let checked = Overrides::new(OverridesScope::Platform, 1, document.clone()).map(|_| ());
                let catalog = Catalog::builtin().unwrap();
                Some(checked.and_then(|()| document.check_aliases(catalog, None)).unwrap_err().field)
            }
        };
        assert_eq!(named.as_deref(), Some(field), "{document}");
    }
}

#[test]
fn a_ledger_in_memory_prices_by_its_own_rates() {
    let now = at("2026-11-24T12:00:00Z");
    let overrides = json!({ "markups": [{ "id": "m", "factor": "2" }] });
    let mut local = Local::open_at(now, json!({ "tenant": "acme", "overrides": overrides }));
    let price = json!({ "op": "price", "provider": "openai", "model": "gpt-4o", "usage": { "input": 1000 } });
    local.ask(now, &price).expect(200, json!({ "usd": "0.005" }));
    local.ask(now, &put(json!({}))).expect(200, json!({ "version": 2 }));
    local.ask(now, &price).expect(200, json!({ "usd": "0.0025" }));
}
