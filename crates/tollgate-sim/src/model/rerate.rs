//! Charges of the past by the prices of now: what they would have been, and adjustments that make up the difference once.

use super::amounts::{Amounts, Pico};
use super::words::Actual;
use super::{Model, Reservation, State};

/// What re-rating comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rerated {
    /// Of how many charges.
    pub charges: u64,
    /// What they are.
    pub old: Pico,
    /// What they would be.
    pub new: Pico,
    /// How many of them were adjusted.
    pub posted: u64,
}

impl Model {
    /// Compares every charge that has an entry with what it would be now; under an id, makes up the differences that were not made up under
    /// it before.
    pub fn rerate(&mut self, clock: i64, post: Option<&str>) -> Rerated {
        if post.is_some() {
            self.follow(clock);
        }
        let now = self.now(clock);
        self.allow_what_is_used(now);
        let charged = self.reservations.iter().filter_map(|(id, known)| Some((known.charged_in?, id.clone())));
        // One after the other, as they were charged: each may cross a threshold.
        let mut charged: Vec<(usize, String)> =
            charged.filter(|(_, id)| has_ended_with_charge(&self.reservations[id])).collect();
        charged.sort();
        let mut sum = Rerated::default();
        for (_, id) in charged {
            let known = &self.reservations[&id];
            let old = known.charged;
            let cost = self.cost_now(known);
            let mut new = cost.map_or(old.usd, |cost| known.after_refunds(cost));
            if let Some(post) = post.filter(|_| new != old.usd) {
                if known.adjusted.iter().any(|earlier| earlier == post) {
                    new = old.usd;
                } else {
                    self.charge_to(&id, Amounts { usd: cost.unwrap_or(known.cost), ..old }, &|_| 0, now);
                    if let Some(known) = self.reservations.get_mut(&id) {
                        known.adjusted.push(post.to_owned());
                    }
                    self.last = now;
                    self.changes += 1;
                    sum.posted += 1;
                }
            }
            sum.charges += 1;
            sum.old += old.usd;
            sum.new += new;
        }
        sum
    }

    /// What was used would cost so much now. None where nobody said what was used, or it has no price.
    fn cost_now(&self, known: &Reservation) -> Option<Pico> {
        let cost = self.rates(&known.call, known.created_at).cost(known.reported?)?;
        match known.reported? {
            Actual::Usd(_) => None,
            Actual::Incomplete { .. } => Some(cost.usd.max(known.held.usd)),
            Actual::Usage { .. } | Actual::Seconds(_) => Some(cost.usd),
        }
    }
}

/// A release charges nothing more, and a call that goes on is not charged for good.
fn has_ended_with_charge(known: &Reservation) -> bool {
    !known.is_archived && !matches!(known.state, State::Held | State::Released)
}
