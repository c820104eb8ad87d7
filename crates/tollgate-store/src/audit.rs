//! The audit: folds the whole journal again and compares the result with what is kept.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use tollgate_core::ledger::{Difference, Entry, Ledger, MAX_DIFFERENCES};
use tollgate_core::usage_report::{self, UsageKey, UsageTotals};

use crate::journal;
use crate::sql::{Row, Sql, StoreError};
use crate::usage;

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct AuditReport {
    /// Whether nothing differs.
    pub clean: bool,
    /// How many entries were folded.
    pub entries: u64,
    /// The hash of the journal's last row; together with the number of entries it stands for the whole history.
    pub head: String,
    /// What differs, 100 at most.
    pub differences: Vec<DifferenceBody>,
}

/// One thing that differs.
#[derive(Debug, Serialize)]
pub struct DifferenceBody {
    place: String,
    kept: Value,
    refolded: Value,
}

/// What is kept, besides the journal.
pub(crate) struct Kept<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) head: &'a str,
    pub(crate) pending: &'a BTreeMap<UsageKey, UsageTotals>,
}

/// Folds the journal of a database and compares.
pub(crate) fn audit(sql: &impl Sql, kept: &Kept<'_>) -> Result<AuditReport, StoreError> {
    let mut fold = Fold::default();
    let mut head = journal::GENESIS.to_owned();
    loop {
        let rows = journal::read_texts(sql, fold.last_row, 64)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let hash = journal::hash(&head, &row.text);
            if hash != row.hash {
                fold.differs(format!("journal row {}: hash", row.last_entry), json!(row.hash), json!(hash));
            }
            // What follows is chained to what is stored, so that one changed row shows as one.
            head = row.hash;
            for entry in journal::parse::<Vec<Entry>>(&row.text, &format!("journal row {}", row.last_entry))? {
                fold.add(&entry);
            }
            fold.last_row = row.last_entry;
        }
    }
    if head != kept.head {
        fold.differs("head".to_owned(), json!(kept.head), json!(head));
    }
    let closed = count_closed(sql)?;
    if closed != fold.ended {
        fold.differs("closed reservations".to_owned(), json!(closed), json!(fold.ended));
    }
    fold.compare_usage(usage::cells(sql, kept.pending)?);
    for Difference { place, kept, refolded } in kept.ledger.differences(&fold.ledger) {
        fold.differs(place, kept, refolded);
    }
    Ok(AuditReport {
        clean: fold.differences.is_empty(),
        entries: fold.ledger.last_seq(),
        head,
        differences: fold.differences,
    })
}

#[derive(Default)]
struct Fold {
    ledger: Ledger,
    usage: BTreeMap<UsageKey, UsageTotals>,
    ended: u64,
    last_row: u64,
    differences: Vec<DifferenceBody>,
}

impl Fold {
    fn add(&mut self, entry: &Entry) {
        let expected = self.ledger.last_seq() + 1;
        if entry.seq != expected {
            self.differs("entry number".to_owned(), json!(entry.seq), json!(expected));
        }
        self.ledger.evolve(entry);
        if let Some((key, totals)) = usage_report::contribution(entry) {
            self.usage.entry(key).or_default().add(&totals);
        }
        if let Some(id) = entry.ends() {
            self.ended += 1;
            self.ledger.forget(id);
        }
    }

    fn compare_usage(&mut self, stored: BTreeMap<UsageKey, UsageTotals>) {
        let refolded = core::mem::take(&mut self.usage);
        let keys = stored.keys().chain(refolded.keys().filter(|key| !stored.contains_key(*key)));
        let places: Vec<_> = keys
            .filter(|key| stored.get(*key) != refolded.get(*key))
            .map(|key| {
                let shown = |totals: Option<&UsageTotals>| totals.map_or(Value::Null, |totals| json!(totals.usd));
                (format!("usage {key:?}"), shown(stored.get(key)), shown(refolded.get(key)))
            })
            .collect();
        for (place, kept, refolded) in places {
            self.differs(place, kept, refolded);
        }
    }

    fn differs(&mut self, place: String, kept: Value, refolded: Value) {
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(DifferenceBody { place, kept, refolded });
        }
    }
}

fn count_closed(sql: &impl Sql) -> Result<u64, StoreError> {
    let rows = sql.query("SELECT COUNT(*) FROM closed", &[])?;
    let row = rows.first().ok_or_else(|| StoreError::Damaged("closed: no count".to_owned()))?;
    Ok(journal::unsigned(Row::new(row, "closed").integer()?))
}
