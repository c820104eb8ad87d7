//! Writes the catalog as JSON, in the schema of its files.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Adjustment, Change, Model, RateCard, Rates, Schedule, Tier};
use crate::money::Usd;
use crate::time::Timestamp;

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("provider", &self.provider)?;
        map.serialize_entry("model", &self.model)?;
        map.serialize_entry("aliases", &self.aliases)?;
        if let Some(tokens) = self.context_window {
            map.serialize_entry("contextWindow", &tokens)?;
        }
        if let Some(tokens) = self.max_output_tokens {
            map.serialize_entry("maxOutputTokens", &tokens)?;
        }
        map.serialize_entry("rateCards", self.rate_cards())?;
        map.end()
    }
}

impl Serialize for RateCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("from", &self.from)?;
        rates(&mut map, &self.base)?;
        if !self.tiers.is_empty() {
            map.serialize_entry("tiers", &self.tiers)?;
        }
        for (name, adjustments) in [
            ("modes", self.modes.iter().map(|(mode, adjustment)| (mode.to_string(), adjustment)).collect::<Vec<_>>()),
            ("regions", self.regions.iter().map(|(region, adjustment)| (region.clone(), adjustment)).collect()),
        ] {
            if !adjustments.is_empty() {
                map.serialize_entry(name, &Members(adjustments))?;
            }
        }
        if !self.schedules.is_empty() {
            map.serialize_entry("schedules", &self.schedules)?;
        }
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("confidence", &self.confidence)?;
        map.end()
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("from", &self.at_least)?;
        rates(&mut map, &self.rates)?;
        map.end()
    }
}

impl Serialize for Adjustment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.change {
            Change::Multiplier(by) => map.serialize_entry("multiplier", by)?,
            Change::Rates { base, tiers } => {
                rates(&mut map, base)?;
                if !tiers.is_empty() {
                    map.serialize_entry("tiers", tiers)?;
                }
            }
        }
        if let Some(confidence) = self.confidence {
            map.serialize_entry("confidence", &confidence)?;
        }
        map.end()
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of_day = |millis: i64| format!("{:02}:{:02}", millis / 3_600_000, millis / 60_000 % 60);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("from", &of_day(self.from))?;
        map.serialize_entry("to", &of_day(self.to))?;
        if self.weekdays != Schedule::ALL_WEEK {
            let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
            let named: Vec<_> = (0..).zip(names).filter(|(day, _)| self.weekdays >> day & 1 == 1).collect();
            map.serialize_entry("weekdays", &named.iter().map(|(_, name)| name).collect::<Vec<_>>())?;
        }
        if !self.except.is_empty() {
            let dates = self.except.iter().filter_map(|day| {
                let at = Timestamp::from_millis(i64::try_from(*day).ok()?.checked_mul(86_400_000)?).ok()?;
                Some(at.to_string().get(..10)?.to_owned())
            });
            map.serialize_entry("exceptDates", &dates.collect::<Vec<_>>())?;
        }
        rates(&mut map, &self.rates)?;
        map.end()
    }
}

/// An object of named values.
struct Members<'a, T>(Vec<(String, &'a T)>);

impl<T: Serialize> Serialize for Members<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The rates of tokens per million, those of anything else per one.
fn rates<M: SerializeMap>(map: &mut M, rates: &Rates) -> Result<(), M::Error> {
    let (tokens, units): (Vec<_>, Vec<_>) = rates.0.iter().partition(|(meter, _)| meter.is_token());
    let million = |usd: Usd| Usd::from_picos(usd.picos().saturating_mul(1_000_000)).to_string();
    let per_million: Vec<_> = tokens.iter().map(|(meter, rate)| (meter.name(), million(rate.usd()))).collect();
    let per_unit: Vec<_> = units.iter().map(|(meter, rate)| (meter.name(), rate.usd().to_string())).collect();
    for (name, rates) in [("perMillion", per_million), ("perUnit", per_unit)] {
        if !rates.is_empty() {
            map.serialize_entry(name, &Members(rates.iter().map(|(meter, usd)| ((*meter).to_owned(), usd)).collect()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use crate::catalog::Catalog;

    #[test]
    fn what_is_written_has_the_rates_of_the_files() {
        let catalog = serde_json::to_value(Catalog::builtin().unwrap().models()).unwrap();
        let models = catalog.as_array().unwrap();
        let model = |name: &str| models.iter().find(|model| model["model"] == name).unwrap();
        assert_eq!(model("gpt-4o")["rateCards"].as_array().unwrap().last().unwrap()["perMillion"]["input"], "2.5");
        assert_eq!(model("standard")["rateCards"][0]["perUnit"]["vcpu_second"], "0.000014");
        assert_eq!(
            model("gemini-2.5-pro")["rateCards"].as_array().unwrap().last().unwrap()["tiers"][0]["from"],
            200_001
        );
    }
}
