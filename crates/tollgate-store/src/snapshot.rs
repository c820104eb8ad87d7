//! Stored states, cut into rows that fit: the snapshot to start from, and the base that the audit starts from.

use tollgate_core::ledger::{Ledger, Snapshot};

use crate::journal::{self, signed, unsigned};
use crate::sql::{Param, Row, Sql, StoreError};

/// A row holds 2 MB in a Durable Object.
const MAX_PART_BYTES: usize = 1_000_000;

/// The state to start from.
pub(crate) const SNAPSHOT: &str = "snapshot";
/// The state that archived entries led to.
pub(crate) const BASE: &str = "base";

/// A state and where in the journal it stands.
pub(crate) struct StoredState {
    pub(crate) ledger: Ledger,
    pub(crate) last_entry: u64,
    pub(crate) hash: String,
    /// The state as it is stored.
    pub(crate) text: String,
}

/// Replaces the state in a table, and returns it as it is stored.
pub(crate) fn write(sql: &impl Sql, table: &str, ledger: &Ledger, hash: &str) -> Result<String, StoreError> {
    let state = tollgate_json::to_string(&ledger.snapshot()).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let last_entry = signed(ledger.last_seq());
    let insert = format!("INSERT OR REPLACE INTO {table} (part, last_entry, hash, state) VALUES (?1, ?2, ?3, ?4)");
    let mut rest = state.as_str();
    let mut part = 0;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(boundary(rest));
        sql.query(&insert, &[Param::Integer(part), Param::Integer(last_entry), Param::Text(hash), Param::Text(head)])?;
        rest = tail;
        part += 1;
    }
    sql.query(&format!("DELETE FROM {table} WHERE part >= ?1"), &[Param::Integer(part)])?;
    Ok(state)
}

/// The state in a table, if there is one.
pub(crate) fn read(sql: &impl Sql, table: &'static str) -> Result<Option<StoredState>, StoreError> {
    let rows = sql.query(&format!("SELECT last_entry, hash, state FROM {table} ORDER BY part"), &[])?;
    let mut state = String::new();
    let mut stands = None;
    for row in &rows {
        let mut row = Row::new(row, table);
        let at = (unsigned(row.integer()?), row.text()?.to_owned());
        if stands.get_or_insert_with(|| at.clone()) != &at {
            return Err(StoreError::Damaged(format!("{table}: its parts are of different states")));
        }
        state.push_str(row.text()?);
    }
    let Some((last_entry, hash)) = stands else {
        return Ok(None);
    };
    let snapshot: Snapshot = journal::parse(&state, table)?;
    let ledger = Ledger::restore(snapshot);
    if ledger.last_seq() != last_entry {
        return Err(StoreError::Damaged(format!("{table}: it is not of the entry it names")));
    }
    Ok(Some(StoredState { ledger, last_entry, hash, text: state }))
}

/// The largest cut that is within the limit and between characters.
fn boundary(text: &str) -> usize {
    if text.len() <= MAX_PART_BYTES {
        return text.len();
    }
    (1..=MAX_PART_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}
