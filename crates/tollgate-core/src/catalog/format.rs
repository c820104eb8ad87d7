//! Reads the catalog's files into a [`Catalog`], checking all that pricing relies on.

use core::fmt;
use core::marker::PhantomData;
use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Adjustment, Catalog, Change, Confidence, Mode, Model, Rate, RateCard, Rates, Schedule, Tier, pack};
use crate::decimal;
use crate::meter::Meter;
use crate::money::Usd;
use crate::ratio::Ratio;
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// What is wrong with a catalog file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("catalog: {place}: {message}")]
pub struct CatalogError {
    /// The file, or `provider/model@date`.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IndexDocument {
    version: String,
    /// The providers whose models are also in the npm package.
    #[serde(default)]
    #[expect(dead_code, reason = "for whoever chooses the files that are read")]
    package: Vec<String>,
    sources: Pairs<String, SourceDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a source without its licence is refused")]
struct SourceDocument {
    name: String,
    #[serde(default)]
    version: Option<String>,
    licence: String,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderDocument {
    provider: String,
    models: Vec<ModelDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ModelDocument {
    model: String,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    context_window: Option<u64>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    rate_cards: Vec<RateCardDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RateCardDocument {
    from: String,
    #[serde(default)]
    per_million: Pairs<Meter, Usd>,
    #[serde(default)]
    per_unit: Pairs<Meter, Usd>,
    #[serde(default)]
    tiers: Vec<TierDocument>,
    #[serde(default)]
    modes: Pairs<Mode, AdjustmentDocument>,
    #[serde(default)]
    regions: Pairs<String, AdjustmentDocument>,
    #[serde(default)]
    schedules: Vec<ScheduleDocument>,
    source: String,
    confidence: Confidence,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TierDocument {
    #[serde(default)]
    above: Option<u64>,
    #[serde(default)]
    from: Option<u64>,
    #[serde(default)]
    per_million: Pairs<Meter, Usd>,
    #[serde(default)]
    per_unit: Pairs<Meter, Usd>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdjustmentDocument {
    #[serde(default)]
    multiplier: Option<String>,
    #[serde(default)]
    per_million: Pairs<Meter, Usd>,
    #[serde(default)]
    per_unit: Pairs<Meter, Usd>,
    #[serde(default)]
    tiers: Vec<TierDocument>,
    #[serde(default)]
    confidence: Option<Confidence>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScheduleDocument {
    from: String,
    to: String,
    #[serde(default)]
    weekdays: Option<Vec<Weekday>>,
    #[serde(default)]
    except_dates: Vec<String>,
    #[serde(default)]
    per_million: Pairs<Meter, Usd>,
    #[serde(default)]
    per_unit: Pairs<Meter, Usd>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Rates as a policy writes them: USD per million tokens and USD per one of anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RatesDocument {
    /// USD per 1,000,000 tokens.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub per_million: SortedMap<Meter, Usd>,
    /// USD per one.
    #[serde(default, skip_serializing_if = "SortedMap::is_empty")]
    pub per_unit: SortedMap<Meter, Usd>,
}

impl RatesDocument {
    /// Checks the rates and makes a card of them that is always in force.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn to_rate_card(&self, id: &str) -> Result<RateCard, CatalogError> {
        let rates = rates(id, &self.per_million, &self.per_unit)?;
        Ok(RateCard {
            id: id.into(),
            from: Timestamp::default(),
            base: rates,
            tiers: Vec::new(),
            modes: Vec::new(),
            regions: Vec::new(),
            schedules: Vec::new(),
            source: id.to_owned(),
            confidence: Confidence::Reported,
        })
    }
}

impl Catalog {
    /// Reads a catalog from the text of its index and of its provider files, each with its name for error messages.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(index: &str, providers: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let index: IndexDocument = parse("catalog.json", index)?;
        midnight(&index.version).ok_or_else(|| error("catalog.json", "version is not a date"))?;
        let mut models = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        for (file, text) in providers {
            let document: ProviderDocument = parse(file, text)?;
            if !known.insert(document.provider.clone()) {
                return Err(error(file, &format!("provider `{}` has another file", document.provider)));
            }
            let mut names: HashSet<String> = HashSet::new();
            for model in document.models {
                let model = read_model(&document.provider, model, &index.sources)?;
                for name in core::iter::once(&model.model).chain(&model.aliases) {
                    if !names.insert(name.clone()) {
                        return Err(error(file, &format!("`{name}` is named twice")));
                    }
                }
                models.push(model);
            }
        }
        Self::open(pack::pack(&index.version, &models).into())
    }
}

fn read_model(
    provider: &str,
    document: ModelDocument,
    sources: &Pairs<String, SourceDocument>,
) -> Result<Model, CatalogError> {
    let name = format!("{provider}/{}", document.model);
    let mut rate_cards: Vec<RateCard> = Vec::new();
    for card in document.rate_cards {
        let card = read_rate_card(&name, card, sources)?;
        if rate_cards.last().is_some_and(|earlier| earlier.from >= card.from) {
            return Err(error(&card.id, "rate cards are not ascending by date"));
        }
        rate_cards.push(card);
    }
    if rate_cards.is_empty() {
        return Err(error(&name, "has no rate card"));
    }
    Ok(Model {
        provider: provider.to_owned(),
        model: document.model,
        aliases: document.aliases,
        context_window: document.context_window,
        max_output_tokens: document.max_output_tokens,
        rate_cards,
    })
}

fn read_rate_card(
    model: &str,
    document: RateCardDocument,
    sources: &Pairs<String, SourceDocument>,
) -> Result<RateCard, CatalogError> {
    let id = format!("{model}@{}", document.from);
    let from = midnight(&document.from).ok_or_else(|| error(&id, "`from` is not a date"))?;
    if sources.iter().all(|(name, _)| *name != document.source) {
        return Err(error(&id, &format!("source `{}` is not in catalog.json", document.source)));
    }
    let base = rates(&id, &document.per_million, &document.per_unit)?;
    if base.0.is_empty() {
        return Err(error(&id, "has no rates"));
    }
    let adjusted = |document: &AdjustmentDocument| adjustment(&id, document);
    let modes = document
        .modes
        .iter()
        .map(|(mode, document)| Ok((*mode, adjusted(document)?)))
        .collect::<Result<_, CatalogError>>()?;
    let regions = document
        .regions
        .iter()
        .map(|(region, document)| Ok((region.clone(), adjusted(document)?)))
        .collect::<Result<_, CatalogError>>()?;
    let schedules = document.schedules.iter().map(|document| schedule(&id, document)).collect::<Result<_, _>>()?;
    let tiers = tiers(&id, &document.tiers)?;
    Ok(RateCard {
        id: id.into(),
        from,
        base,
        tiers,
        modes,
        regions,
        schedules,
        source: document.source,
        confidence: document.confidence,
    })
}

fn tiers(id: &str, documents: &[TierDocument]) -> Result<Vec<Tier>, CatalogError> {
    let mut tiers: Vec<Tier> = Vec::new();
    for document in documents {
        let at_least = match (document.above, document.from) {
            // Token counts are whole, so "above n" is "from n + 1".
            (Some(above), None) => above.saturating_add(1),
            (None, Some(from)) => from,
            _ => return Err(error(id, "a tier has exactly one of `above` and `from`")),
        };
        if tiers.last().is_some_and(|earlier| earlier.at_least >= at_least) {
            return Err(error(id, "tiers are not ascending"));
        }
        // A meter that a tier does not name keeps the rate of the tier below, not the base's.
        let mut all = tiers.last().map_or_else(Rates::default, |earlier| earlier.rates.clone());
        all.overlay(&rates(id, &document.per_million, &document.per_unit)?);
        tiers.push(Tier { at_least, rates: all });
    }
    Ok(tiers)
}

fn adjustment(id: &str, document: &AdjustmentDocument) -> Result<Adjustment, CatalogError> {
    let rates = rates(id, &document.per_million, &document.per_unit)?;
    let tiers = tiers(id, &document.tiers)?;
    let change = match (&document.multiplier, rates.0.is_empty()) {
        (Some(multiplier), true) if tiers.is_empty() => {
            let by: Ratio = multiplier.parse().map_err(|_| error(id, "a multiplier is not a decimal"))?;
            if by < Ratio::ZERO || by > Ratio::percent(100 * 100) {
                return Err(error(id, "a multiplier lies beyond 0 to 100"));
            }
            // So that the product of two, of a mode and a region, is exact.
            if by.picos() % 1_000_000 != 0 {
                return Err(error(id, "a multiplier has more than 6 decimals"));
            }
            Change::Multiplier(by)
        }
        (None, false) => Change::Rates { base: rates, tiers },
        _ => return Err(error(id, "a mode or region has either a multiplier or rates")),
    };
    Ok(Adjustment { change, confidence: document.confidence })
}

fn schedule(id: &str, document: &ScheduleDocument) -> Result<Schedule, CatalogError> {
    let of_day = |text: &str| -> Option<i64> {
        let (hour, minute) = text.split_once(':')?;
        let hour: i64 = hour.parse().ok().filter(|hour| (0..24).contains(hour))?;
        let minute: i64 = minute.parse().ok().filter(|minute| (0..60).contains(minute))?;
        Some((hour * 60 + minute) * 60_000)
    };
    let (Some(from), Some(to)) = (of_day(&document.from), of_day(&document.to)) else {
        return Err(error(id, "a schedule's times are not two different times HH:MM"));
    };
    if from == to {
        return Err(error(id, "a schedule's times are not two different times HH:MM"));
    }
    let weekdays = match &document.weekdays {
        None => Schedule::ALL_WEEK,
        Some(days) if days.is_empty() => return Err(error(id, "a schedule without weekdays never holds")),
        Some(days) => days.iter().fold(0, |all, day| all | 1 << (*day as u8)),
    };
    let mut except: Vec<u64> = Vec::new();
    for date in &document.except_dates {
        let day = midnight(date).and_then(|at| u64::try_from(at.millis() / 86_400_000).ok());
        let day = day.ok_or_else(|| error(id, "a schedule's `exceptDates` are not dates"))?;
        if except.last().is_some_and(|earlier| *earlier >= day) {
            return Err(error(id, "a schedule's `exceptDates` are not ascending"));
        }
        except.push(day);
    }
    Ok(Schedule { from, to, weekdays, except, rates: rates(id, &document.per_million, &document.per_unit)? })
}

fn midnight(date: &str) -> Option<Timestamp> {
    format!("{date}T00:00:00Z").parse().ok()
}

pub(super) fn rates<'a>(
    id: &str,
    per_million: impl IntoIterator<Item = (&'a Meter, &'a Usd)>,
    per_unit: impl IntoIterator<Item = (&'a Meter, &'a Usd)>,
) -> Result<Rates, CatalogError> {
    let mut rates = Rates::default();
    for (meter, usd) in per_million {
        if !meter.is_token() {
            return Err(error(id, &format!("`{meter}` is not counted in tokens; its rate belongs in perUnit")));
        }
        if usd.picos() % 1_000_000 != 0 {
            return Err(error(id, &format!("the rate of `{meter}` has more than 6 decimals per million")));
        }
        check_rate(id, *meter, *usd)?;
        rates.set(*meter, Rate::per_million(*usd));
    }
    for (meter, usd) in per_unit {
        if meter.is_token() {
            return Err(error(id, &format!("`{meter}` is counted in tokens; its rate belongs in perMillion")));
        }
        check_rate(id, *meter, *usd)?;
        rates.set(*meter, Rate::per_one(*usd));
    }
    Ok(rates)
}

fn check_rate(id: &str, meter: Meter, usd: Usd) -> Result<(), CatalogError> {
    // No provider comes near; above it a misplaced decimal point is likelier than a price.
    if usd.is_negative() || usd.picos() > 100_000 * decimal::PICOS {
        return Err(error(id, &format!("the rate of `{meter}` lies beyond 0 to 100000 USD")));
    }
    Ok(())
}

/// A JSON object in the order in which it is written. Cheaper than a map where it is read once, and a name that is given twice is an
/// error.
struct Pairs<K, V>(Vec<(K, V)>);

impl<K, V> Default for Pairs<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> Pairs<K, V> {
    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<'a, K, V> IntoIterator for &'a Pairs<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = core::iter::Map<core::slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<'de, K: Deserialize<'de> + PartialEq, V: Deserialize<'de>> Deserialize<'de> for Pairs<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de> + PartialEq, V: Deserialize<'de>> de::Visitor<'de> for Members<K, V> {
            type Value = Pairs<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<K, V>()? {
                    if pairs.iter().any(|(known, _)| *known == key) {
                        return Err(de::Error::custom("a name is given twice"));
                    }
                    pairs.push((key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &str, text: &'a str) -> Result<T, CatalogError> {
    serde_json::from_str(text).map_err(|problem| error(file, &problem.to_string()))
}

fn error(place: &str, message: &str) -> CatalogError {
    CatalogError { place: place.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    const INDEX: &str = r#"{"version":"2026-11-24","sources":{"s":{"name":"s","licence":"MIT"}}}"#;

    fn read(card: &str) -> Result<Catalog, CatalogError> {
        let provider = format!(r#"{{"provider":"p","models":[{{"model":"m","rateCards":[{card}]}}]}}"#);
        Catalog::read(INDEX, &[("p.json", &provider)])
    }

    #[test]
    fn refuses_what_pricing_could_not_rely_on() {
        for (card, expected) in [
            ("", "has no rate card"),
            (r#"{"from":"2026-01-01","source":"s","confidence":"single"}"#, "has no rates"),
            (r#"{"from":"2026-01-01","perMillion":{"input":"1"},"source":"x","confidence":"single"}"#, "source `x`"),
            (r#"{"from":"2026-01","perMillion":{"input":"1"},"source":"s","confidence":"single"}"#, "not a date"),
            (r#"{"from":"2026-01-01","perMillion":{"input":"-1"},"source":"s","confidence":"single"}"#, "beyond 0"),
            (
                r#"{"from":"2026-01-01","perMillion":{"input":"0.0000001"},"source":"s","confidence":"single"}"#,
                "6 decimals",
            ),
            (r#"{"from":"2026-01-01","perMillion":{"request":"1"},"source":"s","confidence":"single"}"#, "perUnit"),
            (r#"{"from":"2026-01-01","perUnit":{"input":"1"},"source":"s","confidence":"single"}"#, "perMillion"),
            (r#"{"from":"2026-01-01","perMillion":{"input":1},"source":"s","confidence":"single"}"#, "decimal string"),
            (
                r#"{"from":"2026-01-01","perMillion":{"input":"1"},"tiers":[{"perMillion":{}}],"source":"s","confidence":"single"}"#,
                "exactly one",
            ),
            (
                r#"{"from":"2026-01-01","perMillion":{"input":"1"},"modes":{"batch":{}},"source":"s","confidence":"single"}"#,
                "either",
            ),
            (
                r#"{"from":"2026-01-01","perMillion":{"input":"1"},"schedules":[{"from":"01:00","to":"02:00","weekdays":[]}],
                    "source":"s","confidence":"single"}"#,
                "without weekdays",
            ),
            (
                r#"{"from":"2026-01-01","perMillion":{"input":"1"},"source":"s","confidence":"single",
                    "schedules":[{"from":"01:00","to":"02:00","exceptDates":["2026-10-02","2026-10-01"]}]}"#,
                "not ascending",
            ),
        ] {
            let message = read(card).unwrap_err().to_string();
            assert!(message.contains(expected), "{card}: {message}");
        }
    }

    #[test]
    fn rates_are_rounded_once_and_tiers_begin_where_they_say() {
        let catalog = read(
            r#"{"from":"2026-01-01","perMillion":{"input":"0.000001","output":"0.000003"},
                "tiers":[{"from":100,"perMillion":{"input":"1"}},{"above":200,"perMillion":{"input":"2"}}],
                "modes":{"batch":{"multiplier":"0.5"},"flex":{"multiplier":"0.4"}},"regions":{"eu":{"multiplier":"1.1"}},
                "source":"s","confidence":"single"}"#,
        )
        .unwrap();
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let card = catalog.rate_card("p", "m", at).unwrap();
        let eu = "eu".parse().unwrap();
        let rate = |prompt: u32, meter, mode, region| {
            let rates = card.rates(prompt.into(), crate::catalog::Terms { at, mode, region }).unwrap();
            rates.of(meter).unwrap().rate.usd().to_string()
        };
        for (prompt, expected) in [(99, "0.000000000001"), (100, "0.000001"), (200, "0.000001"), (201, "0.000002")] {
            assert_eq!(rate(prompt, Meter::Input, None, None), expected, "{prompt}");
        }
        // Half of 10⁻¹² rounds away from zero, 0.4 of it to nothing; multipliers multiply before the one rounding.
        assert_eq!(rate(0, Meter::Input, Some(Mode::Batch), None), "0.000000000001");
        assert_eq!(rate(0, Meter::Input, Some(Mode::Flex), None), "0");
        assert_eq!(rate(0, Meter::Output, Some(Mode::Batch), Some(&eu)), "0.000000000002");
    }

    #[test]
    fn a_mode_has_tiers_of_its_own_over_those_of_the_card() {
        let catalog = read(
            r#"{"from":"2026-01-01","perMillion":{"input":"2","cache_read":"1","output":"6"},
                "tiers":[{"above":100,"perMillion":{"input":"4","cache_read":"2","output":"12"}}],
                "modes":{"batch":{"perMillion":{"input":"1","output":"3"},"tiers":[{"above":200,"perMillion":{"input":"3"}}],
                         "confidence":"reported"}},
                "source":"s","confidence":"single"}"#,
        )
        .unwrap();
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let card = catalog.rate_card("p", "m", at).unwrap();
        let rate = |prompt: u32, meter| {
            let terms = crate::catalog::Terms { at, mode: Some(Mode::Batch), region: None };
            card.rates(prompt.into(), terms).unwrap().of(meter).unwrap().rate.usd().to_string()
        };
        for (prompt, input, cache_read) in
            [(100, "0.000001", "0.000001"), (200, "0.000001", "0.000002"), (201, "0.000003", "0.000002")]
        {
            assert_eq!(
                (rate(prompt, Meter::Input).as_str(), rate(prompt, Meter::CacheRead).as_str()),
                (input, cache_read),
                "{prompt}"
            );
            assert_eq!(rate(prompt, Meter::Output), "0.000003");
        }
        // An estimate must look at the boundaries of modes too.
        assert_eq!(card.thresholds(1_000).collect::<Vec<_>>(), [101, 201]);
        assert_eq!(card.modes[0].1.confidence, Some(Confidence::Reported));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_began() {
        let catalog = read(
            r#"{"from":"2026-01-01","perMillion":{"input":"1"},
                "schedules":[{"from":"22:00","to":"02:00","weekdays":["fri"],"exceptDates":["2026-11-13"],"perMillion":{"input":"9"}}],
                "source":"s","confidence":"single"}"#,
        )
        .unwrap();
        for (at, expected) in [
            ("2026-11-06T21:59:59.999Z", "0.000001"),
            ("2026-11-06T22:00:00Z", "0.000009"),
            // Saturday, but Friday's window.
            ("2026-11-07T01:59:59.999Z", "0.000009"),
            ("2026-11-07T02:00:00Z", "0.000001"),
            ("2026-11-07T22:00:00Z", "0.000001"),
            // Friday, but Thursday's hours.
            ("2026-11-06T01:00:00Z", "0.000001"),
            ("2026-11-13T23:00:00Z", "0.000001"),
            ("2026-11-14T01:00:00Z", "0.000001"),
            ("2026-11-20T23:00:00Z", "0.000009"),
        ] {
            let at_time = at.parse().unwrap();
            let card = catalog.rate_card("p", "m", at_time).unwrap();
            let rates = card.rates(0, crate::catalog::Terms { at: at_time, mode: None, region: None }).unwrap();
            assert_eq!(rates.of(Meter::Input).unwrap().rate.usd().to_string(), expected, "{at}");
        }
    }

    #[test]
    fn a_name_belongs_to_one_model() {
        let card = r#"{"from":"2026-01-01","perMillion":{"input":"1"},"source":"s","confidence":"single"}"#;
        let provider = format!(
            r#"{{"provider":"p","models":[{{"model":"m","rateCards":[{card}]}},{{"model":"n","aliases":["m"],"rateCards":[{card}]}}]}}"#
        );
        let message = Catalog::read(INDEX, &[("p.json", &provider)]).unwrap_err().to_string();
        assert!(message.contains("named twice"), "{message}");
    }
}
