//! Reads what an administrator sets: quotas and what adds to them, plans, tokens, own rates.

use std::sync::Arc;

use serde::Deserialize;

use super::fields::parameters;
use super::json;
use super::problem::{Code, Problem};
use crate::catalog::OverridesDocument;
use crate::ids::{Name, PlanName, Reason, RefundId};
use crate::ledger::{Credit, Increase, RefundRequest};
use crate::money::Usd;
use crate::policy::Policy;
use crate::quota::Quota;

/// The longest that a token may live: a year. How long it lives where the caller does not say: a day.
const MAX_TOKEN_SECONDS: u32 = 31_536_000;
const DEFAULT_TOKEN_SECONDS: u32 = 86_400;
/// The longest document of own rates, aliases and markups.
const MAX_OVERRIDES_BYTES: usize = 256 << 10;
/// The longest policy, with all its defaults: an answer has room for it.
const MAX_POLICY_BYTES: usize = 1_000_000;

/// The body of an onboarding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnboardRequest {
    /// The plan; the policy's default where it is not named.
    #[serde(default)]
    pub plan: Option<PlanName>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeleteQuota {
    #[serde(default)]
    forfeit: Option<bool>,
}

/// The body of a request for a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest<Role> {
    /// What its bearer may do.
    pub role: Role,
    /// How long it is good for: 1 to 31,536,000.
    #[serde(default = "default_token_seconds")]
    pub expires_in_seconds: u32,
}

/// Reads a quota.
///
/// # Errors
/// The field that is wrong.
pub fn parse_quota(json: &str) -> Result<Quota, Problem> {
    let quota: Quota = json::read(json)?;
    quota.check().map_err(|problem| Problem::invalid(problem.field, problem.message))?;
    Ok(quota)
}

/// Reads whether the order to remove a quota forfeits what is left of its credits: from its body, or, for clients that send none with a DELETE, from the query.
///
/// # Errors
/// The field or parameter that is wrong.
pub fn parse_delete_quota<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    json: &str,
) -> Result<bool, Problem> {
    let [asked] = parameters(pairs, ["forfeit"])?;
    let asked = match asked {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Problem::invalid("forfeit", "must be `true` or `false`")),
    };
    let body = if json.trim().is_empty() { DeleteQuota::default() } else { json::read(json)? };
    match (asked, body.forfeit) {
        (Some(asked), Some(told)) if asked != told => {
            Err(Problem::invalid("forfeit", "the body and the query say different things"))
        }
        (asked, told) => Ok(asked.or(told).unwrap_or(false)),
    }
}

/// Reads a top-up.
///
/// # Errors
/// The field that is wrong.
pub fn parse_credit(json: &str) -> Result<Credit, Problem> {
    json::read(json)
}

/// Reads an increase of a limit.
///
/// # Errors
/// The field that is wrong.
pub fn parse_increase(json: &str) -> Result<Increase, Problem> {
    json::read(json)
}

/// Reads a refund.
///
/// # Errors
/// The field that is wrong.
pub fn parse_refund(json: &str) -> Result<RefundRequest, Problem> {
    json::read::<RefundBody>(json).map(Into::into)
}

/// Reads an onboarding.
///
/// # Errors
/// The field that is wrong.
pub fn parse_onboard(json: &str) -> Result<OnboardRequest, Problem> {
    if json.trim().is_empty() { Ok(OnboardRequest::default()) } else { json::read(json) }
}

/// Reads and checks a policy.
///
/// # Errors
/// The field that is wrong.
pub fn parse_policy(json: &str) -> Result<Policy, Problem> {
    let policy: Policy = json::read(json)?;
    policy.check().map_err(|problem| Problem::invalid(problem.field, problem.message))?;
    // What a quota leaves out is said where the policy is answered.
    let length = tollgate_json::to_string(&policy).map_or(usize::MAX, |text| text.len());
    if length > MAX_POLICY_BYTES {
        return Err(Problem::invalid("plans", "with its defaults the policy has more than 1000000 bytes"));
    }
    Ok(policy)
}

/// Reads a request for a token.
///
/// # Errors
/// The field that is wrong.
pub fn parse_token_request<Role: for<'de> Deserialize<'de>>(json: &str) -> Result<TokenRequest<Role>, Problem> {
    let request: TokenRequest<Role> = json::read(json)?;
    if (1..=MAX_TOKEN_SECONDS).contains(&request.expires_in_seconds) {
        Ok(request)
    } else {
        Err(Problem::invalid("expiresInSeconds", "must lie in 1 to 31536000"))
    }
}

/// Reads a document of own rates, aliases and markups.
///
/// # Errors
/// The field that is wrong.
pub fn parse_overrides(json: &str) -> Result<Arc<OverridesDocument>, Problem> {
    // It is in every snapshot of every ledger that has it.
    if json.len() > MAX_OVERRIDES_BYTES {
        return Err(Problem::new(Code::BodyTooLarge, "a document of overrides has 256 KiB at most"));
    }
    read_overrides(json)
}

/// Reads a document that was taken before.
///
/// # Errors
/// The field that is wrong.
pub fn read_overrides(json: &str) -> Result<Arc<OverridesDocument>, Problem> {
    let document: OverridesDocument = json::read(json)?;
    Ok(document.into())
}

/// The body of a refund.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RefundBody {
    id: RefundId,
    #[serde(default)]
    usd: Option<Usd>,
    reason: Reason,
    by: Name,
}

impl From<RefundBody> for RefundRequest {
    fn from(body: RefundBody) -> Self {
        let RefundBody { id, usd, reason, by } = body;
        Self { id, usd, reason, by }
    }
}

const fn default_token_seconds() -> u32 {
    DEFAULT_TOKEN_SECONDS
}
