//! Method and path into a route.

use std::sync::LazyLock;

use percent_encoding::percent_decode_str;
use tollgate_core::api::{Code, Problem};

/// What is called. One per line of the table in `docs/http-api.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Whether the Worker runs.
    Health,
    /// A service token.
    IssueServiceToken,
    /// A tenant's token.
    IssueTenantToken,
    /// The policy.
    GetPolicy,
    /// Another policy.
    PutPolicy,
    /// What a usage costs.
    Price,
    /// The price list.
    Catalog,
    /// The platform's own rates, aliases and markups.
    GetPlatformOverrides,
    /// Others of the platform.
    PutPlatformOverrides,
    /// A tenant's own rates, aliases and markups.
    GetOverrides,
    /// Others of a tenant.
    PutOverrides,
    /// What a usage costs a tenant.
    TenantPrice,
    /// Compares charges with other prices, and makes up the differences.
    Rerate,
    /// The tenant with its quotas.
    GetTenant,
    /// Makes a tenant known.
    Onboard,
    /// The quotas of a tenant, by page.
    ListQuotas,
    /// One quota, with all that adds to its limit.
    GetQuota,
    /// Creates or edits a quota.
    PutQuota,
    /// Removes a quota.
    DeleteQuota,
    /// Starts a quota's period again.
    ResetQuota,
    /// Credits a quota.
    AddCredit,
    /// Takes back what is left of a credit.
    RevokeCredit,
    /// Raises a quota's limit for a while.
    IncreaseLimit,
    /// Ends an increase.
    EndIncrease,
    /// Holds money.
    Reserve,
    /// Open reservations, by page.
    ListReservations,
    /// Releases many open reservations.
    ReleaseReservations,
    /// One reservation.
    GetReservation,
    /// Charges what was used so far.
    Meter,
    /// Replaces a hold by the actual charge.
    Settle,
    /// Ends a hold without a charge.
    Release,
    /// Prolongs or enlarges a hold.
    Extend,
    /// Takes back a charge.
    Refund,
    /// Charges without a hold.
    Record,
    /// Many commands at once.
    Batch,
    /// Batches over a WebSocket.
    Connect,
    /// Decides without reserving.
    Explain,
    /// What was spent.
    Usage,
    /// The ledger's lines.
    Entries,
    /// The ledger as it is stored, for archives.
    Journal,
    /// Drops exported lines.
    Archive,
    /// Folds the ledger again and compares.
    Audit,
    /// Sets right what an audit found to differ.
    Repair,
}

/// The methods that routes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads. `HEAD` is routed as `GET`; the runtime leaves out the body.
    Get,
    /// Creates or replaces.
    Put,
    /// Does.
    Post,
    /// Removes.
    Delete,
}

/// An endpoint with the ids that its path names, decoded but not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What is called.
    pub endpoint: Endpoint,
    /// The tenant that the path names.
    pub tenant: Option<String>,
    /// The quota or reservation that the path names.
    pub id: Option<String>,
    /// The credit or increase of the quota that the path names.
    pub part: Option<String>,
}

/// Why there is no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// Nothing has this path.
    NotFound,
    /// The path takes other methods, which are these: the value of `Allow`.
    MethodNotAllowed(String),
}

/// Every route there is.
pub const ROUTES: &[(Method, &str, Endpoint)] = &[
    (Method::Get, "/healthz", Endpoint::Health),
    (Method::Post, "/v1/tokens", Endpoint::IssueServiceToken),
    (Method::Get, "/v1/policy", Endpoint::GetPolicy),
    (Method::Put, "/v1/policy", Endpoint::PutPolicy),
    (Method::Post, "/v1/price", Endpoint::Price),
    (Method::Get, "/v1/catalog", Endpoint::Catalog),
    (Method::Get, "/v1/catalog/overrides", Endpoint::GetPlatformOverrides),
    (Method::Put, "/v1/catalog/overrides", Endpoint::PutPlatformOverrides),
    (Method::Get, "/v1/tenants/{tenant}/overrides", Endpoint::GetOverrides),
    (Method::Put, "/v1/tenants/{tenant}/overrides", Endpoint::PutOverrides),
    (Method::Post, "/v1/tenants/{tenant}/price", Endpoint::TenantPrice),
    (Method::Post, "/v1/tenants/{tenant}/rerate", Endpoint::Rerate),
    (Method::Get, "/v1/tenants/{tenant}", Endpoint::GetTenant),
    (Method::Put, "/v1/tenants/{tenant}", Endpoint::Onboard),
    (Method::Post, "/v1/tenants/{tenant}/tokens", Endpoint::IssueTenantToken),
    (Method::Get, "/v1/tenants/{tenant}/quotas", Endpoint::ListQuotas),
    (Method::Get, "/v1/tenants/{tenant}/quotas/{id}", Endpoint::GetQuota),
    (Method::Put, "/v1/tenants/{tenant}/quotas/{id}", Endpoint::PutQuota),
    (Method::Delete, "/v1/tenants/{tenant}/quotas/{id}", Endpoint::DeleteQuota),
    (Method::Post, "/v1/tenants/{tenant}/quotas/{id}/reset", Endpoint::ResetQuota),
    (Method::Post, "/v1/tenants/{tenant}/quotas/{id}/credits", Endpoint::AddCredit),
    (Method::Delete, "/v1/tenants/{tenant}/quotas/{id}/credits/{part}", Endpoint::RevokeCredit),
    (Method::Post, "/v1/tenants/{tenant}/quotas/{id}/increases", Endpoint::IncreaseLimit),
    (Method::Delete, "/v1/tenants/{tenant}/quotas/{id}/increases/{part}", Endpoint::EndIncrease),
    (Method::Post, "/v1/tenants/{tenant}/reservations", Endpoint::Reserve),
    (Method::Get, "/v1/tenants/{tenant}/reservations", Endpoint::ListReservations),
    (Method::Post, "/v1/tenants/{tenant}/reservations/release", Endpoint::ReleaseReservations),
    (Method::Get, "/v1/tenants/{tenant}/reservations/{id}", Endpoint::GetReservation),
    (Method::Post, "/v1/tenants/{tenant}/reservations/{id}/meter", Endpoint::Meter),
    (Method::Post, "/v1/tenants/{tenant}/reservations/{id}/settle", Endpoint::Settle),
    (Method::Post, "/v1/tenants/{tenant}/reservations/{id}/release", Endpoint::Release),
    (Method::Post, "/v1/tenants/{tenant}/reservations/{id}/extend", Endpoint::Extend),
    (Method::Post, "/v1/tenants/{tenant}/reservations/{id}/refund", Endpoint::Refund),
    (Method::Post, "/v1/tenants/{tenant}/records", Endpoint::Record),
    (Method::Post, "/v1/tenants/{tenant}/batch", Endpoint::Batch),
    (Method::Get, "/v1/tenants/{tenant}/connect", Endpoint::Connect),
    (Method::Post, "/v1/tenants/{tenant}/explain", Endpoint::Explain),
    (Method::Get, "/v1/tenants/{tenant}/usage", Endpoint::Usage),
    (Method::Get, "/v1/tenants/{tenant}/entries", Endpoint::Entries),
    (Method::Get, "/v1/tenants/{tenant}/journal", Endpoint::Journal),
    (Method::Post, "/v1/tenants/{tenant}/archive", Endpoint::Archive),
    (Method::Get, "/v1/tenants/{tenant}/audit", Endpoint::Audit),
    (Method::Post, "/v1/tenants/{tenant}/audit/repair", Endpoint::Repair),
];

/// The route of a request. `path` is as it was sent, percent-encoded and without the query.
///
/// # Errors
/// There is none.
pub fn route(method: &str, path: &str) -> Result<Route, NoRoute> {
    let table = TABLE.as_ref().map_err(|_| NoRoute::NotFound)?;
    let found = table.at(path).map_err(|_| NoRoute::NotFound)?;
    let targets: &[Target] = found.value;
    let Target { endpoint, id, .. } = Method::from_name(method)
        .and_then(|method| targets.iter().find(|target| target.method == method))
        .ok_or_else(|| NoRoute::MethodNotAllowed(allow(targets)))?;
    // Bytes that are no UTF-8 become a character that no id may have, so the id's own check refuses them.
    let param = |name| found.params.get(name).map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    let id = id.map(str::to_owned).or_else(|| param("id"));
    Ok(Route { endpoint: *endpoint, tenant: param("tenant"), id, part: param("part") })
}

impl Method {
    /// The method's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "GET" | "HEAD" => Self::Get,
            "PUT" => Self::Put,
            "POST" => Self::Post,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }
}

impl Endpoint {
    /// The method that calls it.
    #[must_use]
    pub fn method(self) -> Method {
        ROUTES.iter().find(|(_, _, endpoint)| *endpoint == self).map_or(Method::Get, |(method, ..)| *method)
    }

    /// Whether doing it twice in a row is as good as doing it once, so that the Worker may repeat it by itself. Commands about
    /// reservations are, by their ids.
    #[must_use]
    pub const fn repeats_safely(self) -> bool {
        // A second delete would answer that there is no such quota, and a second reset could drop what was spent in between.
        !matches!(self, Self::DeleteQuota | Self::ResetQuota)
    }
}

impl NoRoute {
    /// As the caller sees it.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::NotFound => Problem::new(Code::NotFound, "there is no such route"),
            Self::MethodNotAllowed(allow) => Problem::new(Code::MethodNotAllowed, format!("this route takes {allow}")),
        }
    }
}

type Table = matchit::Router<Vec<Target>>;

/// What a method of a path leads to.
#[derive(Clone, Copy, Debug)]
struct Target {
    method: Method,
    endpoint: Endpoint,
    /// The id that the path names, where the path has a word of its own there.
    id: Option<&'static str>,
}

static TABLE: LazyLock<Result<Table, matchit::InsertError>> = LazyLock::new(|| {
    let mut paths: Vec<(&str, Vec<Target>)> = Vec::new();
    for &(method, path, endpoint) in ROUTES {
        let target = Target { method, endpoint, id: None };
        match paths.iter_mut().find(|(known, _)| *known == path) {
            Some((_, targets)) => targets.push(target),
            None => paths.push((path, vec![target])),
        }
    }
    // A word that is a path's own may also be an id: what it does not do by itself, it does as that.
    for (path, targets) in &mut paths {
        for &(method, other, endpoint) in ROUTES {
            if let Some(id) = id_in(path, other)
                && targets.iter().all(|target| target.method != method)
            {
                targets.push(Target { method, endpoint, id: Some(id) });
            }
        }
    }
    let mut table = Table::new();
    for (path, targets) in paths {
        table.insert(path, targets)?;
    }
    Ok(table)
});

/// The word of a path that another path, which is the same but for that, takes for an id.
fn id_in(path: &'static str, other: &str) -> Option<&'static str> {
    if path.split('/').count() != other.split('/').count() {
        return None;
    }
    let mut differing = path.split('/').zip(other.split('/')).filter(|(part, of_other)| part != of_other);
    match (differing.next(), differing.next()) {
        (Some((word, "{id}")), None) => Some(word),
        _ => None,
    }
}

fn allow(targets: &[Target]) -> String {
    let mut names = Vec::new();
    for Target { method, .. } in targets {
        names.push(method.name());
        if *method == Method::Get {
            names.push("HEAD");
        }
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_route_is_found_by_its_method_and_path() {
        for &(method, path, endpoint) in ROUTES {
            let sent = path.replace("{tenant}", "acme").replace("{id}", "a%40b").replace("{part}", "c%20d");
            let found = route(method.name(), &sent).unwrap();
            assert_eq!(found.endpoint, endpoint, "{path}");
            assert_eq!(found.tenant.as_deref(), path.contains("{tenant}").then_some("acme"));
            assert_eq!(found.id.as_deref(), path.contains("{id}").then_some("a@b"));
            assert_eq!(found.part.as_deref(), path.contains("{part}").then_some("c d"));
            assert_eq!(endpoint.method(), method);
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        for path in [
            "/",
            "/v1",
            "/healthz/",
            "/v1/tenants",
            "/v1/tenants/",
            "/v1/tenants//quotas",
            "/v1/tenants/a/b",
            "/V1/policy",
            "/v1/tenants/a/quotas/b/c",
        ] {
            assert_eq!(route("GET", path), Err(NoRoute::NotFound), "{path}");
        }
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        for (method, path, allowed) in [
            ("POST", "/healthz", "GET, HEAD"),
            ("DELETE", "/v1/policy", "GET, HEAD, PUT"),
            ("PROPFIND", "/v1/tenants/acme", "GET, HEAD, PUT"),
            ("POST", "/v1/tenants/acme/quotas/q", "GET, HEAD, PUT, DELETE"),
            ("get", "/v1/tokens", "POST"),
        ] {
            assert_eq!(route(method, path), Err(NoRoute::MethodNotAllowed(allowed.to_owned())), "{method} {path}");
        }
        assert_eq!(route("HEAD", "/healthz").unwrap().endpoint, Endpoint::Health);
    }

    #[test]
    fn a_word_in_a_path_is_still_an_id() {
        let path = "/v1/tenants/acme/reservations/release";
        let found = route("GET", path).unwrap();
        assert_eq!((found.endpoint, found.id.as_deref()), (Endpoint::GetReservation, Some("release")));
        let found = route("POST", path).unwrap();
        assert_eq!((found.endpoint, found.id), (Endpoint::ReleaseReservations, None));
        let found = route("POST", "/v1/tenants/acme/reservations/release/release").unwrap();
        assert_eq!((found.endpoint, found.id.as_deref()), (Endpoint::Release, Some("release")));
        assert_eq!(route("DELETE", path), Err(NoRoute::MethodNotAllowed("POST, GET, HEAD".to_owned())));
        assert_eq!(
            route("POST", "/v1/tenants/acme/reservations/other"),
            Err(NoRoute::MethodNotAllowed("GET, HEAD".to_owned()))
        );
    }

    #[test]
    fn ids_are_decoded_and_what_is_no_utf8_is_no_id() {
        let id = |path: &str| route("GET", path).unwrap().id.unwrap();
        assert_eq!(id("/v1/tenants/acme/reservations/a%2Fb"), "a/b");
        assert_eq!(id("/v1/tenants/acme/reservations/%ff"), "\u{fffd}");
        assert_eq!(id("/v1/tenants/acme/reservations/a+b"), "a+b");
    }
}
