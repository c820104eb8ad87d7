//! Decides what adds to a quota's limit: top-ups, their end, and increases for a while.

use super::Ledger;
use super::counter::QuotaState;
use super::decide::{Decision, Outcome};
use super::denial::Rejection;
use super::event::{Event, Placement};
use super::funds::{Credit, Increase, Rollover};
use super::used_ids::Used;
use crate::amount::Amount;
use crate::fault::{self, Fault};
use crate::ids::{CreditId, IncreaseId, QuotaId};
use crate::period::Period;
use crate::quota::Unit;
use crate::time::Timestamp;

impl Ledger {
    pub(super) fn add_credit(&self, id: &QuotaId, credit: &Credit, now: Timestamp) -> Result<Decision, Rejection> {
        let state = self.quota_state(id)?;
        if let Some(known) = state.funds.as_ref().and_then(|funds| funds.credit(&credit.id))
            && !fault::on(Fault::CreditIsAddedTwice)
        {
            return repeated(id, known.credit == *credit, credit.id.as_str());
        }
        let used = Used::Credit(credit.clone());
        if let Some(same) = self.used_ids.find(id, &used) {
            return repeated(id, same, credit.id.as_str());
        }
        if state.quota.period != Period::Lifetime || state.quota.unit == Unit::Concurrent {
            return Err(invalid("quota", "only a `lifetime` quota of something that is spent can be credited"));
        }
        check_amount(state, credit.amount, "amount")?;
        if credit.expires_at.is_some_and(|at| at <= now) {
            return Err(invalid("expiresAt", "a credit ends after now"));
        }
        match (credit.expires_at, credit.rollover) {
            (None, Some(_)) => {
                return Err(invalid("rollover", "only a credit that expires leaves something to go on"));
            }
            (Some(at), Some(rollover)) => {
                check_amount(state, rollover.max, "rollover.max")?;
                if rollover.until <= at {
                    return Err(invalid("rollover.until", "what goes on ends after the credit"));
                }
            }
            (_, None) => {}
        }
        if !state.funds.as_ref().is_none_or(|funds| funds.takes_credit()) {
            return Err(invalid("quota", "a quota can have 1000 credits at most"));
        }
        self.check_room_for_ids()?;
        Ok(done(id, Event::CreditAdded { quota_id: id.clone(), credit: credit.clone() }))
    }

    pub(super) fn revoke_credit(&self, id: &QuotaId, credit: &CreditId, now: Timestamp) -> Result<Decision, Rejection> {
        let state = self.quota_state(id)?;
        let known = state.funds.as_ref().and_then(|funds| funds.credit(credit));
        let known = known.ok_or_else(|| Rejection::NotFound(format!("quota `{id}` has no credit `{credit}`")))?;
        if known.ended {
            return repeated(id, true, credit.as_str());
        }
        let (quota_id, credit_id) = (id.clone(), credit.clone());
        Ok(done(id, Event::CreditRevoked { quota_id, credit_id, amount: known.remaining(now) }))
    }

    pub(super) fn increase(&self, id: &QuotaId, increase: &Increase, now: Timestamp) -> Result<Decision, Rejection> {
        let state = self.quota_state(id)?;
        if let Some((known, _)) = state.funds.as_ref().and_then(|funds| funds.increase(&increase.id)) {
            return repeated(id, known == increase, increase.id.as_str());
        }
        let used = Used::Increase(increase.clone());
        if let Some(same) = self.used_ids.find(id, &used) {
            return repeated(id, same, increase.id.as_str());
        }
        check_amount(state, increase.amount, "amount")?;
        if increase.until <= now {
            return Err(invalid("until", "an increase ends after now"));
        }
        if !state.funds.as_ref().is_none_or(|funds| funds.takes_increase(now)) {
            return Err(invalid("quota", "a quota can have 1000 increases at most"));
        }
        self.check_room_for_ids()?;
        Ok(done(id, Event::LimitIncreased { quota_id: id.clone(), increase: increase.clone() }))
    }

    pub(super) fn end_increase(
        &self,
        id: &QuotaId,
        increase: &IncreaseId,
        now: Timestamp,
    ) -> Result<Decision, Rejection> {
        let state = self.quota_state(id)?;
        let known = state.funds.as_ref().and_then(|funds| funds.increase(increase));
        let missing = || Rejection::NotFound(format!("quota `{id}` has no increase `{increase}`"));
        let (_, until) = known.ok_or_else(missing)?;
        if until <= now {
            return repeated(id, true, increase.as_str());
        }
        Ok(done(id, Event::IncreaseEnded { quota_id: id.clone(), increase_id: increase.clone() }))
    }

    /// The end of a credit that ends at an instant.
    pub(super) fn lapse(&self, at: Timestamp) -> Option<Event> {
        self.quotas.iter().find_map(|(quota_id, state)| {
            let (ends, known) = state.funds.as_ref()?.next_lapse()?;
            let unspent = known.amount.minus(known.drawn).or_zero();
            // What has gone on once does not go on again.
            let rollover = known.credit.rollover.filter(|_| known.credit.expires_at == Some(ends));
            let rolled = rollover.map(|rollover| Rollover { max: rollover.max.min(unspent), ..rollover });
            let rolled = rolled.filter(|rolled| !rolled.max.is_zero());
            let amount = unspent.minus(rolled.map_or(Amount::ZERO, |rolled| rolled.max));
            let credit_id = known.credit.id.clone();
            (ends == at).then(|| Event::CreditLapsed { quota_id: quota_id.clone(), credit_id, amount, rolled })
        })
    }

    /// What is left of a quota's credits: what nobody has spent, also where an open hold draws on it.
    pub(super) fn credit_left(&self, id: &QuotaId, state: &QuotaState, now: Timestamp) -> Amount {
        let Some(funds) = &state.funds else { return Amount::ZERO };
        let free = funds.credits(now).fold(Amount::ZERO, |sum, credit| sum.plus(credit.remaining(now)));
        let counts = |on: &Placement| on.quota_id == *id && on.generation == state.generation;
        let open = self.open_reservations().filter(|open| !open.drawn.is_empty() && open.counted_on.iter().any(counts));
        let held = open.map(|open| funds.held_of(id, &open.drawn, open.resting(state.quota.unit), now));
        held.fold(free, Amount::plus)
    }

    /// An id that is forgotten could pay in again, so none is: where there is no room to remember more, nothing more is taken.
    fn check_room_for_ids(&self) -> Result<(), Rejection> {
        if self.used_ids.is_full() {
            let message =
                "the ledger remembers 100000 ids of credits and increases that are over, the most there may be";
            return Err(invalid("id", message));
        }
        Ok(())
    }

    fn quota_state(&self, id: &QuotaId) -> Result<&QuotaState, Rejection> {
        self.quotas.get(id).ok_or_else(|| Rejection::QuotaNotFound(id.clone()))
    }
}

fn check_amount(state: &QuotaState, amount: Amount, field: &str) -> Result<(), Rejection> {
    if amount <= Amount::ZERO {
        return Err(invalid(field, "must be above zero"));
    }
    state.quota.unit.check(amount).map_err(|message| invalid(field, message))
}

fn done(id: &QuotaId, event: Event) -> Decision {
    Decision { events: vec![event], outcome: Outcome::QuotaSet(id.clone()) }
}

fn repeated(id: &QuotaId, same: bool, name: &str) -> Result<Decision, Rejection> {
    if same {
        Ok(Decision { events: Vec::new(), outcome: Outcome::QuotaSet(id.clone()) })
    } else {
        Err(Rejection::IdempotencyConflict(name.to_owned()))
    }
}

fn invalid(field: &str, message: &str) -> Rejection {
    Rejection::Invalid { field: field.to_owned(), message: message.to_owned() }
}
