//! What concerns every tenant: the policy, own rates, aliases and markups, and which tenants there are. One Durable Object for all.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::catalog::{Catalog, Overrides, OverridesScope};
use tollgate_core::policy::Policy;
use tollgate_core::time::Timestamp;
use tollgate_store::{OverridesStore, PolicyStore, StoreError};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::body::Body;
use crate::clock;
use crate::config;
use crate::log::{internal, unexpected};
use crate::operation::{Envelope, Operation};
use crate::policy_document::PolicyDocument;
use crate::registry::Registry;
use crate::respond;
use crate::router::Endpoint;
use crate::sql::{ObjectSql, RowsWritten};

/// Keeps the policy, the overrides and the registry.
#[durable_object(fetch)]
pub struct PlatformPool {
    policies: RefCell<PolicyStore<ObjectSql>>,
    overrides: RefCell<OverridesStore<ObjectSql>>,
    registry: Rc<Registry>,
    has_test_clock: bool,
}

impl DurableObject for PlatformPool {
    fn new(state: State, env: Env) -> Self {
        let sql = || ObjectSql::new(state.storage(), RowsWritten::default());
        Self {
            policies: RefCell::new(PolicyStore::open(sql())),
            overrides: RefCell::new(OverridesStore::open(sql())),
            has_test_clock: config::has_test_clock(&env),
            registry: Registry::new(env, sql()),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let answer = self.answer(&mut request).await.unwrap_or_else(|problem| respond::refusal(&problem));
        respond::response(answer)
    }
}

impl PlatformPool {
    async fn answer(&self, request: &mut Request) -> Result<Answer, Problem> {
        let envelope = Envelope::of(request.headers())?;
        let route = match envelope.operation {
            Operation::Route(route) => route,
            Operation::RegisterTenant { tenant } => return self.registry.register(&tenant, self.time(envelope.now)),
            Operation::FindTenant { tenant } => return self.registry.find(&tenant, self.time(envelope.now)).await,
            Operation::SayOnboarded | Operation::TakeOverrides { .. } | Operation::ExpectTicket { .. } => {
                return Err(Problem::new(Code::NotFound, "the platform does not answer this"));
            }
        };
        match route.endpoint {
            Endpoint::GetPolicy => {
                let (version, policy) = self.policies.borrow().policy().map_err(|error| problem(&error))?;
                Ok(document(version, policy))
            }
            Endpoint::PutPolicy => {
                let policy = api::parse_policy(&Body::read(request).await?.text()?)?;
                let version = self.policies.borrow_mut().put(&policy).map_err(|error| problem(&error))?;
                Ok(document(version, policy))
            }
            Endpoint::GetPlatformOverrides => {
                let (version, document) = self.overrides.borrow().overrides().map_err(|error| problem(&error))?;
                Ok(Answer::overrides_document(version, &document, None))
            }
            Endpoint::PutPlatformOverrides => {
                let document = api::parse_overrides(&Body::read(request).await?.text()?)?;
                let catalog = Catalog::builtin().map_err(|error| internal("reading the catalog", &error))?;
                // Which version it is does not matter to the check.
                Overrides::new(OverridesScope::Platform, 0, Arc::clone(&document))
                    .and_then(|_| document.check_aliases(catalog, None))
                    .map_err(|problem| Problem::invalid(problem.field, problem.message))?;
                let version = self.overrides.borrow_mut().put(&document).map_err(|error| problem(&error))?;
                Ok(Answer::overrides_document(version, &document, None))
            }
            _ => Err(Problem::new(Code::NotFound, "the platform does not answer this")),
        }
    }
}

impl PlatformPool {
    /// What time it is.
    fn time(&self, test_now: Option<Timestamp>) -> Timestamp {
        test_now.filter(|_| self.has_test_clock).unwrap_or_else(clock::now)
    }
}

fn document(version: u64, policy: Policy) -> Answer {
    Answer::json(200, &PolicyDocument::new(version, policy))
}

/// What the caller is told of a store that failed.
pub fn problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Sql(_) => {
            unexpected("storing what concerns every tenant", error);
            Problem::new(Code::Unavailable, "the database failed; nothing was changed")
        }
        StoreError::Damaged(_) | StoreError::NewerSchema { .. } => {
            internal("reading what concerns every tenant", error)
        }
    }
}
