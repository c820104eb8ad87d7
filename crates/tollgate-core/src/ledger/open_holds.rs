//! The open holds by their deadlines, and how many of them each user has.
//!
//! A hold of nothing costs nothing, so quotas do not bound how many there are. Two caps do: one for the tenant, whose ledger has them all in memory, and a
//! smaller one for each user, so that no user can use up the tenant's.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::ByName;
use super::command::HoldsFilter;
use super::reservation::Reservation;
use crate::fault::{self, Fault};
use crate::ids::{ReservationId, UserId};
use crate::time::Timestamp;

/// The most holds that one tenant may have open.
pub const MAX_OPEN_HOLDS: usize = 10_000;
/// The most of them that one user may have open. Calls without a user share the tenant's cap alone.
pub const MAX_USER_HOLDS: usize = 1_000;
/// The most holds that one command releases.
pub const MAX_BULK_RELEASE: usize = 500;

/// How many users without holds are left at most, beside two for each open hold.
const IDLE_USERS: usize = 1_024;

/// Where a hold stands among the open ones: its deadline and its id.
pub type HoldPlace = (Timestamp, ReservationId);

/// A cap on open holds that is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyHolds {
    /// Decided at.
    pub at: Timestamp,
    /// Who has so many; the tenant where it is no user.
    pub user: Option<UserId>,
    /// How many are open.
    pub open: usize,
    /// How many may be.
    pub most: usize,
    /// The deadline at which there is room again, unless holds end sooner or are prolonged.
    pub frees_at: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OpenHolds {
    /// In order, with whose they are.
    places: BTreeMap<HoldPlace, Option<UserId>>,
    /// How many each user has. Whoever has none any more is left for a while: most come back, and their numbers are cheaper to change than to make.
    of_users: ByName<UserId, usize>,
}

impl TooManyHolds {
    /// Seconds, rounded up, until there is room.
    #[must_use]
    pub fn retry_after_seconds(&self) -> u64 {
        self.frees_at.seconds_since(self.at)
    }

    /// The refusal in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { open, most, frees_at, .. } = self;
        let who = self.user.as_ref().map_or_else(|| "the tenant".to_owned(), |user| format!("user `{user}`"));
        format!("{who} has {open} open holds, and may have {most}: settle or release some, or wait until {frees_at}")
    }
}

impl OpenHolds {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn first(&self) -> Option<&HoldPlace> {
        self.places.first_key_value().map(|(place, _)| place)
    }

    /// Those behind a place, or all, in order.
    pub(super) fn after(&self, place: Option<&HoldPlace>) -> impl Iterator<Item = &HoldPlace> {
        let start = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((start, Bound::Unbounded)).map(|(place, _)| place)
    }

    pub(super) fn insert(&mut self, place: HoldPlace, user: Option<&UserId>) {
        self.count(user);
        if let Some(replaced) = self.places.insert(place, user.cloned()) {
            self.uncount(replaced.as_ref());
        }
    }

    pub(super) fn remove(&mut self, place: &HoldPlace) {
        if let Some(user) = self.places.remove(place) {
            self.uncount(user.as_ref());
        }
    }

    /// Counts one more of a user's holds.
    pub(super) fn count(&mut self, user: Option<&UserId>) {
        let Some(user) = user else { return };
        if let Some(count) = self.of_users.get_mut(user) {
            *count = count.saturating_add(1);
            return;
        }
        if self.of_users.len() >= self.places.len().saturating_mul(2).saturating_add(IDLE_USERS) {
            self.of_users.retain(|_, count| *count > 0);
        }
        self.of_users.insert(user.clone(), 1);
    }

    fn uncount(&mut self, user: Option<&UserId>) {
        if let Some(count) = user.and_then(|user| self.of_users.get_mut(user)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Whether one more may be opened, by a user or by nobody. Where both caps are reached it is the user's that says when there is room: the tenant
    /// has it no later.
    pub(super) fn check(&self, user: Option<&UserId>, now: Timestamp) -> Result<(), Box<TooManyHolds>> {
        let Caps { tenant, user: most } = caps();
        if let Some(user) = user
            && let Some(count) = self.of_users.get(user).filter(|count| **count >= most)
        {
            // Only a refusal looks through the holds.
            let ending = self.places.iter().filter(|(_, of)| of.as_ref() == Some(user)).map(|((at, _), _)| *at);
            return Err(too_many(Some(user), *count, most, ending, now));
        }
        if self.len() >= tenant {
            return Err(too_many(None, self.len(), tenant, self.places.keys().map(|(at, _)| *at), now));
        }
        Ok(())
    }
}

impl HoldsFilter {
    /// Whether an open reservation has all that is named.
    pub(super) fn matches(&self, hold: &Reservation) -> bool {
        let named = |wanted: Option<&str>, found: Option<&str>| wanted.is_none_or(|wanted| found == Some(wanted));
        let user = hold.call.user_id.as_ref().map(UserId::as_str);
        let touchpoint = hold.call.attribution.touchpoint.as_ref().map(|name| name.as_str());
        (named(self.user_id.as_ref().map(UserId::as_str), user) || fault::on(Fault::BulkReleaseMindsNoUser))
            && named(self.touchpoint.as_ref().map(|name| name.as_str()), touchpoint)
            && self.opened_before.is_none_or(|before| hold.created_at < before)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&hold.id))
    }
}

fn too_many(
    user: Option<&UserId>,
    open: usize,
    most: usize,
    mut ending: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> Box<TooManyHolds> {
    // A ledger from before there was a user's cap can be above it.
    let frees_at = ending.nth(open.saturating_sub(most)).unwrap_or(now);
    Box::new(TooManyHolds { at: now, user: user.cloned(), open, most, frees_at })
}

/// How many holds may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of a tenant.
    pub tenant: usize,
    /// Of one of its users.
    pub user: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self { tenant: MAX_OPEN_HOLDS, user: MAX_USER_HOLDS }
    }
}

/// What ships has the caps that are documented.
#[cfg(not(feature = "seeded-bugs"))]
fn caps() -> Caps {
    Caps::default()
}

#[cfg(feature = "seeded-bugs")]
std::thread_local! {
    static CAPS: core::cell::Cell<Option<Caps>> = const { core::cell::Cell::new(None) };
}

#[cfg(feature = "seeded-bugs")]
fn caps() -> Caps {
    CAPS.get().unwrap_or_default()
}

/// Sets other caps on this thread, or with None those that ship: in a simulation nobody opens a thousand holds.
#[cfg(feature = "seeded-bugs")]
pub fn set_caps(caps: Option<Caps>) {
    CAPS.set(caps);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn users_who_have_none_are_forgotten_and_those_who_have_are_counted() {
        let place = |n: usize| (Timestamp::default(), format!("r-{n}").parse().unwrap());
        let user = |n: usize| -> UserId { format!("u-{n}").parse().unwrap() };
        let mut holds = OpenHolds::default();
        holds.insert(place(0), Some(&user(0)));
        for n in 1..10_000 {
            holds.insert(place(n), Some(&user(n)));
            holds.insert(place(n), Some(&user(n)));
            assert_eq!(holds.of_users.get(&user(n)), Some(&1), "the same place again is the same hold");
            holds.remove(&place(n));
            holds.remove(&place(n));
            assert!(holds.of_users.len() <= IDLE_USERS + 4);
        }
        assert_eq!(holds.of_users.get(&user(0)), Some(&1));
        assert_eq!((holds.len(), holds.of_users.values().sum::<usize>()), (1, 1));
    }
}
