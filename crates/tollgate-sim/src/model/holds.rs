//! How many holds are open, and which: counted anew whenever somebody asks.

use serde_json::{Value, json};

use super::calendar;
use super::words::user_id;
use super::{Model, Verdict};

/// How many holds ship: of a tenant, of a user, and in one release.
const CAPS: (usize, usize) = (10_000, 1_000);
const MOST_AT_ONCE: usize = 500;

/// Who has too many holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    user: Option<u8>,
    open: usize,
    most: usize,
    frees_at: Option<i64>,
}

impl Full {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "scope": if self.user.is_some() { "user" } else { "tenant" },
            "scopeId": self.user.map(user_id),
            "open": self.open,
            "limit": self.most,
            "freesAt": self.frees_at.map(calendar::text),
        })
    }
}

impl Model {
    /// Whether a user, or the tenant, may open no further hold: the one that waits longer.
    pub(super) fn full(&self, user: Option<u8>) -> Option<Full> {
        let (of_tenant, of_user) = self.caps.unwrap_or(CAPS);
        let full = |user: Option<u8>, most: usize| {
            let of = self.open().filter(|(_, open)| user.is_none() || open.call.user == user);
            let mut ends: Vec<i64> = of.map(|(_, open)| open.expires_at).collect();
            ends.sort_unstable();
            let open = ends.len();
            (open >= most).then(|| Full { user, open, most, frees_at: ends.get(open - most).copied() })
        };
        let by_user = user.and_then(|user| full(Some(user), of_user));
        by_user.or_else(|| full(None, of_tenant))
    }

    /// The ids of the open holds that have all that is named, those that end first before the others.
    pub(super) fn open_holds_of(&self, user: Option<u8>, touchpoint: Option<u8>, before: Option<i64>) -> Vec<String> {
        let has_all = |call: super::Call, created_at: i64| {
            (user.is_none() || call.user == user)
                && (touchpoint.is_none() || call.touchpoint == touchpoint)
                && before.is_none_or(|before| created_at < before)
        };
        let meant = self.open().filter(|(_, open)| has_all(open.call, open.created_at));
        let mut found: Vec<(i64, String)> = meant.map(|(id, open)| (open.expires_at, id.clone())).collect();
        found.sort();
        found.into_iter().map(|(_, id)| id).collect()
    }

    pub(super) fn release_holds(&mut self, user: Option<u8>, touchpoint: Option<u8>, before: Option<i64>) -> Verdict {
        let meant = self.open_holds_of(user, touchpoint, before);
        let released = meant.len().min(MOST_AT_ONCE);
        for id in meant.iter().take(released) {
            self.release(id);
        }
        Verdict::ReleasedMany(released, meant.len() - released)
    }
}
