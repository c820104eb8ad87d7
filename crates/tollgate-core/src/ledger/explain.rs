//! What a reservation would be answered, without making it.

use super::Ledger;
use super::command::ReserveRequest;
use super::counter::QuotaView;
use super::denial::{Denial, Rejection};
use crate::bounds::Amounts;
use crate::call_names::CallNames;
use crate::catalog::Catalog;
use crate::price::Basis;
use crate::time::Timestamp;

/// The decision on a call, and every quota that was looked at.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The most that the call can cost.
    pub estimate: Amounts,
    /// Where the rates come from.
    pub basis: Option<Basis>,
    /// Every quota that applies, with whether the call fits.
    pub quotas: Vec<(QuotaView<'a>, Fit)>,
    /// Why it would be denied. None where it would pass.
    pub denial: Option<Box<Denial>>,
}

/// Whether a call fits a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Now,
    /// It does not; the quota has room at this instant, if nothing else is added. None where waiting does not help.
    Not(Option<Timestamp>),
}

impl Ledger {
    /// Decides a reservation without making it. The request's id does not matter.
    ///
    /// # Errors
    /// Why it would be refused other than by a quota.
    pub fn explain(
        &self,
        catalog: &Catalog,
        clock: Timestamp,
        request: &ReserveRequest,
    ) -> Result<Explanation<'_>, Rejection> {
        let now = self.now(clock);
        if self.tenant().is_none() {
            return Err(Rejection::TenantNotFound);
        }
        self.holds.check(request.call.user_id.as_ref(), now).map_err(Rejection::TooManyHolds)?;
        let bound = self.upper_bound(catalog, &request.call, &request.terms.estimate, now)?;
        let names = CallNames::new(&request.call, catalog, &self.prices, now);
        let views = self.quotas.iter().filter(|(_, state)| state.quota.applies_to(&names));
        let quotas = views
            .map(|(id, state)| {
                let view = state.view(id, now);
                let needed = state.quota.unit.held(&bound.amounts);
                let fits = view.fits(needed);
                let fit = if fits { Fit::Now } else { Fit::Not(state.resets_at(&view, needed, now)) };
                (view, fit)
            })
            .collect();
        let denial = match self.admit(&names, &bound, now) {
            Ok(_) => None,
            Err(Rejection::QuotaExceeded(denial)) => Some(denial),
            Err(other) => return Err(other),
        };
        Ok(Explanation { estimate: bound.amounts, basis: bound.basis, quotas, denial })
    }
}
