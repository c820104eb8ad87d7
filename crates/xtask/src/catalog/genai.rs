//! Reads pydantic/genai-prices: rules by model, dated prices, tiers, variants by mode.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use rust_decimal::Decimal;
use serde_json::Value;

use super::card::{
    Card, MODES, Opinion, Opinions, Rates, Schedule, UNKNOWN_DATE, drop_zeros, has_token_rates, is_token,
};
use super::names;

/// Their units and our meters. Those that are missing (hours, pages, stored searches) are nothing that a meter counts.
const UNITS: [(&str, &str, u32); 14] = [
    ("input_mtok", "input", 0),
    ("cache_read_mtok", "cache_read", 0),
    ("cache_write_mtok", "cache_write_5m", 0),
    ("cache_write_1h_mtok", "cache_write_1h", 0),
    ("input_audio_mtok", "input_audio", 0),
    ("cache_audio_read_mtok", "cache_read_audio", 0),
    ("input_image_mtok", "input_image", 0),
    ("input_video_mtok", "input_video", 0),
    ("output_mtok", "output", 0),
    ("output_reasoning_mtok", "reasoning", 0),
    ("output_audio_mtok", "output_audio", 0),
    ("output_image_mtok", "output_image", 0),
    ("requests_kcount", "request", 3),
    ("web_searches_kcount", "web_search", 3),
];

/// Reads every model that has token prices, under its id and the names that its rule compares exactly. Rules for prefixes and patterns are dropped: they
/// would give a new model an older one's price.
pub fn read(document: &Value) -> Result<Opinions> {
    let mut opinions = Opinions::new();
    for provider in array(document) {
        let theirs = text(provider, "id")?;
        for model in array(&provider["models"]) {
            let id = text(model, "id")?;
            let cards = cards(model).with_context(|| format!("genai-prices, {theirs}/{id}"))?;
            if !cards.iter().any(|card| has_token_rates(&card.rates)) {
                continue;
            }
            let opinion = Opinion {
                cards,
                context_window: model["context_window"].as_u64(),
                max_output_tokens: None,
                entry: Some(id.to_owned()),
            };
            let mut exact = vec![id.to_owned()];
            exact_names(&model["match"], &mut exact);
            for name in exact.into_iter().filter(|name| names::is_exact(name)) {
                opinions.entry((names::of_genai(theirs), name)).or_insert_with(|| opinion.clone());
            }
        }
    }
    Ok(opinions)
}

fn exact_names(rule: &Value, found: &mut Vec<String>) {
    if let Some(name) = rule["equals"].as_str() {
        found.push(name.to_owned());
    }
    for rule in array(&rule["or_"]) {
        exact_names(rule, found);
    }
}

fn cards(model: &Value) -> Result<Vec<Card>> {
    let mut cards: Vec<Card> = Vec::new();
    let prices = &model["prices"];
    if prices.is_object() {
        cards.push(Card { from: UNKNOWN_DATE.to_owned(), rates: rates(prices)?, ..Card::default() });
    }
    for price in array(prices) {
        let constraint = &price["constraint"];
        let own = rates(&price["prices"])?;
        match (constraint["start_date"].as_str(), constraint["start_time"].as_str(), constraint["end_time"].as_str()) {
            (_, Some(from), Some(to)) => {
                let clock = |time: &str| time.get(..5).unwrap_or_default().to_owned();
                let schedule = Schedule {
                    from: clock(from),
                    to: clock(to),
                    weekdays: Vec::new(),
                    except_dates: Vec::new(),
                    rates: own,
                };
                cards.last_mut().context("an hourly price comes first")?.schedules.push(schedule);
            }
            (date, _, _) => {
                let from = date.unwrap_or(UNKNOWN_DATE).to_owned();
                cards.push(Card { from, rates: own, ..Card::default() });
            }
        }
    }
    cards.sort_by(|one, other| one.from.cmp(&other.from));
    add_modes(model, &mut cards)?;
    Ok(cards)
}

/// A variant belongs to the cards that were in force when it was read: those that end after its first day and do not begin after the next variant's.
fn add_modes(model: &Value, cards: &mut [Card]) -> Result<()> {
    let mut variants: BTreeMap<&'static str, BTreeMap<String, Rates>> = BTreeMap::new();
    for variant in array(&model["price_variants"]) {
        let when = variant["when"].as_object().context("a variant without a condition")?;
        let value = match (when.len(), when.get("processing"), when.get("service_tier")) {
            (1, Some(value), None) | (1, None, Some(value)) => value.as_str().unwrap_or_default(),
            _ => continue,
        };
        // "default" is the standard price, "fast" is the older name of priority.
        let Some(mode) = MODES.into_iter().find(|mode| *mode == value) else { continue };
        let from = variant["constraint"]["start_date"].as_str().unwrap_or(UNKNOWN_DATE).to_owned();
        variants.entry(mode).or_default().insert(from, rates(&variant["prices"])?);
    }
    let ends: Vec<Option<String>> = cards.iter().skip(1).map(|card| Some(card.from.clone())).chain([None]).collect();
    for (mode, dated) in variants {
        for (card, end) in cards.iter_mut().zip(&ends) {
            let last = dated.iter().rev().find(|(from, _)| end.as_ref().is_none_or(|end| *from < end));
            if let Some((from, rates)) = last
                && (*from >= card.from || from == UNKNOWN_DATE)
            {
                card.modes.insert(mode, rates.clone());
            }
        }
    }
    Ok(())
}

fn rates(price: &Value) -> Result<Rates> {
    let mut rates = Rates::new();
    for (unit, meter, shift) in UNITS {
        let value = &price[unit];
        if value.is_null() {
            continue;
        }
        let decimal = |value: &Value| -> Result<Decimal> {
            let text = value.as_str().context("a price is not a decimal")?;
            let mut rate = Decimal::from_str(text).map_err(|error| anyhow!("{text}: {error}"))?;
            if shift > 0 {
                rate /= Decimal::from(10_u64.pow(shift));
            }
            // Some of theirs were computed in binary and end in noise.
            Ok(rate.round_dp(if is_token(meter) { 6 } else { 12 }).normalize())
        };
        if let Some(base) = value.get("base") {
            rates.insert((0, meter), decimal(base)?);
            for tier in array(&value["tiers"]) {
                let above = tier["start"].as_u64().context("a tier has no start")?;
                rates.insert((above, meter), decimal(&tier["price"])?);
            }
        } else {
            rates.insert((0, meter), decimal(value)?);
        }
    }
    drop_zeros(&mut rates);
    Ok(rates)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("genai-prices has an entry without `{key}`"))
}
