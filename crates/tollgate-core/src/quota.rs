//! Quotas: what may be spent, by whom, on what, in which period.

use core::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::call::{Call, Resource};
use crate::estimate::Amounts;
use crate::ids::UserId;
use crate::money::Usd;
use crate::period::Period;

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
    /// How much of the unit one period may see; exactly that much fits.
    pub limit: Usd,
    /// How long the limit lasts.
    pub period: Period,
    /// The fractions of the limit that are reported when spend reaches them, ascending.
    #[serde(default)]
    pub warn_at: Thresholds,
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
}

impl Unit {
    /// The part of the amounts that a quota of this unit counts.
    #[must_use]
    pub const fn of(self, amounts: &Amounts) -> Usd {
        match self {
            Self::Usd => amounts.usd,
        }
    }
}

/// Fractions of a limit, above 0 up to 1, ascending, at most [`Thresholds::MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds(Vec<Decimal>);

impl Thresholds {
    /// The most thresholds of one quota.
    pub const MAX: usize = 8;

    /// The fractions, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Decimal] {
        &self.0
    }
}

impl Default for Thresholds {
    /// A warning at 80 % and one at the limit.
    fn default() -> Self {
        Self(vec![Decimal::new(8, 1), Decimal::ONE])
    }
}

impl Serialize for Thresholds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|fraction| fraction.normalize().to_string()))
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
                // Fractions are written as money is: decimal strings, so that no reader rounds them.
                while let Some(fraction) = sequence.next_element::<Usd>()?.map(Usd::value) {
                    if fraction <= Decimal::ZERO || fraction > Decimal::ONE {
                        return Err(de::Error::custom("a threshold is a fraction above 0 up to 1, such as \"0.8\""));
                    }
                    fractions.push(fraction);
                    if fractions.len() > Thresholds::MAX {
                        return Err(de::Error::custom("at most 8 thresholds"));
                    }
                }
                fractions.sort_unstable();
                fractions.dedup();
                Ok(Thresholds(fractions))
            }
        }
        deserializer.deserialize_seq(Fractions)
    }
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
        if self.limit.is_negative() {
            return Err(InvalidQuota { field: "limit", message: "a limit cannot be negative" });
        }
        Ok(())
    }

    /// Whether a call draws on this quota.
    #[must_use]
    pub fn applies_to(&self, call: &Call) -> bool {
        self.resource.covers(call.resource)
            && match self.scope {
                Scope::Tenant => true,
                Scope::User => self.scope_id == call.user_id,
            }
    }

    /// Whether what was counted for `other` counts for this one too: all but limit and thresholds is the same.
    #[must_use]
    pub fn counts_the_same_as(&self, other: &Self) -> bool {
        self.scope == other.scope
            && self.scope_id == other.scope_id
            && self.resource == other.resource
            && self.unit == other.unit
            && self.period == other.period
    }
}
