//! Reads wakamex/model-prices: timelines per model and mode, with the source of each change.

use anyhow::{Context, Result, anyhow};
use rust_decimal::Decimal;
use serde_json::Value;

use super::card::{Card, Opinion, Opinions, Rates, UNKNOWN_DATE, drop_zeros};
use super::names;

/// The hours that this source knows to be dearer on weekdays only.
pub struct PeakHours {
    /// Our provider.
    pub provider: String,
    pub from_date: String,
    /// Public holidays, as dates.
    pub except_dates: Vec<String>,
}

/// Reads every model.
pub fn read(document: &Value) -> Result<Opinions> {
    let mut opinions = Opinions::new();
    for (theirs, models) in members(&document["prices"]) {
        for (model, modes) in members(models) {
            let place = || format!("model-prices, {theirs}/{model}");
            let mut cards = timeline(&modes["standard"]).with_context(place)?;
            if cards.is_empty() || !names::is_exact(model) {
                continue;
            }
            let ends: Vec<Option<String>> =
                cards.iter().skip(1).map(|card| Some(card.from.clone())).chain([None]).collect();
            for mode in ["batch", "flex"] {
                let dated = timeline(&modes[mode]).with_context(place)?;
                for (card, end) in cards.iter_mut().zip(&ends) {
                    // Their entries of a mode begin some days before or after those of the standard price: the last one within the card's time.
                    let in_force = dated.iter().rev().find(|other| end.as_ref().is_none_or(|end| other.from < *end));
                    if let Some(found) = in_force.or(dated.first()) {
                        card.modes.insert(mode, found.rates.clone());
                    }
                }
            }
            let opinion = Opinion { cards, ..Opinion::default() };
            opinions.insert((names::of_model_prices(theirs), model.clone()), opinion);
        }
    }
    Ok(opinions)
}

/// The day up to which this source knows prices.
pub fn read_on(document: &Value) -> Option<String> {
    document["updated_at"].as_str()?.get(..10).map(str::to_owned)
}

/// Reads the schedules that hold on weekdays only.
pub fn peak_hours(document: &Value) -> Vec<PeakHours> {
    let holidays = &document["schedules"]["holidays"];
    let mut found = Vec::new();
    for schedule in document["schedules"]["schedule"].as_array().into_iter().flatten() {
        if schedule["weekdays_only"] != true {
            continue;
        }
        let from_date = schedule["valid_from"].as_str().and_then(|from| from.get(..10)).unwrap_or(UNKNOWN_DATE);
        let dates = holidays[schedule["holidays"].as_str().unwrap_or_default()]["dates"].as_array();
        found.push(PeakHours {
            provider: names::of_model_prices(schedule["provider"].as_str().unwrap_or_default()),
            from_date: from_date.to_owned(),
            except_dates: dates
                .into_iter()
                .flatten()
                .filter_map(|date| date.as_str().filter(|date| *date >= from_date).map(str::to_owned))
                .collect(),
        });
    }
    found
}

fn timeline(entries: &Value) -> Result<Vec<Card>> {
    let mut cards: Vec<Card> = Vec::new();
    let mut first_seen = None;
    for entry in entries.as_array().into_iter().flatten() {
        let stated = &entry["rates"];
        if !stated.is_object() {
            continue;
        }
        let rates = rates(stated)?;
        let documented = stated["valid_from_basis"] == "documented";
        let instant = entry["start"].as_str().or_else(|| stated["valid_from"].as_str().filter(|_| documented));
        let cheaper = cards.last().is_some_and(|before| {
            rates.iter().all(|(key, rate)| before.rates.get(key).is_none_or(|earlier| rate <= earlier))
        });
        // Cards change at midnight: until the next one for a cheaper price, from the one before for a dearer one.
        let from = match instant {
            Some(instant) if cheaper && !instant.ends_with("T00:00:00Z") => next_day(instant)?,
            Some(instant) => instant.get(..10).context("a date is too short")?.to_owned(),
            None => UNKNOWN_DATE.to_owned(),
        };
        let since_first_seen = instant.is_some_and(|instant| Some(instant) <= first_seen);
        first_seen = first_seen.or(stated["valid_from"].as_str());
        match cards.last_mut() {
            Some(before) if before.rates == rates => {}
            // Corrected as of the moment at which it was first seen: never in force.
            Some(before) if before.from == UNKNOWN_DATE && since_first_seen => before.rates = rates,
            // Several changes in one day: the day has its last price.
            Some(before) if before.from >= from => before.rates = rates,
            // A first entry that a later commit made dearer without a citation was a mistake, not a price.
            Some(before) if before.from == UNKNOWN_DATE && !documented && dearer(&before.rates, &rates) => {
                before.rates = rates;
            }
            _ => cards.push(Card { from, rates, ..Card::default() }),
        }
    }
    Ok(cards)
}

fn dearer(before: &Rates, after: &Rates) -> bool {
    after.iter().any(|(key, rate)| before.get(key).is_some_and(|earlier| rate > earlier))
}

fn next_day(instant: &str) -> Result<String> {
    let mut parts = instant.get(..10).context("a date is too short")?.split('-').map(str::parse::<u32>);
    let mut part = || parts.next().context("a date has three parts")?.context("a date has numbers");
    let (mut year, mut month, mut day) = (part()?, part()?, part()? + 1);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day > length {
        (month, day) = (month + 1, 1);
    }
    if month > 12 {
        (year, month) = (year + 1, 1);
    }
    Ok(format!("{year:04}-{month:02}-{day:02}"))
}

fn rates(stated: &Value) -> Result<Rates> {
    let mut rates = tier(stated, 0)?;
    for beyond in stated["tiers"].as_array().into_iter().flatten() {
        let above = beyond["above"].as_u64().context("a tier has no boundary")?;
        rates.extend(tier(beyond, above)?);
    }
    // The price of the longer write is given as a multiple of input, once.
    if let Some(times) = decimal(&stated["cache_write_1h_multiple"])? {
        let written: Vec<u64> =
            rates.keys().filter(|(_, meter)| *meter == "cache_write_5m").map(|(above, _)| *above).collect();
        for above in written {
            if let Some(input) = rates.get(&(above, "input")) {
                rates.insert((above, "cache_write_1h"), (*input * times).round_dp(6).normalize());
            }
        }
    }
    drop_zeros(&mut rates);
    Ok(rates)
}

fn tier(stated: &Value, above: u64) -> Result<Rates> {
    let mut rates = Rates::new();
    let fields =
        [("input", "input"), ("cache_read", "cache_read"), ("cache_write", "cache_write_5m"), ("output", "output")];
    for (field, meter) in fields {
        if let Some(rate) = decimal(&stated[field])? {
            rates.insert((above, meter), rate);
        }
    }
    Ok(rates)
}

fn decimal(value: &Value) -> Result<Option<Decimal>> {
    let Some(number) = value.as_f64() else { return Ok(None) };
    let exact = Decimal::from_scientific(&format!("{number:e}")).map_err(|error| anyhow!("{number}: {error}"))?;
    Ok(Some(exact.round_dp(6).normalize()))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_cheaper_price_begins_at_the_next_midnight_and_a_dearer_one_at_the_last() {
        let document = serde_json::json!({ "prices": { "p": { "m": { "standard": [
            { "start": null, "rates": { "input": 2.0, "output": 4.0, "valid_from": "2026-01-02T10:00:00Z", "valid_from_basis": "models.dev commit" } },
            { "start": "2026-01-02T10:00:00Z", "rates": { "input": 0.5, "output": 4.0 } },
            { "start": "2026-01-05T16:00:00Z", "rates": { "input": 2.5, "output": 4.0, "valid_from_basis": "models.dev commit" } },
            { "start": "2026-02-28T16:00:00Z", "rates": { "input": 1.0, "output": 4.0 } },
            { "start": "2026-03-05T16:00:00Z", "rates": { "input": 3.0, "output": 4.0 } },
        ] } } } });
        let opinions = read(&document).unwrap();
        let cards = &opinions[&("p".to_owned(), "m".to_owned())].cards;
        let dates: Vec<&str> = cards.iter().map(|card| card.from.as_str()).collect();
        assert_eq!(dates, [UNKNOWN_DATE, "2026-03-01", "2026-03-05"]);
        assert_eq!(cards[0].rates[&(0, "input")].to_string(), "2.5", "a mistake at the start is no price");
    }
}
