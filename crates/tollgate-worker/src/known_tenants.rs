//! Which tenants exist, as far as this isolate of the Worker knows.
//!
//! What exists goes on existing, so a tenant that is known is asked for no more: its requests go to its own object and depend on no other. For others the
//! platform's registry is asked, each time: what it does not know may be onboarded a moment later, elsewhere. Requests for the same tenant that come together share a
//! question, unless it began before they came. A tenant that does not exist is answered without its object, which would make it.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
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
use crate::object::Call;
use crate::probe::{self, Bucket};
use crate::registry;
use crate::router::Method;

/// How long the registry may take. A tenant that it does not answer for is looked for at its own object.
const PATIENCE_SECONDS: u32 = 2;
/// How often a request looks whether another one, which asks for the same tenant, has been answered. It cannot wait for that one's answer: in a stateless
/// Worker what one request waits for must not be carried on by another.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// More questions than that at once are not told apart any more.
const MAX_ASKS: usize = 1_000;
/// How many tenants are remembered, half of them for certain.
const MAX_KNOWN: usize = 20_000;

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::default();
    static ASKS: RefCell<Asks> = RefCell::default();
    static PROBES: RefCell<Probes> = RefCell::default();
}

/// Lets a tenant that exists pass: None. Or else the answer to whatever is asked of it.
///
/// # Errors
/// Nobody says whether it exists.
pub async fn refusal(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<Option<Answer>, Problem> {
    if KNOWN.with_borrow_mut(|known| known.has(tenant)) {
        return Ok(None);
    }
    match ask_together(env, tenant, now).await {
        Ok(Found::Known) => {
            note(tenant);
            Ok(None)
        }
        Ok(Found::Unknown) => Err(Rejection::TenantNotFound.into()),
        Ok(Found::Later(seconds)) => Ok(Some(later(&seconds))),
        // Where an older version answers, there is no registry yet, and the tenant's object says itself that it has no ledger.
        Err(problem) if problem.code == Code::NotFound => Ok(None),
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
    match probe::since_in(&answer).await {
        Ok(Some(_)) => Ok(()),
        // An older version would let the ledger be made that the registry does not know.
        Ok(None) | Err(Problem { code: Code::NotFound | Code::Unavailable, .. }) => {
            Err(Problem::new(Code::Unavailable, "the registry cannot be written now; nothing was changed"))
        }
        Err(problem) => Err(problem),
    }
}

/// A tenant is known to exist.
pub fn note(tenant: &TenantId) {
    KNOWN.with_borrow_mut(|known| known.note(tenant));
}

/// What the registry says.
enum Found {
    Known,
    Unknown,
    /// The registry has looked for so many that do not exist that it looks for no more, for so many seconds.
    Later(String),
}

async fn ask_together(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<Found, Problem> {
    let came = ASKS.with_borrow(Asks::count);
    let until = clock::now().plus_seconds(PATIENCE_SECONDS);
    loop {
        match ASKS.with_borrow_mut(|asks| asks.next(tenant, came, clock::now())) {
            Turn::Ask(number) => {
                let found = ask(env, tenant, now).await;
                let is_unknown = matches!(found, Ok(Found::Unknown));
                ASKS.with_borrow_mut(|asks| asks.end(tenant, number, is_unknown));
                return found;
            }
            Turn::Unknown => return Ok(Found::Unknown),
            Turn::Wait if clock::now() >= until => {
                return Err(Problem::new(Code::Unavailable, "the registry did not answer in time"));
            }
            Turn::Wait => Delay::from(LOOK_AGAIN).await,
        }
        if KNOWN.with_borrow_mut(|known| known.has(tenant)) {
            return Ok(Found::Known);
        }
    }
}

async fn ask(env: &Env, tenant: &TenantId, now: Option<Timestamp>) -> Result<Found, Problem> {
    let asked = core::pin::pin!(call(env, tenant, Method::Get, now));
    let answer = match select(asked, Delay::from(Duration::from_secs(PATIENCE_SECONDS.into()))).await {
        Either::Left((answer, _)) => answer?,
        Either::Right(_) => return Err(Problem::new(Code::Unavailable, "the registry did not answer in time")),
    };
    if answer.status() == registry::LATER {
        return Ok(Found::Later(answer.headers().get("Retry-After").ok().flatten().unwrap_or_default()));
    }
    Ok(probe::since_in(&answer).await?.map_or(Found::Unknown, |_| Found::Known))
}

/// Looks for a tenant at its own object.
async fn look(env: &Env, tenant: &TenantId) -> Result<Option<Answer>, Problem> {
    let until = clock::now().plus_seconds(PATIENCE_SECONDS);
    while let Err(seconds) = PROBES.with_borrow_mut(|probes| probes.begin(clock::now())) {
        if PROBES.with_borrow(|probes| probes.under_way == 0) || clock::now() >= until {
            return Ok(Some(later(&seconds.to_string())));
        }
        // Those that are looked for may all be there, which is free.
        Delay::from(LOOK_AGAIN).await;
    }
    let found = probe::ledger_since(env, tenant).await;
    PROBES.with_borrow_mut(|probes| probes.end(matches!(found, Ok(None))));
    match found {
        Ok(Some(_)) => {
            note(tenant);
            Ok(None)
        }
        Ok(None) => Err(Rejection::TenantNotFound.into()),
        Err(problem) if problem.code == Code::NotFound => Ok(None),
        Err(problem) => Err(problem),
    }
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

/// The questions of this isolate to the registry, one at a time for each tenant.
#[derive(Debug, Default)]
struct Asks {
    count: u64,
    of: HashMap<TenantId, Asked>,
}

/// What is being asked about a tenant.
#[derive(Debug, Default)]
struct Asked {
    /// The number of the question that is under way, and when it began.
    under_way: Option<(u64, Timestamp)>,
    /// The number of the last question whose answer was no.
    unknown: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// Ask, under this number.
    Ask(u64),
    /// Somebody asks: look again in a moment.
    Wait,
    /// Somebody has been told that there is no such tenant.
    Unknown,
}

impl Asks {
    const fn count(&self) -> u64 {
        self.count
    }

    /// What is next for a request that came after so many questions had begun.
    fn next(&mut self, tenant: &TenantId, came: u64, now: Timestamp) -> Turn {
        if self.of.len() >= MAX_ASKS && !self.of.contains_key(tenant) {
            self.of.clear();
        }
        let asked = self.of.entry(tenant.clone()).or_default();
        // An older question may have been answered before the tenant was onboarded.
        if asked.unknown > came {
            return Turn::Unknown;
        }
        // Whoever asks may have hung up, and is told nothing then.
        let is_under_way = |(_, began): &(u64, Timestamp)| now < began.plus_seconds(PATIENCE_SECONDS);
        if asked.under_way.as_ref().is_some_and(is_under_way) {
            return Turn::Wait;
        }
        self.count += 1;
        asked.under_way = Some((self.count, now));
        Turn::Ask(self.count)
    }

    fn end(&mut self, tenant: &TenantId, number: u64, is_unknown: bool) {
        if !is_unknown {
            self.of.remove(tenant);
            return;
        }
        let Some(asked) = self.of.get_mut(tenant) else { return };
        if asked.under_way.is_some_and(|(under_way, _)| under_way == number) {
            asked.under_way = None;
        }
        asked.unknown = asked.unknown.max(number);
    }
}

/// The tenants that this isolate looks for by itself, and how many more there may be that do not exist.
#[derive(Debug, Default)]
struct Probes {
    bucket: Bucket,
    under_way: usize,
}

impl Probes {
    fn begin(&mut self, now: Timestamp) -> Result<(), u64> {
        self.bucket.take(now)?;
        self.under_way += 1;
        Ok(())
    }

    fn end(&mut self, is_absent: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if !is_absent {
            self.bucket.give_back();
        }
    }
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn those_who_come_together_share_a_question_that_began_after_them() {
        let at = |millis: i64| Timestamp::from_millis(1_000_000 + millis).unwrap();
        let [acme, globex]: [TenantId; 2] = ["acme".parse().unwrap(), "globex".parse().unwrap()];
        let mut asks = Asks::default();
        let first = asks.count();
        assert_eq!(asks.next(&acme, first, at(0)), Turn::Ask(1));
        assert_eq!(asks.next(&globex, first, at(0)), Turn::Ask(2));
        // The second and third come while the first one asks. Its answer may be older than they are.
        let later = asks.count();
        assert_eq!(asks.next(&acme, later, at(1)), Turn::Wait);
        assert_eq!(asks.next(&acme, later, at(1)), Turn::Wait);
        asks.end(&acme, 1, true);
        assert_eq!(asks.next(&acme, later, at(5)), Turn::Ask(3));
        assert_eq!(asks.next(&acme, later, at(5)), Turn::Wait);
        asks.end(&acme, 3, true);
        assert_eq!(asks.next(&acme, later, at(9)), Turn::Unknown, "that one was asked after it came");
        // Whoever comes now asks anew.
        let now = asks.count();
        assert_eq!(asks.next(&acme, now, at(9)), Turn::Ask(4));
        asks.end(&acme, 4, false);
        assert_eq!(asks.next(&acme, asks.count(), at(10)), Turn::Ask(5));
        // Whoever asks and hangs up holds up nobody for ever.
        assert_eq!(asks.next(&acme, asks.count(), at(2_009)), Turn::Wait);
        assert_eq!(asks.next(&acme, asks.count(), at(2_010)), Turn::Ask(6));
        for n in 0..10 * MAX_ASKS {
            let tenant = format!("ghost-{n}").parse().unwrap();
            let Turn::Ask(number) = asks.next(&tenant, asks.count(), at(0)) else { panic!("nobody asks for it") };
            asks.end(&tenant, number, true);
            assert!(asks.of.len() <= MAX_ASKS);
        }
    }

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
