//! Folds what happened into the state. It cannot fail: all checks were made when the event was decided.

use std::sync::Arc;

use super::command::Reading;
use super::counter::Change;
use super::event::{Charged, Dropped, Entry, Event, Hint, Placement, QuotaSource};
use super::funds::{Drawn, Funds};
use super::repeats::{self, Fingerprints};
use super::reservation::{End, EndState, Metered, Opening, Reservation};
use super::{Ledger, QuotaState, Quotas, Tenant};
use crate::amount::Amount;
use crate::bounds::{Amounts, Estimate};
use crate::catalog::{Overrides, OverridesDocument, OverridesScope};
use crate::fault::{self, Fault};
use crate::ids::{QuotaId, ReservationId};
use crate::meter::MeterKind;
use crate::quota::{Quota, Scope, Unit};
use crate::time::Timestamp;

impl Ledger {
    /// Folds one entry into the state.
    pub fn evolve(&mut self, entry: &Entry) {
        let at = entry.at;
        self.clock = self.clock.max(at);
        self.peak = self.peak.max(self.clock);
        self.seq = entry.seq;
        match &entry.event {
            Event::PlanApplied { tenant, plan, policy_version, unknown_model, without_quota } => {
                let created_at = self.tenant.as_ref().map_or(at, |tenant| tenant.created_at);
                self.tenant = Some(Tenant {
                    id: tenant.clone(),
                    plan: plan.clone(),
                    policy_version: *policy_version,
                    unknown_model: unknown_model.clone(),
                    without_quota: *without_quota,
                    created_at,
                });
            }
            Event::QuotaSet { quota_id, quota, source, generation } => {
                self.quota_set(quota_id, quota, *source, *generation, at);
            }
            Event::QuotaRemoved { quota_id, .. } => {
                if let Some(gone) = self.quotas.remove(quota_id) {
                    self.remember_ids(quota_id, gone);
                }
                self.index_quotas();
            }
            Event::QuotaReset { quota_id, period_start, .. } => {
                if let Some(state) = self.quotas.get_mut(quota_id) {
                    state.reset(*period_start, entry.seq);
                    if let Some(funds) = &mut state.funds {
                        let (unit, generation) = (state.quota.unit, state.generation);
                        // What was drawn before the quota began to count something else was drawn on other credits, which went with it.
                        let counts = |on: &Placement| on.quota_id == *quota_id && on.generation == generation;
                        let open = self.reservations.values_mut().filter(|reservation| reservation.is_open());
                        let open = open.filter(|reservation| reservation.counted_on.iter().any(counts));
                        let drawn = open.map(|reservation| (reservation.resting(unit), &mut reservation.drawn));
                        funds.reset(quota_id, drawn, at);
                    }
                }
            }
            Event::Reserved { id, call, rated_as, terms, granted, held, input, expires_at, basis, counted_on } => {
                let mut drawn = Vec::new();
                let draws = Draws::new(&mut drawn, None, at);
                count(&mut self.quotas, counted_on, draws, entry, u64::MAX, &|_, unit| Change::hold(unit.held(held)));
                self.open(Reservation {
                    id: id.clone(),
                    call: call.clone(),
                    rated_as: rated_as.clone(),
                    opening: Opening::Reserve(terms.clone()),
                    granted: granted.clone(),
                    held: *held,
                    input: *input,
                    basis: basis.clone(),
                    counted_on: counted_on.clone(),
                    created_at: at,
                    expires_at: *expires_at,
                    sandbox: match granted.as_ref().unwrap_or(&terms.estimate) {
                        Estimate::Sandbox(bounds) => Some(bounds.clone()),
                        Estimate::Tokens(_) | Estimate::Usd(_) => None,
                    },
                    extensions: Vec::new(),
                    older_extensions: None,
                    drawn,
                    metered: None,
                    end: None,
                    opened_by: Some(entry.seq),
                });
            }
            Event::Extended { id, extension, held, input, expires_at, basis, known, drawn: told } => {
                if let Some((quotas, reservation)) = self.close(id) {
                    let before = if fault::on(Fault::ExtensionAddsUp) { Amounts::default() } else { reservation.held };
                    move_grown(quotas, reservation, held, at);
                    let mut drawn = core::mem::take(&mut reservation.drawn);
                    let draws = Draws::new(&mut drawn, told.as_deref(), reservation.created_at);
                    count(quotas, &reservation.counted_on, draws, entry, u64::MAX, &|_, unit| Change {
                        held: reservation.resting_of(unit, held).minus(reservation.resting_of(unit, &before)),
                        ..Change::NONE
                    });
                    reservation.drawn = drawn;
                    reservation.opened_by = None;
                    reservation.held = *held;
                    reservation.input = *input;
                    reservation.expires_at = *expires_at;
                    reservation.basis = basis.clone();
                    if let Some(Estimate::Sandbox(bounds)) = &extension.estimate {
                        reservation.sandbox = Some(bounds.clone());
                    }
                    reservation.remember_extension(extension, known.is_some());
                    self.reopened(id);
                }
            }
            Event::Metered { reading, known, charged } => self.metered(reading, known.is_some(), charged, entry),
            Event::Settled(charged) => self.end(EndState::Settled, charged, entry),
            Event::Expired(charged) => self.end(EndState::Expired, charged, entry),
            Event::Released { id, drawn: told } => {
                if let Some((quotas, reservation)) = self.close(id) {
                    let mut drawn = core::mem::take(&mut reservation.drawn);
                    let freed = |_: &Placement, unit| Change::end(reservation.resting(unit), Amount::ZERO);
                    for _ in 0..if fault::on(Fault::ReleaseFreesTwice) { 2 } else { 1 } {
                        let draws = Draws::new(&mut drawn, told.as_deref(), reservation.created_at);
                        count(quotas, &reservation.counted_on, draws, entry, u64::MAX, &freed);
                    }
                    if told.is_some() {
                        reservation.drawn = drawn;
                    }
                    // What was metered stays charged.
                    let metered = reservation.metered.as_deref();
                    reservation.end = Some(End {
                        state: EndState::Released,
                        at,
                        seq: entry.seq,
                        actual: metered.and_then(|metered| Some(metered.readings.last()?.actual.clone())),
                        charge: metered.map(|metered| metered.charge.clone()),
                        spent: metered.map(|metered| metered.spent).unwrap_or_default(),
                        late: false,
                        adjustments: Vec::new(),
                        refunds: Vec::new(),
                        changed: None,
                    });
                }
            }
            Event::SettledLate { counted_on, charged } => {
                if let Some(end) = self.correct(counted_on, charged, entry) {
                    end.late = true;
                }
            }
            Event::Recorded { mode, counted_on, charged } => {
                let mut drawn = Vec::new();
                let draws = Draws::new(&mut drawn, charged.drawn.as_deref(), charged.reserved_at);
                count(&mut self.quotas, counted_on, draws, entry, u64::MAX, &|_, unit| Change {
                    spent: unit.spent(&charged.spent),
                    ..Change::NONE
                });
                self.reservations.insert(
                    charged.id.clone(),
                    Reservation {
                        id: charged.id.clone(),
                        call: charged.call.clone(),
                        rated_as: charged.rated_as.clone(),
                        opening: Opening::Record(*mode),
                        granted: None,
                        held: Amounts::default(),
                        input: Amounts::default(),
                        basis: charged.charge.basis.clone(),
                        counted_on: counted_on.clone(),
                        created_at: at,
                        expires_at: at,
                        sandbox: None,
                        extensions: Vec::new(),
                        older_extensions: None,
                        drawn: charged.drawn.clone().unwrap_or_default(),
                        metered: None,
                        end: Some(ended(EndState::Recorded, charged, entry)),
                        opened_by: Some(entry.seq),
                    },
                );
            }
            Event::ThresholdCrossed { quota_id, period_start, threshold, .. } => {
                let state = self.quotas.get_mut(quota_id);
                if let Some(counter) = state.and_then(|state| state.counter_mut(*period_start))
                    && !fault::on(Fault::ThresholdIsForgotten)
                {
                    counter.warned.push(*threshold);
                }
            }
            Event::CreditAdded { quota_id, credit } => {
                let mut forgotten = None;
                self.fund(quota_id, at, |funds| forgotten = funds.add_credit(credit.clone()));
                self.used_ids.add_all(quota_id, forgotten);
            }
            Event::CreditRevoked { quota_id, credit_id, .. } => {
                self.fund(quota_id, at, |funds| {
                    if !fault::on(Fault::RevokedCreditIsSpent) {
                        funds.lapse(credit_id, None);
                    }
                });
            }
            Event::CreditLapsed { quota_id, credit_id, rolled, .. } => {
                let kept = self.kept;
                self.fund(quota_id, at, |funds| {
                    if !kept.is_some_and(|to| funds.lasts_beyond(credit_id, to)) {
                        funds.lapse(credit_id, *rolled);
                    }
                });
            }
            Event::LimitIncreased { quota_id, increase } => {
                let mut forgotten = Vec::new();
                self.fund(quota_id, at, |funds| forgotten = funds.add_increase(increase.clone(), at));
                self.used_ids.add_all(quota_id, forgotten);
            }
            Event::IncreaseEnded { quota_id, increase_id } => {
                self.fund(quota_id, at, |funds| funds.end_increase(increase_id, at));
            }
            Event::OverridesSet { scope, version, document } => self.put_overrides(*scope, *version, document),
            Event::Adjusted { adjustment, counted_on, charged } => {
                // Where it is folded onto what it led to, it is there already.
                if let Some(end) = self.correct(counted_on, charged, entry)
                    && !end.adjustments.contains(adjustment)
                {
                    end.adjustments.push(adjustment.clone());
                }
            }
            Event::Refunded { refund, counted_on, charged } => {
                let counted_on = if fault::on(Fault::RefundLeavesQuotas) { &[][..] } else { counted_on };
                if let Some(end) = self.correct(counted_on, charged, entry)
                    && end.refunds.iter().all(|known| known.id != refund.id)
                {
                    end.refunds.push(refund.clone());
                }
            }
            Event::ClockSetBack { from } => self.step_back(entry.seq, *from, at),
            Event::CountersRestored { restored } => self.restore_counters(restored, at),
            // They tell of the store. The state is what the other entries lead to.
            Event::Archived { .. } | Event::Repaired { .. } => {}
        }
    }

    fn quota_set(&mut self, id: &QuotaId, quota: &Quota, source: QuotaSource, generation: u64, at: Timestamp) {
        self.generation = self.generation.max(generation);
        match self.quotas.get_mut(id) {
            Some(state) if state.generation == generation => {
                state.edit(quota, source, at);
            }
            _ => {
                let mut state = QuotaState::new(quota.clone(), source, generation, at);
                if let Some(to) = self.kept {
                    state.keep(to);
                }
                let gone = self.quotas.insert(id.clone(), state);
                if let Some(gone) = gone {
                    self.remember_ids(id, gone);
                }
            }
        }
        self.index_quotas();
    }

    /// The ids of what was paid into a quota outlive it: none of them pays in again.
    fn remember_ids(&mut self, id: &QuotaId, gone: QuotaState) {
        if let Some(funds) = gone.funds.filter(|_| !fault::on(Fault::IdsGoWithQuota)) {
            self.used_ids.add_all(id, funds.into_ids());
        }
    }

    /// Changes what adds to a quota's limit. What was paid for belongs to the tenant, so its quota outlives plans.
    pub(super) fn fund(&mut self, id: &QuotaId, at: Timestamp, change: impl FnOnce(&mut Funds)) {
        if let Some(state) = self.quotas.get_mut(id) {
            state.source = QuotaSource::Custom;
            change(state.funds.get_or_insert_default());
            state.rearm(at);
        }
        self.index_lapses();
    }

    fn index_lapses(&mut self) {
        let funds = self.quotas.values().filter_map(|state| state.funds.as_ref());
        self.next_lapse = funds.filter_map(|funds| funds.next_lapse()).map(|(at, _)| at).min();
    }

    /// Quotas change rarely and are looked up by scope at every reservation.
    pub(super) fn index_quotas(&mut self) {
        self.tenant_wide.clear();
        self.by_user.clear();
        self.index_lapses();
        for (place, state) in self.quotas.values_mut().enumerate() {
            state.place = Hint(place);
            match (state.quota.scope, &state.quota.scope_id) {
                (Scope::User, Some(user)) => self.by_user.entry(user.clone()).or_default().push(place),
                _ => self.tenant_wide.push(place),
            }
        }
    }

    fn end(&mut self, state: EndState, charged: &Charged, entry: &Entry) {
        if state == EndState::Expired && fault::on(Fault::ExpiredHoldStaysCounted) {
            self.holds.count(charged.call.user_id.as_ref());
        }
        if let Some((quotas, reservation)) = self.close(&charged.id) {
            note_resets(reservation, &charged.resets);
            let mut drawn = core::mem::take(&mut reservation.drawn);
            let mut counted_on = reservation.counted_on.clone();
            if state == EndState::Expired && fault::on(Fault::ExpiryForgetsUserQuota) {
                let state = |on: &Placement| quotas.get(&on.quota_id);
                let is_tenants = |on: &&Placement| state(on).is_some_and(|state| state.quota.scope == Scope::Tenant);
                counted_on = counted_on.iter().filter(is_tenants).cloned().collect();
            }
            let is_kept = state == EndState::Settled && fault::on(Fault::SettleKeepsHold);
            let freed = |unit: Unit| if is_kept { Amount::ZERO } else { reservation.resting(unit) };
            let corrects = charged.replaces.map_or(u64::MAX, |replaced| replaced.since());
            let change = |on: &Placement, unit| Change::end(freed(unit), charged.counted(on, unit));
            let draws = Draws::new(&mut drawn, charged.drawn.as_deref(), charged.reserved_at);
            count(quotas, &counted_on, draws, entry, corrects, &change);
            if charged.drawn.is_some() {
                reservation.drawn = drawn;
            }
            reservation.end = Some(ended(state, charged, entry));
        }
    }

    /// A reading: so much of the hold is spent now.
    fn metered(&mut self, reading: &Reading, counted: bool, charged: &Charged, entry: &Entry) {
        let Some(reservation) = self.reservations.get_mut(&charged.id) else { return };
        note_resets(reservation, &charged.resets);
        let before = reservation.metered.take();
        let mut metered = Metered {
            seq: entry.seq,
            first: charged.replaces.map(|replaced| replaced.since()),
            readings: Vec::new(),
            older_readings: Fingerprints::default(),
            charge: charged.charge.clone(),
            spent: charged.spent,
            input_tokens: charged.charge.sum(MeterKind::InputTokens),
            output_tokens: charged.charge.sum(MeterKind::OutputTokens),
        };
        let corrects = charged.replaces.map_or(u64::MAX, |replaced| replaced.since());
        if let Some(before) = before {
            (metered.readings, metered.older_readings) = (before.readings, before.older_readings);
            if charged.charge.lines.is_empty() {
                // A reading by amount says nothing of tokens; those that were reported stay reported.
                (metered.input_tokens, metered.output_tokens) = (before.input_tokens, before.output_tokens);
            }
        }
        let older = metered.older_readings.len();
        repeats::remember(&mut metered.readings, &mut metered.older_readings, reading.clone(), counted);
        self.fingerprints = self.fingerprints.saturating_add(metered.older_readings.len().saturating_sub(older));
        let held = reservation.held;
        let rests = |unit: Unit, spent: &Amounts| unit.held(&held).minus(unit.spent(spent)).or_zero();
        let rested = charged.replaces.map(|replaced| replaced.amounts).unwrap_or_default();
        let mut drawn = core::mem::take(&mut reservation.drawn);
        let draws = Draws::new(&mut drawn, charged.drawn.as_deref(), charged.reserved_at);
        count(&mut self.quotas, &reservation.counted_on, draws, entry, corrects, &|on, unit| Change {
            spent: charged.counted(on, unit),
            held: rests(unit, &charged.spent).minus(rests(unit, &rested)),
            ..Change::NONE
        });
        reservation.drawn = drawn;
        reservation.metered = Some(Box::new(metered));
        reservation.opened_by = None;
    }

    /// A charge after the end: the reservation's state stays, and its charge becomes this one. The correction reaches the counters that still
    /// exist; it does not open a period that is over. The end is returned, where the reservation is still in memory.
    fn correct(&mut self, counted_on: &[Placement], charged: &Charged, entry: &Entry) -> Option<&mut End> {
        let replaced = charged.replaces.as_ref()?;
        let placements = if fault::on(Fault::LateSettleCorrectsNothing) { &[] } else { counted_on };
        let drawn = charged.drawn.as_deref().filter(|_| !fault::on(Fault::CorrectionDrawsNothing));
        for placement in placements {
            let state = self.quotas.get_mut_near(placement.hint.0, &placement.quota_id);
            let Some(state) = state.filter(|state| state.generation == placement.generation) else { continue };
            if let (Some(funds), Some(drawn)) = (&mut state.funds, drawn) {
                funds.redraw(&placement.quota_id, &charged.drew, drawn, charged.reserved_at);
            }
            if !state.counts_at(placement.period_start, entry.at) {
                // Its point may be gone, and another one must not take the difference.
                continue;
            }
            let more = charged.counted(placement, state.quota.unit);
            if let Some(counter) = state.counter_mut(placement.period_start) {
                let is_unknown = placement.dropped.is_none() && counter.reset_seq > replaced.since();
                // How much a reset has dropped was not written down: nothing is given back twice.
                let more = if is_unknown { more.or_zero() } else { more };
                counter.spent = counter.spent.plus(more);
            }
        }
        let reservation = self.reservations.get_mut(&charged.id)?;
        if reservation.counted_on[..] != *counted_on {
            reservation.counted_on = counted_on.into();
        }
        if let Some(drawn) = &charged.drawn {
            reservation.drawn.clone_from(drawn);
        }
        let end = reservation.end.as_mut()?;
        end.changed = Some(entry.seq);
        end.actual.clone_from(&charged.actual);
        end.charge = Some(charged.charge.clone());
        end.spent = charged.spent;
        Some(end)
    }

    pub(super) fn put_overrides(&mut self, scope: OverridesScope, version: u64, document: &Arc<OverridesDocument>) {
        // A document that could not be checked was not put in force.
        if let Ok(overrides) = Overrides::new(scope, version, document.clone()) {
            self.prices.put(overrides);
        }
    }

    pub(super) fn open(&mut self, reservation: Reservation) {
        self.fingerprints = self.fingerprints.saturating_add(reservation.fingerprints());
        self.holds.insert((reservation.expires_at, reservation.id.clone()), reservation.call.user_id.as_ref());
        self.reservations.insert(reservation.id.clone(), reservation);
    }

    /// A reservation that was closed to be changed is open still.
    fn reopened(&mut self, id: &ReservationId) {
        let Some(reservation) = self.reservations.get(id) else { return };
        self.fingerprints = self.fingerprints.saturating_add(reservation.fingerprints());
        self.holds.insert((reservation.expires_at, id.clone()), reservation.call.user_id.as_ref());
    }

    /// An open reservation, which has no deadline any more, and the quotas that count it.
    fn close(&mut self, id: &ReservationId) -> Option<(&mut Quotas, &mut Reservation)> {
        let reservation = self.reservations.get_mut(id)?;
        self.fingerprints = self.fingerprints.saturating_sub(reservation.fingerprints());
        let place = (reservation.expires_at, reservation.id.clone());
        self.holds.remove(&place);
        Some((&mut self.quotas, reservation))
    }
}

/// What a reservation draws on credits, and what its entry says that it draws from then on. Where the entry says nothing, that follows from what is counted.
struct Draws<'a> {
    drawn: &'a mut Vec<Drawn>,
    told: Option<&'a [Drawn]>,
    reserved_at: Timestamp,
}

impl<'a> Draws<'a> {
    const fn new(drawn: &'a mut Vec<Drawn>, told: Option<&'a [Drawn]>, reserved_at: Timestamp) -> Self {
        Self { drawn, told, reserved_at }
    }
}

/// An entry says what resets have dropped of a reservation.
fn note_resets(reservation: &mut Reservation, resets: &[Dropped]) {
    if resets.is_empty() {
        return;
    }
    let mut counted_on = reservation.counted_on.to_vec();
    for placement in &mut counted_on {
        if let Some(reset) = resets.iter().find(|reset| reset.quota_id == placement.quota_id) {
            placement.dropped = Some(reset.amount);
        }
    }
    reservation.counted_on = counted_on.into();
}

/// Adds to the counters that placements name. A quota that has been removed or redefined since counts no more. Where a change corrects
/// what an entry has charged, `corrects` is its number: where it was not written down how much a reset has dropped since, nothing is given back twice.
fn count(
    quotas: &mut Quotas,
    placements: &[Placement],
    draws: Draws<'_>,
    entry: &Entry,
    corrects: u64,
    change: &dyn Fn(&Placement, Unit) -> Change,
) {
    let Draws { drawn, told, reserved_at } = draws;
    for placement in placements {
        let Some(state) = quotas.get_mut_near(placement.hint.0, &placement.quota_id) else {
            continue;
        };
        if state.generation != placement.generation {
            continue;
        }
        let mut change = change(placement, state.quota.unit);
        // What is open keeps its counter; only something new begins a period.
        let counter = match entry.event {
            Event::Reserved { .. } | Event::Recorded { .. } => state.open_counter(placement.period_start, entry.at),
            _ => state.counter_mut(placement.period_start),
        };
        if let Some(counter) = counter {
            if placement.dropped.is_none() && counter.reset_seq > corrects {
                change.spent = change.spent.or_zero();
            }
            counter.add(change);
        }
        match (&mut state.funds, told) {
            (Some(funds), Some(told)) => funds.redraw(&placement.quota_id, drawn, told, reserved_at),
            (Some(funds), None) => {
                funds.draw(&placement.quota_id, drawn, change.spent.plus(change.held), entry.at);
            }
            (None, _) => {}
        }
    }
    if let Some(told) = told {
        told.clone_into(drawn);
    }
}

/// A rolling window counts a call when room was found for it: what grows moves there, so that no window is added to that has been
/// looked at before.
fn move_grown(quotas: &mut Quotas, reservation: &mut Reservation, grown: &Amounts, at: Timestamp) {
    if fault::on(Fault::GrownHoldStays) {
        return;
    }
    let metered_first = reservation.replaced().map_or(u64::MAX, |replaced| replaced.since());
    let metered_last = reservation.charged_by().unwrap_or(u64::MAX);
    let mut placements = reservation.counted_on.to_vec();
    for placement in &mut placements {
        let Some(state) = quotas.get_mut_near(placement.hint.0, &placement.quota_id) else { continue };
        let unit = state.quota.unit;
        let held = reservation.resting(unit);
        let grows = reservation.resting_of(unit, grown) > held;
        if !grows || state.generation != placement.generation || state.rolling().is_none() {
            continue;
        }
        let mut spent = reservation.metered_of(unit);
        let mut reset_seq = 0;
        if let Some(point) = state.open_counter(placement.period_start, at) {
            // What a reset has dropped stays dropped, also when it is corrected where it is going.
            reset_seq = point.reset_seq;
            let is_unknown = placement.dropped.is_none() && reset_seq > metered_first;
            let is_dropped = reset_seq > metered_last || is_unknown;
            spent = if is_dropped { Amount::ZERO } else { placement.counts(spent) };
            point.add(Change { spent: Amount::ZERO.minus(spent), ..Change::end(held, Amount::ZERO) });
        }
        if let Some(point) = state.open_counter(at, at) {
            point.reset_seq = point.reset_seq.max(reset_seq);
            point.add(Change { spent, ..Change::hold(held) });
        }
        placement.period_start = at;
    }
    if placements[..] != reservation.counted_on[..] {
        reservation.counted_on = placements.into();
    }
}

fn ended(state: EndState, charged: &Charged, entry: &Entry) -> End {
    End {
        state,
        at: entry.at,
        seq: entry.seq,
        actual: charged.actual.clone(),
        charge: Some(charged.charge.clone()),
        spent: charged.spent,
        late: false,
        adjustments: Vec::new(),
        refunds: Vec::new(),
        changed: None,
    }
}
