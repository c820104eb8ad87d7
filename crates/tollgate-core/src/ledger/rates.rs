//! Which rates a call has for this tenant, and what its estimate or usage comes to.

use super::Ledger;
use super::command::Actual;
use super::denial::Rejection;
use super::reservation::Reservation;
use crate::bounds::{Amounts, Estimate, SandboxBounds};
use crate::call::Call;
use crate::catalog::{Catalog, Flag, NoRates, RateCard, Terms};
use crate::estimate::{self, UpperBound};
use crate::ids::Name;
use crate::meter::{MeterKind, Quantity, Usage};
use crate::price::{self, Charge, Unpriced};
use crate::time::Timestamp;

/// A card, the terms under which it applies, and what the reader of its prices should know.
struct CallRates<'a> {
    card: &'a RateCard,
    terms: Terms<'a>,
    flag: Option<Flag>,
}

impl Ledger {
    /// The most that a call can cost.
    pub(super) fn upper_bound(
        &self,
        catalog: &Catalog,
        call: &Call,
        estimate: &Estimate,
        at: Timestamp,
    ) -> Result<UpperBound, Rejection> {
        match estimate {
            Estimate::Usd(usd) => Ok(UpperBound::of_amount(*usd)),
            Estimate::Tokens(bounds) => {
                let rates = self.rates_of(catalog, call, at)?;
                Ok(estimate::token_bound(catalog, rates.card, bounds, rates.terms)?)
            }
            Estimate::Sandbox(bounds) => {
                let rates = self.rates_of(catalog, call, at)?;
                estimate::sandbox_bound(catalog, rates.card, bounds, rates.terms)
                    .map_err(|unpriced| sandbox_problem("estimate.sandbox", unpriced))
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
        let at = reservation.created_at;
        match actual {
            Actual::SandboxSeconds(seconds) => {
                let bounds = SandboxBounds { seconds: *seconds, ..reserved_sandbox(reservation)?.clone() };
                self.charge(catalog, &reservation.call, &Actual::Sandbox(bounds), at)
            }
            Actual::IncompleteUsage(usage) => {
                // What was not seen may have cost anything up to the bound, so the bound is charged, or what was seen if that is more.
                let (seen, mut spent) = self.charge(catalog, &reservation.call, &Actual::Usage(usage.clone()), at)?;
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
                let (charge, spent) = self.charge(catalog, &reservation.call, actual, at)?;
                Ok((charge, Amounts { usd: spent.usd, ..reservation.held }))
            }
            _ => self.charge(catalog, &reservation.call, actual, at),
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
                let rates = self.rates_of(catalog, call, at)?;
                let effective = rates.card.rates(0, rates.terms).map_err(Unpriced::from)?;
                let usage = price::sandbox_usage(rates.card, &effective, bounds)
                    .map_err(|unpriced| sandbox_problem("sandbox", unpriced))?;
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
        at: Timestamp,
    ) -> Result<(Charge, Amounts), Rejection> {
        let rates = self.rates_of(catalog, call, at)?;
        let mut charge = price::price(catalog, rates.card, usage, rates.terms)?;
        if let Some(flag) = rates.flag {
            charge = charge.flagged(flag);
        }
        let tokens = usage.sum(MeterKind::InputTokens).saturating_add(usage.sum(MeterKind::OutputTokens));
        let spent = Amounts {
            usd: charge.usd,
            tokens: Quantity::from_count(tokens).map_err(|_| Unpriced::TooLarge)?,
            requests: Quantity::ONE,
            seconds: Quantity::ZERO,
        };
        Ok((charge, spent))
    }

    fn rates_of<'a>(&'a self, catalog: &'a Catalog, call: &'a Call, at: Timestamp) -> Result<CallRates<'a>, Rejection> {
        let provider = call.provider.as_ref().ok_or_else(|| missing("provider"))?;
        let model = call.model.as_ref().ok_or_else(|| missing("model"))?;
        let terms = call.terms(at);
        match estimate::card_of(catalog, provider, model, terms) {
            Ok(card) => Ok(CallRates { card, terms, flag: None }),
            Err(problem) => self.fallback_rates(at, problem),
        }
    }

    fn fallback_rates(&self, at: Timestamp, problem: NoRates) -> Result<CallRates<'_>, Rejection> {
        let fallback = self.tenant().and_then(|tenant| tenant.fallback.as_ref());
        match (fallback, &problem) {
            (Some(card), NoRates::UnknownModel { .. } | NoRates::NotYetInForce { .. }) => {
                // The fallback's rates hold in every mode and region.
                let terms = Terms { at, mode: None, region: None::<&Name> };
                Ok(CallRates { card, terms, flag: Some(Flag::FallbackRates) })
            }
            _ => Err(Unpriced::from(problem).into()),
        }
    }
}

fn reserved_sandbox(reservation: &Reservation) -> Result<&SandboxBounds, Rejection> {
    reservation.sandbox.as_ref().ok_or_else(|| Rejection::Invalid {
        field: "sandbox".to_owned(),
        message: "the reservation was not made for a sandbox; settle it by `usage`, `payload` or `usd`".to_owned(),
    })
}

/// A resource that the tier has a price for and that was not named is a field to mend, not a price that is missing.
fn sandbox_problem(path: &str, unpriced: Unpriced) -> Rejection {
    match unpriced {
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
