//! A clock that was set back: what counts again is folded from the journal, row by row.

use tollgate_core::ledger::Refolding;
use tollgate_core::time::Timestamp;

use crate::archive;
use crate::journal;
use crate::sql::{Sql, StoreError};
use crate::usage::{self, BASE_USAGE};

/// How many rows are in memory at once.
const ROWS: u32 = 8;

/// Folds everything that is kept, with all that counts at an instant, and says how many entries there were. What is archived is taken from its roll-up where the
/// state that it led to does not tell.
pub(crate) fn refold(sql: &impl Sql, to: Timestamp) -> Result<(Refolding, u64), StoreError> {
    let base = archive::base(sql)?;
    let first = base.last_entry;
    let mut last = first;
    let mut refolding = Refolding::new(base.ledger, to);
    if let Some((from, until)) = refolding.missing() {
        let cells = usage::cells_between(sql, BASE_USAGE, from, until)?;
        refolding.add_usage(cells.iter());
    }
    loop {
        let rows = journal::read_rows(sql, last, ROWS)?;
        let Some(end) = rows.last() else { return Ok((refolding, last - first)) };
        last = end.last_entry;
        for row in &rows {
            row.entries.iter().for_each(|entry| refolding.fold(entry));
        }
        refolding.forget_ended();
    }
}
