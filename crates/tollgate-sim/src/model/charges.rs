//! Where and how much is counted: charges, corrections, thresholds, and by how much a limit may be passed.

use super::amounts::{Amounts, Pico, Unit};
use super::calendar::Period;
use super::{Model, Place, Quota, Span};

impl Model {
    /// A quota has another limit now.
    pub(super) fn limit_changes(&mut self, identity: u64, now: i64) {
        let Some(quota) = self.quotas.values().find(|quota| quota.identity == identity).cloned() else { return };
        // Thresholds that the new limit puts out of reach may be crossed again.
        let places: Vec<Place> = self.warned.keys().filter(|place| place.0 == identity).copied().collect();
        for place in places {
            // Also of a period that is over, which may come again.
            let span = match quota.definition.period {
                Period::Rolling(_) => self.span_of(&quota, place, now),
                _ => Some(Span::Period(place.1)),
            };
            let Some(span) = span else { continue };
            let (spent, limit) = (self.spent(&quota, span), self.limit(&quota, span, now));
            if let Some(warned) = self.warned.get_mut(&place) {
                warned.retain(|thousandths| spent * 1000 >= limit * thousandths);
            }
        }
        self.allow_what_is_used_of(&quota, now);
    }

    /// What is used already stays used under a limit that is lower now, also where it fell by itself.
    pub fn allow_what_is_used(&mut self, now: i64) {
        for quota in self.quotas.values().cloned().collect::<Vec<_>>() {
            self.allow_what_is_used_of(&quota, now);
        }
    }

    fn allow_what_is_used_of(&mut self, quota: &Quota, now: i64) {
        let identity = quota.identity;
        let mut places: Vec<Place> =
            self.counted.get(&identity).into_iter().flatten().map(|start| (identity, *start)).collect();
        places.push((identity, quota.definition.place(now)));
        // The latest first: in a rolling window it stands for all, and leaves last.
        for place in places.into_iter().rev() {
            let Some(span) = self.span_of(quota, place, now) else { continue };
            let used = self.spent(quota, span) + self.held(quota, span);
            let over = used - self.limit(quota, span, now) - self.overruns(quota, span);
            if over > 0 {
                *self.overruns.entry(place).or_default() += over;
            }
            if matches!(span, Span::From(_)) {
                break;
            }
        }
    }

    pub(super) fn count(&mut self, counted_on: &[Place]) {
        for (identity, period) in counted_on {
            let earlier = self.counted.entry(*identity).or_default().clone();
            let quota = self.quotas.values().find(|quota| quota.identity == *identity);
            let rolls = quota.is_some_and(|quota| matches!(quota.definition.period, Period::Rolling(_)));
            if let Some(quota) = quota.filter(|_| !rolls && !earlier.contains(period)) {
                let carried = self.left_by_the_period_before(quota, *period);
                self.carried.insert((*identity, *period), carried);
            }
            if !rolls && self.current.get(identity).is_none_or(|current| current < period) {
                self.current.insert(*identity, *period);
                let is_idle = |earlier: &i64| {
                    *earlier < *period && !self.open().any(|(_, open)| open.counted_on.contains(&(*identity, *earlier)))
                };
                let idle: Vec<Place> =
                    earlier.into_iter().filter(is_idle).map(|earlier| (*identity, earlier)).collect();
                self.over.extend(idle);
            }
            self.counted.entry(*identity).or_default().insert(*period);
        }
    }

    pub(super) fn charge(&mut self, counted_on: &[Place], amounts: Amounts, now: i64) {
        self.charges.extend(counted_on.iter().map(|place| (*place, amounts)));
        self.warn(counted_on, now);
    }

    /// From now on a reservation that was open has been charged so much in all, and so much of its hold is free.
    pub(super) fn charge_to(
        &mut self,
        id: &str,
        charged: Amounts,
        freed: &dyn Fn(Unit, &Amounts, Option<Amounts>) -> Pico,
        now: i64,
    ) {
        let Some(known) = self.reservations.get(id) else { return };
        let (counted_on, held, metered) = (known.counted_on.clone(), known.held, known.metered);
        let (more, dropped) = (charged - known.charged, self.dropped(&counted_on, known.first_charged));
        for place in &counted_on {
            self.overrun(*place, &|unit| unit.spent(&more) - freed(unit, &held, metered));
        }
        let or_nothing = more.at_least(Amounts::default());
        let more_in = |place: &Place| if dropped.contains(place) { or_nothing } else { more };
        self.charges.extend(counted_on.iter().map(|place| (*place, more_in(place))));
        let after = self.charges.len();
        if let Some(known) = self.reservations.get_mut(id) {
            known.charged = charged;
            known.charged_in = Some(self.changes);
            known.first_charged = known.first_charged.or(Some(after));
        }
        self.warn(&counted_on, now);
        let drawn = |unit: Unit, place| unit.spent(&more_in(&place)) - freed(unit, &held, metered);
        self.draw(&counted_on, id, &drawn, now);
    }

    /// From now on a reservation that has ended has been charged so much; credits have no part in that.
    pub(super) fn correct(&mut self, id: &str, charged: Amounts, now: i64) {
        let Some(known) = self.reservations.get_mut(id) else { return };
        let (counted_on, since) = (known.counted_on.clone(), known.first_charged);
        let more = charged - core::mem::replace(&mut known.charged, charged);
        let dropped = self.dropped(&counted_on, since);
        for place in &counted_on {
            self.overrun(*place, &|unit| unit.spent(&more));
            let is_dropped = dropped.contains(place);
            self.charges.push((*place, if is_dropped { more.at_least(Amounts::default()) } else { more }));
        }
        self.warn(&counted_on, now);
    }

    /// Where a reset has dropped something of what was charged since then: it is not given back once more.
    pub(super) fn dropped(&self, counted_on: &[Place], since: Option<usize>) -> Vec<Place> {
        let Some(since) = since else { return Vec::new() };
        let is_dropped = |place: &&Place| {
            self.resets.iter().any(|(span, of, after)| *of == place.0 && span.holds(place.1) && *after >= since)
        };
        counted_on.iter().filter(is_dropped).copied().collect()
    }

    pub(super) fn overrun(&mut self, place: Place, above: &dyn Fn(Unit) -> Pico) {
        let quota = self.quotas.values().find(|quota| quota.identity == place.0);
        let above = quota.map_or(0, |quota| above(quota.definition.unit));
        if above > 0 {
            *self.overruns.entry(place).or_default() += above;
        }
    }

    /// Notes the thresholds that spend has reached, unless the period is over for good.
    pub(super) fn warn(&mut self, counted_on: &[Place], now: i64) {
        for place in counted_on {
            let found = self.quotas.iter().find(|(_, quota)| quota.identity == place.0);
            let Some((id, quota)) = found else { continue };
            let Some(span) = self.span_of(quota, *place, now) else { continue };
            let (spent, warned) = (self.spent(quota, span), self.warned(quota, span));
            let limit = self.limit(quota, span, now);
            let reached = |thousandths: &&Pico| spent != 0 && spent * 1000 >= limit * **thousandths;
            let fresh = quota.definition.warn_at.iter().filter(reached).filter(|reached| !warned.contains(*reached));
            for thousandths in fresh {
                self.warned.entry(*place).or_default().insert(*thousandths);
                self.crossings.push(format!("{id} {thousandths} {}", place.1));
            }
        }
    }
}
