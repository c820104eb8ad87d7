//! From a route and a body to what a tenant's ledger is asked.

use serde::{Deserialize, Serialize};
use tollgate_core::api::{self, Answer, Code, Problem, Request, StateQuery, WholeDocument};
use tollgate_core::catalog::OverridesScope;
use tollgate_core::ids::{PlanName, QuotaId, ReservationId, TenantId};
use tollgate_core::ledger::{Command, Onboard, OverridesOrder};
use tollgate_core::policy::Plan;

use crate::router::{Endpoint, Route};

/// What a request asks of a tenant's ledger.
#[derive(Debug)]
pub struct Asked {
    /// To be carried out in order, in one turn.
    pub requests: Vec<Request>,
    /// How the answers become one.
    pub shape: Shape,
}

/// How the answers become one.
#[derive(Debug)]
pub enum Shape {
    /// The answer itself.
    Single,
    /// A batch's answer. One per command: none where the command is among the requests, or else what is wrong with it.
    Batch(Vec<Option<Problem>>),
}

/// An onboarding on its way from the Worker, which knows the policy, to the tenant's object.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnboardOrder {
    /// The plan's name.
    pub plan_name: PlanName,
    /// What the plan says.
    pub plan: Plan,
    /// The version of the policy that it was taken from.
    pub policy_version: u64,
}

impl Asked {
    /// Reads what a route and its body ask.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn read(route: &Route, body: &str) -> Result<Self, Problem> {
        let command = |command| Ok(Self::single(Request::Command(command)));
        let state = |query| Ok(Self::single(Request::State(query)));
        match route.endpoint {
            Endpoint::Onboard => command(Command::Onboard(onboard(route, body)?)),
            Endpoint::GetTenant => state(StateQuery::Tenant),
            Endpoint::ListQuotas => state(StateQuery::Quotas),
            Endpoint::PutQuota => command(Command::SetQuota(quota_id(route)?, api::parse_quota(body)?)),
            Endpoint::DeleteQuota => command(Command::RemoveQuota(quota_id(route)?)),
            Endpoint::ResetQuota => command(Command::ResetQuota(quota_id(route)?)),
            Endpoint::AddCredit => command(Command::AddCredit(quota_id(route)?, api::parse_credit(body)?)),
            Endpoint::RevokeCredit => command(Command::RevokeCredit(quota_id(route)?, part(route, "credit")?)),
            Endpoint::IncreaseLimit => command(Command::Increase(quota_id(route)?, api::parse_increase(body)?)),
            Endpoint::EndIncrease => command(Command::EndIncrease(quota_id(route)?, part(route, "increase")?)),
            Endpoint::Reserve => command(Command::Reserve(api::parse_reserve(body)?)),
            Endpoint::GetReservation => state(StateQuery::Reservation(reservation_id(route)?)),
            Endpoint::Meter => command(Command::Meter(reservation_id(route)?, api::parse_meter(body)?)),
            Endpoint::Settle => command(Command::Settle(reservation_id(route)?, api::parse_settle(body)?)),
            Endpoint::Release => {
                api::parse_release(body)?;
                command(Command::Release(reservation_id(route)?))
            }
            Endpoint::Extend => command(Command::Extend(reservation_id(route)?, api::parse_extend(body)?)),
            Endpoint::Refund => command(Command::Refund(reservation_id(route)?, api::parse_refund(body)?)),
            Endpoint::Record => command(Command::Record(api::parse_record(body)?)),
            Endpoint::Explain => state(StateQuery::Explain(Box::new(api::parse_explain(body)?))),
            Endpoint::GetOverrides => state(StateQuery::Overrides),
            Endpoint::PutOverrides => command(Command::SetOverrides(OverridesOrder {
                scope: OverridesScope::Tenant,
                version: None,
                document: api::parse_overrides(body)?,
            })),
            Endpoint::TenantPrice => state(StateQuery::Price(Box::new(api::parse_tenant_price(body)?))),
            Endpoint::Batch => Ok(Self::batch(api::parse_batch(body)?)),
            Endpoint::Usage => Ok(Self::single(api::parse_usage_query(route.query())?)),
            Endpoint::Entries => Ok(Self::single(api::parse_entries_query(route.query())?)),
            Endpoint::Connect
            | Endpoint::MakeTicket
            | Endpoint::Audit
            | Endpoint::Repair
            | Endpoint::Journal
            | Endpoint::Archive
            | Endpoint::Health
            | Endpoint::IssueServiceToken
            | Endpoint::IssueTenantToken
            | Endpoint::GetPolicy
            | Endpoint::PutPolicy
            | Endpoint::Price
            | Endpoint::Catalog
            | Endpoint::GetPlatformOverrides
            | Endpoint::PutPlatformOverrides
            | Endpoint::Rerate => Err(Problem::new(Code::NotFound, "no tenant's ledger answers this")),
        }
    }

    /// The platform's document, as the Worker sends it to a ledger that has an older one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn platform_overrides(version: u64, document: &str) -> Result<Self, Problem> {
        let (scope, document) = (OverridesScope::Platform, api::read_overrides(document)?);
        Ok(Self::single(Request::Command(Command::SetOverrides(OverridesOrder {
            scope,
            version: Some(version),
            document,
        }))))
    }

    const fn new(requests: Vec<Request>, shape: Shape) -> Self {
        Self { requests, shape }
    }

    fn single(request: Request) -> Self {
        Self::new(vec![request], Shape::Single)
    }

    /// A batch's commands; what is wrong with one of them is its answer.
    #[must_use]
    pub fn batch(commands: Vec<Result<Request, Problem>>) -> Self {
        let mut requests = Vec::with_capacity(commands.len());
        let mut problems = Vec::with_capacity(commands.len());
        for command in commands {
            match command {
                Ok(request) => {
                    requests.push(request);
                    problems.push(None);
                }
                Err(problem) => problems.push(Some(problem)),
            }
        }
        Self::new(requests, Shape::Batch(problems))
    }
}

impl Shape {
    /// One answer out of those to the requests.
    #[must_use]
    pub fn answer(&self, answers: Vec<Answer>) -> Answer {
        let mut answers = answers.into_iter();
        let mut next = || {
            answers
                .next()
                .unwrap_or_else(|| Answer::problem(&Problem::new(Code::Internal, "a command was not answered")))
        };
        match self {
            Self::Single => next(),
            Self::Batch(problems) => {
                let results: Vec<Answer> =
                    problems.iter().map(|problem| problem.as_ref().map_or_else(&mut next, Answer::problem)).collect();
                Answer { status: 200, body: WholeDocument(&results).batch(), headers: Vec::new() }
            }
        }
    }
}

/// The tenant that a path names.
///
/// # Errors
/// It is no tenant's id.
pub fn tenant_id(route: &Route) -> Result<TenantId, Problem> {
    api::parse_id("tenant", route.tenant.as_deref().unwrap_or_default())
}

fn onboard(route: &Route, body: &str) -> Result<Onboard, Problem> {
    let order: OnboardOrder = serde_json::from_str(body)
        .map_err(|error| Problem::new(Code::Internal, format!("the onboarding cannot be read: {error}")))?;
    Ok(Onboard {
        tenant: tenant_id(route)?,
        plan_name: order.plan_name,
        plan: order.plan,
        policy_version: order.policy_version,
    })
}

fn quota_id(route: &Route) -> Result<QuotaId, Problem> {
    api::parse_id("quota", route.id.as_deref().unwrap_or_default())
}

fn part<T: core::str::FromStr<Err: core::fmt::Display>>(route: &Route, field: &str) -> Result<T, Problem> {
    api::parse_id(field, route.part.as_deref().unwrap_or_default())
}

fn reservation_id(route: &Route) -> Result<ReservationId, Problem> {
    api::parse_id("id", route.id.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;
    use crate::router::route;

    fn read(method: &str, target: &str, body: &str) -> Result<Asked, Problem> {
        Asked::read(&route(method, target).unwrap(), body)
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned(), headers: Vec::new() }
    }

    #[test]
    fn ids_in_the_path_are_checked() {
        for (method, path, field) in [
            ("GET", "/v1/tenants/acme/reservations/a%20b", "id"),
            ("DELETE", "/v1/tenants/acme/quotas/a%23b", "quota"),
            ("POST", "/v1/tenants/acme/reservations/%FF/release", "id"),
        ] {
            let problem = read(method, path, "").unwrap_err();
            assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidRequest, Some(field)), "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let asked =
            read("GET", "/v1/tenants/acme/usage?groupBy=model%2Ctouchpoint&from=2026-11-01T00%3A00%3A00Z", "").unwrap();
        assert!(matches!(&asked.requests[..], [Request::History(_)]));
        let problem = read("GET", "/v1/tenants/acme/entries?after=1&limit=5000", "").unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("limit"));
    }

    #[test]
    fn a_batch_answers_each_command_in_its_place() {
        let body = r#"{"commands":[{"op":"release","id":"a"},{"op":"reserve","id":"b"},{"op":"release","id":"c"}]}"#;
        let asked = read("POST", "/v1/tenants/acme/batch", body).unwrap();
        assert_eq!(asked.requests.len(), 2);
        let whole = asked.shape.answer(vec![answer(200, "{\"id\":\"a\"}"), answer(404, "{\"id\":\"c\"}")]);
        let whole: serde_json::Value = serde_json::from_str(&whole.body).unwrap();
        let statuses: Vec<_> =
            whole["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [200, 400, 404]);
        assert_eq!(whole["results"][2]["body"]["id"], "c");
    }

    #[test]
    fn a_batch_cannot_do_what_only_an_admin_may() {
        let quota = r#"{"scope":"tenant","resource":"llm","unit":"usd","limit":"1000000","period":"month"}"#;
        for command in [
            format!(r#"{{"op":"putQuota","id":"q","quota":{quota}}}"#),
            r#"{"op":"deleteQuota","id":"q"}"#.to_owned(),
            r#"{"op":"resetQuota","id":"q"}"#.to_owned(),
            r#"{"op":"onboard","id":"q"}"#.to_owned(),
            r#"{"op":"refund","id":"a","refund":{"id":"r","reason":"why","by":"ops"}}"#.to_owned(),
        ] {
            let body = format!(r#"{{"commands":[{command}]}}"#);
            let asked = read("POST", "/v1/tenants/acme/batch", &body).unwrap();
            assert!(asked.requests.is_empty(), "{command}");
            assert!(asked.shape.answer(Vec::new()).body.contains("\"status\":400"));
        }
    }
}
