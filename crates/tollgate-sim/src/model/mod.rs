//! The ledger as one would explain it: a list of reservations, a list of charges, and sums that are worked out from scratch whenever
//! somebody asks. Nothing of the core is used, neither its arithmetic nor its calendar.

pub mod amounts;
pub mod calendar;
mod funds;
mod render;
pub mod words;

pub use funds::CreditLeft;
pub use render::Expected;

use std::collections::{BTreeMap, BTreeSet};

use amounts::{Amounts, ONE, Pico, Unit};
use calendar::{Period, SECOND};
use funds::{Credit, Draw, Raise};
use words::{Actual, Call, Command, Definition, Estimate, Fallback, OnExpiry, plan};

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

/// How many of a hold's extensions and of its readings are remembered.
const REMEMBERED_EXTENSIONS: usize = 8;

/// A tenant's budget, and what became of it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// When anything last happened.
    last: i64,
    /// How often anything has happened.
    changes: usize,
    /// Which plan applies. None before the tenant is onboarded.
    plan: Option<usize>,
    quotas: BTreeMap<String, Quota>,
    reservations: BTreeMap<String, Reservation>,
    /// Everything that was charged, in order.
    charges: Vec<(Place, Amounts)>,
    /// Periods that were reset, with how many charges there were before.
    resets: Vec<(Span, u64, usize)>,
    warned: BTreeMap<Place, BTreeSet<Pico>>,
    /// Every threshold that was ever crossed: `quota thousandths period-start`.
    crossings: Vec<String>,
    /// Periods that something was counted in, by quota.
    counted: BTreeMap<u64, BTreeSet<i64>>,
    /// Periods that are over for good: nothing was held in them when something was first counted in a later one.
    over: BTreeSet<Place>,
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
    counted_on: Vec<Place>,
    /// What it holds, or held last.
    pub held: Amounts,
    input: Amounts,
    /// The estimate that its hold comes from.
    pub estimate: Option<Estimate>,
    /// Whether that is less than was asked for.
    granted: bool,
    /// The rates of unknown models when it was opened.
    fallback: Fallback,
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
    /// What it was charged.
    pub charged: Amounts,
    /// Whether its actual charge came after its end.
    pub late: bool,
    /// How many charges there were when it was first charged. What a reset drops of that is not given back.
    first_charged: Option<usize>,
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
    /// It is refused with this status and code.
    Refused(u16, &'static str),
    /// It asked, and this is the answer.
    Explained(Result<(), Denial>),
    /// It is answered with what is there.
    Told,
}

/// The quotas that did not fit, the one that ends last first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    tight: Vec<Tight>,
    /// The dollars that were left, where dollars were short.
    usd: Option<Pico>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tight {
    id: String,
    /// What was set.
    limit: Pico,
    /// What is in force.
    effective: Pico,
    spent: Pico,
    held: Pico,
    /// What of it is the caller's own already.
    own: Pico,
    end: Option<i64>,
    resets_at: Option<i64>,
    unit: Unit,
}

impl Tight {
    fn left(&self) -> Pico {
        (self.effective - self.spent - self.held).max(0)
    }
}

const TENANT_NOT_FOUND: Verdict = Verdict::Refused(404, "tenant_not_found");
const RESERVATION_NOT_FOUND: Verdict = Verdict::Refused(404, "reservation_not_found");
const NOT_FOUND: Verdict = Verdict::Refused(404, "not_found");
const QUOTA_NOT_FOUND: Verdict = Verdict::Refused(404, "quota_not_found");
const ARCHIVED: Verdict = Verdict::Refused(410, "archived");
const CONFLICT: Verdict = Verdict::Refused(409, "idempotency_conflict");
const UNPRICED: Verdict = Verdict::Refused(422, "unpriced");
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
    /// The instant at which something happens, given what the clock says.
    #[must_use]
    pub fn now(&self, clock: i64) -> i64 {
        self.last.max(clock)
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

    /// What was spent in a span, in the quota's unit: the charges since the last reset.
    #[must_use]
    pub fn spent(&self, quota: &Quota, span: Span) -> Pico {
        let charges = self.charges.iter().enumerate().filter(|(number, ((identity, start), _))| {
            *identity == quota.identity && span.holds(*start) && *number >= self.reset_before((*identity, *start))
        });
        charges.map(|(_, (_, amounts))| quota.definition.unit.spent(amounts)).sum()
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

    /// How many charges there were when a place was last reset.
    fn reset_before(&self, (identity, start): Place) -> usize {
        let resets = self.resets.iter().filter(|(span, of, _)| *of == identity && span.holds(start));
        resets.map(|(_, _, after)| *after).max().unwrap_or(0)
    }

    /// All that was ever charged, and for how many calls.
    #[must_use]
    pub fn total(&self) -> (Pico, Pico) {
        let sum = self.reservations.values().fold(Amounts::default(), |sum, reservation| sum + reservation.charged);
        (sum.usd, sum.requests / ONE)
    }

    /// Ends the holds and credits whose time is up, in the order of time, holds first.
    pub fn expire(&mut self, clock: i64) {
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
        let charged = match on_expiry {
            OnExpiry::Release => Amounts::default(),
            OnExpiry::ChargeInput => known.input,
            OnExpiry::ChargeHold => known.held,
        };
        known.state = State::Expired;
        // Never less than what it has used so far.
        let charged = charged.at_least(known.charged);
        self.charge_to(id, charged, &Unit::resting, now);
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
            Command::DeleteQuota(id) => self.quotas.remove(id).map_or(QUOTA_NOT_FOUND, |_| Verdict::Done),
            Command::ResetQuota(id) => self.reset_quota(id, now),
            Command::AddCredit(id, credit) => self.add_credit(id, credit, now),
            Command::RevokeCredit(id, credit) => self.revoke_credit(id, credit, now),
            Command::Increase(id, increase) => self.increase(id, increase, now),
            Command::EndIncrease(id, increase) => self.end_increase(id, increase, now),
            Command::Reserve { .. } => self.reserve(command, now),
            Command::Extend { .. } => self.extend(command, now),
            Command::Meter { id, reading, actual } => self.meter(id, reading, *actual, now),
            Command::Settle { id, actual } => self.settle(id, *actual, now),
            Command::Release { id } => self.release(id, now),
            Command::Record { .. } => self.record(command, now),
            Command::Explain { call, estimate } => match call.model.bound(*estimate, self.fallback()) {
                None => UNPRICED,
                Some((held, _)) => Verdict::Explained(self.admit(call, &held, true, now).map(|_| ())),
            },
            Command::GetReservation { id } if !self.reservations.contains_key(id) => RESERVATION_NOT_FOUND,
            Command::GetReservation { .. } | Command::ListQuotas | Command::Usage => Verdict::Told,
        };
        if verdict == Verdict::Done {
            self.last = now;
            self.changes += 1;
        }
        verdict
    }

    /// Entries were dropped, and of these reservations only the ids are left.
    ///
    /// # Errors
    /// One of them may still change, and its entries are needed.
    pub fn archive(&mut self, clock: i64, ids: &[String]) -> Result<(), String> {
        self.last = self.now(clock);
        self.changes += 1;
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

    fn is_archived(&self, command: &Command) -> bool {
        let known = command.subject().and_then(|id| self.reservations.get(id));
        known.is_some_and(|known| known.is_archived)
    }

    fn open(&self) -> impl Iterator<Item = (&String, &Reservation)> {
        self.reservations.iter().filter(|(_, reservation)| reservation.state == State::Held)
    }

    /// What an unknown model costs a reservation: what it did when the hold was priced, or, where the hold is an amount, what it does now.
    fn fallback_of(&self, known: &Reservation) -> Fallback {
        if matches!(known.estimate, Some(Estimate::Usd(_))) { self.fallback() } else { known.fallback }
    }

    fn fallback(&self) -> Fallback {
        self.plan.and_then(|which| plan(which).fallback)
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

    /// A quota has another limit now.
    fn limit_changes(&mut self, identity: u64, now: i64) {
        let Some(quota) = self.quotas.values().find(|quota| quota.identity == identity).cloned() else { return };
        // Thresholds that the new limit puts out of reach may be crossed again.
        let places: Vec<Place> = self.warned.keys().filter(|place| place.0 == identity).copied().collect();
        for place in places {
            let Some(span) = self.span_of(&quota, place, now) else { continue };
            let (spent, limit) = (self.spent(&quota, span), self.limit(&quota, span, now));
            if let Some(warned) = self.warned.get_mut(&place) {
                warned.retain(|thousandths| spent * 1000 >= limit * thousandths);
            }
        }
        self.allow_what_is_used_of(&quota, now);
    }

    /// What is used already stays used under a limit that is lower now, also where it fell by itself.
    fn allow_what_is_used(&mut self, now: i64) {
        for quota in self.quotas.values().cloned().collect::<Vec<_>>() {
            self.allow_what_is_used_of(&quota, now);
        }
    }

    fn allow_what_is_used_of(&mut self, quota: &Quota, now: i64) {
        let identity = quota.identity;
        let mut places: Vec<Place> =
            self.counted.get(&identity).into_iter().flatten().map(|start| (identity, *start)).collect();
        places.push((identity, quota.definition.place(now)));
        // The latest first: in a rolling window it stands for all, and leaves last.
        for place in places.into_iter().rev() {
            let Some(span) = self.span_of(quota, place, now) else { continue };
            let used = self.spent(quota, span) + self.held(quota, span);
            let over = used - self.limit(quota, span, now) - self.overruns(quota, span);
            if over > 0 {
                *self.overruns.entry(place).or_default() += over;
            }
            if matches!(span, Span::From(_)) {
                break;
            }
        }
    }

    fn reset_quota(&mut self, id: &str, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let (identity, span) = match quota.definition.period {
            Period::Rolling(_) => (quota.identity, Span::From(i64::MIN)),
            _ => (quota.identity, quota.definition.span(now)),
        };
        self.resets.push((span, identity, self.charges.len()));
        self.warned.retain(|place, _| place.0 != identity || !span.holds(place.1));
        self.give_back_all_but_holds(identity);
        Verdict::Done
    }

    fn reserve(&mut self, command: &Command, now: i64) -> Verdict {
        let Command::Reserve { id, call, estimate, ttl_seconds, shrink, .. } = command else { return INVALID };
        if let Some(known) = self.reservations.get(id) {
            return if known.opening == *command { Verdict::Replayed } else { CONFLICT };
        }
        let fallback = self.fallback();
        let Some((mut held, mut input)) = call.model.bound(*estimate, fallback) else { return UNPRICED };
        let mut estimate = *estimate;
        let mut granted = false;
        let counted_on = match self.admit(call, &held, true, now) {
            Ok(counted_on) => counted_on,
            Err(denial) => {
                let smaller = if *shrink { shrunk(call, estimate, &input, &denial, fallback) } else { None };
                let Some(smaller) = smaller else { return Verdict::Denied(denial) };
                let Some((less, part)) = call.model.bound(smaller, fallback) else { return UNPRICED };
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
            counted_on,
            held,
            input,
            estimate: Some(estimate),
            granted,
            fallback,
            created_at: now,
            expires_at: now + i64::from(*ttl_seconds) * SECOND,
            extensions: Vec::new(),
            knows_sandbox: matches!(estimate, Estimate::Seconds(_)),
            state: State::Held,
            reported: None,
            charged: Amounts::default(),
            late: false,
            first_charged: None,
            readings: Vec::new(),
            metered: None,
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
            let fallback = self.fallback_of(known);
            let Some((held, input)) = known.call.model.bound(*estimate, fallback) else { return UNPRICED };
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
            grown = Some((held, input, *estimate, fallback));
        }
        if let Some((held, ..)) = grown {
            let (counted_on, before, metered) = (known.counted_on.clone(), known.held, known.metered);
            let more = |unit: Unit, _| unit.resting(&held, metered) - unit.resting(&before, metered);
            self.draw(&counted_on, id, &more, now);
            self.move_grown(id, &held, now);
        }
        let Some(known) = self.reservations.get_mut(id) else { return RESERVATION_NOT_FOUND };
        if let Some((held, input, estimate, fallback)) = grown {
            (known.held, known.input, known.estimate, known.fallback) = (held, input, Some(estimate), fallback);
            known.knows_sandbox |= matches!(estimate, Estimate::Seconds(_));
        }
        if let Some(seconds) = ttl_seconds {
            known.expires_at = known.expires_at.max(now + i64::from(*seconds) * SECOND);
        }
        if known.extensions.len() == REMEMBERED_EXTENSIONS {
            known.extensions.remove(0);
        }
        known.extensions.push(command.clone());
        Verdict::Done
    }

    /// What grows counts in rolling windows from when room was found for it.
    fn move_grown(&mut self, id: &str, grown: &Amounts, now: i64) {
        let Some(known) = self.reservations.get(id) else { return };
        let (metered, since) = (known.metered, known.first_charged);
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
        let dropped = self.dropped(&moving, since);
        for place in &moving {
            self.counted.entry(place.0).or_default().insert(now);
            // What it was charged so far goes along; of what a reset has dropped a part, nothing does.
            if let Some(metered) = metered.filter(|_| !dropped.contains(place)) {
                self.charges.push((*place, Amounts::default() - metered));
                self.charges.push(((place.0, now), metered));
            }
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
        if was_open {
            known.state = State::Settled;
            self.charge_to(id, cost, &Unit::resting, now);
        } else {
            known.late = true;
            self.correct(id, cost, now);
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
        if known.readings.len() == REMEMBERED_EXTENSIONS {
            known.readings.remove(0);
        }
        known.readings.push((reading.to_owned(), actual));
        let moved = move |unit: Unit, held: &Amounts, _| unit.resting(held, before) - unit.resting(held, Some(metered));
        self.charge_to(id, metered, &moved, now);
        if let Some(known) = self.reservations.get_mut(id) {
            known.metered = Some(metered);
        }
        Verdict::Done
    }

    /// What a reservation's call comes to by the rates that it was reserved with.
    fn cost_of(&self, known: &Reservation, actual: Actual) -> Result<Amounts, Verdict> {
        if matches!(actual, Actual::Seconds(_)) && !known.knows_sandbox {
            return Err(INVALID);
        }
        known.call.model.cost(actual, self.fallback_of(known)).ok_or(UNPRICED)
    }

    fn release(&mut self, id: &str, now: i64) -> Verdict {
        match self.reservations.get_mut(id) {
            None => RESERVATION_NOT_FOUND,
            Some(known) if known.state == State::Held => {
                known.state = State::Released;
                let (counted_on, held, metered) = (known.counted_on.clone(), known.held, known.metered);
                self.draw(&counted_on, id, &|unit, _| -unit.resting(&held, metered), now);
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
        let fallback = self.fallback();
        let Some(cost) = call.model.cost(*actual, fallback) else { return UNPRICED };
        let counted_on = if *within_limit {
            match self.admit(call, &cost, false, now) {
                Ok(counted_on) => counted_on,
                Err(denial) => return Verdict::Denied(denial),
            }
        } else {
            let covering = self.quotas.values().filter(|quota| quota.definition.covers(call));
            let places: Vec<Place> = covering.map(|quota| (quota.identity, quota.definition.place(now))).collect();
            for place in &places {
                self.overrun(*place, &|unit| unit.spent(&cost));
            }
            places
        };
        self.count(&counted_on);
        self.charge(&counted_on, cost, now);
        self.draw(&counted_on, id, &|unit, _| unit.spent(&cost), now);
        let reservation = Reservation {
            opening: command.clone(),
            call: *call,
            counted_on,
            held: Amounts::default(),
            input: Amounts::default(),
            estimate: None,
            granted: false,
            fallback,
            created_at: now,
            expires_at: now,
            extensions: Vec::new(),
            knows_sandbox: false,
            state: State::Recorded,
            reported: Some(*actual),
            charged: cost,
            late: false,
            first_charged: Some(self.charges.len()),
            readings: Vec::new(),
            metered: None,
            is_archived: false,
        };
        self.reservations.insert(id.clone(), reservation);
        Verdict::Done
    }

    /// Where a call is counted, if it fits everywhere.
    fn admit(&self, call: &Call, amounts: &Amounts, holds: bool, now: i64) -> Result<Vec<Place>, Denial> {
        let covering: Vec<_> = self
            .quotas
            .iter()
            .filter(|(_, quota)| quota.definition.covers(call))
            .map(|(id, quota)| {
                let unit = quota.definition.unit;
                let needed = if holds { unit.held(amounts) } else { unit.spent(amounts) };
                (id, quota, quota.definition.span(now), needed, 0)
            })
            .collect();
        if let Some(denial) = self.denial(covering.iter().copied(), now) {
            return Err(denial);
        }
        if covering.is_empty() && self.plan.is_some_and(|which| plan(which).denies_without_quota) {
            return Err(Denial { tight: Vec::new(), usd: None });
        }
        Ok(covering.into_iter().map(|(_, quota, ..)| (quota.identity, quota.definition.place(now))).collect())
    }

    /// A denial by the quotas that do not have so much left. Each comes with what is needed, and what of it is the caller's own already.
    fn denial<'a>(
        &'a self,
        needs: impl Iterator<Item = (&'a String, &'a Quota, Span, Pico, Pico)>,
        now: i64,
    ) -> Option<Denial> {
        let mut tight: Vec<Tight> = needs
            .filter_map(|(id, quota, span, needed, own)| {
                let (spent, held) = (self.spent(quota, span), self.held(quota, span));
                let Definition { limit, unit, .. } = quota.definition;
                let effective = self.limit(quota, span, now);
                let short = !quota.definition.warns_only && spent + held + needed > effective;
                let end = match span {
                    Span::Period(start) => quota.definition.around(start).1,
                    Span::From(_) => self.has_room_at(quota, span, needed, effective),
                };
                let resets_at = end.filter(|end| *end > now);
                short.then(|| Tight { id: id.clone(), limit, effective, spent, held, own, end, resets_at, unit })
            })
            .collect();
        if tight.is_empty() {
            return None;
        }
        tight.sort_by_key(|quota| (core::cmp::Reverse(quota.end.unwrap_or(i64::MAX)), quota.left(), quota.id.clone()));
        let usd = tight.iter().filter(|quota| quota.unit == Unit::Usd).map(|quota| quota.left() + quota.own);
        Some(Denial { usd: usd.min(), tight })
    }

    /// When so much has left a rolling window that so much more fits; for more than the limit, when all has.
    fn has_room_at(&self, quota: &Quota, span: Span, needed: Pico, limit: Pico) -> Option<i64> {
        let Period::Rolling(seconds) = quota.definition.period else { return None };
        let within = self.counted.get(&quota.identity)?.iter().filter(|start| span.holds(**start));
        let mut used = self.spent(quota, span) + self.held(quota, span) + needed;
        let mut leaves = None;
        for start in within {
            used -= self.spent(quota, Span::Period(*start)) + self.held(quota, Span::Period(*start));
            leaves = Some(start + seconds * SECOND);
            if used <= limit {
                break;
            }
        }
        leaves
    }

    fn count(&mut self, counted_on: &[Place]) {
        for (identity, period) in counted_on {
            let earlier = self.counted.entry(*identity).or_default().clone();
            let quota = self.quotas.values().find(|quota| quota.identity == *identity);
            let rolls = quota.is_some_and(|quota| matches!(quota.definition.period, Period::Rolling(_)));
            if let Some(quota) = quota.filter(|_| !rolls && !earlier.contains(period)) {
                let carried = self.left_by_the_period_before(quota, *period);
                self.carried.insert((*identity, *period), carried);
            }
            if !rolls && earlier.iter().all(|earlier| earlier < period) {
                let is_idle =
                    |earlier: &i64| !self.open().any(|(_, open)| open.counted_on.contains(&(*identity, *earlier)));
                let idle: Vec<Place> =
                    earlier.into_iter().filter(is_idle).map(|earlier| (*identity, earlier)).collect();
                self.over.extend(idle);
            }
            self.counted.entry(*identity).or_default().insert(*period);
        }
    }

    fn charge(&mut self, counted_on: &[Place], amounts: Amounts, now: i64) {
        self.charges.extend(counted_on.iter().map(|place| (*place, amounts)));
        self.warn(counted_on, now);
    }

    /// From now on a reservation that was open has been charged so much in all, and so much of its hold is free.
    fn charge_to(
        &mut self,
        id: &str,
        charged: Amounts,
        freed: &dyn Fn(Unit, &Amounts, Option<Amounts>) -> Pico,
        now: i64,
    ) {
        let Some(known) = self.reservations.get(id) else { return };
        let (counted_on, held, metered) = (known.counted_on.clone(), known.held, known.metered);
        let (more, dropped) = (charged - known.charged, self.dropped(&counted_on, known.first_charged));
        for place in &counted_on {
            self.overrun(*place, &|unit| unit.spent(&more) - freed(unit, &held, metered));
        }
        let or_nothing = more.at_least(Amounts::default());
        let more_in = |place: &Place| if dropped.contains(place) { or_nothing } else { more };
        self.charges.extend(counted_on.iter().map(|place| (*place, more_in(place))));
        let after = self.charges.len();
        if let Some(known) = self.reservations.get_mut(id) {
            known.charged = charged;
            known.first_charged = known.first_charged.or(Some(after));
        }
        self.warn(&counted_on, now);
        let drawn = |unit: Unit, place| unit.spent(&more_in(&place)) - freed(unit, &held, metered);
        self.draw(&counted_on, id, &drawn, now);
    }

    /// From now on a reservation that has ended has been charged so much; credits have no part in that.
    fn correct(&mut self, id: &str, charged: Amounts, now: i64) {
        let Some(known) = self.reservations.get_mut(id) else { return };
        let (counted_on, since) = (known.counted_on.clone(), known.first_charged);
        let more = charged - core::mem::replace(&mut known.charged, charged);
        let dropped = self.dropped(&counted_on, since);
        for place in &counted_on {
            self.overrun(*place, &|unit| unit.spent(&more));
            let is_dropped = dropped.contains(place);
            self.charges.push((*place, if is_dropped { more.at_least(Amounts::default()) } else { more }));
        }
        self.warn(&counted_on, now);
    }

    /// Where a reset has dropped something of what was charged since then: it is not given back once more.
    fn dropped(&self, counted_on: &[Place], since: Option<usize>) -> Vec<Place> {
        let Some(since) = since else { return Vec::new() };
        let is_dropped = |place: &&Place| {
            self.resets.iter().any(|(span, of, after)| *of == place.0 && span.holds(place.1) && *after >= since)
        };
        counted_on.iter().filter(is_dropped).copied().collect()
    }

    fn overrun(&mut self, place: Place, above: &dyn Fn(Unit) -> Pico) {
        let quota = self.quotas.values().find(|quota| quota.identity == place.0);
        let above = quota.map_or(0, |quota| above(quota.definition.unit));
        if above > 0 {
            *self.overruns.entry(place).or_default() += above;
        }
    }

    /// Notes the thresholds that spend has reached, unless the period is over for good.
    fn warn(&mut self, counted_on: &[Place], now: i64) {
        for place in counted_on {
            let found = self.quotas.iter().find(|(_, quota)| quota.identity == place.0);
            let Some((id, quota)) = found else { continue };
            let Some(span) = self.span_of(quota, *place, now) else { continue };
            let (spent, warned) = (self.spent(quota, span), self.warned(quota, span));
            let limit = self.limit(quota, span, now);
            let reached = |thousandths: &&Pico| spent != 0 && spent * 1000 >= limit * **thousandths;
            let fresh = quota.definition.warn_at.iter().filter(reached).filter(|reached| !warned.contains(*reached));
            for thousandths in fresh {
                self.warned.entry(*place).or_default().insert(*thousandths);
                self.crossings.push(format!("{id} {thousandths} {}", place.1));
            }
        }
    }
}

/// The largest part of an estimate that fits where it was denied. None where nothing worth having does.
fn shrunk(call: &Call, estimate: Estimate, input: &Amounts, denial: &Denial, fallback: Fallback) -> Option<Estimate> {
    if denial.tight.is_empty() {
        return None;
    }
    if let Estimate::Usd(_) = estimate {
        return denial.usd.filter(|usd| *usd > 0).map(Estimate::Usd);
    }
    let mut most = match estimate {
        Estimate::Tokens { output, .. } => Pico::from(output),
        Estimate::Seconds(seconds) => Pico::from(seconds),
        Estimate::Usd(_) => return None,
    };
    for quota in &denial.tight {
        let buys = match quota.unit {
            Unit::Usd => call.model.pays_for(estimate, quota.left(), fallback)?,
            Unit::Tokens => {
                let left = quota.left() - input.tokens;
                if left < 0 {
                    return None;
                }
                left / ONE
            }
            Unit::Seconds => quota.left() / ONE,
            Unit::Requests | Unit::Concurrent => return None,
        };
        most = most.min(buys);
    }
    let most = u32::try_from(most).ok().filter(|most| *most > 0)?;
    Some(match estimate {
        Estimate::Tokens { input, .. } => Estimate::Tokens { input, output: most },
        _ => Estimate::Seconds(most),
    })
}
