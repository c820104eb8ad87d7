//! Replays tests/conformance/price against the native core: each request goes through the wire's own reader, untouched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::fs;
use std::path::Path;

use rust_decimal::Decimal;
use serde_json::Value;
use tollgate_core::api::{Code, Problem, parse_price};
use tollgate_core::catalog::{Catalog, NoRates, Rating, Terms};
use tollgate_core::ids::Name;
use tollgate_core::meter::Usage;
use tollgate_core::money::Usd;
use tollgate_core::price::{Charge, Unpriced, price};
use tollgate_core::time::Timestamp;

const FOLDER: &str = "../../tests/conformance/price";

#[test]
fn conformance() {
    let catalog = Catalog::builtin().unwrap();
    let mut cases = 0;
    let mut failures = Vec::new();
    for (place, case) in all_cases() {
        cases += 1;
        if let Err(failure) = check(catalog, &case) {
            failures.push(format!("{place}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 190, "only {cases} cases were found");
}

/// Every case, with its file and name.
fn all_cases() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let mut found = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in document["cases"].as_array().expect("a file has `cases`") {
            let name = case["name"].as_str().expect("a case has a `name`");
            found.push((format!("{}: {name}", path.file_name().unwrap().display()), case.clone()));
        }
    }
    found
}

fn check(catalog: &Catalog, case: &Value) -> Result<(), String> {
    let request = &case["request"];
    let answer = parse_price(&request.to_string(), None).and_then(|request| request.price(catalog));
    let expect = &case["expect"];
    match (expect.get("error"), answer) {
        (None, Ok(charge)) => {
            let expected: Usd = serde_json::from_value(expect["usd"].clone()).expect("`usd` is money");
            let rate_card = expect["rateCard"].as_str().expect("`rateCard` is text");
            check_charge(&charge, expected, rate_card)
        }
        (Some(error), Err(problem)) => check_error(catalog, request, error.as_str().unwrap(), &problem),
        (None, Err(problem)) => Err(format!("expected {expect}, got {problem:?}")),
        (Some(error), Ok(charge)) => Err(format!("expected {error}, got {} USD", charge.usd)),
    }
}

fn check_charge(charge: &Charge, expected: Usd, rate_card: &str) -> Result<(), String> {
    let basis = charge.basis.as_ref().map(|basis| &*basis.rate_card);
    if charge.usd != expected || basis != Some(rate_card) {
        return Err(format!("expected {expected} by {rate_card}, got {} by {basis:?}", charge.usd));
    }
    // The arithmetic that is shown is the arithmetic that was done.
    for line in &charge.lines {
        if decimal(line.quantity) * decimal(line.unit_price) != decimal(line.usd) {
            return Err(format!("{line:?} does not multiply"));
        }
    }
    let sum: Usd = charge.lines.iter().map(|line| line.usd).sum();
    if sum == charge.usd { Ok(()) } else { Err(format!("the lines come to {sum}, not {}", charge.usd)) }
}

/// On the wire all of these are `unpriced`; the vectors name the reason, which is asked of the catalog and of pricing themselves.
fn check_error(catalog: &Catalog, request: &Value, expected: &str, problem: &Problem) -> Result<(), String> {
    let field = match expected {
        "unknown_model" | "no_rate_in_force" => "model",
        "unknown_mode" => "mode",
        "unknown_region" => "region",
        "unpriced_meter" => "usage",
        other => return Err(format!("the vector names an error that does not exist: {other}")),
    };
    if problem.code != Code::Unpriced || problem.field.as_deref() != Some(field) {
        return Err(format!("expected {expected} with field `{field}`, got {problem:?}"));
    }
    match price_directly(catalog, request) {
        Err(unpriced) if name_of(&unpriced) == expected => Ok(()),
        other => Err(format!("expected {expected}, got {other:?}")),
    }
}

fn price_directly(catalog: &Catalog, request: &Value) -> Result<Charge, Unpriced> {
    let text = |field: &str| request[field].as_str().unwrap_or_else(|| panic!("`{field}` is text"));
    let at: Timestamp = text("at").parse().unwrap();
    let region: Option<Name> = request.get("region").map(|_| text("region").parse().unwrap());
    let terms = Terms {
        at,
        mode: request.get("mode").map(|mode| serde_json::from_value(mode.clone()).unwrap()),
        region: region.as_ref(),
    };
    let usage: Usage = serde_json::from_value(request["usage"].clone()).unwrap();
    let card = catalog.rate_card(text("provider"), text("model"), at)?;
    price(&Rating::of_card(catalog, card, terms), &usage)
}

const fn name_of(unpriced: &Unpriced) -> &'static str {
    match unpriced {
        Unpriced::NoRates(NoRates::UnknownModel { .. }) => "unknown_model",
        Unpriced::NoRates(NoRates::NotYetInForce { .. }) => "no_rate_in_force",
        Unpriced::NoRates(NoRates::UnknownMode { .. }) => "unknown_mode",
        Unpriced::NoRates(NoRates::UnknownRegion { .. }) => "unknown_region",
        Unpriced::Meter { .. } => "unpriced_meter",
        Unpriced::MissingResource { .. } | Unpriced::NotASandbox { .. } => "not_a_usage",
        Unpriced::TooLarge | Unpriced::TooMuch { .. } => "too_large",
    }
}

/// The number as another library reads it, whose arithmetic checks ours.
fn decimal(number: impl ToString) -> Decimal {
    number.to_string().parse().unwrap()
}
