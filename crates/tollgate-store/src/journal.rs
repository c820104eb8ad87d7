//! The journal: one row per commit, each hashed together with the one before, so that a changed or missing row shows.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tollgate_core::api::JournalQuery;
use tollgate_core::fault::{self, Fault};
use tollgate_core::ledger::Entry;

use crate::parts::json;
use crate::sql::{MAX_INTEGER, Param, Row, Sql, StoreError};

/// A commit with more is written in several rows. Whoever wants one entry reads its row, so that a short one keeps that cheap; each row costs what a row costs, so that it
/// is not shorter. An entry that is longer has a row to itself. Earlier versions wrote rows of up to a megabyte.
const MAX_ROW_BYTES: usize = 32_768;
/// A page of the journal ends before the row that would pass this; one row always fits.
const MAX_PAGE_BYTES: usize = 900_000;
/// A row is read whole where so many bytes of it or fewer come to each entry that is wanted; else SQLite cuts out what is wanted.
const WHOLE_ROW_BYTES: usize = 8_192;
/// How much of rows, and how many entries, are read at once: it bounds what is in memory.
const MAX_READ_BYTES: usize = 1_000_000;
const MAX_READ_PARTS: usize = 64;
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

/// Reads the entries after a number, in order, `limit` at most, until `visit` says that it wants no more. No more is read and parsed than that takes, but for the rest of a row.
pub(crate) fn read(
    sql: &impl Sql,
    after: u64,
    limit: usize,
    mut visit: impl FnMut(Entry) -> bool,
) -> Result<(), StoreError> {
    let through = after.saturating_add(u64::try_from(limit).unwrap_or(u64::MAX));
    let mut last = after;
    while last < through {
        let rows = sql.query(READ_FROM, &[Param::Integer(signed(last)), Param::Integer(signed(through))])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let mut row = Row::new(row, "journal");
        let end = unsigned(row.integer()?);
        let mut rest = row.text()?;
        while let Some((entry, behind)) = first_entry(rest, end)? {
            rest = behind;
            if entry.seq > last && (entry.seq > through || !visit(entry)) {
                return Ok(());
            }
        }
        last = end;
    }
    Ok(())
}

/// Where some entries lie: the last entry of the row of each, and the length of that row in bytes. Those that are not there are left out. SQLite need not read the rows
/// for it.
pub(crate) fn places(sql: &impl Sql, seqs: &BTreeSet<u64>) -> Result<BTreeMap<u64, (u64, usize)>, StoreError> {
    if seqs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sql.query(PLACES, &[Param::Text(&json(seqs)?)])?;
    let places = rows.iter().map(|row| {
        let mut row = Row::new(row, "journal");
        let (seq, last_entry, bytes) = (unsigned(row.integer()?), unsigned(row.integer()?), unsigned(row.integer()?));
        Ok((seq, (last_entry, usize::try_from(bytes).unwrap_or(usize::MAX))))
    });
    places.collect()
}

/// The entries that lie in some places, those that can be read.
pub(crate) fn entries(
    sql: &impl Sql,
    places: &BTreeMap<u64, (u64, usize)>,
) -> Result<BTreeMap<u64, Entry>, StoreError> {
    let mut found = BTreeMap::new();
    let (mut whole, apart): (Vec<_>, Vec<_>) = by_row(places).into_iter().partition(Place::is_read_whole);
    for places in apart.chunks(MAX_READ_PARTS) {
        let wanted: Vec<u64> = places.iter().flat_map(|place| &place.wanted).copied().collect();
        let cuts = sql.query(CUT_OUT, &[Param::Text(&json(&wanted)?)])?;
        let mut long = BTreeSet::new();
        for cut in &cuts {
            let mut row = Row::new(cut, "journal");
            let seq = unsigned(row.integer()?);
            match row.optional_text()? {
                Some(text) => found.extend(parsed(text, seq)),
                None => {
                    long.insert(seq);
                }
            }
        }
        for place in places {
            let wanted: Vec<u64> = place.wanted.iter().copied().filter(|seq| long.contains(seq)).collect();
            if !wanted.is_empty() {
                whole.push(Place { wanted, ..*place });
            }
        }
    }
    whole.sort_unstable_by_key(|place| place.row);
    let mut rest = whole.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fitting = rest.iter().take_while(|place| {
            bytes = bytes.saturating_add(place.bytes);
            bytes <= MAX_READ_BYTES
        });
        let (now, later) = rest.split_at(fitting.count().max(1));
        rest = later;
        let rows = json(&now.iter().map(|place| place.row).collect::<Vec<_>>())?;
        let texts = sql.query(READ_WHOLE, &[Param::Text(&rows)])?;
        for (place, row) in now.iter().zip(&texts) {
            let mut text = Row::new(row, "journal").text()?;
            for seq in &place.wanted {
                // Quotation marks inside of texts are escaped, and an entry is referred to by those that come later: this is where it begins.
                let Some(begins) = text.find(&format!("{{\"seq\":{seq},")) else { break };
                text = text.get(begins..).unwrap_or_default();
                found.extend(parsed(text, *seq));
            }
        }
    }
    Ok(found)
}

/// A row of the journal of which something is wanted.
struct Place {
    /// Its last entry.
    row: u64,
    /// Its length.
    bytes: usize,
    /// Which of its entries, ascending.
    wanted: Vec<u64>,
}

impl Place {
    fn is_read_whole(&self) -> bool {
        self.bytes <= self.wanted.len().saturating_mul(WHOLE_ROW_BYTES)
    }
}

fn by_row(places: &BTreeMap<u64, (u64, usize)>) -> Vec<Place> {
    let mut rows: Vec<Place> = Vec::new();
    for (seq, (row, bytes)) in places {
        match rows.last_mut().filter(|place| place.row == *row) {
            Some(place) => place.wanted.push(*seq),
            None => rows.push(Place { row: *row, bytes: *bytes, wanted: vec![*seq] }),
        }
    }
    rows
}

/// The row that each number lies in, and that row's length.
const PLACES: &str = "SELECT wanted.value, last_entry, octet_length(entries) FROM json_each(?1) AS wanted JOIN journal ON last_entry = \
                      (SELECT last_entry FROM journal WHERE last_entry >= wanted.value ORDER BY last_entry LIMIT 1) \
                      ORDER BY wanted.value";

/// Rows by their last entries.
const READ_WHOLE: &str =
    "SELECT entries FROM journal WHERE last_entry IN (SELECT value FROM json_each(?1)) ORDER BY last_entry";

/// Entries by themselves, each cut out of its row; NULL for those that are longer than what is looked at. Bytes are compared and counted, which is faster than characters.
const CUT_OUT: &str = "WITH tails AS MATERIALIZED (SELECT wanted.value AS seq, substr(CAST(entries AS BLOB), \
     instr(CAST(entries AS BLOB), CAST('{\"seq\":' || wanted.value || ',' AS BLOB)), 4096) AS tail \
     FROM json_each(?1) AS wanted JOIN journal ON last_entry = \
     (SELECT last_entry FROM journal WHERE last_entry >= wanted.value ORDER BY last_entry LIMIT 1)), \
     cuts AS (SELECT seq, tail, instr(tail, CAST(',{\"seq\":' || (seq + 1) || ',' AS BLOB)) AS cut FROM tails) \
     SELECT seq, CASE WHEN cut > 0 THEN CAST(substr(tail, 1, cut - 1) AS TEXT) \
     WHEN length(tail) < 4096 THEN CAST(tail AS TEXT) END FROM cuts";

/// The first row with entries after a number, from the entry after that number on, where that is in it; and not beyond a last number. In a Durable Object numbers come
/// as floats, which are written with a point.
const READ_FROM: &str = "WITH found AS MATERIALIZED (SELECT last_entry, CAST(entries AS BLOB) AS entries FROM journal \
     WHERE last_entry > ?1 ORDER BY last_entry LIMIT 1), \
     tails AS MATERIALIZED (SELECT last_entry, substr(entries, \
     max(2, instr(entries, CAST('{\"seq\":' || (CAST(?1 AS INTEGER) + 1) || ',' AS BLOB)))) AS tail FROM found), \
     cuts AS MATERIALIZED (SELECT last_entry, tail, instr(tail, CAST(',{\"seq\":' || (CAST(?2 AS INTEGER) + 1) || ',' AS BLOB)) AS cut FROM tails) \
     SELECT last_entry, CAST(CASE cut WHEN 0 THEN tail ELSE substr(tail, 1, cut - 1) END AS TEXT) FROM cuts";

/// The entry that a text begins with, where it is the one that is wanted.
fn parsed(text: &str, seq: u64) -> Option<(u64, Entry)> {
    let mut entries = serde_json::Deserializer::from_str(text).into_iter::<Entry>();
    let entry = entries.next()?.ok().filter(|entry| entry.seq == seq)?;
    Some((seq, entry))
}

/// The entry that a text begins with, and what comes behind it. None at the end of a row.
fn first_entry(text: &str, row: u64) -> Result<Option<(Entry, &str)>, StoreError> {
    if text.is_empty() || text == "]" {
        return Ok(None);
    }
    let mut entries = serde_json::Deserializer::from_str(text).into_iter();
    match entries.next() {
        Some(Ok(entry)) => {
            let rest = text.get(entries.byte_offset()..).unwrap_or_default();
            Ok(Some((entry, rest.strip_prefix(',').unwrap_or(rest))))
        }
        Some(Err(error)) => Err(StoreError::Damaged(format!("journal row {row}: {error}"))),
        None => Ok(None),
    }
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
    let mut bytes = 0_usize;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    while rows.len() < limit {
        let Some(row) = read_texts(sql, after, 1)?.pop() else {
            return Ok(JournalPage { base, rows, next: None });
        };
        let row = StoredRow { through: row.last_entry, head: row.hash, entries: row.text };
        // As it is sent: the quotation marks of a row are escaped there.
        bytes = bytes.saturating_add(json(&row)?.len());
        if bytes > MAX_PAGE_BYTES && !rows.is_empty() {
            break;
        }
        after = row.through;
        rows.push(row);
    }
    Ok(JournalPage { base, rows, next: Some(after) })
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

/// Entry numbers stay far below 2⁵³: a thousand a second for 280,000 years. What is beyond comes after every entry.
pub(crate) fn signed(seq: u64) -> i64 {
    i64::try_from(seq).map_or(MAX_INTEGER, |seq| seq.min(MAX_INTEGER))
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
