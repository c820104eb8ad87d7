//! The ledger as one would explain it: reservations, charges and nothing that is carried along. Amounts are millionths of a
//! dollar, times are milliseconds; nothing of the core's own arithmetic is used.

mod calendar;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use words::{Definition, Estimation, Op, Reported, Verdict, ops, plan};

/// A tenant's budget, and what became of it.
pub struct Model {
    /// What the clock says; it may be set back.
    pub wall: i64,
    /// When anything last happened.
    last: i64,
    quotas: BTreeMap<String, Held>,
    denies_without_quota: bool,
    /// The plan that was applied last.
    plan: Option<usize>,
    reservations: BTreeMap<String, Reservation>,
    /// Counts charges and resets, to tell which came first.
    moment: usize,
    /// Quotas that were reset, and when.
    resets: Vec<(u64, i64, usize)>,
    warned: BTreeMap<(u64, i64), BTreeSet<i64>>,
    /// Warnings that nobody has taken yet.
    fresh: BTreeSet<String>,
    /// Periods that something was counted in, by quota.
    counted: BTreeMap<u64, BTreeSet<i64>>,
    /// Periods that are over for good: nothing was held in them when something was first counted in a later one.
    over: BTreeSet<(u64, i64)>,
    /// Quotas get another number whenever they start to count something else.
    identities: u64,
}

/// A quota that exists.
#[derive(Clone, Debug)]
pub struct Held {
    pub id: String,
    pub definition: Definition,
    pub identity: u64,
    from_plan: bool,
}

/// A reservation or a record.
pub struct Reservation {
    opening: Op,
    e2b: bool,
    pub counted_on: Vec<(u64, i64)>,
    pub held: i64,
    input: i64,
    pub expires_at: i64,
    on_expiry: usize,
    extensions: Vec<(String, Op)>,
    knows_sandbox: bool,
    /// What was charged while it was open.
    pub metered: i64,
    /// The readings that changed anything.
    pub readings: Vec<(String, Reported)>,
    pub state: State,
    reported: Option<Reported>,
    /// What counts of its charge.
    pub charged: i64,
    pub late: bool,
    /// What it cost, refunds left out.
    cost: i64,
    /// What counted of it from each moment on.
    counted: Vec<(usize, i64)>,
    /// What was taken back of it: by which name, what was asked, how much.
    refunds: Vec<(String, Op, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Settled,
    Released,
    Expired,
    Recorded,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "held",
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Recorded => "recorded",
        }
    }
}

impl Reservation {
    /// What counted of it before a moment.
    fn before(&self, moment: Option<usize>) -> i64 {
        let earlier = self.counted.iter().rev().find(|(since, _)| moment.is_some_and(|moment| *since < moment));
        earlier.map_or(0, |(_, micros)| *micros)
    }

    /// What is still held of it.
    pub fn resting(&self) -> i64 {
        (self.held - self.metered).max(0)
    }

    /// Whether it counts as a call that was paid for.
    pub const fn is_charged(&self) -> bool {
        match self.state {
            State::Open | State::Released => !self.readings.is_empty(),
            State::Settled | State::Recorded => true,
            // Where expiry frees the hold, nothing was called as far as anybody knows.
            State::Expired => self.late || self.on_expiry != 0 || !self.readings.is_empty(),
        }
    }
}

impl Model {
    pub fn new() -> Self {
        Self {
            // 2026-11-29T22:30:00Z: the end of a week, close to the end of a month.
            wall: 1_795_991_400_000,
            last: 0,
            quotas: BTreeMap::new(),
            denies_without_quota: false,
            plan: None,
            reservations: BTreeMap::new(),
            moment: 0,
            resets: Vec::new(),
            warned: BTreeMap::new(),
            fresh: BTreeSet::new(),
            counted: BTreeMap::new(),
            over: BTreeSet::new(),
            identities: 0,
        }
    }

    pub fn now(&self) -> i64 {
        self.wall.max(self.last)
    }

    pub fn quotas(&self) -> impl ExactSizeIterator<Item = &Held> + use<'_> {
        self.quotas.values()
    }

    pub fn quota(&self, id: &str) -> Option<&Held> {
        self.quotas.get(id)
    }

    pub fn is_alive(&self, identity: u64) -> bool {
        self.quotas.values().any(|quota| quota.identity == identity)
    }

    pub fn reservations(&self) -> impl Iterator<Item = (&String, &Reservation)> {
        self.reservations.iter()
    }

    /// What each call comes to beyond what it had come to at the last reset.
    pub fn spent(&self, identity: u64, period: i64) -> i64 {
        let resets = self.resets.iter().filter(|(of, at, _)| (*of, *at) == (identity, period));
        let reset = resets.map(|(_, _, moment)| *moment).max();
        let calls = self.reservations.values().filter(|known| known.counted_on.contains(&(identity, period)));
        calls.map(|known| (known.charged - known.before(reset)).max(0)).sum()
    }

    /// A call has cost so much by now; what was taken back of that counts no more.
    fn now_costs(&mut self, id: &str, cost: i64) {
        self.moment += 1;
        let moment = self.moment;
        let known = self.reservations.get_mut(id).unwrap();
        known.cost = cost;
        known.charged = (cost - known.refunds.iter().map(|(.., micros)| micros).sum::<i64>()).max(0);
        known.counted.push((moment, known.charged));
        let counted_on = known.counted_on.clone();
        self.warn(&counted_on);
    }

    pub fn held(&self, identity: u64, period: i64) -> i64 {
        let open = self.reservations.values().filter(|reservation| reservation.state == State::Open);
        open.filter(|reservation| reservation.counted_on.contains(&(identity, period))).map(Reservation::resting).sum()
    }

    /// Spent and held together, and the limit, of every quota and period that exists.
    pub fn used(&self) -> BTreeMap<(u64, i64), (i64, i64)> {
        let mut used = BTreeMap::new();
        for quota in self.quotas.values() {
            for period in self.counted.get(&quota.identity).into_iter().flatten() {
                let sum = self.spent(quota.identity, *period) + self.held(quota.identity, *period);
                used.insert((quota.identity, *period), (sum, quota.definition.limit));
            }
        }
        used
    }

    pub fn warned(&self, identity: u64, period: i64) -> BTreeSet<i64> {
        self.warned.get(&(identity, period)).cloned().unwrap_or_default()
    }

    pub fn take_warnings(&mut self) -> BTreeSet<String> {
        core::mem::take(&mut self.fresh)
    }

    /// Ends the holds whose time is up, and says how many.
    pub fn expire(&mut self) -> usize {
        let now = self.now();
        let due = |reservation: &Reservation| reservation.state == State::Open && reservation.expires_at <= now;
        let mut ids: Vec<(i64, String)> = self
            .reservations
            .iter()
            .filter(|(_, reservation)| due(reservation))
            .map(|(id, reservation)| (reservation.expires_at, id.clone()))
            .collect();
        ids.sort();
        for (_, id) in &ids {
            let reservation = self.reservations.get_mut(id).unwrap();
            let least = [0, reservation.input, reservation.held][reservation.on_expiry];
            reservation.state = State::Expired;
            let cost = least.max(reservation.metered);
            self.now_costs(id, cost);
            self.last = now;
        }
        ids.len()
    }

    pub fn carry_out(&mut self, op: &Op) -> Verdict {
        let verdict = match op {
            Op::Onboard(which) => self.onboard(*which),
            Op::SetQuota(id, definition) => {
                if self.quotas.get(id).is_some_and(|held| held.definition == *definition && !held.from_plan) {
                    return Verdict::Replayed;
                }
                self.set_quota(id, definition, false);
                Verdict::Done
            }
            Op::RemoveQuota(id) => self.quotas.remove(id).map_or(Verdict::NotFound, |_| Verdict::Done),
            Op::ResetQuota(id) => self.reset_quota(id),
            Op::Reserve { id, .. } => self.reserve(id, op),
            Op::Extend { id, extension, ttl_seconds, estimate } => {
                self.extend(id, extension, *ttl_seconds, estimate.as_ref(), op)
            }
            Op::Settle { id, actual } => self.settle(id, actual),
            Op::Meter { id, reading, actual } => self.meter(id, reading, actual),
            Op::Release(id) => self.release(id),
            Op::Record { id, .. } => self.record(id, op),
            Op::Refund { id, refund, micros, .. } => self.refund(id, refund, *micros, op),
            Op::Advance(_) | Op::SetBack(_) | Op::Restart | Op::Repeat(_) => panic!("{op:?} is no command"),
        };
        if verdict == Verdict::Done {
            self.last = self.now();
        }
        verdict
    }

    fn onboard(&mut self, which: usize) -> Verdict {
        let (plan, denies) = plan(which);
        let before = format!("{:?}", self.quotas);
        self.denies_without_quota = denies;
        self.quotas.retain(|id, held| !held.from_plan || plan.iter().any(|(planned, _)| planned == id));
        for (id, definition) in &plan {
            match self.quotas.get(id) {
                Some(held) if !held.from_plan || held.definition == *definition => {}
                _ => self.set_quota(id, definition, true),
            }
        }
        // The same plan again is told apart by the quotas alone: whatever else it says is in its name.
        let same_name = self.plan.replace(which) == Some(which);
        if same_name && before == format!("{:?}", self.quotas) { Verdict::Replayed } else { Verdict::Done }
    }

    fn set_quota(&mut self, id: &str, definition: &Definition, from_plan: bool) {
        let kept = self.quotas.get(id).filter(|held| held.definition.counts_the_same_as(definition));
        let identity = kept.map_or_else(
            || {
                self.identities += 1;
                self.identities
            },
            |held| held.identity,
        );
        let held = Held { id: id.to_owned(), definition: definition.clone(), identity, from_plan };
        self.quotas.insert(id.to_owned(), held);
        // Warnings that the new limit puts out of reach may be given again.
        let spent: BTreeMap<(u64, i64), i64> = self.warned.keys().map(|key| (*key, self.spent(key.0, key.1))).collect();
        for (key, thresholds) in &mut self.warned {
            if key.0 == identity {
                thresholds.retain(|thousandths| spent[key] * 1000 >= definition.limit * thousandths);
            }
        }
    }

    fn reset_quota(&mut self, id: &str) -> Verdict {
        let Some(held) = self.quotas.get(id) else { return Verdict::NotFound };
        let key = (held.identity, held.definition.period_start(self.now()));
        self.moment += 1;
        self.resets.push((key.0, key.1, self.moment));
        self.warned.remove(&key);
        Verdict::Done
    }

    fn reserve(&mut self, id: &str, op: &Op) -> Verdict {
        let Op::Reserve { e2b, user, estimate, ttl_seconds, on_expiry, .. } = op else { panic!("{op:?}") };
        if let Some(known) = self.reservations.get(id) {
            return if known.opening == *op { Verdict::Replayed } else { Verdict::Conflict };
        }
        let Some((held, input)) = estimate.cost(*e2b) else { return Verdict::Unfit };
        let counted_on = match self.admit(*e2b, *user, held) {
            Ok(counted_on) => counted_on,
            Err(denied) => return denied,
        };
        self.count(&counted_on);
        let reservation = Reservation {
            opening: op.clone(),
            e2b: *e2b,
            counted_on,
            held,
            input,
            expires_at: self.now() + i64::from(*ttl_seconds) * 1000,
            on_expiry: *on_expiry,
            extensions: Vec::new(),
            knows_sandbox: matches!(estimate, Estimation::Sandbox(_)),
            metered: 0,
            readings: Vec::new(),
            state: State::Open,
            reported: None,
            charged: 0,
            late: false,
            cost: 0,
            counted: Vec::new(),
            refunds: Vec::new(),
        };
        self.reservations.insert(id.to_owned(), reservation);
        Verdict::Done
    }

    fn extend(
        &mut self,
        id: &str,
        extension: &str,
        ttl_seconds: Option<u32>,
        estimate: Option<&Estimation>,
        op: &Op,
    ) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return Verdict::NotFound };
        if let Some((_, earlier)) = known.extensions.iter().find(|(named, _)| named == extension) {
            return if earlier == op { Verdict::Replayed } else { Verdict::Conflict };
        }
        if known.state != State::Open {
            return Verdict::Ended;
        }
        if ttl_seconds.is_none() && estimate.is_none() {
            return Verdict::Unfit;
        }
        let mut grown = None;
        if let Some(estimate) = estimate {
            let Some((held, input)) = estimate.cost(known.e2b) else { return Verdict::Unfit };
            let more = held - known.held;
            if held < known.metered {
                return Verdict::Unfit;
            }
            let more = more.min(held - known.metered);
            let counted_on = known.counted_on.iter().filter_map(|(identity, period)| {
                let quota = self.quotas.values().find(|quota| quota.identity == *identity)?;
                Some((quota, *period))
            });
            if more > 0
                && let Some(denied) = self.denial(counted_on, more)
            {
                return match denied {
                    Verdict::Denied { quotas, binding, left } => {
                        // The whole call can afford what it holds already, too.
                        Verdict::Denied { quotas, binding, left: left.map(|left| left + known.held.max(known.metered)) }
                    }
                    other => other,
                };
            }
            grown = Some((held, input));
        }
        let now = self.now();
        let known = self.reservations.get_mut(id).unwrap();
        if let Some((held, input)) = grown {
            (known.held, known.input) = (held, input);
        }
        if let Some(seconds) = ttl_seconds {
            known.expires_at = known.expires_at.max(now + i64::from(seconds) * 1000);
        }
        known.knows_sandbox |= matches!(estimate, Some(Estimation::Sandbox(_)));
        known.extensions.push((extension.to_owned(), op.clone()));
        Verdict::Done
    }

    fn settle(&mut self, id: &str, actual: &Reported) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return Verdict::NotFound };
        match (known.state, &known.reported) {
            (State::Settled | State::Expired, Some(reported)) => {
                return if reported == actual { Verdict::Replayed } else { Verdict::Conflict };
            }
            (State::Released | State::Recorded, _) => return Verdict::Ended,
            _ => {}
        }
        let Some(cost) = actual.cost_of_hold(known.e2b, known.held, known.knows_sandbox) else { return Verdict::Unfit };
        let was_open = known.state == State::Open;
        let known = self.reservations.get_mut(id).unwrap();
        known.reported = Some(actual.clone());
        if was_open {
            known.state = State::Settled;
        } else {
            known.late = true;
        }
        self.now_costs(id, cost);
        Verdict::Done
    }

    fn meter(&mut self, id: &str, reading: &str, actual: &Reported) -> Verdict {
        let Some(known) = self.reservations.get(id) else { return Verdict::NotFound };
        if let Some((_, earlier)) = known.readings.iter().rev().take(8).find(|(named, _)| named == reading) {
            return if earlier == actual { Verdict::Replayed } else { Verdict::Conflict };
        }
        if known.state != State::Open {
            return Verdict::Ended;
        }
        let Some(cost) = actual.cost_so_far(known.e2b, known.knows_sandbox) else { return Verdict::Unfit };
        if !known.readings.is_empty() && cost <= known.metered {
            // A reading that a later one has overtaken.
            return Verdict::Replayed;
        }
        let known = self.reservations.get_mut(id).unwrap();
        known.metered = cost;
        known.readings.push((reading.to_owned(), actual.clone()));
        self.now_costs(id, cost);
        Verdict::Done
    }

    fn release(&mut self, id: &str) -> Verdict {
        match self.reservations.get_mut(id) {
            None => Verdict::NotFound,
            Some(known) if known.state == State::Open => {
                known.state = State::Released;
                Verdict::Done
            }
            Some(known) if known.state == State::Released => Verdict::Replayed,
            Some(_) => Verdict::Ended,
        }
    }

    fn refund(&mut self, id: &str, refund: &str, micros: Option<i64>, op: &Op) -> Verdict {
        let Some(known) = self.reservations.get_mut(id) else { return Verdict::NotFound };
        if known.state == State::Open {
            return Verdict::Ended;
        }
        if let Some((_, earlier, _)) = known.refunds.iter().find(|(named, ..)| named == refund) {
            return if earlier == op { Verdict::Replayed } else { Verdict::Conflict };
        }
        let micros = micros.unwrap_or(known.charged);
        if micros <= 0 || micros > known.charged {
            return Verdict::Unfit;
        }
        known.refunds.push((refund.to_owned(), op.clone(), micros));
        let cost = known.cost;
        self.now_costs(id, cost);
        Verdict::Done
    }

    fn record(&mut self, id: &str, op: &Op) -> Verdict {
        let Op::Record { e2b, user, actual, within_limit, .. } = op else { panic!("{op:?}") };
        if let Some(known) = self.reservations.get(id) {
            return if known.opening == *op { Verdict::Replayed } else { Verdict::Conflict };
        }
        let Some(cost) = actual.cost(*e2b) else { return Verdict::Unfit };
        let counted_on = if *within_limit {
            match self.admit(*e2b, *user, cost) {
                Ok(counted_on) => counted_on,
                Err(denied) => return denied,
            }
        } else {
            let now = self.now();
            let quotas = self.quotas.values().filter(|quota| quota.definition.covers(*e2b, *user));
            quotas.map(|quota| (quota.identity, quota.definition.period_start(now))).collect()
        };
        self.count(&counted_on);
        let reservation = Reservation {
            opening: op.clone(),
            e2b: *e2b,
            counted_on,
            held: 0,
            input: 0,
            expires_at: self.now(),
            on_expiry: 0,
            extensions: Vec::new(),
            knows_sandbox: false,
            metered: 0,
            readings: Vec::new(),
            state: State::Recorded,
            reported: Some(actual.clone()),
            charged: 0,
            late: false,
            cost: 0,
            counted: Vec::new(),
            refunds: Vec::new(),
        };
        self.reservations.insert(id.to_owned(), reservation);
        self.now_costs(id, cost);
        Verdict::Done
    }

    fn admit(&self, e2b: bool, user: Option<usize>, amount: i64) -> Result<Vec<(u64, i64)>, Verdict> {
        let now = self.now();
        let quotas = self.quotas.values().filter(|quota| quota.definition.covers(e2b, user));
        let placed: Vec<_> = quotas.map(|quota| (quota, quota.definition.period_start(now))).collect();
        if placed.is_empty() && self.denies_without_quota {
            return Err(Verdict::Denied { quotas: BTreeSet::new(), binding: None, left: None });
        }
        match self.denial(placed.iter().copied(), amount) {
            Some(denied) => Err(denied),
            None => Ok(placed.into_iter().map(|(quota, period)| (quota.identity, period)).collect()),
        }
    }

    /// A denial by those quotas that do not have so much left.
    fn denial<'a>(&self, placed: impl Iterator<Item = (&'a Held, i64)>, amount: i64) -> Option<Verdict> {
        let left = |quota: &Held, period| {
            quota.definition.limit - self.spent(quota.identity, period) - self.held(quota.identity, period)
        };
        let tight: Vec<_> = placed.filter(|(quota, period)| left(quota, *period) < amount).collect();
        let least = tight.iter().map(|(quota, period)| left(quota, *period).max(0)).min()?;
        let last_to_end = tight.iter().max_by_key(|(quota, period)| {
            let end = quota.definition.period_end(*period).unwrap_or(i64::MAX);
            let first_by_id = core::cmp::Reverse(quota.id.clone());
            (end, core::cmp::Reverse(left(quota, *period).max(0)), first_by_id)
        });
        Some(Verdict::Denied {
            quotas: tight.iter().map(|(quota, _)| quota.id.clone()).collect(),
            binding: last_to_end.map(|(quota, _)| quota.id.clone()),
            left: Some(least),
        })
    }

    fn count(&mut self, counted_on: &[(u64, i64)]) {
        for (identity, period) in counted_on {
            let earlier = self.counted.entry(*identity).or_default().clone();
            if earlier.iter().all(|earlier| earlier < period) {
                let is_idle = |earlier: &i64| {
                    let mut open = self.reservations.values().filter(|reservation| reservation.state == State::Open);
                    !open.any(|reservation| reservation.counted_on.contains(&(*identity, *earlier)))
                };
                self.over.extend(earlier.into_iter().filter(is_idle).map(|earlier| (*identity, earlier)));
            }
            self.counted.entry(*identity).or_default().insert(*period);
        }
    }

    /// Warns of the thresholds that spend has reached, unless the period is over for good.
    fn warn(&mut self, counted_on: &[(u64, i64)]) {
        for (identity, period) in counted_on {
            let Some(quota) = self.quotas.values().find(|quota| quota.identity == *identity) else { continue };
            if self.over.contains(&(*identity, *period)) {
                continue;
            }
            let spent = self.spent(*identity, *period);
            let warned = self.warned.entry((*identity, *period)).or_default();
            for thousandths in &quota.definition.warn_at {
                if spent != 0 && spent * 1000 >= quota.definition.limit * thousandths && warned.insert(*thousandths) {
                    self.fresh.insert(format!("{} {thousandths} {period}", quota.id));
                }
            }
        }
    }
}
