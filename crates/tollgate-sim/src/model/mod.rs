//! The ledger as one would explain it: a list of reservations, a list of charges, and sums that are worked out from scratch whenever
//! somebody asks. Nothing of the core is used, neither its arithmetic nor its calendar.

mod admission;
pub mod amounts;
pub mod calendar;
mod charges;
mod funds;
mod holds;
pub mod prices;
mod render;
mod report;
mod rerate;
mod set_back;
pub mod words;

pub use admission::Denial;
pub use funds::CreditLeft;
pub use holds::Full;
pub use render::Expected;
pub use rerate::Rerated;

use std::collections::{BTreeMap, BTreeSet};

use admission::shrunk;
use amounts::{Amounts, Pico, Unit};
use calendar::{Period, SECOND};
use funds::{Credit, Draw, Raise};
use prices::{Document, Rates};
use words::{Actual, Call, Command, Definition, Estimate, OnExpiry, plan};

/// A quota that counts one thing, and the start of a period of it, or the instant at which a rolling window counts.
pub type Place = (u64, i64);

/// What a quota looks at: one period, or all instants from one on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The calendar period that starts there.
    Period(i64),
    /// The rolling window from this instant on.
    From(i64),
}

impl Span {
    const fn holds(self, start: i64) -> bool {
        match self {
            Self::Period(period) => period == start,
            Self::From(first) => start >= first,
        }
    }
}

/// How often one charge may be refunded.
const MAX_REFUNDS: usize = 32;

/// A tenant's budget, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// How many holds may be open, of the tenant and of a user, where that is not what ships.
    caps: Option<(usize, usize)>,
    /// When anything last happened.
    last: i64,
    /// How often anything has happened.
    changes: usize,
    /// Which plan applies. None before the tenant is onboarded.
    plan: Option<usize>,
    quotas: BTreeMap<String, Quota>,
    reservations: BTreeMap<String, Reservation>,
    /// Counts the charges and resets, to tell which came first.
    moment: usize,
    /// Periods that were reset, and when.
    resets: Vec<(Span, u64, usize)>,
    warned: BTreeMap<Place, BTreeSet<Pico>>,
    /// Every threshold that was ever crossed: `quota thousandths period-start`.
    crossings: Vec<String>,
    /// Periods that something was counted in, by quota.
    counted: BTreeMap<u64, BTreeSet<i64>>,
    /// Periods that are over, unless the clock is set back: nothing was held in them when something was first counted in a later one.
    over: BTreeSet<Place>,
    /// The latest period that has come and been counted in, by quota.
    current: BTreeMap<u64, i64>,
    /// How often the clock was set back.
    steps_back: usize,
    /// By how much a quota's period may pass its limit: overruns, records that mind no limit, and limits that were lowered.
    overruns: BTreeMap<Place, Pico>,
    /// What was paid for in advance.
    credits: Vec<Credit>,
    /// Who has drawn on that.
    draws: Vec<Draw>,
    /// Limits that are higher for a while, or were.
    raises: Vec<Raise>,
    /// What a period had been left by the one before when something was first counted in it.
    carried: BTreeMap<Place, Pico>,
    /// Own rates, other names and markups.
    overrides: Document,
    /// How often they were changed.
    overrides_version: u64,
    /// Quotas get another number whenever they start to count something else.
    identities: u64,
}

/// A quota that exists.
#[derive(Clone, Debug)]
pub struct Quota {
    /// What it says.
    pub definition: Definition,
    /// What it counts.
    pub identity: u64,
    from_plan: bool,
    /// Since when its periods leave something to the next.
    rolls_since: Option<i64>,
}

/// A reservation or a record.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// What opened it.
    opening: Command,
    /// What it is for.
    pub call: Call,
    /// The model that this meant when it was opened.
    meant: words::Model,
    counted_on: Vec<Place>,
    /// What it holds, or held last.
    pub held: Amounts,
    input: Amounts,
    /// The estimate that its hold comes from.
    pub estimate: Option<Estimate>,
    /// Whether that is less than was asked for.
    granted: bool,
    /// The rates that it was priced by.
    rates: Rates,
    /// When it was opened.
    pub created_at: i64,
    /// When it ends by itself.
    pub expires_at: i64,
    extensions: Vec<Command>,
    /// The readings that were charged, by their keys.
    readings: Vec<(String, Actual)>,
    /// What they come to.
    pub metered: Option<Amounts>,
    knows_sandbox: bool,
    /// What became of it.
    pub state: State,
    reported: Option<Actual>,
    /// What counts of its charge: what it cost, without what was refunded.
    pub charged: Amounts,
    /// What it cost.
    pub cost: Pico,
    /// What counted of it from each moment on.
    counted: Vec<(usize, Amounts)>,
    /// What was taken back of it, by whom it was asked for.
    refunds: Vec<(Command, Pico)>,
    /// Whether its actual charge came after its end.
    pub late: bool,
    /// How often anything had happened when its charge was made; None once nobody can read that any more.
    charged_in: Option<usize>,
    /// Under which ids its charge was adjusted.
    adjusted: Vec<String>,
    /// Whether only its id is left.
    pub is_archived: bool,
}

/// What became of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It still holds.
    Held,
    /// It was replaced by a charge.
    Settled,
    /// It ended without one.
    Released,
    /// It ended by itself.
    Expired,
    /// It never held.
    Recorded,
}

/// How a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It was done before.
    Replayed,
    /// It does not fit.
    Denied(Denial),
    /// There are too many holds.
    Full(Full),
    /// So many holds are released, and so many more are meant.
    ReleasedMany(usize, usize),
    /// It is refused with this status and code.
    Refused(u16, &'static str),
    /// It asked, and this is the answer.
    Explained(Result<(), Denial>),
    /// It is answered with what is there.
    Told,
}

const TENANT_NOT_FOUND: Verdict = Verdict::Refused(404, "tenant_not_found");
const RESERVATION_NOT_FOUND: Verdict = Verdict::Refused(404, "reservation_not_found");
const NOT_FOUND: Verdict = Verdict::Refused(404, "not_found");
const QUOTA_NOT_FOUND: Verdict = Verdict::Refused(404, "quota_not_found");
const ARCHIVED: Verdict = Verdict::Refused(410, "archived");
const STILL_HELD: Verdict = Verdict::Refused(409, "still_held");
const CONFLICT: Verdict = Verdict::Refused(409, "idempotency_conflict");
const UNPRICED: Verdict = Verdict::Refused(422, "unpriced");
const CREDITS_LEFT: Verdict = Verdict::Refused(409, "credits_left");
const INVALID: Verdict = Verdict::Refused(400, "invalid_request");

impl State {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Recorded => "recorded",
        }
    }

    const fn has_ended(self) -> Verdict {
        match self {
            Self::Settled | Self::Recorded | Self::Held => Verdict::Refused(409, "already_settled"),
            Self::Released => Verdict::Refused(409, "already_released"),
            Self::Expired => Verdict::Refused(409, "already_expired"),
        }
    }
}

impl Model {
    /// One with other caps on open holds, of the tenant and of a user, than those that ship.
    #[must_use]
    pub fn with_caps(caps: Option<(usize, usize)>) -> Self {
        Self { caps, ..Self::default() }
    }

    /// The instant at which something happens, given what the clock says.
    #[must_use]
    pub fn now(&self, clock: i64) -> i64 {
        self.last.max(clock)
    }

    /// How often own rates, other names and markups were changed.
    #[must_use]
    pub const fn overrides_version(&self) -> u64 {
        self.overrides_version
    }

    /// How often the clock was set back.
    #[must_use]
    pub const fn steps_back(&self) -> usize {
        self.steps_back
    }

    /// How often anything has happened.
    #[must_use]
    pub const fn changes(&self) -> usize {
        self.changes
    }

    /// Every quota by its id.
    #[must_use]
    pub const fn quotas(&self) -> &BTreeMap<String, Quota> {
        &self.quotas
    }

    /// Every reservation and record by its id.
    #[must_use]
    pub const fn reservations(&self) -> &BTreeMap<String, Reservation> {
        &self.reservations
    }

    /// Every threshold that was crossed, in order.
    #[must_use]
    pub fn crossings(&self) -> &[String] {
        &self.crossings
    }

    /// When the first open hold ends by itself.
    #[must_use]
    pub fn next_deadline(&self) -> Option<i64> {
        self.open().map(|(_, open)| open.expires_at).min()
    }

    /// How many holds are open.
    #[must_use]
    pub fn open_holds(&self) -> usize {
        self.open().count()
    }

    /// The next instant at which a quota's period ends.
    #[must_use]
    pub fn next_boundary(&self, clock: i64) -> Option<i64> {
        let now = self.now(clock);
        // A rolling window has room where something leaves it.
        let leaves = self.quotas.values().filter_map(|quota| match quota.definition.period {
            Period::Rolling(seconds) => {
                let counted = self.counted.get(&quota.identity)?;
                counted.iter().map(|at| at + seconds * SECOND).find(|leaves| *leaves > now)
            }
            _ => quota.definition.around(now).1,
        });
        leaves.min()
    }

    /// What was spent in a span, in the quota's unit: what each call comes to beyond what it had come to at the last reset.
    #[must_use]
    pub fn spent(&self, quota: &Quota, span: Span) -> Pico {
        let unit = quota.definition.unit;
        let counts = |(identity, start): &&Place| *identity == quota.identity && span.holds(*start);
        let calls = self.reservations.values().filter(|known| known.charged != Amounts::default());
        let places = calls.flat_map(|known| known.counted_on.iter().filter(counts).map(move |place| (known, *place)));
        places.map(|(known, place)| self.counted_of(known, place, unit)).sum()
    }

    /// What a quota counts of a call.
    fn counted_of(&self, known: &Reservation, place: Place, unit: Unit) -> Pico {
        (unit.spent(&known.charged) - unit.spent(&known.before(self.last_reset(place)))).max(0)
    }

    /// What is held in a span, in the quota's unit.
    #[must_use]
    pub fn held(&self, quota: &Quota, span: Span) -> Pico {
        let counts = |(identity, start): &Place| *identity == quota.identity && span.holds(*start);
        let open = self.open().filter(|(_, open)| open.counted_on.iter().any(counts));
        open.map(|(_, open)| quota.definition.unit.resting(&open.held, open.metered)).sum()
    }

    /// The thousandths of a quota's limit that were reached in a span.
    #[must_use]
    pub fn warned(&self, quota: &Quota, span: Span) -> BTreeSet<Pico> {
        let within = self.warned.iter().filter(|(place, _)| place.0 == quota.identity && span.holds(place.1));
        within.flat_map(|(_, thousandths)| thousandths).copied().collect()
    }

    /// By how much a span may pass its quota's limit.
    #[must_use]
    pub fn overruns(&self, quota: &Quota, span: Span) -> Pico {
        let within = self.overruns.iter().filter(|(place, _)| place.0 == quota.identity && span.holds(place.1));
        within.map(|(_, above)| above).sum()
    }

    /// The span in which a place counts now. None where its period is over and forgotten, or it has left the window.
    fn span_of(&self, quota: &Quota, place: Place, now: i64) -> Option<Span> {
        let span = match quota.definition.period {
            Period::Rolling(_) => quota.definition.span(now),
            _ => Span::Period(place.1),
        };
        (span.holds(place.1) && !self.over.contains(&place)).then_some(span)
    }

    /// When a place was last reset.
    fn last_reset(&self, (identity, start): Place) -> Option<usize> {
        let resets = self.resets.iter().filter(|(span, of, _)| *of == identity && span.holds(start));
        resets.map(|(_, _, moment)| *moment).max()
    }

    fn next_moment(&mut self) -> usize {
        self.moment += 1;
        self.moment
    }

    /// Follows the clock, and ends the holds and credits whose time is up, in the order of time, holds first.
    pub fn expire(&mut self, clock: i64) {
        self.follow(clock);
        let now = self.now(clock);
        self.allow_what_is_used(now);
        loop {
            let due = self.open().map(|(id, open)| (open.expires_at, id.clone())).min();
            let due = due.filter(|(at, _)| *at <= now);
            let lapse = self.next_lapse().filter(|at| *at <= now);
            match (due, lapse) {
                (Some((at, id)), lapse) if lapse.is_none_or(|lapse| at <= lapse) => self.expire_hold(&id, now),
                (_, Some(_)) => self.lapse(now),
                _ => return,
            }
            self.last = now;
            self.changes += 1;
        }
    }

    fn expire_hold(&mut self, id: &str, now: i64) {
        let Some(known) = self.reservations.get_mut(id) else { return };
        let Command::Reserve { on_expiry, .. } = &known.opening else { return };
        let (held, metered) = (known.held, known.metered);
        let charged = match on_expiry {
            OnExpiry::Release => Amounts::default(),
            OnExpiry::ChargeInput => known.input,
            OnExpiry::ChargeHold => known.held,
        };
        known.state = State::Expired;
        // Never less than what it has used so far.
        let charged = charged.at_least(known.charged);
        known.charged_in = Some(self.changes);
        self.charge_to(id, charged, &|unit| unit.resting(&held, metered), now);
    }

    /// What a command is answered, which is then so.
    pub fn carry_out(&mut self, clock: i64, command: &Command) -> Verdict {
        let now = self.now(clock);
        let verdict = match command {
            Command::Onboard(which) => self.onboard(*which, now),
            _ if self.plan.is_none() => TENANT_NOT_FOUND,
            _ if self.is_archived(command) => ARCHIVED,
            Command::PutQuota(_, definition) if !definition.is_right() => INVALID,
            Command::PutQuota(id, definition) => {
                let known = self.quotas.get(id);
                if known.is_some_and(|known| known.definition == *definition && !known.from_plan) {
                    Verdict::Replayed
                } else if known.is_some_and(|known| {
                    !known.definition.counts_the_same_as(definition) && self.has_credit_left(known, now)
                }) {
                    INVALID
                } else {
                    self.set_quota(id, definition, false, now);
                    Verdict::Done
                }
            }
            Command::DeleteQuota(id, forfeit) => match self.quotas.get(id) {
                None => QUOTA_NOT_FOUND,
                Some(quota) if !forfeit && self.has_credit_left(quota, now) => CREDITS_LEFT,
                Some(_) => {
                    self.quotas.remove(id);
                    Verdict::Done
                }
            },
            Command::ResetQuota(id) => self.reset_quota(id, now),
            Command::AddCredit(id, credit) => self.add_credit(id, credit, now),
            Command::RevokeCredit(id, credit) => self.revoke_credit(id, credit, now),
            Command::Increase(id, increase) => self.increase(id, increase, now),
            Command::EndIncrease(id, increase) => self.end_increase(id, increase, now),
            Command::PutOverrides(document) => self.put_overrides(document),
            Command::Reserve { .. } => self.reserve(command, now),
            Command::Extend { .. } => self.extend(command, now),
            Command::Meter { id, reading, actual } => self.meter(id, reading, *actual, now),
            Command::Settle { id, actual } => self.settle(id, *actual, now),
            Command::Release { id } => self.release(id),
            Command::Record { .. } => self.record(command, now),
            Command::Refund { id, usd, .. } => self.refund(command, id, *usd, now),
            Command::ReleaseHolds { user, touchpoint, opened_before } => {
                self.release_holds(*user, *touchpoint, *opened_before)
            }
            Command::Explain { call, estimate } => match (self.full(call.user), self.rates(call, now).bound(*estimate))
            {
                (Some(full), _) => Verdict::Full(full),
                (None, None) => UNPRICED,
                (None, Some((held, _))) => Verdict::Explained(self.admit(call, &held, true, now).map(|_| ())),
            },
            Command::GetReservation { id } if !self.reservations.contains_key(id) => RESERVATION_NOT_FOUND,
            Command::GetReservation { .. } | Command::ListHolds { .. } | Command::ListQuotas | Command::Usage(_) => {
                Verdict::Told
            }
        };
        if matches!(verdict, Verdict::Done | Verdict::ReleasedMany(1.., _)) {
            self.last = now;
            self.changes += 1;
        }
        verdict
    }

    /// Entries were dropped, and of these reservations only the ids are left. `still_told` says of which reservations' charges there is still
    /// an entry.
    ///
    /// # Errors
    /// One of them may still change, and its entries are needed.
    pub fn archive(&mut self, clock: i64, ids: &[String], still_told: &BTreeSet<String>) -> Result<(), String> {
        for (_, known) in self.reservations.iter_mut().filter(|(id, _)| !still_told.contains(*id)) {
            known.charged_in = None;
        }
        self.note(clock);
        for id in ids {
            let reservation =
                self.reservations.get_mut(id).ok_or_else(|| format!("{id} is archived, and was never there"))?;
            let is_final = match reservation.state {
                State::Held => false,
                State::Expired => reservation.late,
                State::Settled | State::Released | State::Recorded => true,
            };
            if !is_final {
                return Err(format!("{id} is archived, and can still change"));
            }
            reservation.is_archived = true;
        }
        Ok(())
    }

    /// An entry tells of something that changes nothing that counts.
    pub fn note(&mut self, clock: i64) {
        self.follow(clock);
        self.last = self.now(clock);
        self.changes += 1;
    }

    fn is_archived(&self, command: &Command) -> bool {
        let known = command.subject().and_then(|id| self.reservations.get(id));
        known.is_some_and(|known| known.is_archived)
    }

    fn open(&self) -> impl Iterator<Item = (&String, &Reservation)> {
        self.reservations.iter().filter(|(_, reservation)| reservation.state == State::Held)
    }

    /// The rates of a reservation: those of when its hold was priced, or, where the hold is an amount, what holds now for when it was made.
    fn rates_of(&self, known: &Reservation) -> Rates {
        if matches!(known.estimate, Some(Estimate::Usd(_))) {
            self.rates(&known.call, known.created_at)
        } else {
            known.rates
        }
    }

    fn rates(&self, call: &Call, at: i64) -> Rates {
        let fallback = self.plan.and_then(|which| plan(which).fallback);
        Rates::of(call, at, &self.overrides, fallback)
    }

    fn put_overrides(&mut self, document: &Document) -> Verdict {
        if self.overrides == *document {
            return Verdict::Told;
        }
        self.overrides = document.clone();
        self.overrides_version += 1;
        Verdict::Done
    }

    fn onboard(&mut self, which: usize, now: i64) -> Verdict {
        let plan = plan(which);
        let mut changed = self.plan.replace(which) != Some(which);
        let quotas = self.quotas.len();
        self.quotas.retain(|id, quota| !quota.from_plan || plan.quotas.iter().any(|(planned, _)| planned == id));
        changed |= quotas != self.quotas.len();
        for (id, definition) in &plan.quotas {
            match self.quotas.get(id) {
                Some(quota) if !quota.from_plan || quota.definition == *definition => {}
                _ => {
                    self.set_quota(id, definition, true, now);
                    changed = true;
                }
            }
        }
        if changed { Verdict::Done } else { Verdict::Replayed }
    }

    fn set_quota(&mut self, id: &str, definition: &Definition, from_plan: bool, now: i64) {
        let kept = self.quotas.get(id).filter(|quota| quota.definition.counts_the_same_as(definition));
        let identity = kept.map_or(self.identities + 1, |quota| quota.identity);
        self.identities = self.identities.max(identity);
        let since = kept.and_then(|quota| quota.rolls_since);
        let rolls_since = definition.rollover.map(|_| since.unwrap_or(now));
        let quota = Quota { definition: definition.clone(), identity, from_plan, rolls_since };
        self.quotas.insert(id.to_owned(), quota);
        self.limit_changes(identity, now);
    }

    fn reset_quota(&mut self, id: &str, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let (identity, span) = match quota.definition.period {
            Period::Rolling(_) => (quota.identity, Span::From(i64::MIN)),
            _ => (quota.identity, quota.definition.span(now)),
        };
        let moment = self.next_moment();
        self.resets.push((span, identity, moment));
        self.warned.retain(|place, _| place.0 != identity || !span.holds(place.1));
        self.give_back_all_but_holds(identity);
        // Room that a correction had freed was paid for by a credit, and goes with it; a hold may have taken it.
        self.allow_what_is_used(now);
        Verdict::Done
    }

    fn reserve(&mut self, command: &Command, now: i64) -> Verdict {
        let Command::Reserve { id, call, estimate, ttl_seconds, shrink, .. } = command else { return INVALID };
        if let Some(known) = self.reservations.get(id) {
            return if known.opening == *command { Verdict::Replayed } else { CONFLICT };
        }
        if let Some(full) = self.full(call.user) {
            return Verdict::Full(full);
        }
        let rates = self.rates(call, now);
        let Some((mut held, mut input)) = rates.bound(*estimate) else { return UNPRICED };
        let mut estimate = *estimate;
        let mut granted = false;
        let counted_on = match self.admit(call, &held, true, now) {
            Ok(counted_on) => counted_on,
            Err(denial) => {
                let smaller = if *shrink { shrunk(estimate, &input, &denial, &rates) } else { None };
                let Some(smaller) = smaller else { return Verdict::Denied(denial) };
                let Some((less, part)) = rates.bound(smaller) else { return UNPRICED };
                (held, input, estimate, granted) = (less, part, smaller, true);
                match self.admit(call, &held, true, now) {
                    Ok(counted_on) => counted_on,
                    Err(denial) => return Verdict::Denied(denial),
                }
            }
        };
        self.count(&counted_on);
        self.draw(&counted_on, id, &|unit, _| unit.held(&held), now);
        let reservation = Reservation {
            opening: command.clone(),
            call: *call,
            meant: self.overrides.meant(call.model, now),
            counted_on,
            held,
            input,
            estimate: Some(estimate),
            granted,
            rates,
            created_at: now,
            expires_at: now + i64::from(*ttl_seconds) * SECOND,
            extensions: Vec::new(),
            knows_sandbox: matches!(estimate, Estimate::Seconds(_)),
            state: State::Held,
            reported: None,
            charged: Amounts::default(),
            cost: 0,
            counted: Vec::new(),
            refunds: Vec::new(),
            late: false,
            readings: Vec::new(),
            metered: None,
            charged_in: None,
            adjusted: Vec::new(),
            is_archived: false,
        };
        self.reservations.insert(id.clone(), reservation);
        Verdict::Done
    }

    fn extend(&mut self, command: &Command, now: i64) -> Verdict {
        let Command::Extend { id, extension, ttl_seconds, estimate } = command else { return INVALID };
        let Some(known) = self.reservations.get(id) else { return RESERVATION_NOT_FOUND };
        let is_named =
            |earlier: &&Command| matches!(earlier, Command::Extend { extension: named, .. } if named == extension);
        if let Some(earlier) = known.extensions.iter().find(is_named) {
            return if earlier == command { Verdict::Replayed } else { CONFLICT };
        }
        if known.state != State::Held {
            return known.state.has_ended();
        }
        if ttl_seconds.is_none() && estimate.is_none() {
            return INVALID;
        }
        let mut grown = None;
        if let Some(estimate) = estimate {
            let rates = self.rates_of(known);
            let Some((held, input)) = rates.bound(*estimate) else { return UNPRICED };
            let metered = known.metered;
            if metered.is_some_and(|metered| held.usd < metered.usd) {
                return INVALID;
            }
            // It may also be less; what is less needs no room.
            let counting = known.counted_on.iter().filter_map(|place| {
                let (id, quota) = self.quotas.iter().find(|(_, quota)| quota.identity == place.0)?;
                let unit = quota.definition.unit;
                let spent = metered.map_or(0, |metered| unit.spent(&metered));
                let (whole, own) = (unit.resting(&held, metered), unit.resting(&known.held, metered));
                if whole <= own {
                    return None;
                }
                let (whole, own) = (whole + spent, own + spent);
                // What has left a rolling window comes back into it as it grows.
                match self.span_of(quota, *place, now) {
                    Some(span) => Some((id, quota, span, whole - own, own)),
                    None if matches!(quota.definition.period, Period::Rolling(_)) => {
                        Some((id, quota, quota.definition.span(now), whole, 0))
                    }
                    None => None,
                }
            });
            if let Some(denial) = self.denial(counting, now) {
                return Verdict::Denied(denial);
            }
            grown = Some((held, input, *estimate, rates));
        }
        if let Some((held, ..)) = grown {
            let (counted_on, before, metered) = (known.counted_on.clone(), known.held, known.metered);
            let more = |unit: Unit, _| unit.resting(&held, metered) - unit.resting(&before, metered);
            self.draw(&counted_on, id, &more, now);
            self.move_grown(id, &held, now);
        }
        let Some(known) = self.reservations.get_mut(id) else { return RESERVATION_NOT_FOUND };
        if let Some((held, input, estimate, rates)) = grown {
            (known.held, known.input, known.estimate, known.rates) = (held, input, Some(estimate), rates);
            known.knows_sandbox |= matches!(estimate, Estimate::Seconds(_));
        }
        if let Some(seconds) = ttl_seconds {
            known.expires_at = known.expires_at.max(now + i64::from(*seconds) * SECOND);
        }
        known.extensions.push(command.clone());
        Verdict::Done
    }

    /// What grows counts in rolling windows from when room was found for it.
    fn move_grown(&mut self, id: &str, grown: &Amounts, now: i64) {
        let Some(known) = self.reservations.get(id) else { return };
        let metered = known.metered;
        let moves = |place: &Place| {
            self.quotas.values().any(|quota| {
                let unit = quota.definition.unit;
                quota.identity == place.0
                    && matches!(quota.definition.period, Period::Rolling(_))
                    && unit.resting(grown, metered) > unit.resting(&known.held, metered)
            })
        };
        let counted_on = known.counted_on.clone();
        let moving: Vec<Place> = counted_on.iter().filter(|place| moves(place)).copied().collect();
        // What it was charged so far goes along.
        for place in &moving {
            self.counted.entry(place.0).or_default().insert(now);
        }
        if let Some(known) = self.reservations.get_mut(id) {
            let move_one = |place: Place| if moving.contains(&place) { (place.0, now) } else { place };
            known.counted_on = counted_on.into_iter().map(move_one).collect();
        }
    }

    fn settle(&mut self, id: &str, actual: Actual, now: i64) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return RESERVATION_NOT_FOUND };
        match (known.state, known.reported) {
            (State::Settled | State::Expired, Some(reported)) => {
                return if reported == actual { Verdict::Replayed } else { CONFLICT };
            }
            (State::Released | State::Recorded, _) => return known.state.has_ended(),
            _ => {}
        }
        let cost = match self.cost_of(known, actual) {
            Ok(cost) => cost,
            Err(refused) => return refused,
        };
        let was_open = known.state == State::Held;
        let held = known.held;
        let metered = known.metered;
        let cost = match actual {
            // An amount does not say how many tokens or seconds there were.
            Actual::Usd(usd) => Amounts { usd, ..known.held },
            // What was not seen may have cost all that was held.
            Actual::Incomplete { .. } => {
                let (usd, tokens) = (cost.usd.max(known.held.usd), cost.tokens.max(known.held.tokens));
                Amounts { usd, tokens, ..cost }
            }
            Actual::Usage { .. } | Actual::Seconds(_) => cost,
        };
        let Some(known) = self.reservations.get_mut(id) else { return RESERVATION_NOT_FOUND };
        known.reported = Some(actual);
        known.charged_in = Some(self.changes);
        if was_open {
            known.state = State::Settled;
            self.charge_to(id, cost, &|unit| unit.resting(&held, metered), now);
        } else {
            known.late = true;
            self.charge_to(id, cost, &|_| 0, now);
        }
        Verdict::Done
    }

    /// A reading says what was used since the beginning. What it says beyond the one before is charged now.
    fn meter(&mut self, id: &str, reading: &str, actual: Actual, now: i64) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return RESERVATION_NOT_FOUND };
        if let Some((_, earlier)) = known.readings.iter().find(|(named, _)| named == reading) {
            return if *earlier == actual { Verdict::Replayed } else { CONFLICT };
        }
        if known.state != State::Held {
            return known.state.has_ended();
        }
        let cost = match self.cost_of(known, actual) {
            Ok(cost) => cost,
            Err(refused) => return refused,
        };
        if known.metered.is_some_and(|metered| cost.usd <= metered.usd) {
            // A later one overtook it.
            return Verdict::Told;
        }
        // What was seen of one unit is not unseen by a reading in another.
        let (metered, before) = (cost.at_least(known.charged), known.metered);
        let Some(known) = self.reservations.get_mut(id) else { return RESERVATION_NOT_FOUND };
        known.readings.push((reading.to_owned(), actual));
        known.charged_in = Some(self.changes);
        let held = known.held;
        let moved = |unit: Unit| unit.resting(&held, before) - unit.resting(&held, Some(metered));
        self.charge_to(id, metered, &moved, now);
        if let Some(known) = self.reservations.get_mut(id) {
            known.metered = Some(metered);
        }
        self.forget_what_it_drew(id);
        Verdict::Done
    }

    /// What a reservation's call comes to by the rates that it was reserved with.
    fn cost_of(&self, known: &Reservation, actual: Actual) -> Result<Amounts, Verdict> {
        if matches!(actual, Actual::Seconds(_)) && !known.knows_sandbox {
            return Err(INVALID);
        }
        self.rates_of(known).cost(actual).ok_or(UNPRICED)
    }

    fn release(&mut self, id: &str) -> Verdict {
        match self.reservations.get_mut(id) {
            None => RESERVATION_NOT_FOUND,
            Some(known) if known.state == State::Held => {
                known.state = State::Released;
                let (counted_on, held, metered) = (known.counted_on.clone(), known.held, known.metered);
                let created_at = known.created_at;
                for place in &counted_on {
                    if let Some(quota) = self.quotas.values().find(|quota| quota.identity == place.0) {
                        let freed = quota.definition.unit.resting(&held, metered);
                        self.return_what_is_not_spent(place.0, id, freed, created_at);
                    }
                }
                Verdict::Done
            }
            Some(known) if known.state == State::Released => Verdict::Replayed,
            Some(known) => known.state.has_ended(),
        }
    }

    fn record(&mut self, command: &Command, now: i64) -> Verdict {
        let Command::Record { id, call, actual, within_limit } = command else { return INVALID };
        if let Some(known) = self.reservations.get(id) {
            return if known.opening == *command { Verdict::Replayed } else { CONFLICT };
        }
        let rates = self.rates(call, now);
        let Some(cost) = rates.cost(*actual) else { return UNPRICED };
        let counted_on = if *within_limit {
            match self.admit(call, &cost, false, now) {
                Ok(counted_on) => counted_on,
                Err(denial) => return Verdict::Denied(denial),
            }
        } else {
            let covering = self.quotas.values().filter(|quota| quota.definition.covers(call, &self.overrides, now));
            let places: Vec<Place> = covering.map(|quota| (quota.identity, quota.definition.place(now))).collect();
            for place in &places {
                self.overrun(*place, &|unit| unit.spent(&cost));
            }
            places
        };
        self.count(&counted_on);
        let places = counted_on.clone();
        let reservation = Reservation {
            opening: command.clone(),
            call: *call,
            meant: self.overrides.meant(call.model, now),
            counted_on,
            held: Amounts::default(),
            input: Amounts::default(),
            estimate: None,
            granted: false,
            rates,
            created_at: now,
            expires_at: now,
            extensions: Vec::new(),
            knows_sandbox: false,
            state: State::Recorded,
            reported: Some(*actual),
            charged: cost,
            cost: cost.usd,
            counted: vec![(self.next_moment(), cost)],
            refunds: Vec::new(),
            late: false,
            readings: Vec::new(),
            metered: None,
            charged_in: Some(self.changes),
            adjusted: Vec::new(),
            is_archived: false,
        };
        self.reservations.insert(id.clone(), reservation);
        self.draw(&places, id, &|unit, _| unit.spent(&cost), now);
        self.warn(&places, now);
        Verdict::Done
    }

    /// Takes back a charge, or a part of it.
    fn refund(&mut self, command: &Command, id: &str, usd: Option<Pico>, now: i64) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return RESERVATION_NOT_FOUND };
        if known.state == State::Held {
            return STILL_HELD;
        }
        if let Some((earlier, _)) = known.refunds.iter().find(|(earlier, _)| earlier.part() == command.part()) {
            return if earlier == command { Verdict::Replayed } else { CONFLICT };
        }
        let left = known.charged.usd;
        let usd = usd.unwrap_or(left);
        if usd <= 0 || usd > left || known.refunds.len() >= MAX_REFUNDS {
            return INVALID;
        }
        let Some(known) = self.reservations.get_mut(id) else { return RESERVATION_NOT_FOUND };
        known.refunds.push((command.clone(), usd));
        let cost = Amounts { usd: known.cost, ..known.charged };
        self.charge_to(id, cost, &|_| 0, now);
        Verdict::Done
    }
}

impl Reservation {
    /// What counted of it before a moment.
    fn before(&self, moment: Option<usize>) -> Amounts {
        let earlier = self.counted.iter().rev().find(|(since, _)| moment.is_some_and(|moment| *since < moment));
        earlier.map(|(_, amounts)| *amounts).unwrap_or_default()
    }

    /// What counts of a cost of so much.
    fn after_refunds(&self, cost: Pico) -> Pico {
        (cost - self.refunds.iter().map(|(_, usd)| usd).sum::<Pico>()).max(0)
    }
}
