//! The stateless Worker: routes, authenticates, checks what the caller may, bounds the body, and answers or asks the object that does.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::catalog::Catalog;
use tollgate_core::ids::TenantId;
use tollgate_core::time::Timestamp;
use worker::web_sys::Response;
use worker::{Delay, Env, Request};

use crate::access::{self, Access};
use crate::asked::{self, OnboardOrder};
use crate::auth::Identity;
use crate::body::Body;
use crate::clock;
use crate::config;
use crate::connection;
use crate::entries_csv;
use crate::known_tenants;
use crate::log::{internal, unexpected};
use crate::object::{Call, OVERRIDES_WANTED_HEADER, text_of};
use crate::platform_prices::{self, PlatformPrices};
use crate::policy_document::PolicyDocument;
use crate::respond;
use crate::router::{self, Endpoint, Method, Route};
use crate::token::Bearer;
use crate::url;

/// Where it has the policy.
const POLICY_TARGET: &str = "/v1/policy";
/// Where it has the overrides.
const OVERRIDES_TARGET: &str = "/v1/catalog/overrides";

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
    let url = request.inner().url();
    let target = url::target(&url);
    let (path, _) = url::path_and_query(target);
    let route = match router::route(&request.inner().method(), path) {
        Ok(route) => route,
        Err(reason) => return Reply::Own(respond::no_route(&reason)),
    };
    handle(&mut request, env, target, &route).await.unwrap_or_else(|problem| Reply::Own(respond::refusal(&problem)))
}

async fn handle(request: &mut Request, env: &Env, target: &str, route: &Route) -> Result<Reply, Problem> {
    let test_now = if config::has_test_clock(env) { clock::from_header(request.headers())? } else { None };
    let now = test_now.unwrap_or_else(clock::now);
    let mut until = None;
    if access::needed(route.endpoint) != Access::Anyone {
        let identity = identify(request, env, route.endpoint, now)?;
        access::check(&identity.caller, route.endpoint, route.tenant.as_deref())?;
        until = identity.until;
    }
    let tenant = match &route.tenant {
        Some(_) => Some(asked::tenant_id(route)?),
        None => None,
    };
    if let Some(tenant) = tenant.as_ref().filter(|_| route.endpoint != Endpoint::Onboard)
        && let Some(refusal) = known_tenants::refusal(env, tenant, test_now).await?
    {
        return Ok(Reply::Own(refusal));
    }
    let body = Body::read(request).await?;
    let own = |answer| Ok(Reply::Own(answer));
    let objects = Objects { env, now: test_now };
    match (route.endpoint, tenant) {
        (Endpoint::Health, _) => own(health()?),
        (Endpoint::Price, _) => own(price(&*objects.platform_prices().await, &body, now)?),
        (Endpoint::PutPlatformOverrides, _) => {
            let changed = objects.platform(route.endpoint, target, &body).await;
            platform_prices::forget();
            changed.map(Reply::Passed)
        }
        (Endpoint::Catalog, _) => own(list_catalog(url::path_and_query(target).1)?),
        (Endpoint::IssueServiceToken, _) => own(issue_service_token(env, &body, now)?),
        (Endpoint::IssueTenantToken, Some(tenant)) => own(issue_tenant_token(env, &body, tenant, now)?),
        (Endpoint::Onboard, Some(tenant)) => {
            let order = onboard_order(&objects, &body).await?;
            let order = serde_json::to_string(&order).map_err(|error| internal("writing an onboarding", &error))?;
            known_tenants::register(env, &tenant, test_now).await?;
            known_tenants::note(&tenant);
            objects.tenant(&tenant, route.endpoint, target, &Body::from_text(&order)).await
        }
        (Endpoint::Entries, Some(tenant)) => {
            let passed = objects.tenant(&tenant, route.endpoint, target, &body).await?;
            let accept = header(request, "accept").unwrap_or_default();
            match passed {
                Reply::Passed(page) if page.ok() && entries_csv::is_preferred(&accept) => own(to_csv(&page).await?),
                passed => Ok(passed),
            }
        }
        (Endpoint::Connect, Some(tenant)) => {
            check_handshake(request)?;
            objects.connect(&tenant, target, connection::ends(clock::now(), now, until)).await
        }
        (endpoint, Some(tenant)) => objects.tenant(&tenant, endpoint, target, &body).await,
        (endpoint, None) => objects.platform(endpoint, target, &body).await.map(Reply::Passed),
    }
}

/// Who calls. A WebSocket's handshake may have the token among its subprotocols, since most clients cannot set its headers.
fn identify(request: &Request, env: &Env, endpoint: Endpoint, now: Timestamp) -> Result<Identity, Problem> {
    let secrets = config::secrets(env);
    let authorization = header(request, "authorization");
    if endpoint == Endpoint::Connect && authorization.is_none() {
        let token = header(request, connection::PROTOCOL_HEADER).and_then(|protocols| connection::token(&protocols));
        return secrets.identify(token.as_deref(), now);
    }
    secrets.authenticate(authorization.as_deref(), now)
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
}

impl Objects<'_> {
    async fn tenant(&self, tenant: &TenantId, endpoint: Endpoint, target: &str, body: &Body) -> Result<Reply, Problem> {
        self.ledger(tenant, endpoint, target, body, None).await
    }

    async fn connect(&self, tenant: &TenantId, target: &str, ends: Timestamp) -> Result<Reply, Problem> {
        self.ledger(tenant, Endpoint::Connect, target, &Body::empty(), Some(ends)).await
    }

    async fn ledger(
        &self,
        tenant: &TenantId,
        endpoint: Endpoint,
        target: &str,
        body: &Body,
        connection_ends: Option<Timestamp>,
    ) -> Result<Reply, Problem> {
        let objects = config::tenant_ledgers(self.env).map_err(|error| internal("finding the ledgers", &error))?;
        let prices = self.platform_prices().await;
        let call = Call {
            objects: &objects,
            name: tenant.as_str(),
            method: endpoint.method(),
            target,
            body,
            now: self.now,
            overrides: prices.version,
            connection_ends,
            repeats_safely: endpoint.repeats_safely(),
        };
        let answer = call.send().await?;
        if !answer.headers().has(OVERRIDES_WANTED_HEADER).unwrap_or(false) {
            return Ok(Reply::Passed(answer));
        }
        let sending = Call {
            method: Method::Put,
            target: asked::PLATFORM_OVERRIDES_TARGET,
            body: &Body::from_text(&prices.document),
            connection_ends: None,
            repeats_safely: true,
            ..call
        };
        let sent = sending.send().await?;
        if !sent.ok() {
            return Err(internal("sending the overrides", &text_of(&sent).await?));
        }
        call.send().await.map(Reply::Passed)
    }

    /// The platform's own rates, aliases and markups.
    async fn platform_prices(&self) -> Rc<PlatformPrices> {
        let now = clock::now();
        if let Some(prices) = platform_prices::seen(now) {
            return prices;
        }
        let noted = async {
            let answer = self.platform(Endpoint::GetPlatformOverrides, OVERRIDES_TARGET, &Body::empty()).await?;
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

    async fn platform(&self, endpoint: Endpoint, target: &str, body: &Body) -> Result<Response, Problem> {
        let objects = config::platform_pools(self.env).map_err(|error| internal("finding the platform", &error))?;
        let call = Call {
            objects: &objects,
            name: config::PLATFORM,
            method: endpoint.method(),
            target,
            body,
            now: self.now,
            overrides: 0,
            connection_ends: None,
            repeats_safely: endpoint.repeats_safely(),
        };
        call.send().await
    }
}

fn catalog() -> Result<&'static Catalog, Problem> {
    Catalog::builtin().map_err(|error| internal("reading the catalog", &error))
}

fn list_catalog(query: &str) -> Result<Answer, Problem> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let provider = api::parse_catalog_query(pairs.iter().map(|(name, value)| (&**name, &**value)))?;
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

fn price(prices: &PlatformPrices, body: &Body, now: Timestamp) -> Result<Answer, Problem> {
    let request = api::parse_price(&body.text()?, Some(now))?;
    let charge = request.price_with(catalog()?, prices.book()?, now)?;
    Ok(Answer::json(200, &charge))
}

fn issue_service_token(env: &Env, body: &Body, now: Timestamp) -> Result<Answer, Problem> {
    #[derive(Clone, Copy, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        Service,
    }
    let request = api::parse_token_request::<Role>(&body.text()?)?;
    let Role::Service = request.role;
    issue(env, &Bearer::Service, request.expires_in_seconds, now)
}

fn issue_tenant_token(env: &Env, body: &Body, tenant: TenantId, now: Timestamp) -> Result<Answer, Problem> {
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
    issue(env, &bearer, request.expires_in_seconds, now)
}

fn issue(env: &Env, bearer: &Bearer, seconds: u32, now: Timestamp) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Issued<'a> {
        token: String,
        #[serde(flatten)]
        bearer: &'a Bearer,
        expires_at: Timestamp,
    }
    let secrets = config::secrets(env);
    let issued = secrets.signing_key().and_then(|key| key.issue(bearer, now, seconds));
    let (token, expires_at) = issued.ok_or_else(|| internal("signing a token", &"there is no key, or no such time"))?;
    let mut answer = Answer::json(201, &Issued { token, bearer, expires_at });
    answer.headers.push(("Cache-Control", "no-store".to_owned()));
    Ok(answer)
}

/// What the tenant's object is told: the plan itself, as the policy has it now.
async fn onboard_order(objects: &Objects<'_>, body: &Body) -> Result<OnboardOrder, Problem> {
    let request = api::parse_onboard(&body.text()?)?;
    let response = objects.platform(Endpoint::GetPolicy, POLICY_TARGET, &Body::empty()).await?;
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

async fn to_csv(page: &Response) -> Result<Answer, Problem> {
    let text = text_of(page).await?;
    let body = entries_csv::from_json(&text).map_err(|error| internal("writing CSV", &error))?;
    Ok(Answer { status: 200, body, headers: vec![("Content-Type", entries_csv::MEDIA_TYPE.to_owned())] })
}
