//! Reads requests: JSON text into commands and queries, or a problem that names the field.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::json;
use super::problem::{Code, Problem};
use crate::bounds::{Estimate, SandboxBounds, TokenBounds};
use crate::call::{Attribution, Call, Resource};
use crate::catalog::{Catalog, Mode, OverridesDocument, OverridesScope, PriceBook, Priced};
use crate::extract::{self, Format};
use crate::ids::{CreditId, ExtensionId, IncreaseId, Name, PlanName, ReadingId, ReservationId, UserId};
use crate::ledger::{
    Actual, Command, Credit, ExtendRequest, HoldTerms, Increase, OnExpiry, OnInsufficient, OverridesOrder, Reading,
    RecordMode, RecordRequest, ReserveRequest,
};
use crate::meter::{Meter, Quantity, Usage};
use crate::money::Usd;
use crate::objects;
use crate::policy::Policy;
use crate::price::{self, Charge, Unpriced};
use crate::quota::Quota;
use crate::time::Timestamp;
use crate::usage_report::{Dimension, UsageQuery};

/// The most commands in a batch.
pub const MAX_BATCH: usize = 500;
/// The most entries in one answer, and how many there are where the caller does not say.
pub const MAX_ENTRIES: u32 = 1_000;
const DEFAULT_ENTRIES: u32 = 100;
/// The longest that a token may live: a year. How long it lives where the caller does not say: a day.
const MAX_TOKEN_SECONDS: u32 = 31_536_000;
const DEFAULT_TOKEN_SECONDS: u32 = 86_400;
/// The longest document of own rates, aliases and markups.
const MAX_OVERRIDES_BYTES: usize = 256 << 10;
/// How a reserve begins when the npm package writes it.
const RESERVE: &str = "{\"op\":\"reserve\",";
/// The sandbox provider, where the caller does not name one.
const SANDBOX_PROVIDER: &str = "e2b";

/// What can be asked about or of one tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A change.
    Command(Command),
    /// A question about the state.
    State(StateQuery),
    /// A question about what has happened.
    History(HistoryQuery),
}

/// A question about what has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryQuery {
    /// What was spent.
    Usage(UsageQuery),
    /// The ledger's lines after a number.
    Entries {
        /// The last line that the caller has.
        after: u64,
        /// The most lines to return.
        limit: u32,
    },
}

/// A question about the state of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateQuery {
    /// The tenant and its quotas.
    Tenant,
    /// Every quota.
    Quotas,
    /// One reservation or record.
    Reservation(ReservationId),
    /// What a reservation would be answered.
    Explain(Box<ReserveRequest>),
    /// Own rates, aliases and markups.
    Overrides,
    /// What a usage costs this tenant.
    Price(Box<PriceRequest>),
}

/// The body of an onboarding.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnboardRequest {
    /// The plan; the policy's default where it is not named.
    #[serde(default)]
    pub plan: Option<PlanName>,
}

/// The body of a request for a token.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest<Role> {
    /// What its bearer may do.
    pub role: Role,
    /// How long it is good for: 1 to 31,536,000.
    #[serde(default = "default_token_seconds")]
    pub expires_in_seconds: u32,
}

/// A request for a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRequest {
    call: Call,
    usage: Usage,
    /// When the call is made, where the request says so.
    at: Option<Timestamp>,
}

impl PriceRequest {
    /// The price by the price list alone.
    ///
    /// # Errors
    /// The catalog has no price for it, or the request does not say when the call is made.
    pub fn price(&self, catalog: &Catalog) -> Result<Charge, Problem> {
        let at = self.at.ok_or_else(|| Problem::invalid("at", "missing"))?;
        self.price_with(catalog, &PriceBook::default(), at)
    }

    /// The price with own rates, aliases and markups; of a call at `now` where the request does not say when.
    ///
    /// # Errors
    /// Nobody has a price for it.
    pub fn price_with(&self, catalog: &Catalog, prices: &PriceBook, now: Timestamp) -> Result<Charge, Problem> {
        let (Some(provider), Some(model)) = (&self.call.provider, &self.call.model) else {
            return Err(Problem::invalid("model", "missing"));
        };
        let terms = self.call.terms(self.at.unwrap_or(now));
        let call = Priced { resource: self.call.resource, provider, model, terms };
        let rating = prices.rating(catalog, call).map_err(Unpriced::from)?;
        Ok(price::price(&rating, &self.usage)?)
    }
}

/// Reads a reserve.
///
/// # Errors
/// The field that is wrong.
pub fn parse_reserve(json: &str) -> Result<ReserveRequest, Problem> {
    read_reserve(json, Place::Route)
}

/// Reads an explain: a reserve whose id may be left out.
///
/// # Errors
/// The field that is wrong.
pub fn parse_explain(json: &str) -> Result<ReserveRequest, Problem> {
    read_explain(json, Place::Route)
}

/// Reads a settle.
///
/// # Errors
/// The field that is wrong.
pub fn parse_settle(json: &str) -> Result<Actual, Problem> {
    read_settle(json, Place::Route)
}

/// Reads a release, which says nothing.
///
/// # Errors
/// The field that is wrong.
pub fn parse_release(json: &str) -> Result<(), Problem> {
    if json.trim().is_empty() {
        return Ok(());
    }
    let _: Nothing = json::read(json)?;
    Ok(())
}

/// Reads an extension.
///
/// # Errors
/// The field that is wrong.
pub fn parse_extend(json: &str) -> Result<ExtendRequest, Problem> {
    json::read::<ExtendBody>(json)?.into_request("")
}

/// Reads a meter reading.
///
/// # Errors
/// The field that is wrong.
pub fn parse_meter(json: &str) -> Result<Reading, Problem> {
    json::read::<MeterBody>(json)?.into_reading("")
}

/// Reads a record.
///
/// # Errors
/// The field that is wrong.
pub fn parse_record(json: &str) -> Result<RecordRequest, Problem> {
    read_record(json, Place::Route)
}

/// Reads the commands of a batch: those that spend, and explain. Each is read by itself: one that is wrong does not spoil the others.
///
/// # Errors
/// The body is not a batch.
pub fn parse_batch(json: &str) -> Result<Vec<Result<Request, Problem>>, Problem> {
    let body: BatchBody<'_> = json::read(json)?;
    if body.commands.len() > MAX_BATCH {
        return Err(Problem::invalid("commands", format_args!("{} commands, at most 500", body.commands.len())));
    }
    let spends = |request: Request| match request {
        // A batch is open to tokens that spend; what only the administrator may do has routes of its own.
        Request::State(StateQuery::Explain(_))
        | Request::Command(
            Command::Reserve(_)
            | Command::Settle(..)
            | Command::Release(_)
            | Command::Extend(..)
            | Command::Meter(..)
            | Command::Record(_),
        ) => Ok(request),
        _ => Err(Problem::invalid("op", "a batch takes reserve, settle, release, extend, meter, record and explain")),
    };
    Ok(body.commands.into_iter().map(|command| parse_command(command.get()).and_then(spends)).collect())
}

/// Reads one command in the form of a batch. Besides what a batch takes these are what the npm package asks its in-process ledger,
/// which has no routes.
///
/// # Errors
/// The field that is wrong.
pub fn parse_command(json: &str) -> Result<Request, Problem> {
    // What the package sends most, in the form in which it sends it, need not be looked through for what it is.
    if json.starts_with(RESERVE)
        && let Ok(request) = read_reserve(json, Place::Batch)
    {
        return Ok(Request::Command(Command::Reserve(request)));
    }
    let head: CommandHead = json::read(json)?;
    let id = || head.id.as_deref().ok_or_else(|| Problem::invalid("id", "missing"));
    Ok(match head.op {
        Op::Reserve => Request::Command(Command::Reserve(read_reserve(json, Place::Batch)?)),
        Op::Explain => Request::State(StateQuery::Explain(Box::new(read_explain(json, Place::Batch)?))),
        Op::Record => Request::Command(Command::Record(read_record(json, Place::Batch)?)),
        Op::Settle => Request::Command(Command::Settle(parse_id("id", id()?)?, read_settle(json, Place::Batch)?)),
        Op::Release => Request::Command(Command::Release(only_id(json)?)),
        Op::Extend | Op::Meter | Op::AddCredit | Op::RevokeCredit | Op::IncreaseLimit | Op::EndIncrease => {
            Request::Command(parse_part(json, head.op, id()?)?)
        }
        Op::GetReservation => Request::State(StateQuery::Reservation(only_id(json)?)),
        Op::ListQuotas => {
            let _: OnlyOp = json::read(json)?;
            Request::State(StateQuery::Quotas)
        }
        Op::PutQuota => {
            let body: PutQuotaBody = json::read(json)?;
            Request::Command(Command::SetQuota(parse_id("id", id()?)?, body.quota))
        }
        Op::DeleteQuota => Request::Command(Command::RemoveQuota(only_id(json)?)),
        Op::ResetQuota => Request::Command(Command::ResetQuota(only_id(json)?)),
        Op::Usage => {
            let body: UsageBody = json::read(json)?;
            let names = body.group_by.iter().map(String::as_str);
            let query = usage_query(names, body.from.as_deref(), body.to.as_deref())?;
            Request::History(HistoryQuery::Usage(query))
        }
        Op::Entries => {
            let body: EntriesBody = json::read(json)?;
            entries(body.after, body.limit)?
        }
        Op::PutOverrides => {
            let body: PutOverridesBody = json::read(json)?;
            let scope = OverridesScope::Tenant;
            Request::Command(Command::SetOverrides(OverridesOrder { scope, version: None, document: body.overrides }))
        }
        Op::GetOverrides => {
            let _: OnlyOp = json::read(json)?;
            Request::State(StateQuery::Overrides)
        }
        Op::Price => Request::State(StateQuery::Price(Box::new(read_price(json, Place::Batch)?))),
    })
}

fn parse_part(json: &str, op: Op, id: &str) -> Result<Command, Problem> {
    let PartBody { extend, meter, credit, credit_id, increase, increase_id, .. } = json::read(json)?;
    let given = [
        ("extend", extend.is_some()),
        ("meter", meter.is_some()),
        ("credit", credit.is_some()),
        ("creditId", credit_id.is_some()),
        ("increase", increase.is_some()),
        ("increaseId", increase_id.is_some()),
    ];
    let wanted = match op {
        Op::Meter => "meter",
        Op::AddCredit => "credit",
        Op::RevokeCredit => "creditId",
        Op::IncreaseLimit => "increase",
        Op::EndIncrease => "increaseId",
        _ => "extend",
    };
    if let Some((other, _)) = given.into_iter().find(|(name, given)| *given && *name != wanted) {
        return Err(Problem::invalid(other, "unknown field: another operation has it"));
    }
    Ok(match (extend, meter, credit, credit_id, increase, increase_id) {
        (Some(extend), ..) => Command::Extend(parse_id("id", id)?, extend.into_request("extend.")?),
        (_, Some(meter), ..) => Command::Meter(parse_id("id", id)?, meter.into_reading("meter.")?),
        (_, _, Some(credit), ..) => Command::AddCredit(parse_id("id", id)?, credit),
        (_, _, _, Some(credit), ..) => Command::RevokeCredit(parse_id("id", id)?, credit),
        (.., Some(increase), _) => Command::Increase(parse_id("id", id)?, increase),
        (.., Some(increase)) => Command::EndIncrease(parse_id("id", id)?, increase),
        _ => return Err(Problem::invalid(wanted, "missing")),
    })
}

/// Reads a quota.
///
/// # Errors
/// The field that is wrong.
pub fn parse_quota(json: &str) -> Result<Quota, Problem> {
    let quota: Quota = json::read(json)?;
    quota.check().map_err(|problem| Problem::invalid(problem.field, problem.message))?;
    Ok(quota)
}

/// Reads a top-up.
///
/// # Errors
/// The field that is wrong.
pub fn parse_credit(json: &str) -> Result<Credit, Problem> {
    json::read(json)
}

/// Reads an increase of a limit.
///
/// # Errors
/// The field that is wrong.
pub fn parse_increase(json: &str) -> Result<Increase, Problem> {
    json::read(json)
}

/// Reads an onboarding.
///
/// # Errors
/// The field that is wrong.
pub fn parse_onboard(json: &str) -> Result<OnboardRequest, Problem> {
    if json.trim().is_empty() { Ok(OnboardRequest::default()) } else { json::read(json) }
}

/// Reads and checks a policy.
///
/// # Errors
/// The field that is wrong.
pub fn parse_policy(json: &str) -> Result<Policy, Problem> {
    let policy: Policy = json::read(json)?;
    policy.check().map_err(|problem| Problem::invalid(problem.field, problem.message))?;
    Ok(policy)
}

/// Reads a request for a token.
///
/// # Errors
/// The field that is wrong.
pub fn parse_token_request<Role: for<'de> Deserialize<'de>>(json: &str) -> Result<TokenRequest<Role>, Problem> {
    let request: TokenRequest<Role> = json::read(json)?;
    if (1..=MAX_TOKEN_SECONDS).contains(&request.expires_in_seconds) {
        Ok(request)
    } else {
        Err(Problem::invalid("expiresInSeconds", "must lie in 1 to 31536000"))
    }
}

/// Reads a request for a price; `now` is when the call is made where the request does not say. Without it the request must say.
///
/// # Errors
/// The field that is wrong.
pub fn parse_price(json: &str, now: Option<Timestamp>) -> Result<PriceRequest, Problem> {
    let request = read_price(json, Place::Route)?;
    let at = request.at.or(now).ok_or_else(|| Problem::invalid("at", "missing"))?;
    Ok(PriceRequest { at: Some(at), ..request })
}

/// Reads a request for a price from a tenant's ledger, which has a time of its own.
///
/// # Errors
/// The field that is wrong.
pub fn parse_tenant_price(json: &str) -> Result<PriceRequest, Problem> {
    read_price(json, Place::Route)
}

/// Reads a document of own rates, aliases and markups.
///
/// # Errors
/// The field that is wrong.
pub fn parse_overrides(json: &str) -> Result<Arc<OverridesDocument>, Problem> {
    // It is in every snapshot of every ledger that has it.
    if json.len() > MAX_OVERRIDES_BYTES {
        return Err(Problem::new(Code::BodyTooLarge, "a document of overrides has 256 KiB at most"));
    }
    read_overrides(json)
}

/// Reads a document that was taken before.
///
/// # Errors
/// The field that is wrong.
pub fn read_overrides(json: &str) -> Result<Arc<OverridesDocument>, Problem> {
    let document: OverridesDocument = json::read(json)?;
    Ok(document.into())
}

fn read_price(json: &str, place: Place) -> Result<PriceRequest, Problem> {
    let body: PriceBody = json::read(json)?;
    place.allows("op", body.op)?;
    let usage = match actual(body.usage, None, body.payload, None)? {
        Actual::Usage(usage) => usage,
        _ => {
            return Err(Problem::invalid("payload", "the answer broke off before its usage was complete"));
        }
    };
    let call = Call {
        resource: body.resource,
        user_id: None,
        provider: Some(body.provider),
        model: Some(body.model),
        mode: body.mode,
        region: body.region,
        attribution: Attribution::default(),
    };
    Ok(PriceRequest { call, usage, at: body.at })
}

/// Reads the query of a usage report from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_usage_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [group_by, from, to] = parameters(pairs, ["groupBy", "from", "to"])?;
    let group_by = group_by.unwrap_or_default();
    let names = group_by.split(',').filter(|name| !name.is_empty());
    Ok(Request::History(HistoryQuery::Usage(usage_query(names, from, to)?)))
}

/// Reads the query of a page of entries from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_entries_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [after, limit] = parameters(pairs, ["after", "limit"])?;
    let number = |name: &str, text: Option<&str>| {
        text.map(|text| text.parse().map_err(|_| Problem::invalid(name, "must be a whole number"))).transpose()
    };
    entries(number("after", after)?, number("limit", limit)?)
}

/// Reads the query of a price list from its pairs: the provider, where only one is asked for.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_catalog_query<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Option<&'a str>, Problem> {
    let [provider] = parameters(pairs, ["provider"])?;
    Ok(provider)
}

/// Reads an id or name that is part of a path.
///
/// # Errors
/// It is none; `field` names it.
pub fn parse_id<T: core::str::FromStr<Err: core::fmt::Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::invalid(field, error))
}

/// Where a command stands: on a route of its own, whose path says what it is and about which id; or in a batch, where it says so itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Route,
    Batch,
}

impl Place {
    /// On a route, a field that only a batch has is as unknown as any other.
    fn allows(self, field: &str, given: Option<IgnoredAny>) -> Result<(), Problem> {
        match (self, given) {
            (Self::Route, Some(_)) => Err(Problem::invalid(field, "unknown field: the path says it")),
            _ => Ok(()),
        }
    }
}

fn read_reserve(json: &str, place: Place) -> Result<ReserveRequest, Problem> {
    let body: ReserveBody = json::read(json)?;
    place.allows("op", body.op)?;
    let id = body.id.clone().ok_or_else(|| Problem::invalid("id", "missing"))?;
    body.into_request(id)
}

fn read_explain(json: &str, place: Place) -> Result<ReserveRequest, Problem> {
    let body: ReserveBody = json::read(json)?;
    place.allows("op", body.op)?;
    let id = match &body.id {
        Some(id) => id.clone(),
        None => parse_id("id", "explain")?,
    };
    body.into_request(id)
}

fn read_settle(json: &str, place: Place) -> Result<Actual, Problem> {
    let body: SettleBody = json::read(json)?;
    place.allows("op", body.op)?;
    place.allows("id", body.id)?;
    actual(body.usage, body.usd, body.payload, settled_sandbox(body.sandbox)?)
}

fn settled_sandbox(sandbox: Option<SettledSandbox>) -> Result<Option<Actual>, Problem> {
    let seconds = sandbox.map(|sandbox| sandbox.running()).transpose()?;
    Ok(seconds.map(Actual::SandboxSeconds))
}

fn read_record(json: &str, place: Place) -> Result<RecordRequest, Problem> {
    let body: RecordBody = json::read(json)?;
    place.allows("op", body.op)?;
    let sandbox = body.sandbox.map(|sandbox| sandbox.bounds("sandbox")).transpose()?;
    let tier = sandbox.as_ref().map(|sandbox| &sandbox.tier);
    let parts = CallParts {
        resource: body.resource,
        user_id: body.user_id,
        provider: body.provider,
        model: body.model,
        mode: body.processing,
        region: body.region,
        attribution: body.attribution,
    };
    let call = call(parts, tier)?;
    let actual = actual(body.usage, body.usd, body.payload, sandbox.map(Actual::Sandbox))?;
    Ok(RecordRequest { id: body.id, call: call.into(), actual, mode: body.mode })
}

/// The values of a query's parameters: each at most once, and no others.
pub(super) fn parameters<'a, const N: usize>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Problem> {
    let mut values = [None; N];
    for (name, value) in pairs {
        let known = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        let (_, slot) = known
            .ok_or_else(|| Problem::invalid(name, format_args!("unknown parameter; there are {}", names.join(", "))))?;
        if slot.replace(value).is_some() {
            return Err(Problem::invalid(name, "given twice"));
        }
    }
    Ok(values)
}

fn only_id<T: core::str::FromStr<Err: core::fmt::Display>>(json: &str) -> Result<T, Problem> {
    let body: OnlyId = json::read(json)?;
    parse_id("id", &body.id)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommandHead {
    op: Op,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Op {
    Reserve,
    Settle,
    Release,
    Extend,
    Meter,
    Record,
    Explain,
    GetReservation,
    ListQuotas,
    PutQuota,
    DeleteQuota,
    ResetQuota,
    AddCredit,
    RevokeCredit,
    IncreaseLimit,
    EndIncrease,
    Usage,
    Entries,
    PutOverrides,
    GetOverrides,
    Price,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReserveBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<ReservationId>,
    #[serde(default)]
    user_id: Option<UserId>,
    resource: Resource,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    model: Option<Name>,
    #[serde(deserialize_with = "objects::object")]
    estimate: EstimateBody,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
    #[serde(default, deserialize_with = "objects::object")]
    attribution: Attribution,
    #[serde(default)]
    ttl_seconds: Option<u32>,
    #[serde(default)]
    on_expiry: Option<OnExpiry>,
    #[serde(default)]
    on_insufficient: Option<OnInsufficient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EstimateBody {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    input_bytes: Option<u64>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    #[serde(default)]
    max_web_searches: Option<u64>,
    #[serde(default)]
    meters: Vec<Meter>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SandboxBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettleBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<IgnoredAny>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SettledSandbox>,
}

/// A decimal number in its own text, so that 0.5 is exactly that; a string of one serves as well.
#[derive(Deserialize)]
#[serde(transparent)]
struct Number(Box<RawValue>);

impl Number {
    fn quantity(&self, field: &str) -> Result<Quantity, Problem> {
        let text = self.0.get();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        parse_id(field, text)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SandboxBody {
    tier: Name,
    seconds: Number,
    #[serde(default)]
    vcpus: Option<Number>,
    #[serde(default)]
    memory_gib: Option<Number>,
}

impl SandboxBody {
    fn bounds(self, path: &str) -> Result<SandboxBounds, Problem> {
        let optional = |number: Option<Number>, field: &str| {
            number.map(|number| number.quantity(&format!("{path}.{field}"))).transpose()
        };
        Ok(SandboxBounds {
            tier: self.tier,
            seconds: self.seconds.quantity(&format!("{path}.seconds"))?,
            vcpus: optional(self.vcpus, "vcpus")?,
            memory_gib: optional(self.memory_gib, "memoryGib")?,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettledSandbox {
    seconds: Number,
    /// Those of `seconds` in which it was paused, which are free.
    #[serde(default)]
    paused_seconds: Option<Number>,
}

impl SettledSandbox {
    fn running(&self) -> Result<Quantity, Problem> {
        let seconds = self.seconds.quantity("sandbox.seconds")?;
        let Some(paused) = &self.paused_seconds else { return Ok(seconds) };
        let paused = paused.quantity("sandbox.pausedSeconds")?;
        if paused > seconds {
            return Err(Problem::invalid("sandbox.pausedSeconds", "cannot be more than `seconds`"));
        }
        Ok(seconds.less(paused))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PayloadBody {
    format: Format,
    body: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyOp {
    #[serde(rename = "op")]
    _op: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnlyId {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExtendBody {
    id: ExtensionId,
    #[serde(default)]
    ttl_seconds: Option<u32>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    estimate: Option<EstimateBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MeterBody {
    id: ReadingId,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SettledSandbox>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    id: ReservationId,
    #[serde(default)]
    mode: RecordMode,
    #[serde(default)]
    user_id: Option<UserId>,
    resource: Resource,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    model: Option<Name>,
    #[serde(default)]
    processing: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SandboxBody>,
    #[serde(default, deserialize_with = "objects::object")]
    attribution: Attribution,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutQuotaBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(deserialize_with = "objects::object")]
    quota: Quota,
}

/// The commands that have a part with an id of its own, or name one: each has one of these. One type for all is a few KB less code.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PartBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(default, deserialize_with = "objects::optional_object")]
    extend: Option<ExtendBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    meter: Option<MeterBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    credit: Option<Credit>,
    #[serde(default)]
    credit_id: Option<CreditId>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    increase: Option<Increase>,
    #[serde(default)]
    increase_id: Option<IncreaseId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutOverridesBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(deserialize_with = "objects::shared_object")]
    overrides: Arc<OverridesDocument>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UsageBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default)]
    group_by: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EntriesBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default)]
    after: Option<u64>,
    #[serde(default)]
    limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PriceBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    provider: Name,
    model: Name,
    #[serde(default = "llm")]
    resource: Resource,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
}

const fn llm() -> Resource {
    Resource::Llm
}

const fn default_token_seconds() -> u32 {
    DEFAULT_TOKEN_SECONDS
}

impl ReserveBody {
    fn into_request(self, id: ReservationId) -> Result<ReserveRequest, Problem> {
        let tier = self.estimate.sandbox.as_ref().map(|sandbox| sandbox.tier.clone());
        let estimate = self.estimate.into_estimate("estimate")?;
        let call = call(
            CallParts {
                resource: self.resource,
                user_id: self.user_id,
                provider: self.provider,
                model: self.model,
                mode: self.mode,
                region: self.region,
                attribution: self.attribution,
            },
            tier.as_ref(),
        )?;
        let ttl_seconds = self.ttl_seconds.unwrap_or(HoldTerms::DEFAULT_TTL_SECONDS);
        check_ttl("ttlSeconds", ttl_seconds)?;
        let on_expiry = self.on_expiry.unwrap_or(match estimate {
            Estimate::Tokens(_) => OnExpiry::ChargeInput,
            Estimate::Usd(_) | Estimate::Sandbox(_) => OnExpiry::ChargeHold,
        });
        let on_insufficient = self.on_insufficient.unwrap_or_default();
        Ok(ReserveRequest {
            id,
            call: call.into(),
            terms: HoldTerms { estimate, ttl_seconds, on_expiry, on_insufficient },
        })
    }
}

impl EstimateBody {
    fn into_estimate(self, path: &str) -> Result<Estimate, Problem> {
        let in_tokens = self.input_tokens.is_some()
            || self.input_bytes.is_some()
            || self.max_output_tokens.is_some()
            || self.max_web_searches.is_some()
            || !self.meters.is_empty();
        match (in_tokens, self.usd, self.sandbox) {
            (true, None, None) => {
                let input_tokens = match (self.input_tokens, self.input_bytes) {
                    (Some(count), None) | (None, Some(count)) => count,
                    _ => return Err(Problem::invalid(path, "exactly one of `inputTokens` and `inputBytes`")),
                };
                let max_output_tokens = self
                    .max_output_tokens
                    .ok_or_else(|| Problem::invalid(format!("{path}.maxOutputTokens"), "missing"))?;
                for (field, count) in [
                    ("inputTokens", input_tokens),
                    ("maxOutputTokens", max_output_tokens),
                    ("maxWebSearches", self.max_web_searches.unwrap_or(0)),
                ] {
                    Quantity::from_count(count).map_err(|error| Problem::invalid(format!("{path}.{field}"), error))?;
                }
                let meters = Meter::ALL.into_iter().filter(|meter| self.meters.contains(meter)).collect();
                Ok(Estimate::Tokens(TokenBounds {
                    input_tokens,
                    max_output_tokens,
                    max_web_searches: self.max_web_searches.unwrap_or(0),
                    meters,
                }))
            }
            (false, Some(usd), None) => {
                not_negative(&format!("{path}.usd"), usd)?;
                Ok(Estimate::Usd(usd))
            }
            (false, None, Some(sandbox)) => Ok(Estimate::Sandbox(sandbox.bounds(&format!("{path}.sandbox"))?)),
            _ => Err(Problem::invalid(
                path,
                "exactly one of `inputTokens` or `inputBytes` with `maxOutputTokens`, `usd`, `sandbox`",
            )),
        }
    }
}

impl ExtendBody {
    fn into_request(self, prefix: &str) -> Result<ExtendRequest, Problem> {
        if let Some(ttl) = self.ttl_seconds {
            check_ttl(&format!("{prefix}ttlSeconds"), ttl)?;
        }
        let estimate =
            self.estimate.map(|estimate| estimate.into_estimate(&format!("{prefix}estimate"))).transpose()?;
        Ok(ExtendRequest { id: self.id, ttl_seconds: self.ttl_seconds, estimate })
    }
}

impl MeterBody {
    fn into_reading(self, prefix: &str) -> Result<Reading, Problem> {
        let place = |mut problem: Problem| {
            if let Some(field) = &mut problem.field {
                field.insert_str(0, prefix);
                problem.detail.insert_str(0, prefix);
            }
            problem
        };
        let sandbox = settled_sandbox(self.sandbox).map_err(place)?;
        let actual = actual(self.usage, self.usd, self.payload, sandbox).map_err(place)?;
        Ok(Reading { id: self.id, actual })
    }
}

struct CallParts {
    resource: Resource,
    user_id: Option<UserId>,
    provider: Option<Name>,
    model: Option<Name>,
    mode: Option<Mode>,
    region: Option<Name>,
    attribution: Attribution,
}

/// A sandbox's tier is its model, so that reports and rates treat both alike.
fn call(parts: CallParts, tier: Option<&Name>) -> Result<Call, Problem> {
    let (provider, model) = match tier {
        None => (parts.provider, parts.model),
        Some(tier) => {
            if parts.resource != Resource::E2b {
                return Err(Problem::invalid("resource", "a sandbox draws on resource `e2b`"));
            }
            if parts.model.is_some_and(|model| model != *tier) {
                return Err(Problem::invalid("model", "a sandbox's model is its tier; leave it out"));
            }
            let provider = match parts.provider {
                Some(provider) => provider,
                None => parse_id("provider", SANDBOX_PROVIDER)?,
            };
            (Some(provider), Some(tier.clone()))
        }
    };
    Ok(Call {
        resource: parts.resource,
        user_id: parts.user_id,
        provider,
        model,
        mode: parts.mode,
        region: parts.region,
        attribution: parts.attribution,
    })
}

fn actual(
    usage: Option<Usage>,
    usd: Option<Usd>,
    payload: Option<PayloadBody>,
    sandbox: Option<Actual>,
) -> Result<Actual, Problem> {
    match (usage, usd, payload, sandbox) {
        (Some(usage), None, None, None) => Ok(Actual::Usage(usage)),
        (None, Some(usd), None, None) => {
            not_negative("usd", usd)?;
            Ok(Actual::Usd(usd))
        }
        (None, None, Some(payload), None) => {
            let extracted = extract::extract(payload.format, &payload.body)
                .map_err(|error| Problem::payload("payload.body", &error))?;
            if extracted.complete {
                Ok(Actual::Usage(extracted.usage))
            } else {
                Ok(Actual::IncompleteUsage(extracted.usage))
            }
        }
        (None, None, None, Some(sandbox)) => Ok(sandbox),
        _ => Err(Problem::invalid("usage", "exactly one of `usage`, `usd`, `payload` and `sandbox`")),
    }
}

fn usage_query<'a>(
    names: impl Iterator<Item = &'a str>,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<UsageQuery, Problem> {
    let mut group_by = Vec::new();
    for name in names {
        let dimension = Dimension::ALL
            .into_iter()
            .find(|dimension| dimension.name() == name)
            .ok_or_else(|| Problem::invalid("groupBy", "any of user, model, touchpoint, day, resource"))?;
        if group_by.contains(&dimension) {
            return Err(Problem::invalid("groupBy", format_args!("`{name}` is named twice")));
        }
        group_by.push(dimension);
    }
    let hour = |field: &str, text: Option<&str>| -> Result<Option<Timestamp>, Problem> {
        let Some(text) = text else { return Ok(None) };
        let at: Timestamp = parse_id(field, text)?;
        if UsageQuery::on_full_hours(at) {
            Ok(Some(at))
        } else {
            Err(Problem::invalid(field, "must be a full hour: usage is rolled up by hour"))
        }
    };
    Ok(UsageQuery { group_by, from: hour("from", from)?, to: hour("to", to)? })
}

fn entries(after: Option<u64>, limit: Option<u64>) -> Result<Request, Problem> {
    let limit = match limit {
        None => DEFAULT_ENTRIES,
        Some(limit) => u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=MAX_ENTRIES).contains(limit))
            .ok_or_else(|| Problem::invalid("limit", "must lie in 1 to 1000"))?,
    };
    Ok(Request::History(HistoryQuery::Entries { after: after.unwrap_or(0), limit }))
}

fn check_ttl(field: &str, seconds: u32) -> Result<(), Problem> {
    if (1..=HoldTerms::MAX_TTL_SECONDS).contains(&seconds) {
        Ok(())
    } else {
        Err(Problem::invalid(field, "must lie in 1 to 86400"))
    }
}

fn not_negative(field: &str, usd: Usd) -> Result<(), Problem> {
    if usd.is_negative() { Err(Problem::invalid(field, crate::money::InvalidUsd::Negative)) } else { Ok(()) }
}
