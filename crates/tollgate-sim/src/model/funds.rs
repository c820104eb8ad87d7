//! What adds to a quota's limit: credits, increases, and what a period leaves to the next. A list of who has drawn how much on which
//! credit; what is left of one is worked out from it whenever somebody asks.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::amounts::{self, Pico, Unit};
use super::calendar::{self, Period};
use super::words;
use super::{CONFLICT, INVALID, Model, NOT_FOUND, Place, QUOTA_NOT_FOUND, Quota, Span, State, Verdict};

/// What was paid for in advance.
#[derive(Clone, Debug)]
pub(super) struct Credit {
    asked: words::Credit,
    /// The name of its quota, also of one that is gone.
    named: String,
    quota: u64,
    /// What there is of it, whoever has drawn it: less than was asked for once a part has lapsed.
    amount: Pico,
    ends: Option<i64>,
    /// What of the rest still goes on when it ends.
    rolls: Option<(Pico, i64)>,
    is_over: bool,
    /// Whether that is because its time was up.
    has_lapsed: bool,
    /// Among those that end together, the one with the lower number is spent first.
    turn: usize,
}

/// What one reservation or record has taken from one credit.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    quota: u64,
    credit: String,
    by: String,
    amount: Pico,
    /// Whether it is of what went on of the credit, and its call was made before and had not drawn on it.
    of_the_rest: bool,
}

/// A higher limit for a while.
#[derive(Clone, Debug)]
pub(super) struct Raise {
    asked: words::Increase,
    /// The name of its quota, also of one that is gone.
    named: String,
    quota: u64,
    until: i64,
}

/// A credit that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreditLeft {
    /// Its key.
    pub id: String,
    /// What there is of it.
    pub amount: Pico,
    /// What nobody has drawn.
    pub remaining: Pico,
    /// When that lapses.
    pub ends: Option<i64>,
}

impl CreditLeft {
    /// As the wire has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut credit = json!({
            "id": self.id,
            "amount": amounts::text(self.amount),
            "remaining": amounts::text(self.remaining),
        });
        if let Some(ends) = self.ends {
            credit["expiresAt"] = calendar::text(ends).into();
        }
        credit
    }
}

impl Credit {
    fn is_over(&self, now: i64) -> bool {
        self.is_over || self.ends.is_some_and(|ends| ends <= now)
    }
}

impl Model {
    /// The limit that is in force at an instant, of a period or window.
    #[must_use]
    pub fn limit(&self, quota: &Quota, span: Span, now: i64) -> Pico {
        let credits = self.credits.iter().filter(|credit| credit.quota == quota.identity);
        // Of a credit that is over, what was drawn was paid for.
        let paid: Pico =
            credits.map(|credit| if credit.is_over(now) { self.drawn(credit) } else { credit.amount }).sum();
        let raised: Pico = self.increases(quota, now).map(|increase| increase.amount).sum();
        let carried = match span {
            Span::Period(start) if quota.definition.rollover.is_some() => {
                let place = (quota.identity, start);
                self.carried.get(&place).copied().unwrap_or_else(|| self.left_by_the_period_before(quota, start))
            }
            _ => 0,
        };
        quota.definition.limit + paid + raised + carried
    }

    /// The credits of a quota that have not ended, in the order in which they are spent.
    #[must_use]
    pub fn credits(&self, quota: &Quota, now: i64) -> Vec<CreditLeft> {
        let found = self.in_order(quota.identity, now).into_iter().map(|at| &self.credits[at]);
        let left = |credit: &Credit| CreditLeft {
            id: credit.asked.id.clone(),
            amount: credit.amount,
            remaining: credit.amount - self.drawn(credit),
            ends: credit.ends,
        };
        found.map(left).collect()
    }

    /// The increases of a quota that are in force.
    pub fn increases(&self, quota: &Quota, now: i64) -> impl Iterator<Item = &words::Increase> {
        let identity = quota.identity;
        self.raises.iter().filter(move |raise| raise.quota == identity && now < raise.until).map(|raise| &raise.asked)
    }

    /// The next instant at which a credit or an increase ends, or a price begins or ends.
    #[must_use]
    pub fn next_end(&self, clock: i64) -> Option<i64> {
        let now = self.now(clock);
        let raises = self.raises.iter().map(|raise| raise.until).filter(|until| *until > now);
        let prices = self.overrides.instants().filter(|instant| *instant > now);
        self.next_lapse().into_iter().chain(raises).chain(prices).min()
    }

    /// What the period before left of the quota's own limit, up to what goes on.
    pub(super) fn left_by_the_period_before(&self, quota: &Quota, start: i64) -> Pico {
        let (Some(most), Some(since)) = (quota.definition.rollover, quota.rolls_since) else { return 0 };
        if since >= start {
            return 0;
        }
        let before = Span::Period(quota.definition.around(start - 1).0);
        let used = self.spent(quota, before) + self.held(quota, before);
        (quota.definition.limit - used).max(0).min(most)
    }

    /// Whether something that was paid for is not spent: nobody has drawn it, or a hold that is open has, and has not used it.
    pub(super) fn has_credit_left(&self, quota: &Quota, now: i64) -> bool {
        let credits = self.credits(quota, now);
        let is_held = |draw: &Draw| {
            let open = self.reservations.get(&draw.by).filter(|known| known.state == State::Held);
            draw.quota == quota.identity
                && credits.iter().any(|credit| credit.id == draw.credit)
                && open.is_some_and(|open| quota.definition.unit.resting(&open.held, open.metered) > 0)
        };
        credits.iter().any(|credit| credit.remaining > 0) || self.draws.iter().any(is_held)
    }

    pub(super) fn add_credit(&mut self, id: &str, asked: &words::Credit, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let identity = quota.identity;
        if let Some(known) = self.credits.iter().find(|known| known.named == id && known.asked.id == asked.id) {
            return if known.asked == *asked { Verdict::Replayed } else { CONFLICT };
        }
        let is_prepaid = quota.definition.period == Period::Lifetime && quota.definition.unit != Unit::Concurrent;
        let counts = |amount: Pico| amount > 0 && quota.definition.can_count(amount);
        let rolls_well = match (asked.ends, asked.rolls) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(ends), Some((most, until))) => counts(most) && until > ends,
        };
        if !is_prepaid || !counts(asked.amount) || asked.ends.is_some_and(|ends| ends <= now) || !rolls_well {
            return INVALID;
        }
        self.credits.push(Credit {
            asked: asked.clone(),
            named: id.to_owned(),
            quota: identity,
            amount: asked.amount,
            ends: asked.ends,
            rolls: asked.rolls,
            is_over: false,
            has_lapsed: false,
            turn: self.next_turn(),
        });
        self.is_funded(identity, now);
        Verdict::Done
    }

    pub(super) fn revoke_credit(&mut self, id: &str, credit: &str, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let identity = quota.identity;
        let known = self.credits.iter_mut().find(|known| known.quota == identity && known.asked.id == credit);
        let Some(known) = known else { return NOT_FOUND };
        if known.is_over {
            return Verdict::Replayed;
        }
        known.is_over = true;
        self.is_funded(identity, now);
        Verdict::Done
    }

    pub(super) fn increase(&mut self, id: &str, asked: &words::Increase, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let identity = quota.identity;
        if let Some(known) = self.raises.iter().find(|known| known.named == id && known.asked.id == asked.id) {
            return if known.asked == *asked { Verdict::Replayed } else { CONFLICT };
        }
        if asked.amount <= 0 || !quota.definition.can_count(asked.amount) || asked.until <= now {
            return INVALID;
        }
        self.raises.push(Raise { asked: asked.clone(), named: id.to_owned(), quota: identity, until: asked.until });
        self.is_funded(identity, now);
        Verdict::Done
    }

    pub(super) fn end_increase(&mut self, id: &str, increase: &str, now: i64) -> Verdict {
        let Some(quota) = self.quotas.get(id) else { return QUOTA_NOT_FOUND };
        let identity = quota.identity;
        let known = self.raises.iter_mut().find(|known| known.quota == identity && known.asked.id == increase);
        let Some(known) = known else { return NOT_FOUND };
        if known.until <= now {
            return Verdict::Replayed;
        }
        known.until = now;
        self.is_funded(identity, now);
        Verdict::Done
    }

    /// When the next credit ends.
    pub(super) fn next_lapse(&self) -> Option<i64> {
        self.first_to_lapse().and_then(|at| self.credits[at].ends)
    }

    /// The credit that ends next does: what is left of it lapses, but for what goes on.
    pub(super) fn lapse(&mut self, now: i64) {
        let Some(at) = self.first_to_lapse() else { return };
        let (drawn, turn) = (self.drawn(&self.credits[at]), self.next_turn());
        let credit = &mut self.credits[at];
        match credit.rolls {
            Some((most, until)) if credit.amount > drawn => {
                credit.rolls = None;
                credit.amount = credit.amount.min(drawn + most);
                credit.ends = Some(until);
                credit.turn = turn;
            }
            _ => (credit.is_over, credit.has_lapsed) = (true, true),
        }
        let identity = credit.quota;
        self.is_funded(identity, now);
    }

    /// The clock was set back: what lapsed only under the later one goes on, and what was ended by hand is over.
    pub(super) fn funds_come_again(&mut self, to: i64) {
        for raise in self.raises.iter_mut().filter(|raise| raise.until != raise.asked.until) {
            raise.until = raise.until.min(to);
        }
        let is_later = |ends: Option<i64>| ends.is_some_and(|ends| ends > to);
        let mut coming = Vec::new();
        for (at, credit) in self.credits.iter_mut().enumerate() {
            let was_revoked = credit.is_over && !credit.has_lapsed;
            let has_changed = credit.has_lapsed || credit.ends != credit.asked.ends;
            if was_revoked || !has_changed {
                continue;
            }
            if is_later(credit.asked.ends) {
                // Also what had gone on of it is again as it was paid for.
                (credit.amount, credit.ends, credit.rolls) =
                    (credit.asked.amount, credit.asked.ends, credit.asked.rolls);
                coming.push((credit.ends, at));
            } else if credit.has_lapsed && is_later(credit.ends) {
                coming.push((credit.ends, at));
            }
        }
        coming.sort_unstable();
        for (_, at) in coming {
            let turn = self.next_turn();
            let credit = &mut self.credits[at];
            (credit.is_over, credit.has_lapsed, credit.turn) = (false, false, turn);
            let identity = credit.quota;
            self.is_funded(identity, to);
        }
    }

    /// So much more is taken from the credits of the quotas that count a reservation; or given back to those that it was taken from, the
    /// one that was drawn on last before the others.
    pub(super) fn draw(&mut self, counted_on: &[Place], by: &str, more: &dyn Fn(Unit, Place) -> Pico, now: i64) {
        for place in counted_on {
            let identity = &place.0;
            let Some(quota) = self.quotas.values().find(|quota| quota.identity == *identity) else { continue };
            let more = more(quota.definition.unit, *place);
            let created_at = self.reservations.get(by).map_or(now, |known| known.created_at);
            self.take(*identity, by, more, created_at, now);
            self.return_what_is_not_spent(*identity, by, -more, created_at);
        }
        self.forget_what_it_drew(by);
    }

    fn take(&mut self, identity: u64, by: &str, more: Pico, created_at: i64, now: i64) {
        let mut left = more;
        for at in self.in_order(identity, now) {
            let credit = &self.credits[at];
            let part = (credit.amount - self.drawn(credit)).min(left);
            if part <= 0 {
                continue;
            }
            left -= part;
            let id = credit.asked.id.clone();
            let of_the_rest = self.goes_on_after(credit, created_at);
            let is_same = |draw: &&mut Draw| {
                draw.quota == identity && draw.by == by && draw.credit == id && draw.of_the_rest == of_the_rest
            };
            match self.draws.iter_mut().find(is_same) {
                Some(draw) => draw.amount += part,
                None => {
                    let draw = Draw { quota: identity, credit: id, by: by.to_owned(), amount: part, of_the_rest };
                    self.draws.push(draw);
                }
            }
        }
    }

    /// A call costs so much more. First that is taken from what it drew on, also of what has lapsed of that; then from what can be spent.
    pub(super) fn take_what_it_costs(&mut self, identity: u64, by: &str, more: Pico, created_at: i64, now: i64) {
        let mut left = more.max(0);
        let own = (0..self.draws.len()).filter(|at| self.draws[*at].quota == identity && self.draws[*at].by == by);
        for at in own.collect::<Vec<_>>() {
            let Some(credit) = self.credit_of(&self.draws[at]) else { continue };
            let known = &self.credits[credit];
            let goes_on = !self.draws[at].of_the_rest && self.goes_on_after(known, created_at);
            let room = if known.is_over {
                known.asked.amount - self.drawn(known)
            } else if goes_on {
                known.asked.amount - known.amount
            } else {
                known.amount - self.drawn(known)
            };
            let part = room.min(left).max(0);
            left -= part;
            self.redraw(at, part, created_at);
            let known = &self.credits[credit];
            let part = (known.amount - self.drawn(known)).min(left);
            if goes_on && !known.is_over && part > 0 {
                left -= part;
                self.draw_of_the_rest(identity, &known.asked.id.clone(), by, part);
            }
        }
        for at in self.in_order(identity, now) {
            let (id, part) =
                (self.credits[at].asked.id.clone(), self.credits[at].amount - self.drawn(&self.credits[at]));
            let part = part.min(left);
            if part <= 0 || self.draws.iter().any(|draw| draw.quota == identity && draw.by == by && draw.credit == id) {
                continue;
            }
            left -= part;
            let of_the_rest = self.goes_on_after(&self.credits[at], created_at);
            self.draws.push(Draw { quota: identity, credit: id, by: by.to_owned(), amount: part, of_the_rest });
        }
    }

    /// A call from before draws on what went on of a credit.
    fn draw_of_the_rest(&mut self, identity: u64, credit: &str, by: &str, part: Pico) {
        let is_same =
            |draw: &&mut Draw| draw.quota == identity && draw.by == by && draw.credit == *credit && draw.of_the_rest;
        match self.draws.iter_mut().find(is_same) {
            Some(draw) => draw.amount += part,
            None => {
                let (credit, by) = (credit.to_owned(), by.to_owned());
                self.draws.push(Draw { quota: identity, credit, by, amount: part, of_the_rest: true });
            }
        }
    }

    /// A call costs so much less than was drawn for it. It is not forgotten on what it drew.
    pub(super) fn return_what_is_not_spent(&mut self, identity: u64, by: &str, less: Pico, created_at: i64) {
        let mut left = less.max(0);
        for at in (0..self.draws.len()).rev() {
            if self.draws[at].quota == identity && self.draws[at].by == by {
                let part = self.draws[at].amount.min(left);
                left -= part;
                self.redraw(at, -part, created_at);
            }
        }
    }

    /// While a call goes on, only what it draws now counts.
    pub(super) fn forget_what_it_drew(&mut self, by: &str) {
        self.draws.retain(|draw| draw.by != by || draw.amount > 0);
    }

    /// So much more is drawn. What a call took from a credit before that went on is no part of what went on, also where that is over: a clock that is set back may
    /// bring it back.
    fn redraw(&mut self, at: usize, more: Pico, created_at: i64) {
        if let Some(credit) = self.credit_of(&self.draws[at])
            && self.credits[credit].ends != self.credits[credit].asked.ends
            && self.is_from_before(&self.draws[at], created_at)
        {
            let lapsed = self.credits[credit].asked.amount - self.credits[credit].amount;
            self.credits[credit].amount += more.min(lapsed);
        }
        self.draws[at].amount += more;
    }

    /// Whether what there is of a credit is what went on of it, and a call was made before.
    fn goes_on_after(&self, credit: &Credit, created_at: i64) -> bool {
        credit.ends != credit.asked.ends && credit.asked.ends.is_none_or(|end| created_at < end)
    }

    fn credit_of(&self, draw: &Draw) -> Option<usize> {
        self.credits.iter().position(|credit| credit.quota == draw.quota && credit.asked.id == draw.credit)
    }

    /// Whether something was drawn before the end that its credit was asked for with.
    fn is_from_before(&self, draw: &Draw, created_at: i64) -> bool {
        let end = self.credit_of(draw).and_then(|credit| self.credits[credit].asked.ends);
        !draw.of_the_rest && end.is_none_or(|end| created_at < end)
    }

    fn give_back(&mut self, identity: u64, by: &str, less: Pico) {
        let mut left = less;
        for draw in self.draws.iter_mut().rev().filter(|draw| draw.quota == identity && draw.by == by) {
            let part = draw.amount.min(left);
            draw.amount -= part;
            left -= part;
        }
        // Once a call has ended, it is known for good on what it drew.
        let has_ended = |by: &str| self.reservations.get(by).is_some_and(|known| known.state != State::Held);
        self.draws.retain(|draw| draw.amount > 0 || has_ended(&draw.by));
    }

    /// A reset drops what was spent, and so what was drawn for it: only holds still draw, and no more than they hold.
    pub(super) fn give_back_all_but_holds(&mut self, identity: u64) {
        let Some(unit) = self.quotas.values().find(|quota| quota.identity == identity) else { return };
        let unit = unit.definition.unit;
        let holds = |by: &str| {
            let open = self.reservations.get(by).filter(|known| known.state == State::Held);
            open.map(|open| unit.resting(&open.held, open.metered))
        };
        let of_quota = |draw: &&Draw| draw.quota == identity;
        let drawing: BTreeSet<String> = self.draws.iter().filter(of_quota).map(|draw| draw.by.clone()).collect();
        let above = drawing.into_iter().map(|by| {
            let drawn: Pico =
                self.draws.iter().filter(of_quota).filter(|draw| draw.by == by).map(|draw| draw.amount).sum();
            let above = drawn - holds(&by).unwrap_or(0);
            (by, above)
        });
        for (by, above) in above.collect::<Vec<_>>() {
            self.give_back(identity, &by, above.max(0));
        }
    }

    fn drawn(&self, credit: &Credit) -> Pico {
        let by_all = self.draws.iter().filter(|draw| draw.quota == credit.quota && draw.credit == credit.asked.id);
        by_all.map(|draw| draw.amount).sum()
    }

    /// The credits of a quota that can be drawn on: what ends first before the others, and what never ends last.
    fn in_order(&self, identity: u64, now: i64) -> Vec<usize> {
        let is_left = |at: &usize| self.credits[*at].quota == identity && !self.credits[*at].is_over(now);
        let mut found: Vec<usize> = (0..self.credits.len()).filter(is_left).collect();
        found.sort_by_key(|at| (self.credits[*at].ends.unwrap_or(i64::MAX), self.credits[*at].turn));
        found
    }

    fn first_to_lapse(&self) -> Option<usize> {
        let named = |identity: u64| self.quotas.iter().find(|(_, quota)| quota.identity == identity);
        let ends = self.credits.iter().enumerate().filter(|(_, credit)| !credit.is_over).filter_map(|(at, credit)| {
            let (id, _) = named(credit.quota)?;
            Some((credit.ends?, id, credit.turn, at))
        });
        ends.min().map(|(.., at)| at)
    }

    fn next_turn(&self) -> usize {
        self.credits.iter().map(|credit| credit.turn + 1).max().unwrap_or(0)
    }

    /// What was paid for belongs to the tenant: its quota outlives plans.
    fn is_funded(&mut self, identity: u64, now: i64) {
        for quota in self.quotas.values_mut().filter(|quota| quota.identity == identity) {
            quota.from_plan = false;
        }
        self.limit_changes(identity, now);
    }
}
