//! Re-rates the charges that a page of the journal made, and posts what makes up the differences.

use std::collections::BTreeSet;

use tollgate_core::api::{RerateReport, RerateRequest};
use tollgate_core::catalog::Catalog;
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{Command, Entry, Event, Ledger, Outcome, RerateBy, Rerated};
use tollgate_core::time::Timestamp;

use crate::closed;
use crate::journal;
use crate::sql::{Sql, StoreError};

/// A page of it. The entries that are posted are appended to `posted`, and are yet to be stored.
pub(crate) fn page(
    sql: &impl Sql,
    ledger: &mut Ledger,
    catalog: &Catalog,
    now: Timestamp,
    request: &RerateRequest,
    by: &RerateBy,
    posted: &mut Vec<Entry>,
) -> Result<RerateReport, StoreError> {
    let mut page = Vec::new();
    journal::read(sql, request.after, request.limit, |entry| {
        page.push(entry);
        page.len() < request.limit
    })?;
    let mut report = RerateReport {
        catalog: catalog.version().to_string(),
        lines: Vec::new(),
        totals: request.totals,
        posted: 0,
        next: page.last().filter(|_| page.len() >= request.limit).map(|entry| entry.seq),
        bytes: 0,
    };
    let charges: Vec<&Entry> = page
        .iter()
        .filter(|entry| {
            entry
                .charge()
                .is_some_and(|charged| request.from <= charged.reserved_at && charged.reserved_at < request.to)
        })
        .collect();
    let ids: BTreeSet<&ReservationId> =
        charges.iter().filter_map(|entry| entry.charge()).map(|charged| &charged.id).collect();
    closed::recall(sql, ids.iter().copied(), ledger, usize::MAX)?.put_all_into(ledger)?;
    for (at, entry) in charges.iter().enumerate() {
        if report.is_full() {
            // The next page begins with this charge.
            report.next = charges.get(at.saturating_sub(1)).map(|last| last.seq);
            break;
        }
        let Some(mut line) = line(ledger, catalog, entry, by) else { continue };
        if let Some(order) = request.post.as_ref().and_then(|id| line.adjustment(id)) {
            match ledger.execute(catalog, now, &Command::Adjust(order), posted) {
                Ok(Outcome::Adjusted { replayed: true, .. }) => line.leave("adjusted before under this id"),
                Ok(_) => report.posted = report.posted.saturating_add(1),
                Err(rejection) => line.leave(&rejection.to_string()),
            }
        }
        report.add(line);
    }
    let adjusted: BTreeSet<&ReservationId> = posted.iter().filter_map(closed::changed_by).collect();
    for id in ids {
        // What was adjusted stays until it is stored.
        if !adjusted.contains(id) {
            ledger.forget(id);
        }
    }
    Ok(report)
}

fn line(ledger: &Ledger, catalog: &Catalog, entry: &Entry, by: &RerateBy) -> Option<Rerated> {
    let reservation = ledger.reservation(&entry.charge()?.id)?;
    // A charge is looked at once: where its actual came late, at the entry that has it.
    let superseded = matches!(entry.event, Event::Expired(_)) && reservation.end.as_ref().is_some_and(|end| end.late);
    if superseded { None } else { ledger.rerate(catalog, reservation, by) }
}
