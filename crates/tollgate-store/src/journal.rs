//! The journal: one row per commit, each hashed together with the one before, so that a changed or missing row shows.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tollgate_core::api::JournalQuery;
use tollgate_core::fault::{self, Fault};
use tollgate_core::ledger::Entry;

use crate::sql::{Param, Row, Sql, StoreError};

/// A row holds 2 MB in a Durable Object; a commit with more is written in several rows.
const MAX_ROW_BYTES: usize = 1_000_000;
/// A page of the journal ends with the row that passes this.
const MAX_PAGE_BYTES: usize = 4_000_000;
/// The hash before the first row.
pub(crate) const GENESIS: &str = "sha256:genesis";

/// Appends a commit's entries and returns the hash of the last row.
pub(crate) fn append(sql: &impl Sql, head: &str, entries: &[Entry]) -> Result<String, StoreError> {
    let mut head = head.to_owned();
    let mut row = String::new();
    let mut last_entry = 0;
    for entry in entries {
        let text = tollgate_json::to_string(entry).map_err(|error| StoreError::Damaged(error.to_string()))?;
        if !row.is_empty() && row.len() + text.len() + 2 > MAX_ROW_BYTES {
            head = write(sql, &head, last_entry, &mut row)?;
        }
        row.push(if row.is_empty() { '[' } else { ',' });
        row.push_str(&text);
        last_entry = entry.seq;
    }
    if entries.len() == 1 && fault::on(Fault::JournalRowIsDropped) {
        return Ok(head);
    }
    if row.is_empty() { Ok(head) } else { write(sql, &head, last_entry, &mut row) }
}

/// The hash of the last row, where there is one.
pub(crate) fn head(sql: &impl Sql) -> Result<Option<String>, StoreError> {
    let rows = sql.query("SELECT hash FROM journal ORDER BY last_entry DESC LIMIT 1", &[])?;
    rows.first().map(|row| Ok(Row::new(row, "journal").text()?.to_owned())).transpose()
}

/// The entries after a number, in order, `limit` at most.
pub(crate) fn read(sql: &impl Sql, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut last = after;
    while entries.len() < limit {
        let rows = read_rows(sql, last, 16)?;
        let Some(end) = rows.last().map(|row| row.last_entry) else {
            break;
        };
        last = end;
        entries.extend(rows.into_iter().flat_map(|row| row.entries).filter(|entry| entry.seq > after));
    }
    entries.truncate(limit);
    Ok(entries)
}

/// Rows of the journal as they are stored.
#[derive(Debug, Serialize)]
pub struct JournalPage {
    /// What the first row that is kept is chained to.
    pub base: ChainEnd,
    /// In order.
    pub rows: Vec<StoredRow>,
    /// What to ask for next: rows after this entry. None where these are the last.
    pub next: Option<u64>,
}

/// Where a part of the chain ends.
#[derive(Debug, Serialize)]
pub struct ChainEnd {
    /// The last entry; 0 before the first.
    pub through: u64,
    /// The hash of its row.
    pub head: String,
}

/// One row of the journal as it is stored: one commit.
#[derive(Debug, Serialize)]
pub struct StoredRow {
    /// Its last entry.
    pub through: u64,
    /// Its hash: the SHA-256 of the hash of the row before, a line feed, and `entries`.
    pub head: String,
    /// The JSON text of its entries, as it was hashed.
    pub entries: String,
}

/// The rows that end after an entry.
pub(crate) fn page(sql: &impl Sql, query: JournalQuery, base: ChainEnd) -> Result<JournalPage, StoreError> {
    let mut rows = Vec::new();
    let mut after = query.after;
    let mut bytes = 0;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    while rows.len() < limit && bytes < MAX_PAGE_BYTES {
        let Some(row) = read_texts(sql, after, 1)?.pop() else {
            return Ok(JournalPage { base, rows, next: None });
        };
        after = row.last_entry;
        bytes += row.text.len();
        rows.push(StoredRow { through: row.last_entry, head: row.hash, entries: row.text });
    }
    Ok(JournalPage { base, rows, next: Some(after) })
}

/// One entry.
pub(crate) fn entry(sql: &impl Sql, seq: u64) -> Result<Entry, StoreError> {
    let missing = || StoreError::Damaged(format!("journal: entry {seq} is not there"));
    let row = read_texts(sql, seq.saturating_sub(1), 1)?.pop().ok_or_else(missing)?;
    // Quotation marks inside of texts are escaped, and what is nested follows a colon: this is where an entry begins.
    let start =
        [format!("[{{\"seq\":{seq},"), format!(",{{\"seq\":{seq},")].iter().find_map(|start| row.text.find(start));
    let text = start.and_then(|at| row.text.get(at + 1..)).ok_or_else(missing)?;
    let mut entries = serde_json::Deserializer::from_str(text).into_iter();
    match entries.next() {
        Some(Ok(entry)) => Ok(entry),
        Some(Err(error)) => Err(StoreError::Damaged(format!("journal entry {seq}: {error}"))),
        None => Err(missing()),
    }
}

/// A row of the journal.
pub(crate) struct JournalRow {
    pub(crate) last_entry: u64,
    pub(crate) hash: String,
    pub(crate) entries: Vec<Entry>,
}

/// A row of the journal as it is stored.
pub(crate) struct JournalText {
    pub(crate) last_entry: u64,
    pub(crate) hash: String,
    pub(crate) text: String,
}

/// The rows that end after an entry, in order, `limit` at most.
pub(crate) fn read_rows(sql: &impl Sql, after: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
    let rows = read_texts(sql, after, limit)?.into_iter().map(|JournalText { last_entry, hash, text }| {
        let entries = parse(&text, &format!("journal row {last_entry}"))?;
        Ok(JournalRow { last_entry, hash, entries })
    });
    rows.collect()
}

/// The same, as they are stored.
pub(crate) fn read_texts(sql: &impl Sql, after: u64, limit: u32) -> Result<Vec<JournalText>, StoreError> {
    let rows = sql.query(
        "SELECT last_entry, hash, entries FROM journal WHERE last_entry > ?1 ORDER BY last_entry LIMIT ?2",
        &[Param::Integer(signed(after)), Param::Integer(i64::from(limit))],
    )?;
    rows.iter()
        .map(|row| {
            let mut row = Row::new(row, "journal");
            Ok(JournalText {
                last_entry: unsigned(row.integer()?),
                hash: row.text()?.to_owned(),
                text: row.text()?.to_owned(),
            })
        })
        .collect()
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str, place: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Damaged(format!("{place}: {error}")))
}

/// Entry numbers stay far below 2⁵³: a thousand a second for 280,000 years.
pub(crate) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or(0)
}

fn write(sql: &impl Sql, head: &str, last_entry: u64, row: &mut String) -> Result<String, StoreError> {
    row.push(']');
    let hash = hash(head, row);
    sql.query(
        "INSERT INTO journal (last_entry, hash, entries) VALUES (?1, ?2, ?3)",
        &[Param::Integer(signed(last_entry)), Param::Text(&hash), Param::Text(row)],
    )?;
    row.clear();
    Ok(hash)
}

/// The hash of a row: over the hash of the one before, a line feed, and the row's text.
pub(crate) fn hash(head: &str, row: &str) -> String {
    digest(&[head, "\n", row])
}

/// The SHA-256 of texts one after the other, in hexadecimal.
pub(crate) fn digest(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_bytes());
    }
    let mut text = String::with_capacity(7 + 64);
    text.push_str("sha256:");
    for byte in hasher.finalize() {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}
