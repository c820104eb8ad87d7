//! Who may call what: the one place that says so.

use tollgate_core::api::{Code, Problem};
use tollgate_core::ids::TenantId;

use crate::router::Endpoint;

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Holds the Worker's secret.
    Admin,
    /// An app's server that spends for every tenant.
    Service,
    /// One tenant's own app.
    Tenant {
        /// Whose.
        tenant: TenantId,
        /// Whether it may only read.
        read_only: bool,
    },
}

/// What a caller must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Anyone,
    /// Change what applies to whom.
    Administer,
    /// Hold and charge money.
    Spend,
    /// Look.
    Read,
}

/// What an endpoint asks for.
#[must_use]
pub const fn needed(endpoint: Endpoint) -> Access {
    match endpoint {
        Endpoint::Health => Access::Anyone,
        Endpoint::IssueServiceToken
        | Endpoint::IssueTenantToken
        | Endpoint::GetPolicy
        | Endpoint::PutPolicy
        | Endpoint::GetTenant
        | Endpoint::Onboard
        // It reads the whole ledger, which costs as much as the ledger is long.
        | Endpoint::Audit
        | Endpoint::Repair
        | Endpoint::Journal
        | Endpoint::Archive
        | Endpoint::PutQuota
        | Endpoint::DeleteQuota
        | Endpoint::ResetQuota
        | Endpoint::AddCredit
        | Endpoint::RevokeCredit
        | Endpoint::IncreaseLimit
        | Endpoint::EndIncrease
        | Endpoint::Refund
        | Endpoint::GetPlatformOverrides
        | Endpoint::PutPlatformOverrides
        | Endpoint::PutOverrides
        // It ends other callers' holds.
        | Endpoint::ReleaseReservations
        // It reads many entries, and can change what was charged.
        | Endpoint::Rerate => Access::Administer,
        Endpoint::Reserve
        | Endpoint::Meter
        | Endpoint::Settle
        | Endpoint::Release
        | Endpoint::Extend
        | Endpoint::Record
        | Endpoint::Batch
        | Endpoint::Connect => Access::Spend,
        Endpoint::Price
        | Endpoint::Catalog
        | Endpoint::GetOverrides
        | Endpoint::TenantPrice
        | Endpoint::ListQuotas
        | Endpoint::GetQuota
        | Endpoint::ListReservations
        | Endpoint::GetReservation
        | Endpoint::Explain
        | Endpoint::Usage
        | Endpoint::Entries => Access::Read,
    }
}

/// Checks that a caller may call an endpoint, for the tenant that the path names where it names one. Looks at nothing else, so a
/// refusal says nothing about what exists.
///
/// # Errors
/// It may not.
pub fn check(caller: &Caller, endpoint: Endpoint, tenant: Option<&str>) -> Result<(), Problem> {
    let access = needed(endpoint);
    let may = match caller {
        Caller::Admin => true,
        Caller::Service => access != Access::Administer,
        Caller::Tenant { read_only, .. } => match access {
            Access::Anyone | Access::Read => true,
            Access::Spend => !read_only,
            Access::Administer => false,
        },
    };
    let reaches = match caller {
        Caller::Admin | Caller::Service => true,
        Caller::Tenant { tenant: own, .. } => tenant.is_none_or(|named| named == own.as_str()),
    };
    if may && reaches { Ok(()) } else { Err(Problem::new(Code::Forbidden, "this token may not do this")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::router::ROUTES;

    fn app(tenant: &str, read_only: bool) -> Caller {
        Caller::Tenant { tenant: tenant.parse().unwrap(), read_only }
    }

    /// The table of `docs/http-api.md`, written down a second time: method, path, and who of admin, service, app and read may.
    const EXPECTED: &str = "
        GET    /healthz                                       asar
        POST   /v1/tokens                                     a
        GET    /v1/policy                                     a
        PUT    /v1/policy                                     a
        POST   /v1/price                                      asar
        GET    /v1/catalog                                    asar
        GET    /v1/catalog/overrides                          a
        PUT    /v1/catalog/overrides                          a
        GET    /v1/tenants/{tenant}/overrides                 asar
        PUT    /v1/tenants/{tenant}/overrides                 a
        POST   /v1/tenants/{tenant}/price                     asar
        POST   /v1/tenants/{tenant}/rerate                    a
        GET    /v1/tenants/{tenant}                           a
        PUT    /v1/tenants/{tenant}                           a
        POST   /v1/tenants/{tenant}/tokens                    a
        GET    /v1/tenants/{tenant}/quotas                    asar
        GET    /v1/tenants/{tenant}/quotas/{id}               asar
        PUT    /v1/tenants/{tenant}/quotas/{id}               a
        DELETE /v1/tenants/{tenant}/quotas/{id}               a
        POST   /v1/tenants/{tenant}/quotas/{id}/reset         a
        POST   /v1/tenants/{tenant}/quotas/{id}/credits       a
        DELETE /v1/tenants/{tenant}/quotas/{id}/credits/{part} a
        POST   /v1/tenants/{tenant}/quotas/{id}/increases     a
        DELETE /v1/tenants/{tenant}/quotas/{id}/increases/{part} a
        POST   /v1/tenants/{tenant}/reservations              asa
        GET    /v1/tenants/{tenant}/reservations              asar
        POST   /v1/tenants/{tenant}/reservations/release      a
        GET    /v1/tenants/{tenant}/reservations/{id}         asar
        POST   /v1/tenants/{tenant}/reservations/{id}/meter   asa
        POST   /v1/tenants/{tenant}/reservations/{id}/settle  asa
        POST   /v1/tenants/{tenant}/reservations/{id}/release asa
        POST   /v1/tenants/{tenant}/reservations/{id}/extend  asa
        POST   /v1/tenants/{tenant}/reservations/{id}/refund  a
        POST   /v1/tenants/{tenant}/records                   asa
        POST   /v1/tenants/{tenant}/batch                     asa
        GET    /v1/tenants/{tenant}/connect                   asa
        POST   /v1/tenants/{tenant}/explain                   asar
        GET    /v1/tenants/{tenant}/usage                     asar
        GET    /v1/tenants/{tenant}/entries                   asar
        GET    /v1/tenants/{tenant}/journal                   a
        POST   /v1/tenants/{tenant}/archive                   a
        GET    /v1/tenants/{tenant}/audit                     a
        POST   /v1/tenants/{tenant}/audit/repair              a";

    #[test]
    fn every_route_lets_in_exactly_those_whom_the_table_names() {
        let expected: Vec<Vec<&str>> = EXPECTED
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|parts: &Vec<_>| !parts.is_empty())
            .collect();
        assert_eq!(expected.len(), ROUTES.len());
        let callers = [Caller::Admin, Caller::Service, app("acme", false), app("acme", true)];
        for &(method, path, endpoint) in ROUTES {
            let row =
                expected.iter().find(|row| row.first() == Some(&method.name()) && row.get(1) == Some(&path)).unwrap();
            let tenant = path.contains("{tenant}").then_some("acme");
            let may = |caller: &Caller| check(caller, endpoint, tenant).is_ok();
            let allowed = callers.iter().take_while(|caller| may(caller)).count();
            assert_eq!(allowed, row.get(2).unwrap().len(), "{method:?} {path}");
            assert_eq!(callers.iter().filter(|caller| may(caller)).count(), allowed, "{path}");
        }
    }

    #[test]
    fn a_tenants_token_reaches_no_other_tenant() {
        for &(_, path, endpoint) in ROUTES {
            for caller in [app("acme", false), app("acme", true)] {
                if path.contains("{tenant}") {
                    for other in ["acme2", "Acme", "", "acm", "globex"] {
                        let refused = check(&caller, endpoint, Some(other)).unwrap_err();
                        assert_eq!(refused.code, Code::Forbidden, "{path}");
                    }
                }
            }
        }
    }
}
