//! What a platform or a tenant has agreed on instead of the price list: own rates, other names of models, markups and discounts; each
//! with the dates between which it holds.
//!
//! A document is what its owner writes, all of it at once; [`Overrides`] is a document that has been checked, with its version, ready to
//! look up.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::format::{self, CatalogError};
use super::{Adjustment, Catalog, Change, Confidence, Mode, RateCard, Rates, Terms, Tier};
use crate::call::Resource;
use crate::ids::Name;
use crate::meter::Meter;
use crate::money::Usd;
use crate::objects::{self, Object};
use crate::ratio::Ratio;
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// The most entries of each kind in a document.
pub const MAX_OVERRIDES: usize = 500;
/// The most tiers, and the most regions, of one's own rates.
pub const MAX_TIERS: usize = 50;

/// What holds instead of, or on top of, the price list. Every entry is dated; of several for the same thing, the one that began last
/// holds, while it lasts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverridesDocument {
    /// Own rates, of models that the price list knows or of one's own.
    #[serde(default, deserialize_with = "objects::list_of_objects")]
    pub rates: Vec<OwnRates>,
    /// Other names of models, such as deployments.
    #[serde(default, deserialize_with = "objects::list_of_objects")]
    pub aliases: Vec<Alias>,
    /// Factors on whatever rates are chosen.
    #[serde(default, deserialize_with = "objects::list_of_objects")]
    pub markups: Vec<Markup>,
}

/// Rates of one model. They stand for themselves: what they do not name is not taken from the price list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Members")]
pub struct OwnRates {
    /// As calls name it.
    pub provider: Name,
    /// As calls name it; for sandboxes the tier.
    pub model: Name,
    /// They hold from this instant; always, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Up to this instant, which is not included; for good, where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// USD per 1,000,000 tokens.
    #[serde(skip_serializing_if = "SortedMap::is_empty")]
    pub per_million: SortedMap<Meter, Usd>,
    /// USD per one.
    #[serde(skip_serializing_if = "SortedMap::is_empty")]
    pub per_unit: SortedMap<Meter, Usd>,
    /// What long prompts cost, each beyond `above` tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<OwnChange>,
    /// What batch, flex and priority cost.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub modes: Changes,
    /// What regions cost.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub regions: Changes,
}

/// How a tier, mode or region differs: it replaces the rates that it names, or multiplies all token rates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Members")]
pub struct OwnChange {
    /// Of a tier: prompts of more tokens than this have its rates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<u64>,
    /// Of a mode or region: a factor on every token rate, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<Ratio>,
    /// USD per 1,000,000 tokens.
    #[serde(skip_serializing_if = "SortedMap::is_empty")]
    pub per_million: SortedMap<Meter, Usd>,
    /// USD per one.
    #[serde(skip_serializing_if = "SortedMap::is_empty")]
    pub per_unit: SortedMap<Meter, Usd>,
}

/// Changes by the name of a mode or region, in the order in which they are written. A name that is given twice is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<(Name, OwnChange)>);

impl Changes {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Changes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, change)| (name, change)))
    }
}

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;
        impl<'de> de::Visitor<'de> for Named {
            type Value = Changes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Changes, A::Error> {
                let mut changes: Vec<(Name, OwnChange)> = Vec::new();
                while let Some((name, Object(change))) = map.next_entry::<Name, Object<OwnChange>>()? {
                    if changes.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom("a name is given twice"));
                    }
                    changes.push((name, change));
                }
                Ok(Changes(changes))
            }
        }
        deserializer.deserialize_map(Named)
    }
}

/// Another name of a model. It leads to the model in one step: an alias of an alias is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Members")]
pub struct Alias {
    /// As calls name it.
    pub provider: Name,
    /// As calls name it, such as an Azure deployment.
    pub model: Name,
    /// What it stands for.
    pub is: ModelName,
    /// As [`OwnRates::from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// As [`OwnRates::until`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A model by the name that its provider gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Members")]
pub struct ModelName {
    /// Who bills for it.
    pub provider: Name,
    /// Its exact id.
    pub model: Name,
}

/// A factor on the rates of some calls: above 1 a markup, below 1 a discount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Members")]
pub struct Markup {
    /// What it is called where a charge says what applied.
    pub id: Name,
    /// Only calls that this provider bills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// Only calls of this model of the provider, by the name that an alias leads to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// Only calls that draw on this kind of budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// As [`OwnRates::from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// As [`OwnRates::until`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Every rate is multiplied by this: 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<Ratio>,
    /// The same in percent: `"20"` is a factor of 1.2, `"-10"` one of 0.9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<Ratio>,
}

/// Whose document it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverridesScope {
    /// The platform's: it holds for every tenant.
    Platform,
    /// One tenant's: it comes before the platform's.
    Tenant,
}

impl fmt::Display for OverridesScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Platform => "platform",
            Self::Tenant => "tenant",
        })
    }
}

/// What is wrong with a document that reads well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct InvalidOverrides {
    /// The field, as a path on the wire.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// A checked document with its version.
#[derive(Clone, Debug)]
pub struct Overrides {
    /// Whose it is.
    pub scope: OverridesScope,
    /// Counts up with every change.
    pub version: u64,
    /// What it says.
    pub document: Arc<OverridesDocument>,
    /// The rate card of each of its rates.
    cards: Vec<RateCard>,
}

impl Overrides {
    /// Checks a document.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn new(
        scope: OverridesScope,
        version: u64,
        document: Arc<OverridesDocument>,
    ) -> Result<Self, InvalidOverrides> {
        let cards = document.check(scope)?;
        Ok(Self { scope, version, document, cards })
    }

    /// What a name stands for at an instant.
    pub(super) fn alias(&self, provider: &str, model: &str, at: Timestamp) -> Option<&ModelName> {
        let is_named = |alias: &&Alias| alias.provider.as_str() == provider && alias.model.as_str() == model;
        let named = self.document.aliases.iter().filter(is_named);
        latest(named, at, |alias| (alias.from, alias.until)).map(|alias| &alias.is)
    }

    /// The rates of a model at an instant.
    pub(super) fn rates(&self, provider: &str, model: &str, at: Timestamp) -> Option<(&OwnRates, &RateCard)> {
        let own = self.document.rates.iter().zip(&self.cards);
        let named = own.filter(|(rates, _)| rates.model.as_str() == model && rates.provider.as_str() == provider);
        latest(named, at, |(rates, _)| (rates.from, rates.until))
    }

    /// The markup of a call at an instant: the one that says most about which calls it means, and of those the one that began last.
    pub(super) fn markup(&self, resource: Resource, model: (&Name, &Name), at: Timestamp) -> Option<&Markup> {
        let meant = self.document.markups.iter().filter(|markup| markup.means(resource, model));
        let in_force = meant.filter(|markup| holds(markup.from, markup.until, at));
        in_force.max_by_key(|markup| (markup.rank(), markup.from))
    }
}

impl OverridesDocument {
    /// Checks what the types alone do not rule out, and makes a rate card of each of the rates.
    ///
    /// # Errors
    /// The field that is wrong.
    fn check(&self, scope: OverridesScope) -> Result<Vec<RateCard>, InvalidOverrides> {
        for (field, count) in
            [("rates", self.rates.len()), ("aliases", self.aliases.len()), ("markups", self.markups.len())]
        {
            if count > MAX_OVERRIDES {
                return Err(invalid(field, "500 entries at most"));
            }
        }
        let mut cards = Vec::with_capacity(self.rates.len());
        for (at, own) in self.rates.iter().enumerate() {
            let place = format!("rates[{at}]");
            check_dates(&place, own.from, own.until)?;
            let same =
                |other: &OwnRates| (&other.provider, &other.model, other.from) == (&own.provider, &own.model, own.from);
            if is_repeated(&self.rates, at, same) {
                return Err(invalid(&format!("{place}.from"), "this model has other rates from the same instant"));
            }
            cards.push(own.card(scope, &place)?);
        }
        for (at, alias) in self.aliases.iter().enumerate() {
            let place = format!("aliases[{at}]");
            check_dates(&place, alias.from, alias.until)?;
            let same = |other: &Alias| {
                (&other.provider, &other.model, other.from) == (&alias.provider, &alias.model, alias.from)
            };
            if is_repeated(&self.aliases, at, same) {
                return Err(invalid(&format!("{place}.from"), "this name is another alias from the same instant"));
            }
            let has_rates = self.rates.iter().any(|own| own.provider == alias.provider && own.model == alias.model);
            if has_rates {
                return Err(invalid(&format!("{place}.model"), "this name has rates of its own"));
            }
        }
        // Only one step is taken, so an alias that leads to another one would lead to nothing.
        let is_alias = |name: &ModelName| {
            self.aliases.iter().any(|other| other.provider == name.provider && other.model == name.model)
        };
        if let Some(at) = self.aliases.iter().position(|alias| is_alias(&alias.is)) {
            return Err(invalid(&format!("aliases[{at}].is"), "an alias leads to a model, not to another alias"));
        }
        for (at, markup) in self.markups.iter().enumerate() {
            let place = format!("markups[{at}]");
            markup.check(&place)?;
            if is_repeated(&self.markups, at, |other| other.id == markup.id) {
                return Err(invalid(&format!("{place}.id"), "another markup has this id"));
            }
            let same = |other: &Markup| {
                (&other.provider, &other.model, other.resource, other.from)
                    == (&markup.provider, &markup.model, markup.resource, markup.from)
            };
            if is_repeated(&self.markups, at, same) {
                return Err(invalid(&format!("{place}.from"), "another markup of the same calls begins then"));
            }
        }
        Ok(cards)
    }

    /// The first alias that leads to a model which nobody knows.
    ///
    /// # Errors
    /// The alias.
    pub fn check_aliases(&self, catalog: &Catalog, platform: Option<&Overrides>) -> Result<(), InvalidOverrides> {
        let own = |rates: &[OwnRates], name: &ModelName| {
            rates.iter().any(|own| own.provider == name.provider && own.model == name.model)
        };
        for (at, alias) in self.aliases.iter().enumerate() {
            let known = catalog.model(alias.is.provider.as_str(), alias.is.model.as_str()).is_some()
                || own(&self.rates, &alias.is)
                || platform.is_some_and(|platform| own(&platform.document.rates, &alias.is));
            if !known {
                let message = format!("there are no rates of `{}` of provider `{}`", alias.is.model, alias.is.provider);
                return Err(invalid(&format!("aliases[{at}].is.model"), &message));
            }
        }
        Ok(())
    }
}

impl OwnRates {
    /// The rates as a card that holds whenever they do.
    ///
    /// # Errors
    /// The field that is wrong; `place` is where the rates are.
    pub(crate) fn card(&self, scope: OverridesScope, place: &str) -> Result<RateCard, InvalidOverrides> {
        let id = format!("{scope}:{}/{}@{}", self.provider, self.model, date(self.from));
        let base = rates(place, &self.per_million, &self.per_unit)?;
        if base.is_empty() {
            return Err(invalid(place, "names no rates: `perMillion`, `perUnit` or both"));
        }
        if self.tiers.len() > MAX_TIERS || self.regions.0.len() > MAX_TIERS {
            return Err(invalid(place, "50 tiers and 50 regions at most"));
        }
        let mut tiers: Vec<Tier> = Vec::new();
        for (at, tier) in self.tiers.iter().enumerate() {
            let place = format!("{place}.tiers[{at}]");
            let above = tier.above.ok_or_else(|| invalid(&format!("{place}.above"), "missing"))?;
            if tier.multiplier.is_some() {
                return Err(invalid(&format!("{place}.multiplier"), "a tier has rates"));
            }
            // Token counts are whole, so "above n" is "from n + 1".
            let at_least = above.saturating_add(1);
            if tiers.last().is_some_and(|earlier| earlier.at_least >= at_least) {
                return Err(invalid(&format!("{place}.above"), "tiers are ascending"));
            }
            // A meter that a tier does not name keeps the rate of the tier below, as in the price list.
            let mut all = tiers.last().map_or_else(Rates::default, |earlier| earlier.rates.clone());
            all.overlay(&rates(&place, &tier.per_million, &tier.per_unit)?);
            tiers.push(Tier { at_least, rates: all });
        }
        let mut modes = Vec::new();
        for (name, change) in &self.modes.0 {
            let place = format!("{place}.modes.{name}");
            let mode = Mode::ALL.into_iter().find(|mode| mode.to_string() == name.as_str());
            let mode = mode.ok_or_else(|| invalid(&place, "there are batch, flex and priority"))?;
            modes.push((mode, change.adjustment(&place)?));
        }
        let mut regions = Vec::new();
        for (region, change) in &self.regions.0 {
            regions.push((region.to_string(), change.adjustment(&format!("{place}.regions.{region}"))?));
        }
        Ok(RateCard {
            id: id.into(),
            from: self.from.unwrap_or_default(),
            base,
            tiers,
            modes,
            regions,
            schedules: Vec::new(),
            source: format!("{scope} overrides"),
            confidence: Confidence::Confirmed,
        })
    }
}

impl OwnChange {
    fn adjustment(&self, place: &str) -> Result<Adjustment, InvalidOverrides> {
        let base = rates(place, &self.per_million, &self.per_unit)?;
        if self.above.is_some() {
            return Err(invalid(&format!("{place}.above"), "only a tier begins above a length"));
        }
        // So that the product of two, of a mode and a region, is exact.
        if self.multiplier.is_some_and(|by| by.picos() % 1_000_000 != 0) {
            return Err(invalid(&format!("{place}.multiplier"), "has 6 decimals at most"));
        }
        let change = match (self.multiplier, base.is_empty()) {
            (Some(by), true) if is_factor(by) => Change::Multiplier(by),
            (Some(_), true) => return Err(invalid(&format!("{place}.multiplier"), "must lie in 0 to 100")),
            (None, false) => Change::Rates { base, tiers: Vec::new() },
            _ => return Err(invalid(place, "has either a `multiplier` or rates")),
        };
        Ok(Adjustment { change, confidence: None })
    }
}

impl Markup {
    /// What every rate is multiplied by.
    #[must_use]
    pub fn factor(&self) -> Ratio {
        let percent = self.percent.unwrap_or_default();
        self.factor.unwrap_or_else(|| Ratio::from_picos(Ratio::ONE.picos() + percent.picos() / 100))
    }

    fn check(&self, place: &str) -> Result<(), InvalidOverrides> {
        check_dates(place, self.from, self.until)?;
        if self.model.is_some() && self.provider.is_none() {
            return Err(invalid(&format!("{place}.provider"), "missing: a model is named with its provider"));
        }
        let field = match (self.factor, self.percent) {
            (Some(_), None) => "factor",
            (None, Some(_)) => "percent",
            _ => return Err(invalid(place, "has either `factor` or `percent`")),
        };
        if self.percent.is_some_and(|percent| percent.picos() % 100 != 0) {
            return Err(invalid(&format!("{place}.percent"), "has 10 decimals at most"));
        }
        if is_factor(self.factor()) {
            Ok(())
        } else {
            Err(invalid(&format!("{place}.{field}"), "the factor must lie in 0 to 100"))
        }
    }

    fn means(&self, resource: Resource, (provider, model): (&Name, &Name)) -> bool {
        self.resource.is_none_or(|of| of == resource)
            && self.provider.as_ref().is_none_or(|of| of == provider)
            && self.model.as_ref().is_none_or(|of| of == model)
    }

    /// How much it says about which calls it means: a model says more than a provider, a provider more than a resource.
    const fn rank(&self) -> u8 {
        (self.model.is_some() as u8) << 2 | (self.provider.is_some() as u8) << 1 | self.resource.is_some() as u8
    }
}

/// Whether one of the entries before is the same. There are hundreds at most, and a scan is little code.
fn is_repeated<T>(entries: &[T], at: usize, same: impl Fn(&T) -> bool) -> bool {
    entries.iter().take(at).any(same)
}

/// Of the entries that hold at an instant, the one that began last.
fn latest<T: Copy>(
    entries: impl Iterator<Item = T>,
    at: Timestamp,
    dates: impl Fn(T) -> (Option<Timestamp>, Option<Timestamp>),
) -> Option<T> {
    let in_force = entries.filter(|entry| {
        let (from, until) = dates(*entry);
        holds(from, until, at)
    });
    in_force.max_by_key(|entry| dates(*entry).0)
}

/// Whether rates may be multiplied by it.
fn is_factor(ratio: Ratio) -> bool {
    (Ratio::ZERO..=Ratio::percent(100 * 100)).contains(&ratio)
}

fn holds(from: Option<Timestamp>, until: Option<Timestamp>, at: Timestamp) -> bool {
    from.is_none_or(|from| from <= at) && until.is_none_or(|until| at < until)
}

fn check_dates(place: &str, from: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), InvalidOverrides> {
    match (from, until) {
        (from, Some(until)) if from.unwrap_or_default() >= until => {
            Err(invalid(&format!("{place}.until"), "must be later than `from`"))
        }
        _ => Ok(()),
    }
}

/// The day, where an instant begins one, as in the ids of the price list's cards.
fn date(from: Option<Timestamp>) -> String {
    let from = from.unwrap_or_default().to_string();
    from.strip_suffix("T00:00:00.000Z").map(str::to_owned).unwrap_or(from)
}

fn rates(
    place: &str,
    per_million: &SortedMap<Meter, Usd>,
    per_unit: &SortedMap<Meter, Usd>,
) -> Result<Rates, InvalidOverrides> {
    format::rates(place, per_million, per_unit)
        .map_err(|CatalogError { place, message }| InvalidOverrides { field: place, message })
}

fn invalid(field: &str, message: &str) -> InvalidOverrides {
    InvalidOverrides { field: field.to_owned(), message: message.to_owned() }
}

/// What an entry of any kind can say. Read once for all kinds: code that reads six structs is six times as large, and it is in the package.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Members {
    #[serde(default)]
    id: Option<Name>,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    model: Option<Name>,
    #[serde(default)]
    resource: Option<Resource>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    is: Option<ModelName>,
    #[serde(default)]
    from: Option<Timestamp>,
    #[serde(default)]
    until: Option<Timestamp>,
    #[serde(default)]
    above: Option<u64>,
    #[serde(default)]
    multiplier: Option<Ratio>,
    #[serde(default)]
    factor: Option<Ratio>,
    #[serde(default)]
    percent: Option<Ratio>,
    #[serde(default)]
    per_million: SortedMap<Meter, Usd>,
    #[serde(default)]
    per_unit: SortedMap<Meter, Usd>,
    #[serde(default, deserialize_with = "objects::list_of_objects")]
    tiers: Vec<OwnChange>,
    #[serde(default)]
    modes: Changes,
    #[serde(default)]
    regions: Changes,
}

/// The words in which serde says it, so that the field is named alike.
fn needed<T>(member: &mut Option<T>, name: &str) -> Result<T, String> {
    member.take().ok_or_else(|| format!("missing field `{name}`"))
}

impl Members {
    /// The entry, unless something is left that its kind does not have.
    fn only<T>(self, entry: T) -> Result<T, String> {
        let left = [
            ("id", self.id.is_some()),
            ("provider", self.provider.is_some()),
            ("model", self.model.is_some()),
            ("resource", self.resource.is_some()),
            ("is", self.is.is_some()),
            ("from", self.from.is_some()),
            ("until", self.until.is_some()),
            ("above", self.above.is_some()),
            ("multiplier", self.multiplier.is_some()),
            ("factor", self.factor.is_some()),
            ("percent", self.percent.is_some()),
            ("perMillion", !self.per_million.is_empty()),
            ("perUnit", !self.per_unit.is_empty()),
            ("tiers", !self.tiers.is_empty()),
            ("modes", !self.modes.is_empty()),
            ("regions", !self.regions.is_empty()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((name, _)) => Err(format!("unknown field `{name}`")),
            None => Ok(entry),
        }
    }
}

impl TryFrom<Members> for OwnRates {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        let entry = Self {
            provider: needed(&mut members.provider, "provider")?,
            model: needed(&mut members.model, "model")?,
            from: members.from.take(),
            until: members.until.take(),
            per_million: core::mem::take(&mut members.per_million),
            per_unit: core::mem::take(&mut members.per_unit),
            tiers: core::mem::take(&mut members.tiers),
            modes: core::mem::take(&mut members.modes),
            regions: core::mem::take(&mut members.regions),
        };
        members.only(entry)
    }
}

impl TryFrom<Members> for OwnChange {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        let entry = Self {
            above: members.above.take(),
            multiplier: members.multiplier.take(),
            per_million: core::mem::take(&mut members.per_million),
            per_unit: core::mem::take(&mut members.per_unit),
        };
        members.only(entry)
    }
}

impl TryFrom<Members> for Alias {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        let entry = Self {
            provider: needed(&mut members.provider, "provider")?,
            model: needed(&mut members.model, "model")?,
            is: needed(&mut members.is, "is")?,
            from: members.from.take(),
            until: members.until.take(),
        };
        members.only(entry)
    }
}

impl TryFrom<Members> for ModelName {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        let entry =
            Self { provider: needed(&mut members.provider, "provider")?, model: needed(&mut members.model, "model")? };
        members.only(entry)
    }
}

impl TryFrom<Members> for Markup {
    type Error = String;

    fn try_from(mut members: Members) -> Result<Self, String> {
        let entry = Self {
            id: needed(&mut members.id, "id")?,
            provider: members.provider.take(),
            model: members.model.take(),
            resource: members.resource.take(),
            from: members.from.take(),
            until: members.until.take(),
            factor: members.factor.take(),
            percent: members.percent.take(),
        };
        members.only(entry)
    }
}

impl RateCard {
    /// Whether the card has a call's mode and region.
    pub(super) fn covers(&self, terms: Terms<'_>) -> bool {
        terms.mode.is_none_or(|mode| self.modes.iter().any(|(named, _)| *named == mode))
            && terms.region.is_none_or(|region| self.regions.iter().any(|(named, _)| named == region.as_str()))
    }
}
