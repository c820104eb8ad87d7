//! Which tenants exist, as far as this isolate of the Worker knows.
//!
//! What exists goes on existing, so a tenant that is known is asked for no more: its requests go to its own object and depend on no other. For others the
//! platform's registry is asked, each time: what it does not know may be onboarded a moment later, elsewhere. A tenant that does not exist is answered without its
//! object, which would make it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::{Either, select};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tollgate_core::api::{Answer, Code, Problem};
use tollgate_core::ids::TenantId;
use tollgate_core::ledger::Rejection;
use tollgate_core::time::Timestamp;
use worker::web_sys::Response;
use worker::{Delay, Env};

use crate::body::Body;
use crate::clock;
use crate::config;
use crate::log::{internal, unexpected};
use crate::object::{Call, text_of};
use crate::probe::{self, Bucket};
use crate::registry;
use crate::router::Method;

/// How long the registry may take. A tenant that it does not answer for is looked for at its own object.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many tenants are remembered, half of them for certain.
const MAX_KNOWN: usize = 20_000;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
    static PROBES: RefCell<Bucket> = RefCell::default();
}

/// Lets a tenant that exists pass: None. Or else the answer to whatever is asked of it.
///
/// # Errors
/// Nobody says whether it exists.
pub async fn refusal(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<Option<Answer>, Problem> {
    if KNOWN.with_borrow_mut(|known| known.has(tenant)) {
        return Ok(None);
    }
    match ask(env, tenant, now).await {
        Ok(Found::Known) => {
            note(tenant);
            Ok(None)
        }
        Ok(Found::Unknown) => Err(Rejection::TenantNotFound.into()),
        Ok(Found::Later(seconds)) => Ok(Some(later(&seconds))),
        // A tenant depends on no other object where its own can say that it exists.
        Err(problem) => {
            unexpected("asking the registry", &problem.detail);
            look(env, tenant).await
        }
    }
}

/// Makes a tenant known to the registry, before it has a ledger.
///
/// # Errors
/// The registry cannot be written; then nothing was changed.
pub async fn register(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<(), Problem> {
    let answer = call(env, tenant, Method::Put, now).await?;
    match answer.status() {
        200 => Ok(()),
        503 => Err(Problem::new(Code::Unavailable, "the registry cannot be written now; nothing was changed")),
        _ => Err(internal("registering a tenant", &text_of(&answer).await?)),
    }
}

/// A tenant is known to exist.
pub fn note(tenant: &TenantId) {
    KNOWN.with_borrow_mut(|known| known.note(tenant));
}

enum Found {
    Known,
    Unknown,
    /// The registry has looked for so many that do not exist that it looks for no more, for so many seconds.
    Later(String),
}

async fn ask(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<Found, Problem> {
    let asked = core::pin::pin!(call(env, tenant, Method::Get, now));
    let answer = match select(asked, Delay::from(PATIENCE)).await {
        Either::Left((answer, _)) => answer?,
        Either::Right(_) => return Err(Problem::new(Code::Unavailable, "the registry did not answer in time")),
    };
    match answer.status() {
        200 => Ok(Found::Known),
        404 => Ok(Found::Unknown),
        registry::LATER => Ok(Found::Later(answer.headers().get("Retry-After").ok().flatten().unwrap_or_default())),
        _ => Err(Problem::new(Code::Unavailable, text_of(&answer).await?)),
    }
}

/// Looks for a tenant at its own object.
async fn look(env: &Env, tenant: &TenantId) -> Result<Option<Answer>, Problem> {
    if let Err(seconds) = PROBES.with_borrow_mut(|bucket| bucket.take(clock::now())) {
        return Ok(Some(later(&seconds.to_string())));
    }
    let found = probe::ledger_since(env, tenant).await;
    if !matches!(found, Ok(None)) {
        PROBES.with_borrow_mut(Bucket::give_back);
    }
    if found?.is_none() {
        return Err(Rejection::TenantNotFound.into());
    }
    note(tenant);
    Ok(None)
}

fn later(seconds: &str) -> Answer {
    let mut answer = Answer::problem(&Problem::new(Code::Unavailable, "whether this tenant exists cannot be said now"));
    answer.headers.push(("Retry-After", seconds.to_owned()));
    answer
}

async fn call(env: &Env, tenant: &TenantId, method: Method, now: Option<Timestamp>) -> Result<Response, Problem> {
    let objects = config::platform_pools(env).map_err(|error| internal("finding the platform", &error))?;
    let target = format!("{}{}", registry::TARGET, utf8_percent_encode(tenant.as_str(), NON_ALPHANUMERIC));
    let call = Call {
        objects: &objects,
        name: config::PLATFORM,
        method,
        target: &target,
        body: &Body::empty(),
        now,
        overrides: 0,
        connection_ends: None,
        repeats_safely: true,
    };
    call.send().await
}

/// Tenants in two halves: where the younger one is full, it becomes the older one, and those that nobody has asked for since are forgotten.
#[derive(Debug, Default)]
struct Known {
    younger: HashSet<TenantId>,
    older: HashSet<TenantId>,
}

impl Known {
    fn has(&mut self, tenant: &TenantId) -> bool {
        if self.younger.contains(tenant) {
            return true;
        }
        let is_older = self.older.contains(tenant);
        if is_older {
            self.note(tenant);
        }
        is_older
    }

    fn note(&mut self, tenant: &TenantId) {
        if self.younger.len() >= MAX_KNOWN / 2 {
            self.older = core::mem::take(&mut self.younger);
        }
        self.younger.insert(tenant.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_is_asked_for_stays_known_and_memory_is_bounded() {
        let tenant = |n: usize| -> TenantId { format!("t-{n}").parse().unwrap() };
        let mut known = Known::default();
        assert!(!known.has(&tenant(0)));
        known.note(&tenant(0));
        for n in 1..100_000 {
            known.note(&tenant(n));
            if n % 5_000 == 0 {
                assert!(known.has(&tenant(0)), "asked for again and again: {n}");
            }
            assert!(known.younger.len() + known.older.len() <= MAX_KNOWN);
        }
        assert!(known.has(&tenant(99_999)) && known.has(&tenant(90_001)));
        assert!(!known.has(&tenant(1)), "forgotten, and asked for again");
    }
}
