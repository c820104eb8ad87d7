//! Compares prices with another library's: `oracle EXCEPTIONS ANSWERS` reads what the other answered, one JSON object per line, prices the same usages here, and
//! explains every difference by the exceptions, or fails. `cargo xtask test oracle` runs it.
//!
//! What the other prices at nothing, because it is free there or billed in units that neither counts here, may be unknown here: no price is not the price zero.
//!
//! An exception names its models and in how many cases each differs, so that one that no longer occurs is an error like a difference that nobody explained.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;

use serde::Deserialize;
use tollgate_core::catalog::{Catalog, NoRates, Rating, Terms};
use tollgate_core::meter::Usage;
use tollgate_core::money::Usd;
use tollgate_core::price::{Unpriced, price};
use tollgate_core::time::Timestamp;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    provider: String,
    model: String,
    at: Timestamp,
    usage: Usage,
    /// The other's answer, or why it has none.
    usd: Option<String>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Exceptions {
    classes: Vec<Class>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    class: String,
    reason: String,
    /// By model, in how many of its cases the answers differ.
    models: BTreeMap<String, usize>,
}

/// What differs for one model.
#[derive(Default)]
struct Differences {
    count: usize,
    first: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(exceptions), Some(answers)) = (arguments.next(), arguments.next()) else {
        return Err("usage: oracle EXCEPTIONS ANSWERS".into());
    };
    let exceptions: Exceptions = serde_json::from_str(&fs::read_to_string(exceptions)?)?;
    let catalog = Catalog::builtin()?;
    let mut cases = 0_usize;
    let mut models = BTreeSet::new();
    let mut found: BTreeMap<String, Differences> = BTreeMap::new();
    for line in fs::read_to_string(answers)?.lines() {
        let case: Case = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
        cases += 1;
        let name = format!("{}/{}", case.provider, case.model);
        if let Some(difference) = difference(catalog, &case) {
            let differences = found.entry(name.clone()).or_default();
            differences.count += 1;
            if differences.count == 1 {
                differences.first = format!("{difference}, for {line}");
            }
        }
        models.insert(name);
    }
    if cases == 0 {
        return Err("there are no answers to compare with".into());
    }

    let mut problems = Vec::new();
    let mut explained = 0_usize;
    for class in &exceptions.classes {
        if class.reason.is_empty() {
            problems.push(format!("class {} has no reason", class.class));
        }
        for (model, expected) in &class.models {
            let differences = found.remove(model).unwrap_or_default();
            explained += differences.count;
            if differences.count != *expected {
                problems.push(format!(
                    "{model}: {} cases differ, not {expected} as {} says",
                    differences.count, class.class
                ));
            }
        }
    }
    for (model, Differences { count, first }) in &found {
        problems.push(format!("{model}: {count} cases differ, and nothing says why; the first: {first}"));
    }
    if !problems.is_empty() {
        println!("{}", problems.join("\n"));
        return Err(format!("{} unexplained", problems.len()).into());
    }
    println!("{cases} prices of {} models, {} equal, {explained} differ as explained", models.len(), cases - explained);
    Ok(())
}

/// How the answers differ, if they do.
fn difference(catalog: &Catalog, case: &Case) -> Option<String> {
    let card = catalog.rate_card(&case.provider, &case.model, case.at);
    let terms = Terms { at: case.at, mode: None, region: None };
    let ours = card.map_err(Unpriced::from).and_then(|card| price(&Rating::of_card(catalog, card, terms), &case.usage));
    match (&ours, &case.usd, &case.error) {
        (Ok(charge), Some(theirs), _) => {
            let Some(theirs) = amount(theirs) else { return Some(format!("{theirs} there is not an amount")) };
            (!alike(charge.usd, theirs)).then(|| {
                let card = charge.basis.as_ref().map_or("", |basis| &basis.rate_card);
                format!("{} here ({card}), {theirs} there", charge.usd)
            })
        }
        (Ok(charge), None, error) => {
            Some(format!("{} here, no price there: {}", charge.usd, error.as_deref().unwrap_or_default()))
        }
        (Err(Unpriced::NoRates(NoRates::UnknownModel { .. })), Some(theirs), _) => {
            let Some(theirs) = amount(theirs) else { return Some(format!("{theirs} there is not an amount")) };
            (!theirs.is_zero()).then(|| format!("unknown here, {theirs} there"))
        }
        (Err(error), _, _) => Some(format!("no price here: {error}")),
    }
}

/// Computed in binary, the other's answer may have more decimals than money.
fn amount(text: &str) -> Option<Usd> {
    if let Ok(usd) = text.parse() {
        return Some(usd);
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let shift: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    // Where the point is among the digits.
    let point = i32::try_from(whole.len()).ok()? + shift;
    if point < 1 {
        digits = format!("{}{digits}", "0".repeat(usize::try_from(1 - point).ok()?));
    }
    let point = usize::try_from(point.max(1)).ok()?;
    let (whole, fraction) = digits.split_at_checked(point)?;
    let fraction: String = fraction.chars().chain("0".chars()).take(12).collect();
    format!("{whole}.{fraction}").parse().ok()
}

/// Equal but for the noise of binary fractions, a billionth.
fn alike(ours: Usd, theirs: Usd) -> bool {
    let apart = ours.picos().abs_diff(theirs.picos());
    apart <= 2 || apart.saturating_mul(1_000_000_000) <= ours.picos().unsigned_abs()
}
