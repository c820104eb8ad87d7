//! What is known of a call before it is made, and the amounts that it holds and spends.

use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::meter::{Meter, Quantity};
use crate::money::Usd;

/// What a caller knows of a call before making it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Estimate {
    /// Bounds of prompt and answer; priced by the catalog.
    Tokens(TokenBounds),
    /// An amount that the caller worked out: USD, not negative.
    Usd(Usd),
    /// The resources and the longest life of a sandbox; priced by the catalog.
    Sandbox(SandboxBounds),
}

/// Bounds of one call of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenBounds {
    /// Tokens of the whole prompt, cached ones included.
    pub input_tokens: u64,
    /// Tokens of the whole answer, reasoning included.
    pub max_output_tokens: u64,
    /// Web searches that the provider may run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_web_searches: u64,
    /// The meters that the call can use; empty for every one that the model has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meters: Vec<Meter>,
}

/// Bounds of one sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SandboxBounds {
    /// The tier, as the catalog names it.
    pub tier: Name,
    /// The longest it may run.
    pub seconds: Quantity,
    /// Virtual CPUs allocated to it. Must be said where the tier has a price for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<Quantity>,
    /// GiB of memory allocated to it. Must be said where the tier has a price for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_gib: Option<Quantity>,
}

/// How much of each unit a call holds or has spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// Money.
    pub usd: Usd,
    /// Tokens of prompt and answer.
    #[serde(default, skip_serializing_if = "is_none")]
    pub tokens: Quantity,
    /// Calls.
    #[serde(default, skip_serializing_if = "is_none")]
    pub requests: Quantity,
    /// Seconds a sandbox ran.
    #[serde(default, skip_serializing_if = "is_none")]
    pub seconds: Quantity,
}

impl Amounts {
    /// These amounts, or others where those are more.
    #[must_use]
    pub fn at_least(&self, other: &Self) -> Self {
        Self {
            usd: self.usd.max(other.usd),
            tokens: self.tokens.max(other.tokens),
            requests: self.requests.max(other.requests),
            seconds: self.seconds.max(other.seconds),
        }
    }

    /// What these amounts are more than others; nothing where they are not.
    #[must_use]
    pub fn less(&self, other: &Self) -> Self {
        Self {
            usd: self.usd.minus(other.usd).or_zero(),
            tokens: self.tokens.less(other.tokens),
            requests: self.requests.less(other.requests),
            seconds: self.seconds.less(other.seconds),
        }
    }
}

const fn is_none(quantity: &Quantity) -> bool {
    quantity.is_zero()
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}
