//! What concerns every tenant: the policy. One Durable Object for all.

use std::cell::RefCell;

use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::policy::Policy;
use tollgate_store::{PolicyStore, StoreError};
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use crate::body::Body;
use crate::log::{internal, unexpected};
use crate::policy_document::PolicyDocument;
use crate::respond;
use crate::router::{self, Endpoint};
use crate::sql::{ObjectSql, RowsWritten};
use crate::url;

/// Keeps the policy.
#[durable_object(fetch)]
pub struct PlatformPool {
    policies: RefCell<PolicyStore<ObjectSql>>,
}

impl DurableObject for PlatformPool {
    fn new(state: State, _env: Env) -> Self {
        let sql = ObjectSql::new(state.storage(), RowsWritten::default());
        Self { policies: RefCell::new(PolicyStore::open(sql)) }
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
            _ => Err(Problem::new(Code::NotFound, "the platform does not answer this")),
        }
    }
}

fn document(version: u64, policy: Policy) -> Answer {
    Answer::json(200, &PolicyDocument::new(version, policy))
}

fn problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Sql(_) => {
            unexpected("storing the policy", error);
            Problem::new(Code::Unavailable, "the database failed; nothing was changed")
        }
        StoreError::Damaged(_) | StoreError::NewerSchema { .. } => internal("reading the policy", error),
    }
}
