//! Invariant 6: for any usage within the declared bounds, charge ≤ estimate; over every rate card that ships, in every mode and
//! region, and over price lists made up at random. And the inverse: what an amount is said to afford fits, and no more does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_core::bounds::{SandboxBounds, TokenBounds};
use tollgate_core::call::Resource;
use tollgate_core::catalog::{
    Catalog, Confidence, Mode, Overrides, OverridesScope, PriceBook, Priced, RateCard, Rating, Terms,
};
use tollgate_core::estimate::{sandbox_bound, token_bound};
use tollgate_core::ids::Name;
use tollgate_core::meter::{Meter, MeterKind, Quantity, Usage};
use tollgate_core::money::Usd;
use tollgate_core::price::{Charge, price, sandbox_usage};
use tollgate_core::quota::Unit;
use tollgate_core::ratio::Ratio;
use tollgate_core::time::Timestamp;

/// For each mode and region of a rate card that one source alone attests; there are thousands, most of one simple shape.
const CASES_PER_SINGLE: u32 = 6;
/// For those of the others: the first parties' cards, with their tiers and modes.
const CASES_PER_CONFIRMED: u32 = 60;

#[test]
fn no_usage_within_the_bounds_costs_more_than_the_estimate() {
    let catalog = Catalog::builtin().unwrap();
    let published = Published::read();
    let mut tried = 0;
    for card in cards(catalog, |card| !is_sandbox(card)) {
        for (mode, region) in published.choices() {
            let terms = Terms { at: card.from, mode, region: region.as_ref() };
            if card.rates(0, terms).is_err() {
                continue;
            }
            let cases = match card.confidence {
                Confidence::Single => CASES_PER_SINGLE,
                Confidence::Confirmed | Confidence::Reported => CASES_PER_CONFIRMED,
            };
            tried += cases;
            let call = (published.prompts(), calls(), times_of_day());
            run(cases, &call, |(input_tokens, call, time_of_day)| {
                let at = Timestamp::from_millis(card.from.millis() + time_of_day).unwrap();
                check(&Rating::of_card(catalog, card, Terms { at, ..terms }), input_tokens, &call)
            });
        }
    }
    assert!(tried >= 100_000, "only {tried} cases were tried");
}

#[test]
fn no_usage_costs_more_than_the_estimate_under_any_price_list() {
    let list = (documents(), 0..300_000_u64, calls(), times_of_day());
    run(3_000, &list, |(document, input_tokens, call, time_of_day)| {
        let index = json!({ "version": "2026-01-01", "sources": { "s": { "name": "s", "licence": "MIT" } } });
        let provider = json!({ "provider": "p", "models": [{ "model": "m", "rateCards": [document] }] });
        let catalog = Catalog::read(&index.to_string(), &[("p.json", &provider.to_string())]).unwrap();
        let card = cards(&catalog, |_| true)[0];
        let region: Name = "us".parse().unwrap();
        for mode in [None, Some(Mode::Batch)] {
            for region in [None, Some(&region)] {
                let at = Timestamp::from_millis(card.from.millis() + time_of_day).unwrap();
                check(&Rating::of_card(&catalog, card, Terms { at, mode, region }), input_tokens, &call)?;
            }
        }
        Ok(())
    });
}

#[test]
fn no_usage_costs_more_than_the_estimate_under_own_rates_and_markups() {
    let catalog = Catalog::builtin().unwrap();
    let [provider, model, region]: [Name; 3] = ["p", "m", "us"].map(|name| name.parse().unwrap());
    let own = (own_rates(), markups(), 0..300_000_u64, calls());
    run(3_000, &own, |(rates, factor, input_tokens, call)| {
        let book = book(json!({ "rates": [rates], "markups": [{ "id": "m", "factor": factor }] }));
        for mode in [None, Some(Mode::Batch)] {
            for region in [None, Some(&region)] {
                let terms = Terms { at: Timestamp::default(), mode, region };
                check(&rating(catalog, &book, (&provider, &model), terms), input_tokens, &call)?;
            }
        }
        Ok(())
    });
}

#[test]
fn no_usage_costs_more_than_the_estimate_with_a_markup_on_the_price_list() {
    let catalog = Catalog::builtin().unwrap();
    let published = Published::read();
    let first_parties = ["openai", "anthropic", "google", "bedrock", "deepseek", "xai", "mistral"];
    let names: Vec<(Name, Name)> = catalog
        .models()
        .iter()
        .filter(|model| first_parties.contains(&model.provider.as_str()))
        .map(|model| (model.provider.parse().unwrap(), model.model.parse().unwrap()))
        .collect();
    assert!(names.len() >= 500, "{} models", names.len());
    let call = (prop::sample::select(names), markups(), published.prompts(), calls(), times_of_day());
    run(20_000, &call, |(name, factor, input_tokens, call, time_of_day)| {
        let day = "2026-11-24T00:00:00Z".parse::<Timestamp>().unwrap();
        let at = Timestamp::from_millis(day.millis() + time_of_day).unwrap();
        let book = book(json!({ "markups": [{ "id": "m", "factor": factor }] }));
        for mode in [None, Some(Mode::Batch), Some(Mode::Priority)] {
            let rating = rating(catalog, &book, (&name.0, &name.1), Terms { at, mode, region: None });
            if rating.rates(0).is_ok() {
                check(&rating, input_tokens, &call)?;
            }
        }
        Ok(())
    });
}

#[test]
fn no_sandbox_costs_more_than_the_estimate() {
    let catalog = Catalog::builtin().unwrap();
    let cards = cards(catalog, is_sandbox);
    assert!(cards.len() >= 4, "{} tiers", cards.len());
    for card in cards {
        let rating = Rating::of_card(catalog, card, Terms { at: card.from, mode: None, region: None });
        let rates = rating.rates(0).unwrap();
        let life = (quantities(86_400), quantities(64), quantities(256), 0..=1_000_000_u64, 0..=1_200_000_u64);
        run(1_000, &life, |(seconds, vcpus, memory_gib, lived, budget)| {
            let tier: Name = "any".parse().unwrap();
            let bounds = |seconds| SandboxBounds {
                tier: tier.clone(),
                seconds,
                vcpus: Some(vcpus).filter(|_| rates.has(Meter::VcpuSecond)),
                memory_gib: Some(memory_gib).filter(|_| rates.has(Meter::GibSecond)),
            };
            let most = sandbox_bound(&rating, &bounds(seconds)).unwrap();
            let lived = u128::from(seconds.micros()) * u128::from(lived) / 1_000_000;
            let lived = Quantity::from_micros(u64::try_from(lived).unwrap()).unwrap();
            let usage = sandbox_usage(card, &rates, &bounds(lived)).unwrap();
            let charge = price(&rating, &usage).unwrap();
            prop_assert!(charge.usd <= most.amounts.usd, "{} of {}", charge.usd, most.amounts.usd);
            prop_assert_eq!(most.input, most.amounts, "all of an abandoned sandbox may have been used");

            let budget = fraction_of(most.amounts.usd, budget);
            let affordable = most.affordable([(Unit::Usd, budget.into())]);
            let whole = |count: u64| bounds(Quantity::from_count(count).unwrap());
            let cost = |count| sandbox_bound(&rating, &whole(count)).unwrap().amounts.usd;
            let count = affordable.seconds.expect("some time always fits");
            prop_assert!(cost(count) <= budget, "{count} seconds do not fit");
            if count < seconds.whole() {
                prop_assert!(cost(count + 1) > budget, "{} seconds would have fitted", count + 1);
            }
            Ok(())
        });
    }
}

/// A call within bounds that are still to be given a length of the prompt.
#[derive(Clone, Debug)]
struct CallShape {
    max_output_tokens: u64,
    max_web_searches: u64,
    /// Indexes into the meters of the kind, and the thousandth of what is left that each one gets; the last one gets the rest.
    input: Vec<(usize, u64)>,
    output: Vec<(usize, u64)>,
    /// How much of each bound is used, in thousandths.
    used: [u64; 2],
    searches: u64,
    /// Whether the bounds name the meters.
    meters_are_named: bool,
    budget: u64,
}

fn check(rating: &Rating<'_>, input_tokens: u64, call: &CallShape) -> Result<(), TestCaseError> {
    let (card, terms) = (&rating.card, rating.terms);
    let rates = [0, input_tokens].map(|length| rating.rates(length).unwrap());
    // Whether a meter has a price both for a short prompt and for this one.
    let may = |meter: Meter| rates.iter().all(|rates| rates.of(meter).is_some());
    let input = pools(MeterKind::InputTokens, may, &call.input, call.used[0] * input_tokens / 1000);
    let output = pools(MeterKind::OutputTokens, may, &call.output, call.used[1] * call.max_output_tokens / 1000);
    let mut meters: Vec<Meter> = input.iter().chain(&output).map(|(meter, _)| *meter).collect();
    if !call.meters_are_named || input.is_empty() || output.is_empty() {
        meters.clear();
    }
    let bounds = TokenBounds {
        input_tokens: if input.is_empty() { 0 } else { input_tokens },
        max_output_tokens: if output.is_empty() { 0 } else { call.max_output_tokens },
        max_web_searches: if may(Meter::WebSearch) { call.max_web_searches } else { 0 },
        meters,
    };
    let mut usage = Usage::new();
    for (meter, count) in input.into_iter().chain(output) {
        usage = usage.with(meter, count).unwrap();
    }
    usage = usage.with(Meter::WebSearch, call.searches.min(bounds.max_web_searches)).unwrap();
    usage = usage.with(Meter::Request, 1).unwrap();

    let bound = token_bound(rating, &bounds).unwrap();
    let charge = price(rating, &usage).unwrap();
    prop_assert!(
        charge.usd <= bound.amounts.usd,
        "{} under {terms:?}: {} is charged and {} was held for {bounds:?}: {charge:?}",
        card.id,
        charge.usd,
        bound.amounts.usd
    );
    prop_assert!(input_part(&charge) <= bound.input.usd, "{}: the input alone costs more than its part", card.id);
    prop_assert!(bound.input.usd <= bound.amounts.usd);
    prop_assert_eq!(bound.amounts.tokens.whole(), bounds.input_tokens + bounds.max_output_tokens);

    // What is affordable, and its inverse.
    let budget = fraction_of(bound.amounts.usd, call.budget);
    let affordable = bound.affordable([(Unit::Usd, budget.into())]);
    prop_assert_eq!(affordable.usd, Some(budget));
    let cost = |max_output_tokens| {
        let bounds = TokenBounds { max_output_tokens, ..bounds.clone() };
        token_bound(rating, &bounds).unwrap().amounts.usd
    };
    match affordable.max_output_tokens {
        Some(count) => {
            prop_assert!(count <= bounds.max_output_tokens);
            prop_assert!(cost(count) <= budget, "{}: {count} tokens do not fit in {budget}", card.id);
            if count < bounds.max_output_tokens {
                prop_assert!(
                    cost(count + 1) > budget,
                    "{}: {} tokens would have fitted in {budget}",
                    card.id,
                    count + 1
                );
            }
        }
        None if may(Meter::Output) => prop_assert!(cost(0) > budget),
        None => {}
    }
    Ok(())
}

/// Parts of a total in the meters of one kind that have a price.
fn pools(kind: MeterKind, may: impl Fn(Meter) -> bool, parts: &[(usize, u64)], total: u64) -> Vec<(Meter, u64)> {
    let meters: Vec<Meter> = Meter::ALL.into_iter().filter(|meter| meter.kind() == kind && may(*meter)).collect();
    if meters.is_empty() {
        return Vec::new();
    }
    let mut pools = Vec::new();
    let mut left = total;
    for (at, (index, thousandth)) in parts.iter().enumerate() {
        let count = if at + 1 == parts.len() { left } else { left * thousandth / 1000 };
        left -= count;
        pools.push((meters[index % meters.len()], count));
    }
    pools
}

fn input_part(charge: &Charge) -> Usd {
    let is_input = |meter: Meter| meter.kind() == MeterKind::InputTokens || meter == Meter::Request;
    charge.lines.iter().filter(|line| is_input(line.meter)).map(|line| line.usd).sum()
}

fn fraction_of(usd: Usd, millionths: u64) -> Usd {
    Usd::from_picos(usd.picos() * i128::from(millionths) / 1_000_000)
}

fn cards(catalog: &Catalog, which: impl Fn(&RateCard) -> bool) -> Vec<&RateCard> {
    catalog.models().iter().flat_map(|model| model.rate_cards()).filter(|card| which(card)).collect()
}

fn is_sandbox(card: &RateCard) -> bool {
    card.id.starts_with("e2b/")
}

/// Regions and tier thresholds, read from the published files themselves.
struct Published {
    regions: BTreeSet<String>,
    thresholds: BTreeSet<u64>,
}

impl Published {
    fn read() -> Self {
        let mut published = Self { regions: BTreeSet::new(), thresholds: BTreeSet::new() };
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
                published.collect(&document);
            }
        }
        assert!(!published.regions.is_empty() && !published.thresholds.is_empty());
        published
    }

    fn collect(&mut self, value: &Value) {
        let members = value.as_object().into_iter().flatten();
        for (name, member) in members {
            match (name.as_str(), member) {
                ("regions", Value::Object(regions)) => self.regions.extend(regions.keys().cloned()),
                ("tiers", Value::Array(tiers)) => {
                    let starts = tiers.iter().filter_map(|tier| tier.get("above").or(tier.get("from")));
                    self.thresholds.extend(starts.map(|start| start.as_u64().unwrap()));
                }
                _ => self.collect(member),
            }
        }
        value.as_array().into_iter().flatten().for_each(|element| self.collect(element));
    }

    fn choices(&self) -> Vec<(Option<Mode>, Option<Name>)> {
        let modes = [None, Some(Mode::Batch), Some(Mode::Flex), Some(Mode::Priority)];
        let regions = core::iter::once(None).chain(self.regions.iter().map(|region| Some(region.parse().unwrap())));
        let regions: Vec<Option<Name>> = regions.collect();
        modes.into_iter().flat_map(|mode| regions.iter().map(move |region| (mode, region.clone()))).collect()
    }

    /// Lengths of prompts, many of them where a tier begins.
    fn prompts(&self) -> impl Strategy<Value = u64> + use<> {
        let edges: Vec<u64> = self.thresholds.iter().flat_map(|at| [at - 1, *at, at + 1, at + 2]).collect();
        prop_oneof![Just(0), 0..2_000_u64, 0..2_000_000_u64, prop::sample::select(edges)]
    }
}

fn calls() -> impl Strategy<Value = CallShape> {
    let parts = || prop::collection::vec((0..8_usize, 0..=1000_u64), 1..4);
    let used = || prop_oneof![3 => Just(1000_u64), 1 => 0..=1000_u64];
    let outputs = prop_oneof![Just(0), Just(1), 0..2_000_u64, 0..200_000_u64];
    (outputs, 0..10_u64, parts(), parts(), [used(), used()], 0..10_u64, any::<bool>(), 0..=1_200_000_u64).prop_map(
        |(max_output_tokens, max_web_searches, input, output, used, searches, meters_are_named, budget)| CallShape {
            max_output_tokens,
            max_web_searches,
            input,
            output,
            used,
            searches,
            meters_are_named,
            budget,
        },
    )
}

fn times_of_day() -> impl Strategy<Value = i64> {
    0..86_400_000_i64
}

/// Quantities with up to six decimals.
fn quantities(most: u64) -> impl Strategy<Value = Quantity> {
    prop_oneof![
        (0..=most).prop_map(|count| Quantity::from_count(count).unwrap()),
        (0..=most * 1_000_000).prop_map(|count| Quantity::from_micros(count).unwrap()),
    ]
}

/// Rate cards as a catalog file has them: tiers that are cheaper in parts, modes and regions of both kinds, a window of the day.
fn documents() -> impl Strategy<Value = Value> {
    let rate = || (0..60_000_000_u64).prop_map(|micros| Decimal::new(i64::try_from(micros).unwrap(), 6).to_string());
    let optional = || prop::option::weighted(0.4, rate());
    let rates = || {
        (rate(), rate(), prop::collection::vec(optional(), OPTIONAL.len())).prop_map(|(input, output, optional)| {
            let mut rates = json!({ "input": input, "output": output });
            for (meter, rate) in OPTIONAL.iter().zip(optional) {
                if let Some(rate) = rate {
                    rates[*meter] = json!(rate);
                }
            }
            rates
        })
    };
    let fees = (prop::option::of(rate()), prop::option::of(rate())).prop_map(|(request, search)| {
        let mut fees = json!({});
        for (meter, fee) in [("request", request), ("web_search", search)] {
            if let Some(fee) = fee {
                fees[meter] = json!(fee);
            }
        }
        fees
    });
    let adjustment = || {
        let multiplier = (0..3_000_000_i64).prop_map(|by| json!({ "multiplier": Decimal::new(by, 6).to_string() }));
        prop_oneof![multiplier, rates().prop_map(|rates| json!({ "perMillion": rates }))]
    };
    let tiers = prop::collection::btree_map(1..300_000_u64, rates(), 0..3);
    (rates(), fees, tiers, adjustment(), adjustment(), prop::option::of(rates())).prop_map(
        |(rates, fees, tiers, batch, us, night)| {
            let tiers: Vec<Value> =
                tiers.into_iter().map(|(above, rates)| json!({ "above": above, "perMillion": rates })).collect();
            let schedules: Vec<Value> = night
                .into_iter()
                .map(|rates| json!({ "from": "16:30", "to": "00:30", "perMillion": rates }))
                .collect();
            json!({ "from": "2026-01-01", "perMillion": rates, "perUnit": fees, "tiers": tiers, "modes": { "batch": batch },
                "regions": { "us": us }, "schedules": schedules, "source": "s", "confidence": "single" })
        },
    )
}

/// Own rates as a document of overrides has them.
fn own_rates() -> impl Strategy<Value = Value> {
    documents().prop_map(|mut card| {
        let own = card.as_object_mut().unwrap();
        for name in ["from", "source", "confidence", "schedules"] {
            own.remove(name);
        }
        own.insert("provider".to_owned(), json!("p"));
        own.insert("model".to_owned(), json!("m"));
        card
    })
}

/// Factors of a markup or discount; the smallest bring rates down to where they are rounded.
fn markups() -> impl Strategy<Value = String> {
    let text = |picos: i128| Ratio::from_picos(picos).to_string();
    prop_oneof![(0..3_000_000_i128).prop_map(move |by| text(by * 1_000_000)), (0..1_000_000_000_i128).prop_map(text)]
}

fn book(document: Value) -> PriceBook {
    let document = serde_json::from_value(document).expect("a document");
    PriceBook {
        tenant: Some(Overrides::new(OverridesScope::Tenant, 1, document).expect("a checked document")),
        platform: None,
    }
}

fn rating<'a>(
    catalog: &'a Catalog,
    book: &'a PriceBook,
    (provider, model): (&'a Name, &'a Name),
    terms: Terms<'a>,
) -> Rating<'a> {
    book.rating(catalog, Priced { resource: Resource::Llm, provider, model, terms }).expect("rates")
}

/// Meters of tokens that a card may or may not have a rate for.
const OPTIONAL: [&str; 8] = [
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "cache_read_audio",
    "input_image",
    "reasoning",
    "output_audio",
];

fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(failure) = TestRunner::new(config).run(strategy, check) {
        panic!("{failure}");
    }
}
