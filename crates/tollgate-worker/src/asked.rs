//! From a route and a body to what a tenant's ledger is asked.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tollgate_core::api::{self, Ask, Code, Problem, Request, StateQuery};
use tollgate_core::catalog::OverridesScope;
use tollgate_core::ids::{PlanName, QuotaId, ReservationId, TenantId};
use tollgate_core::ledger::{Command, Onboard, OverridesOrder};
use tollgate_core::policy::Plan;

use crate::router::{Endpoint, Route};

/// Where the Worker sends the platform's own rates, aliases and markups to a tenant's object. No route of the Worker's leads here.
pub const PLATFORM_OVERRIDES_TARGET: &str = "/platform-overrides";

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

/// Reads what a route, its query and its body ask of a tenant's ledger.
///
/// # Errors
/// The field that is wrong.
pub fn read(route: &Route, query: &str, body: &str) -> Result<Ask, Problem> {
    let command = |command| Ok(Ask::One(Request::Command(command)));
    let state = |query| Ok(Ask::One(Request::State(query)));
    let pairs = || form_urlencoded::parse(query.as_bytes()).collect::<Vec<_>>();
    match route.endpoint {
        Endpoint::Onboard => command(Command::Onboard(onboard(route, body)?)),
        Endpoint::GetTenant => state(StateQuery::Tenant),
        Endpoint::ListQuotas => {
            let pairs = pairs();
            let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
            Ok(Ask::One(api::parse_quotas_query(pairs)?))
        }
        Endpoint::GetQuota => state(StateQuery::Quota(quota_id(route)?)),
        Endpoint::PutQuota => command(Command::SetQuota(quota_id(route)?, api::parse_quota(body)?)),
        Endpoint::DeleteQuota => {
            let pairs = pairs();
            let forfeit = api::parse_delete_quota(pairs.iter().map(|(name, value)| (&**name, &**value)), body)?;
            command(Command::RemoveQuota(quota_id(route)?, forfeit))
        }
        Endpoint::ResetQuota => command(Command::ResetQuota(quota_id(route)?)),
        Endpoint::AddCredit => command(Command::AddCredit(quota_id(route)?, api::parse_credit(body)?)),
        Endpoint::RevokeCredit => command(Command::RevokeCredit(quota_id(route)?, part(route, "credit")?)),
        Endpoint::IncreaseLimit => command(Command::Increase(quota_id(route)?, api::parse_increase(body)?)),
        Endpoint::EndIncrease => command(Command::EndIncrease(quota_id(route)?, part(route, "increase")?)),
        Endpoint::Reserve => command(Command::Reserve(api::parse_reserve(body)?)),
        Endpoint::ListReservations => {
            let pairs = pairs();
            let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
            Ok(Ask::One(api::parse_holds_query(pairs)?))
        }
        Endpoint::ReleaseReservations => command(Command::ReleaseHolds(api::parse_holds_release(body)?)),
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
        Endpoint::Batch => Ok(Ask::Batch(api::parse_batch(body)?)),
        Endpoint::Usage => {
            let pairs = pairs();
            let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
            Ok(Ask::One(api::parse_usage_query(pairs)?))
        }
        Endpoint::Entries => {
            let pairs = pairs();
            let pairs = pairs.iter().map(|(name, value)| (&**name, &**value));
            Ok(Ask::One(api::parse_entries_query(pairs)?))
        }
        Endpoint::Connect
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
pub fn platform_overrides(version: u64, document: &str) -> Result<Ask, Problem> {
    let (scope, document) = (OverridesScope::Platform, api::read_overrides(document)?);
    Ok(Ask::One(Request::Command(Command::SetOverrides(OverridesOrder { scope, version: Some(version), document }))))
}

/// The tenant that a path names.
///
/// # Errors
/// It is no tenant's id.
pub fn tenant_id(route: &Route) -> Result<TenantId, Problem> {
    api::parse_id("tenant", route.tenant.as_deref().unwrap_or_default())
}

/// The tenant that a part of a path names, percent-encoded.
///
/// # Errors
/// It is no tenant's id.
pub fn tenant_named(part: &str) -> Result<TenantId, Problem> {
    api::parse_id("tenant", &percent_decode_str(part).decode_utf8_lossy())
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

    fn read(method: &str, path: &str, query: &str, body: &str) -> Result<Ask, Problem> {
        super::read(&route(method, path).unwrap(), query, body)
    }

    #[test]
    fn ids_in_the_path_are_checked() {
        for (method, path, field) in [
            ("GET", "/v1/tenants/acme/reservations/a%20b", "id"),
            ("DELETE", "/v1/tenants/acme/quotas/a%2Fb", "quota"),
            ("POST", "/v1/tenants/acme/reservations/%FF/release", "id"),
        ] {
            let problem = read(method, path, "", "").unwrap_err();
            assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidRequest, Some(field)), "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let asked =
            read("GET", "/v1/tenants/acme/usage", "groupBy=model%2Ctouchpoint&from=2026-11-01T00%3A00%3A00Z", "")
                .unwrap();
        assert!(matches!(asked, Ask::One(Request::History(_))));
        for (path, query, field) in [
            ("entries", "after=1&limit=5000", "limit"),
            ("entries", "after=9007199254740992", "after"),
            ("entries", "after=%2B1", "after"),
            ("quotas", "after=a%20b", "after"),
            ("quotas", "limit=1001", "limit"),
        ] {
            let problem = read("GET", &format!("/v1/tenants/acme/{path}"), query, "").unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{query}");
        }
    }

    #[test]
    fn a_batch_has_each_command_in_its_place() {
        let body = r#"{"commands":[{"op":"release","id":"a"},{"op":"reserve","id":"b"},{"op":"release","id":"c"}]}"#;
        let asked = read("POST", "/v1/tenants/acme/batch", "", body).unwrap();
        let Ask::Batch(commands) = asked else { unreachable!("it is a batch") };
        assert_eq!(commands.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
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
            let asked = read("POST", "/v1/tenants/acme/batch", "", &body).unwrap();
            let Ask::Batch(commands) = asked else { unreachable!("it is a batch") };
            assert!(matches!(&commands[..], [Err(problem)] if problem.field.as_deref() == Some("op")), "{command}");
        }
    }
}
