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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;
    use crate::catalog::Catalog;
    use crate::ids::TenantId;
    use crate::ledger::{Command, MAX_FUNDS, Onboard, Outcome};
    use crate::policy::Plan;
    use crate::quota::{Quota, ResourceFilter, Scope};

    fn prepaid() -> (Ledger, QuotaId) {
        let mut ledger = Ledger::new();
        let tenant: TenantId = "acme".parse().unwrap();
        let onboard = Onboard { tenant, plan_name: "p".parse().unwrap(), plan: Plan::default(), policy_version: 0 };
        let id: QuotaId = "q".parse().unwrap();
        let quota = Quota::new(Scope::Tenant, ResourceFilter::All, Unit::Usd, Amount::ZERO, Period::Lifetime);
        for command in [Command::Onboard(onboard), Command::SetQuota(id.clone(), quota)] {
            carry_out(&mut ledger, &command).unwrap();
        }
        (ledger, id)
    }

    fn carry_out(ledger: &mut Ledger, command: &Command) -> Result<Outcome, Rejection> {
        ledger.execute(Catalog::builtin().unwrap(), Timestamp::default(), command, &mut Vec::new())
    }

    fn credit(number: usize, amount: &str) -> Credit {
        Credit {
            id: format!("c-{number}").parse().unwrap(),
            amount: amount.parse().unwrap(),
            expires_at: None,
            rollover: None,
        }
    }

    #[test]
    fn an_id_that_its_quota_has_forgotten_does_not_pay_in_again() {
        let (mut ledger, id) = prepaid();
        for number in 0..=MAX_FUNDS {
            carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(number, "1"))).unwrap();
            carry_out(&mut ledger, &Command::RevokeCredit(id.clone(), credit(number, "1").id)).unwrap();
        }
        let entries = ledger.last_seq();
        let funds = |ledger: &Ledger| ledger.quotas.get(&id).unwrap().funds.clone().unwrap();
        assert!(funds(&ledger).credit(&credit(0, "1").id).is_none(), "it is forgotten");
        // Also by what was read back from a snapshot.
        let snapshot = serde_json::to_string(&ledger.snapshot()).unwrap();
        for mut ledger in [Ledger::restore(serde_json::from_str(&snapshot).unwrap()), ledger] {
            carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(0, "1"))).unwrap();
            let other = carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(0, "2")));
            assert!(matches!(other, Err(Rejection::IdempotencyConflict(_))));
            assert_eq!((ledger.last_seq(), funds(&ledger).extra(Timestamp::default())), (entries, Amount::ZERO));
        }
    }

    #[test]
    fn where_no_more_ids_can_be_remembered_nothing_more_is_paid_in() {
        let (mut ledger, id) = prepaid();
        ledger.used_ids.add_all(&id, (0..99_999).map(|number| Used::Credit(credit(number, "1"))));
        carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(100_000, "1"))).unwrap();
        ledger.used_ids.add_all(&id, [Used::Credit(credit(99_999, "1"))]);
        let refused = carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(100_001, "1")));
        assert!(matches!(refused, Err(Rejection::Invalid { field, .. }) if field == "id"));
        // What was paid in before is answered, and can be removed.
        for number in [7, 100_000] {
            carry_out(&mut ledger, &Command::AddCredit(id.clone(), credit(number, "1"))).unwrap();
        }
        carry_out(&mut ledger, &Command::RemoveQuota(id.clone(), true)).unwrap();
    }
}
