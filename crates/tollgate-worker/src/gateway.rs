//! The stateless Worker: routes, authenticates, checks what the caller may, bounds the body, and answers or asks the object that does.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::catalog::Catalog;
use tollgate_core::ids::TenantId;
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;
use worker::web_sys::Response;
use worker::{Delay, Env, Request};

use crate::access::{self, Access, Caller};
use crate::asked::{self, OnboardOrder};
use crate::auth::{Identity, Secrets};
use crate::body::Body;
use crate::clock;
use crate::config;
use crate::connection;
use crate::entries_csv;
use crate::known_tenants;
use crate::log::{internal, unexpected};
use crate::object::{Call, OVERRIDES_WANTED_HEADER, text_of};
use crate::operation::{Envelope, Opening, Operation};
use crate::platform_prices::{self, PlatformPrices};
use crate::policy_document::PolicyDocument;
use crate::random;
use crate::respond;
use crate::router::{self, Endpoint, Route};
use crate::token::{Bearer, Issued, Subject, TICKET_SECONDS, Ticket, TicketRole};
use crate::url;

/// How long a request waits to be told of other overrides, once a minute. Then it goes on with those that were seen last.
const PATIENCE: Duration = Duration::from_secs(1);

/// What goes back to the client.
pub enum Reply {
    /// An answer of our own.
    Own(Answer),
    /// An object's answer, as it is.
    Passed(Response),
}

/// Answers a request; errors are answers too.
pub async fn reply(mut request: Request, env: &Env) -> Reply {
    let secrets = match config::secrets(env) {
        Ok(secrets) => secrets,
        Err(reason) => return Reply::Own(respond::refusal(&reason.problem())),
    };
    let url = request.inner().url();
    let route = match router::route(&request.inner().method(), url::target(&url)) {
        Ok(route) => route,
        Err(reason) => return Reply::Own(respond::no_route(&reason)),
    };
    handle(&mut request, env, &secrets, &route).await.unwrap_or_else(|problem| Reply::Own(respond::refusal(&problem)))
}

async fn handle(request: &mut Request, env: &Env, secrets: &Secrets, route: &Route) -> Result<Reply, Problem> {
    let test_now = if config::has_test_clock(env) { clock::from_header(request.headers())? } else { None };
    let now = test_now.unwrap_or_else(clock::now);
    let Admitted { identity, ticket } = match access::needed(route.endpoint) {
        Access::Anyone => Admitted { identity: None, ticket: None },
        _ => admit(request, secrets, route)?,
    };
    let tenant = match &route.tenant {
        Some(_) => Some(asked::tenant_id(route)?),
        None => None,
    };
    if let Some(tenant) = tenant.as_ref().filter(|_| route.endpoint != Endpoint::Onboard)
        && let Some(refusal) = known_tenants::refusal(env, tenant, test_now).await?
    {
        return Ok(Reply::Own(refusal));
    }
    let body = Body::receive(request).await?;
    let own = |answer| Ok(Reply::Own(answer));
    let sight = identity.as_ref().map_or(Sight::Tenant, |identity| identity.caller.sight());
    let objects = Objects { env, now: test_now, sight };
    match (route.endpoint, tenant) {
        (Endpoint::Health, _) => own(health()?),
        (Endpoint::Price, _) => own(price(&*objects.platform_prices().await, &body, now, sight)?),
        (Endpoint::PutPlatformOverrides, _) => {
            let changed = objects.platform(route, &body).await;
            platform_prices::forget();
            changed.map(Reply::Passed)
        }
        (Endpoint::Catalog, _) => own(list_catalog(route)?),
        (Endpoint::IssueServiceToken, _) => own(issue_service_token(secrets, &body)?),
        (Endpoint::IssueTenantToken, Some(tenant)) => own(issue_tenant_token(secrets, &body, tenant)?),
        (Endpoint::Onboard, Some(tenant)) => {
            let order = onboard_order(&objects, &body).await?;
            let order = serde_json::to_string(&order).map_err(|error| internal("writing an onboarding", &error))?;
            known_tenants::register(env, &tenant, test_now).await?;
            known_tenants::note(&tenant);
            objects.tenant(&tenant, route, &Body::from_text(&order)).await
        }
        (Endpoint::Entries, Some(tenant)) => {
            let accept = header(request, "accept").unwrap_or_default();
            if !entries_csv::is_preferred(&accept) {
                return objects.tenant(&tenant, route, &body).await;
            }
            // It is made of whole entries, and has no column for what is the platform's own.
            let objects = Objects { sight: Sight::Everything, ..objects };
            match objects.tenant(&tenant, route, &body).await? {
                Reply::Passed(page) if page.ok() => own(to_csv(&page, route).await?),
                passed => Ok(passed),
            }
        }
        (Endpoint::Connect, Some(tenant)) => {
            check_handshake(request)?;
            let until = identity.and_then(|identity| identity.until);
            let opening = Opening { ends: connection::ends(clock::now(), until), ticket };
            objects.connect(&tenant, route, opening).await
        }
        (Endpoint::MakeTicket, Some(tenant)) => {
            api::parse_release(&body.text()?)?;
            make_ticket(&objects, secrets, identity, tenant).await
        }
        (_, Some(tenant)) => objects.tenant(&tenant, route, &body).await,
        (_, None) => objects.platform(route, &body).await.map(Reply::Passed),
    }
}

/// Who was let in.
struct Admitted {
    /// None where anyone is.
    identity: Option<Identity>,
    /// The ticket that is used up by it, where it is one.
    ticket: Option<String>,
}

/// Who calls, where they may. The clock is always the real one: what time it is for a ledger is no matter of a token's.
fn admit(request: &Request, secrets: &Secrets, route: &Route) -> Result<Admitted, Problem> {
    let authorization = header(request, "authorization");
    let mut by_ticket = None;
    if route.endpoint == Endpoint::Connect {
        let protocols = header(request, connection::PROTOCOL_HEADER).unwrap_or_default();
        connection::check_protocols(&protocols)?;
        if authorization.is_none()
            && let Some(ticket) = connection::ticket(&protocols)
        {
            by_ticket = Some(secrets.admit(ticket, route.tenant.as_deref().unwrap_or_default(), clock::now())?);
        }
    }
    let (identity, ticket) = match by_ticket {
        Some((identity, ticket)) => (identity, Some(ticket)),
        None => (secrets.authenticate(authorization.as_deref(), clock::now())?, None),
    };
    access::check(&identity.caller, route.endpoint, route.tenant.as_deref())?;
    Ok(Admitted { identity: Some(identity), ticket })
}

fn check_handshake(request: &Request) -> Result<(), Problem> {
    if !header(request, "upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
        return Err(Problem::new(Code::UpgradeRequired, "this is for WebSockets: send `Upgrade: websocket`"));
    }
    if !header(request, connection::PROTOCOL_HEADER).is_some_and(|protocols| connection::is_spoken(&protocols)) {
        let detail = format!("a connection's subprotocol is {}", connection::PROTOCOL);
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    Ok(())
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().get(name).ok().flatten()
}

/// The way to the objects.
struct Objects<'a> {
    env: &'a Env,
    now: Option<Timestamp>,
    /// Whose eyes the answers are for.
    sight: Sight,
}

impl Objects<'_> {
    async fn tenant(&self, tenant: &TenantId, route: &Route, body: &Body) -> Result<Reply, Problem> {
        self.ledger(tenant, route, body, None).await
    }

    async fn connect(&self, tenant: &TenantId, route: &Route, opening: Opening) -> Result<Reply, Problem> {
        self.ledger(tenant, route, &Body::empty(), Some(opening)).await
    }

    async fn ledger(
        &self,
        tenant: &TenantId,
        route: &Route,
        body: &Body,
        opening: Option<Opening>,
    ) -> Result<Reply, Problem> {
        let objects = config::tenant_ledgers(self.env).map_err(|error| internal("finding the ledgers", &error))?;
        let prices = self.platform_prices().await;
        let envelope =
            Envelope { overrides: prices.version, opening, ..self.envelope(Operation::Route(route.clone())) };
        let call = Call {
            objects: &objects,
            name: tenant.as_str(),
            envelope: &envelope,
            body,
            repeats_safely: route.endpoint.repeats_safely(),
        };
        let answer = call.send().await?;
        if !answer.headers().has(OVERRIDES_WANTED_HEADER).unwrap_or(false) {
            return Ok(Reply::Passed(answer));
        }
        let taking =
            Envelope { operation: Operation::TakeOverrides { version: prices.version }, opening: None, ..envelope };
        let body = Body::from_text(&prices.document);
        let sent = Call { envelope: &taking, body: &body, repeats_safely: true, ..call }.send().await?;
        if !sent.ok() {
            return Err(internal("sending the overrides", &text_of(&sent).await?));
        }
        call.send().await.map(Reply::Passed)
    }

    const fn envelope(&self, operation: Operation) -> Envelope {
        Envelope { operation, now: self.now, overrides: 0, sight: self.sight, opening: None }
    }

    /// Tells a tenant's object of a ticket.
    async fn expect_ticket(&self, tenant: &TenantId, id: &str) -> Result<Response, Problem> {
        let objects = config::tenant_ledgers(self.env).map_err(|error| internal("finding the ledgers", &error))?;
        let envelope = self.envelope(Operation::ExpectTicket { id: id.to_owned() });
        let body = Body::empty();
        Call { objects: &objects, name: tenant.as_str(), envelope: &envelope, body: &body, repeats_safely: true }
            .send()
            .await
    }

    /// The platform's own rates, aliases and markups.
    async fn platform_prices(&self) -> Rc<PlatformPrices> {
        let now = clock::now();
        if let Some(prices) = platform_prices::seen(now) {
            return prices;
        }
        let noted = async {
            let answer = self.platform(&Route::to(Endpoint::GetPlatformOverrides), &Body::empty()).await?;
            let text = text_of(&answer).await?;
            platform_prices::note(&text, clock::now()).map_err(|error| internal("reading the overrides", &error))
        };
        let noted = match select(core::pin::pin!(noted), Delay::from(PATIENCE)).await {
            Either::Left((noted, _)) => noted,
            Either::Right(_) => Err(Problem::new(Code::Unavailable, "no answer in time")),
        };
        // Spending does not wait for the platform's object: a tenant's ledger has what it was last sent.
        noted.unwrap_or_else(|problem: Problem| {
            unexpected("asking for the overrides", &problem.detail);
            platform_prices::last_seen(clock::now())
        })
    }

    async fn platform(&self, route: &Route, body: &Body) -> Result<Response, Problem> {
        let objects = config::platform_pools(self.env).map_err(|error| internal("finding the platform", &error))?;
        let envelope = self.envelope(Operation::Route(route.clone()));
        let repeats_safely = route.endpoint.repeats_safely();
        Call { objects: &objects, name: config::PLATFORM, envelope: &envelope, body, repeats_safely }.send().await
    }
}

fn catalog() -> Result<&'static Catalog, Problem> {
    Catalog::builtin().map_err(|error| internal("reading the catalog", &error))
}

fn list_catalog(route: &Route) -> Result<Answer, Problem> {
    let provider = api::parse_catalog_query(route.query())?;
    Ok(Answer::catalog(catalog()?, provider))
}

fn health() -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Health<'a> {
        status: &'static str,
        version: &'static str,
        catalog: &'a str,
    }
    Ok(Answer::json(200, &Health { status: "ok", version: env!("CARGO_PKG_VERSION"), catalog: catalog()?.version() }))
}

fn price(prices: &PlatformPrices, body: &Body, now: Timestamp, sight: Sight) -> Result<Answer, Problem> {
    let request = api::parse_price(&body.text()?, Some(now))?;
    let charge = request.price_with(catalog()?, prices.book()?, now)?;
    Ok(Answer::charge(&charge, sight))
}

fn issue_service_token(secrets: &Secrets, body: &Body) -> Result<Answer, Problem> {
    #[derive(Clone, Copy, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Service,
    }
    let request = api::parse_token_request::<Role>(&body.text()?)?;
    let Role::Service = request.role;
    issue(secrets, &Bearer::Service, request.expires_in_seconds)
}

fn issue_tenant_token(secrets: &Secrets, body: &Body, tenant: TenantId) -> Result<Answer, Problem> {
    #[derive(Clone, Copy, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        App,
        Read,
    }
    let request = api::parse_token_request::<Role>(&body.text()?)?;
    let bearer = match request.role {
        Role::App => Bearer::App { tenant },
        Role::Read => Bearer::Read { tenant },
    };
    issue(secrets, &bearer, request.expires_in_seconds)
}

fn issue(secrets: &Secrets, bearer: &Bearer, seconds: u32) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Made<'a> {
        token: String,
        id: String,
        #[serde(flatten)]
        bearer: &'a Bearer,
        expires_at: Timestamp,
    }
    let (id, Issued { token, expires_at }) = sign(secrets, bearer, seconds)?;
    Ok(Answer::json(201, &Made { token, id, bearer, expires_at }))
}

/// A ticket, of which the tenant's object knows: it lets in nobody else.
async fn make_ticket(
    objects: &Objects<'_>,
    secrets: &Secrets,
    identity: Option<Identity>,
    tenant: TenantId,
) -> Result<Reply, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Made {
        ticket: String,
        id: String,
        expires_at: Timestamp,
    }
    let (role, until) = match identity {
        Some(Identity { caller: Caller::Admin, until }) => (TicketRole::Admin, until),
        Some(Identity { caller: Caller::Service, until }) => (TicketRole::Service, until),
        Some(Identity { caller: Caller::Tenant { read_only: false, .. }, until }) => (TicketRole::App, until),
        Some(Identity { caller: Caller::Tenant { read_only: true, .. }, .. }) | None => {
            return Err(internal("making a ticket", &"nobody asks who may spend"));
        }
    };
    let ticket = Ticket { tenant, role, until };
    let (id, Issued { token, expires_at }) = sign(secrets, &ticket, TICKET_SECONDS)?;
    let expected = objects.expect_ticket(&ticket.tenant, &id).await?;
    if !expected.ok() {
        return Ok(Reply::Passed(expected));
    }
    Ok(Reply::Own(Answer::json(201, &Made { ticket: token, id, expires_at })))
}

fn sign(secrets: &Secrets, what: &impl Subject, seconds: u32) -> Result<(String, Issued), Problem> {
    let id = random::id();
    let issued = secrets.signing_key().issue(what, &id, clock::now(), seconds);
    Ok((id, issued.ok_or_else(|| internal("signing a token", &"it cannot be written, or there is no such time"))?))
}

/// What the tenant's object is told: the plan itself, as the policy has it now.
async fn onboard_order(objects: &Objects<'_>, body: &Body) -> Result<OnboardOrder, Problem> {
    let request = api::parse_onboard(&body.text()?)?;
    let response = objects.platform(&Route::to(Endpoint::GetPolicy), &Body::empty()).await?;
    let text = text_of(&response).await?;
    if !response.ok() {
        return Err(internal("asking for the policy", &text));
    }
    let policy: PolicyDocument = serde_json::from_str(&text).map_err(|error| internal("reading the policy", &error))?;
    let policy_version = policy.version;
    let (plan_name, plan) = policy
        .into_plan(request.plan)
        .map_err(|name| Problem::invalid("plan", format_args!("the policy has no plan `{name}`")))?;
    Ok(OnboardOrder { plan_name, plan, policy_version })
}

async fn to_csv(page: &Response, route: &Route) -> Result<Answer, Problem> {
    let text = text_of(page).await?;
    let page = entries_csv::from_json(&text).map_err(|error| internal("writing CSV", &error))?;
    let mut headers = vec![("Content-Type", entries_csv::MEDIA_TYPE.to_owned())];
    headers.extend(page.next.map(|next| ("Link", entries_csv::link_to_next(next, route.query()))));
    Ok(Answer { status: 200, body: page.text, headers })
}
