//! The stored snapshot: one state, cut into rows that fit.

use tollgate_core::ledger::{Ledger, Snapshot};

use crate::journal::{self, signed, unsigned};
use crate::sql::{Param, Row, Sql, StoreError};

/// A row holds 2 MB in a Durable Object.
const MAX_PART_BYTES: usize = 1_000_000;

/// A state and where in the journal it stands.
pub(crate) struct Stored {
    pub(crate) ledger: Ledger,
    pub(crate) last_entry: u64,
    pub(crate) hash: String,
}

/// Replaces the stored snapshot.
pub(crate) fn write(sql: &impl Sql, ledger: &Ledger, hash: &str) -> Result<(), StoreError> {
    let state = serde_json::to_string(&ledger.snapshot()).map_err(|error| StoreError::Damaged(error.to_string()))?;
    let last_entry = signed(ledger.last_seq());
    let mut rest = state.as_str();
    let mut part = 0;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(boundary(rest));
        sql.query(
            "INSERT OR REPLACE INTO snapshot (part, last_entry, hash, state) VALUES (?1, ?2, ?3, ?4)",
            &[Param::Integer(part), Param::Integer(last_entry), Param::Text(hash), Param::Text(head)],
        )?;
        rest = tail;
        part += 1;
    }
    sql.query("DELETE FROM snapshot WHERE part >= ?1", &[Param::Integer(part)])?;
    Ok(())
}

/// The stored snapshot, if there is one.
pub(crate) fn read(sql: &impl Sql) -> Result<Option<Stored>, StoreError> {
    let rows = sql.query("SELECT last_entry, hash, state FROM snapshot ORDER BY part", &[])?;
    let mut state = String::new();
    let mut stands = None;
    for row in &rows {
        let mut row = Row::new(row, "snapshot");
        let at = (unsigned(row.integer()?), row.text()?.to_owned());
        if stands.get_or_insert_with(|| at.clone()) != &at {
            return Err(StoreError::Damaged("snapshot: its parts are of different states".to_owned()));
        }
        state.push_str(row.text()?);
    }
    let Some((last_entry, hash)) = stands else {
        return Ok(None);
    };
    let snapshot: Snapshot = journal::parse(&state, "snapshot")?;
    Ok(Some(Stored { ledger: Ledger::restore(snapshot), last_entry, hash }))
}

/// The largest cut that is within the limit and between characters.
fn boundary(text: &str) -> usize {
    if text.len() <= MAX_PART_BYTES {
        return text.len();
    }
    (1..=MAX_PART_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}
