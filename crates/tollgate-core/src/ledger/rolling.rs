//! What a window that rolls has counted: a few points in time instead of one counter a period.
//!
//! A point stands for everything that was reserved after the point before it, up to its own instant. Only the latest instant can be
//! added to, so that points are ascending. While there are few, each is one instant, and the window is exact; beyond [`MAX_POINTS`]
//! those within a [grain](Rolling::grain) of each other become the latest of them, which leaves the window later, never earlier.

use super::counter::Counter;
use super::set_back::SetBack;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::time::Timestamp;

/// The most points of one quota.
pub(super) const MAX_POINTS: usize = 64;

/// A window of so many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    length: i64,
}

impl Rolling {
    pub(super) fn of_seconds(seconds: u32) -> Self {
        Self { length: i64::from(seconds) * 1000 }
    }

    /// How much later than exactly something may leave the window, once there are many points: a 32nd of its length.
    fn grain(self) -> i64 {
        (self.length / 32).max(1)
    }

    /// The last instant that has left the window; the beginning of time where none has.
    pub(super) fn since(self, now: Timestamp) -> Timestamp {
        let length = if fault::on(Fault::RollingWindowIsShort) { self.length / 2 } else { self.length };
        // The window of the first seconds of 1970 would begin before time does.
        Timestamp::from_calendar((now.millis() - length).max(-1))
    }

    /// Where an instant is after a step back: what was in the window then still is, and leaves it as if it were of now; what had left it has left it for good.
    pub(super) fn after_step(self, step: SetBack, at: Timestamp) -> Timestamp {
        if at <= step.to {
            at
        } else if at > self.since(step.from) {
            step.to
        } else {
            Timestamp::default()
        }
    }

    /// When an instant leaves the window.
    pub(super) const fn leaves_at(self, at: Timestamp) -> Timestamp {
        Timestamp::from_calendar(at.millis() + self.length)
    }

    /// The points within the window.
    pub(super) fn within(self, points: &[Counter], now: Timestamp) -> &[Counter] {
        let since = self.since(now);
        let gone = points.partition_point(|point| point.period_start <= since);
        points.get(gone..).unwrap_or_default()
    }

    /// When enough has left the window that `amount` more fits a limit, if nothing is added; where it is more than the limit, when
    /// everything has. None where there is nothing that could leave.
    pub(super) fn resets_at(
        self,
        points: &[Counter],
        now: Timestamp,
        limit: Amount,
        amount: Amount,
    ) -> Option<Timestamp> {
        let within = self.within(points, now);
        let mut used = within.iter().fold(amount, |used, point| used.plus(point.used()));
        let enough = within.iter().find(|point| {
            used = used.minus(point.used());
            used <= limit
        });
        enough.or_else(|| within.last()).map(|point| self.leaves_at(point.period_start))
    }

    /// Moves the points to where a step back leaves them.
    pub(super) fn step_back(self, points: &mut Vec<Counter>, step: SetBack) {
        let later = points.partition_point(|point| point.period_start <= step.to);
        for mut point in points.split_off(later) {
            point.period_start = self.after_step(step, point.period_start);
            if point.holds == 0 && (point.period_start < step.to || fault::on(Fault::SetBackForgetsWindow)) {
                continue;
            }
            let place = points.partition_point(|other| other.period_start < point.period_start);
            if let Some(same) = points.get_mut(place).filter(|other| other.period_start == point.period_start) {
                let known = core::mem::replace(same, Counter::new(point.period_start));
                *same = known.joined(point);
            } else {
                points.insert(place, point);
            }
        }
    }

    /// Makes room for a point at an instant that is later than every point, but keeps those that are still wanted.
    pub(super) fn make_room(self, points: &mut Vec<Counter>, now: Timestamp, is_kept: impl Fn(Timestamp) -> bool) {
        let since = self.since(now);
        let gone = points.partition_point(|point| point.period_start <= since);
        if gone > 0 {
            // Holds that have left the window count no more, but must be found when they end.
            let (mut left, gone): (Vec<_>, Vec<_>) =
                points.drain(..gone).partition(|point| is_kept(point.period_start));
            left.extend(gone.into_iter().filter(|point| point.holds > 0).reduce(Counter::joined));
            left.sort_by_key(|point| point.period_start);
            points.splice(..0, left);
        }
        if points.len() >= MAX_POINTS {
            let grain = |point: &Counter| point.period_start.millis() / self.grain();
            let mut coarse: Vec<Counter> = Vec::with_capacity(MAX_POINTS);
            for point in points.drain(..) {
                match coarse.pop() {
                    Some(last) if last.period_start > since && grain(&last) == grain(&point) => {
                        coarse.push(last.joined(point));
                    }
                    last => coarse.extend(last.into_iter().chain([point])),
                }
            }
            *points = coarse;
        }
    }
}
