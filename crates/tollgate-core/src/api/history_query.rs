//! Reads queries about what has happened, from the pairs of an address or from a command.

use super::fields::{number, page_limit, parameters, parse_id, whole};
use super::problem::Problem;
use super::request::{HistoryQuery, QuotasQuery, Request, StateQuery};
use crate::ids::QuotaId;
use crate::time::Timestamp;
use crate::usage_report::{Dimension, UsageQuery};

/// The most entries in one answer, and how many there are where the caller does not say.
pub const MAX_ENTRIES: u32 = 1_000;
const DEFAULT_ENTRIES: u32 = 100;
/// The most quotas in one answer, and how many there are where the caller does not say.
pub const MAX_QUOTAS_PAGE: u32 = 1_000;
const DEFAULT_QUOTAS: u32 = 100;

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

/// A report by the dimensions that are named, of full hours.
pub(super) fn usage_query<'a>(
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
