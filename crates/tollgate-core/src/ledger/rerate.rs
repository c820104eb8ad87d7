//! Charges of the past under other prices: what they would have been, and entries that make up the difference. What was charged stays in
//! the ledger as it was; an adjustment is one more entry.

use serde::Serialize;

use super::booking::Booked;
use super::command::{Actual, Adjustment};
use super::decide::{Decision, Outcome, charged, followed};
use super::denial::Rejection;
use super::event::Event;
use super::rates::At;
use super::reservation::{End, Reservation};
use super::{Ledger, MAX_ADJUSTMENTS};
use crate::amount::Amount;
use crate::bounds::Amounts;
use crate::catalog::{Catalog, PriceBook};
use crate::fault::{self, Fault};
use crate::ids::ReservationId;
use crate::money::Usd;
use crate::price::{Basis, Charge};
use crate::time::Timestamp;

/// Which prices charges are compared with, besides the price list.
#[derive(Clone, Debug)]
pub enum RerateBy {
    /// What applied to each charge when it was made: only the price list is another one.
    AsCharged,
    /// These own rates, aliases and markups, by their dates.
    Prices(PriceBook),
}

/// One charge and what it would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rerated {
    /// Which reservation or record.
    pub id: ReservationId,
    /// `provider/model`, where they were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The instant whose prices count.
    pub reserved_at: Timestamp,
    /// What counts of the charge now: earlier adjustments included, and what was refunded left out.
    pub old: Usd,
    /// What would count, after the same refunds; the same, where it cannot be told.
    pub new: Usd,
    /// `new` − `old`.
    pub difference: Usd,
    /// Where they differ, or why it cannot be told.
    pub why: String,
    /// Where the rates of what is charged now come from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_basis: Option<Basis>,
    /// Where the new ones do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_basis: Option<Basis>,
    /// The new charge, where there is one.
    #[serde(skip)]
    charge: Option<Charge>,
}

impl Rerated {
    /// The charge stays as it is, for a reason.
    pub fn leave(&mut self, why: &str) {
        self.new = self.old;
        self.difference = Usd::ZERO;
        why.clone_into(&mut self.why);
        self.new_basis = None;
        self.charge = None;
    }

    /// The command that makes up the difference. None where there is none to make up.
    #[must_use]
    pub fn adjustment(&self, id: &crate::ids::AdjustmentId) -> Option<Adjustment> {
        let charge = self.charge.clone().filter(|_| !self.difference.is_zero())?;
        Some(Adjustment { id: id.clone(), reservation: self.id.clone(), charge })
    }
}

impl Ledger {
    /// What an ended reservation's charge would be under other prices. None where it was charged nothing, by a release.
    #[must_use]
    pub fn rerate(&self, catalog: &Catalog, reservation: &Reservation, by: &RerateBy) -> Option<Rerated> {
        let end = reservation.end.as_ref()?;
        let old = end.charge.as_ref()?;
        let call = &reservation.call;
        let model = call.provider.as_ref().zip(call.model.as_ref());
        let mut line = Rerated {
            id: reservation.id.clone(),
            model: model.map(|(provider, model)| format!("{provider}/{model}")),
            reserved_at: reservation.created_at,
            old: end.spent.usd,
            new: end.spent.usd,
            difference: Usd::ZERO,
            why: String::new(),
            old_basis: old.basis.clone(),
            new_basis: None,
            charge: None,
        };
        match self.charge_under(catalog, reservation, end, by) {
            Err(why) => line.why = why,
            Ok(new) => {
                line.new = end.net(new.usd);
                line.difference = line.new.minus(line.old);
                line.why = difference(old, &new);
                line.new_basis.clone_from(&new.basis);
                line.charge = Some(new);
            }
        }
        Some(line)
    }

    fn charge_under(
        &self,
        catalog: &Catalog,
        reservation: &Reservation,
        end: &End,
        by: &RerateBy,
    ) -> Result<Charge, String> {
        let actual = match &end.actual {
            None => return Err("nobody reported what was used".to_owned()),
            Some(Actual::Usd(_)) => return Err("charged by an amount".to_owned()),
            Some(actual) => actual,
        };
        let at = match by {
            RerateBy::AsCharged => At::of_charge(self, reservation, end),
            RerateBy::Prices(prices) => At::under(reservation, prices),
        };
        self.actual_charge_at(catalog, reservation, actual, at)
            .map(|(charge, _)| charge)
            .map_err(|rejection| rejection.to_string())
    }

    /// Makes up the difference between what a reservation was charged and what it should have been.
    pub(super) fn adjust(&self, order: &Adjustment, now: Timestamp) -> Result<Decision, Rejection> {
        let reservation = self.find(&order.reservation)?;
        let outcome = |replayed| Outcome::Adjusted { id: order.reservation.clone(), replayed };
        let invalid = |message: &str| Rejection::Invalid { field: "post".to_owned(), message: message.to_owned() };
        let end = reservation.end.as_ref().filter(|end| end.charge.is_some());
        let end = end.ok_or_else(|| invalid("only what was charged can be adjusted"))?;
        if end.adjustments.contains(&order.id) && !fault::on(Fault::AdjustmentIsPostedTwice) {
            return Ok(Decision { events: Vec::new(), outcome: outcome(true) });
        }
        if end.adjustments.len() >= MAX_ADJUSTMENTS {
            return Err(invalid("a charge can be adjusted 32 times"));
        }
        let spent = Amounts { usd: end.net(order.charge.usd), ..end.spent };
        let mut charged = charged(reservation, end.actual.clone(), order.charge.clone(), spent);
        let Booked { counted_on, crossed } = self.book(reservation, &mut charged, &|_| Amount::ZERO, now);
        let event = Event::Adjusted { adjustment: order.id.clone(), counted_on, charged };
        Ok(Decision { events: followed(event, crossed), outcome: outcome(false) })
    }
}

/// Which prices differ, meter by meter, and where they come from.
fn difference(old: &Charge, new: &Charge) -> String {
    let mut parts = Vec::new();
    for line in &new.lines {
        let before = old.lines.iter().find(|before| before.meter == line.meter).map(|before| before.unit_price);
        match before {
            Some(price) if price == line.unit_price => {}
            Some(price) => parts.push(format!("{} {price} → {} USD", line.meter, line.unit_price)),
            None => parts.push(format!("{} at {} USD is new", line.meter, line.unit_price)),
        }
    }
    let gone = old.lines.iter().filter(|line| new.lines.iter().all(|other| other.meter != line.meter));
    parts.extend(gone.map(|line| format!("{} is gone", line.meter)));
    if parts.is_empty() {
        let same =
            if old.usd == new.usd { "the same prices" } else { "the same prices, and not at least what was held" };
        return same.to_owned();
    }
    parts.join("; ")
}
