//! The audit: folds the whole journal again and compares the result with what is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{Difference, End, Entry, Event, Ledger, MAX_DIFFERENCES, Reservation};
use tollgate_core::usage_report::{self, UsageKey, UsageTotals};

use crate::archive;
use crate::closed::{self, Stored};
use crate::journal;
use crate::snapshot::StoredState;
use crate::sql::{Sql, StoreError};
use crate::usage::{self, BASE_USAGE, USAGE};

/// How many reservations whose end was corrected later are folded to their last correction. Of more than that, what the corrections changed is not compared: all of them at once
/// would not fit into an object's memory.
const MAX_CORRECTED: usize = 10_000;

/// What an audit found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// Whether nothing differs.
    pub clean: bool,
    /// How many entries there have been.
    pub entries: u64,
    /// The last entry that is archived: it and those before were not folded again, but the state that is kept in their place. 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub archived_through: u64,
    /// The hash of the journal's last row; together with the number of entries it stands for the whole history.
    pub head: String,
    /// Whether the journal itself was changed, or a part of it is missing: then there is nothing to repair from.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub damaged: bool,
    /// What differs, 100 at most.
    pub differences: Vec<DifferenceBody>,
}

/// One thing that differs.
#[derive(Debug, Serialize)]
pub struct DifferenceBody {
    pub(crate) place: String,
    pub(crate) kept: Value,
    pub(crate) refolded: Value,
}

/// The most bytes of a value that a difference shows: with as many differences as there may be, the report is as long as an answer may be.
const MAX_SHOWN_BYTES: usize = 4_000;

/// What is kept, besides the journal.
pub(crate) struct Kept<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) head: &'a str,
    pub(crate) pending: &'a BTreeMap<UsageKey, UsageTotals>,
}

/// An audit with all that it folded.
pub(crate) struct Audit {
    pub(crate) report: AuditReport,
    /// What the journal leads to.
    pub(crate) ledger: Ledger,
    /// The roll-up that it leads to.
    pub(crate) usage: BTreeMap<UsageKey, UsageTotals>,
    /// Reservations that had ended before the base and were changed after it: their rows cannot be made from the journal.
    pub(crate) changed_since_base: BTreeSet<ReservationId>,
}

/// Folds the journal of a database, from the base on, and compares.
pub(crate) fn audit(sql: &impl Sql, kept: &Kept<'_>) -> Result<Audit, StoreError> {
    let base = archive::base(sql)?;
    let archived_through = base.last_entry;
    let mut fold = Fold::new(&base, usage::cells(sql, BASE_USAGE)?);
    let mut head = base.hash.clone();
    fold.ledger = base.ledger;
    loop {
        let rows = journal::read_texts(sql, fold.last_row, 64)?;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            let hash = journal::hash(&head, &row.text);
            if hash != row.hash {
                fold.damaged(format!("journal row {}: hash", row.last_entry), json!(row.hash), json!(hash));
            }
            // What follows is chained to what is stored, so that one changed row shows as one.
            head = row.hash;
            let entries: Vec<Entry> = journal::parse(&row.text, &format!("journal row {}", row.last_entry))?;
            fold.add(sql, &entries)?;
            fold.last_row = row.last_entry;
        }
    }
    if head != kept.head {
        fold.damaged("head".to_owned(), json!(kept.head), json!(head));
    }
    fold.compare_base();
    fold.compare_corrected(sql)?;
    fold.compare_changed(sql)?;
    let closed = closed::count(sql)?;
    if closed != fold.closed {
        fold.differs("closed reservations".to_owned(), json!(closed), json!(fold.closed));
    }
    let mut stored = usage::cells(sql, USAGE)?;
    for (key, totals) in kept.pending {
        stored.entry(key.clone()).or_default().add(totals);
    }
    fold.compare_usage(&stored);
    for Difference { place, kept, refolded } in kept.ledger.differences(&fold.ledger) {
        fold.differs(place, kept, refolded);
    }
    let report = AuditReport {
        clean: fold.differences.is_empty(),
        entries: fold.ledger.last_seq(),
        archived_through,
        head,
        damaged: fold.damaged,
        differences: fold.differences,
    };
    Ok(Audit { report, ledger: fold.ledger, usage: fold.usage, changed_since_base: fold.changed_since_base })
}

struct Fold {
    ledger: Ledger,
    usage: BTreeMap<UsageKey, UsageTotals>,
    /// How many ended reservations must have a row in full.
    closed: u64,
    /// Those among them that had ended before the base.
    changed_since_base: BTreeSet<ReservationId>,
    /// Those that had another end in the fold than they have by now, because it was corrected: they are compared when all is folded.
    corrected: BTreeSet<ReservationId>,
    last_row: u64,
    /// The last archived entry, the hash of its row, and the hash of the state, as the base has them.
    base: (u64, String, String),
    /// The same, as the journal says.
    told_base: (u64, String, String),
    damaged: bool,
    differences: Vec<DifferenceBody>,
}

impl Fold {
    fn new(base: &StoredState, usage: BTreeMap<UsageKey, UsageTotals>) -> Self {
        let state = if base.text.is_empty() { String::new() } else { journal::digest(&[&base.text]) };
        Self {
            ledger: Ledger::new(),
            usage,
            closed: 0,
            changed_since_base: BTreeSet::new(),
            corrected: BTreeSet::new(),
            last_row: base.last_entry,
            base: (base.last_entry, base.hash.clone(), state),
            told_base: (0, journal::GENESIS.to_owned(), String::new()),
            damaged: false,
            differences: Vec::new(),
        }
    }

    fn add(&mut self, sql: &impl Sql, entries: &[Entry]) -> Result<(), StoreError> {
        let mut ended = Vec::new();
        for entry in entries {
            let expected = self.ledger.last_seq() + 1;
            if entry.seq != expected {
                self.damaged("entry number".to_owned(), json!(entry.seq), json!(expected));
            }
            self.ledger.evolve(entry);
            if let Some((key, totals)) = usage_report::contribution(entry) {
                self.usage.entry(key).or_default().add(&totals);
            }
            match &entry.event {
                Event::Archived { through, head, state } => {
                    self.told_base = (*through, head.clone(), state.clone());
                }
                Event::SettledLate { charged, .. }
                | Event::Adjusted { charged, .. }
                | Event::Refunded { charged, .. } => {
                    let ended_by = charged.replaces.map(|old| old.seq);
                    self.changed(&charged.id, ended_by);
                    let is_folded = ended_by.is_some_and(|seq| seq > self.base.0);
                    // One whose row is not corrected was let go of, since it is as it was before this entry.
                    if is_folded
                        && self.ledger.reservation(&charged.id).is_none()
                        && self.corrected.len() < MAX_CORRECTED
                    {
                        self.differs(
                            format!("closed.{}", charged.id),
                            json!("before"),
                            json!({ "correctedBy": entry.seq }),
                        );
                    }
                }
                _ => {}
            }
            if let Some(id) = entry.ends() {
                self.closed += 1;
                ended.push((id.clone(), entry.seq));
            }
        }
        self.compare_closed(sql, &ended)
    }

    /// An end that was made by an earlier entry is changed.
    fn changed(&mut self, id: &ReservationId, ended_by: Option<u64>) {
        if ended_by.is_some_and(|seq| seq <= self.base.0) && self.changed_since_base.insert(id.clone()) {
            self.closed += 1;
        }
    }

    /// Compares the rows of reservations that have just ended in the fold, and lets go of them, but for those that later entries correct.
    fn compare_closed(&mut self, sql: &impl Sql, ended: &[(ReservationId, u64)]) -> Result<(), StoreError> {
        if ended.is_empty() {
            return Ok(());
        }
        let ids: BTreeSet<&ReservationId> = ended.iter().map(|(id, _)| id).collect();
        let mut stored = closed::read(sql, &ids)?;
        for (id, seq) in ended {
            let Some(mut refolded) = self.ledger.forget(id) else { continue };
            let opened_by = refolded.opened_by.take();
            let changed_later = |end: &End| end.is_corrected() && end.seq == *seq;
            let kept = match stored.remove(id) {
                Some(Stored::Told { opened_by: kept, ended_by }) => {
                    if (Some(kept), ended_by) != (opened_by, *seq) {
                        self.differs(format!("closed.{id}"), json!([kept, ended_by]), json!([opened_by, seq]));
                    }
                    continue;
                }
                Some(Stored::Whole(kept)) if is_same(&kept, &refolded) => continue,
                Some(Stored::Whole(mut kept)) => {
                    if kept.end.as_ref().is_some_and(changed_later) {
                        if self.corrected.len() < MAX_CORRECTED {
                            self.corrected.insert(id.clone());
                            self.ledger.recall(refolded);
                            continue;
                        }
                        kept.end = None;
                        refolded.end = None;
                        // With it, what it draws on credits changed, and what resets had dropped by then was noted.
                        refolded.drawn.clone_from(&kept.drawn);
                        refolded.counted_on = kept.counted_on.clone();
                    }
                    Some(*kept)
                }
                Some(Stored::Archived | Stored::Damaged(_) | Stored::Unread) | None => None,
            };
            if kept.as_ref() != Some(&refolded) {
                self.differs(format!("closed.{id}"), json!(kept), json!(refolded));
            }
        }
        Ok(())
    }

    /// Compares the rows of those that were corrected after their end.
    fn compare_corrected(&mut self, sql: &impl Sql) -> Result<(), StoreError> {
        let corrected = core::mem::take(&mut self.corrected);
        let corrected: Vec<&ReservationId> = corrected.iter().collect();
        for ids in corrected.chunks(500) {
            let mut stored = closed::read(sql, &ids.iter().copied().collect())?;
            for id in ids {
                let Some(mut refolded) = self.ledger.forget(id) else { continue };
                refolded.opened_by = None;
                let kept = match stored.remove(*id) {
                    Some(Stored::Whole(kept)) => Some(*kept),
                    Some(Stored::Told { .. } | Stored::Archived | Stored::Damaged(_) | Stored::Unread) | None => None,
                };
                if !kept.as_ref().is_some_and(|kept| is_same(kept, &refolded)) {
                    self.differs(format!("closed.{id}"), json!(kept), json!(refolded));
                }
            }
        }
        Ok(())
    }

    /// Sees to it that what had ended before the base and was changed after it is there.
    fn compare_changed(&mut self, sql: &impl Sql) -> Result<(), StoreError> {
        let changed = core::mem::take(&mut self.changed_since_base);
        let stored = closed::read(sql, &changed.iter().collect())?;
        let is_whole = |stored: &Stored| matches!(stored, Stored::Whole(_));
        let whole: BTreeSet<_> = stored.into_iter().filter(|(_, stored)| is_whole(stored)).map(|(id, _)| id).collect();
        for id in changed.difference(&whole) {
            self.damaged(format!("closed.{id}"), Value::Null, json!({ "late": true }));
        }
        self.changed_since_base = changed;
        Ok(())
    }

    fn compare_base(&mut self) {
        if self.base != self.told_base {
            self.damaged("base".to_owned(), json!(self.base), json!(self.told_base));
        }
    }

    fn compare_usage(&mut self, stored: &BTreeMap<UsageKey, UsageTotals>) {
        let refolded = &self.usage;
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
            self.differences.push(DifferenceBody { place, kept: shown(kept), refolded: shown(refolded) });
        }
    }

    /// The journal itself differs.
    fn damaged(&mut self, place: String, kept: Value, refolded: Value) {
        self.damaged = true;
        self.differs(place, kept, refolded);
    }
}

/// A value as a difference shows it: of one that is too long, the beginning of its text.
fn shown(value: Value) -> Value {
    let text = value.to_string();
    if text.len() <= MAX_SHOWN_BYTES {
        return value;
    }
    // As a text in a text, every quotation mark takes another byte.
    let end = (0..=MAX_SHOWN_BYTES / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Value::String(format!("{}…", text.get(..end).unwrap_or_default()))
}

/// Whether a row is what a reservation is refolded to. Which entry corrected its end last was not written down in older versions.
fn is_same(kept: &Reservation, refolded: &Reservation) -> bool {
    let is_told = kept.end.as_ref().is_none_or(|end| end.changed.is_some());
    if is_told {
        return kept == refolded;
    }
    let mut refolded = refolded.clone();
    if let Some(end) = &mut refolded.end {
        end.changed = None;
    }
    *kept == refolded
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference, which WebAssembly has smaller than the number"
)]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}
