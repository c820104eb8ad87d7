//! Quotas and denials as they are sent.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Serialize;

use crate::amount::Amount;
use crate::estimate::Affordable;
use crate::ids::{CreditId, Name, QuotaId, UserId};
use crate::ledger::{Denial, DenyingQuota, Fit, Funds, Increase, Ledger, QuotaSource, QuotaView, Reservation};
use crate::period::{Period, Weekday};
use crate::quota::{Enforcement, Filter, Quota, ResourceFilter, Scope, Thresholds, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// The most quotas in an answer that is no page of quotas.
pub const MAX_SHOWN_QUOTAS: usize = 100;
/// The most credits, and the most increases, that a quota's state has where it is not asked for by itself.
pub const MAX_SHOWN_FUNDS: usize = 10;
/// How much may be said of quotas in all results of a batch, in bytes; the states beside the results come on top.
const MAX_NAMES_BYTES: usize = 128 << 10;
/// More than a state has without credits and increases.
const STATE_BYTES: usize = 2048;

/// A quota in an answer.
#[allow(
    clippy::large_enum_variant,
    reason = "but for batches all of them are states, which are not worth an allocation each"
)]
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum QuotaItem<'a> {
    /// As it stands.
    State(QuotaBody<'a>),
    /// It stands as is said beside the results of the batch.
    Named(&'a QuotaId),
    /// The same, and this.
    Fit(FitBody<'a>),
}

/// What is said of a quota in a batch's result besides its state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FitBody<'a> {
    id: &'a QuotaId,
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Option<Timestamp>>,
}

/// Quotas in an answer, and how many more there would be.
#[derive(Default)]
pub(super) struct QuotaList<'a> {
    pub(super) quotas: Vec<QuotaItem<'a>>,
    pub(super) more: Option<usize>,
}

/// The quotas that the results of a batch name, whose states then stand beside the results, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) ids: BTreeSet<QuotaId>,
    bytes: usize,
}

impl Names {
    fn has_room(&self) -> bool {
        self.bytes < MAX_NAMES_BYTES
    }

    /// What stands for a quota: its name where its state is the one that stands beside the results.
    fn item<'a>(
        &mut self,
        ledger: &Ledger,
        view: &QuotaView<'a>,
        now: Timestamp,
        body: QuotaBody<'a>,
    ) -> QuotaItem<'a> {
        if !ledger.shows_now(view, now) {
            self.bytes = self.bytes.saturating_add(STATE_BYTES);
            return QuotaItem::State(body);
        }
        let QuotaBody { fits, resets_at, .. } = body;
        self.bytes = self.bytes.saturating_add(view.id.as_str().len() + 3);
        if !self.ids.contains(view.id) {
            self.ids.insert(view.id.clone());
        }
        if fits.is_none() && resets_at.is_none() {
            return QuotaItem::Named(view.id);
        }
        self.bytes = self.bytes.saturating_add(60);
        QuotaItem::Fit(FitBody { id: view.id, fits, resets_at })
    }
}

impl<'a> QuotaList<'a> {
    /// Of some quotas, of which there are `count`: their states; or, in a batch, their names, as long as there is room for them.
    pub(super) fn new(
        ledger: &Ledger,
        now: Timestamp,
        count: usize,
        quotas: impl Iterator<Item = (QuotaView<'a>, QuotaBody<'a>)>,
        mut names: Option<&mut Names>,
    ) -> Self {
        let mut list = Vec::with_capacity(count.min(MAX_SHOWN_QUOTAS));
        let mut seen = 0;
        for (view, body) in quotas.take(MAX_SHOWN_QUOTAS) {
            seen += 1;
            match &mut names {
                None => list.push(QuotaItem::State(body)),
                Some(names) if names.has_room() => list.push(names.item(ledger, &view, now, body)),
                Some(_) => {}
            }
        }
        // Some of those that were counted may be gone: then fewer than there is room for were seen, and those that are left out were seen.
        let beyond = if seen < MAX_SHOWN_QUOTAS { 0 } else { count.saturating_sub(seen) };
        let more = Some(seen - list.len() + beyond).filter(|more| *more > 0);
        Self { quotas: list, more }
    }

    /// The states of some quotas, of which there are `count`.
    pub(super) fn states(count: usize, bodies: impl Iterator<Item = QuotaBody<'a>>) -> Self {
        let quotas = bodies.take(MAX_SHOWN_QUOTAS).map(QuotaItem::State).collect();
        let more = Some(count.saturating_sub(MAX_SHOWN_QUOTAS)).filter(|more| *more > 0);
        Self { quotas, more }
    }

    /// Those that a reservation counts on.
    pub(super) fn of(
        ledger: &'a Ledger,
        reservation: &'a Reservation,
        now: Timestamp,
        names: Option<&mut Names>,
    ) -> Self {
        let states = ledger.quotas_of(reservation, now).map(with_body);
        Self::new(ledger, now, reservation.counted_on.len(), states, names)
    }
}

pub(super) fn with_body<'a>(view: QuotaView<'a>) -> (QuotaView<'a>, QuotaBody<'a>) {
    let body = QuotaBody::from(&view);
    (view, body)
}

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
    /// How many more there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    more_credits: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    increases: Vec<&'a Increase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_increases: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<bool>,
    /// When there is room, where the call that was asked about does not fit; null for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<Option<Timestamp>>,
}

impl<'a> From<&QuotaView<'a>> for QuotaBody<'a> {
    fn from(view: &QuotaView<'a>) -> Self {
        Self::new(view, MAX_SHOWN_FUNDS)
    }
}

impl<'a> QuotaBody<'a> {
    /// With every credit and every increase.
    pub(super) fn whole(view: &QuotaView<'a>) -> Self {
        Self::new(view, usize::MAX)
    }

    fn new(view: &QuotaView<'a>, most: usize) -> Self {
        let render = || rendered(view.id, view.quota);
        let [head, terms] = match view.rendered {
            Some(kept) => kept.text(render).each_ref().map(|part| Cow::Borrowed(&**part)),
            None => render().map(|part| Cow::Owned(part.into())),
        };
        let (credits, more_credits) =
            view.funds.map(|(funds, now)| shown(credits(funds, now), most)).unwrap_or_default();
        let (increases, more_increases) =
            view.funds.map(|(funds, now)| shown(funds.increases(now), most)).unwrap_or_default();
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
            credits,
            more_credits,
            increases,
            more_increases,
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

fn credits(funds: &Funds, now: Timestamp) -> impl Iterator<Item = CreditBody<'_>> {
    funds.credits(now).map(move |state| CreditBody {
        id: &state.credit.id,
        amount: state.amount,
        remaining: state.remaining(now),
        expires_at: state.expires_at,
    })
}

/// The first ones, and how many more there are.
fn shown<T>(mut all: impl Iterator<Item = T>, most: usize) -> (Vec<T>, Option<usize>) {
    let first = all.by_ref().take(most).collect();
    (first, Some(all.count()).filter(|more| *more > 0))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    more_quotas: Option<usize>,
    quotas: Vec<QuotaItem<'a>>,
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

impl<'a> DenialBody<'a> {
    /// Beside the states of a batch, where there are names to which they belong.
    pub(super) fn new(denial: &'a Denial, beside: Option<(&Ledger, &mut Names)>) -> Self {
        let binding = denial.binding();
        let denying = denial.quotas.iter().map(|denying| (denying.view(), denying_body(denying)));
        let count = denial.quotas.len();
        let QuotaList { quotas, more } = match beside {
            None => QuotaList::states(count, denying.map(|(_, body)| body)),
            Some((ledger, names)) => QuotaList::new(ledger, denial.at, count, denying, Some(names)),
        };
        Self {
            quota: binding.as_ref().map(|view| view.id),
            requested: denial.needed(),
            resets_at: denial.resets_at(),
            retry_after_seconds: denial.retry_after_seconds(),
            affordable: denial.affordable.as_ref(),
            more_quotas: more,
            quotas,
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
