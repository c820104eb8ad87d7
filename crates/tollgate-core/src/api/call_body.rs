//! Reads what a call is: who makes it, of which model or sandbox.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::parse_id;
use super::problem::Problem;
use crate::bounds::SandboxBounds;
use crate::call::{Attribution, Call, Resource};
use crate::catalog::Mode;
use crate::ids::{Name, UserId};
use crate::meter::Quantity;

/// The sandbox provider, where the caller does not name one.
const SANDBOX_PROVIDER: &str = "e2b";

/// What bodies say of a call, each in a field of its own.
pub(super) struct CallParts {
    pub(super) resource: Resource,
    pub(super) user_id: Option<UserId>,
    pub(super) provider: Option<Name>,
    pub(super) model: Option<Name>,
    pub(super) mode: Option<Mode>,
    pub(super) region: Option<Name>,
    pub(super) attribution: Attribution,
}

/// A sandbox's tier is its model, so that reports and rates treat both alike.
pub(super) fn call(parts: CallParts, tier: Option<&Name>) -> Result<Call, Problem> {
    let (provider, model) = match tier {
        None => (parts.provider, parts.model),
        Some(tier) => {
            if parts.resource != Resource::E2b {
                return Err(Problem::invalid("resource", "a sandbox draws on resource `e2b`"));
            }
            if parts.model.is_some_and(|model| model != *tier) {
                return Err(Problem::invalid("model", "a sandbox's model is its tier; leave it out"));
            }
            let provider = match parts.provider {
                Some(provider) => provider,
                None => parse_id("provider", SANDBOX_PROVIDER)?,
            };
            (Some(provider), Some(tier.clone()))
        }
    };
    Ok(Call {
        resource: parts.resource,
        user_id: parts.user_id,
        provider,
        model,
        mode: parts.mode,
        region: parts.region,
        attribution: parts.attribution,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SandboxBody {
    pub(super) tier: Name,
    seconds: Number,
    #[serde(default)]
    vcpus: Option<Number>,
    #[serde(default)]
    memory_gib: Option<Number>,
}

impl SandboxBody {
    pub(super) fn bounds(self, path: &str) -> Result<SandboxBounds, Problem> {
        let optional = |number: Option<Number>, field: &str| {
            number.map(|number| number.quantity(&format!("{path}.{field}"))).transpose()
        };
        Ok(SandboxBounds {
            tier: self.tier,
            seconds: self.seconds.quantity(&format!("{path}.seconds"))?,
            vcpus: optional(self.vcpus, "vcpus")?,
            memory_gib: optional(self.memory_gib, "memoryGib")?,
        })
    }
}

/// A decimal number in its own text, so that 0.5 is exactly that; a string of one serves as well.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Number(Box<RawValue>);

impl Number {
    pub(super) fn quantity(&self, field: &str) -> Result<Quantity, Problem> {
        let text = self.0.get();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        parse_id(field, text)
    }
}
