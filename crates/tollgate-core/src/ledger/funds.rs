//! What adds to a quota's limit besides the quota itself: prepaid credits, and increases that end by themselves.
//!
//! A credit is drawn on when something is held or spent, the one that ends first before the others, and the quota's own limit last. What a
//! hold gives back goes to the credits that it came from. When a credit ends, its unspent part lapses; what was drawn stays part of the
//! limit, since it was paid for, and a hold that is still open keeps what it draws until it ends.

use serde::{Deserialize, Serialize};

use super::set_back::RestoredCredit;
use super::used_ids::Used;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::{CreditId, IncreaseId, QuotaId};
use crate::objects;
use crate::time::Timestamp;

/// The most credits, and the most increases, of one quota that are remembered. The oldest that have ended are forgotten first; that
/// their ids were used is remembered by the ledger.
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
    /// Whether it is of what went on of a credit, by a call that was made before and had not drawn on it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    rolled: bool,
}

impl Drawn {
    /// Lets go of what draws nothing any more.
    pub(super) fn strip(drawn: &mut Vec<Self>) {
        drawn.retain(|known| !known.amount.is_zero());
    }

    /// A reset of a quota gave everything back.
    pub(super) fn give_all_back(drawn: &mut [Self], quota_id: &QuotaId) {
        for known in drawn.iter_mut().filter(|known| known.quota_id == *quota_id) {
            known.amount = Amount::ZERO;
        }
    }

    fn is_of(&self, quota_id: &QuotaId, credit: &CreditId) -> bool {
        self.quota_id == *quota_id && self.credit == *credit
    }

    /// Whether it is a draw on the same part of the same credit.
    fn is_like(&self, other: &Self) -> bool {
        self.is_of(&other.quota_id, &other.credit) && self.rolled == other.rolled
    }

    /// When it was drawn at the earliest, for a call that was reserved then.
    fn since(&self, reserved_at: Timestamp) -> Since {
        Since { reserved_at, rolled: self.rolled }
    }

    /// How much of the same is drawn in a list.
    fn amount_in(&self, drawn: &[Self]) -> Amount {
        drawn.iter().find(|known| known.is_like(self)).map_or(Amount::ZERO, |known| known.amount)
    }

    /// Draws more of the same, or of another.
    fn add(drawn: &mut Vec<Self>, more: Self) {
        match drawn.iter_mut().find(|known| known.is_like(&more)) {
            Some(known) => known.amount = known.amount.plus(more.amount),
            None => drawn.push(more),
        }
    }

    /// Gives so much back, what was drawn last first.
    fn give_back(drawn: &mut [Self], quota_id: &QuotaId, less: Amount) {
        let mut less = less;
        if fault::on(Fault::FirstCreditGetsAllBack) {
            drawn.reverse();
        }
        for known in drawn.iter_mut().rev().filter(|known| known.quota_id == *quota_id) {
            let amount = known.amount.min(less);
            if amount > Amount::ZERO {
                known.amount = known.amount.minus(amount);
                less = less.minus(amount);
            }
        }
    }
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

    /// What it adds to the limit.
    fn extra(&self, now: Timestamp) -> Amount {
        if self.is_over(now) { self.drawn } else { self.amount }
    }

    /// What a call that drew on it can still draw. Of a credit that has ended, what lapsed of it; likewise of one that goes on, where the call drew on it before.
    fn room_for(&self, since: Since) -> Amount {
        let room = if self.ended {
            self.credit.amount.minus(self.drawn)
        } else if self.has_rolled() && self.is_before_its_end(since) {
            self.credit.amount.minus(self.amount)
        } else {
            self.amount.minus(self.drawn)
        };
        room.or_zero()
    }

    /// A call draws so much more, or less. Nothing of what has lapsed, and nothing that comes back of it, can be spent by others.
    fn redraw(&mut self, more: Amount, since: Since) {
        if self.ended && more < Amount::ZERO && fault::on(Fault::LapsedCreditComesBack) {
            return;
        }
        self.drawn = self.drawn.plus(more);
        if self.ended {
            self.amount = self.drawn;
        } else if self.has_rolled() && self.is_before_its_end(since) {
            let lapsed = self.credit.amount.minus(self.amount);
            self.amount = self.amount.plus(more.min(lapsed));
        }
    }

    /// Whether it goes on after the end that it was asked for with.
    fn has_rolled(&self) -> bool {
        self.expires_at != self.credit.expires_at
    }

    /// Whether a call was made before it rolled over, and so does not draw on it as it was then.
    fn has_rolled_over(&self, reserved_at: Timestamp) -> bool {
        self.has_rolled() && self.is_before_its_end(Since { reserved_at, rolled: false })
    }

    /// Whether a call drew on it before that end.
    fn is_before_its_end(&self, since: Since) -> bool {
        !since.rolled && self.credit.expires_at.is_none_or(|end| since.reserved_at < end)
    }
}

/// Since when a call draws on a credit: since it was reserved, or, where it did not then, since the credit rolled over.
#[derive(Clone, Copy)]
struct Since {
    reserved_at: Timestamp,
    rolled: bool,
}

impl Funds {
    /// What they add to the limit at an instant.
    pub(super) fn extra(&self, now: Timestamp) -> Amount {
        let credits = self.credits.iter().map(|credit| credit.extra(now));
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

    /// Adds a credit. Where one is forgotten for it, that one is returned.
    pub(super) fn add_credit(&mut self, credit: Credit) -> Option<Used> {
        let mut forgotten = None;
        if self.credits.len() >= MAX_FUNDS
            && let Some(oldest) = self.credits.iter().position(|credit| credit.ended)
        {
            let oldest = self.credits.remove(oldest);
            self.forgotten = self.forgotten.plus(oldest.drawn);
            forgotten = Some(Used::Credit(oldest.credit));
        }
        let (amount, expires_at) = (credit.amount, credit.expires_at);
        self.place(CreditState { credit, amount, drawn: Amount::ZERO, expires_at, ended: false });
        forgotten
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
        let is_later = |at: Option<Timestamp>| at.is_some_and(|at| at > to);
        let may_come = |credit: &CreditState| {
            (credit.ended && is_later(credit.expires_at)) || (credit.has_rolled() && is_later(credit.credit.expires_at))
        };
        self.credits.iter().any(may_come)
    }

    /// Those that have lapsed or rolled over here and not in another fold of the same entries, in which what ends after an instant goes on.
    pub(super) fn not_lapsed(&self, kept: &Self, to: Timestamp) -> Vec<RestoredCredit> {
        let goes_on = kept.credits.iter().filter(|kept| kept.expires_at.is_some_and(|at| at > to) && !kept.ended);
        let differs = |kept: &&CreditState| {
            let here = self.credit(&kept.credit.id);
            here.is_some_and(|credit| credit.ended || credit.expires_at != kept.expires_at)
        };
        let restored = goes_on.filter(differs).map(|kept| RestoredCredit {
            credit_id: kept.credit.id.clone(),
            amount: kept.amount,
            expires_at: kept.expires_at,
        });
        restored.collect()
    }

    /// A credit that has lapsed only under a clock that was wrong.
    pub(super) fn restore(&mut self, restored: &RestoredCredit) {
        let Some(at) = self.credits.iter().position(|known| known.credit.id == restored.credit_id) else { return };
        if !self.credits.get(at).is_some_and(|known| known.ended || known.expires_at != restored.expires_at) {
            return;
        }
        let mut credit = self.credits.remove(at);
        credit.amount = restored.amount;
        credit.expires_at = restored.expires_at;
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

    /// Adds an increase. Those that are forgotten for it are returned.
    pub(super) fn add_increase(&mut self, increase: Increase, now: Timestamp) -> Vec<Used> {
        let mut forgotten = Vec::new();
        if self.increases.len() >= MAX_FUNDS {
            let (kept, over) =
                core::mem::take(&mut self.increases).into_iter().partition(|known: &IncreaseState| now < known.until);
            let over: Vec<IncreaseState> = over;
            self.increases = kept;
            forgotten = over.into_iter().map(|known| Used::Increase(known.increase)).collect();
        }
        let until = increase.until;
        self.increases.push(IncreaseState { increase, until });
        forgotten
    }

    /// Everything that has an id.
    pub(super) fn into_ids(self) -> impl Iterator<Item = Used> {
        let credits = self.credits.into_iter().map(|known| Used::Credit(known.credit));
        credits.chain(self.increases.into_iter().map(|known| Used::Increase(known.increase)))
    }

    /// What of a hold is drawn on credits that have not ended: what comes back to them, where it is not spent.
    pub(super) fn held_of(&self, quota_id: &QuotaId, drawn: &[Drawn], held: Amount, now: Timestamp) -> Amount {
        let is_alive = |drawn: &&Drawn| {
            drawn.quota_id == *quota_id && self.credit(&drawn.credit).is_some_and(|credit| !credit.is_over(now))
        };
        let of_alive = drawn.iter().filter(is_alive).fold(Amount::ZERO, |sum, drawn| sum.plus(drawn.amount));
        of_alive.min(held)
    }

    pub(super) fn end_increase(&mut self, id: &IncreaseId, now: Timestamp) {
        for known in self.increases.iter_mut().filter(|known| known.increase.id == *id) {
            known.until = known.until.min(now);
        }
    }

    /// Works out what a call draws where so much more of it is spent or held: first on the credits that it drew on, also where they have ended, then on those
    /// that can be spent, in their order. What it gives back goes to those that it draws on, the last one first.
    pub(super) fn plan(
        &self,
        quota_id: &QuotaId,
        drawn: &mut Vec<Drawn>,
        more: Amount,
        reserved_at: Timestamp,
        now: Timestamp,
    ) {
        let mut more = more;
        let own: Vec<Drawn> = drawn.iter().filter(|known| known.quota_id == *quota_id).cloned().collect();
        let mut seen: Vec<CreditState> = Vec::new();
        for known in own.iter().filter(|_| !fault::on(Fault::LateCostDrawsAnew)) {
            if more <= Amount::ZERO {
                break;
            }
            let place = seen.iter().position(|credit| credit.credit.id == known.credit);
            let again = place.map(|place| seen.swap_remove(place));
            let Some(mut credit) = again.or_else(|| self.credit(&known.credit).cloned()) else { continue };
            // Of a credit that goes on, first what lapsed of it, and then what can be spent, which is another part of it.
            for rolled in [known.rolled, known.rolled || credit.has_rolled_over(reserved_at)] {
                let since = Since { reserved_at, rolled };
                let amount = credit.room_for(since).min(more);
                if amount <= Amount::ZERO {
                    continue;
                }
                more = more.minus(amount);
                credit.redraw(amount, since);
                Drawn::add(drawn, Drawn { amount, rolled, ..known.clone() });
            }
            seen.push(credit);
        }
        for credit in self.credits(now) {
            let amount = credit.amount.minus(credit.drawn).min(more);
            let id = &credit.credit.id;
            if amount <= Amount::ZERO || drawn.iter().any(|known| known.is_of(quota_id, id)) {
                continue;
            }
            let rolled = credit.has_rolled_over(reserved_at);
            drawn.push(Drawn { quota_id: quota_id.clone(), credit: id.clone(), amount, rolled });
            more = more.minus(amount);
        }
        Drawn::give_back(drawn, quota_id, Amount::ZERO.minus(more));
    }

    /// The same where so much more is to be held: what has ended is not there for it.
    pub(super) fn plan_hold(
        &self,
        quota_id: &QuotaId,
        drawn: &mut Vec<Drawn>,
        more: Amount,
        reserved_at: Timestamp,
        now: Timestamp,
    ) {
        let mut more = more;
        for credit in self.credits(now) {
            let amount = credit.amount.minus(credit.drawn).min(more);
            if amount <= Amount::ZERO {
                continue;
            }
            more = more.minus(amount);
            let (quota_id, rolled) = (quota_id.clone(), credit.has_rolled_over(reserved_at));
            let draw = Drawn { quota_id, credit: credit.credit.id.clone(), amount, rolled };
            Drawn::add(drawn, draw);
        }
        Drawn::give_back(drawn, quota_id, Amount::ZERO.minus(more));
    }

    /// How much higher the limit is at an instant where a call draws otherwise.
    pub(super) fn raised_by(
        &self,
        quota_id: &QuotaId,
        before: &[Drawn],
        after: &[Drawn],
        reserved_at: Timestamp,
        now: Timestamp,
    ) -> Amount {
        let mut raised = Amount::ZERO;
        for (known, more) in changes(quota_id, before, after) {
            raised = raised.plus(match self.credit(&known.credit) {
                Some(credit) => {
                    let mut changed = credit.clone();
                    changed.redraw(more, known.since(reserved_at));
                    changed.extra(now).minus(credit.extra(now))
                }
                None => more,
            });
        }
        raised
    }

    /// A call draws otherwise from now on.
    pub(super) fn redraw(&mut self, quota_id: &QuotaId, before: &[Drawn], after: &[Drawn], reserved_at: Timestamp) {
        for (known, more) in changes(quota_id, before, after) {
            match self.credits.iter_mut().find(|credit| credit.credit.id == known.credit) {
                Some(credit) => {
                    // The id of a credit that is forgotten may be another one's by now: nobody gives back to that what they did not draw.
                    let own = more.max(Amount::ZERO.minus(credit.drawn));
                    credit.redraw(own, known.since(reserved_at));
                    self.forgotten = self.forgotten.plus(more.minus(own));
                }
                None => self.forgotten = self.forgotten.plus(more),
            }
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
                None => {
                    drawn.push(Drawn { quota_id: quota_id.clone(), credit: id.clone(), amount, rolled: false });
                }
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

/// How much more of each credit of a quota is drawn after than before.
fn changes<'a>(
    quota_id: &'a QuotaId,
    before: &'a [Drawn],
    after: &'a [Drawn],
) -> impl Iterator<Item = (&'a Drawn, Amount)> {
    let gone = before.iter().filter(|known| !after.iter().any(|other| other.is_like(known)));
    let all = after.iter().chain(gone).filter(|known| known.quota_id == *quota_id);
    all.map(|known| (known, known.amount_in(after).minus(known.amount_in(before)))).filter(|(_, more)| !more.is_zero())
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

    #[test]
    fn a_call_that_draws_on_both_parts_of_a_credit_draws_no_more_than_there_is() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let at = |seconds: u32| Timestamp::default().plus_seconds(seconds);
        let quota: QuotaId = "q".parse().unwrap();
        let id: CreditId = "c".parse().unwrap();
        let rollover = Some(Rollover { max: amount("20"), until: at(1000) });
        let mut funds = Funds::default();
        funds.add_credit(Credit { id: id.clone(), amount: amount("50"), expires_at: Some(at(10)), rollover });
        // 10 are held before the end, 5 more of what went on after it.
        let mut drawn = Vec::new();
        funds.draw(&quota, &mut drawn, amount("10"), at(1));
        funds.lapse(&id, rollover);
        let mut grown = drawn.clone();
        funds.plan_hold(&quota, &mut grown, amount("5"), at(1), at(11));
        funds.redraw(&quota, &drawn, &grown, at(1));
        assert_eq!((grown.len(), funds.credit(&id).unwrap().remaining(at(11))), (2, amount("15")));
        // A cost of 100: the 20 that lapsed, and the 15 that can be spent.
        let mut all = grown.clone();
        funds.plan(&quota, &mut all, amount("85"), at(1), at(11));
        funds.redraw(&quota, &grown, &all, at(1));
        let credit = funds.credit(&id).unwrap();
        assert_eq!((credit.drawn, credit.amount, funds.extra(at(11))), (amount("50"), amount("50"), amount("50")));
        assert_eq!(all.iter().map(|drawn| drawn.amount).collect::<Vec<_>>(), [amount("30"), amount("20")]);
        // All of it back: what had lapsed lapses, and what could be spent can be spent again.
        let mut none = all.clone();
        funds.plan(&quota, &mut none, amount("-50"), at(1), at(11));
        funds.redraw(&quota, &all, &none, at(1));
        let credit = funds.credit(&id).unwrap();
        assert_eq!((credit.drawn, credit.remaining(at(11))), (Amount::ZERO, amount("20")));
    }

    #[test]
    fn what_a_forgotten_credit_gets_back_is_not_given_to_another_of_its_name() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        let credit =
            |id: &str| Credit { id: id.parse().unwrap(), amount: amount("1"), expires_at: None, rollover: None };
        let (quota, now): (QuotaId, _) = ("q".parse().unwrap(), Timestamp::default());
        let mut funds = Funds::default();
        funds.add_credit(credit("c"));
        let mut before = Vec::new();
        funds.plan(&quota, &mut before, amount("1"), now, now);
        funds.redraw(&quota, &[], &before, now);
        funds.lapse(&"c".parse().unwrap(), None);
        for number in 1..=MAX_FUNDS {
            funds.add_credit(credit(&format!("c-{number}")));
        }
        funds.lapse(&"c-1".parse().unwrap(), None);
        funds.add_credit(credit("c"));
        let mut after = before.clone();
        funds.plan(&quota, &mut after, amount("-1"), now, now);
        let extra = funds.extra(now);
        funds.redraw(&quota, &before, &after, now);
        assert_eq!(funds.extra(now), extra.minus(amount("1")), "what was paid for it is no part of the limit any more");
        assert_eq!(funds.credit(&"c".parse().unwrap()).unwrap().remaining(now), amount("1"));
    }
}
