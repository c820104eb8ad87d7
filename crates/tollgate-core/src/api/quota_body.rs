//! Quotas and denials as they are sent.

use std::borrow::Cow;

use serde::Serialize;

use crate::amount::Amount;
use crate::estimate::Affordable;
use crate::ids::{CreditId, Name, QuotaId, UserId};
use crate::ledger::{Denial, DenyingQuota, Fit, Funds, Increase, QuotaSource, QuotaView};
use crate::period::{Period, Weekday};
use crate::quota::{Enforcement, Filter, Quota, ResourceFilter, Scope, Thresholds, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// The first part of what a quota says; the limit that is in force comes behind it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadBody<'a> {
    id: &'a QuotaId,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<&'a UserId>,
    resource: ResourceFilter,
    unit: Unit,
    limit: Amount,
}

/// The rest of what it says.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TermsBody<'a> {
    period: Period,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    week_starts_on: Option<Weekday>,
    #[serde(skip_serializing_if = "Option::is_none")]
    month_starts_on: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    day_starts_at: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollover: Option<Amount>,
    warn_at: &'a Thresholds,
    #[serde(skip_serializing_if = "Filter::is_empty")]
    filter: &'a Filter,
    enforcement: Enforcement,
}

/// Both parts, as members: written once for each quota, because they were half of what writing an answer took.
fn rendered(id: &QuotaId, quota: &Quota) -> [Box<str>; 2] {
    let head = HeadBody {
        id,
        scope: quota.scope,
        scope_id: quota.scope_id.as_ref(),
        resource: quota.resource,
        unit: quota.unit,
        limit: quota.limit,
    };
    let terms = TermsBody {
        period: quota.period,
        time_zone: quota.time_zone.as_ref(),
        week_starts_on: (quota.period == Period::Week).then_some(quota.week_starts_on),
        month_starts_on: (quota.period == Period::Month).then_some(quota.month_starts_on),
        day_starts_at: Some(quota.day_starts_at).filter(|hour| *hour != 0),
        rollover: quota.rollover,
        warn_at: &quota.warn_at,
        filter: &quota.filter,
        enforcement: quota.enforcement,
    };
    // Neither has anything that JSON lacks; an answer with an empty one could not be written.
    [tollgate_json::members(&head).unwrap_or_default(), tollgate_json::members(&terms).unwrap_or_default()]
}

/// A quota as it stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuotaBody<'a> {
    /// See [`HeadBody`].
    #[serde(rename = "$members")]
    head: Cow<'a, str>,
    /// With what adds to it, where anything does.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_limit: Option<Amount>,
    /// See [`TermsBody`].
    #[serde(rename = "$members")]
    terms: Cow<'a, str>,
    source: QuotaSource,
    spent: Amount,
    held: Amount,
    remaining: Amount,
    utilization: Option<Ratio>,
    warned: Cow<'a, [Ratio]>,
    period_start: Option<Timestamp>,
    period_end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    credits: Vec<CreditBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    increases: Vec<&'a Increase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
    /// When there is room, where the call that was asked about does not fit; null for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Option<Timestamp>>,
}

impl<'a> From<&QuotaView<'a>> for QuotaBody<'a> {
    fn from(view: &QuotaView<'a>) -> Self {
        let render = || rendered(view.id, view.quota);
        let [head, terms] = match view.rendered {
            Some(kept) => kept.text(render).each_ref().map(|part| Cow::Borrowed(&**part)),
            None => render().map(|part| Cow::Owned(part.into())),
        };
        Self {
            head,
            effective_limit: effective(view),
            terms,
            source: view.source,
            spent: view.spent,
            held: view.held,
            remaining: view.remaining(),
            utilization: view.utilization(),
            warned: view.warned.clone(),
            period_start: period_start(view),
            period_end: view.window.end,
            credits: view.funds.map(|(funds, now)| credits(funds, now)).unwrap_or_default(),
            increases: view.funds.map(|(funds, now)| funds.increases(now).collect()).unwrap_or_default(),
            fits: None,
            resets_at: None,
        }
    }
}

/// A credit that has something left.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreditBody<'a> {
    id: &'a CreditId,
    amount: Amount,
    remaining: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

fn credits(funds: &Funds, now: Timestamp) -> Vec<CreditBody<'_>> {
    let bodies = funds.credits(now).map(|state| CreditBody {
        id: &state.credit.id,
        amount: state.amount,
        remaining: state.remaining(now),
        expires_at: state.expires_at,
    });
    bodies.collect()
}

fn effective(view: &QuotaView<'_>) -> Option<Amount> {
    Some(view.limit).filter(|limit| *limit != view.quota.limit)
}

/// A rolling window has a start, and lifetime has neither start nor end.
fn period_start(view: &QuotaView<'_>) -> Option<Timestamp> {
    (view.quota.period != Period::Lifetime).then_some(view.window.start)
}

impl QuotaBody<'_> {
    /// With whether the call that was asked about fits.
    pub(super) fn with_fit(self, fit: Fit) -> Self {
        let resets_at = match fit {
            Fit::Now => None,
            Fit::Not(at) => Some(at),
        };
        Self { fits: Some(fit == Fit::Now), resets_at, ..self }
    }
}

fn denying_body(denying: &DenyingQuota) -> QuotaBody<'_> {
    QuotaBody { resets_at: Some(denying.resets_at), ..QuotaBody::from(&denying.view()) }
}

/// Why a call did not fit.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DenialBody<'a> {
    quota: Option<&'a QuotaId>,
    #[serde(flatten)]
    binding: Option<BindingBody<'a>>,
    requested: Amount,
    resets_at: Option<Timestamp>,
    retry_after_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affordable: Option<&'a Affordable>,
    quotas: Vec<QuotaBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BindingBody<'a> {
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<&'a UserId>,
    resource: ResourceFilter,
    unit: Unit,
    period: Period,
    limit: Amount,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_limit: Option<Amount>,
    spent: Amount,
    held: Amount,
    remaining: Amount,
    period_end: Option<Timestamp>,
}

impl<'a> From<&'a Denial> for DenialBody<'a> {
    fn from(denial: &'a Denial) -> Self {
        let binding = denial.binding();
        Self {
            quota: binding.as_ref().map(|view| view.id),
            requested: denial.needed(),
            resets_at: denial.resets_at(),
            retry_after_seconds: denial.retry_after_seconds(),
            affordable: denial.affordable.as_ref(),
            quotas: denial.quotas.iter().map(denying_body).collect(),
            binding: binding.map(|view| BindingBody {
                scope: view.quota.scope,
                scope_id: view.quota.scope_id.as_ref(),
                resource: view.quota.resource,
                unit: view.quota.unit,
                period: view.quota.period,
                limit: view.quota.limit,
                effective_limit: effective(&view),
                spent: view.spent,
                held: view.held,
                remaining: view.remaining(),
                period_end: view.window.end,
            }),
        }
    }
}
