//! Asks a tenant's object whether it has a ledger.
//!
//! Asking makes an object that was not there: three files and a quarter of a megabyte in workerd, of which one file of 4 KB stays. So tenants that turn out
//! not to exist are asked for only so often; those that do cost nothing but the question.

use serde::{Deserialize, Serialize};
use tollgate_core::api::{Answer, Code, Problem};
use tollgate_core::ids::TenantId;
use tollgate_core::ledger::Rejection;
use tollgate_core::time::Timestamp;
use worker::Env;
use worker::web_sys::Response;

use crate::body::Body;
use crate::config;
use crate::log::internal;
use crate::object::{Call, text_of};
use crate::router::Method;

/// Where a tenant's object says since when it has a ledger. No route of the Worker's leads here.
pub const TARGET: &str = "/onboarded";

/// The most objects that are asked one after the other although they have no ledger.
const BURST: u32 = 64;
/// How long until one more may be.
const REFILL_SECONDS: u32 = 10;

/// What is said of a tenant that is known.
#[derive(Debug, Serialize)]
struct Since {
    since: Timestamp,
}

/// What can be said: since when a tenant is known, or the code of a problem.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    since: Option<Timestamp>,
    #[serde(default)]
    code: Option<String>,
}

fn said(text: &str) -> Said {
    // What is no JSON says neither.
    serde_json::from_str(text).unwrap_or_default()
}

/// The answer of an object whose tenant is known since an instant, or is not.
pub fn answer(since: Option<Timestamp>) -> Answer {
    match since {
        Some(since) => Answer::json(200, &Since { since }),
        None => Answer::problem(&Rejection::TenantNotFound.into()),
    }
}

/// What an object, or the registry, answers of a tenant.
///
/// # Errors
/// It does not say. [`Code::NotFound`] where it runs a version that knows no such question, as it can while a new version is deployed.
pub async fn since_in(answer: &Response) -> Result<Option<Timestamp>, Problem> {
    let text = text_of(answer).await?;
    match (answer.status(), said(&text)) {
        (200, Said { since: Some(since), .. }) => Ok(Some(since)),
        (404, Said { code: Some(code), .. }) if code == Code::TenantNotFound.name() => Ok(None),
        (404, _) => Err(Problem::new(Code::NotFound, "an older version answers")),
        (503, _) => Err(Problem::new(Code::Unavailable, "the ledger cannot be reached at the moment")),
        _ => Err(internal("asking for a tenant", &text)),
    }
}

/// Since when a tenant's object has a ledger. None where it has none.
///
/// # Errors
/// As of [`since_in`].
pub async fn ledger_since(env: &Env, tenant: &TenantId) -> Result<Option<Timestamp>, Problem> {
    let objects = config::tenant_ledgers(env).map_err(|error| internal("finding the ledgers", &error))?;
    let call = Call {
        objects: &objects,
        name: tenant.as_str(),
        method: Method::Get,
        target: TARGET,
        body: &Body::empty(),
        now: None,
        overrides: 0,
        connection_ends: None,
        repeats_safely: true,
    };
    since_in(&call.send().await?).await
}

/// How many objects may still be asked for nothing.
#[derive(Debug, Default)]
pub struct Bucket {
    used: u32,
    /// The instant up to which what was used is given back.
    refilled: Timestamp,
}

impl Bucket {
    /// Takes one, or says after how many seconds there is one.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&mut self, now: Timestamp) -> Result<(), u64> {
        self.refill(now);
        if self.used < BURST {
            self.used += 1;
            return Ok(());
        }
        Err(self.refilled.plus_seconds(REFILL_SECONDS).seconds_since(now).max(1))
    }

    /// Gives one back, which was not taken for nothing.
    pub fn give_back(&mut self) {
        self.used = self.used.saturating_sub(1);
    }

    fn refill(&mut self, now: Timestamp) {
        while self.used > 0 && self.refilled.plus_seconds(REFILL_SECONDS) <= now {
            self.refilled = self.refilled.plus_seconds(REFILL_SECONDS);
            self.used -= 1;
        }
        // What is not used is not saved up; and a clock that was set back must not stop it until it has caught up.
        if self.used == 0 || now < self.refilled {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_is_said_is_read_back() {
        let at: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let known = said(&answer(Some(at)).body);
        assert_eq!((known.since, known.code), (Some(at), None));
        let unknown = said(&answer(None).body);
        assert_eq!((unknown.since, unknown.code.as_deref()), (None, Some(Code::TenantNotFound.name())));
        assert_eq!(answer(None).status, 404);
        assert!(said("<html>").code.is_none());
    }

    #[test]
    fn so_many_are_asked_for_nothing_and_then_one_every_ten_seconds() {
        let at = |seconds: i64| Timestamp::from_millis(1_000_000 + seconds * 1000).unwrap();
        let mut bucket = Bucket::default();
        assert!((0..64).all(|_| bucket.take(at(0)).is_ok()));
        assert_eq!(bucket.take(at(0)), Err(10));
        assert_eq!(bucket.take(at(7)), Err(3));
        bucket.give_back();
        assert!(bucket.take(at(7)).is_ok(), "what was found is free");
        assert_eq!(bucket.take(at(9)), Err(1));
        assert!(bucket.take(at(10)).is_ok());
        assert_eq!(bucket.take(at(10)), Err(10));
        assert!((0..3).all(|_| bucket.take(at(45)).is_ok()));
        assert_eq!(bucket.take(at(45)), Err(5));
        // Long after, all of them, and no more.
        assert!((0..64).all(|_| bucket.take(at(100_000)).is_ok()));
        assert_eq!(bucket.take(at(100_000)), Err(10));
        assert_eq!(bucket.take(at(50_000)), Err(10), "a clock that is set back");
        assert!(bucket.take(at(50_010)).is_ok());
    }
}
