//! What concerns every tenant: the policy, own rates, aliases and markups, and which tenants there are. One Durable Object for all.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::catalog::{Catalog, Overrides, OverridesScope};
use tollgate_core::ids::TenantId;
use tollgate_core::policy::Policy;
use tollgate_store::{OverridesStore, PolicyStore, StoreError};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::asked;
use crate::body::Body;
use crate::clock;
use crate::config;
use crate::log::{internal, unexpected};
use crate::policy_document::PolicyDocument;
use crate::registry::{self, Registry};
use crate::respond;
use crate::router::{self, Endpoint};
use crate::sql::{ObjectSql, RowsWritten};
use crate::url;

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
        let url = request.inner().url();
        let (path, _) = url::path_and_query(url::target(&url));
        if let Some(tenant) = path.strip_prefix(registry::TARGET) {
            return self.answer_for(&asked::tenant_named(tenant)?, request).await;
        }
        let route = router::route(&request.inner().method(), path).map_err(|reason| reason.problem())?;
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
    /// Answers for the registry: a tenant is made known, or looked for.
    async fn answer_for(&self, tenant: &TenantId, request: &Request) -> Result<Answer, Problem> {
        let test_now = if self.has_test_clock { clock::from_header(request.headers())? } else { None };
        let now = test_now.unwrap_or_else(clock::now);
        match request.method() {
            worker::Method::Put => self.registry.register(tenant, now),
            _ => self.registry.find(tenant, now).await,
        }
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
