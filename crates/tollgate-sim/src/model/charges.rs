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

    /// From now on a reservation's call has cost so much in all, and so much of its hold is free.
    pub(super) fn charge_to(&mut self, id: &str, cost: Amounts, freed: &dyn Fn(Unit) -> Pico, now: i64) {
        let Some(known) = self.reservations.get(id) else { return };
        let (counted_on, created_at) = (known.counted_on.clone(), known.created_at);
        let charged = Amounts { usd: known.after_refunds(cost.usd), ..cost };
        let before = self.counts(id);
        let moment = self.next_moment();
        let Some(known) = self.reservations.get_mut(id) else { return };
        (known.charged, known.cost) = (charged, cost.usd);
        known.counted.push((moment, charged));
        for (place, (unit, before), (_, after)) in
            counted_on.iter().zip(before).zip(self.counts(id)).map(|((place, before), after)| (place, before, after))
        {
            let Some(unit) = unit else { continue };
            let more = after - before - freed(unit);
            self.overrun(*place, &|_| more);
            self.take_what_it_costs(place.0, id, more, created_at, now);
            self.return_what_is_not_spent(place.0, id, -more, created_at);
        }
        self.warn(&counted_on, now);
    }

    /// What is counted of a reservation where it counts, and in which unit.
    fn counts(&self, id: &str) -> Vec<(Option<Unit>, Pico)> {
        let Some(known) = self.reservations.get(id) else { return Vec::new() };
        let counted = known.counted_on.iter().map(|place| {
            let unit = self.quotas.values().find(|quota| quota.identity == place.0)?.definition.unit;
            Some((unit, self.counted_of(known, *place, unit)))
        });
        counted.map(|found| found.map_or((None, 0), |(unit, counted)| (Some(unit), counted))).collect()
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
