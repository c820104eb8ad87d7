//! Works out what a charge does where it counts: what of it quotas count after their resets, what it draws on credits, which thresholds it crosses.
//!
//! What a call costs is drawn from what its hold drew on, whenever it becomes known. What a reset has dropped of a call stays dropped, and what it comes to beyond that
//! counts. Both are decided here and told by the entry, which is only applied when it is folded in.

use std::sync::Arc;

use super::Ledger;
use super::event::{Charged, Dropped, Event, Placement, Replaced};
use super::funds::Drawn;
use super::reservation::Reservation;
use super::{Counter, QuotaState};
use crate::amount::Amount;
use crate::bounds::Amounts;
use crate::fault::{self, Fault};
use crate::quota::Unit;
use crate::time::Timestamp;

/// What a charge does where it counts.
pub(super) struct Booked {
    /// Where it counts, with what resets have dropped of it.
    pub(super) counted_on: Arc<[Placement]>,
    /// The thresholds that it crosses.
    pub(super) crossed: Vec<Event>,
}

impl Ledger {
    /// Books a charge of a reservation, of which so much more is held from then on, and writes into it what its entry has to tell.
    pub(super) fn book(
        &self,
        reservation: &Reservation,
        charged: &mut Charged,
        held: &dyn Fn(Unit) -> Amount,
        now: Timestamp,
    ) -> Booked {
        let counted_on = self.with_resets(reservation);
        let before = self.draws(reservation);
        if reservation.is_open() {
            let noted = counted_on.iter().zip(reservation.counted_on.iter());
            charged.resets = noted
                .filter(|(now, before)| now.dropped != before.dropped)
                .filter_map(|(now, _)| Some(Dropped { quota_id: now.quota_id.clone(), amount: now.dropped? }))
                .collect();
        }
        let crossed = self.book_on(&counted_on, before.clone(), charged, held, now);
        if !reservation.is_open() && charged.drawn.is_some() {
            charged.drew = before;
        }
        Booked { counted_on, crossed }
    }

    /// Books a charge that draws so much on credits before it, and returns the thresholds that it crosses.
    pub(super) fn book_on(
        &self,
        counted_on: &[Placement],
        before: Vec<Drawn>,
        charged: &mut Charged,
        held: &dyn Fn(Unit) -> Amount,
        now: Timestamp,
    ) -> Vec<Event> {
        let since = charged.replaces.as_ref().map_or(u64::MAX, Replaced::since);
        let mut drawn = before.clone();
        let mut events = Vec::new();
        for placement in counted_on {
            let Some(state) = self.counting(placement) else { continue };
            let unit = state.quota.unit;
            let mut counted = charged.counted(placement, unit);
            let was_reset = |counter: &Counter| counter.reset_seq > since;
            if placement.dropped.is_none() && state.counter(placement.period_start).is_some_and(was_reset) {
                // How much a reset has dropped was not written down then: nothing is given back twice.
                counted = counted.or_zero();
            }
            let mut raised = Amount::ZERO;
            if let Some(funds) = &state.funds {
                funds.plan(&placement.quota_id, &mut drawn, counted.plus(held(unit)), charged.reserved_at, now);
                raised = funds.raised_by(&placement.quota_id, &before, &drawn, charged.reserved_at, now);
            }
            let (crossed, spent, limit) = state.newly_crossed(placement, counted, raised, now);
            events.extend(crossed.into_iter().map(|threshold| Event::ThresholdCrossed {
                quota_id: placement.quota_id.clone(),
                period_start: placement.period_start,
                threshold,
                spent,
                limit,
            }));
        }
        if !(before.is_empty() && drawn.is_empty()) {
            charged.drawn = Some(drawn);
        }
        events
    }

    /// What a reservation draws on credits where it holds so much. None where that changes nothing.
    pub(super) fn draws_when_held(
        &self,
        reservation: &Reservation,
        held: &Amounts,
        now: Timestamp,
    ) -> Option<Vec<Drawn>> {
        let mut drawn = reservation.drawn.clone();
        for placement in reservation.counted_on.iter() {
            let Some(state) = self.counting(placement) else { continue };
            if let Some(funds) = &state.funds {
                let unit = state.quota.unit;
                let more = reservation.resting_of(unit, held).minus(reservation.resting(unit));
                funds.plan_hold(&placement.quota_id, &mut drawn, more, reservation.created_at, now);
            }
        }
        Drawn::strip(&mut drawn);
        (drawn != reservation.drawn).then_some(drawn)
    }

    /// What a reservation draws on credits once it is released. None where it draws on none.
    pub(super) fn draws_when_released(&self, reservation: &Reservation, now: Timestamp) -> Option<Vec<Drawn>> {
        if reservation.drawn.is_empty() {
            return None;
        }
        let mut drawn = reservation.drawn.clone();
        for placement in reservation.counted_on.iter() {
            let Some(state) = self.counting(placement) else { continue };
            if let Some(funds) = &state.funds {
                let freed = Amount::ZERO.minus(reservation.resting(state.quota.unit));
                funds.plan(&placement.quota_id, &mut drawn, freed, reservation.created_at, now);
            }
        }
        if reservation.metered.is_none() {
            // Nothing that was charged can become more or less.
            Drawn::strip(&mut drawn);
        }
        Some(drawn)
    }

    /// Where a reservation counts, with what resets have dropped of it by now: all that it had come to, where one came after what charged that.
    fn with_resets(&self, reservation: &Reservation) -> Arc<[Placement]> {
        let places = self.places_of(reservation);
        let (Some(replaced), Some(charged_by)) = (reservation.replaced(), reservation.charged_by()) else {
            return places;
        };
        let mut counted_on = places.to_vec();
        for placement in &mut counted_on {
            let Some(state) = self.counting(placement) else { continue };
            let is_reset = |counter: &Counter| counter.reset_seq > charged_by;
            if state.counter(placement.period_start).is_some_and(is_reset) {
                placement.dropped = Some(state.quota.unit.spent(&replaced.amounts));
            }
        }
        if fault::on(Fault::ResetIsForgotten) {
            counted_on.iter_mut().for_each(|placement| placement.dropped = None);
        }
        if counted_on[..] == places[..] { places } else { counted_on.into() }
    }

    /// What a reservation draws now. Where it had ended before a reset, that gave back all of it.
    fn draws(&self, reservation: &Reservation) -> Vec<Drawn> {
        let mut drawn = reservation.drawn.clone();
        let Some(end) = &reservation.end else { return drawn };
        let since = end.changed.unwrap_or(end.seq);
        if drawn.is_empty() {
            return drawn;
        }
        for placement in self.places_of(reservation).iter() {
            let counter = self.counting(placement).and_then(|state| state.counter(placement.period_start));
            if counter.is_some_and(|counter| counter.reset_seq > since) {
                Drawn::give_all_back(&mut drawn, &placement.quota_id);
            }
        }
        drawn
    }

    /// The quota that a placement names, where it still counts the same.
    fn counting(&self, placement: &Placement) -> Option<&QuotaState> {
        let (_, state) = self.quotas.get_key_value_near(placement.hint.0, &placement.quota_id)?;
        (state.generation == placement.generation).then_some(state)
    }
}
