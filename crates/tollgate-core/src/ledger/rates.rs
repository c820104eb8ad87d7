//! Which rates a call has for this tenant, and what its estimate or usage comes to.

use super::Ledger;
use super::command::{Actual, OverridesOrder};
use super::decide::{Decision, Outcome};
use super::denial::Rejection;
use super::event::Event;
use super::reservation::{End, Reservation};
use crate::bounds::{Amounts, Estimate, SandboxBounds};
use crate::call::Call;
use crate::catalog::{Catalog, Flag, NoRates, Overrides, OverridesDocument, OverridesScope, PriceBook, Priced, Rating};
use crate::estimate::{self, UpperBound};
use crate::fault::{self, Fault};
use crate::meter::{MeterKind, Quantity, Usage};
use crate::policy::UnknownModel;
use crate::price::{self, Basis, Charge, Unpriced};
use crate::time::Timestamp;

impl Ledger {
    /// The most that a call can cost.
    pub(super) fn upper_bound(
        &self,
        catalog: &Catalog,
        call: &Call,
        estimate: &Estimate,
        at: Timestamp,
    ) -> Result<UpperBound, Rejection> {
        self.bound(catalog, call, estimate, self.at(at))
    }

    /// The most that a reservation's call can cost by another estimate: under the rates that it was reserved with.
    pub(super) fn upper_bound_as_reserved(
        &self,
        catalog: &Catalog,
        reservation: &Reservation,
        estimate: &Estimate,
    ) -> Result<UpperBound, Rejection> {
        self.bound(catalog, &reservation.call, estimate, At::of(self, reservation))
    }

    fn bound(&self, catalog: &Catalog, call: &Call, estimate: &Estimate, at: At<'_>) -> Result<UpperBound, Rejection> {
        match estimate {
            Estimate::Usd(usd) => Ok(UpperBound::of_amount(*usd)),
            Estimate::Tokens(bounds) => {
                let (rating, _) = self.rating(catalog, call, at)?;
                estimate::token_bound(&rating, bounds).map_err(|unpriced| named("estimate", unpriced))
            }
            Estimate::Sandbox(bounds) => {
                let (rating, _) = self.rating(catalog, call, at)?;
                estimate::sandbox_bound(&rating, bounds).map_err(|unpriced| named("estimate.sandbox", unpriced))
            }
        }
    }

    /// What a reservation's call really cost.
    pub(super) fn actual_charge(
        &self,
        catalog: &Catalog,
        reservation: &Reservation,
        actual: &Actual,
    ) -> Result<(Charge, Amounts), Rejection> {
        self.actual_charge_at(catalog, reservation, actual, At::of(self, reservation))
    }

    pub(super) fn actual_charge_at(
        &self,
        catalog: &Catalog,
        reservation: &Reservation,
        actual: &Actual,
        at: At<'_>,
    ) -> Result<(Charge, Amounts), Rejection> {
        match actual {
            Actual::SandboxSeconds(seconds) => {
                let bounds = SandboxBounds { seconds: *seconds, ..reserved_sandbox(reservation)?.clone() };
                self.charge_at(catalog, &reservation.call, &Actual::Sandbox(bounds), at)
            }
            Actual::IncompleteUsage(usage) => {
                // What was not seen may have cost anything up to the bound, so the bound is charged, or what was seen if that is more.
                let (seen, mut spent) =
                    self.charge_at(catalog, &reservation.call, &Actual::Usage(usage.clone()), at)?;
                let charge = if seen.usd < reservation.held.usd {
                    Charge { basis: seen.basis, ..Charge::of_amount(reservation.held.usd) }
                } else {
                    seen
                };
                spent.usd = charge.usd;
                spent.tokens = spent.tokens.max(reservation.held.tokens);
                Ok((charge.flagged(Flag::IncompleteUsage), spent))
            }
            Actual::Usd(_) => {
                // The tokens and seconds of an amount are not known; what was held of them is the most there can have been.
                let (charge, spent) = self.charge_at(catalog, &reservation.call, actual, at)?;
                Ok((charge, Amounts { usd: spent.usd, ..reservation.held }))
            }
            _ => self.charge_at(catalog, &reservation.call, actual, at),
        }
    }

    /// What a call without a hold cost.
    pub(super) fn charge(
        &self,
        catalog: &Catalog,
        call: &Call,
        actual: &Actual,
        at: Timestamp,
    ) -> Result<(Charge, Amounts), Rejection> {
        self.charge_at(catalog, call, actual, self.at(at))
    }

    fn charge_at(
        &self,
        catalog: &Catalog,
        call: &Call,
        actual: &Actual,
        at: At<'_>,
    ) -> Result<(Charge, Amounts), Rejection> {
        match actual {
            Actual::Usd(usd) => {
                let amounts = Amounts { usd: *usd, requests: Quantity::ONE, ..Amounts::default() };
                Ok((Charge::of_amount(*usd), amounts))
            }
            Actual::Usage(usage) => self.priced(catalog, call, usage, at),
            Actual::IncompleteUsage(usage) => {
                let (charge, spent) = self.priced(catalog, call, usage, at)?;
                Ok((charge.flagged(Flag::IncompleteUsage), spent))
            }
            Actual::Sandbox(bounds) => {
                let (rating, _) = self.rating(catalog, call, at)?;
                let effective = rating.rates(0).map_err(Unpriced::from)?;
                let usage = price::sandbox_usage(&rating.card, &effective, bounds)
                    .map_err(|unpriced| named("sandbox", unpriced))?;
                let (charge, spent) = self.priced(catalog, call, &usage, at)?;
                Ok((charge, Amounts { seconds: bounds.seconds, ..spent }))
            }
            Actual::SandboxSeconds(_) => Err(Rejection::Invalid {
                field: "sandbox".to_owned(),
                message: "a record of a sandbox names its tier and resources".to_owned(),
            }),
        }
    }

    fn priced(
        &self,
        catalog: &Catalog,
        call: &Call,
        usage: &Usage,
        at: At<'_>,
    ) -> Result<(Charge, Amounts), Rejection> {
        let (rating, flag) = self.rating(catalog, call, at)?;
        let mut charge = price::price(&rating, usage)?;
        if let Some(flag) = flag {
            charge = charge.flagged(flag);
        }
        let tokens = usage.sum(MeterKind::InputTokens).saturating_add(usage.sum(MeterKind::OutputTokens));
        let spent = Amounts {
            usd: charge.usd,
            tokens: Quantity::from_count(tokens).map_err(|_| named("usage", Unpriced::TooMuch { of: "tokens" }))?,
            requests: Quantity::ONE,
            seconds: Quantity::ZERO,
        };
        Ok((charge, spent))
    }

    /// The rates of a call, with what the reader of its prices should know.
    fn rating<'a>(
        &'a self,
        catalog: &'a Catalog,
        call: &'a Call,
        at: At<'a>,
    ) -> Result<(Rating<'a>, Option<Flag>), Rejection> {
        let provider = call.provider.as_ref().ok_or_else(|| missing("provider"))?;
        let model = call.model.as_ref().ok_or_else(|| missing("model"))?;
        let terms = call.terms(at.instant);
        let priced = Priced { resource: call.resource, provider, model, terms };
        let found = match at.by {
            By::Prices(prices) => prices.rating(catalog, priced),
            By::Reserved(Basis { applied: Some(applied), .. }) => applied.rating(catalog, priced),
            By::Reserved(_) => catalog
                .rate_card(provider.as_str(), model.as_str(), at.instant)
                .map(|card| Rating::of_card(catalog, card, terms)),
        };
        let problem = match found {
            Ok(rating) => {
                let flag = rating.is_fallback().then_some(Flag::FallbackRates);
                return Ok((rating, flag));
            }
            Err(problem) => problem,
        };
        match (self.tenant().map(|tenant| &tenant.unknown_model), at.by, &problem) {
            (
                Some(UnknownModel::Fallback(rates)),
                By::Prices(prices),
                NoRates::UnknownModel { .. } | NoRates::NotYetInForce { .. },
            ) => {
                let applied = prices.fallback(rates, priced);
                Ok((applied.rating(catalog, priced).map_err(Unpriced::from)?, Some(Flag::FallbackRates)))
            }
            _ => Err(Unpriced::from(problem).into()),
        }
    }

    fn at(&self, instant: Timestamp) -> At<'_> {
        At { instant, by: By::Prices(&self.prices) }
    }

    /// Puts a document in force from now on. What is reserved keeps the rates that it was reserved with.
    pub(super) fn set_overrides(&self, catalog: &Catalog, order: &OverridesOrder) -> Result<Decision, Rejection> {
        let OverridesOrder { scope, version, document } = order;
        let outcome = Outcome::OverridesSet(*scope);
        let known = self.prices.of(*scope);
        let is_known = match version {
            // Whoever numbers the documents may send an old one late.
            Some(version) => known.is_some_and(|known| known.version >= *version),
            None => {
                known.map_or_else(|| **document == OverridesDocument::default(), |known| known.document == *document)
            }
        };
        if is_known && !fault::on(Fault::OverridesAreAlwaysNew) {
            return Ok(Decision { events: Vec::new(), outcome });
        }
        let next = known.map_or(0, |known| known.version).saturating_add(1);
        let version = version.unwrap_or(next);
        let aliases = match scope {
            // The platform checked them when it took the document, and every tenant must follow.
            OverridesScope::Platform => Ok(()),
            OverridesScope::Tenant => document.check_aliases(catalog, self.prices.of(OverridesScope::Platform)),
        };
        Overrides::new(*scope, version, document.clone())
            .and(aliases)
            .map_err(|problem| Rejection::Invalid { field: problem.field, message: problem.message })?;
        let event = Event::OverridesSet { scope: *scope, version, document: document.clone() };
        Ok(Decision { events: vec![event], outcome })
    }
}

/// When a call is priced, and by what.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    /// The instant that decides which rates are in force.
    instant: Timestamp,
    by: By<'a>,
}

#[derive(Clone, Copy)]
enum By<'a> {
    /// What applies now.
    Prices(&'a PriceBook),
    /// The rates that the call was reserved with, which are those that it is settled with.
    Reserved(&'a Basis),
}

impl<'a> At<'a> {
    /// When a reservation was made, and by the rates that it was made with.
    pub(super) fn of(ledger: &'a Ledger, reservation: &'a Reservation) -> Self {
        let basis = reservation.basis.as_ref().filter(|_| !fault::on(Fault::NewRatesReachOpenHolds));
        let by = basis.map_or(By::Prices(&ledger.prices), By::Reserved);
        Self { instant: reservation.created_at, by }
    }

    /// When a reservation was made, and by the rates that it was charged with: its own, or, where it was made for an amount, the charge's.
    pub(super) fn of_charge(ledger: &'a Ledger, reservation: &'a Reservation, end: &'a End) -> Self {
        let charged = end.charge.as_ref().and_then(|charge| charge.basis.as_ref());
        let basis = reservation.basis.as_ref().or(charged);
        let by = basis.map_or(By::Prices(&ledger.prices), By::Reserved);
        Self { instant: reservation.created_at, by }
    }

    /// When a reservation was made, by other prices.
    pub(super) const fn under(reservation: &Reservation, prices: &'a PriceBook) -> Self {
        Self { instant: reservation.created_at, by: By::Prices(prices) }
    }
}

fn reserved_sandbox(reservation: &Reservation) -> Result<&SandboxBounds, Rejection> {
    reservation.sandbox.as_ref().ok_or_else(|| Rejection::Invalid {
        field: "sandbox".to_owned(),
        message: "the reservation was not made for a sandbox; settle it by `usage`, `payload` or `usd`".to_owned(),
    })
}

/// A resource that the tier has a price for and that was not named is a field to mend, not a price that is missing.
/// What is wrong with what was asked, with its place on the wire; what only the prices lack has none.
fn named(path: &str, unpriced: Unpriced) -> Rejection {
    match unpriced {
        Unpriced::TooMuch { .. } => Rejection::Invalid { field: path.to_owned(), message: unpriced.to_string() },
        Unpriced::MissingResource { resource, .. } => {
            Rejection::Invalid { field: format!("{path}.{resource}"), message: unpriced.to_string() }
        }
        other => other.into(),
    }
}

fn missing(field: &str) -> Rejection {
    Rejection::Invalid {
        field: field.to_owned(),
        message: "usage is priced by provider and model, and none was named; name them, or give `usd`".to_owned(),
    }
}
