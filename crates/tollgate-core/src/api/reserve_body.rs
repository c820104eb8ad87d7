//! Reads what is asked to be held: reserves, explains, extensions.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::call_body::{CallParts, SandboxBody, call};
use super::fields::{Place, check_ttl, not_negative, parse_id};
use super::json;
use super::problem::Problem;
use crate::bounds::{Estimate, TokenBounds};
use crate::call::{Attribution, Resource};
use crate::catalog::Mode;
use crate::ids::{ExtensionId, Name, ReservationId, UserId};
use crate::ledger::{ExtendRequest, HoldTerms, OnExpiry, OnInsufficient, ReserveRequest};
use crate::meter::{Meter, Quantity};
use crate::money::Usd;
use crate::objects;

/// Reads a reserve.
///
/// # Errors
/// The field that is wrong.
pub fn parse_reserve(json: &str) -> Result<ReserveRequest, Problem> {
    read_reserve(json, Place::Route)
}

/// Reads an explain: a reserve whose id may be left out.
///
/// # Errors
/// The field that is wrong.
pub fn parse_explain(json: &str) -> Result<ReserveRequest, Problem> {
    read_explain(json, Place::Route)
}

/// Reads an extension.
///
/// # Errors
/// The field that is wrong.
pub fn parse_extend(json: &str) -> Result<ExtendRequest, Problem> {
    json::read::<ExtendBody>(json)?.into_request("")
}

pub(super) fn read_reserve(json: &str, place: Place) -> Result<ReserveRequest, Problem> {
    let body: ReserveBody = json::read(json)?;
    place.allows("op", body.op)?;
    let id = body.id.clone().ok_or_else(|| Problem::invalid("id", "missing"))?;
    body.into_request(id)
}

pub(super) fn read_explain(json: &str, place: Place) -> Result<ReserveRequest, Problem> {
    let body: ReserveBody = json::read(json)?;
    place.allows("op", body.op)?;
    let id = match &body.id {
        Some(id) => id.clone(),
        None => parse_id("id", "explain")?,
    };
    body.into_request(id)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReserveBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<ReservationId>,
    #[serde(default)]
    user_id: Option<UserId>,
    resource: Resource,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    model: Option<Name>,
    #[serde(deserialize_with = "objects::object")]
    estimate: EstimateBody,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
    #[serde(default, deserialize_with = "objects::object")]
    attribution: Attribution,
    #[serde(default)]
    ttl_seconds: Option<u32>,
    #[serde(default)]
    on_expiry: Option<OnExpiry>,
    #[serde(default)]
    on_insufficient: Option<OnInsufficient>,
}

impl ReserveBody {
    fn into_request(self, id: ReservationId) -> Result<ReserveRequest, Problem> {
        let tier = self.estimate.sandbox.as_ref().map(|sandbox| sandbox.tier.clone());
        let estimate = self.estimate.into_estimate("estimate")?;
        let call = call(
            CallParts {
                resource: self.resource,
                user_id: self.user_id,
                provider: self.provider,
                model: self.model,
                mode: self.mode,
                region: self.region,
                attribution: self.attribution,
            },
            tier.as_ref(),
        )?;
        let ttl_seconds = self.ttl_seconds.unwrap_or(HoldTerms::DEFAULT_TTL_SECONDS);
        check_ttl("ttlSeconds", ttl_seconds)?;
        let on_expiry = self.on_expiry.unwrap_or(match estimate {
            Estimate::Tokens(_) => OnExpiry::ChargeInput,
            Estimate::Usd(_) | Estimate::Sandbox(_) => OnExpiry::ChargeHold,
        });
        let on_insufficient = self.on_insufficient.unwrap_or_default();
        Ok(ReserveRequest {
            id,
            call: call.into(),
            terms: HoldTerms { estimate, ttl_seconds, on_expiry, on_insufficient },
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EstimateBody {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    input_bytes: Option<u64>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    #[serde(default)]
    max_web_searches: Option<u64>,
    #[serde(default)]
    meters: Vec<Meter>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SandboxBody>,
}

impl EstimateBody {
    fn into_estimate(self, path: &str) -> Result<Estimate, Problem> {
        let in_tokens = self.input_tokens.is_some()
            || self.input_bytes.is_some()
            || self.max_output_tokens.is_some()
            || self.max_web_searches.is_some()
            || !self.meters.is_empty();
        match (in_tokens, self.usd, self.sandbox) {
            (true, None, None) => {
                let input_tokens = match (self.input_tokens, self.input_bytes) {
                    (Some(count), None) | (None, Some(count)) => count,
                    _ => return Err(Problem::invalid(path, "exactly one of `inputTokens` and `inputBytes`")),
                };
                let max_output_tokens = self
                    .max_output_tokens
                    .ok_or_else(|| Problem::invalid(format!("{path}.maxOutputTokens"), "missing"))?;
                for (field, count) in [
                    ("inputTokens", input_tokens),
                    ("maxOutputTokens", max_output_tokens),
                    ("maxWebSearches", self.max_web_searches.unwrap_or(0)),
                ] {
                    Quantity::from_count(count).map_err(|error| Problem::invalid(format!("{path}.{field}"), error))?;
                }
                let meters = Meter::ALL.into_iter().filter(|meter| self.meters.contains(meter)).collect();
                Ok(Estimate::Tokens(TokenBounds {
                    input_tokens,
                    max_output_tokens,
                    max_web_searches: self.max_web_searches.unwrap_or(0),
                    meters,
                }))
            }
            (false, Some(usd), None) => {
                not_negative(&format!("{path}.usd"), usd)?;
                Ok(Estimate::Usd(usd))
            }
            (false, None, Some(sandbox)) => Ok(Estimate::Sandbox(sandbox.bounds(&format!("{path}.sandbox"))?)),
            _ => Err(Problem::invalid(
                path,
                "exactly one of `inputTokens` or `inputBytes` with `maxOutputTokens`, `usd`, `sandbox`",
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ExtendBody {
    id: ExtensionId,
    #[serde(default)]
    ttl_seconds: Option<u32>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    estimate: Option<EstimateBody>,
}

impl ExtendBody {
    pub(super) fn into_request(self, prefix: &str) -> Result<ExtendRequest, Problem> {
        if let Some(ttl) = self.ttl_seconds {
            check_ttl(&format!("{prefix}ttlSeconds"), ttl)?;
        }
        let estimate =
            self.estimate.map(|estimate| estimate.into_estimate(&format!("{prefix}estimate"))).transpose()?;
        Ok(ExtendRequest { id: self.id, ttl_seconds: self.ttl_seconds, estimate })
    }
}
