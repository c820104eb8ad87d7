//! Reads LiteLLM's list: undated prices per token, with one field for each combination of meter, tier and mode.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use rust_decimal::Decimal;
use serde_json::Value;

use super::card::{Card, Key, Opinion, Opinions, Rates, Region, UNKNOWN_DATE, drop_zeros};
use super::{names, off_peak};

/// Their fields, without tier and mode, and our meters.
const FIELDS: [(&str, &str); 12] = [
    ("input_cost_per_token", "input"),
    ("cache_read_input_token_cost", "cache_read"),
    ("cache_creation_input_token_cost", "cache_write_5m"),
    ("input_cost_per_audio_token", "input_audio"),
    ("cache_read_input_audio_token_cost", "cache_read_audio"),
    ("input_cost_per_image_token", "input_image"),
    ("input_cost_per_video_token", "input_video"),
    ("output_cost_per_token", "output"),
    ("output_cost_per_reasoning_token", "reasoning"),
    ("output_cost_per_audio_token", "output_audio"),
    ("output_cost_per_image_token", "output_image"),
    ("input_cost_per_request", "request"),
];

/// Fees that no meter counts. Where such a fee is what the model is sold by, its token prices alone would be too cheap.
const OTHER_FEES: [&str; 12] = [
    "output_cost_per_image",
    "output_cost_per_second",
    "output_cost_per_pixel",
    "output_cost_per_character",
    "output_cost_per_video_per_second",
    "output_cost_per_video_token",
    "input_cost_per_second",
    "input_cost_per_pixel",
    "input_cost_per_character",
    "input_cost_per_query",
    "ocr_cost_per_page",
    "cost_per_second",
];

/// The dearest token rate that is believed, in USD per million: no provider has come near it. Beyond it, a price per thousand was taken for one per token.
const PLAUSIBLE: u32 = 1_000;

/// What was read, and what was left out.
pub struct List {
    pub opinions: Opinions,
    /// How many models have fees that no meter counts.
    pub other_fees: usize,
    /// How many have a rate that cannot be right.
    pub implausible: usize,
}

/// Reads every model that has token prices.
pub fn read(document: &Value) -> Result<List> {
    let mut list = List { opinions: Opinions::new(), other_fees: 0, implausible: 0 };
    let mut regional: Vec<(String, String, String, Card)> = Vec::new();
    for (key, entry) in document.as_object().context("LiteLLM's list is not an object")? {
        let Some(theirs) = entry["litellm_provider"].as_str().filter(|_| key != "sample_spec") else { continue };
        let (model, region) = names::in_litellm_key(theirs, key);
        let card = card(entry).with_context(|| format!("LiteLLM, {key}"))?;
        // Zero is what the list says where it does not know; free models are sold as subscriptions.
        if !card.rates.iter().any(|((_, meter), rate)| super::card::is_token(meter) && !rate.is_zero())
            || !names::is_exact(model)
        {
            continue;
        }
        let provider = names::of_litellm(theirs);
        let sold_by_tokens = ["chat", "responses", "completion", "embedding", "realtime"]
            .contains(&entry["mode"].as_str().unwrap_or("chat"));
        let has_image_tokens = card.rates.contains_key(&(0, "output_image"));
        if !sold_by_tokens
            && !has_image_tokens
            && OTHER_FEES.iter().any(|fee| entry[*fee].as_f64().is_some_and(|fee| fee > 0.0))
        {
            list.other_fees += 1;
            continue;
        }
        if card.rates.iter().any(|((_, meter), rate)| super::card::is_token(meter) && *rate > PLAUSIBLE.into()) {
            list.implausible += 1;
            continue;
        }
        match region {
            Some(region) => regional.push((provider, model.to_owned(), region.to_owned(), card)),
            None => {
                let opinion = Opinion {
                    cards: vec![card],
                    context_window: entry["max_input_tokens"].as_u64(),
                    max_output_tokens: entry["max_output_tokens"].as_u64(),
                    entry: None,
                };
                list.opinions.entry((provider, model.to_owned())).or_insert(opinion);
            }
        }
    }
    for (provider, model, region, card) in regional {
        let Some(own) = list.opinions.get_mut(&(provider, model)).and_then(|opinion| opinion.cards.first_mut()) else {
            continue;
        };
        if let Some(region_rates) = compared(&own.rates, &card.rates) {
            own.regions.entry(region).or_insert(region_rates);
        }
    }
    Ok(list)
}

/// A region's rates as a multiple of the standard ones, where they are.
fn compared(standard: &Rates, region: &Rates) -> Option<Region> {
    let times = |key: &Key| Some((*region.get(key)? / standard.get(key).filter(|rate| !rate.is_zero())?).normalize());
    let factor = times(&(0, "input"))?;
    let tokens: Vec<&Key> = standard.keys().filter(|(_, meter)| super::card::is_token(meter)).collect();
    if factor.scale() <= 6 && tokens.iter().all(|key| times(key) == Some(factor)) {
        return Some(Region::Times(factor));
    }
    Some(Region::Rates(region.clone()))
}

fn card(entry: &Value) -> Result<Card> {
    let mut card = Card { from: UNKNOWN_DATE.to_owned(), ..Card::default() };
    let mut modes: BTreeMap<&'static str, Rates> = BTreeMap::new();
    for (field, value) in entry.as_object().context("an entry is not an object")? {
        let Some((key, mode)) = meaning(field) else { continue };
        let Some(rate) = rate(value, key.1)? else { continue };
        match mode {
            None => card.rates.insert(key, rate),
            Some(mode) => modes.entry(mode).or_default().insert(key, rate),
        };
    }
    tiers(&entry["tiered_pricing"], &mut card.rates)?;
    if let Some(fees) = entry["search_context_cost_per_query"].as_object() {
        let dearest =
            fees.values().filter_map(|fee| decimal(fee).transpose()).collect::<Result<Vec<_>>>()?.into_iter().max();
        if let Some(fee) = dearest.filter(|fee| !fee.is_zero()) {
            card.rates.insert((0, "web_search"), fee);
        }
    }
    drop_zeros(&mut card.rates);
    add_peak_hours(&entry["off_peak_pricing"], &mut card)?;
    for (mode, mut rates) in modes {
        drop_zeros(&mut rates);
        if rates.contains_key(&(0, "input")) || rates.contains_key(&(0, "output")) {
            card.modes.insert(mode, rates);
        }
    }
    for (region, field) in
        [("us", "regional_processing_uplift_multiplier_us"), ("eu", "regional_processing_uplift_multiplier_eu")]
    {
        if let Some(times) = decimal(&entry[field])? {
            card.regions.insert(region.to_owned(), Region::Times(times));
        }
    }
    if let Some(times) = decimal(&entry["provider_specific_entry"]["us"])? {
        card.regions.insert("us".to_owned(), Region::Times(times));
    }
    if let Some(times) = decimal(&entry["regional_endpoint_uplift_multiplier"])? {
        card.regions.insert("regional".to_owned(), Region::Times(times));
    }
    Ok(card)
}

/// The list has the rates of the peak hours, and those of the others with their hours; ours has the others, and those of the peak hours with theirs.
fn add_peak_hours(pricing: &Value, card: &mut Card) -> Result<()> {
    let Some(fields) = pricing.as_object() else { return Ok(()) };
    let mut rates = card.rates.clone();
    for (field, value) in fields {
        if let Some((key, None)) = meaning(field)
            && let Some(rate) = rate(value, key.1)?
        {
            rates.insert(key, rate);
        }
    }
    // Where its hours cannot be read as they are meant, the dearer rates hold all day.
    if let Some(peak) = off_peak::peak_hours(pricing) {
        let dearer = std::mem::replace(&mut card.rates, rates);
        card.schedules = peak.into_iter().map(|hours| hours.at(&dearer)).collect();
    }
    Ok(())
}

/// The meter, tier and mode of a field.
fn meaning(field: &str) -> Option<(Key, Option<&'static str>)> {
    let (rest, mode) = [("_batches", "batch"), ("_flex", "flex"), ("_priority", "priority")]
        .into_iter()
        .find_map(|(suffix, mode)| Some((field.strip_suffix(suffix)?, Some(mode))))
        .unwrap_or((field, None));
    let (rest, above) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
        Some((rest, thousands)) => (rest, thousands.parse::<u64>().ok()?.checked_mul(1000)?),
        None => (rest, 0),
    };
    // The longer of the two lifetimes for which a provider sells cache writes.
    for long in ["cache_creation_input_token_cost_above_1hr", "cache_creation_input_token_cost_above_12hr"] {
        if rest == long {
            return Some(((above, "cache_write_1h"), mode));
        }
    }
    let (_, meter) = FIELDS.into_iter().find(|(name, _)| *name == rest)?;
    Some(((above, meter), mode))
}

/// Rates by ranges of the prompt's length, where the ranges join.
fn tiers(list: &Value, rates: &mut Rates) -> Result<()> {
    let mut end = 0;
    for tier in list.as_array().into_iter().flatten() {
        let bounds: Vec<u64> = tier["range"].as_array().into_iter().flatten().filter_map(whole).collect();
        let [from, to] = bounds.as_slice() else { continue };
        if *from > end + 1 {
            continue;
        }
        for (field, value) in tier.as_object().into_iter().flatten() {
            if let Some(((0, meter), None)) = meaning(field)
                && let Some(rate) = rate(value, meter)?
            {
                rates.insert((end, meter), rate);
            }
        }
        end = *to;
    }
    Ok(())
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().and_then(|number| format!("{number:.0}").parse().ok()))
}

/// USD per million tokens, or per one of anything else.
fn rate(value: &Value, meter: &str) -> Result<Option<Decimal>> {
    let Some(rate) = decimal(value)? else { return Ok(None) };
    Ok(Some(if super::card::is_token(meter) {
        (rate * Decimal::from(1_000_000)).round_dp(6).normalize()
    } else {
        rate
    }))
}

/// A number as it is written. Their generator leaves binary noise (1.5000000000000002e-07), which is beyond the twelfth decimal.
fn decimal(value: &Value) -> Result<Option<Decimal>> {
    let Some(number) = value.as_f64() else { return Ok(None) };
    let exact = Decimal::from_scientific(&format!("{number:e}")).map_err(|error| anyhow!("{number}: {error}"))?;
    Ok(Some(exact.round_dp(12).normalize()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn fields_say_meter_tier_and_mode() {
        assert_eq!(meaning("input_cost_per_token"), Some(((0, "input"), None)));
        assert_eq!(
            meaning("cache_creation_input_token_cost_above_1hr_above_200k_tokens_batches"),
            Some(((200_000, "cache_write_1h"), Some("batch")))
        );
        assert_eq!(
            meaning("output_cost_per_token_above_272k_tokens_priority"),
            Some(((272_000, "output"), Some("priority")))
        );
        assert_eq!(meaning("output_cost_per_token_ultrafast"), None);
        assert_eq!(meaning("output_cost_per_second_720p"), None);
    }

    #[test]
    fn numbers_lose_their_binary_noise() {
        let value: Value = serde_json::from_str("1.5000000000000002e-07").unwrap();
        assert_eq!(rate(&value, "input").unwrap().unwrap().to_string(), "0.15");
        let value: Value = serde_json::from_str("2.5e-06").unwrap();
        assert_eq!(rate(&value, "output").unwrap().unwrap().to_string(), "2.5");
    }
}
