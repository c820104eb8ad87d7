//! A clock that is set back: by up to an hour the last entry overrules it, by more the ledger follows.
//!
//! A clock that once said 2030 would otherwise be the ledger's until 2030. What a step back needs and the ledger has let go of is folded
//! again by whoever keeps the entries, as a [`Refolding`]; the entries that follow the step say what it came to, so that everybody who folds
//! them has the same, without folding anything twice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::counter::Counter;
use super::event::{Entry, Event, Placement};
use super::funds::Funds;
use super::open_holds::OpenHolds;
use super::{Ledger, Reservation};
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::{CreditId, QuotaId};
use crate::time::Timestamp;
use crate::usage_report::{UsageKey, UsageTotals};

/// Up to so long before the last entry a clock is overruled.
pub const OVERRULED_SECONDS: u32 = 3_600;

/// 2025-01-01T00:00:00Z, where the table of time zones begins. A clock that says less has lost the time, and is overruled: its periods would all begin with nothing spent.
const FIRST_MILLIS: i64 = 1_735_689_600_000;
/// How many counters an entry tells of at most: it has to fit a row of the journal.
const MAX_COUNTERS: usize = 1_000;
/// How many steps back are remembered for what had ended before them; the oldest go first.
const MAX_SET_BACKS: usize = 64;

/// What counts again of one quota, now that the clock was set back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Which.
    pub quota_id: QuotaId,
    /// Its generation.
    pub generation: u64,
    /// What its periods have counted; of a rolling window all of its points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) counters: Vec<Counter>,
    /// From which period on others have been counted in, too, which it does not tell of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_from: Option<Timestamp>,
    /// The credits that have not lapsed yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credits: Vec<RestoredCredit>,
}

/// A credit that lapsed, or rolled over, only under the clock that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoredCredit {
    /// Which.
    pub credit_id: CreditId,
    /// What there is of it in all, with what was drawn.
    pub amount: Amount,
    /// When what is left lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A step back, for what was placed in time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SetBack {
    /// The entry that tells of it.
    pub(super) seq: u64,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// What a turn begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// The clock was set back: [`Ledger::set_back`], with a [`Refolding`] if it says so.
    StepBack(bool),
    /// A period has come that is not known: [`Ledger::take_in`].
    TakeIn,
}

/// How often a ledger follows its clock back. Of two hosts whose clocks differ by more than an hour the one that is behind steps back whenever the other has
/// written, so each step has to be worth what it costs: while it is not, the last entry overrules the clock, as it does one that is a little behind.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many turns are yet to be taken before the next step.
    turns: u64,
}

impl Pace {
    /// The most turns between two steps.
    const MOST: u64 = 1_024;
    /// How much work, in entries, a turn may cost on average.
    const WORK: u64 = 1_000;

    /// What a turn begins with, at what the clock says.
    pub fn begin(&mut self, ledger: &Ledger, clock: Timestamp) -> Option<Beginning> {
        let is_due = self.turns == 0;
        self.turns = self.turns.saturating_sub(1);
        if ledger.is_set_back_by(clock) {
            is_due.then(|| Beginning::StepBack(ledger.has_let_go_of(clock)))
        } else {
            // Not a thing to wait for: what has come again would begin at zero.
            ledger.has_unknown(clock).then_some(Beginning::TakeIn)
        }
    }

    /// A step has been taken, for which so many entries were folded.
    pub fn has_stepped(&mut self, ledger: &Ledger, folded: u64) {
        let in_memory = ledger.open_holds().saturating_add(ledger.quota_count());
        let work = folded.saturating_add(u64::try_from(in_memory).unwrap_or(u64::MAX));
        self.turns = (work / Self::WORK).min(Self::MOST);
    }
}

/// The entries folded again, with all that counts at the instant that the clock is set back to.
#[derive(Debug)]
pub struct Refolding {
    ledger: Ledger,
    to: Timestamp,
}

impl Refolding {
    /// Begins with the state that the first of the entries finds: an empty one, or that which the archived ones led to.
    #[must_use]
    pub fn new(base: Ledger, to: Timestamp) -> Self {
        let mut ledger = base;
        let peak = ledger.peak;
        ledger.kept = Some(to);
        for state in ledger.quotas.values_mut() {
            state.keep(to);
            state.begins_beyond(to, peak);
        }
        Self { ledger, to }
    }

    /// The stretch of time of which the usage must be [told](Self::add_usage) first, because the state at the beginning was beyond it already, and the entries that
    /// tell of it are not kept any more.
    #[must_use]
    pub fn missing(&self) -> Option<(Timestamp, Timestamp)> {
        let quotas = self.ledger.quotas.values();
        let lacking = quotas.filter_map(|state| state.lacks_history(self.to, self.ledger.peak));
        lacking.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
    }

    /// What was used then, by the roll-up of the entries that are not kept any more. It knows no resets and no seconds, so that a quota may count more than it did,
    /// and of one of seconds all counts as used.
    pub fn add_usage<'a>(&mut self, cells: impl Iterator<Item = (&'a UsageKey, &'a UsageTotals)> + Clone) {
        let (to, peak) = (self.to, self.ledger.peak);
        for state in self.ledger.quotas.values_mut() {
            if let Some((from, until)) = state.lacks_history(to, peak) {
                state.count_usage(from, until, to, cells.clone());
            }
        }
    }

    /// Folds one more entry.
    pub fn fold(&mut self, entry: &Entry) {
        self.ledger.evolve(entry);
    }

    /// Lets go of every ended reservation.
    pub fn forget_ended(&mut self) {
        self.ledger.forget_ended();
    }

    /// What counts again, and is not in a ledger that the entries led to. Both stand at the instant of the step.
    fn restores(&self, ledger: &Ledger) -> Vec<Restored> {
        let quotas = ledger.quotas.iter().filter_map(|(id, state)| {
            let kept = self.ledger.quotas.get(id).filter(|kept| kept.generation == state.generation)?;
            let counters =
                if fault::on(Fault::SetBackForgetsCounters) { Vec::new() } else { state.lacking_of(kept, self.to) };
            let credits = match (&state.funds, &kept.funds) {
                (Some(funds), Some(kept)) if !fault::on(Fault::SetBackKeepsLapses) => funds.not_lapsed(kept, self.to),
                _ => Vec::new(),
            };
            let unknown_from = kept.unknown_from();
            let tells = !counters.is_empty() || !credits.is_empty() || unknown_from != state.unknown_from();
            let quota_id = id.clone();
            tells.then_some(Restored { quota_id, generation: state.generation, counters, unknown_from, credits })
        });
        quotas.collect()
    }
}

impl Ledger {
    /// Whether a clock is so far behind the last entry that the ledger follows it: see [`Ledger::set_back`].
    #[must_use]
    pub fn is_set_back_by(&self, clock: Timestamp) -> bool {
        let most = i64::from(OVERRULED_SECONDS) * 1000;
        let is_behind = self.clock.millis() - clock.millis() > most;
        is_behind && clock.millis() >= FIRST_MILLIS && !fault::on(Fault::SetBackIsOverruled)
    }

    /// Whether something counts from an earlier instant on that may not be in memory any more, so that a step back to it takes a [`Refolding`].
    #[must_use]
    pub fn has_let_go_of(&self, to: Timestamp) -> bool {
        self.quotas.values().any(|state| state.has_let_go_of(to))
    }

    /// Whether a period has come that may have been counted in before the clock was set back, and is not in memory: a [`Refolding`] tells,
    /// which has to be [taken in](Self::take_in) before anything else is decided at this instant.
    #[must_use]
    pub fn has_unknown(&self, clock: Timestamp) -> bool {
        let now = self.now(clock);
        now < self.peak && self.quotas.values().any(|state| state.has_unknown(now))
    }

    /// Follows a clock that was set back. It comes before anything else that is decided at this instant. The new entries are appended to
    /// `entries`.
    pub fn set_back(&mut self, to: Timestamp, refolding: Option<Refolding>, entries: &mut Vec<Entry>) {
        let entry = Entry { seq: self.seq + 1, at: to, event: Event::ClockSetBack { from: self.clock } };
        self.evolve(&entry);
        let refolding = refolding.map(|mut refolding| {
            refolding.fold(&entry);
            refolding
        });
        entries.push(entry);
        if let Some(refolding) = refolding {
            self.take_in(&refolding, entries);
        }
    }

    /// Takes what counts again. The new entries are appended to `entries`.
    pub fn take_in(&mut self, refolding: &Refolding, entries: &mut Vec<Entry>) {
        for restored in in_parts(refolding.restores(self)) {
            let entry = Entry { seq: self.seq + 1, at: refolding.to, event: Event::CountersRestored { restored } };
            self.evolve(&entry);
            entries.push(entry);
        }
    }

    /// The step itself. Time goes on from there; what the later clock has led to is moved to where it counts.
    pub(super) fn step_back(&mut self, seq: u64, from: Timestamp, to: Timestamp) {
        self.clock = to;
        let step = SetBack { seq, from, to };
        for state in self.quotas.values_mut() {
            state.step_back(step);
        }
        let quotas = &self.quotas;
        self.holds = OpenHolds::default();
        for reservation in self.reservations.values_mut().filter(|reservation| reservation.is_open()) {
            let moved = moved(&reservation.counted_on, &[step], |on| {
                let (_, state) = quotas.get_key_value_near(on.hint.0, &on.quota_id)?;
                if state.generation == on.generation { state.rolling() } else { None }
            });
            let ends = to.plus_seconds(reservation.longest_ttl()).min(reservation.expires_at);
            let ends = if fault::on(Fault::SetBackKeepsDeadlines) { reservation.expires_at } else { ends };
            if moved.is_some() || ends != reservation.expires_at {
                // Two entries do not tell all of it any more.
                reservation.opened_by = None;
            }
            reservation.expires_at = ends;
            if let Some(moved) = moved {
                reservation.counted_on = moved;
            }
            self.holds.insert((ends, reservation.id.clone()), reservation.call.user_id.as_ref());
        }
        if self.set_backs.len() >= MAX_SET_BACKS {
            self.set_backs.remove(0);
        }
        self.set_backs.push(step);
        self.index_quotas();
    }

    /// What counts again.
    pub(super) fn restore_counters(&mut self, restored: &[Restored], at: Timestamp) {
        for Restored { quota_id, generation, counters, unknown_from, credits } in restored {
            let Some(state) = self.quotas.get_mut(quota_id).filter(|state| state.generation == *generation) else {
                continue;
            };
            state.restore(counters, *unknown_from, at);
            if !credits.is_empty() {
                // A fold for an earlier instant may have kept a credit from rolling over that had, when an earlier step brought back what went on of it.
                let kept = self.kept;
                let is_earlier = |funds: &Funds, credit: &RestoredCredit| {
                    kept.is_some_and(|to| funds.lasts_beyond(&credit.credit_id, to))
                        && funds.credit(&credit.credit_id).is_some_and(|known| known.expires_at < credit.expires_at)
                };
                self.fund(quota_id, at, |funds| {
                    for credit in credits {
                        if !is_earlier(funds, credit) {
                            funds.restore(credit);
                        }
                    }
                });
            }
        }
    }

    /// Where a reservation counts. One that has ended is left as it was when the clock is set back, so its places in rolling windows are worked out here.
    pub(super) fn places_of(&self, reservation: &Reservation) -> Arc<[Placement]> {
        let ended_by = reservation.end.as_ref().map_or(u64::MAX, |end| end.changed.unwrap_or(end.seq));
        let later = self.set_backs.partition_point(|step| step.seq <= ended_by);
        let steps = self.set_backs.get(later..).unwrap_or_default();
        let rolling = |on: &Placement| {
            let (_, state) = self.quotas.get_key_value_near(on.hint.0, &on.quota_id)?;
            if state.generation == on.generation { state.rolling() } else { None }
        };
        moved(&reservation.counted_on, steps, rolling).unwrap_or_else(|| reservation.counted_on.clone())
    }
}

/// Placements after steps back. None where they stay as they are.
fn moved(
    placements: &Arc<[Placement]>,
    steps: &[SetBack],
    rolling: impl Fn(&Placement) -> Option<super::rolling::Rolling>,
) -> Option<Arc<[Placement]>> {
    let is_moved = |on: &Placement| steps.iter().any(|step| on.period_start > step.to) && rolling(on).is_some();
    if !placements.iter().any(is_moved) {
        return None;
    }
    let moved = placements.iter().map(|on| {
        let mut on = on.clone();
        if let Some(rolling) = rolling(&on) {
            on.period_start = steps.iter().fold(on.period_start, |at, step| rolling.after_step(*step, at));
        }
        on
    });
    Some(moved.collect())
}

/// Cut so that each part fits an entry.
fn in_parts(restored: Vec<Restored>) -> Vec<Vec<Restored>> {
    let mut parts: Vec<Vec<Restored>> = Vec::new();
    let mut room = 0_usize;
    for one in restored {
        let size = one.counters.len().saturating_add(one.credits.len());
        match parts.last_mut() {
            Some(part) if size <= room => {
                room = room.saturating_sub(size);
                part.push(one);
            }
            _ => {
                room = MAX_COUNTERS.saturating_sub(size);
                parts.push(vec![one]);
            }
        }
    }
    parts
}
