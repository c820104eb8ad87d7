//! A charge in words, as `GET …/reservations/{id}` has it: what is written multiplies to what was charged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{Desk, OPENING, at, reserve_tokens, with};
use tollgate_core::arithmetic::arithmetic;
use tollgate_core::call::Call;
use tollgate_core::catalog::{Catalog, Mode, Rating, Terms};
use tollgate_core::meter::{Meter, Usage};
use tollgate_core::price::{Charge, price};
use tollgate_core::ratio::Ratio;
use tollgate_core::sight::Sight;

fn desk() -> Desk {
    Desk::open(
        json!({ "quotas": {}, "unknownModel": { "fallback": { "perMillion": { "input": "10", "output": "30" } } } }),
    )
}

fn record(desk: &mut Desk, call: Value, usage: Value) -> Vec<String> {
    let command = json!({ "op": "record", "id": "r", "resource": "llm", "usage": usage });
    desk.expect(with(command, call), 201, json!({}));
    explanation(desk, "r")
}

fn explanation(desk: &mut Desk, id: &str) -> Vec<String> {
    let body = desk.expect(json!({ "op": "getReservation", "id": id }), 200, json!({}));
    serde_json::from_value(body["explanation"].clone()).unwrap()
}

#[test]
fn every_line_says_what_was_multiplied() {
    let call = json!({ "provider": "openai", "model": "gpt-4o", "processing": "batch" });
    let text = record(&mut desk(), call, json!({ "input": 1000, "output": 200 }));
    assert_eq!(
        text[0],
        format!(
            "rates of openai/gpt-4o@2024-10-01, in the price list of {} from genai-prices-0.2.3, confirmed",
            Catalog::builtin().unwrap().version()
        )
    );
    assert_eq!(
        text[1..],
        [
            "1000 input × 1.25 USD per 1000000 (batch) = 0.00125 USD",
            "200 output × 5 USD per 1000000 (batch) = 0.001 USD",
            "sum 0.00225 USD",
        ]
    );
}

#[test]
fn tiers_aliases_own_rates_markups_and_flags_are_told() {
    let mut desk = desk();
    let overrides = json!({
        "rates": [{ "provider": "acme", "model": "own", "perMillion": { "input": "1", "output": "2" }, "perUnit": { "web_search": "0.01" },
            "regions": { "eu": { "multiplier": "1.1" } } }],
        "aliases": [{ "provider": "acme", "model": "nick", "is": { "provider": "acme", "model": "own" } }],
        "markups": [{ "id": "margin", "percent": "20" }] });
    desk.expect(json!({ "op": "putOverrides", "overrides": overrides }), 200, json!({}));
    let call = json!({ "provider": "acme", "model": "nick", "region": "eu" });
    assert_eq!(
        record(&mut desk, call, json!({ "input": 1000, "cache_write_5m": 500, "web_search": 2 })),
        [
            "rates of tenant:acme/own@1970-01-01",
            "nick stands for acme/own (tenant overrides, version 1)",
            "own rates (tenant overrides, version 1)",
            "every rate × 1.2: markup margin (tenant overrides, version 1)",
            "1000 input × 1 USD per 1000000 × 1.1 (eu) × 1.2 (markup margin) = 0.00132 USD",
            "500 cache_write_5m × 1 USD per 1000000 × 1.1 (eu) × 1.2 (markup margin) = 0.00066 USD",
            "2 web_search × 0.01 USD × 1.2 (markup margin) = 0.024 USD",
            "sum 0.02598 USD",
            "the card has no rate for cache writes: they were priced as input",
        ]
    );
    let mut desk = self::desk();
    let gemini = json!({ "provider": "google", "model": "gemini-2.5-pro" });
    let text = record(&mut desk, gemini, json!({ "input": 250_000 }));
    assert_eq!(
        text[1..],
        [
            "a prompt of 250000 tokens has the rates of those from 200001 tokens",
            "250000 input × 2.5 USD per 1000000 = 0.625 USD",
            "sum 0.625 USD"
        ]
    );
    let mut desk = self::desk();
    let text = record(&mut desk, json!({ "provider": "nobody", "model": "new" }), json!({ "input": 1000 }));
    assert_eq!(
        text,
        [
            "rates of policy/fallback",
            "1000 input × 10 USD per 1000000 = 0.01 USD",
            "sum 0.01 USD",
            "the price list does not know the model: the policy's fallback rates were taken"
        ]
    );
}

#[test]
fn what_has_no_lines_says_why() {
    let mut desk = desk();
    desk.expect(with(reserve_tokens("a", ("openai", "gpt-4o"), 1000, 100), json!({ "ttlSeconds": 1 })), 201, json!({}));
    desk.expect(json!({ "op": "record", "id": "b", "resource": "llm", "usd": "0.5" }), 201, json!({}));
    desk.at("2026-11-24T12:01:00Z");
    let text = explanation(&mut desk, "a");
    assert_eq!(
        text[1..],
        ["charged 0.0025 USD as a whole", "nobody reported what was used: the charge is what the expiry rule says"]
    );
    assert_eq!(explanation(&mut desk, "b"), ["charged 0.5 USD as a whole"]);
    let held = desk.expect(reserve_tokens("c", ("openai", "gpt-4o"), 1, 1), 201, json!({}));
    assert_eq!(held["explanation"], Value::Null);
}

/// What a list of another day says is not known any more: no source is named, and a line has the price of one that was charged.
#[test]
fn a_charge_under_an_older_price_list_is_told_by_its_own_prices() {
    let catalog = Catalog::builtin().unwrap();
    let call: Call =
        serde_json::from_value(json!({ "resource": "llm", "provider": "openai", "model": "gpt-4o" })).unwrap();
    let charge: Charge = serde_json::from_value(json!({
        "usd": "0.003",
        "lines": [{ "meter": "input", "quantity": "1000", "unitPrice": "0.000003", "usd": "0.003" }],
        "basis": { "catalog": "2025-01-01", "rateCard": "openai/gpt-4o@2024-10-01" },
        "flags": [],
    }))
    .unwrap();
    assert_eq!(
        arithmetic(catalog, &call, at(OPENING), &charge, Sight::Everything),
        [
            "rates of openai/gpt-4o@2024-10-01, in the price list of 2025-01-01",
            "1000 input × 0.000003 USD = 0.003 USD",
            "sum 0.003 USD",
        ]
    );
}

/// Over every card, mode and region: the factors that are written come to the price that was charged.
#[test]
fn what_is_written_is_what_was_multiplied_over_the_whole_price_list() {
    let catalog = Catalog::builtin().unwrap();
    let mut lines = 0;
    for model in catalog.models() {
        for card in model.rate_cards() {
            for mode in [None, Some(Mode::Batch), Some(Mode::Flex), Some(Mode::Priority)] {
                let terms = Terms { at: card.from, mode, region: None };
                let mut usage = Usage::new();
                for meter in Meter::ALL {
                    if card.rates(1_500_000, terms).is_ok_and(|rates| rates.has(meter)) {
                        usage = usage.with(meter, 300_000).unwrap();
                    }
                }
                let Ok(charge) = price(&Rating::of_card(catalog, card, terms), &usage) else { continue };
                let call: Call = serde_json::from_value(
                    json!({ "resource": "llm", "provider": model.provider, "model": model.model, "mode": mode }),
                )
                .unwrap();
                let text = arithmetic(catalog, &call, card.from, &charge, Sight::Everything);
                let written: Vec<&String> = text.iter().filter(|line| line.contains(" × ")).collect();
                assert_eq!(written.len(), charge.lines.len());
                for (line, written) in charge.lines.iter().zip(written) {
                    let (left, right) = written.split_once(" = ").unwrap();
                    assert_eq!(right, format!("{} USD", line.usd));
                    // Its parts, not only its price.
                    assert_eq!(left.contains("per 1000000"), line.meter.is_token(), "{written}");
                    let mut product = Ratio::ONE;
                    for factor in left.split(" × ").skip(1) {
                        let number: Ratio = factor.split(' ').next().unwrap().parse().unwrap();
                        product = product.times(number);
                    }
                    let million = if line.meter.is_token() { 1_000_000 } else { 1 };
                    let off = product.picos() - line.unit_price.picos() * million;
                    // The rate of one is rounded to 10⁻¹².
                    assert!(off.abs() <= million / 2, "{}: {written}", card.id);
                    lines += 1;
                }
            }
        }
    }
    assert!(lines > 15_000, "{lines} lines");
}
