//! Reads queries about what has happened, from the pairs of an address or from a command.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fields::{number, page_limit, parameters, parse_id, whole};
use super::problem::Problem;
use super::request::{HistoryQuery, QuotasQuery, Request, StateQuery};
use crate::ids::QuotaId;
use crate::time::Timestamp;
use crate::usage_report::{DEFAULT_GROUPS, Dimension, UsageCursor, UsageQuery};
use crate::zone::Zone;

/// The most entries in one answer, and how many there are where the caller does not say.
pub const MAX_ENTRIES: u32 = 1_000;
const DEFAULT_ENTRIES: u32 = 100;
/// The most groups in one page of a usage report.
const MAX_GROUPS: u32 = 1_000;
/// The most quotas in one answer, and how many there are where the caller does not say.
pub const MAX_QUOTAS_PAGE: u32 = 1_000;
const DEFAULT_QUOTAS: u32 = 100;

/// Reads the query of a usage report from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_usage_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [group_by, from, to, time_zone, limit, after] =
        parameters(pairs, ["groupBy", "from", "to", "timeZone", "limit", "after"])?;
    let names = group_by.unwrap_or_default().split(',').filter(|name| !name.is_empty());
    let text = |text: Option<&str>| text.map(str::to_owned);
    let limit = limit.map(|limit| limit.parse().map_err(|_| Problem::invalid("limit", "must be a whole number")));
    let body = UsageBody {
        _op: IgnoredAny,
        group_by: names.map(str::to_owned).collect(),
        from: text(from),
        to: text(to),
        time_zone: text(time_zone),
        limit: limit.transpose()?,
        after: text(after),
    };
    Ok(Request::History(HistoryQuery::Usage(Box::new(body.query()?))))
}

/// Reads the query of a page of entries from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_entries_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [after, limit] = parameters(pairs, ["after", "limit"])?;
    entries(number("after", after)?, number("limit", limit)?)
}

/// Reads the query of a page of quotas from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_quotas_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Request, Problem> {
    let [after, limit] = parameters(pairs, ["after", "limit"])?;
    let after = after.map(|after| parse_id("after", after)).transpose()?;
    quotas(after, number("limit", limit)?)
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

/// A report as it is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct UsageBody {
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default)]
    group_by: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    limit: Option<u64>,
    #[serde(default)]
    after: Option<String>,
}

impl UsageBody {
    pub(super) fn query(self) -> Result<UsageQuery, Problem> {
        let mut group_by = Vec::new();
        for name in &self.group_by {
            let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.name() == name).ok_or_else(|| {
                Problem::invalid("groupBy", "any of user, model, calledModel, touchpoint, day, resource")
            })?;
            if group_by.contains(&dimension) {
                return Err(Problem::invalid("groupBy", format_args!("`{name}` is named twice")));
            }
            group_by.push(dimension);
        }
        let instant = |field: &str, text: Option<String>| -> Result<Option<Timestamp>, Problem> {
            let Some(text) = text else { return Ok(None) };
            let at: Timestamp = parse_id(field, &text)?;
            if UsageQuery::begins_a_quarter(at) {
                Ok(Some(at))
            } else {
                Err(Problem::invalid(field, "must be a full quarter of an hour: usage is rolled up by these"))
            }
        };
        let (time_zone, zone) = match self.time_zone {
            None => (None, Zone::default()),
            Some(_) if !group_by.contains(&Dimension::Day) => {
                return Err(Problem::invalid("timeZone", "only the days of `groupBy` have a time zone"));
            }
            Some(name) => {
                let unknown = "there is no such time zone; say a name of the IANA database, such as `Europe/Berlin`";
                let zone = Zone::find(&name).ok_or_else(|| Problem::invalid("timeZone", unknown))?;
                (Some(parse_id("timeZone", &name)?), zone)
            }
        };
        let limit = match self.limit {
            None => DEFAULT_GROUPS,
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| (1..=MAX_GROUPS).contains(limit))
                .ok_or_else(|| Problem::invalid("limit", "must lie in 1 to 1000"))?,
        };
        let after = self.after.map(|text| {
            UsageCursor::read(&text, group_by.len())
                .ok_or_else(|| Problem::invalid("after", "must be the `next` of a page of the same report"))
        });
        Ok(UsageQuery {
            from: instant("from", self.from)?,
            to: instant("to", self.to)?,
            time_zone,
            zone,
            limit,
            after: after.transpose()?,
            group_by,
        })
    }
}

/// A page of the ledger's lines.
pub(super) fn entries(after: Option<u64>, limit: Option<u64>) -> Result<Request, Problem> {
    let limit = page_limit(limit, DEFAULT_ENTRIES, MAX_ENTRIES)?;
    Ok(Request::History(HistoryQuery::Entries { after: whole("after", after.unwrap_or(0))?, limit }))
}

/// A page of quotas.
pub(super) fn quotas(after: Option<QuotaId>, limit: Option<u64>) -> Result<Request, Problem> {
    let limit = page_limit(limit, DEFAULT_QUOTAS, MAX_QUOTAS_PAGE)?;
    Ok(Request::State(StateQuery::Quotas(QuotasQuery { after, limit })))
}
