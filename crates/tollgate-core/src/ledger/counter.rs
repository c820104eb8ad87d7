//! What one quota has counted, period by period.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::event::{Hint, Placement, QuotaSource};
use super::funds::Funds;
use super::rolling::Rolling;
use super::set_back::SetBack;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::QuotaId;
use crate::period::{Calendar, Period, Window};
use crate::quota::{Quota, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;
use crate::usage_report::{UsageKey, UsageTotals};

const HOUR_MS: i64 = 3_600_000;
/// The most periods of a quota that wait because a wrong clock has opened them, but for those with open holds.
const MAX_AHEAD: usize = 32;

/// A quota and its counters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaState {
    /// What it says.
    pub quota: Quota,
    /// Where it comes from.
    pub source: QuotaSource,
    /// Counts up whenever the quota starts to count something else.
    pub generation: u64,
    /// Ascending by period: the latest one, and earlier ones that still have holds. Of a rolling window, the [points](Rolling).
    pub(super) counters: Vec<Counter>,
    /// Periods that were counted in before the clock was set back, and that are still to come, ascending: the nearest, and those that have holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ahead: Vec<Counter>,
    /// From this period on there may be others. None where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_from: Option<Timestamp>,
    /// What adds to its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) funds: Option<Box<Funds>>,
    /// Since when periods leave something to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// What is kept although it is over, where the clock will be set back.
    #[serde(skip)]
    kept: Option<Window>,
    /// Where its periods begin, made from the quota when it is first needed.
    #[serde(skip)]
    calendar: OnceLock<Calendar>,
    /// The period that was counted in last, so that it is not worked out at every reservation.
    #[serde(skip)]
    latest: Option<Window>,
    /// What it says, as answers have it.
    #[serde(skip)]
    rendered: Rendered,
    /// Where it is among the ledger's quotas.
    #[serde(skip)]
    pub(super) place: Hint,
}

/// What a quota says as JSON text, in the parts that an answer needs; made when it is first asked for. What is in it follows from the quota, so that any two are
/// equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rendered(OnceLock<[Box<str>; 2]>);

impl Rendered {
    /// The text, made by `render` where it is not there yet.
    pub fn text(&self, render: impl FnOnce() -> [Box<str>; 2]) -> &[Box<str>; 2] {
        self.0.get_or_init(render)
    }
}

impl PartialEq for Rendered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Rendered {}

/// What was counted in one period.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counter {
    /// Start of the period.
    pub period_start: Timestamp,
    /// Settled, in the quota's unit.
    pub spent: Amount,
    /// Reserved and not ended.
    pub held: Amount,
    /// What the period before left, where the quota's rollover lets it go on.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) carried: Amount,
    /// How many holds that is. Even a hold of nothing keeps its period's counter.
    pub(super) holds: u32,
    /// The entry that last reset it; 0 for none.
    pub(super) reset_seq: u64,
    /// The thresholds that were crossed.
    pub(super) warned: Vec<Ratio>,
}

impl Counter {
    pub(super) const fn new(period_start: Timestamp) -> Self {
        Self {
            period_start,
            spent: Amount::ZERO,
            held: Amount::ZERO,
            carried: Amount::ZERO,
            holds: 0,
            reset_seq: 0,
            warned: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, change: Change) {
        self.spent = self.spent.plus(change.spent);
        self.held = self.held.plus(change.held);
        self.holds = self.holds.saturating_add_signed(change.holds);
    }

    /// Settled and reserved.
    pub(super) fn used(&self) -> Amount {
        self.spent.plus(self.held)
    }

    /// Both in one, in the period of the later one.
    pub(super) fn joined(mut self, later: Self) -> Self {
        self.period_start = later.period_start;
        self.spent = self.spent.plus(later.spent);
        self.held = self.held.plus(later.held);
        self.holds = self.holds.saturating_add(later.holds);
        self.reset_seq = self.reset_seq.max(later.reset_seq);
        self.warned.extend(later.warned);
        self
    }

    /// Starts again with nothing spent.
    pub(super) fn reset(&mut self, seq: u64) {
        self.spent = Amount::ZERO;
        if fault::on(Fault::ResetDropsHolds) {
            self.held = Amount::ZERO;
        }
        self.warned.clear();
        self.reset_seq = seq;
    }
}

/// Whether so much more fits a limit. Exactly at the limit fits.
fn fits(amount: Amount, spent: Amount, held: Amount, limit: Amount) -> bool {
    let held = if fault::on(Fault::HeldIsIgnored) { Amount::ZERO } else { held };
    spent.plus(held).plus(amount) <= limit
}

/// Whether what began at an instant is kept although it is over.
fn is_kept(kept: Option<Window>, at: Timestamp) -> bool {
    kept.is_some_and(|kept| kept.contains(at))
}

const fn is_nothing(amount: &Amount) -> bool {
    amount.is_zero()
}

/// What is added to a counter.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) spent: Amount,
    pub(super) held: Amount,
    pub(super) holds: i32,
}

impl Change {
    pub(super) const NONE: Self = Self { spent: Amount::ZERO, held: Amount::ZERO, holds: 0 };

    pub(super) const fn hold(held: Amount) -> Self {
        Self { spent: Amount::ZERO, held, holds: 1 }
    }

    pub(super) fn end(held: Amount, spent: Amount) -> Self {
        Self { spent, held: Amount::ZERO.minus(held), holds: -1 }
    }
}

/// A quota as it stands at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView<'a> {
    /// Its id.
    pub id: &'a QuotaId,
    /// What it says.
    pub quota: &'a Quota,
    /// What it says as JSON text, where it is kept.
    pub(crate) rendered: Option<&'a Rendered>,
    /// Where it comes from.
    pub source: QuotaSource,
    /// The period that holds the instant. Of a rolling window: from the last instant that has left it, without an end.
    pub window: Window,
    /// The limit that is in force.
    pub limit: Amount,
    /// What adds to it besides the quota itself, at the instant.
    pub funds: Option<(&'a Funds, Timestamp)>,
    /// Settled in the period.
    pub spent: Amount,
    /// Reserved in it and not ended.
    pub held: Amount,
    /// The thresholds that were crossed in it.
    pub warned: Cow<'a, [Ratio]>,
}

impl<'a> QuotaView<'a> {
    /// Shows what was counted in a period.
    fn counts(&mut self, state: &'a QuotaState, window: Window) {
        self.window = window;
        let counter = state.counter(window.start);
        if state.quota.rollover.is_some() {
            let carried = counter.map_or_else(|| state.carried_into(window.start), |counter| counter.carried);
            self.limit = self.limit.plus(carried);
        }
        if let Some(counter) = counter {
            self.spent = counter.spent;
            self.held = counter.held;
            self.warned = Cow::Borrowed(&counter.warned);
        }
    }

    /// What is left: limit − spent − held, never below zero.
    #[must_use]
    pub fn remaining(&self) -> Amount {
        self.limit.minus(self.spent).minus(self.held).or_zero()
    }

    /// Whether so much more fits. Exactly at the limit fits.
    #[must_use]
    pub fn fits(&self, amount: Amount) -> bool {
        fits(amount, self.spent, self.held, self.limit)
    }

    /// (spent + held) ÷ limit, to 6 decimals. None for a limit of zero.
    #[must_use]
    pub fn utilization(&self) -> Option<Ratio> {
        Ratio::of(self.spent.plus(self.held), self.limit)
    }
}

impl QuotaState {
    pub(super) fn new(quota: Quota, source: QuotaSource, generation: u64, at: Timestamp) -> Self {
        Self {
            since: quota.rollover.map(|_| at),
            quota,
            source,
            generation,
            counters: Vec::new(),
            ahead: Vec::new(),
            unknown_from: None,
            kept: None,
            funds: None,
            calendar: OnceLock::new(),
            latest: None,
            rendered: Rendered::default(),
            place: Hint::default(),
        }
    }

    /// Takes what the quota says now; it still counts the same.
    pub(super) fn edit(&mut self, quota: &Quota, source: QuotaSource, at: Timestamp) {
        self.since = quota.rollover.map(|_| self.since.unwrap_or(at));
        self.quota = quota.clone();
        self.rendered = Rendered::default();
        self.source = source;
        self.rearm(at);
    }

    /// The limit in force at an instant, but for what a period carries over.
    pub(super) fn limit(&self, now: Timestamp) -> Amount {
        self.funds.as_ref().map_or(self.quota.limit, |funds| self.quota.limit.plus(funds.extra(now)))
    }

    /// The quota as it stands at an instant. Periods roll here, from the instant alone.
    pub(super) fn view<'a>(&'a self, id: &'a QuotaId, now: Timestamp) -> QuotaView<'a> {
        let mut view = self.uncounted(id, now);
        if let Some(rolling) = self.rolling() {
            view.window.start = rolling.since(now).max(Timestamp::default());
            for point in rolling.within(&self.counters, now) {
                view.spent = view.spent.plus(point.spent);
                view.held = view.held.plus(point.held);
                for fraction in &point.warned {
                    if let Err(place) = view.warned.binary_search(fraction) {
                        view.warned.to_mut().insert(place, *fraction);
                    }
                }
            }
        } else {
            view.counts(self, self.window(now));
        }
        view
    }

    /// The quota at an instant, before anything that it has counted.
    fn uncounted<'a>(&'a self, id: &'a QuotaId, now: Timestamp) -> QuotaView<'a> {
        QuotaView {
            id,
            quota: &self.quota,
            rendered: Some(&self.rendered),
            source: self.source,
            window: Window::LIFETIME,
            limit: self.limit(now),
            funds: self.funds.as_deref().map(|funds| (funds, now)),
            spent: Amount::ZERO,
            held: Amount::ZERO,
            warned: Cow::Borrowed(&[]),
        }
    }

    /// The quota as a placement counts on it. None where the placement's period is over and forgotten.
    pub(super) fn view_of<'a>(
        &'a self,
        id: &'a QuotaId,
        placement: &Placement,
        now: Timestamp,
    ) -> Option<QuotaView<'a>> {
        if self.generation != placement.generation {
            return None;
        }
        match self.rolling() {
            Some(rolling) => (placement.period_start > rolling.since(now)).then(|| self.view(id, now)),
            None => self.counter(placement.period_start).map(|_| {
                let mut view = self.uncounted(id, now);
                let period = self.window(placement.period_start);
                // Also where a newer table of time zones begins that period at another hour.
                view.counts(self, Window { start: placement.period_start, ..period });
                view
            }),
        }
    }

    /// Whether a view is of the period that holds an instant. A rolling window has no other.
    pub(super) fn is_shown_by(&self, view: &QuotaView<'_>, now: Timestamp) -> bool {
        self.rolling().is_some() || self.window(now).start == view.window.start
    }

    /// What a call is counted in that is reserved at an instant.
    pub(super) fn placement(&self, id: &QuotaId, view: &QuotaView<'_>, now: Timestamp) -> Placement {
        let period_start = if self.rolling().is_some() { now } else { view.window.start };
        self.placed(id, period_start)
    }

    /// The same for a call that needs so much, where there is room in a period that was counted in before: without working out what a view has besides. None where
    /// that takes a view.
    pub(super) fn placement_with_room(&self, id: &QuotaId, needed: Amount, now: Timestamp) -> Option<Placement> {
        if self.rolling().is_some() {
            return None;
        }
        let period_start = self.window(now).start;
        let counter = self.counter(period_start)?;
        let has_room = fits(needed, counter.spent, counter.held, self.limit_of(counter, now));
        has_room.then(|| self.placed(id, period_start))
    }

    fn placed(&self, id: &QuotaId, period_start: Timestamp) -> Placement {
        Placement { quota_id: id.clone(), generation: self.generation, period_start, dropped: None, hint: self.place }
    }

    /// The limit in force in a period that was counted in.
    fn limit_of(&self, counter: &Counter, now: Timestamp) -> Amount {
        let limit = self.limit(now);
        if self.quota.rollover.is_some() { limit.plus(counter.carried) } else { limit }
    }

    /// When there is room by itself, if nothing else is added: at a period's end, or when enough has left the window that so much more
    /// fits. None where waiting does not help.
    pub(super) fn resets_at(&self, view: &QuotaView<'_>, amount: Amount, now: Timestamp) -> Option<Timestamp> {
        match self.rolling() {
            Some(rolling) => rolling.resets_at(&self.counters, now, view.limit, amount),
            None => view.window.end.filter(|end| *end > now),
        }
    }

    /// The counter of a period, where anything was counted in it. Of a rolling window, the point that stands for an instant.
    pub(super) fn counter(&self, period_start: Timestamp) -> Option<&Counter> {
        match self.place(period_start) {
            Some(at) => self.counters.get(at),
            None => self.ahead.iter().find(|ahead| ahead.period_start == period_start),
        }
    }

    pub(super) fn counter_mut(&mut self, period_start: Timestamp) -> Option<&mut Counter> {
        match self.place(period_start) {
            Some(at) => self.counters.get_mut(at),
            None => self.ahead.iter_mut().find(|ahead| ahead.period_start == period_start),
        }
    }

    /// The counter of a period that something is about to be counted in. Opening a later period drops the earlier ones that no
    /// hold is open in: nothing can change them any more in a way that matters, unless the clock is set back. A period that was dropped is not
    /// opened again, nor is one opened that is still to come.
    pub(super) fn open_counter(&mut self, period_start: Timestamp, now: Timestamp) -> Option<&mut Counter> {
        if period_start <= now && self.is_later(period_start) {
            let opened = match self.rolling() {
                Some(rolling) => {
                    let kept = self.kept;
                    rolling.make_room(&mut self.counters, period_start, |at| is_kept(kept, at));
                    Counter::new(period_start)
                }
                None => self.open_period(period_start),
            };
            self.counters.push(opened);
        }
        self.counter_mut(period_start)
    }

    /// The counter of a calendar period that comes after all others but those that a wrong clock has opened. Where it is one of these, it goes on.
    fn open_period(&mut self, period_start: Timestamp) -> Counter {
        self.latest = Some(self.window(period_start));
        let come = self.ahead.partition_point(|ahead| ahead.period_start <= period_start);
        self.counters.extend(self.ahead.drain(..come));
        let opened = self.counters.pop_if(|latest| latest.period_start == period_start);
        let opened = opened.filter(|_| !fault::on(Fault::WrongPeriodsAreForgotten));
        let opened = opened
            .unwrap_or_else(|| Counter { carried: self.carried_into(period_start), ..Counter::new(period_start) });
        let kept = self.kept;
        self.counters.retain(|counter| counter.holds > 0 || is_kept(kept, counter.period_start));
        if let Some(kept) = kept {
            self.forget_farthest(kept.start);
        }
        opened
    }

    /// Of periods after an instant all but the nearest are forgotten, unless a hold is open in them.
    fn forget_farthest(&mut self, after: Timestamp) {
        loop {
            let is_idle = |counter: &&Counter| counter.holds == 0 && counter.period_start > after;
            let idle = self.counters.iter().chain(&self.ahead).filter(is_idle);
            let starts: Vec<Timestamp> = idle.map(|counter| counter.period_start).collect();
            if starts.len() <= MAX_AHEAD {
                return;
            }
            let Some(farthest) = starts.into_iter().max() else { return };
            self.counters.retain(|counter| counter.period_start != farthest);
            self.ahead.retain(|counter| counter.period_start != farthest);
            self.unknown_from = Some(self.unknown_from.map_or(farthest, |known| known.min(farthest)));
        }
    }

    /// Keeps what counts at an instant, also when it is over.
    pub(super) fn keep(&mut self, to: Timestamp) {
        let (start, end) = match self.rolling() {
            Some(rolling) => {
                let after = |at: Timestamp| Timestamp::from_calendar(at.millis() + 1);
                (after(rolling.since(to)), Some(after(to)))
            }
            None => {
                let before = |at: Timestamp| Timestamp::from_calendar(at.millis() - 1);
                let calendar = self.calendar.get_or_init(|| self.quota.calendar());
                let start = |at| calendar.window(self.quota.period, at).start;
                // What the period before has left counts, too, also where another table of time zones has begun it a little earlier.
                (Timestamp::from_calendar(start(before(start(to))).millis() - self.tolerance()), None)
            }
        };
        self.kept = Some(Window { start, end });
    }

    /// Whether something that counts from an earlier instant on may have been let go of.
    pub(super) fn has_let_go_of(&self, to: Timestamp) -> bool {
        let funds = self.funds.as_ref().is_some_and(|funds| funds.has_lapsed_after(to));
        let later = self.counters.last().is_some_and(|latest| latest.period_start > to);
        let was_ahead = !self.ahead.is_empty() || self.unknown_from.is_some();
        // A rolling window lets go of its points at any time.
        funds || later || was_ahead || (self.rolling().is_some() && !self.counters.is_empty())
    }

    /// Whether the period that has come may have been counted in before, and is not known.
    pub(super) fn has_unknown(&self, now: Timestamp) -> bool {
        self.unknown_from.is_some_and(|from| {
            let start = self.window(now).start;
            from <= start && self.counter(start).is_none()
        })
    }

    /// It was at its latest later than an instant, and of what it was before only what it says itself is known.
    pub(super) fn begins_beyond(&mut self, to: Timestamp, peak: Timestamp) {
        if self.rolling().is_none()
            && let Some(end) = self.window(to).end.filter(|end| *end <= peak)
        {
            self.unknown_from = Some(self.unknown_from.map_or(end, |known| known.min(end)));
        }
    }

    /// From when to when something may have been counted that counts at an instant, and is not known: what was at its latest beyond that has let go of it.
    pub(super) fn lacks_history(&self, to: Timestamp, peak: Timestamp) -> Option<(Timestamp, Timestamp)> {
        if let Some(rolling) = self.rolling() {
            return (peak > to).then(|| (rolling.since(to).max(Timestamp::default()), to));
        }
        let window = self.window(to);
        let end = window.end.filter(|end| *end <= peak)?;
        self.counter(window.start).is_none().then_some((window.start, end))
    }

    /// Counts what a roll-up says of a stretch that is not known.
    pub(super) fn count_usage<'a>(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        to: Timestamp,
        cells: impl Iterator<Item = (&'a UsageKey, &'a UsageTotals)>,
    ) {
        let cells = cells.filter(|(key, _)| key.overlaps(from, until) && self.quota.may_count(key));
        let used = cells.fold(UsageTotals::default(), |mut sum, (_, totals)| {
            sum.add(totals);
            sum
        });
        let whole = |count: i64| Amount::from_picos(i128::from(count) * Amount::ONE.picos());
        let spent = match self.quota.unit {
            Unit::Usd => Amount::from(used.usd),
            Unit::Tokens => whole(used.input_tokens.saturating_add(used.output_tokens)),
            Unit::Requests => whole(used.calls),
            // It has no seconds.
            Unit::Seconds if used.calls > 0 => self.quota.limit,
            Unit::Seconds | Unit::Concurrent => Amount::ZERO,
        };
        // What is still known of it is part of that.
        for known in self.counters.iter_mut().filter(|known| from <= known.period_start && known.period_start <= to) {
            known.spent = Amount::ZERO;
        }
        if spent <= Amount::ZERO {
            return;
        }
        let (warned, ..) = self.crossed(spent, self.quota.limit, &[]);
        let start = if self.rolling().is_some() { to } else { from };
        let place = self.counters.partition_point(|counter| counter.period_start < start);
        self.counters.insert(place, Counter { spent, warned, ..Counter::new(start) });
    }

    /// Whether a place in time counts at an instant, or is kept.
    pub(super) fn counts_at(&self, period_start: Timestamp, now: Timestamp) -> bool {
        let Some(rolling) = self.rolling() else { return true };
        is_kept(self.kept, period_start) || (period_start > rolling.since(now) && period_start <= now)
    }

    /// The clock was set back: periods that are still to come wait.
    pub(super) fn step_back(&mut self, step: SetBack) {
        self.since = self.since.map(|since| since.min(step.to));
        if let Some(funds) = &mut self.funds {
            funds.step_back(step.to);
        }
        if let Some(rolling) = self.rolling() {
            rolling.step_back(&mut self.counters, step);
            return;
        }
        self.counters.append(&mut self.ahead);
        let come = self.counters.partition_point(|counter| counter.period_start <= step.to);
        self.ahead = self.counters.split_off(come);
        self.forget_farthest(self.kept.map_or(step.to, |kept| kept.start));
    }

    /// The counters that another fold of the same entries has kept, and that count from an instant on, but are not here.
    pub(super) fn lacking_of(&self, kept: &Self, to: Timestamp) -> Vec<Counter> {
        if let Some(rolling) = self.rolling() {
            let since = rolling.since(to);
            let counts = |point: &&Counter| point.period_start > since || point.holds > 0;
            let points = |state: &Self| state.counters.iter().filter(counts).cloned().collect::<Vec<_>>();
            let wanted = points(kept);
            return if wanted == points(self) { Vec::new() } else { wanted };
        }
        let all = || kept.counters.iter().chain(&kept.ahead).filter(|counter| is_kept(kept.kept, counter.period_start));
        let start = self.window(to).start;
        // Where nothing was counted in it, what the period before has left counts.
        let latest = all().filter(|counter| counter.period_start <= start).max_by_key(|counter| counter.period_start);
        let first = latest.filter(|latest| latest.period_start == start || self.quota.rollover.is_some());
        let later = all().filter(|counter| counter.period_start > start);
        let lacks = |counter: &&Counter| self.counter(counter.period_start).is_none();
        first.into_iter().chain(later).filter(lacks).cloned().collect()
    }

    /// From which period on there may be more than another fold has kept.
    pub(super) const fn unknown_from(&self) -> Option<Timestamp> {
        self.unknown_from
    }

    /// Takes back counters that were let go of.
    pub(super) fn restore(&mut self, restored: &[Counter], unknown_from: Option<Timestamp>, at: Timestamp) {
        let kept = self.kept;
        if let Some(rolling) = self.rolling() {
            if !restored.is_empty() {
                // All of its points come anew, but for what is kept for another instant.
                let is_kept = |point: &Counter| is_kept(kept, point.period_start);
                self.counters.retain(|point| is_kept(point) && point.period_start <= rolling.since(at));
                self.counters.extend_from_slice(restored);
            }
            return;
        }
        if kept.is_none() {
            self.unknown_from = unknown_from;
        }
        self.counters.append(&mut self.ahead);
        for counter in restored {
            if let Err(place) = self.counters.binary_search_by_key(&counter.period_start, |known| known.period_start) {
                self.counters.insert(place, counter.clone());
            }
        }
        let come = self.counters.partition_point(|counter| counter.period_start <= at);
        self.ahead = self.counters.split_off(come);
    }

    /// Whether a period comes after every one that something was counted in.
    pub(super) fn is_later(&self, period_start: Timestamp) -> bool {
        self.counters.last().is_none_or(|latest| latest.period_start < period_start)
    }

    /// Starts a period again with nothing spent; of a rolling window, all of it.
    pub(super) fn reset(&mut self, period_start: Timestamp, seq: u64) {
        if self.rolling().is_some() {
            self.counters.iter_mut().for_each(|point| point.reset(seq));
        } else if let Some(counter) = self.counter_mut(period_start) {
            counter.reset(seq);
        }
    }

    /// The thresholds that are crossed where so much more is spent in the period of a placement of this generation, and the limit raised by so much, ascending; what is
    /// spent then, and the limit that is in force.
    pub(super) fn newly_crossed(
        &self,
        placement: &Placement,
        more: Amount,
        raised: Amount,
        now: Timestamp,
    ) -> (Vec<Ratio>, Amount, Amount) {
        let id = &placement.quota_id;
        let view = if self.rolling().is_some() {
            self.view_of(id, placement, now)
        } else if let Some(counter) = self.counter(placement.period_start) {
            // Nearly always: without working out what a view has besides.
            return self.crossed(counter.spent.plus(more), self.limit_of(counter, now).plus(raised), &counter.warned);
        } else {
            let begins = self.is_later(placement.period_start) && placement.period_start == self.window(now).start;
            begins.then(|| self.view(id, now))
        };
        // Without a view, the period is over and its counter gone; who should be warned was.
        let nothing = (Vec::new(), Amount::ZERO, Amount::ZERO);
        view.map_or(nothing, |view| self.crossed(view.spent.plus(more), view.limit.plus(raised), &view.warned))
    }

    /// The thresholds that are reached, but for those that were before; with what is spent, and the limit.
    fn crossed(&self, spent: Amount, limit: Amount, warned: &[Ratio]) -> (Vec<Ratio>, Amount, Amount) {
        // A limit of zero is reached by the first spend, not by none at all.
        let thresholds = self.quota.warn_at.as_slice().iter().filter(|_| !spent.is_zero());
        let crossed = thresholds.filter(|fraction| fraction.is_reached(spent, limit) && !warned.contains(fraction));
        (crossed.copied().collect(), spent, limit)
    }

    /// Arms the thresholds again that a new limit puts out of reach.
    pub(super) fn rearm(&mut self, now: Timestamp) {
        let limit = self.limit(now);
        if let Some(rolling) = self.rolling() {
            let within = rolling.within(&self.counters, now);
            let spent = within.iter().fold(Amount::ZERO, |spent, point| spent.plus(point.spent));
            let (kept, since) = (self.kept, rolling.since(now));
            // What has left the window has warned of what was in it then, and may be in it again where the clock is set back.
            let is_gone = |point: &&mut Counter| kept.is_some() && point.period_start <= since;
            self.counters
                .iter_mut()
                .filter(|point| !is_gone(point))
                .for_each(|point| point.warned.retain(|fraction| fraction.is_reached(spent, limit)));
        } else {
            // What the periods were left counts as long as the quota says so.
            let rolls_over = self.quota.rollover.is_some();
            for counter in self.counters.iter_mut().chain(&mut self.ahead) {
                let carried = if rolls_over { counter.carried } else { Amount::ZERO };
                let (spent, limit) = (counter.spent, limit.plus(carried));
                counter.warned.retain(|fraction| fraction.is_reached(spent, limit));
            }
        }
    }

    /// What the period before left of the quota's own limit, up to what goes on. What it had carried over itself does not go on again.
    fn carried_into(&self, period_start: Timestamp) -> Amount {
        let Some(most) = self.quota.rollover else { return Amount::ZERO };
        if self.since.is_none_or(|since| since >= period_start) {
            return Amount::ZERO;
        }
        let previous = self.window(Timestamp::from_calendar(period_start.millis() - 1)).start;
        let earlier = |counter: &&Counter| counter.period_start < period_start;
        let before = self.ahead.iter().rev().chain(self.counters.iter().rev()).find(earlier);
        // A period in which nothing was counted left all of it.
        let before = before.filter(|counter| counter.period_start >= previous);
        let used = before.map_or(Amount::ZERO, Counter::used);
        let carried = before.map_or(Amount::ZERO, |before| before.carried);
        let used = if fault::on(Fault::RestRollsOverAgain) { used.minus(carried) } else { used };
        self.quota.limit.minus(used).or_zero().min(most)
    }

    pub(super) fn rolling(&self) -> Option<Rolling> {
        match self.quota.period {
            Period::Rolling(seconds) => Some(Rolling::of_seconds(seconds)),
            _ => None,
        }
    }

    fn place(&self, period_start: Timestamp) -> Option<usize> {
        if self.rolling().is_some() {
            let place = self.counters.partition_point(|point| point.period_start < period_start);
            (place < self.counters.len()).then_some(place)
        } else {
            self.counters.iter().rposition(|counter| counter.period_start == period_start)
        }
    }

    /// By how many milliseconds another table of time zones may begin a period earlier or later.
    const fn tolerance(&self) -> i64 {
        match self.quota.period {
            Period::Hour => HOUR_MS / 2,
            _ => 12 * HOUR_MS,
        }
    }

    /// The calendar period that holds an instant.
    fn window(&self, now: Timestamp) -> Window {
        if let Some(latest) = self.latest.filter(|latest| latest.contains(now)) {
            return latest;
        }
        let calendar = self.calendar.get_or_init(|| self.quota.calendar());
        let mut window = calendar.window(self.quota.period, now);
        // A newer table of time zones may begin a period at another hour than the one that it was opened under. It is the same
        // period, and what was counted in it counts.
        let half = self.tolerance();
        if let Some(opened) = self.counters.last().map(|counter| counter.period_start)
            && opened <= now
            && opened.millis() + half > window.start.millis()
        {
            window.start = opened;
        }
        window
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::quota::{ResourceFilter, Scope, Unit};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A quota with something counted in a period that began at an instant, under whichever table of time zones.
    fn opened(period: Period, start: &str) -> QuotaState {
        let quota = Quota::new(Scope::Tenant, ResourceFilter::All, Unit::Requests, Amount::ONE, period);
        let mut state = QuotaState::new(quota, QuotaSource::Custom, 1, Timestamp::default());
        let change = Change { spent: Amount::ONE, ..Change::NONE };
        state.open_counter(at(start), at(start)).unwrap().add(change);
        // As it is read back, under the table of now.
        serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap()
    }

    #[test]
    fn a_newer_table_of_time_zones_does_not_begin_a_period_twice() {
        let id: QuotaId = "q".parse().unwrap();
        for (period, start, now, end) in [
            // The month began earlier than it would now, or later.
            (Period::Month, "2026-10-31T23:00:00Z", "2026-11-24T12:00:00Z", "2026-12-01T00:00:00Z"),
            (Period::Month, "2026-11-01T01:00:00Z", "2026-11-24T12:00:00Z", "2026-12-01T00:00:00Z"),
            (Period::Day, "2026-11-24T01:00:00Z", "2026-11-24T01:00:00Z", "2026-11-25T00:00:00Z"),
            (Period::Hour, "2026-11-24T11:30:00.001Z", "2026-11-24T12:10:00Z", "2026-11-24T13:00:00Z"),
            // It has begun already, which it would not have yet.
            (Period::Month, "2026-10-31T23:00:00Z", "2026-10-31T23:30:00Z", "2026-11-01T00:00:00Z"),
        ] {
            let mut state = opened(period, start);
            let view = state.view(&id, at(now));
            assert_eq!(
                (view.window, view.spent),
                (Window { start: at(start), end: Some(at(end)) }, Amount::ONE),
                "{now}"
            );
            // What is spent from then on goes to the same period.
            let placement = state.placement(&id, &view, at(now));
            state
                .open_counter(placement.period_start, at(now))
                .unwrap()
                .add(Change { spent: Amount::ONE, ..Change::NONE });
            assert_eq!(state.view(&id, at(now)).spent.to_string(), "2", "{now}");
        }
        // The next one is another.
        for (period, start, now) in [
            (Period::Month, "2026-10-31T23:00:00Z", "2026-12-01T00:00:00Z"),
            (Period::Day, "2026-11-24T01:00:00Z", "2026-11-25T00:00:00Z"),
            (Period::Hour, "2026-11-24T11:00:00Z", "2026-11-24T12:00:00Z"),
        ] {
            assert_eq!(opened(period, start).view(&id, at(now)).spent, Amount::ZERO, "{now}");
        }
    }
}
