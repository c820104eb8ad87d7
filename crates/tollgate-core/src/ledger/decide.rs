//! Decides a command: which events happen, or why none do.

use std::sync::Arc;

use super::command::{
    Actual, Command, ExtendRequest, HoldTerms, OnExpiry, OnInsufficient, Onboard, Reading, RecordMode, RecordRequest,
    ReserveRequest,
};
use super::counter::{QuotaState, QuotaView};
use super::denial::{Denial, Rejection, Tight};
use super::event::{Charged, Event, Placement, QuotaSource};
use super::funds::Drawn;
use super::repeats::{MAX_CHANGES, MAX_FINGERPRINTS};
use super::reservation::{EndState, Opening, Reservation};
use super::{HoldsFilter, Ledger, MAX_BULK_RELEASE};
use crate::amount::Amount;
use crate::bounds::{Amounts, Estimate};
use crate::call_names::CallNames;
use crate::catalog::{Catalog, Flag, OverridesScope};
use crate::estimate::UpperBound;
use crate::fault::{self, Fault};
use crate::ids::{QuotaId, RefundId, ReservationId};
use crate::money::Usd;
use crate::policy::WithoutQuota;
use crate::price::Charge;
use crate::quota::{Enforcement, MAX_QUOTAS, Quota, Unit};
use crate::time::Timestamp;

/// What a command leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What happens, in order. Empty where the command was carried out before.
    pub events: Vec<Event>,
    /// What the caller is told.
    pub outcome: Outcome,
}

/// What the caller is told, apart from the state after the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The tenant is onboarded.
    Onboarded,
    /// The quota says so now.
    QuotaSet(QuotaId),
    /// The quota is gone.
    QuotaRemoved,
    /// The quota's period started again.
    QuotaReset(QuotaId),
    /// The money is held. Replayed: the same was asked before, and the reservation's state tells what became of it.
    Reserved {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The hold is extended.
    Extended {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// What was used so far is charged.
    Metered {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The charge stands.
    Settled {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The hold is gone.
    Released {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The holds are gone.
    HoldsReleased {
        /// How many.
        released: usize,
        /// How many more the filter lets through.
        remaining: usize,
    },
    /// The charge stands.
    Recorded {
        /// Which.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The document is in force.
    OverridesSet(OverridesScope),
    /// The difference is made up.
    Adjusted {
        /// Whose charge.
        id: ReservationId,
        /// Whether it was carried out before.
        replayed: bool,
    },
    /// The charge is taken back.
    Refunded {
        /// Whose charge.
        id: ReservationId,
        /// By which refund.
        refund: RefundId,
        /// Whether it was carried out before.
        replayed: bool,
    },
}

impl Ledger {
    /// Decides a command at an instant. Nothing changes until the events are folded in with [`Ledger::evolve`].
    ///
    /// Reservations that have ended must have been [recalled](Ledger::recall) for repeats to be recognized.
    ///
    /// # Errors
    /// Why nothing happens.
    pub fn decide(&self, catalog: &Catalog, clock: Timestamp, command: &Command) -> Result<Decision, Rejection> {
        let now = self.now(clock);
        if let Command::Onboard(onboard) = command {
            return self.onboard(onboard);
        }
        if self.tenant().is_none() {
            return Err(Rejection::TenantNotFound);
        }
        match command {
            Command::Onboard(onboard) => self.onboard(onboard),
            Command::SetQuota(id, quota) => self.set_quota(id, quota, now),
            Command::RemoveQuota(id, forfeit) => self.remove_quota(id, *forfeit, now),
            Command::ResetQuota(id) => self.reset_quota(id, now),
            Command::Reserve(request) => self.reserve(catalog, request, now),
            Command::Extend(id, request) => self.extend(catalog, id, request, now),
            Command::Meter(id, reading) => self.meter(catalog, id, reading, now),
            Command::Settle(id, actual) => self.settle(catalog, id, actual, now),
            Command::Release(id) => self.release(id, now),
            Command::ReleaseHolds(filter) => Ok(self.release_holds(filter, now)),
            Command::Record(request) => self.record(catalog, request, now),
            Command::AddCredit(id, credit) => self.add_credit(id, credit, now),
            Command::RevokeCredit(id, credit) => self.revoke_credit(id, credit, now),
            Command::Increase(id, increase) => self.increase(id, increase, now),
            Command::EndIncrease(id, increase) => self.end_increase(id, increase, now),
            Command::SetOverrides(order) => self.set_overrides(catalog, order),
            Command::Adjust(order) => self.adjust(order, now),
            Command::Refund(id, request) => self.refund(id, request, now),
        }
    }

    /// The end of the hold, or of the credit, whose time was up first, if any is.
    #[must_use]
    pub fn decide_expiry(&self, clock: Timestamp) -> Option<Vec<Event>> {
        let now = self.now(clock);
        let deadline = self.next_deadline();
        if let Some(at) = self.next_lapse.filter(|at| *at <= now && deadline.is_none_or(|deadline| *at < deadline)) {
            return self.lapse(at).map(|event| vec![event]);
        }
        let (deadline, id) = self.holds.first()?;
        if *deadline > now {
            return None;
        }
        let reservation = self.reservations.get(id)?;
        let Opening::Reserve(HoldTerms { on_expiry, .. }) = &reservation.opening else {
            return None;
        };
        let spent = match on_expiry {
            OnExpiry::Release => Amounts::default(),
            OnExpiry::ChargeInput => reservation.input,
            OnExpiry::ChargeHold => reservation.held,
        };
        // Never less than what it has used so far.
        let metered = reservation.metered.as_ref().filter(|_| !fault::on(Fault::ExpiryForgetsReadings));
        let (charge, spent) = match metered {
            Some(metered) if metered.spent.usd >= spent.usd => (metered.charge.clone(), spent.at_least(&metered.spent)),
            metered => {
                let spent = metered.map_or(spent, |metered| spent.at_least(&metered.spent));
                (Charge { basis: reservation.basis.clone(), ..Charge::of_amount(spent.usd) }, spent)
            }
        };
        let mut charged = charged(reservation, None, charge.flagged(Flag::Expired), spent);
        let freed = |unit| Amount::ZERO.minus(reservation.resting(unit));
        let booked = self.book(reservation, &mut charged, &freed, now);
        Some(followed(Event::Expired(charged), booked.crossed))
    }

    fn onboard(&self, onboard: &Onboard) -> Result<Decision, Rejection> {
        if let Some(tenant) = self.tenant().filter(|tenant| tenant.id != onboard.tenant) {
            return Err(Rejection::IdempotencyConflict(tenant.id.to_string()));
        }
        onboard
            .plan
            .check()
            .map_err(|problem| Rejection::Invalid { field: problem.field, message: problem.message })?;
        let mut events = Vec::new();
        let unchanged = self.tenant().is_some_and(|tenant| {
            tenant.plan == onboard.plan_name
                && tenant.policy_version == onboard.policy_version
                && tenant.unknown_model == onboard.plan.unknown_model
                && tenant.without_quota == onboard.plan.without_quota
        });
        if !unchanged {
            events.push(Event::PlanApplied {
                tenant: onboard.tenant.clone(),
                plan: onboard.plan_name.clone(),
                policy_version: onboard.policy_version,
                unknown_model: onboard.plan.unknown_model.clone(),
                without_quota: onboard.plan.without_quota,
            });
        }
        let gone = self
            .quotas
            .iter()
            .filter(|(id, state)| state.source == QuotaSource::Plan && !onboard.plan.quotas.contains_key(*id));
        let removed: Vec<Event> = gone
            // A quota that was credited is the tenant's and not the plan's.
            .map(|(id, _)| Event::QuotaRemoved { quota_id: id.clone(), forfeited: None })
            .collect();
        let kept = self.quotas.len().saturating_sub(removed.len());
        let added = onboard.plan.quotas.keys().filter(|id| !self.quotas.contains_key(*id)).count();
        if kept.saturating_add(added) > MAX_QUOTAS {
            return Err(too_many_quotas());
        }
        events.extend(removed);
        let mut generation = self.generation;
        for (id, quota) in &onboard.plan.quotas {
            match self.quotas.get(id) {
                // What was set for this tenant alone outlives plans.
                Some(state) if state.source == QuotaSource::Custom => {}
                Some(state) if state.quota == *quota => {}
                state => {
                    events.push(quota_set(id, quota, QuotaSource::Plan, state, &mut generation));
                }
            }
        }
        Ok(Decision { events, outcome: Outcome::Onboarded })
    }

    fn set_quota(&self, id: &QuotaId, quota: &Quota, now: Timestamp) -> Result<Decision, Rejection> {
        quota.check().map_err(|problem| Rejection::Invalid {
            field: problem.field.to_owned(),
            message: problem.message.to_owned(),
        })?;
        let known = self.quotas.get(id);
        if known.is_none() && self.quotas.len() >= MAX_QUOTAS {
            return Err(too_many_quotas());
        }
        let outcome = Outcome::QuotaSet(id.clone());
        if known.is_some_and(|state| state.quota == *quota && state.source == QuotaSource::Custom) {
            return Ok(Decision { events: Vec::new(), outcome });
        }
        // It would begin anew, without what was paid for.
        if let Some(field) = known
            .filter(|state| !self.credit_left(id, state, now).is_zero())
            .and_then(|state| state.quota.counts_otherwise(quota))
        {
            return Err(invalid(field, "the quota has credits; revoke them first, or take another quota's id"));
        }
        let mut generation = self.generation;
        let event = quota_set(id, quota, QuotaSource::Custom, known, &mut generation);
        Ok(Decision { events: vec![event], outcome })
    }

    fn remove_quota(&self, id: &QuotaId, forfeit: bool, now: Timestamp) -> Result<Decision, Rejection> {
        let state = self.quotas.get(id).ok_or_else(|| Rejection::QuotaNotFound(id.clone()))?;
        let left = self.credit_left(id, state, now);
        if !left.is_zero() && !forfeit && !fault::on(Fault::CreditsGoWithQuota) {
            return Err(Rejection::CreditsLeft { id: id.clone(), left, unit: state.quota.unit });
        }
        let forfeited = Some(left).filter(|left| !left.is_zero());
        let event = Event::QuotaRemoved { quota_id: id.clone(), forfeited };
        Ok(Decision { events: vec![event], outcome: Outcome::QuotaRemoved })
    }

    fn reset_quota(&self, id: &QuotaId, now: Timestamp) -> Result<Decision, Rejection> {
        let view = self.quota(id, now).ok_or_else(|| Rejection::QuotaNotFound(id.clone()))?;
        let event = Event::QuotaReset { quota_id: id.clone(), period_start: view.window.start, dropped: view.spent };
        Ok(Decision { events: vec![event], outcome: Outcome::QuotaReset(id.clone()) })
    }

    fn reserve(&self, catalog: &Catalog, request: &ReserveRequest, now: Timestamp) -> Result<Decision, Rejection> {
        let id = request.id.clone();
        if let Some(known) = self.reservations.get(&id)
            && !fault::on(Fault::RetryIsCountedTwice)
        {
            let same = known.call == request.call
                && matches!(&known.opening, Opening::Reserve(terms) if *terms == request.terms);
            return replay(same, Outcome::Reserved { id, replayed: true }, request.id.as_str());
        }
        self.holds.check(request.call.user_id.as_ref(), now).map_err(Rejection::TooManyHolds)?;
        let names = CallNames::new(&request.call, catalog, &self.prices, now);
        let (granted, bound, counted_on) = self.grant(catalog, request, &names, now)?;
        let event = Event::Reserved {
            id: id.clone(),
            call: request.call.clone(),
            rated_as: names.rated_as(),
            terms: request.terms.clone(),
            granted,
            held: bound.amounts,
            input: bound.input,
            expires_at: now.plus_seconds(request.terms.ttl_seconds),
            basis: bound.basis,
            counted_on,
        };
        Ok(Decision { events: vec![event], outcome: Outcome::Reserved { id, replayed: false } })
    }

    /// What a reserve holds: all that it asks for, or, where it says so, the largest part that fits.
    fn grant(
        &self,
        catalog: &Catalog,
        request: &ReserveRequest,
        names: &CallNames<'_>,
        now: Timestamp,
    ) -> Result<Grant, Rejection> {
        let asked = self.upper_bound(catalog, &request.call, &request.terms.estimate, now)?;
        let denial = match self.admit(names, &asked, now) {
            Ok(counted_on) => return Ok((None, asked, counted_on)),
            Err(Rejection::QuotaExceeded(denial)) => denial,
            Err(other) => return Err(other),
        };
        let smaller = match request.terms.on_insufficient {
            OnInsufficient::Deny => None,
            OnInsufficient::Shrink => {
                denial.affordable.as_ref().and_then(|affordable| affordable.shrunk(&request.terms.estimate))
            }
        };
        let Some(smaller) = smaller else { return Err(Rejection::QuotaExceeded(denial)) };
        let bound = self.upper_bound(catalog, &request.call, &smaller, now)?;
        let counted_on = self.admit(names, &bound, now)?;
        Ok((Some(smaller), bound, counted_on))
    }

    fn extend(
        &self,
        catalog: &Catalog,
        id: &ReservationId,
        request: &ExtendRequest,
        now: Timestamp,
    ) -> Result<Decision, Rejection> {
        let reservation = self.find(id)?;
        if let Some(same) = reservation.knows_extension(request) {
            let outcome = Outcome::Extended { id: id.clone(), replayed: true };
            return replay(same, outcome, request.id.as_str());
        }
        if let Some(end) = &reservation.end {
            return Err(Rejection::AlreadyEnded { id: id.clone(), state: end.state });
        }
        if request.ttl_seconds.is_none() && request.estimate.is_none() {
            return Err(invalid("ttlSeconds", "an extension names `ttlSeconds`, `estimate` or both"));
        }
        let known = self.one_more(reservation.known_extensions(), "extensions")?;
        let mut held = reservation.held;
        let mut input = reservation.input;
        let mut basis = reservation.basis.clone();
        if let Some(estimate) = &request.estimate {
            if let (Estimate::Sandbox(bounds), Some(model)) = (estimate, &reservation.call.model)
                && bounds.tier != *model
            {
                return Err(invalid("estimate.sandbox.tier", "an extension cannot change the tier"));
            }
            let bound = self.upper_bound_as_reserved(catalog, reservation, estimate)?;
            // In money alone: an estimate may say nothing of tokens or seconds, and what was metered of them stays spent.
            let metered = reservation.metered.as_ref().map_or(Usd::ZERO, |metered| metered.spent.usd);
            if bound.amounts.usd < metered {
                return Err(invalid(
                    "estimate",
                    "an extension's estimate is the new total, and cannot be less than what was metered",
                ));
            }
            self.admit_more(reservation, &bound, now)?;
            held = bound.amounts;
            input = bound.input;
            basis = bound.basis;
        }
        let prolonged = request.ttl_seconds.map_or(reservation.expires_at, |ttl| now.plus_seconds(ttl));
        let drawn = self.draws_when_held(reservation, &held, now);
        let event = Event::Extended {
            id: id.clone(),
            extension: request.clone(),
            held,
            input,
            expires_at: prolonged.max(reservation.expires_at),
            basis,
            known: Some(known),
            drawn,
        };
        Ok(Decision { events: vec![event], outcome: Outcome::Extended { id: id.clone(), replayed: false } })
    }

    fn meter(
        &self,
        catalog: &Catalog,
        id: &ReservationId,
        reading: &Reading,
        now: Timestamp,
    ) -> Result<Decision, Rejection> {
        let reservation = self.find(id)?;
        let outcome = |replayed| Outcome::Metered { id: id.clone(), replayed };
        let before = reservation.metered.as_deref();
        if let Some(same) = reservation.knows_reading(reading) {
            return replay(same, outcome(true), reading.id.as_str());
        }
        if let Some(end) = &reservation.end {
            return Err(Rejection::AlreadyEnded { id: id.clone(), state: end.state });
        }
        let (charge, spent) = match &reading.actual {
            // The tokens and seconds of an amount are not known, and the rest of the hold is there for them.
            Actual::Usd(usd) => (Charge::of_amount(*usd), UpperBound::of_amount(*usd).amounts),
            // That there is more to come is what a reading means.
            Actual::IncompleteUsage(usage) => {
                self.actual_charge(catalog, reservation, &Actual::Usage(usage.clone()))?
            }
            actual => self.actual_charge(catalog, reservation, actual)?,
        };
        if before.is_some_and(|before| spent.usd <= before.spent.usd) && !fault::on(Fault::OvertakenReadingCounts) {
            // A later reading overtook it.
            return Ok(Decision { events: Vec::new(), outcome: outcome(false) });
        }
        let known = self.one_more(reservation.known_readings(), "readings")?;
        // What was seen of tokens or seconds is not unseen by a reading that says nothing of them.
        let spent = before.map_or(spent, |before| spent.at_least(&before.spent));
        let mut charged = charged(reservation, None, charge, spent);
        charged.replaces = charged.replaces.filter(|_| !fault::on(Fault::ReadingAddsUp));
        let rests = |unit: Unit| unit.held(&reservation.held).minus(unit.spent(&spent)).or_zero();
        let held = |unit| rests(unit).minus(reservation.resting(unit));
        let booked = self.book(reservation, &mut charged, &held, now);
        if let Some(drawn) = &mut charged.drawn {
            Drawn::strip(drawn);
        }
        let event = Event::Metered { reading: reading.clone(), known: Some(known), charged };
        Ok(Decision { events: followed(event, booked.crossed), outcome: outcome(false) })
    }

    fn settle(
        &self,
        catalog: &Catalog,
        id: &ReservationId,
        actual: &Actual,
        now: Timestamp,
    ) -> Result<Decision, Rejection> {
        let reservation = self.find(id)?;
        let outcome = |replayed| Outcome::Settled { id: id.clone(), replayed };
        let late = match &reservation.end {
            None => false,
            Some(end) => match (end.state, &end.actual) {
                (EndState::Settled, Some(known)) | (EndState::Expired, Some(known)) => {
                    return replay(known == actual, outcome(true), id.as_str());
                }
                (EndState::Expired, None) => true,
                (state, _) => return Err(Rejection::AlreadyEnded { id: id.clone(), state }),
            },
        };
        let (charge, mut spent) = self.actual_charge(catalog, reservation, actual)?;
        if let Some(end) = &reservation.end {
            // What was taken back of the charge of an expiry stays taken back.
            spent.usd = end.net(spent.usd);
        }
        let mut charged = charged(reservation, Some(actual.clone()), charge, spent);
        let freed = |unit| if late { Amount::ZERO } else { Amount::ZERO.minus(reservation.resting(unit)) };
        let booked = self.book(reservation, &mut charged, &freed, now);
        let event =
            if late { Event::SettledLate { counted_on: booked.counted_on, charged } } else { Event::Settled(charged) };
        Ok(Decision { events: followed(event, booked.crossed), outcome: outcome(false) })
    }

    fn release(&self, id: &ReservationId, now: Timestamp) -> Result<Decision, Rejection> {
        let reservation = self.find(id)?;
        let outcome = |replayed| Outcome::Released { id: id.clone(), replayed };
        match &reservation.end {
            None => {
                let drawn = self.draws_when_released(reservation, now);
                Ok(Decision { events: vec![Event::Released { id: id.clone(), drawn }], outcome: outcome(false) })
            }
            Some(end) if end.state == EndState::Released => Ok(Decision { events: Vec::new(), outcome: outcome(true) }),
            Some(end) => Err(Rejection::AlreadyEnded { id: id.clone(), state: end.state }),
        }
    }

    /// What each gives back is its own, so that it does not matter that the others end with it.
    fn release_holds(&self, filter: &HoldsFilter, now: Timestamp) -> Decision {
        let mut meant = self.filtered_reservations(filter, None);
        let next = meant.by_ref().take(MAX_BULK_RELEASE);
        let released =
            |hold: &Reservation| Event::Released { id: hold.id.clone(), drawn: self.draws_when_released(hold, now) };
        let events: Vec<Event> = next.map(released).collect();
        let outcome = Outcome::HoldsReleased { released: events.len(), remaining: meant.count() };
        Decision { events, outcome }
    }

    fn record(&self, catalog: &Catalog, request: &RecordRequest, now: Timestamp) -> Result<Decision, Rejection> {
        let id = request.id.clone();
        if let Some(known) = self.reservations.get(&id) {
            let same = known.call == request.call
                && known.opening == Opening::Record(request.mode)
                && known.end.as_ref().and_then(|end| end.actual.as_ref()) == Some(&request.actual);
            return replay(same, Outcome::Recorded { id, replayed: true }, request.id.as_str());
        }
        let (charge, spent) = self.charge(catalog, &request.call, &request.actual, now)?;
        let names = CallNames::new(&request.call, catalog, &self.prices, now);
        let counted_on = match request.mode {
            RecordMode::Always => self.placements(&names, now),
            RecordMode::WithinLimit => {
                let bound = UpperBound::of_amounts(spent);
                let admitted = self.admit_needing(Unit::spent, &names, &bound, now);
                if fault::on(Fault::RecordMindsNoLimit) { self.placements(&names, now) } else { admitted? }
            }
        };
        let mut charged = Charged {
            id: id.clone(),
            call: request.call.clone(),
            rated_as: names.rated_as(),
            reserved_at: now,
            actual: Some(request.actual.clone()),
            charge,
            spent,
            replaces: None,
            drawn: None,
            drew: Vec::new(),
            resets: Vec::new(),
        };
        let crossed = self.book_on(&counted_on, Vec::new(), &mut charged, &|_| Amount::ZERO, now);
        let event = Event::Recorded { mode: request.mode, counted_on, charged };
        Ok(Decision { events: followed(event, crossed), outcome: Outcome::Recorded { id, replayed: false } })
    }

    /// All or nothing: the quotas that will count the amounts, or a denial by those that cannot.
    pub(super) fn admit(
        &self,
        names: &CallNames<'_>,
        bound: &UpperBound,
        now: Timestamp,
    ) -> Result<Arc<[Placement]>, Rejection> {
        self.admit_needing(Unit::held, names, bound, now)
    }

    /// The same, for what each unit needs: a hold needs what it holds, a record, which opens nothing, what it spends.
    fn admit_needing(
        &self,
        need: fn(Unit, &Amounts) -> Amount,
        names: &CallNames<'_>,
        bound: &UpperBound,
        now: Timestamp,
    ) -> Result<Arc<[Placement]>, Rejection> {
        let mut tight = Vec::new();
        let mut placements = Vec::new();
        for (id, state) in self.applicable(names) {
            let requested = need(state.quota.unit, &bound.amounts);
            if let Some(placement) = state.placement_with_room(id, requested, now) {
                placements.push(placement);
                continue;
            }
            let view = state.view(id, now);
            let is_checked = placements.is_empty() || !fault::on(Fault::OnlyFirstQuotaIsChecked);
            if !is_checked || view.fits(requested) || state.quota.enforcement == Enforcement::Warn {
                placements.push(state.placement(id, &view, now));
            } else {
                tight.push(Tight { resets_at: state.resets_at(&view, requested, now), view });
            }
        }
        let denies_without_quota = || self.tenant().is_some_and(|tenant| tenant.without_quota == WithoutQuota::Deny);
        if !tight.is_empty() || (placements.is_empty() && denies_without_quota()) {
            let affordable = (!tight.is_empty()).then(|| bound.affordable(tight.iter().map(|tight| left(&tight.view))));
            let denial = Denial::new(now, bound.amounts, affordable, &tight);
            return Err(Rejection::QuotaExceeded(Box::new(denial)));
        }
        Ok(placements.into())
    }

    /// Whether a hold may grow: in the periods in which it was reserved, and in rolling windows as they are now.
    fn admit_more(&self, reservation: &Reservation, bound: &UpperBound, now: Timestamp) -> Result<(), Rejection> {
        let mut tight = Vec::new();
        let mut left_with_own = Vec::new();
        for placement in reservation.counted_on.iter() {
            let Some((id, state)) = self.quotas.get_key_value_near(placement.hint.0, &placement.quota_id) else {
                continue;
            };
            let unit = state.quota.unit;
            let more = reservation.resting_of(unit, &bound.amounts).minus(reservation.resting(unit));
            // What adds nothing needs no room, also where there is none.
            if more <= Amount::ZERO || state.quota.enforcement == Enforcement::Warn {
                continue;
            }
            // What has left a rolling window comes back into it as it grows.
            let (view, own) = match state.view_of(id, placement, now) {
                Some(view) => (view, reservation.resting(unit).plus(reservation.metered_of(unit))),
                None if state.generation == placement.generation && state.rolling().is_some() => {
                    (state.view(id, now), Amount::ZERO)
                }
                None => continue,
            };
            let more = reservation.resting_of(unit, &bound.amounts).plus(reservation.metered_of(unit)).minus(own);
            if !view.fits(more) {
                // What is held already is the caller's own, and part of what the whole call can afford.
                left_with_own.push((unit, view.remaining().plus(own)));
                tight.push(Tight { resets_at: state.resets_at(&view, more, now), view });
            }
        }
        if tight.is_empty() {
            return Ok(());
        }
        let affordable = bound.affordable(left_with_own);
        let requested = bound.amounts.less(&reservation.held);
        Err(Rejection::QuotaExceeded(Box::new(Denial::new(now, requested, Some(affordable), &tight))))
    }

    /// The quotas that count a call, whether or not it fits.
    fn placements(&self, names: &CallNames<'_>, now: Timestamp) -> Arc<[Placement]> {
        self.applicable(names).map(|(id, state)| state.placement(id, &state.view(id, now), now)).collect()
    }

    /// How many changes of a hold are remembered with one more, if there may be one more.
    fn one_more(&self, known: usize, what: &'static str) -> Result<u32, Rejection> {
        if known >= MAX_CHANGES || self.fingerprints >= MAX_FINGERPRINTS {
            return Err(Rejection::TooManyChanges(what));
        }
        Ok(u32::try_from(known).unwrap_or(u32::MAX).saturating_add(1))
    }

    pub(super) fn find(&self, id: &ReservationId) -> Result<&Reservation, Rejection> {
        self.reservations.get(id).ok_or_else(|| Rejection::ReservationNotFound(id.clone()))
    }
}

/// What a quota has left, and of what.
fn left(view: &QuotaView<'_>) -> (Unit, Amount) {
    (view.quota.unit, view.remaining())
}

/// The estimate, where it is smaller than asked; its bound; what counts it.
type Grant = (Option<Estimate>, UpperBound, Arc<[Placement]>);

pub(super) fn charged(reservation: &Reservation, actual: Option<Actual>, charge: Charge, spent: Amounts) -> Charged {
    Charged {
        id: reservation.id.clone(),
        call: reservation.call.clone(),
        rated_as: reservation.rated_as.clone(),
        reserved_at: reservation.created_at,
        actual,
        charge,
        spent,
        replaces: reservation.replaced(),
        drawn: None,
        drew: Vec::new(),
        resets: Vec::new(),
    }
}

/// An event and what it leads to, which most lead to nothing: room for one is all that is needed then.
pub(super) fn followed(event: Event, by: Vec<Event>) -> Vec<Event> {
    let mut events = vec![event];
    events.extend(by);
    events
}

fn quota_set(
    id: &QuotaId,
    quota: &Quota,
    source: QuotaSource,
    known: Option<&QuotaState>,
    generation: &mut u64,
) -> Event {
    let goes_on =
        |state: &&QuotaState| state.quota.counts_the_same_as(quota) || fault::on(Fault::RedefinedQuotaKeepsCount);
    let kept = known.filter(goes_on).map(|state| state.generation);
    let generation = kept.unwrap_or_else(|| {
        *generation = generation.saturating_add(1);
        *generation
    });
    Event::QuotaSet { quota_id: id.clone(), quota: quota.clone(), source, generation }
}

pub(super) fn replay(same: bool, outcome: Outcome, id: &str) -> Result<Decision, Rejection> {
    if same { Ok(Decision { events: Vec::new(), outcome }) } else { Err(Rejection::IdempotencyConflict(id.to_owned())) }
}

pub(super) fn invalid(field: &str, message: &str) -> Rejection {
    Rejection::Invalid { field: field.to_owned(), message: message.to_owned() }
}

fn too_many_quotas() -> Rejection {
    invalid("quotas", "a tenant can have 1000 quotas at most")
}
