//! The archive: entries that the administrator has exported are dropped, and the state that they led to, the *base*, is kept in their place.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_core::api::{ArchiveRequest, Code, Problem};
use tollgate_core::ledger::{Entry, Event, Ledger};
use tollgate_core::usage_report::{self, UsageKey, UsageTotals};

use crate::closed::{self, Archiving};
use crate::journal::{self, ChainEnd, signed};
use crate::snapshot::{self, BASE, StoredState};
use crate::sql::{Param, Row, Sql, StoreError};
use crate::usage::{self, BASE_USAGE};

/// The most entries that one step drops, and the most ids that it forgets: it bounds how long the ledger is deaf.
const MAX_STEP: u32 = 10_000;

/// How far the archive has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveReport {
    /// The last entry that is not kept any more.
    pub archived_through: u64,
    /// The hash of the row that ended with it.
    pub head: String,
    /// How many ids this step forgot.
    pub forgotten: u64,
    /// Whether all that was asked for is done; otherwise ask for the same again.
    pub complete: bool,
}

/// What one step has found, before it is written.
pub(crate) struct Step {
    /// The state, and where in the journal it stands.
    pub(crate) base: StoredState,
    usage: BTreeMap<UsageKey, UsageTotals>,
    closed: Archiving,
}

/// The base: what the entries that are not kept any more led to; the empty ledger where all are kept.
pub(crate) fn base(sql: &impl Sql) -> Result<StoredState, StoreError> {
    let empty =
        || StoredState { ledger: Ledger::new(), last_entry: 0, hash: journal::GENESIS.to_owned(), text: String::new() };
    Ok(snapshot::read(sql, BASE)?.unwrap_or_else(empty))
}

/// Where what is not kept any more ends: at the beginning of the chain, where all is kept.
pub(crate) fn end(sql: &impl Sql) -> Result<ChainEnd, StoreError> {
    let rows = sql.query("SELECT last_entry, hash FROM base LIMIT 1", &[])?;
    let Some(row) = rows.first() else {
        return Ok(ChainEnd { through: 0, head: journal::GENESIS.to_owned() });
    };
    let mut row = Row::new(row, "base");
    Ok(ChainEnd { through: journal::unsigned(row.integer()?), head: row.text()?.to_owned() })
}

/// Whether an order can be carried out: it names a row that is there, or the base itself, with its hash.
pub(crate) fn check(
    sql: &impl Sql,
    base: &StoredState,
    order: &ArchiveRequest,
) -> Result<Result<(), Problem>, StoreError> {
    let hash = if order.through == base.last_entry {
        Some(base.hash.clone())
    } else {
        let rows =
            sql.query("SELECT hash FROM journal WHERE last_entry = ?1", &[Param::Integer(signed(order.through))])?;
        rows.first().map(|row| Ok::<_, StoreError>(Row::new(row, "journal").text()?.to_owned())).transpose()?
    };
    Ok(match hash {
        None => Err(Problem::invalid("through", "no row of the journal ends with this entry")),
        Some(hash) if hash != order.head => Err(Problem::invalid("head", "it is not the hash of that row")),
        Some(_) if order.forget_through.is_some_and(|forget| forget > order.through) => {
            Err(Problem::invalid("forgetThrough", "only what is archived can be forgotten"))
        }
        Some(_) => Ok(()),
    })
}

/// Folds what comes after the base, up to an entry or the bound of a step, whichever comes first.
pub(crate) fn fold(sql: &impl Sql, mut base: StoredState, through: u64) -> Result<Result<Step, Problem>, StoreError> {
    let start = base.last_entry;
    let mut usage = BTreeMap::<UsageKey, UsageTotals>::new();
    let mut closed = Archiving::default();
    let is_done = |last: u64| last >= through || last - start >= u64::from(MAX_STEP);
    while !is_done(base.last_entry) {
        let rows = journal::read_texts(sql, base.last_entry, 16)?;
        for row in &rows {
            if is_done(base.last_entry) {
                break;
            }
            if journal::hash(&base.hash, &row.text) != row.hash {
                return Ok(Err(Problem::new(
                    Code::LedgerDamaged,
                    format!("the journal's row that ends with entry {} was changed; see the audit", row.last_entry),
                )));
            }
            let entries: Vec<Entry> = journal::parse(&row.text, &format!("journal row {}", row.last_entry))?;
            for entry in &entries {
                base.ledger.evolve(entry);
                closed.add(entry);
                if let Some((key, totals)) = usage_report::contribution(entry) {
                    usage.entry(key).or_default().add(&totals);
                }
            }
            base.ledger.forget_ended();
            base.last_entry = row.last_entry;
            base.hash.clone_from(&row.hash);
        }
        if rows.is_empty() {
            return Err(StoreError::Damaged(format!("journal: nothing after entry {}", base.last_entry)));
        }
    }
    Ok(Ok(Step { base, usage, closed }))
}

/// Drops what a step has folded. The entry that tells of it must be in the journal already.
pub(crate) fn drop_folded(sql: &impl Sql, step: &Step) -> Result<(), StoreError> {
    sql.query("DELETE FROM journal WHERE last_entry <= ?1", &[Param::Integer(signed(step.base.last_entry))])?;
    Ok(())
}

/// Writes down what a step has led to, and returns the event that tells of it.
pub(crate) fn write(sql: &impl Sql, step: &mut Step) -> Result<Event, StoreError> {
    let Step { base, usage, closed } = step;
    closed.write(sql, &base.ledger)?;
    let state = snapshot::write(sql, BASE, &base.ledger, &base.hash)?;
    usage::add(sql, BASE_USAGE, usage)?;
    Ok(Event::Archived { through: base.last_entry, head: base.hash.clone(), state: journal::digest(&[&state]) })
}

/// Forgets ids as an order says, and tells how far the archive has come.
pub(crate) fn report(sql: &impl Sql, base: &StoredState, order: &ArchiveRequest) -> Result<ArchiveReport, StoreError> {
    let forgotten = match order.forget_through {
        Some(through) => closed::forget(sql, through.min(base.last_entry), MAX_STEP)?,
        None => 0,
    };
    let complete = base.last_entry >= order.through && forgotten < u64::from(MAX_STEP);
    Ok(ArchiveReport { archived_through: base.last_entry, head: base.hash.clone(), forgotten, complete })
}
