//! Quotas: what may be spent, by whom, on what, in which period.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::amount::Amount;
use crate::bounds::Amounts;
use crate::call::Resource;
use crate::call_names::CallNames;
use crate::fault::{self, Fault};
use crate::ids::{Name, UserId};
use crate::meter::Quantity;
use crate::money::Usd;
use crate::objects;
use crate::period::{Calendar, Period, Weekday};
use crate::ratio::Ratio;
use crate::usage_report::UsageKey;
use crate::zone::Zone;

/// The most quotas of one tenant.
pub const MAX_QUOTAS: usize = 1_000;

/// A limit on one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Whose budget it is.
    pub scope: Scope,
    /// The user, where the scope is one user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope_id: Option<UserId>,
    /// What draws on it.
    pub resource: ResourceFilter,
    /// What it counts.
    pub unit: Unit,
    /// How much of the unit one period may see; exactly that much fits. Dollars up to [`Usd::MAX`] with 12 decimals, seconds up to
    /// [`Quantity::MAX`] with 6, everything else whole.
    pub limit: Amount,
    /// How long the limit lasts.
    pub period: Period,
    /// On whose clocks calendar periods begin: a name of the IANA database. UTC where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Name>,
    /// The day on which a week begins.
    #[serde(default, skip_serializing_if = "is_default")]
    pub week_starts_on: Weekday,
    /// The day on which a month begins, 1 to 31; the last one in months that are shorter.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub month_starts_on: u32,
    /// The hour of the clock at which days, weeks and months begin, 0 to 23.
    #[serde(default, skip_serializing_if = "is_default")]
    pub day_starts_at: u32,
    /// How much of what the period before left of the limit is added to it, at most. Nothing where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollover: Option<Amount>,
    /// The fractions of the limit that are reported when spend reaches them, ascending.
    #[serde(default)]
    pub warn_at: Thresholds,
    /// Which calls of the resource draw on it; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Filter::is_empty", deserialize_with = "objects::object")]
    pub filter: Filter,
    /// What happens to a call that does not fit.
    #[serde(default, skip_serializing_if = "Enforcement::is_block")]
    pub enforcement: Enforcement,
}

/// Which calls draw on a quota: those that have one of the names of all that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// Calls billed by this provider, or by one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Names>,
    /// Calls of this model, or of one of these, by whichever of its names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Names>,
    /// Calls from this touchpoint, or from one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touchpoint: Option<Names>,
}

impl Filter {
    /// Whether every call passes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.provider.is_none() && self.model.is_none() && self.touchpoint.is_none()
    }

    fn lets_through(&self, names: &CallNames<'_>) -> bool {
        let touchpoint = names.call().attribution.touchpoint.as_ref();
        self.touchpoint.as_ref().is_none_or(|wanted| touchpoint.is_some_and(|found| wanted.has(found.as_str())))
            && names.are_among(self.provider.as_ref(), self.model.as_ref())
    }

    /// Whether the same names are listed, in whichever order.
    fn lists_the_same_as(&self, other: &Self) -> bool {
        let same = |one: &Option<Names>, other: &Option<Names>| match (one, other) {
            (Some(one), Some(other)) => one.lists_the_same_as(other),
            (None, None) => true,
            _ => false,
        };
        same(&self.provider, &other.provider)
            && same(&self.model, &other.model)
            && same(&self.touchpoint, &other.touchpoint)
    }
}

/// One name or several, each of which will do: 1 to [`Names::MAX`]. Written as it was read: one as a string, a list as a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// The one.
    One(Name),
    /// Any of these.
    Any(Vec<Name>),
}

impl Names {
    /// The most names of a list: every call looks through the lists of all quotas that it may draw on.
    pub const MAX: usize = 32;

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Name] {
        match self {
            Self::One(name) => core::slice::from_ref(name),
            Self::Any(names) if fault::on(Fault::FilterSeesFirstName) => names.get(..1).unwrap_or_default(),
            Self::Any(names) => names,
        }
    }

    /// Whether a name is one of them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.as_slice().iter().any(|known| known.as_str() == name)
    }

    fn lists_the_same_as(&self, other: &Self) -> bool {
        let has_all = |one: &Self, other: &Self| one.as_slice().iter().all(|name| other.has(name.as_str()));
        has_all(self, other) && has_all(other, self)
    }
}

impl From<Name> for Names {
    fn from(name: Name) -> Self {
        Self::One(name)
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(name) => name.serialize(serializer),
            Self::Any(names) => serializer.collect_seq(names),
        }
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> de::Visitor<'de> for OneOrMore {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of 1 to 128 characters, or an array of these")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Names, E> {
                text.parse().map(Names::One).map_err(E::custom)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = sequence.next_element::<Name>()? {
                    if names.len() >= Names::MAX {
                        return Err(de::Error::custom("at most 32 names"));
                    }
                    names.push(name);
                }
                // It would let nothing through, and is easily taken for one that lets everything through.
                if names.is_empty() {
                    return Err(de::Error::custom("a list of names has one at least"));
                }
                Ok(Names::Any(names))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// What a quota does about a call that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Denies it.
    #[default]
    Block,
    /// Counts it and lets it pass; its thresholds tell.
    Warn,
}

impl Enforcement {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    const fn is_block(&self) -> bool {
        matches!(self, Self::Block)
    }
}

/// Whose budget a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All of a tenant.
    Tenant,
    /// One user of a tenant.
    User,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tenant => "tenant",
            Self::User => "user",
        })
    }
}

/// Which calls draw on a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceFilter {
    /// Calls of language models.
    Llm,
    /// Sandboxes.
    E2b,
    /// Every paid call.
    All,
}

impl ResourceFilter {
    /// Whether calls of a resource draw on the quota.
    #[must_use]
    pub const fn covers(self, resource: Resource) -> bool {
        matches!((self, resource), (Self::All, _) | (Self::Llm, Resource::Llm) | (Self::E2b, Resource::E2b))
    }
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// US dollars.
    Usd,
    /// Tokens of prompts and answers.
    Tokens,
    /// Calls.
    Requests,
    /// Seconds that sandboxes run.
    Seconds,
    /// Calls and sandboxes at the same time: open reservations. Nothing of it is ever spent.
    Concurrent,
}

impl Unit {
    /// What a hold of these amounts holds of the unit.
    #[must_use]
    pub fn held(self, amounts: &Amounts) -> Amount {
        match self {
            Self::Concurrent => Amount::ONE,
            other => other.spent(amounts),
        }
    }

    /// What a charge of these amounts spends of the unit.
    #[must_use]
    pub fn spent(self, amounts: &Amounts) -> Amount {
        match self {
            Self::Usd => amounts.usd.into(),
            Self::Tokens => amounts.tokens.into(),
            Self::Requests => amounts.requests.into(),
            Self::Seconds => amounts.seconds.into(),
            Self::Concurrent => Amount::ZERO,
        }
    }

    /// The unit in a sentence.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Usd => "USD",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Seconds => "seconds",
            Self::Concurrent => "at a time",
        }
    }

    /// Checks an amount of the unit from outside.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(self, amount: Amount) -> Result<(), &'static str> {
        let (most, decimals) = self.bounds();
        if amount.is_negative() {
            return Err("a limit cannot be negative");
        }
        if amount.picos() > i128::from(most).saturating_mul(Ratio::ONE.picos()) {
            return Err("a limit can be 1000000000 USD, or 1000000000000 of another unit, at most");
        }
        if !amount.has_decimals_up_to(decimals) {
            return Err(
                "tokens, requests and concurrent calls are counted whole; USD have 12 decimals and seconds 6 at most",
            );
        }
        Ok(())
    }

    /// The largest limit, and the most decimals that it may have.
    const fn bounds(self) -> (u64, u32) {
        match self {
            Self::Usd => (Usd::MAX, Usd::SCALE),
            Self::Seconds => (Quantity::MAX, Quantity::SCALE),
            Self::Tokens | Self::Requests | Self::Concurrent => (Quantity::MAX, 0),
        }
    }
}

/// Fractions of a limit, above 0 up to 1, ascending, at most [`Thresholds::MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds(Vec<Ratio>);

impl Thresholds {
    /// The most thresholds of one quota.
    pub const MAX: usize = 8;

    /// The fractions, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Ratio] {
        &self.0
    }
}

impl Default for Thresholds {
    /// A warning at 80 % and one at the limit.
    fn default() -> Self {
        Self(vec![Ratio::percent(80), Ratio::ONE])
    }
}

impl Serialize for Thresholds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Checked inside the visitor, so that an error is placed at the thresholds and not at what holds them.
        struct Fractions;
        impl<'de> de::Visitor<'de> for Fractions {
            type Value = Thresholds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of fractions as decimal strings, such as [\"0.8\", \"1\"]")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Thresholds, A::Error> {
                let mut fractions = Vec::new();
                let mut count = 0;
                // Fractions are written as money is: decimal strings, so that no reader rounds them.
                while let Some(fraction) = sequence.next_element::<Ratio>()? {
                    if fraction <= Ratio::ZERO || fraction > Ratio::ONE {
                        return Err(de::Error::custom("a threshold is a fraction above 0 up to 1, such as \"0.8\""));
                    }
                    count += 1;
                    if count > Thresholds::MAX {
                        return Err(de::Error::custom("at most 8 thresholds"));
                    }
                    // A few are put in their places; sorting is much code in WebAssembly.
                    if let Err(at) = fractions.binary_search(&fraction) {
                        fractions.insert(at, fraction);
                    }
                }
                Ok(Thresholds(fractions))
            }
        }
        deserializer.deserialize_seq(Fractions)
    }
}

const fn first() -> u32 {
    1
}

const fn is_first(day: &u32) -> bool {
    *day == 1
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with a quota that reads well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidQuota {
    /// The field, as on the wire.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: &'static str,
}

impl Quota {
    /// A quota that says nothing more than it must.
    #[must_use]
    pub fn new(scope: Scope, resource: ResourceFilter, unit: Unit, limit: Amount, period: Period) -> Self {
        Self {
            scope,
            scope_id: None,
            resource,
            unit,
            limit,
            period,
            time_zone: None,
            week_starts_on: Weekday::default(),
            month_starts_on: first(),
            day_starts_at: 0,
            rollover: None,
            warn_at: Thresholds::default(),
            filter: Filter::default(),
            enforcement: Enforcement::default(),
        }
    }

    /// Where its periods begin. A zone that the table has no longer, which can only have been stored, has the clocks of UTC.
    #[must_use]
    pub fn calendar(&self) -> Calendar {
        Calendar {
            zone: if fault::on(Fault::ZoneIsIgnored) { Zone::default() } else { self.zone().unwrap_or_default() },
            week_starts_on: self.week_starts_on,
            month_starts_on: self.month_starts_on,
            day_starts_at: self.day_starts_at,
        }
    }

    fn zone(&self) -> Option<Zone> {
        Zone::find(self.zone_name())
    }

    fn zone_name(&self) -> &str {
        self.time_zone.as_ref().map_or("UTC", Name::as_str)
    }

    /// Checks what the types alone do not rule out.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn check(&self) -> Result<(), InvalidQuota> {
        match (self.scope, &self.scope_id) {
            (Scope::User, None) => {
                return Err(InvalidQuota { field: "scopeId", message: "a quota of scope `user` names the user" });
            }
            (Scope::Tenant, Some(_)) => {
                return Err(InvalidQuota { field: "scopeId", message: "a quota of scope `tenant` has no scopeId" });
            }
            _ => {}
        }
        self.unit.check(self.limit).map_err(|message| InvalidQuota { field: "limit", message })?;
        if self.unit == Unit::Concurrent && self.period != Period::Lifetime {
            // A hold that is open across the end of a period would stay behind in it and not count any more.
            return Err(InvalidQuota {
                field: "period",
                message: "what is open at the same time has no period; say `lifetime`",
            });
        }
        self.check_period()
    }

    fn check_period(&self) -> Result<(), InvalidQuota> {
        let invalid = |field, message| Err(InvalidQuota { field, message });
        if let Period::Rolling(seconds) = self.period
            && !(1..=Period::MAX_ROLLING_SECONDS).contains(&seconds)
        {
            return invalid("period.rolling", "a rolling window has 1 to 31622400 seconds");
        }
        if self.zone().is_none() {
            return invalid(
                "timeZone",
                "there is no such time zone; say a name of the IANA database, such as `Europe/Berlin`",
            );
        }
        if !(1..=31).contains(&self.month_starts_on) {
            return invalid("monthStartsOn", "a month starts on a day from 1 to 31");
        }
        if self.day_starts_at > 23 {
            return invalid("dayStartsAt", "a day starts at an hour from 0 to 23");
        }
        if let Some(rollover) = self.rollover {
            if !matches!(self.period, Period::Hour | Period::Day | Period::Week | Period::Month) {
                return invalid("rollover", "only calendar periods leave something to the next");
            }
            self.unit.check(rollover).or_else(|message| invalid("rollover", message))?;
        }
        // What would be ignored is told, so that nobody counts on it.
        let days = matches!(self.period, Period::Day | Period::Week | Period::Month);
        let calendar = days || self.period == Period::Hour;
        if self.time_zone.is_some() && !calendar {
            return invalid("timeZone", "only calendar periods have a time zone");
        }
        if self.week_starts_on != Weekday::default() && self.period != Period::Week {
            return invalid("weekStartsOn", "only the period `week` has a first day of the week");
        }
        if self.month_starts_on != first() && self.period != Period::Month {
            return invalid("monthStartsOn", "only the period `month` has a first day of the month");
        }
        if self.day_starts_at != 0 && !days {
            return invalid("dayStartsAt", "only the periods `day`, `week` and `month` start at an hour of the day");
        }
        Ok(())
    }

    /// Whether a call, by its names, draws on this quota.
    #[must_use]
    pub fn applies_to(&self, names: &CallNames<'_>) -> bool {
        let call = names.call();
        self.resource.covers(call.resource)
            && (self.filter.is_empty() || self.filter.lets_through(names))
            && match self.scope {
                Scope::Tenant => true,
                Scope::User => self.scope_id == call.user_id,
            }
    }

    /// Whether calls that are rolled up together may have drawn on this quota.
    pub(crate) fn may_count(&self, key: &UsageKey) -> bool {
        let Filter { provider, model, touchpoint } = &self.filter;
        let has = |wanted: &Option<Names>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted.has(found));
        let is_model = [&key.model, &key.called].into_iter().flatten().any(|found| {
            let (by, name) = found.split_once('/').unwrap_or(("", found));
            has(provider, by) && (has(model, name) || has(model, found))
        });
        self.resource.covers(key.resource)
            && (is_model || (provider.is_none() && model.is_none()))
            && touchpoint.as_ref().is_none_or(|wanted| key.touchpoint.as_deref().is_some_and(|found| wanted.has(found)))
            && match self.scope {
                Scope::Tenant => true,
                Scope::User => self.scope_id.as_ref().map(ToString::to_string) == key.user,
            }
    }

    /// Whether what was counted for `other` counts for this one too: all but limit, thresholds and enforcement is the same.
    #[must_use]
    pub fn counts_the_same_as(&self, other: &Self) -> bool {
        self.counts_otherwise(other).is_none()
    }

    /// The first field, as on the wire, by which two quotas do not count the same. None where they do.
    #[must_use]
    pub fn counts_otherwise(&self, other: &Self) -> Option<&'static str> {
        [
            ("scope", self.scope == other.scope),
            ("scopeId", self.scope_id == other.scope_id),
            ("resource", self.resource == other.resource),
            ("unit", self.unit == other.unit),
            ("period", self.period == other.period),
            ("timeZone", self.zone_name() == other.zone_name()),
            ("weekStartsOn", self.week_starts_on == other.week_starts_on),
            ("monthStartsOn", self.month_starts_on == other.month_starts_on),
            ("dayStartsAt", self.day_starts_at == other.day_starts_at),
            ("filter", self.filter.lists_the_same_as(&other.filter)),
        ]
        .into_iter()
        .find_map(|(field, same)| (!same).then_some(field))
    }
}
