//! The registry of tenants, as the platform's object answers for it. A tenant that is not in it may have a ledger from before there was one: while it adopts,
//! the tenant's object is asked, and what is found is registered.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use futures_channel::oneshot;
use tollgate_core::api::{Answer, Code, Problem};
use tollgate_core::ids::TenantId;
use tollgate_core::time::Timestamp;
use tollgate_store::{StoreError, TenantsStore};
use wasm_bindgen_futures::spawn_local;
use worker::Env;

use crate::config;
use crate::platform_pool::problem;
use crate::probe::{self, Bucket};
use crate::sql::ObjectSql;

/// Where the platform's object has the registry: behind it is a tenant's id. No route of the Worker's leads here.
pub const TARGET: &str = "/registry/";

/// The status of the answer that too many were asked for that do not exist; `Retry-After` says when there may be more. The Worker tells its client in words of its own.
pub const LATER: u16 = 429;

/// How many tenants are remembered that turned out not to exist: to ask them again makes nothing more.
const MAX_REMEMBERED: usize = 1_000;

/// The registry.
pub struct Registry {
    env: Env,
    tenants: RefCell<TenantsStore<ObjectSql>>,
    probes: RefCell<Probes>,
}

impl Registry {
    /// The registry in the database of the platform's object.
    pub fn new(env: Env, sql: ObjectSql) -> Rc<Self> {
        let tenants = RefCell::new(TenantsStore::open(sql));
        Rc::new(Self { env, tenants, probes: RefCell::default() })
    }

    /// Makes a tenant known.
    ///
    /// # Errors
    /// The database failed.
    pub fn register(&self, tenant: &TenantId, now: Timestamp) -> Result<Answer, Problem> {
        let since = self.with_store(|tenants| {
            // A registry that is told that it is new remembers that with its first tenant.
            tenants.adopts(config::adoption(&self.env), now)?;
            tenants.register(tenant, now)
        })?;
        Ok(probe::answer(Some(since)))
    }

    /// Whether a tenant is known: 200, or 404; [`LATER`] where that cannot be said now.
    ///
    /// # Errors
    /// The database failed, or the tenant's object.
    pub async fn find(self: &Rc<Self>, tenant: &TenantId, now: Timestamp) -> Result<Answer, Problem> {
        loop {
            if let Some(since) = self.with_store(|tenants| tenants.since(tenant))? {
                return Ok(probe::answer(Some(since)));
            }
            if !self.with_store(|tenants| tenants.adopts(config::adoption(&self.env), now))? {
                return Ok(probe::answer(None));
            }
            // Bound to a name, so that nothing is borrowed while we wait.
            let next = self.probes.borrow_mut().next(tenant, now);
            match next {
                Next::Asks(found) => {
                    // Whoever asked may hang up; others may be waiting for the same.
                    spawn_local(Rc::clone(self).ask(tenant.clone()));
                    return found_of(found).await.map(probe::answer);
                }
                Next::Joins(found) => return found_of(found).await.map(probe::answer),
                Next::Waits(turn) => {
                    // It ends with whoever was to tell: then there is one less to wait for.
                    let _ended = turn.await;
                }
                Next::Refused(seconds) => {
                    let headers = vec![("Retry-After", seconds.to_string())];
                    return Ok(Answer { status: LATER, body: String::new(), headers });
                }
            }
        }
    }

    async fn ask(self: Rc<Self>, tenant: TenantId) {
        let asked = probe::ledger_since(&self.env, &tenant).await;
        let found = match asked {
            Ok(Some(since)) => self.with_store(|tenants| tenants.register(&tenant, since)).map(Some),
            other => other,
        };
        self.probes.borrow_mut().end(&tenant, &found);
    }

    fn with_store<T>(
        &self,
        act: impl FnOnce(&mut TenantsStore<ObjectSql>) -> Result<T, StoreError>,
    ) -> Result<T, Problem> {
        act(&mut self.tenants.borrow_mut()).map_err(|error| problem(&error))
    }
}

async fn found_of(found: oneshot::Receiver<Found>) -> Found {
    found.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "a tenant was not asked for")))
}

/// Since when a tenant's object has a ledger; None where it has none.
type Found = Result<Option<Timestamp>, Problem>;

/// The questions that are under way, and how many more there may be.
#[derive(Default)]
struct Probes {
    bucket: Bucket,
    under_way: HashMap<TenantId, Vec<oneshot::Sender<Found>>>,
    /// Who waits until one of them ends.
    waiting: Vec<oneshot::Sender<()>>,
    absent: HashSet<TenantId>,
}

/// What to do about a tenant.
enum Next {
    /// Ask its object.
    Asks(oneshot::Receiver<Found>),
    /// Somebody asks it already.
    Joins(oneshot::Receiver<Found>),
    /// Those that are asked may all be there, which is free: wait for one, and look again.
    Waits(oneshot::Receiver<()>),
    /// Not before so many seconds.
    Refused(u64),
}

impl Probes {
    fn next(&mut self, tenant: &TenantId, now: Timestamp) -> Next {
        let (done, found) = oneshot::channel();
        if let Some(asking) = self.under_way.get_mut(tenant) {
            asking.push(done);
            return Next::Joins(found);
        }
        if !self.absent.contains(tenant)
            && let Err(seconds) = self.bucket.take(now)
        {
            if self.under_way.is_empty() {
                return Next::Refused(seconds);
            }
            let (done, ended) = oneshot::channel();
            self.waiting.push(done);
            return Next::Waits(ended);
        }
        self.under_way.insert(tenant.clone(), vec![done]);
        Next::Asks(found)
    }

    fn end(&mut self, tenant: &TenantId, found: &Found) {
        if matches!(found, Ok(None)) {
            if self.absent.len() >= MAX_REMEMBERED {
                self.absent.clear();
            }
            self.absent.insert(tenant.clone());
        } else if !self.absent.remove(tenant) {
            self.bucket.give_back();
        }
        let askers = self.under_way.remove(tenant).unwrap_or_default();
        for asker in askers {
            // It may have hung up.
            let _gone = asker.send(found.clone());
        }
        for waiting in core::mem::take(&mut self.waiting) {
            let _gone = waiting.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use futures_util::FutureExt;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000).unwrap()
    }

    fn tenant(n: usize) -> TenantId {
        format!("t-{n}").parse().unwrap()
    }

    fn asks(next: Next) -> oneshot::Receiver<Found> {
        match next {
            Next::Asks(found) => found,
            Next::Joins(_) => panic!("somebody asks already"),
            Next::Waits(_) => panic!("it waits"),
            Next::Refused(seconds) => panic!("not for {seconds} s"),
        }
    }

    fn told(found: oneshot::Receiver<Found>) -> Option<Timestamp> {
        found.now_or_never().unwrap().unwrap().unwrap()
    }

    #[test]
    fn one_asks_and_all_are_told() {
        let mut probes = Probes::default();
        let first = asks(probes.next(&tenant(1), at(0)));
        let Next::Joins(second) = probes.next(&tenant(1), at(0)) else { panic!("a second one joins") };
        let other = asks(probes.next(&tenant(2), at(0)));
        probes.end(&tenant(1), &Ok(Some(at(-5))));
        assert_eq!((told(first), told(second)), (Some(at(-5)), Some(at(-5))));
        assert!(other.now_or_never().is_none());
    }

    #[test]
    fn what_is_there_is_free_however_many_there_are() {
        let mut probes = Probes::default();
        let mut found = 0;
        let mut under_way: Vec<TenantId> = Vec::new();
        for n in 0..1_000 {
            loop {
                match probes.next(&tenant(n), at(0)) {
                    Next::Asks(_) => break under_way.push(tenant(n)),
                    Next::Waits(ended) => {
                        probes.end(&under_way.pop().unwrap(), &Ok(Some(at(0))));
                        found += 1;
                        assert_eq!(ended.now_or_never(), Some(Ok(())));
                    }
                    Next::Joins(_) | Next::Refused(_) => panic!("all of them are there"),
                }
            }
        }
        assert_eq!((found, under_way.len()), (1_000 - 64, 64), "so many at once");
    }

    #[test]
    fn what_is_not_there_is_asked_for_only_so_often() {
        let mut probes = Probes::default();
        for n in 0..64 {
            let found = asks(probes.next(&tenant(n), at(0)));
            probes.end(&tenant(n), &Ok(None));
            assert_eq!(told(found), None);
        }
        assert!(matches!(probes.next(&tenant(64), at(0)), Next::Refused(10)));
        // Its object is there by now: asking again makes nothing, and it may have been onboarded meanwhile.
        for _ in 0..100 {
            let found = asks(probes.next(&tenant(0), at(0)));
            probes.end(&tenant(0), &Ok(None));
            assert_eq!(told(found), None);
        }
        assert!(matches!(probes.next(&tenant(64), at(0)), Next::Refused(10)));
        let failed = asks(probes.next(&tenant(64), at(10)));
        probes.end(&tenant(64), &Err(Problem::new(Code::Unavailable, "it does not answer")));
        assert!(failed.now_or_never().unwrap().unwrap().is_err());
        // What did not answer was not asked for nothing.
        let found = asks(probes.next(&tenant(65), at(10)));
        probes.end(&tenant(65), &Ok(Some(at(1))));
        assert_eq!(told(found), Some(at(1)));
        let _asking = asks(probes.next(&tenant(66), at(10)));
        assert!(matches!(probes.next(&tenant(67), at(10)), Next::Waits(_)));
        probes.end(&tenant(66), &Ok(None));
        assert!(matches!(probes.next(&tenant(67), at(10)), Next::Refused(10)));
    }
}
