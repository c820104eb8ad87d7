//! The dated price list: which rates a model or sandbox tier has, from when, in which tier, mode and region.

mod builtin;
mod describe;
mod format;
mod name_hash;
mod names;
mod overrides;
mod pack;
mod price_book;
mod unpack;

use core::fmt;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::decimal;
use crate::ids::Name;
use crate::meter::{Meter, MeterKind};
use crate::money::Usd;
use crate::ratio::Ratio;
use crate::time::Timestamp;

pub use format::{CatalogError, RatesDocument};
pub use overrides::{
    Alias, Changes, InvalidOverrides, MAX_OVERRIDES, Markup, ModelName, Overrides, OverridesDocument, OverridesScope,
    OwnChange, OwnRates,
};
pub use price_book::{Applied, AppliedAlias, AppliedMarkup, AppliedRates, Card, Meant, PriceBook, Priced, Rating};

use unpack::Packed;

/// The price list. It stays in its compact form; what is asked for is read from it once.
#[derive(Debug)]
pub struct Catalog {
    packed: Packed,
    all: OnceLock<Vec<Model>>,
}

/// One model's or sandbox tier's rate cards.
#[derive(Clone, Debug)]
pub struct Model {
    /// The provider, such as `openai`; for sandboxes `e2b`.
    pub provider: String,
    /// The provider's own exact id.
    pub model: String,
    /// Other exact ids that have the same price.
    pub aliases: Vec<String>,
    /// Tokens that prompt and answer may have together, where a source says so.
    pub context_window: Option<u64>,
    /// Tokens that an answer may have, where a source says so.
    pub max_output_tokens: Option<u64>,
    /// Ascending by date, at least one.
    rate_cards: Vec<RateCard>,
}

/// The rates in force from a date until the next card's.
#[derive(Clone, Debug)]
pub struct RateCard {
    /// `provider/model@date`.
    pub id: Arc<str>,
    /// In force from this instant.
    pub from: Timestamp,
    /// Rates where nothing below says otherwise.
    pub(crate) base: Rates,
    /// Dearer (or cheaper) rates for long prompts, ascending by threshold.
    pub(crate) tiers: Vec<Tier>,
    pub(crate) modes: Vec<(Mode, Adjustment)>,
    pub(crate) regions: Vec<(String, Adjustment)>,
    pub(crate) schedules: Vec<Schedule>,
    /// Key of the list of sources.
    pub source: String,
    /// How sure the rates are.
    pub confidence: Confidence,
}

/// How well a rate card is attested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Two sources agree.
    Confirmed,
    /// One source says so.
    Single,
    /// Taken from a third party or derived.
    Reported,
}

impl Confidence {
    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Single => "single",
            Self::Reported => "reported",
        }
    }
}

/// How a call is processed, where the provider charges differently for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Answered within a day.
    Batch,
    /// Slower and cheaper.
    Flex,
    /// Faster and dearer.
    Priority,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Batch, Self::Flex, Self::Priority];
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        })
    }
}

/// The price of one of a meter: USD, not negative, exact to 10⁻¹².
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(Usd);

impl Rate {
    /// From USD per 1,000,000.
    #[must_use]
    pub fn per_million(usd: Usd) -> Self {
        Self(Usd::from_picos(decimal::div_rounded(usd.picos(), 1_000_000)))
    }

    /// From USD per one.
    #[must_use]
    pub const fn per_one(usd: Usd) -> Self {
        Self(usd)
    }

    /// The price of one.
    #[must_use]
    pub const fn usd(self) -> Usd {
        self.0
    }

    /// A rate is rounded, to 10⁻¹² and halves up, so that line prices (quantity × rate) need no rounding and sums are exact.
    pub(crate) fn times(self, multiplier: Ratio) -> Self {
        Self(Usd::from_picos(decimal::div_rounded(self.0.picos().saturating_mul(multiplier.picos()), decimal::PICOS)))
    }
}

/// Rates by meter; few enough that a scan beats a map.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates(Vec<(Meter, Rate)>);

impl Rates {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, meter: Meter) -> Option<Rate> {
        self.0.iter().find(|(named, _)| *named == meter).map(|(_, rate)| *rate)
    }

    fn set(&mut self, meter: Meter, rate: Rate) {
        match self.0.iter_mut().find(|(named, _)| *named == meter) {
            Some((_, known)) => *known = rate,
            None => self.0.push((meter, rate)),
        }
    }

    fn overlay(&mut self, over: &Self) {
        for (meter, rate) in &over.0 {
            self.set(*meter, *rate);
        }
    }
}

/// Rates for prompts beyond a length.
#[derive(Clone, Debug)]
pub(crate) struct Tier {
    /// The smallest whole prompt, in tokens, that has these rates.
    pub(crate) at_least: u64,
    pub(crate) rates: Rates,
}

/// What a mode or region changes.
#[derive(Clone, Debug)]
pub(crate) struct Adjustment {
    pub(crate) change: Change,
    /// How sure it is, where that differs from the card.
    pub(crate) confidence: Option<Confidence>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Multiplies every token rate.
    Multiplier(Ratio),
    /// Replaces the rates that it names: those of `base` in every tier, those of the highest of `tiers` that the prompt reaches over them.
    Rates { base: Rates, tiers: Vec<Tier> },
}

impl Change {
    const fn multiplier(&self) -> Option<Ratio> {
        match self {
            Self::Multiplier(by) => Some(*by),
            Self::Rates { .. } => None,
        }
    }
}

/// Rates during a daily window in UTC.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Milliseconds since midnight; the window wraps past midnight where `to` is not later.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The days on which a window begins: bit 0 is Monday.
    pub(crate) weekdays: u8,
    /// Days since 1970-01-01 on which no window begins, ascending.
    pub(crate) except: Vec<u64>,
    pub(crate) rates: Rates,
}

impl Schedule {
    /// Every day of the week.
    const ALL_WEEK: u8 = 0b111_1111;

    fn holds(&self, at: Timestamp) -> bool {
        let today = at.millis().div_euclid(86_400_000);
        let of_day = at.millis().rem_euclid(86_400_000);
        if self.from < self.to {
            self.from <= of_day && of_day < self.to && self.begins_on(today)
        } else {
            // After midnight, the window is the one that began the day before.
            self.from <= of_day && self.begins_on(today) || of_day < self.to && self.begins_on(today - 1)
        }
    }

    fn begins_on(&self, day: i64) -> bool {
        // 1970-01-01 was a Thursday.
        let weekday = (day + 3).rem_euclid(7);
        self.weekdays >> weekday & 1 == 1
            && u64::try_from(day).is_ok_and(|day| self.except.binary_search(&day).is_err())
    }
}

/// Everything that chooses among a card's rates, besides the length of the prompt.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// When the call is made.
    pub at: Timestamp,
    /// How it is processed.
    pub mode: Option<Mode>,
    /// Where it is processed.
    pub region: Option<&'a Name>,
}

/// Why the catalog has no rates for a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRates {
    /// The catalog does not have this exact model of this provider.
    #[error("the catalog has no model `{model}` of provider `{provider}`")]
    UnknownModel {
        /// As given.
        provider: String,
        /// As given.
        model: String,
    },
    /// The model's first rate card is later.
    #[error("`{model}` has no rates at {at}: its first rate card starts at {first}")]
    NotYetInForce {
        /// `provider/model`.
        model: String,
        /// The time asked for.
        at: Timestamp,
        /// The first card's start.
        first: Timestamp,
    },
    /// The rate card has no such mode.
    #[error("`{rate_card}` has no `{mode}` rates")]
    UnknownMode {
        /// The card's id.
        rate_card: String,
        /// As given.
        mode: Mode,
    },
    /// The rate card has no such region.
    #[error("`{rate_card}` has no rates of region `{region}`")]
    UnknownRegion {
        /// The card's id.
        rate_card: String,
        /// As given.
        region: String,
    },
}

impl Catalog {
    /// The date of the list's last change.
    #[must_use]
    pub const fn version(&self) -> &Arc<str> {
        &self.packed.version
    }

    /// Every model, in the order of the files. Reads all of the list; [`Catalog::model`] reads only the one.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        // A test reads every model of what is shipped; what is made by `read` is written by `pack`.
        self.all.get_or_init(|| self.packed.all().unwrap_or_default())
    }

    /// Every provider, with how many models it has.
    pub fn providers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.packed.providers()
    }

    /// The compact form: what [`Catalog::open`] reads.
    #[must_use]
    pub fn packed(&self) -> &[u8] {
        self.packed.bytes()
    }

    /// A catalog in its compact form.
    ///
    /// # Errors
    /// The bytes are not one.
    pub fn open(packed: Cow<'static, [u8]>) -> Result<Self, CatalogError> {
        Ok(Self { packed: Packed::open(packed)?, all: OnceLock::new() })
    }

    /// The model that a provider calls by exactly this id or alias, which may be written as the provider's resource names have it.
    #[must_use]
    pub fn model(&self, provider: &str, model: &str) -> Option<&Model> {
        let look = |model: &str| self.packed.model(provider, model);
        look(model).or_else(|| names::find(provider, model, look))
    }

    /// The rate card in force.
    ///
    /// # Errors
    /// The model is unknown, or `at` is before its first card.
    pub fn rate_card(&self, provider: &str, model: &str, at: Timestamp) -> Result<&RateCard, NoRates> {
        let found = self
            .model(provider, model)
            .ok_or_else(|| NoRates::UnknownModel { provider: provider.to_owned(), model: model.to_owned() })?;
        found.rate_card(at)
    }
}

impl Model {
    /// Every rate card, ascending by date.
    #[must_use]
    pub fn rate_cards(&self) -> &[RateCard] {
        &self.rate_cards
    }

    /// Whether a name is one of the model's, as it is or as resource names have it. Another model may have it first.
    #[must_use]
    pub fn is_written(&self, name: &str) -> bool {
        let is_own = |id: &str| id == self.model || self.aliases.iter().any(|alias| alias == id);
        is_own(name) || names::find(&self.provider, name, |id| is_own(id).then_some(())).is_some()
    }

    /// The rate card in force at an instant.
    ///
    /// # Errors
    /// The instant is before the first card.
    pub fn rate_card(&self, at: Timestamp) -> Result<&RateCard, NoRates> {
        self.rate_cards.iter().rev().find(|card| card.from <= at).ok_or_else(|| NoRates::NotYetInForce {
            model: format!("{}/{}", self.provider, self.model),
            at,
            first: self.rate_cards.first().map_or(at, |card| card.from),
        })
    }
}

impl RateCard {
    /// The rates that apply to a prompt of so many tokens (all input meters together).
    ///
    /// # Errors
    /// The card does not have the mode or region.
    pub fn rates(&self, prompt_tokens: u64, terms: Terms<'_>) -> Result<EffectiveRates<'_>, NoRates> {
        let (mut rates, adjustments) = self.unmultiplied(prompt_tokens, terms)?;
        let multipliers = adjustments.iter().filter_map(|adjustment| adjustment.change.multiplier());
        if let Some(by) = multipliers.reduce(Ratio::times) {
            for (meter, rate) in &mut rates.to_mut().0 {
                if meter.is_token() {
                    *rate = rate.times(by);
                }
            }
        }
        Ok(EffectiveRates(rates))
    }

    /// The rates before mode and region multiply them, and what those are and multiply by: what [`RateCard::rates`] are made of.
    ///
    /// # Errors
    /// The card does not have the mode or region.
    pub(crate) fn listed(&self, prompt_tokens: u64, terms: Terms<'_>) -> Result<Listed<'_>, NoRates> {
        let (rates, adjustments) = self.unmultiplied(prompt_tokens, terms)?;
        let mode = terms.mode.map(|mode| mode.to_string());
        let names = mode.into_iter().chain(terms.region.map(ToString::to_string));
        let mut multipliers = Vec::new();
        let mut named = Vec::new();
        for (adjustment, name) in adjustments.into_iter().zip(names) {
            match &adjustment.change {
                Change::Multiplier(by) => multipliers.push((name, *by)),
                Change::Rates { base, .. } => named.push((name, base)),
            }
        }
        Ok(Listed { rates: EffectiveRates(rates), named, multipliers })
    }

    /// The rates of a prompt's length, time, mode and region, before anything multiplies them; and what mode and region, in this order, change.
    fn unmultiplied(
        &self,
        prompt_tokens: u64,
        terms: Terms<'_>,
    ) -> Result<(Cow<'_, Rates>, Vec<&Adjustment>), NoRates> {
        // Most calls are at base rates, and those need not be copied.
        let mut rates = Cow::Borrowed(&self.base);
        if let Some(tier) = reached(&self.tiers, prompt_tokens) {
            rates.to_mut().overlay(&tier.rates);
        }
        for schedule in self.schedules.iter().filter(|schedule| schedule.holds(terms.at)) {
            rates.to_mut().overlay(&schedule.rates);
        }
        let adjustments = self.adjustments(terms)?;
        for adjustment in &adjustments {
            if let Change::Rates { base, tiers } = &adjustment.change {
                rates.to_mut().overlay(base);
                if let Some(tier) = reached(tiers, prompt_tokens) {
                    rates.to_mut().overlay(&tier.rates);
                }
            }
        }
        Ok((rates, adjustments))
    }

    /// Where the card's tier begins that a prompt reaches, if it reaches one.
    pub(crate) fn tier_from(&self, prompt_tokens: u64) -> Option<u64> {
        reached(&self.tiers, prompt_tokens).map(|tier| tier.at_least)
    }

    /// The prompt lengths, in tokens, at which other rates begin, up to a length.
    pub(crate) fn thresholds(&self, up_to: u64) -> impl Iterator<Item = u64> + '_ {
        self.all_thresholds().filter(move |at_least| *at_least <= up_to)
    }

    /// Those of the card and those of its modes and regions, which may be the same ones again.
    fn all_thresholds(&self) -> impl Iterator<Item = u64> + '_ {
        let modes = self.modes.iter().map(|(_, adjustment)| adjustment);
        let of_adjustments =
            modes.chain(self.regions.iter().map(|(_, adjustment)| adjustment)).flat_map(|adjustment| match &adjustment
                .change
            {
                Change::Rates { tiers, .. } => tiers.as_slice(),
                Change::Multiplier(_) => &[],
            });
        self.tiers.iter().chain(of_adjustments).map(|tier| tier.at_least)
    }

    fn adjustments(&self, terms: Terms<'_>) -> Result<Vec<&Adjustment>, NoRates> {
        let mut found = Vec::new();
        if let Some(mode) = terms.mode {
            let named = self.modes.iter().find(|(named, _)| *named == mode);
            let (_, adjustment) = named.ok_or_else(|| NoRates::UnknownMode { rate_card: self.id.to_string(), mode })?;
            found.push(adjustment);
        }
        if let Some(region) = terms.region {
            let named = self.regions.iter().find(|(named, _)| named == region.as_str());
            let (_, adjustment) = named
                .ok_or_else(|| NoRates::UnknownRegion { rate_card: self.id.to_string(), region: region.to_string() })?;
            found.push(adjustment);
        }
        Ok(found)
    }
}

/// See [`RateCard::listed`].
pub(crate) struct Listed<'a> {
    pub(crate) rates: EffectiveRates<'a>,
    /// The mode's or region's own rates among them, each with its name.
    pub(crate) named: Vec<(String, &'a Rates)>,
    /// Each with its name: the mode's, the region's.
    pub(crate) multipliers: Vec<(String, Ratio)>,
}

/// The highest tier that a prompt reaches.
fn reached(tiers: &[Tier], prompt_tokens: u64) -> Option<&Tier> {
    tiers.iter().rev().find(|tier| tier.at_least <= prompt_tokens)
}

/// The rates of one call, with the rules for meters that have none of their own.
#[derive(Clone, Debug)]
pub struct EffectiveRates<'a>(Cow<'a, Rates>);

/// A rate, and whether it stands in for a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The price of one.
    pub rate: Rate,
    /// The rate that was taken was another meter's, and may not be what the provider charges.
    pub flag: Option<Flag>,
}

/// Something about a price that its reader should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The catalog has no cache-write rate for the model: those tokens were priced as input, never as free.
    CacheWritePricedAsInput,
    /// The catalog has no image or video input rate for the model: those tokens were priced as text input.
    MediaPricedAsInput,
    /// The model is unknown to the catalog; the policy's fallback rates were taken.
    FallbackRates,
    /// The answer broke off before its usage was complete; at least what was held was charged.
    IncompleteUsage,
    /// Nobody reported what was used; the charge is what the expiry rule says.
    Expired,
}

impl EffectiveRates<'_> {
    /// The rate of a meter: its own, or the one that stands in for it. None where nothing can.
    #[must_use]
    pub fn of(&self, meter: Meter) -> Option<Found> {
        let own = |meter| self.0.get(meter).map(|rate| Found { rate, flag: None });
        let flagged = |found: Option<Found>, flag| found.map(|found| Found { flag: Some(flag), ..found });
        own(meter).or_else(|| match meter {
            Meter::CacheRead => own(Meter::Input),
            Meter::CacheWrite5m => flagged(own(Meter::Input), Flag::CacheWritePricedAsInput),
            Meter::CacheWrite1h => {
                let dearer =
                    own(Meter::CacheWrite5m).into_iter().chain(own(Meter::Input)).max_by_key(|found| found.rate);
                flagged(dearer, Flag::CacheWritePricedAsInput)
            }
            Meter::InputImage | Meter::InputVideo => flagged(own(Meter::Input), Flag::MediaPricedAsInput),
            Meter::CacheReadAudio => own(Meter::InputAudio),
            Meter::Reasoning => own(Meter::Output),
            // Most providers have no fee per call, and the catalog leaves out what does not exist.
            Meter::Request => Some(Found { rate: Rate(Usd::ZERO), flag: None }),
            _ => None,
        })
    }

    /// Every rate multiplied, tokens and fees alike.
    #[must_use]
    fn times(mut self, factor: Ratio) -> Self {
        for (_, rate) in &mut self.0.to_mut().0 {
            *rate = rate.times(factor);
        }
        self
    }

    /// Whether the card has a rate of the meter's own.
    #[must_use]
    pub fn has(&self, meter: Meter) -> bool {
        self.0.get(meter).is_some()
    }

    /// The dearest rate among the named meters of a kind; among all of that kind, where none is named.
    pub(crate) fn dearest(&self, kind: MeterKind, named: &[Meter]) -> Option<Rate> {
        if named.is_empty() {
            // What stands in for a missing rate is a rate of the same kind.
            return self.0.0.iter().filter(|(meter, _)| meter.kind() == kind).map(|(_, rate)| *rate).max();
        }
        let of_kind = named.iter().filter(|meter| meter.kind() == kind);
        of_kind.filter_map(|meter| self.of(*meter)).map(|found| found.rate).max()
    }
}
