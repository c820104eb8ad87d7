//! Open holds in bulk: reads which are meant, to list or to release them, and renders a page of them.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, ReservationBody};
use super::fields::{Place, parameters, parse_id};
use super::json;
use super::problem::{Code, Problem};
use super::request::{HoldsQuery, Request, StateQuery};
use crate::catalog::Catalog;
use crate::ids::{Name, ReservationId, UserId};
use crate::ledger::{HoldPlace, HoldsFilter, Ledger, MAX_BULK_RELEASE, TooManyHolds};
use crate::quota::Scope;
use crate::time::Timestamp;

/// The most holds in one page, and how many there are where the caller does not say.
pub const MAX_LISTED_HOLDS: u32 = 1_000;
const DEFAULT_LISTED_HOLDS: u32 = 100;
/// A page ends before it is longer than this, with one hold at least.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// What comes behind the last hold of a page, at most.
const MAX_CURSOR_BYTES: usize = 256;
/// Between the two parts of a cursor; the first one is digits alone.
const CURSOR_SEPARATOR: char = '.';

/// Reads the query of a page of open holds from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_holds_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [state, user_id, touchpoint, after, limit] =
        parameters(pairs, ["state", "userId", "touchpoint", "after", "limit"])?;
    let limit = limit.map(|limit| limit.parse().map_err(|_| Problem::invalid("limit", "must be a whole number")));
    holds_query(state, user_id, touchpoint, after, limit.transpose()?)
}

/// Reads which holds are to be released.
///
/// # Errors
/// The field that is wrong.
pub fn parse_holds_release(json: &str) -> Result<HoldsFilter, Problem> {
    read_holds_release(json, Place::Route)
}

pub(super) fn read_holds_release(json: &str, place: Place) -> Result<HoldsFilter, Problem> {
    let body: ReleaseHoldsBody = json::read(json)?;
    place.allows("op", body.op)?;
    let ReleaseHoldsBody { user_id, touchpoint, opened_before, ids, all, .. } = body;
    if let Some(ids) = &ids {
        // An empty list must not mean all of them.
        if ids.is_empty() || ids.len() > MAX_BULK_RELEASE {
            return Err(Problem::invalid("ids", format_args!("{} ids, at least 1 and at most 500", ids.len())));
        }
    }
    let filters = [user_id.is_some(), touchpoint.is_some(), opened_before.is_some(), ids.is_some()];
    match (filters.contains(&true), all) {
        (true, None) | (false, Some(true)) => {
            let ids = ids.map(BTreeSet::from_iter);
            Ok(HoldsFilter { user_id, touchpoint, opened_before, ids })
        }
        (false, None) => Err(Problem::invalid(
            "all",
            "must be true where no `userId`, `touchpoint`, `openedBefore` or `ids` is named",
        )),
        (_, Some(false)) => Err(Problem::invalid("all", "is true or left out")),
        (true, Some(true)) => Err(Problem::invalid("all", "goes alone: the other fields name some of them")),
    }
}

pub(super) fn read_holds_query(json: &str) -> Result<Request, Problem> {
    let body: HoldsQueryBody = json::read(json)?;
    let HoldsQueryBody { state, user_id, touchpoint, after, limit, .. } = &body;
    holds_query(state.as_deref(), user_id.as_deref(), touchpoint.as_deref(), after.as_deref(), *limit)
}

fn holds_query(
    state: Option<&str>,
    user_id: Option<&str>,
    touchpoint: Option<&str>,
    after: Option<&str>,
    limit: Option<u64>,
) -> Result<Request, Problem> {
    if state.is_some_and(|state| state != "held") {
        return Err(Problem::invalid("state", "must be `held`: what has ended is in the entries"));
    }
    let limit = match limit {
        None => DEFAULT_LISTED_HOLDS,
        Some(limit) => u32::try_from(limit)
            .ok()
            .filter(|limit| (1..=MAX_LISTED_HOLDS).contains(limit))
            .ok_or_else(|| Problem::invalid("limit", "must lie in 1 to 1000"))?,
    };
    let filter = HoldsFilter {
        user_id: user_id.map(|text| parse_id("userId", text)).transpose()?,
        touchpoint: touchpoint.map(|text| parse_id("touchpoint", text)).transpose()?,
        ..HoldsFilter::default()
    };
    let after = after.map(place_of).transpose()?;
    Ok(Request::State(StateQuery::Holds(Box::new(HoldsQuery { filter, after, limit }))))
}

/// A page of open holds, in the order of their deadlines and ids. A cursor is the place of the last one, so that holds that come and go
/// between two pages move no other; one that is prolonged meanwhile may come a second time.
pub(super) fn holds_page(ledger: &Ledger, catalog: &Catalog, query: &HoldsQuery) -> Answer {
    let mut page = String::from("{\"reservations\":[");
    let mut last: Option<HoldPlace> = None;
    let mut listed = 0_u32;
    let mut is_full = false;
    for hold in ledger.filtered_reservations(&query.filter, query.after.as_ref()) {
        let body = match tollgate_json::to_string(&ReservationBody::new(catalog, hold)) {
            Ok(body) => body,
            Err(error) => return Answer::problem(&Problem::new(Code::Internal, error.to_string())),
        };
        is_full = listed >= query.limit || (listed > 0 && page.len() + body.len() > MAX_PAGE_BYTES - MAX_CURSOR_BYTES);
        if is_full {
            break;
        }
        if listed > 0 {
            page.push(',');
        }
        page.push_str(&body);
        listed = listed.saturating_add(1);
        last = Some((hold.expires_at, hold.id.clone()));
    }
    page.push_str("],\"next\":");
    // It is quoted as JSON quotes: an id has neither quotes nor backslashes.
    match last.filter(|_| is_full) {
        Some((at, id)) => page.push_str(&format!("\"{}{CURSOR_SEPARATOR}{id}\"", at.millis())),
        None => page.push_str("null"),
    }
    page.push('}');
    Answer { status: 200, body: page, headers: Vec::new() }
}

fn place_of(cursor: &str) -> Result<HoldPlace, Problem> {
    let place = cursor.split_once(CURSOR_SEPARATOR).and_then(|(millis, id)| {
        let at = Timestamp::from_millis(millis.parse().ok()?).ok()?;
        Some((at, id.parse::<ReservationId>().ok()?))
    });
    place.ok_or_else(|| Problem::invalid("after", "must be `next` of the page before"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReleaseHoldsBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    user_id: Option<UserId>,
    #[serde(default)]
    touchpoint: Option<Name>,
    #[serde(default)]
    opened_before: Option<Timestamp>,
    #[serde(default)]
    ids: Option<Vec<ReservationId>>,
    #[serde(default)]
    all: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HoldsQueryBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    user_id: Option<String>,
    #[serde(default)]
    touchpoint: Option<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
}

/// Which cap is reached, as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TooManyHoldsBody<'a> {
    scope: Scope,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<&'a UserId>,
    open: usize,
    limit: usize,
    frees_at: Timestamp,
    retry_after_seconds: u64,
}

impl<'a> From<&'a TooManyHolds> for TooManyHoldsBody<'a> {
    fn from(holds: &'a TooManyHolds) -> Self {
        Self {
            scope: if holds.user.is_some() { Scope::User } else { Scope::Tenant },
            scope_id: holds.user.as_ref(),
            open: holds.open,
            limit: holds.most,
            frees_at: holds.frees_at,
            retry_after_seconds: holds.retry_after_seconds(),
        }
    }
}
