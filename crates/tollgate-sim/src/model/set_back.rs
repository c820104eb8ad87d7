//! A clock that was set back: nothing is taken apart and nothing is folded again, since all charges are there. What was placed in time by the clock
//! that was wrong gets the place that it has now.

use std::collections::BTreeMap;

use super::calendar::{Period, SECOND};
use super::words::Command;
use super::{Model, Place, Reservation};

/// By more than this a clock has to be set back for the ledger to follow it.
const OVERRULED: i64 = 3_600 * SECOND;

impl Model {
    /// Follows a clock that was set back by more than an hour.
    pub fn follow(&mut self, clock: i64) {
        let (from, to) = (self.last, clock);
        if from - to <= OVERRULED {
            return;
        }
        self.last = to;
        self.changes += 1;
        self.steps_back += 1;
        self.move_windows(from, to);
        for known in self.reservations.values_mut().filter(|known| known.state == super::State::Held) {
            known.expires_at = known.expires_at.min(to + longest(known) * SECOND);
        }
        for quota in self.quotas.values_mut() {
            quota.rolls_since = quota.rolls_since.map(|since| since.min(to));
        }
        self.periods_come_again(to);
        self.funds_come_again(to);
        self.allow_what_is_used(to);
    }

    /// What was in a rolling window counts as of now, and what had left one has left it for good.
    fn move_windows(&mut self, from: i64, to: i64) {
        let windows: BTreeMap<u64, i64> = self
            .quotas
            .values()
            .filter_map(|quota| match quota.definition.period {
                Period::Rolling(seconds) => Some((quota.identity, seconds * SECOND)),
                _ => None,
            })
            .collect();
        let moved = |(identity, at): Place| match windows.get(&identity) {
            Some(length) if at > to => (identity, if at > from - length { to } else { 0 }),
            _ => (identity, at),
        };
        for known in self.reservations.values_mut() {
            known.counted_on.iter_mut().for_each(|place| *place = moved(*place));
        }
        for (place, warned) in core::mem::take(&mut self.warned) {
            self.warned.entry(moved(place)).or_default().extend(warned);
        }
        for (place, above) in core::mem::take(&mut self.overruns) {
            *self.overruns.entry(moved(place)).or_default() += above;
        }
        for (identity, starts) in &mut self.counted {
            *starts = starts.iter().map(|start| moved((*identity, *start)).1).collect();
        }
    }

    /// The period of now, and those to come, are not over. Where nothing was counted in it, the one before still says what it left.
    fn periods_come_again(&mut self, to: i64) {
        for quota in self.quotas.values() {
            let (identity, definition) = (quota.identity, &quota.definition);
            let this = definition.around(to).0;
            let is_counted = self.counted.get(&identity).is_some_and(|starts| starts.contains(&this));
            let first = match definition.rollover {
                Some(_) if !is_counted => definition.around(this - 1).0,
                _ => this,
            };
            self.over.retain(|(of, start)| *of != identity || *start < first);
            self.current.insert(identity, if is_counted { this } else { this - 1 });
        }
    }
}

/// The longest that a hold was ever to last.
fn longest(known: &Reservation) -> i64 {
    let asked = core::iter::once(&known.opening).chain(&known.extensions).map(|command| match command {
        Command::Reserve { ttl_seconds, .. } => i64::from(*ttl_seconds),
        Command::Extend { ttl_seconds, .. } => ttl_seconds.map_or(0, i64::from),
        _ => 0,
    });
    asked.max().unwrap_or(0)
}
