//! Reads what an administrator asks of a stored ledger: its rows as they are stored, to archive, to repair.

use serde::Deserialize;

use super::fields::{number, page_limit, parameters, whole};
use super::json;
use super::problem::Problem;
use crate::ids::Name;

/// The most rows in one page of the journal, and how many there are where the caller does not say.
pub const MAX_JOURNAL_ROWS: u32 = 1_000;
const DEFAULT_JOURNAL_ROWS: u32 = 100;

/// The rows of the journal after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalQuery {
    /// The last entry that the caller has.
    pub after: u64,
    /// The most rows to return: 1 to [`MAX_JOURNAL_ROWS`].
    pub limit: u32,
}

/// Drops entries that the caller has exported.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveRequest {
    /// The last entry to drop: the last one of a row of the journal.
    pub through: u64,
    /// The hash of that row, which only who has it all can tell.
    pub head: String,
    /// The last entry whose reservation or record is not even remembered as archived.
    #[serde(default)]
    pub forget_through: Option<u64>,
}

/// Sets right what an audit found to differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepairRequest {
    /// Who asks, for the entry that says so.
    pub by: Name,
}

/// Reads the query of a page of the journal from its pairs.
///
/// # Errors
/// The parameter that is wrong.
pub fn parse_journal_query<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<JournalQuery, Problem> {
    let [after, limit] = parameters(pairs, ["after", "limit"])?;
    let limit = page_limit(number("limit", limit)?, DEFAULT_JOURNAL_ROWS, MAX_JOURNAL_ROWS)?;
    Ok(JournalQuery { after: number("after", after)?.unwrap_or(0), limit })
}

/// Reads an order to archive.
///
/// # Errors
/// The field that is wrong.
pub fn parse_archive(json: &str) -> Result<ArchiveRequest, Problem> {
    let order: ArchiveRequest = json::read(json)?;
    whole("through", order.through)?;
    whole("forgetThrough", order.forget_through.unwrap_or(0))?;
    Ok(order)
}

/// Reads an order to repair.
///
/// # Errors
/// The field that is wrong.
pub fn parse_repair(json: &str) -> Result<RepairRequest, Problem> {
    json::read(json)
}
