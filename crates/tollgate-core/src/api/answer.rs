//! Renders answers: outcomes, states and problems into JSON, with the headers that a denial has.

use std::borrow::Cow;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::MAX_ANSWER_BYTES;
use super::holds_body::holds_page;
use super::problem::{Problem, ProblemBody};
use super::quota_body::{DenialBody, Names, QuotaBody, QuotaItem, QuotaList, with_body};
use super::request::{QuotasQuery, StateQuery};
use crate::amount::Amount;
use crate::arithmetic::arithmetic;
use crate::bounds::{Amounts, Estimate};
use crate::call::{Attribution, Resource};
use crate::catalog::{Alias, Catalog, Markup, Model, OverridesDocument, OverridesScope, OwnRates};
use crate::ids::{AdjustmentId, Name, PlanName, RefundId, ReservationId, TenantId, UserId};
use crate::ledger::{Denial, Entry, Explanation, Ledger, OnExpiry, Opening, Outcome, Refund, Rejection, Reservation};
use crate::meter::Quantity;
use crate::money::Usd;
use crate::period::Period;
use crate::price::{Basis, Charge};
use crate::quota::Unit;
use crate::sight::Sight;
use crate::time::Timestamp;
use crate::usage_report::{UsageQuery, UsageReport, UsageTotals};

/// The largest integer of a structured header field (RFC 9651, section 3.3.1).
const MAX_HEADER_INTEGER: i64 = 999_999_999_999_999;
/// Seconds after which it is worth trying again what was not available.
const RETRY_AFTER_SECONDS: u32 = 1;
/// The most quotas that header fields name: the binding one, and a few more. HTTP libraries bound the headers of an answer, Node's at 16 KiB; ids can be long.
const MAX_HEADER_QUOTAS: usize = 4;

/// What goes back to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// JSON. Empty where the status has no content.
    pub body: String,
    /// Header fields besides the content type.
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    /// A document.
    #[must_use]
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        match tollgate_json::to_string(body) {
            Ok(body) => Self { status, body, headers: Vec::new() },
            Err(error) => Self::problem(&Problem::new(super::Code::Internal, error.to_string())),
        }
    }

    /// An error.
    #[must_use]
    pub fn problem(problem: &Problem) -> Self {
        let body = tollgate_json::to_string(&ProblemBody::new(problem, None)).unwrap_or_default();
        let mut headers = problem.denial.as_deref().map(denial_headers).unwrap_or_default();
        if problem.code == super::Code::Unavailable {
            headers.push(("Retry-After", RETRY_AFTER_SECONDS.to_string()));
        }
        if let Some(holds) = &problem.holds {
            headers.push(("Retry-After", holds.retry_after_seconds().to_string()));
        }
        Self { status: problem.code.status(), body, headers }
    }

    /// An error among the results of a batch, which have no headers.
    pub(super) fn problem_in_batch(ledger: &Ledger, problem: &Problem, names: &mut Names) -> Self {
        let body = tollgate_json::to_string(&ProblemBody::new(problem, Some((ledger, names)))).unwrap_or_default();
        Self { status: problem.code.status(), body, headers: Vec::new() }
    }

    /// Status and body in one text: three digits, then the JSON, or nothing. It crosses the boundary of WebAssembly in one piece and is not copied for it.
    #[must_use]
    pub fn into_text(self) -> String {
        let mut text = self.body;
        text.insert_str(0, &self.status.to_string());
        text
    }

    /// Whether it is an error, and so a problem document.
    #[must_use]
    pub const fn is_problem(&self) -> bool {
        self.status >= 400
    }

    /// The answer to a command that was carried out.
    #[must_use]
    pub fn outcome(ledger: &Ledger, clock: Timestamp, outcome: &Outcome, sight: Sight) -> Self {
        Self::outcome_with(ledger, clock, outcome, None, sight)
    }

    /// The same among the results of a batch.
    pub(super) fn outcome_in_batch(
        ledger: &Ledger,
        clock: Timestamp,
        outcome: &Outcome,
        names: &mut Names,
        sight: Sight,
    ) -> Self {
        Self::outcome_with(ledger, clock, outcome, Some(names), sight)
    }

    fn outcome_with(
        ledger: &Ledger,
        clock: Timestamp,
        outcome: &Outcome,
        names: Option<&mut Names>,
        sight: Sight,
    ) -> Self {
        let now = ledger.now(clock);
        let of = |id: &ReservationId, status: u16, replayed: bool, kind: ReplyKind<'_>| {
            ledger.reservation(id).map_or_else(Self::gone, |reservation| {
                let quotas = QuotaList::of(ledger, reservation, now, names);
                Self::json(status, &ReplyBody::new(reservation, quotas, kind, replayed, sight))
            })
        };
        match outcome {
            Outcome::Onboarded => Self::tenant(ledger, now),
            Outcome::QuotaSet(id) | Outcome::QuotaReset(id) => {
                ledger.quota(id, now).map_or_else(Self::gone, |view| Self::json(200, &QuotaBody::from(&view)))
            }
            Outcome::QuotaRemoved => Self { status: 204, body: String::new(), headers: Vec::new() },
            Outcome::Reserved { id, replayed } => of(id, 201, *replayed, ReplyKind::Reserved),
            Outcome::Extended { id, replayed } => of(id, 200, *replayed, ReplyKind::Reserved),
            Outcome::Metered { id, replayed } => of(id, 200, *replayed, ReplyKind::Metered),
            Outcome::Settled { id, replayed } => of(id, 200, *replayed, ReplyKind::Settled),
            Outcome::Released { id, replayed } => of(id, 200, *replayed, ReplyKind::Released),
            Outcome::HoldsReleased { released, remaining } => {
                #[derive(Serialize)]
                struct Body {
                    released: usize,
                    remaining: usize,
                }
                Self::json(200, &Body { released: *released, remaining: *remaining })
            }
            Outcome::Recorded { id, replayed } => of(id, 201, *replayed, ReplyKind::Recorded),
            Outcome::OverridesSet(scope) => Self::overrides(ledger, *scope),
            Outcome::Refunded { id, refund, replayed } => of(id, 200, *replayed, ReplyKind::Refunded(refund)),
            Outcome::Adjusted { id, replayed } => of(id, 200, *replayed, ReplyKind::Settled),
        }
    }

    /// The tenant and its quotas.
    #[must_use]
    pub fn tenant(ledger: &Ledger, now: Timestamp) -> Self {
        let Some(tenant) = ledger.tenant() else {
            return Self::problem(&Rejection::TenantNotFound.into());
        };
        let quotas = QuotaList::states(ledger.quota_count(), ledger.quotas(now).map(|view| QuotaBody::from(&view)));
        let body = TenantBody {
            tenant: &tenant.id,
            plan: &tenant.plan,
            policy_version: tenant.policy_version,
            created_at: tenant.created_at,
            open_holds: ledger.open_holds(),
            more_quotas: quotas.more,
            quotas: quotas.quotas,
        };
        Self::json(200, &body)
    }

    /// Answers a query about the ledger's state. Those about its history are answered by whoever keeps that.
    #[must_use]
    pub fn query(ledger: &Ledger, catalog: &Catalog, clock: Timestamp, query: &StateQuery, sight: Sight) -> Self {
        Self::query_with(ledger, catalog, clock, query, None, sight)
    }

    /// The same among the results of a batch.
    pub(super) fn query_in_batch(
        ledger: &Ledger,
        catalog: &Catalog,
        clock: Timestamp,
        query: &StateQuery,
        names: &mut Names,
        sight: Sight,
    ) -> Self {
        Self::query_with(ledger, catalog, clock, query, Some(names), sight)
    }

    fn query_with(
        ledger: &Ledger,
        catalog: &Catalog,
        clock: Timestamp,
        query: &StateQuery,
        names: Option<&mut Names>,
        sight: Sight,
    ) -> Self {
        let now = ledger.now(clock);
        if ledger.tenant().is_none() {
            return Self::problem(&Rejection::TenantNotFound.into());
        }
        match query {
            StateQuery::Tenant => Self::tenant(ledger, now),
            StateQuery::Quotas(page) => Self::quotas(ledger, now, page),
            StateQuery::Quota(id) => ledger.quota(id, now).map_or_else(
                || Self::problem(&Rejection::QuotaNotFound(id.clone()).into()),
                |view| Self::json(200, &QuotaBody::whole(&view)),
            ),
            StateQuery::Reservation(id) => ledger.reservation(id).map_or_else(
                || Self::problem(&Rejection::ReservationNotFound(id.clone()).into()),
                |reservation| Self::json(200, &ReservationBody::new(catalog, reservation, sight)),
            ),
            StateQuery::Holds(query) => holds_page(ledger, catalog, query, sight),
            StateQuery::Explain(request) => match ledger.explain(catalog, clock, request) {
                Ok(explanation) => Self::json(200, &ExplanationBody::new(ledger, now, &explanation, names, sight)),
                Err(rejection) => Self::problem(&rejection.into()),
            },
            StateQuery::Overrides => Self::overrides(ledger, OverridesScope::Tenant),
            StateQuery::Price(request) => match request.price_with(catalog, ledger.prices(), now) {
                Ok(charge) => Self::charge(&charge, sight),
                Err(problem) => Self::problem(&problem),
            },
        }
    }

    /// What a usage costs.
    #[must_use]
    pub fn charge(charge: &Charge, sight: Sight) -> Self {
        Self::json(200, &sight.of_charge(charge))
    }

    /// A document of own rates, aliases and markups, and which one of the platform's the ledger has.
    #[must_use]
    pub fn overrides_document(version: u64, document: &OverridesDocument, platform_version: Option<u64>) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            version: u64,
            rates: &'a [OwnRates],
            aliases: &'a [Alias],
            markups: &'a [Markup],
            #[serde(skip_serializing_if = "Option::is_none")]
            platform_version: Option<u64>,
        }
        let OverridesDocument { rates, aliases, markups } = document;
        Self::json(200, &Body { version, rates, aliases, markups, platform_version })
    }

    fn overrides(ledger: &Ledger, scope: OverridesScope) -> Self {
        let version = |scope| ledger.prices().of(scope).map_or(0, |overrides| overrides.version);
        let none = OverridesDocument::default();
        let document = ledger.prices().of(scope).map_or(&none, |overrides| &*overrides.document);
        Self::overrides_document(version(scope), document, Some(version(OverridesScope::Platform)))
    }

    /// The price list: one provider's models with their rate cards, or how many models each provider has.
    #[must_use]
    pub fn catalog(catalog: &Catalog, provider: Option<&str>) -> Self {
        #[derive(Serialize)]
        struct Listed<'a> {
            version: &'a str,
            models: Vec<&'a Model>,
        }
        #[derive(Serialize)]
        struct Summary<'a> {
            version: &'a str,
            providers: Vec<Provider<'a>>,
        }
        #[derive(Serialize)]
        struct Provider<'a> {
            provider: &'a str,
            models: usize,
        }
        let version = catalog.version();
        if let Some(provider) = provider {
            let models = catalog.models().iter().filter(|model| model.provider == provider).collect();
            return Self::json(200, &Listed { version, models });
        }
        let providers = catalog.providers().map(|(provider, models)| Provider { provider, models }).collect();
        Self::json(200, &Summary { version, providers })
    }

    /// A usage report.
    #[must_use]
    pub fn usage(query: &UsageQuery, report: &UsageReport) -> Self {
        let body = UsageBody {
            group_by: query.group_by.iter().map(|dimension| dimension.name()).collect(),
            from: query.from,
            to: query.to,
            time_zone: query.time_zone.as_ref(),
            groups: report
                .groups
                .iter()
                .map(|(values, totals)| GroupBody { query, values, totals: TotalsBody::from(totals) })
                .collect(),
            total: TotalsBody::from(&report.total),
            next: report.next.as_ref().map(ToString::to_string),
        };
        Self::json(200, &body)
    }

    /// A page of quotas, which ends before the one that is too much for one answer.
    fn quotas(ledger: &Ledger, now: Timestamp, QuotasQuery { after, limit }: &QuotasQuery) -> Self {
        let mut page = Page::new("quotas", *limit);
        let (mut last, mut next) = (None, None);
        for view in ledger.quotas(now).filter(|view| after.as_ref().is_none_or(|after| view.id > after)) {
            if !page.add(&QuotaBody::from(&view)) {
                next = last;
                break;
            }
            last = Some(view.id);
        }
        page.finish(next, None)
    }

    fn gone() -> Self {
        Self::problem(&Problem::new(super::Code::Internal, "the state does not hold what was just decided"))
    }
}

/// A page of entries, while they are read: it ends where there are as many as were asked for, or before the one that is too much for one answer.
#[derive(Debug)]
pub struct EntriesPage {
    page: Page,
    last: Option<u64>,
}

impl EntriesPage {
    /// Of so many at most.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { page: Page::new("entries", limit), last: None }
    }

    /// Adds the next one, as these eyes may see it. Whether another one is wanted. Where all is always seen, as in the package, the compiler leaves out what hides.
    pub fn add(&mut self, entry: &Entry, sight: Sight) -> bool {
        let added = self.page.add(&sight.of_entry(entry));
        if added {
            self.last = Some(entry.seq);
        }
        added && !self.page.is_full()
    }

    /// The answer. `archived_through` is the last entry that is not kept any more, 0 for none.
    #[must_use]
    pub fn answer(self, archived_through: u64) -> Answer {
        let next = self.last.filter(|_| self.page.is_full());
        self.page.finish(next, Some(archived_through).filter(|through| *through > 0))
    }
}

/// A list of which there may be more.
#[derive(Debug)]
struct Page {
    text: String,
    count: u32,
    limit: u32,
    is_full: bool,
}

impl Page {
    /// What comes behind the list.
    const END_BYTES: usize = 256;

    fn new(name: &str, limit: u32) -> Self {
        Self { text: format!("{{\"{name}\":["), count: 0, limit, is_full: false }
    }

    fn is_full(&self) -> bool {
        self.is_full || self.count >= self.limit
    }

    /// Adds an item, unless that would be too much; one item always fits.
    fn add(&mut self, item: &impl Serialize) -> bool {
        if self.is_full() {
            return false;
        }
        // What is stored has nothing that JSON lacks.
        let item = tollgate_json::to_string(item).unwrap_or_default();
        if self.count > 0 {
            if self.text.len() + item.len() + Self::END_BYTES > MAX_ANSWER_BYTES {
                self.is_full = true;
                return false;
            }
            self.text.push(',');
        }
        self.text.push_str(&item);
        self.count += 1;
        true
    }

    /// The answer; `next` is the item that it ends with, where there is more.
    fn finish(self, next: Option<impl Serialize>, archived_through: Option<u64>) -> Answer {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct End<T> {
            next: Option<T>,
            #[serde(skip_serializing_if = "Option::is_none")]
            archived_through: Option<u64>,
        }
        let end = End { next, archived_through };
        let end = tollgate_json::members(&end).unwrap_or_default();
        Answer { status: 200, body: format!("{}],{end}}}", self.text), headers: Vec::new() }
    }
}

/// `Retry-After` (RFC 9110), `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers) for the quotas that did
/// not fit. Money is counted in millionths of a dollar, because these fields hold integers.
fn denial_headers(denial: &Denial) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if let Some(seconds) = denial.retry_after_seconds() {
        headers.push(("Retry-After", seconds.to_string()));
    }
    // These fields hold integers: money is counted in millionths of a dollar, and parts of a second are left out.
    let integer = |unit: Unit, amount: Amount| match unit {
        Unit::Usd => amount.as_usd().micros().min(MAX_HEADER_INTEGER),
        _ => i64::try_from(amount.whole().unwrap_or(0)).unwrap_or(MAX_HEADER_INTEGER).min(MAX_HEADER_INTEGER),
    };
    let mut policies = Vec::new();
    let mut limits = Vec::new();
    // The binding one stands first.
    for denying in denial.quotas.iter().take(MAX_HEADER_QUOTAS) {
        let view = denying.view();
        let unit = view.quota.unit;
        let name = match unit {
            Unit::Usd => "micro-usd",
            Unit::Tokens => "tokens",
            Unit::Requests => "requests",
            Unit::Seconds => "seconds",
            Unit::Concurrent => "concurrent-requests",
        };
        let mut policy = format!("\"{}\";q={};qu=\"{name}\"", view.id, integer(unit, view.limit));
        let mut limit = format!("\"{}\";r={}", view.id, integer(unit, view.remaining()));
        let (length, until) = match (view.quota.period, view.window.end) {
            (Period::Rolling(seconds), _) => (Some(seconds.into()), denying.resets_at),
            (_, end) => (end.map(|end| end.seconds_since(view.window.start)), end),
        };
        if let Some(seconds) = length {
            policy.push_str(&format!(";w={seconds}"));
        }
        if let Some(at) = until {
            limit.push_str(&format!(";t={}", at.seconds_since(denial.at)));
        }
        policies.push(policy);
        limits.push(limit);
    }
    if !policies.is_empty() {
        headers.push(("RateLimit-Policy", policies.join(", ")));
        headers.push(("RateLimit", limits.join(", ")));
    }
    headers
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TenantBody<'a> {
    tenant: &'a TenantId,
    plan: &'a PlanName,
    policy_version: u64,
    created_at: Timestamp,
    open_holds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_quotas: Option<usize>,
    quotas: Vec<QuotaItem<'a>>,
}

#[derive(Clone, Copy)]
enum ReplyKind<'a> {
    Reserved,
    Metered,
    Settled,
    Released,
    Recorded,
    Refunded(&'a RefundId),
}

/// The answer to a command about a reservation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReplyBody<'a> {
    id: &'a ReservationId,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'a Amounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metered: Option<&'a Amounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_expiry: Option<OnExpiry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<GrantedBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Cow<'a, Basis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<Cow<'a, Charge>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    released: Option<Usd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overrun: Option<Usd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refund: Option<&'a Refund>,
    /// What is left of the charge.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Usd>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_quotas: Option<usize>,
    /// The last member: the npm package reads it by itself.
    quotas: Vec<QuotaItem<'a>>,
}

impl<'a> ReplyBody<'a> {
    fn new(
        reservation: &'a Reservation,
        quotas: QuotaList<'a>,
        kind: ReplyKind<'_>,
        replayed: bool,
        sight: Sight,
    ) -> Self {
        let mut body = Self {
            id: &reservation.id,
            state: reservation.state_name(),
            held: None,
            metered: reservation.metered.as_ref().map(|metered| &metered.spent),
            created_at: None,
            expires_at: None,
            on_expiry: None,
            granted: None,
            basis: None,
            charge: None,
            released: None,
            overrun: None,
            refund: None,
            left: left(reservation),
            late: reservation.end.as_ref().is_some_and(|end| end.late),
            replayed,
            more_quotas: quotas.more,
            quotas: quotas.quotas,
        };
        let charge = reservation.end.as_ref().and_then(|end| end.charge.as_ref());
        let spent = charge.map_or(Usd::ZERO, |charge| charge.usd);
        let seen = |charge: &'a Charge| sight.of_charge(charge);
        let charge = charge.map(seen);
        let held = reservation.held.usd;
        match kind {
            ReplyKind::Reserved => {
                body.held = Some(&reservation.held);
                body.created_at = Some(reservation.created_at);
                body.expires_at = Some(reservation.expires_at);
                body.on_expiry = on_expiry(reservation);
                body.granted = reservation.granted.as_ref().map(Into::into);
                body.basis = reservation.basis.as_ref().map(|basis| sight.of_basis(basis));
            }
            ReplyKind::Metered => {
                let metered = reservation.metered.as_deref();
                body.held = Some(&reservation.held);
                body.expires_at = Some(reservation.expires_at);
                body.charge = charge.or_else(|| metered.map(|metered| seen(&metered.charge)));
                body.overrun = metered.map(|metered| metered.spent.usd.minus(held).or_zero());
            }
            ReplyKind::Settled => {
                body.charge = charge;
                body.released = Some(held.minus(spent).or_zero());
                body.overrun = Some(spent.minus(held).or_zero());
            }
            ReplyKind::Released => {
                body.charge = charge;
                body.released = Some(held.minus(spent).or_zero());
            }
            ReplyKind::Recorded => body.charge = charge,
            ReplyKind::Refunded(id) => {
                let refunds = reservation.end.as_ref().map_or(&[][..], |end| &end.refunds);
                body.charge = charge;
                body.refund = refunds.iter().find(|refund| refund.id == *id);
            }
        }
        body
    }
}

/// What was held, where it is less than was asked for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GrantedBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Quantity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usd: Option<Usd>,
}

impl From<&Estimate> for GrantedBody {
    fn from(estimate: &Estimate) -> Self {
        let nothing = Self { max_output_tokens: None, seconds: None, usd: None };
        match estimate {
            Estimate::Tokens(bounds) => Self { max_output_tokens: Some(bounds.max_output_tokens), ..nothing },
            Estimate::Sandbox(bounds) => Self { seconds: Some(bounds.seconds), ..nothing },
            Estimate::Usd(usd) => Self { usd: Some(*usd), ..nothing },
        }
    }
}

/// A reservation or record by itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReservationBody<'a> {
    id: &'a ReservationId,
    state: &'static str,
    resource: Resource,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a Name>,
    #[serde(skip_serializing_if = "Attribution::is_empty")]
    attribution: &'a Attribution,
    held: &'a Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    metered: Option<&'a Amounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_expiry: Option<OnExpiry>,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    charge: Option<Cow<'a, Charge>>,
    /// The charge's arithmetic, line by line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explanation: Vec<String>,
    /// What has adjusted the charge since.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    adjustments: &'a [AdjustmentId],
    /// What was taken back of it.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refunds: &'a [Refund],
    /// What is left of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Usd>,
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Cow<'a, Basis>>,
}

impl<'a> ReservationBody<'a> {
    pub(super) fn new(catalog: &Catalog, reservation: &'a Reservation, sight: Sight) -> Self {
        let end = reservation.end.as_ref();
        // What was charged at its end, or so far.
        let charge =
            end.map_or_else(|| reservation.metered.as_ref().map(|metered| &metered.charge), |end| end.charge.as_ref());
        Self {
            id: &reservation.id,
            state: reservation.state_name(),
            resource: reservation.call.resource,
            user_id: reservation.call.user_id.as_ref(),
            provider: reservation.call.provider.as_ref(),
            model: reservation.call.model.as_ref(),
            attribution: &reservation.call.attribution,
            held: &reservation.held,
            metered: reservation.metered.as_ref().map(|metered| &metered.spent),
            on_expiry: on_expiry(reservation),
            created_at: reservation.created_at,
            expires_at: reservation.expires_at,
            closed_at: end.map(|end| end.at),
            charge: charge.map(|charge| sight.of_charge(charge)),
            explanation: charge.map(|charge| explained(catalog, charge, reservation, sight)).unwrap_or_default(),
            late: end.is_some_and(|end| end.late),
            adjustments: end.map_or(&[], |end| &end.adjustments),
            refunds: end.map_or(&[], |end| &end.refunds),
            left: left(reservation),
            basis: reservation.basis.as_ref().map(|basis| sight.of_basis(basis)),
        }
    }
}

/// What is left of a charge of which something was taken back.
fn left(reservation: &Reservation) -> Option<Usd> {
    reservation.end.as_ref().filter(|end| !end.refunds.is_empty()).map(|end| end.spent.usd)
}

/// A charge's arithmetic, and what was taken back of it.
fn explained(catalog: &Catalog, charge: &Charge, reservation: &Reservation, sight: Sight) -> Vec<String> {
    let mut lines = arithmetic(catalog, &reservation.call, reservation.created_at, charge, sight);
    let refunds = reservation.end.iter().flat_map(|end| &end.refunds);
    lines.extend(refunds.map(|Refund { usd, by, reason, .. }| format!("refunded {usd} USD by {by}: {reason}")));
    lines.extend(left(reservation).map(|left| format!("{left} USD are left")));
    lines
}

fn on_expiry(reservation: &Reservation) -> Option<OnExpiry> {
    match &reservation.opening {
        Opening::Reserve(terms) => Some(terms.on_expiry),
        Opening::Record(_) => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplanationBody<'a> {
    allowed: bool,
    estimate: &'a Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Cow<'a, Basis>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_quotas: Option<usize>,
    quotas: Vec<QuotaItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<DenialBody<'a>>,
}

impl<'a> ExplanationBody<'a> {
    fn new(
        ledger: &Ledger,
        now: Timestamp,
        explanation: &'a Explanation<'a>,
        mut names: Option<&mut Names>,
        sight: Sight,
    ) -> Self {
        let states = explanation.quotas.iter().map(|(view, fit)| {
            let (view, body) = with_body(view.clone());
            (view, body.with_fit(*fit))
        });
        let QuotaList { quotas, more } =
            QuotaList::new(ledger, now, explanation.quotas.len(), states, names.as_deref_mut());
        let beside = names.map(|names| (ledger, names));
        Self {
            allowed: explanation.denial.is_none(),
            estimate: &explanation.estimate,
            basis: explanation.basis.as_ref().map(|basis| sight.of_basis(basis)),
            more_quotas: more,
            quotas,
            denial: explanation.denial.as_deref().map(|denial| DenialBody::new(denial, beside)),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageBody<'a> {
    group_by: Vec<&'static str>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a Name>,
    groups: Vec<GroupBody<'a>>,
    total: TotalsBody,
    next: Option<String>,
}

struct GroupBody<'a> {
    query: &'a UsageQuery,
    values: &'a [Option<String>],
    totals: TotalsBody,
}

impl Serialize for GroupBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (dimension, value) in self.query.group_by.iter().zip(self.values) {
            map.serialize_entry(dimension.name(), value)?;
        }
        let TotalsBody { usd, calls, input_tokens, output_tokens } = &self.totals;
        map.serialize_entry("usd", usd)?;
        map.serialize_entry("calls", calls)?;
        map.serialize_entry("inputTokens", input_tokens)?;
        map.serialize_entry("outputTokens", output_tokens)?;
        map.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TotalsBody {
    usd: Usd,
    calls: i64,
    input_tokens: i64,
    output_tokens: i64,
}

impl From<&UsageTotals> for TotalsBody {
    fn from(totals: &UsageTotals) -> Self {
        Self {
            usd: totals.usd,
            calls: totals.calls,
            input_tokens: totals.input_tokens,
            output_tokens: totals.output_tokens,
        }
    }
}
