//! Takes back a charge, wholly or partly. The call was made, so that its tokens and its request stay counted; the charge stays what it was, and less of it counts.

use super::booking::Booked;
use super::command::RefundRequest;
use super::decide::{Decision, Outcome, charged, followed, invalid, replay};
use super::denial::Rejection;
use super::event::Event;
use super::reservation::{End, Refund};
use super::{Ledger, MAX_REFUNDS};
use crate::amount::Amount;
use crate::bounds::Amounts;
use crate::fault::{self, Fault};
use crate::ids::ReservationId;
use crate::money::Usd;
use crate::time::Timestamp;

impl Ledger {
    pub(super) fn refund(
        &self,
        id: &ReservationId,
        request: &RefundRequest,
        now: Timestamp,
    ) -> Result<Decision, Rejection> {
        let reservation = self.find(id)?;
        let outcome = |replayed| Outcome::Refunded { id: id.clone(), refund: request.id.clone(), replayed };
        let Some(end) = &reservation.end else { return Err(Rejection::StillHeld(id.clone())) };
        if let Some(known) = end.refunds.iter().find(|known| known.id == request.id)
            && !fault::on(Fault::RefundIsPaidTwice)
        {
            return replay(known.is_what(request), outcome(true), request.id.as_str());
        }
        if end.refunds.len() >= MAX_REFUNDS {
            return Err(invalid("id", "a charge can be refunded 32 times"));
        }
        let refund = Refund {
            id: request.id.clone(),
            usd: amount(end, request)?,
            all: request.usd.is_none(),
            reason: request.reason.clone(),
            by: request.by.clone(),
            at: now,
        };
        let charge = end.charge.clone().ok_or_else(nothing_left)?;
        let spent = Amounts { usd: end.spent.usd.minus(refund.usd), ..end.spent };
        let mut charged = charged(reservation, end.actual.clone(), charge, spent);
        let Booked { counted_on, crossed } = self.book(reservation, &mut charged, &|_| Amount::ZERO, now);
        let event = Event::Refunded { refund, counted_on, charged };
        Ok(Decision { events: followed(event, crossed), outcome: outcome(false) })
    }
}

impl Refund {
    /// Whether it is what a request asks for.
    fn is_what(&self, request: &RefundRequest) -> bool {
        let usd = (!self.all).then_some(self.usd);
        usd == request.usd && self.reason == request.reason && self.by == request.by
    }
}

/// How much is taken back: no more than is left of the charge.
fn amount(end: &End, request: &RefundRequest) -> Result<Usd, Rejection> {
    let left = end.spent.usd;
    let usd = request.usd.unwrap_or(left);
    if request.usd.is_some_and(|usd| usd <= Usd::ZERO) {
        return Err(invalid("usd", "must be above zero"));
    }
    if left <= Usd::ZERO {
        return Err(nothing_left());
    }
    if usd > left && !fault::on(Fault::RefundPassesCharge) {
        return Err(invalid("usd", &format!("{left} USD are left of the charge")));
    }
    Ok(usd)
}

fn nothing_left() -> Rejection {
    invalid("usd", "nothing is left of the charge")
}
