//! A clock that was set back: what counts again is folded from the journal, row by row.

use std::collections::BTreeMap;

use tollgate_core::ledger::{Ledger, Refolding};
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::{UsageKey, UsageTotals};

use crate::archive;
use crate::journal;
use crate::sql::{Sql, StoreError};
use crate::usage::{self, BASE_USAGE, USAGE};

/// How many rows are in memory at once.
const ROWS: u32 = 8;
/// The most entries that are folded in a turn. An object may compute for 30 seconds; what a longer journal says is taken from its roll-up.
pub(crate) const MAX_FOLDED: u64 = 500_000;

/// What is kept, besides the journal.
pub(crate) struct Kept<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) pending: &'a BTreeMap<UsageKey, UsageTotals>,
}

/// Folds everything that is kept, with all that counts at an instant, and says how many entries there were. What is archived is taken from its roll-up where the
/// state that it led to does not tell.
pub(crate) fn refold(
    sql: &impl Sql,
    to: Timestamp,
    kept: &Kept<'_>,
    most: u64,
) -> Result<(Refolding, u64), StoreError> {
    let base = archive::base(sql)?;
    let first = base.last_entry;
    if kept.ledger.last_seq() - first > most {
        return Ok((by_roll_up(sql, to, kept)?, 0));
    }
    let mut refolding = Refolding::new(base.ledger, to);
    if let Some((from, until)) = refolding.missing() {
        let cells = usage::cells_between(sql, BASE_USAGE, from, until)?;
        refolding.add_usage(cells.iter());
    }
    let mut last = first;
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

/// The state as it is, and what the roll-up of all entries says of what it has let go of.
fn by_roll_up(sql: &impl Sql, to: Timestamp, kept: &Kept<'_>) -> Result<Refolding, StoreError> {
    let mut refolding = Refolding::new(Ledger::restore(kept.ledger.snapshot()), to);
    if let Some((from, until)) = refolding.missing() {
        let mut cells = usage::cells_between(sql, USAGE, from, until)?;
        for (key, totals) in kept.pending {
            cells.entry(key.clone()).or_default().add(totals);
        }
        refolding.add_usage(cells.iter());
    }
    Ok(refolding)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use serde_json::json;
    use tollgate_core::api::{self, Request};
    use tollgate_core::catalog::Catalog;
    use tollgate_core::ids::QuotaId;
    use tollgate_core::ledger::{Command, Onboard};

    use super::*;
    use crate::{Sqlite, TenantStore};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_journal_that_is_too_long_is_known_by_its_roll_up() {
        let catalog = Catalog::builtin().unwrap();
        let path = std::env::temp_dir().join(format!("tollgate-set-back-{}.sqlite", std::process::id()));
        let _none_yet = std::fs::remove_file(&path);
        let mut store = TenantStore::open(Sqlite::open(&path).unwrap()).unwrap().with_snapshot_every(4);
        let quota = |unit: &str, period: serde_json::Value| json!({ "scope": "tenant", "resource": "all", "unit": unit, "limit": "100", "period": period });
        let plan = json!({ "quotas": {
            "usd": quota("usd", json!("month")), "calls": quota("requests", json!("month")), "seconds": quota("seconds", json!("month")),
            "burst": quota("usd", json!({ "rolling": 3600 })), "ever": quota("usd", json!("lifetime")),
            "models": json!({ "scope": "tenant", "resource": "all", "unit": "usd", "limit": "100", "period": "month",
                "filter": { "provider": "openai", "model": "gpt-4o" } }),
        } });
        let onboard = Onboard {
            tenant: "acme".parse().unwrap(),
            plan_name: "default".parse().unwrap(),
            plan: serde_json::from_value(plan).unwrap(),
            policy_version: 1,
        };
        let november = at("2026-11-24T12:00:00Z");
        store.execute(catalog, november, &[Request::Command(Command::Onboard(onboard))]).unwrap();
        let mut record = |now: Timestamp, id: String, model: &str| {
            let command = json!({ "op": "record", "id": id, "resource": "llm", "provider": "openai", "model": model, "usd": "1.5" });
            let request = api::parse_command(&command.to_string()).unwrap();
            let answers = store.execute(catalog, now, &[request]).unwrap();
            assert_eq!(answers[0].status, 201, "{}", answers[0].body);
        };
        for number in 0..7 {
            record(november, format!("n-{number}"), if number < 2 { "gpt-4o" } else { "gpt-4o-mini" });
        }
        record(at("2030-05-10T00:00:00Z"), "w".to_owned(), "gpt-4o");
        drop(store);
        let file = Sqlite::open(&path).unwrap();
        let to = at("2026-11-24T12:30:00Z");
        let spent = |most: u64| {
            // What is in memory is what is stored, and the roll-up of what is not in the snapshot yet.
            let mut ledger = Ledger::new();
            let mut pending = BTreeMap::new();
            let snapshot = crate::snapshot::read(&file, crate::snapshot::SNAPSHOT).unwrap().unwrap();
            for row in journal::read_rows(&file, 0, 100).unwrap() {
                for entry in &row.entries {
                    ledger.evolve(entry);
                    if let Some((key, totals)) = tollgate_core::usage_report::contribution(entry)
                        && entry.seq > snapshot.last_entry
                    {
                        pending.entry(key).or_insert_with(UsageTotals::default).add(&totals);
                    }
                }
            }
            ledger.forget_ended();
            let (refolding, folded) = refold(&file, to, &Kept { ledger: &ledger, pending: &pending }, most).unwrap();
            assert_eq!(folded > 0, most > 5);
            ledger.set_back(to, Some(refolding), &mut Vec::new());
            ["usd", "calls", "seconds", "burst", "ever", "models"].map(|id| {
                let id: QuotaId = id.parse().unwrap();
                ledger.quota(&id, to).unwrap().spent.to_string()
            })
        };
        assert_eq!(spent(MAX_FOLDED), ["10.5", "7", "0", "12", "12", "3"]);
        // It has no seconds, so that all of them count as used.
        assert_eq!(spent(5), ["10.5", "7", "100", "12", "12", "3"]);
        drop(file);
        std::fs::remove_file(&path).unwrap();
    }
}
