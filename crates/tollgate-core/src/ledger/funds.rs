//! What adds to a quota's limit besides the quota itself: prepaid credits, and increases that end by themselves.
//!
//! A credit is drawn on when something is held or spent, the one that ends first before the others, and the quota's own limit last. What a
//! hold gives back goes to the credits that it came from. When a credit ends, its unspent part lapses; what was drawn stays part of the
//! limit, since it was paid for, and a hold that is still open keeps what it draws until it ends.

use serde::{Deserialize, Serialize};

use super::set_back::RestoredCredit;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::{CreditId, IncreaseId, QuotaId};
use crate::objects;
use crate::time::Timestamp;

/// The most credits, and the most increases, of one quota that are remembered. The oldest that have ended are forgotten first, and with
/// them their ids.
pub const MAX_FUNDS: usize = 1_000;

/// Money, or another unit, that was paid for in advance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credit {
    /// Chosen by the caller; makes it safe to repeat.
    pub id: CreditId,
    /// How much, above zero, in the quota's unit.
    pub amount: Amount,
    /// When its unspent part lapses; never where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What of the unspent part goes on then.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "objects::optional_object")]
    pub rollover: Option<Rollover>,
}

/// What of a credit's unspent part outlives it, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollover {
    /// So much at most.
    pub max: Amount,
    /// Until then.
    pub until: Timestamp,
}

/// A higher limit for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Increase {
    /// Chosen by the caller; makes it safe to repeat.
    pub id: IncreaseId,
    /// How much higher, above zero, in the quota's unit.
    pub amount: Amount,
    /// The first instant at which it is over.
    pub until: Timestamp,
}

/// The funds of one quota.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Funds {
    /// In the order in which they are drawn on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    credits: Vec<CreditState>,
    /// What was drawn on credits that are forgotten.
    #[serde(default)]
    forgotten: Amount,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    increases: Vec<IncreaseState>,
}

/// A credit and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreditState {
    /// As it was asked for.
    pub credit: Credit,
    /// What there is of it in all: less than was asked for once a part has lapsed or was taken back.
    pub amount: Amount,
    /// Held and spent.
    pub drawn: Amount,
    /// When what is left lapses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether it has lapsed or was taken back.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub ended: bool,
}

/// An increase and when it ends, or ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncreaseState {
    increase: Increase,
    until: Timestamp,
}

/// What a reservation draws on a credit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drawn {
    quota_id: QuotaId,
    credit: CreditId,
    amount: Amount,
}

impl CreditState {
    /// What is left of it at an instant.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Amount {
        if self.is_over(now) { Amount::ZERO } else { self.amount.minus(self.drawn).or_zero() }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.ended || self.expires_at.is_some_and(|at| at <= now && !fault::on(Fault::CreditOutlivesItsEnd))
    }

    fn end(&mut self) {
        self.amount = self.drawn;
        self.ended = true;
    }
}

impl Funds {
    /// What they add to the limit at an instant.
    pub(super) fn extra(&self, now: Timestamp) -> Amount {
        let credits = self.credits.iter().map(|credit| if credit.is_over(now) { credit.drawn } else { credit.amount });
        let increases = self.increases(now).map(|increase| increase.amount);
        credits.chain(increases).fold(self.forgotten, Amount::plus)
    }

    /// Those that have something left at an instant, in the order in which they are drawn on.
    pub fn credits(&self, now: Timestamp) -> impl Iterator<Item = &CreditState> {
        self.credits.iter().filter(move |credit| !credit.is_over(now))
    }

    /// Those that are in force at an instant.
    pub fn increases(&self, now: Timestamp) -> impl Iterator<Item = &Increase> {
        let is_in_force = move |state: &&IncreaseState| now < state.until || fault::on(Fault::IncreaseNeverEnds);
        self.increases.iter().filter(is_in_force).map(|state| &state.increase)
    }

    /// A credit, also one that has ended and is remembered.
    pub(super) fn credit(&self, id: &CreditId) -> Option<&CreditState> {
        self.credits.iter().find(|known| known.credit.id == *id)
    }

    /// An increase as it was asked for, and when it ends.
    pub(super) fn increase(&self, id: &IncreaseId) -> Option<(&Increase, Timestamp)> {
        self.increases.iter().find(|known| known.increase.id == *id).map(|known| (&known.increase, known.until))
    }

    /// Whether another credit can be remembered.
    pub(super) fn takes_credit(&self) -> bool {
        self.credits.len() < MAX_FUNDS || self.credits.iter().any(|credit| credit.ended)
    }

    /// Whether another increase can be remembered.
    pub(super) fn takes_increase(&self, now: Timestamp) -> bool {
        self.increases(now).count() < MAX_FUNDS
    }

    /// The credit that ends first, and when, of those that have not ended.
    pub(super) fn next_lapse(&self) -> Option<(Timestamp, &CreditState)> {
        let credit = self.credits.iter().find(|credit| !credit.ended && !fault::on(Fault::CreditOutlivesItsEnd))?;
        Some((credit.expires_at?, credit))
    }

    pub(super) fn add_credit(&mut self, credit: Credit) {
        if self.credits.len() >= MAX_FUNDS
            && let Some(oldest) = self.credits.iter().position(|credit| credit.ended)
        {
            self.forgotten = self.forgotten.plus(self.credits.remove(oldest).drawn);
        }
        let (amount, expires_at) = (credit.amount, credit.expires_at);
        self.place(CreditState { credit, amount, drawn: Amount::ZERO, expires_at, ended: false });
    }

    /// A credit's end: what is left lapses, but for what goes on.
    pub(super) fn lapse(&mut self, id: &CreditId, rolled: Option<Rollover>) {
        let Some(at) = self.credits.iter().position(|known| known.credit.id == *id) else { return };
        let mut credit = self.credits.remove(at);
        match rolled {
            Some(rolled) => {
                credit.amount = credit.drawn.plus(rolled.max);
                credit.expires_at = Some(rolled.until);
            }
            None => credit.end(),
        }
        self.place(credit);
    }

    /// Whether a credit that is there still ends only after an instant.
    pub(super) fn lasts_beyond(&self, id: &CreditId, to: Timestamp) -> bool {
        self.credit(id).is_some_and(|credit| !credit.ended && credit.expires_at.is_some_and(|at| at > to))
    }

    /// Whether one may have lapsed that ends after an instant.
    pub(super) fn has_lapsed_after(&self, to: Timestamp) -> bool {
        self.credits.iter().any(|credit| credit.ended && credit.expires_at.is_some_and(|at| at > to))
    }

    /// Those that have lapsed here and not in another fold of the same entries, in which what ends after an instant goes on.
    pub(super) fn not_lapsed(&self, kept: &Self, to: Timestamp) -> Vec<RestoredCredit> {
        let lapsed = |credit: &&CreditState| credit.ended;
        let goes_on = kept.credits.iter().filter(|kept| kept.expires_at.is_some_and(|at| at > to) && !kept.ended);
        let restored = goes_on.filter(|kept| self.credit(&kept.credit.id).as_ref().is_some_and(lapsed));
        let restored = restored.map(|kept| RestoredCredit { credit_id: kept.credit.id.clone(), amount: kept.amount });
        restored.collect()
    }

    /// A credit that has lapsed only under a clock that was wrong.
    pub(super) fn restore(&mut self, restored: &RestoredCredit) {
        let ended = |known: &CreditState| known.credit.id == restored.credit_id && known.ended;
        let Some(at) = self.credits.iter().position(ended) else { return };
        let mut credit = self.credits.remove(at);
        credit.amount = restored.amount;
        credit.ended = false;
        self.place(credit);
    }

    /// The clock was set back: what was ended by hand under the later one is over.
    pub(super) fn step_back(&mut self, to: Timestamp) {
        for known in self.increases.iter_mut().filter(|known| known.until != known.increase.until) {
            if !fault::on(Fault::SetBackRevivesIncreases) {
                known.until = known.until.min(to);
            }
        }
    }

    pub(super) fn add_increase(&mut self, increase: Increase, now: Timestamp) {
        if self.increases.len() >= MAX_FUNDS {
            self.increases.retain(|known| now < known.until);
        }
        let until = increase.until;
        self.increases.push(IncreaseState { increase, until });
    }

    pub(super) fn end_increase(&mut self, id: &IncreaseId, now: Timestamp) {
        for known in self.increases.iter_mut().filter(|known| known.increase.id == *id) {
            known.until = known.until.min(now);
        }
    }

    /// Draws on credits for so much more of a reservation, or gives back to those that it draws on.
    pub(super) fn draw(&mut self, quota_id: &QuotaId, drawn: &mut Vec<Drawn>, more: Amount, now: Timestamp) {
        let mut more = more;
        for credit in self.credits.iter_mut().filter(|credit| !credit.is_over(now)) {
            let amount = credit.amount.minus(credit.drawn).min(more);
            if amount <= Amount::ZERO {
                continue;
            }
            credit.drawn = credit.drawn.plus(amount);
            more = more.minus(amount);
            let id = &credit.credit.id;
            match drawn.iter_mut().find(|known| known.quota_id == *quota_id && known.credit == *id) {
                Some(known) => known.amount = known.amount.plus(amount),
                None => drawn.push(Drawn { quota_id: quota_id.clone(), credit: id.clone(), amount }),
            }
        }
        let mut less = Amount::ZERO.minus(more);
        if fault::on(Fault::FirstCreditGetsAllBack) {
            drawn.reverse();
        }
        for known in drawn.iter_mut().rev().filter(|known| known.quota_id == *quota_id) {
            let amount = known.amount.min(less);
            if amount <= Amount::ZERO {
                continue;
            }
            known.amount = known.amount.minus(amount);
            less = less.minus(amount);
            match self.credits.iter_mut().find(|credit| credit.credit.id == known.credit) {
                Some(credit) => {
                    credit.drawn = credit.drawn.minus(amount);
                    if credit.ended {
                        // What comes back of it lapses, too.
                        credit.amount = credit.drawn;
                    }
                }
                None => self.forgotten = self.forgotten.minus(amount),
            }
        }
        drawn.retain(|known| !known.amount.is_zero());
    }

    /// After a reset nothing is spent: what is drawn is what open reservations draw, each no more than it holds.
    pub(super) fn reset<'a>(
        &mut self,
        quota_id: &QuotaId,
        open: impl Iterator<Item = (Amount, &'a mut Vec<Drawn>)>,
        now: Timestamp,
    ) {
        let mut by_holds = Vec::new();
        for (held, drawn) in open {
            let of_quota = drawn.iter().filter(|drawn| drawn.quota_id == *quota_id);
            let spent = of_quota.fold(Amount::ZERO, |sum, drawn| sum.plus(drawn.amount)).minus(held);
            if spent > Amount::ZERO {
                self.draw(quota_id, drawn, Amount::ZERO.minus(spent), now);
            }
            by_holds.extend(drawn.iter().filter(|drawn| drawn.quota_id == *quota_id).cloned());
        }
        self.forgotten = Amount::ZERO;
        for credit in &mut self.credits {
            credit.drawn = Amount::ZERO;
        }
        for drawn in by_holds {
            match self.credits.iter_mut().find(|credit| credit.credit.id == drawn.credit) {
                Some(credit) => credit.drawn = credit.drawn.plus(drawn.amount),
                None => self.forgotten = self.forgotten.plus(drawn.amount),
            }
        }
        for credit in self.credits.iter_mut().filter(|credit| credit.ended) {
            credit.amount = credit.drawn;
        }
    }

    /// What ends first is drawn on first; what never ends, last; among equals the older.
    fn place(&mut self, credit: CreditState) {
        let end = |credit: &CreditState| (!credit.ended, credit.expires_at.map_or(i64::MAX, Timestamp::millis));
        let place = self.credits.partition_point(|other| end(other) <= end(&credit));
        self.credits.insert(place, credit);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_comes_back_to_a_credit_that_is_forgotten_lapses_too() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let credit = |number: usize, amount| Credit {
            id: format!("c-{number}").parse().unwrap(),
            amount,
            expires_at: None,
            rollover: None,
        };
        let quota: QuotaId = "q".parse().unwrap();
        let now = Timestamp::default();
        let mut funds = Funds::default();
        funds.add_credit(credit(0, amount("10")));
        let mut drawn = Vec::new();
        funds.draw(&quota, &mut drawn, amount("4"), now);
        funds.lapse(&"c-0".parse().unwrap(), None);
        for number in 1..=MAX_FUNDS {
            funds.add_credit(credit(number, Amount::ONE));
        }
        assert!(funds.credit(&"c-0".parse().unwrap()).is_none(), "it is forgotten");
        assert_eq!(funds.extra(now), amount("1004"), "what was drawn was paid for");
        funds.reset(&quota, [(amount("4"), &mut drawn)].into_iter(), now);
        assert_eq!(funds.extra(now), amount("1004"), "and is still held");
        funds.draw(&quota, &mut drawn, amount("-3"), now);
        assert_eq!(funds.extra(now), amount("1001"));
    }
}
