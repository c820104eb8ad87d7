//! One tenant's ledger: what may be spent, what is held, what was spent.
//!
//! The ledger is a *decider*. [`Ledger::decide`] looks at the state and a command and answers with events and an outcome, or with
//! a rejection, and changes nothing; [`Ledger::evolve`] folds one event into the state and cannot fail. So the events are the
//! truth, the state can be rebuilt from them, and what is stored is what was decided.

mod booking;
mod command;
mod compare;
mod counter;
mod decide;
mod denial;
mod entry_json;
mod event;
mod evolve;
mod explain;
mod fund;
mod funds;
mod open_holds;
mod rates;
mod refund;
mod repeats;
mod rerate;
mod reservation;
mod rolling;
mod set_back;
mod snapshot;
mod used_ids;

use std::collections::HashMap;
use std::collections::hash_map::Entry::Occupied;

pub use command::{
    Actual, Adjustment, Command, ExtendRequest, HoldTerms, HoldsFilter, OnExpiry, OnInsufficient, Onboard,
    OverridesOrder, Reading, RecordMode, RecordRequest, RefundRequest, ReserveRequest,
};
pub use compare::{Difference, MAX_DIFFERENCES};
pub use counter::{Counter, QuotaState, QuotaView};
pub use decide::{Decision, Outcome};
pub use denial::{Denial, DenyingQuota, Rejection};
pub use event::{Charged, Dropped, Entry, Event, Placement, QuotaSource, Repair, Replaced};
pub use explain::{Explanation, Fit};
pub use funds::{Credit, CreditState, Drawn, Funds, Increase, MAX_FUNDS, Rollover};
#[cfg(feature = "seeded-bugs")]
pub use open_holds::set_caps;
pub use open_holds::{Caps, HoldPlace, MAX_BULK_RELEASE, MAX_OPEN_HOLDS, MAX_USER_HOLDS, TooManyHolds};
pub use repeats::{Fingerprints, MAX_CHANGES, MAX_FINGERPRINTS};
pub use rerate::{RerateBy, Rerated};
pub use reservation::{End, EndState, Metered, OlderExtensions, Opening, Refund, Reservation};
pub use set_back::{Beginning, OVERRULED_SECONDS, Pace, Refolding, Restored, RestoredCredit};
pub use snapshot::Snapshot;
use used_ids::UsedIds;

use open_holds::OpenHolds;

use crate::call_names::CallNames;
use crate::catalog::{Catalog, PriceBook};
use crate::fault::{self, Fault};
use crate::ids::{PlanName, QuotaId, ReservationId, TenantId, UserId};
use crate::policy::{UnknownModel, WithoutQuota};
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// How often one charge may be adjusted.
pub const MAX_ADJUSTMENTS: usize = 32;
/// How many refunds one charge may have.
pub const MAX_REFUNDS: usize = 32;

/// Values by what others name. Several look-ups are made for each command, and SipHash is a tenth of one. Whoever chose names that collide would slow down
/// their own ledger alone.
type ByName<K, V> = HashMap<K, V, rustc_hash::FxBuildHasher>;

/// Every quota of a ledger, by id.
type Quotas = SortedMap<QuotaId, QuotaState>;

/// The state of one tenant's ledger.
#[derive(Debug, Default)]
pub struct Ledger {
    tenant: Option<Tenant>,
    quotas: Quotas,
    /// Where the quotas of scope tenant are among all of them.
    tenant_wide: Vec<usize>,
    /// Where the quotas of each user are among all of them.
    by_user: ByName<UserId, Vec<usize>>,
    /// Every open reservation, and those ended ones that the owner has not let go of.
    reservations: ByName<ReservationId, Reservation>,
    /// The open reservations by deadline, and how many each user has.
    holds: OpenHolds,
    /// When the next credit ends.
    next_lapse: Option<Timestamp>,
    /// The time of the last entry. It runs backwards only by entries that say so: see [`Ledger::set_back`].
    clock: Timestamp,
    /// The latest time of any entry.
    peak: Timestamp,
    /// The steps back.
    set_backs: Vec<set_back::SetBack>,
    /// The instant for which a [`Refolding`] keeps what is otherwise let go of.
    kept: Option<Timestamp>,
    /// The highest generation that a quota has had.
    generation: u64,
    /// The number of the last entry.
    seq: u64,
    /// How many extensions and readings the open reservations remember by their fingerprints.
    fingerprints: usize,
    /// Own rates, aliases and markups.
    prices: PriceBook,
    /// The ids of credits and increases that no quota remembers any more.
    used_ids: UsedIds,
}

/// What the ledger knows of its tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Whose ledger it is.
    pub id: TenantId,
    /// The plan's name.
    pub plan: PlanName,
    /// The version of the policy that it was taken from.
    pub policy_version: u64,
    /// The rule for unknown models.
    pub unknown_model: UnknownModel,
    /// The rule for calls without a quota.
    pub without_quota: WithoutQuota,
    /// When it became known.
    pub created_at: Timestamp,
}

impl Ledger {
    /// An empty ledger, whose tenant is not known yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tenant, once it is onboarded.
    #[must_use]
    pub const fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// Own rates, aliases and markups.
    #[must_use]
    pub const fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// The instant to decide at, given what the clock says: never before the last entry. Where the clock [was set back](Self::is_set_back_by), the ledger has to
    /// [follow](Self::set_back) first.
    #[must_use]
    pub fn now(&self, clock: Timestamp) -> Timestamp {
        if fault::on(Fault::ClockRunsBackwards) { clock } else { self.clock.max(clock) }
    }

    /// A reservation that is open, or ended and still in memory.
    #[must_use]
    pub fn reservation(&self, id: &ReservationId) -> Option<&Reservation> {
        self.reservations.get(id)
    }

    /// Every quota, as it stands at an instant, in the order of their ids.
    pub fn quotas(&self, now: Timestamp) -> impl Iterator<Item = QuotaView<'_>> {
        self.quotas.iter().map(move |(id, state)| state.view(id, now))
    }

    /// One quota, as it stands at an instant.
    #[must_use]
    pub fn quota(&self, id: &QuotaId, now: Timestamp) -> Option<QuotaView<'_>> {
        let (id, state) = self.quotas.get_key_value(id)?;
        Some(state.view(id, now))
    }

    /// The quotas that a reservation counts on and that still count it, as they stand in the periods in which it does: a rolling
    /// window as it stands at an instant. One whose period is over and forgotten is left out.
    pub fn quotas_of<'a>(
        &'a self,
        reservation: &'a Reservation,
        now: Timestamp,
    ) -> impl Iterator<Item = QuotaView<'a>> {
        let places = self.places_of(reservation);
        let count = places.len();
        (0..count).filter_map(move |at| {
            let placement = places.get(at)?;
            let (id, state) = self.quotas.get_key_value_near(placement.hint.0, &placement.quota_id)?;
            state.view_of(id, placement, now)
        })
    }

    /// Whether a view is of the period that holds an instant, of what the quota counts now.
    #[must_use]
    pub fn shows_now(&self, view: &QuotaView<'_>, now: Timestamp) -> bool {
        self.quotas.get(view.id).is_some_and(|state| state.is_shown_by(view, now))
    }

    /// How many quotas there are.
    #[must_use]
    pub fn quota_count(&self) -> usize {
        self.quotas.len()
    }

    /// How many reservations are open.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.holds.len()
    }

    /// Every open reservation, by deadline and id.
    pub fn open_reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.open_reservations_after(None)
    }

    /// Those behind a place, which need not be one of an open reservation any more.
    pub fn open_reservations_after(&self, place: Option<&HoldPlace>) -> impl Iterator<Item = &Reservation> {
        self.holds.after(place).filter_map(|(_, id)| self.reservations.get(id))
    }

    /// Those behind a place that a filter lets through.
    pub fn filtered_reservations<'a>(
        &'a self,
        filter: &'a HoldsFilter,
        place: Option<&HoldPlace>,
    ) -> impl Iterator<Item = &'a Reservation> {
        self.open_reservations_after(place).filter(|reservation| filter.matches(reservation))
    }

    /// The earliest deadline of an open reservation.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.holds.first().map(|(deadline, _)| *deadline)
    }

    /// How many extensions and readings the open reservations remember by their fingerprints.
    #[must_use]
    pub const fn fingerprints(&self) -> usize {
        self.fingerprints
    }

    /// The number of the last entry; 0 before the first.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.seq
    }

    /// Decides a command and folds what it leads to into the state. The new entries are appended to `entries`.
    ///
    /// # Errors
    /// Why nothing happened.
    pub fn execute(
        &mut self,
        catalog: &Catalog,
        clock: Timestamp,
        command: &Command,
        entries: &mut Vec<Entry>,
    ) -> Result<Outcome, Rejection> {
        let decision = self.decide(catalog, clock, command);
        #[cfg(feature = "seeded-bugs")]
        if decision.is_err() && fault::on(Fault::DenialLeavesHold) {
            self.leave_a_hold(catalog, command);
        }
        let decision = decision?;
        self.commit(clock, decision.events, entries);
        Ok(decision.outcome)
    }

    /// What [`Fault::DenialLeavesHold`] does.
    #[cfg(feature = "seeded-bugs")]
    fn leave_a_hold(&mut self, catalog: &Catalog, command: &Command) {
        let Command::Reserve(request) = command else { return };
        let now = self.clock;
        let names = CallNames::new(&request.call, catalog, &self.prices, now);
        let first = self.applicable(&names).map(|(id, _)| id.clone()).next();
        if let Some((id, state)) = first.and_then(|id| Some((id.clone(), self.quotas.get_mut(&id)?))) {
            let start = state.placement(&id, &state.view(&id, now), now).period_start;
            if let Some(counter) = state.open_counter(start, now) {
                counter.held = counter.held.plus(crate::amount::Amount::ONE);
            }
        }
    }

    /// Ends holds whose deadline has passed, `most` of them at most, and says how many. The new entries are appended to `entries`.
    pub fn expire(&mut self, clock: Timestamp, most: usize, entries: &mut Vec<Entry>) -> usize {
        let mut ended = 0;
        let most = if fault::on(Fault::ExpirySkipsHolds) { 1 } else { most };
        while ended < most {
            let Some(events) = self.decide_expiry(clock) else { break };
            self.commit(clock, events, entries);
            ended += 1;
        }
        ended
    }

    /// Makes an event that no command leads to part of the ledger: what its owner did with what is stored. The new entry is appended to
    /// `entries`.
    pub fn note(&mut self, clock: Timestamp, event: Event, entries: &mut Vec<Entry>) {
        self.commit(clock, vec![event], entries);
    }

    fn commit(&mut self, clock: Timestamp, events: Vec<Event>, entries: &mut Vec<Entry>) {
        let at = self.now(clock);
        for event in events {
            let entry = Entry { seq: self.seq + 1, at, event };
            self.evolve(&entry);
            entries.push(entry);
        }
    }

    /// Brings an ended reservation back into memory, so that a repeat or a late settle finds it.
    pub fn recall(&mut self, reservation: Reservation) {
        if !reservation.is_open() {
            self.reservations.entry(reservation.id.clone()).or_insert(reservation);
        }
    }

    /// Lets go of an ended reservation and returns it. An open one stays.
    pub fn forget(&mut self, id: &ReservationId) -> Option<Reservation> {
        match self.reservations.entry(id.clone()) {
            Occupied(known) if !known.get().is_open() => Some(known.remove()),
            _ => None,
        }
    }

    /// Lets go of every ended reservation.
    pub fn forget_ended(&mut self) {
        self.reservations.retain(|_, reservation| reservation.is_open());
    }

    /// How many quotas a call can draw on, before their resources and filters are looked at.
    #[must_use]
    pub fn most_applicable(&self, call: &crate::call::Call) -> usize {
        let of_user = call.user_id.as_ref().and_then(|user| self.by_user.get(user)).map_or(0, Vec::len);
        self.tenant_wide.len().saturating_add(of_user)
    }

    /// The quotas that a call draws on.
    fn applicable<'a>(&'a self, names: &'a CallNames<'_>) -> impl Iterator<Item = (&'a QuotaId, &'a QuotaState)> {
        let of_user = names.call().user_id.as_ref().and_then(|user| self.by_user.get(user));
        self.tenant_wide
            .iter()
            .chain(of_user.into_iter().flatten())
            .filter_map(|place| self.quotas.at(*place))
            .filter(move |(_, state)| state.quota.applies_to(names))
    }
}
