//! Reads batches and the commands in them, which say themselves what they are.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::actual_body::{MeterBody, read_settle};
use super::admin_body::RefundBody;
use super::fields::{Place, parse_id};
use super::history_query::{UsageBody, entries, quotas};
use super::holds_body::{read_holds_query, read_holds_release};
use super::json;
use super::price_body::read_price;
use super::problem::Problem;
use super::record_body::read_record;
use super::request::{HistoryQuery, Request, StateQuery};
use super::reserve_body::{ExtendBody, read_explain, read_reserve};
use crate::catalog::{OverridesDocument, OverridesScope};
use crate::ids::{CreditId, IncreaseId, QuotaId};
use crate::ledger::{Command, Credit, Increase, OverridesOrder};
use crate::objects;
use crate::quota::Quota;

/// The most commands in a batch.
pub const MAX_BATCH: usize = 500;
/// How a reserve begins when the npm package writes it.
const RESERVE: &str = "{\"op\":\"reserve\",";

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
        Op::Extend
        | Op::Meter
        | Op::Refund
        | Op::AddCredit
        | Op::RevokeCredit
        | Op::IncreaseLimit
        | Op::EndIncrease => Request::Command(parse_part(json, head.op, id()?)?),
        Op::GetReservation => Request::State(StateQuery::Reservation(only_id(json)?)),
        Op::ListReservations => read_holds_query(json)?,
        Op::ReleaseReservations => Request::Command(Command::ReleaseHolds(read_holds_release(json, Place::Batch)?)),
        Op::ListQuotas => {
            let body: QuotasBody = json::read(json)?;
            quotas(body.after, body.limit)?
        }
        Op::GetQuota => Request::State(StateQuery::Quota(only_id(json)?)),
        Op::PutQuota => {
            let body: PutQuotaBody = json::read(json)?;
            Request::Command(Command::SetQuota(parse_id("id", id()?)?, body.quota))
        }
        Op::DeleteQuota => {
            let body: DeleteQuotaBody = json::read(json)?;
            Request::Command(Command::RemoveQuota(parse_id("id", id()?)?, body.forfeit.unwrap_or(false)))
        }
        Op::ResetQuota => Request::Command(Command::ResetQuota(only_id(json)?)),
        Op::Usage => {
            let body: UsageBody = json::read(json)?;
            Request::History(HistoryQuery::Usage(Box::new(body.query()?)))
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
    let PartBody { extend, meter, refund, credit, credit_id, increase, increase_id, .. } = json::read(json)?;
    let given = [
        ("extend", extend.is_some()),
        ("meter", meter.is_some()),
        ("refund", refund.is_some()),
        ("credit", credit.is_some()),
        ("creditId", credit_id.is_some()),
        ("increase", increase.is_some()),
        ("increaseId", increase_id.is_some()),
    ];
    let wanted = match op {
        Op::Meter => "meter",
        Op::Refund => "refund",
        Op::AddCredit => "credit",
        Op::RevokeCredit => "creditId",
        Op::IncreaseLimit => "increase",
        Op::EndIncrease => "increaseId",
        _ => "extend",
    };
    if let Some((other, _)) = given.into_iter().find(|(name, given)| *given && *name != wanted) {
        return Err(Problem::invalid(other, "unknown field: another operation has it"));
    }
    if let Some(refund) = refund {
        return Ok(Command::Refund(parse_id("id", id)?, refund.into()));
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

fn only_id<T: core::str::FromStr<Err: core::fmt::Display>>(json: &str) -> Result<T, Problem> {
    let body: OnlyId = json::read(json)?;
    parse_id("id", &body.id)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchBody<'a> {
    #[serde(borrow)]
    commands: Vec<&'a RawValue>,
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
    Refund,
    Record,
    Explain,
    GetReservation,
    ListReservations,
    ReleaseReservations,
    ListQuotas,
    GetQuota,
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
    refund: Option<RefundBody>,
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
#[serde(deny_unknown_fields)]
struct DeleteQuotaBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(default)]
    forfeit: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotasBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default)]
    after: Option<QuotaId>,
    #[serde(default)]
    limit: Option<u64>,
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
