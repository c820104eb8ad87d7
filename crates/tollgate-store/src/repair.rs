//! The repair: what is kept becomes what the journal leads to, and an entry says what differed.

use std::collections::BTreeSet;

use serde::Serialize;
use tollgate_core::api::{Code, Problem, RepairRequest};
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{Entry, Event, Repair};

use crate::archive;
use crate::audit::{AuditReport, DifferenceBody};
use crate::closed;
use crate::journal;
use crate::sql::{Sql, StoreError};

/// What a repair did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairReport {
    /// The entry that tells of it. None where nothing differed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// What differed.
    pub repaired: Vec<DifferenceBody>,
}

/// Whether what an audit found can be set right from the journal.
pub(crate) fn check(report: &AuditReport) -> Result<(), Problem> {
    if report.damaged {
        let first = report.differences.first().map(|found| found.place.as_str()).unwrap_or_default();
        return Err(Problem::new(
            Code::LedgerDamaged,
            format!(
                "the journal itself was changed or is incomplete ({first}): restore it from a backup; nothing was changed"
            ),
        ));
    }
    Ok(())
}

/// The event that tells of a repair.
pub(crate) fn event(order: &RepairRequest, differences: &[DifferenceBody]) -> Event {
    let differences = differences.iter().map(|found| Repair {
        place: found.place.clone(),
        kept: found.kept.to_string(),
        refolded: found.refolded.to_string(),
    });
    Event::Repaired { by: order.by.clone(), differences: differences.collect() }
}

/// Writes the rows of ended reservations anew, all that are not archived. Those that the journal does not tell in full stay, but for what it
/// corrects.
pub(crate) fn rewrite_closed(sql: &impl Sql, changed_since_base: &BTreeSet<ReservationId>) -> Result<(), StoreError> {
    closed::remove_all_but(sql, changed_since_base)?;
    let base = archive::base(sql)?;
    let archived_through = base.last_entry;
    let mut ledger = base.ledger;
    let mut last_row = archived_through;
    loop {
        let rows = journal::read_rows(sql, last_row, 16)?;
        let Some(last) = rows.last() else { return Ok(()) };
        last_row = last.last_entry;
        let entries: Vec<Entry> = rows.into_iter().flat_map(|row| row.entries).collect();
        let changed: BTreeSet<&ReservationId> = entries.iter().filter_map(closed::changed_by).collect();
        // What an entry corrects may have been written, and let go of, before.
        closed::recall(sql, changed.into_iter(), &ledger, usize::MAX)?.put_all_into(&mut ledger)?;
        for entry in &entries {
            ledger.evolve(entry);
        }
        closed::write(sql, &ledger, &entries, archived_through)?;
        ledger.forget_ended();
    }
}
