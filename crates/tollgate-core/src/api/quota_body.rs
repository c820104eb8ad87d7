//! Quotas and denials as they are sent.

use serde::Serialize;

use crate::amount::Amount;
use crate::estimate::Affordable;
use crate::ids::{QuotaId, UserId};
use crate::ledger::{Denial, QuotaSource, QuotaView};
use crate::period::Period;
use crate::quota::{Enforcement, Filter, ResourceFilter, Scope, Thresholds, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// A quota as it stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QuotaBody<'a> {
    id: &'a QuotaId,
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<&'a UserId>,
    resource: ResourceFilter,
    unit: Unit,
    limit: Amount,
    period: Period,
    warn_at: &'a Thresholds,
    #[serde(skip_serializing_if = "Filter::is_empty")]
    filter: &'a Filter,
    enforcement: Enforcement,
    source: QuotaSource,
    spent: Amount,
    held: Amount,
    remaining: Amount,
    utilization: Option<Ratio>,
    warned: &'a [Ratio],
    period_start: Option<Timestamp>,
    period_end: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
}

impl<'a> From<&QuotaView<'a>> for QuotaBody<'a> {
    fn from(view: &QuotaView<'a>) -> Self {
        Self {
            id: view.id,
            scope: view.quota.scope,
            scope_id: view.quota.scope_id.as_ref(),
            resource: view.quota.resource,
            unit: view.quota.unit,
            limit: view.quota.limit,
            period: view.quota.period,
            warn_at: &view.quota.warn_at,
            filter: &view.quota.filter,
            enforcement: view.quota.enforcement,
            source: view.source,
            spent: view.spent,
            held: view.held,
            remaining: view.remaining(),
            utilization: view.utilization(),
            warned: view.warned,
            period_start: view.window.end.map(|_| view.window.start),
            period_end: view.window.end,
            fits: None,
        }
    }
}

impl QuotaBody<'_> {
    /// With whether the call that was asked about fits.
    pub(super) fn with_fits(self, fits: bool) -> Self {
        Self { fits: Some(fits), ..self }
    }
}

/// Why a call did not fit.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DenialBody<'a> {
    quota: Option<&'a QuotaId>,
    #[serde(flatten)]
    binding: Option<BindingBody<'a>>,
    requested: Amount,
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
            retry_after_seconds: denial.retry_after_seconds(),
            affordable: denial.affordable.as_ref(),
            quotas: denial.quotas.iter().map(|denying| QuotaBody::from(&denying.view())).collect(),
            binding: binding.map(|view| BindingBody {
                scope: view.quota.scope,
                scope_id: view.quota.scope_id.as_ref(),
                resource: view.quota.resource,
                unit: view.quota.unit,
                period: view.quota.period,
                limit: view.quota.limit,
                spent: view.spent,
                held: view.held,
                remaining: view.remaining(),
                period_end: view.window.end,
            }),
        }
    }
}
