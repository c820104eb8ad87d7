//! The open holds by their deadlines, and how many of them each user has.
//!
//! A hold of nothing costs nothing, so quotas do not bound how many there are. Two caps do: one for the tenant, whose ledger has them all in memory, and a
//! smaller one for each user, so that no user can use up the tenant's.

use std::collections::{BTreeMap, BTreeSet};
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
    places: BTreeSet<HoldPlace>,
    of_users: ByName<UserId, OfUser>,
}

/// How many holds a user has, in all and by deadline. Ids are left out: only numbers are asked for.
#[derive(Debug, Default)]
struct OfUser {
    count: usize,
    deadlines: BTreeMap<Timestamp, usize>,
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
        self.places.first()
    }

    /// Those behind a place, or all, in order.
    pub(super) fn after(&self, place: Option<&HoldPlace>) -> impl Iterator<Item = &HoldPlace> {
        let start = place.map_or(Bound::Unbounded, Bound::Excluded);
        self.places.range((start, Bound::Unbounded))
    }

    pub(super) fn insert(&mut self, place: HoldPlace, user: Option<&UserId>) {
        let deadline = place.0;
        if self.places.insert(place) {
            self.count(deadline, user);
        }
    }

    pub(super) fn remove(&mut self, place: &HoldPlace, user: Option<&UserId>) {
        if !self.places.remove(place) {
            return;
        }
        let Some((user, of_user)) = user.and_then(|user| Some((user, self.of_users.get_mut(user)?))) else { return };
        of_user.count = of_user.count.saturating_sub(1);
        if let Some(at_once) = of_user.deadlines.get_mut(&place.0) {
            *at_once = at_once.saturating_sub(1);
            if *at_once == 0 {
                of_user.deadlines.remove(&place.0);
            }
        }
        if of_user.count == 0 {
            self.of_users.remove(user);
        }
    }

    /// Counts one more of a user's holds.
    pub(super) fn count(&mut self, deadline: Timestamp, user: Option<&UserId>) {
        let Some(user) = user else { return };
        let add = |of_user: &mut OfUser| {
            of_user.count = of_user.count.saturating_add(1);
            let at_once = of_user.deadlines.entry(deadline).or_default();
            *at_once = at_once.saturating_add(1);
        };
        match self.of_users.get_mut(user) {
            Some(of_user) => add(of_user),
            None => add(self.of_users.entry(user.clone()).or_default()),
        }
    }

    /// Whether one more may be opened, by a user or by nobody. Where both caps are reached it is the user's that says when there is room: the tenant
    /// has it no later.
    pub(super) fn check(&self, user: Option<&UserId>, now: Timestamp) -> Result<(), Box<TooManyHolds>> {
        let Caps { tenant, user: most } = caps();
        let of_user = user.and_then(|user| Some((user, self.of_users.get(user)?)));
        if let Some((user, OfUser { count, deadlines })) = of_user
            && *count >= most
        {
            // A ledger from before there was this cap can be above it.
            let ending = deadlines.iter().flat_map(|(at, count)| core::iter::repeat_n(*at, *count));
            return Err(too_many(Some(user), *count, most, ending, now));
        }
        if self.len() >= tenant {
            return Err(too_many(None, self.len(), tenant, self.places.iter().map(|(at, _)| *at), now));
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
