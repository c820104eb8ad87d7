//! What one quota has counted, period by period.

use serde::{Deserialize, Serialize};

use super::event::QuotaSource;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::QuotaId;

use crate::period::Window;
use crate::quota::Quota;
use crate::ratio::Ratio;
use crate::time::Timestamp;

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
    /// Ascending by period: the latest one, and earlier ones that still have holds.
    pub(super) counters: Vec<Counter>,
}

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
    /// How many holds that is. Even a hold of nothing keeps its period's counter.
    pub(super) holds: u32,
    /// The entry that last reset it; 0 for none.
    pub(super) reset_seq: u64,
    /// The thresholds that were crossed.
    pub(super) warned: Vec<Ratio>,
}

impl Counter {
    pub(super) const fn new(period_start: Timestamp) -> Self {
        Self { period_start, spent: Amount::ZERO, held: Amount::ZERO, holds: 0, reset_seq: 0, warned: Vec::new() }
    }
}

/// A quota as it stands at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaView<'a> {
    /// Its id.
    pub id: &'a QuotaId,
    /// What it says.
    pub quota: &'a Quota,
    /// Where it comes from.
    pub source: QuotaSource,
    /// The period that holds the instant.
    pub window: Window,
    /// Settled in it.
    pub spent: Amount,
    /// Reserved in it and not ended.
    pub held: Amount,
    /// The thresholds that were crossed in it.
    pub warned: &'a [Ratio],
}

impl QuotaView<'_> {
    /// What is left: limit − spent − held, never below zero.
    #[must_use]
    pub fn remaining(&self) -> Amount {
        self.quota.limit.minus(self.spent).minus(self.held).or_zero()
    }

    /// Whether so much more fits. Exactly at the limit fits.
    #[must_use]
    pub fn fits(&self, amount: Amount) -> bool {
        let held = if fault::on(Fault::HeldIsIgnored) { Amount::ZERO } else { self.held };
        self.spent.plus(held).plus(amount) <= self.quota.limit
    }

    /// (spent + held) ÷ limit, to 6 decimals. None for a limit of zero.
    #[must_use]
    pub fn utilization(&self) -> Option<Ratio> {
        Ratio::of(self.spent.plus(self.held), self.quota.limit)
    }
}

impl QuotaState {
    pub(super) const fn new(quota: Quota, source: QuotaSource, generation: u64) -> Self {
        Self { quota, source, generation, counters: Vec::new() }
    }

    /// The quota as it stands at an instant. Periods roll here, from the instant alone.
    pub(super) fn view<'a>(&'a self, id: &'a QuotaId, now: Timestamp) -> QuotaView<'a> {
        let window = self.quota.period.window(now);
        let counter = self.counter(window.start);
        QuotaView {
            id,
            quota: &self.quota,
            source: self.source,
            window,
            spent: counter.map_or(Amount::ZERO, |counter| counter.spent),
            held: counter.map_or(Amount::ZERO, |counter| counter.held),
            warned: counter.map_or(&[], |counter| &counter.warned),
        }
    }

    /// The counter of a period, where anything was counted in it.
    pub(super) fn counter(&self, period_start: Timestamp) -> Option<&Counter> {
        self.counters.iter().rev().find(|counter| counter.period_start == period_start)
    }

    pub(super) fn counter_mut(&mut self, period_start: Timestamp) -> Option<&mut Counter> {
        self.counters.iter_mut().rev().find(|counter| counter.period_start == period_start)
    }

    /// The counter of a period that something is about to be counted in. Opening a later period drops the earlier ones that no
    /// hold is open in: nothing can change them any more in a way that matters. A period that was dropped is not opened again.
    pub(super) fn open_counter(&mut self, period_start: Timestamp) -> Option<&mut Counter> {
        if self.is_later(period_start) {
            self.counters.retain(|counter| counter.holds > 0);
            self.counters.push(Counter::new(period_start));
        }
        self.counter_mut(period_start)
    }

    /// Whether a period comes after every one that something was counted in.
    pub(super) fn is_later(&self, period_start: Timestamp) -> bool {
        self.counters.last().is_none_or(|latest| latest.period_start < period_start)
    }

    /// The thresholds that spending would cross in a period, ascending.
    pub(super) fn newly_crossed(&self, counter: &Counter, spent: Amount) -> Vec<Ratio> {
        // A limit of zero is reached by the first spend, not by none at all.
        let reached = |fraction: &Ratio| !spent.is_zero() && fraction.is_reached(spent, self.quota.limit);
        let thresholds = self.quota.warn_at.as_slice().iter();
        thresholds.filter(|fraction| reached(fraction) && !counter.warned.contains(fraction)).copied().collect()
    }
}
