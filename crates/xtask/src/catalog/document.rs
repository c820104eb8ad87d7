//! The merged list in the schema of the data files.

use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use super::card::{Rates, Region, is_token};
use super::merge::{Model, SourcedCard};

/// A model's entry.
pub fn model(model: &Model) -> Value {
    let mut entry = Map::new();
    entry.insert("model".to_owned(), json!(model.model));
    if !model.aliases.is_empty() {
        entry.insert("aliases".to_owned(), json!(model.aliases));
    }
    for (name, tokens) in [("contextWindow", model.context_window), ("maxOutputTokens", model.max_output_tokens)] {
        if let Some(tokens) = tokens {
            entry.insert(name.to_owned(), json!(tokens));
        }
    }
    entry.insert("rateCards".to_owned(), model.cards.iter().map(card).collect());
    Value::Object(entry)
}

fn card(sourced: &SourcedCard) -> Value {
    let card = &sourced.card;
    let mut entry = Map::new();
    entry.insert("from".to_owned(), json!(card.from));
    add_rates(&card.rates, &mut entry);
    let schedules: Vec<Value> = card
        .schedules
        .iter()
        .map(|schedule| {
            let mut entry = Map::new();
            entry.insert("from".to_owned(), json!(schedule.from));
            entry.insert("to".to_owned(), json!(schedule.to));
            for (name, list) in [("weekdays", &schedule.weekdays), ("exceptDates", &schedule.except_dates)] {
                if !list.is_empty() {
                    entry.insert(name.to_owned(), json!(list));
                }
            }
            add_rates(&schedule.rates, &mut entry);
            Value::Object(entry)
        })
        .collect();
    if !schedules.is_empty() {
        entry.insert("schedules".to_owned(), schedules.into());
    }
    let modes: Map<String, Value> = card
        .modes
        .iter()
        .map(|(mode, rates)| {
            let mut change = times(&card.rates, rates).map_or_else(
                || {
                    let mut change = Map::new();
                    add_rates(rates, &mut change);
                    change
                },
                multiplier,
            );
            if let Some(confidence) = sourced.mode_confidence.get(mode) {
                change.insert("confidence".to_owned(), json!(confidence));
            }
            ((*mode).to_owned(), Value::Object(change))
        })
        .collect();
    let regions: Map<String, Value> = card
        .regions
        .iter()
        .map(|(region, change)| {
            let mut entry = Map::new();
            match change {
                Region::Times(factor) => entry = multiplier(*factor),
                Region::Rates(rates) => add_rates(rates, &mut entry),
            }
            entry.insert("confidence".to_owned(), json!("single"));
            (region.clone(), Value::Object(entry))
        })
        .collect();
    for (name, changes) in [("modes", modes), ("regions", regions)] {
        if !changes.is_empty() {
            entry.insert(name.to_owned(), Value::Object(changes));
        }
    }
    entry.insert("source".to_owned(), json!(sourced.source));
    entry.insert("confidence".to_owned(), json!(sourced.confidence));
    Value::Object(entry)
}

/// The one factor between two lists of token rates, where it is one for all of them.
fn times(standard: &Rates, mode: &Rates) -> Option<Decimal> {
    let tokens = || standard.iter().filter(|((_, meter), _)| is_token(meter));
    let (key, rate) = tokens().find(|(_, rate)| !rate.is_zero())?;
    let factor = (*mode.get(key)? / *rate).normalize();
    let same = tokens().all(|(key, rate)| mode.get(key) == Some(&(*rate * factor).normalize()));
    (same && factor.scale() <= 6 && mode.keys().all(|key| standard.contains_key(key))).then_some(factor)
}

fn multiplier(factor: Decimal) -> Map<String, Value> {
    let mut change = Map::new();
    change.insert("multiplier".to_owned(), json!(factor.normalize().to_string()));
    change
}

fn add_rates(rates: &Rates, entry: &mut Map<String, Value>) {
    let at = |boundary: u64, token: bool| -> Map<String, Value> {
        rates
            .iter()
            .filter(|((above, meter), _)| *above == boundary && is_token(meter) == token)
            .map(|((_, meter), rate)| ((*meter).to_owned(), json!(rate.normalize().to_string())))
            .collect()
    };
    let add = |boundary: u64, entry: &mut Map<String, Value>| {
        for (name, rates) in [("perMillion", at(boundary, true)), ("perUnit", at(boundary, false))] {
            if !rates.is_empty() {
                entry.insert(name.to_owned(), Value::Object(rates));
            }
        }
    };
    add(0, entry);
    let mut boundaries: Vec<u64> = rates.keys().map(|(above, _)| *above).filter(|above| *above > 0).collect();
    boundaries.dedup();
    let tiers: Vec<Value> = boundaries
        .into_iter()
        .map(|above| {
            let mut tier = Map::new();
            tier.insert("above".to_owned(), json!(above));
            add(above, &mut tier);
            Value::Object(tier)
        })
        .collect();
    if !tiers.is_empty() {
        entry.insert("tiers".to_owned(), tiers.into());
    }
}
