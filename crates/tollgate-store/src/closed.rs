//! Ended reservations and records: one row each, so that a repeat or a late settle finds it.
//!
//! Mostly the journal tells all of it: the entry that opened it and the one that ended it. Then the row only says which these are, since storing
//! the same a second time would double what a settle writes. A row is *whole*, with the reservation in it, where other entries changed it, or the first of the two is archived.
//!
//! Once the entry that ended it is archived, a row keeps only its id: enough to know a repeat for what it is, without paying or holding again.
//! A hold that expired unreported keeps its row whole, because its late settle may still come.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::api::{Code, Problem};
use tollgate_core::fault::{self, Fault};
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{End, Entry, Event, Ledger, Reservation};

use crate::journal::{self, signed, unsigned};
use crate::parts::{in_parts, json};
use crate::sql::{Param, Row, Sql, StoreError};

/// What a row says.
pub(crate) enum Stored {
    /// It has ended, and was archived.
    Archived,
    /// The reservation itself.
    Whole(Box<Reservation>),
    /// The entries that opened and ended it.
    Told { opened_by: u64, ended_by: u64 },
    /// Nothing that can be read.
    Damaged(String),
    /// What was not read, because it would have been too much at once.
    Unread,
}

/// Those that were named and are stored.
#[derive(Default)]
pub(crate) struct Recalled {
    /// Which of them are archived.
    pub(crate) archived: BTreeSet<ReservationId>,
    /// Which of them cannot be read, and why.
    pub(crate) damaged: BTreeMap<ReservationId, String>,
    /// Which of them were not read, because that would have been too much at once.
    pub(crate) unread: BTreeSet<ReservationId>,
    reservations: Vec<Reservation>,
}

impl Recalled {
    /// Brings them back into a ledger.
    pub(crate) fn put_into(&mut self, ledger: &mut Ledger) {
        for reservation in self.reservations.drain(..) {
            ledger.recall(reservation);
        }
    }

    /// The same where each of them is needed.
    pub(crate) fn put_all_into(mut self, ledger: &mut Ledger) -> Result<(), StoreError> {
        if let Some((_, reason)) = self.damaged.pop_first() {
            return Err(StoreError::Damaged(reason));
        }
        self.put_into(ledger);
        Ok(())
    }
}

/// Reads those that are named and not in the ledger, all of them at once, and each row of the journal that tells of them once. In the order in which they are named,
/// as far as the rows are `most_bytes` long together.
pub(crate) fn recall<'a>(
    sql: &impl Sql,
    ids: impl Iterator<Item = &'a ReservationId>,
    ledger: &Ledger,
    most_bytes: usize,
) -> Result<Recalled, StoreError> {
    let unknown: Vec<&ReservationId> = ids.filter(|id| ledger.reservation(id).is_none()).collect();
    let mut stored = read(sql, &unknown.iter().copied().collect())?;
    let entries = Told::read(sql, &unknown, &mut stored, most_bytes)?;
    let mut recalled = Recalled::default();
    for (id, stored) in stored {
        let found = match stored {
            Stored::Archived => {
                recalled.archived.insert(id);
                continue;
            }
            Stored::Unread => {
                recalled.unread.insert(id);
                continue;
            }
            Stored::Whole(reservation) => Ok(*reservation),
            Stored::Told { opened_by, ended_by } => entries.reservation(&id, opened_by, ended_by),
            Stored::Damaged(reason) => Err(reason),
        };
        match found {
            Ok(reservation) => recalled.reservations.push(reservation),
            Err(reason) => {
                recalled.damaged.insert(id, reason);
            }
        }
    }
    Ok(recalled)
}

/// What is stored of those that are named.
pub(crate) fn read(
    sql: &impl Sql,
    ids: &BTreeSet<&ReservationId>,
) -> Result<BTreeMap<ReservationId, Stored>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    // An id is 128 bytes at most and a turn has some hundred requests, so one parameter holds them all.
    let ids = json(ids)?;
    let rows = sql.query(
        "SELECT id, entry, reservation FROM closed WHERE id IN (SELECT value FROM json_each(?1))",
        &[Param::Text(&ids)],
    )?;
    rows.iter()
        .map(|row| {
            let mut row = Row::new(row, "closed");
            let id = row.text()?.parse().map_err(|error| StoreError::Damaged(format!("closed: {error}")))?;
            let ended_by = unsigned(row.integer()?);
            let text = row.text()?;
            let stored = match text.as_bytes().first() {
                None => Ok(Stored::Archived),
                Some(b'{') => journal::parse(text, "closed").map(|reservation| Stored::Whole(Box::new(reservation))),
                Some(_) => journal::parse(text, "closed").map(|opened_by| Stored::Told { opened_by, ended_by }),
            };
            Ok((id, stored.unwrap_or_else(|error| Stored::Damaged(error.to_string()))))
        })
        .collect()
}

/// The entries that tell of ended reservations.
struct Told(BTreeMap<u64, Entry>);

impl Told {
    /// Those that tell of `ids`, in that order, until their rows are `most_bytes` long together. The others are marked as not read; one is always read.
    fn read(
        sql: &impl Sql,
        ids: &[&ReservationId],
        stored: &mut BTreeMap<ReservationId, Stored>,
        most_bytes: usize,
    ) -> Result<Self, StoreError> {
        let told = stored.values().filter_map(|stored| match stored {
            Stored::Told { opened_by, ended_by } => Some([*opened_by, *ended_by]),
            _ => None,
        });
        let places = journal::places(sql, &told.flatten().collect())?;
        let mut wanted = BTreeMap::new();
        let mut rows = BTreeSet::new();
        let mut bytes = 0_usize;
        for id in ids {
            let Some(found) = stored.get_mut(*id) else { continue };
            let Stored::Told { opened_by, ended_by } = found else { continue };
            if bytes > most_bytes {
                *found = Stored::Unread;
                continue;
            }
            for seq in [*opened_by, *ended_by] {
                let Some(place) = places.get(&seq) else { continue };
                wanted.insert(seq, *place);
                if rows.insert(place.0) {
                    bytes = bytes.saturating_add(place.1);
                }
            }
        }
        journal::entries(sql, &wanted).map(Self)
    }

    /// A reservation, from the entries that opened and ended it.
    fn reservation(&self, id: &ReservationId, opened_by: u64, ended_by: u64) -> Result<Reservation, String> {
        let mut ledger = Ledger::new();
        for seq in BTreeSet::from([opened_by, ended_by]) {
            ledger.evolve(self.0.get(&seq).ok_or_else(|| format!("journal: entry {seq} is not there"))?);
        }
        ledger.forget(id).ok_or_else(|| format!("closed: entry {ended_by} does not end `{id}`"))
    }
}

/// Stores those that entries ended, or whose end they corrected, as they stand in the ledger. Entries up to `archived_through` are not kept.
pub(crate) fn write(
    sql: &impl Sql,
    ledger: &Ledger,
    entries: &[Entry],
    archived_through: u64,
) -> Result<(), StoreError> {
    // The last entry that changed it, and whether it is the one that ended it.
    let mut changed: BTreeMap<&ReservationId, (u64, bool)> = BTreeMap::new();
    let is_lost = |entry: &&Entry| matches!(entry.event, Event::Expired(_)) && fault::on(Fault::ClosedRowIsDropped);
    for entry in entries.iter().filter(|entry| !is_lost(entry)) {
        if let Some(id) = changed_by(entry) {
            let ends = entry.ends().is_some() && !changed.contains_key(id);
            changed.insert(id, (entry.seq, ends));
        }
    }
    let rows = changed.into_iter().filter_map(|(id, (entry, ends))| {
        let reservation = ledger.reservation(id)?;
        let opened_by = reservation.opened_by.filter(|opened_by| ends && *opened_by > archived_through);
        Some(match opened_by {
            Some(opened_by) => json(&(id, entry, opened_by)),
            None => json(&(id, entry, reservation)),
        })
    });
    in_parts(rows, |rows| sql.query(WRITE, &[Param::Text(rows)]))
}

/// Makes whole those that are named and whose row refers to the journal.
fn make_whole<'a>(sql: &impl Sql, ids: impl Iterator<Item = &'a ReservationId>) -> Result<(), StoreError> {
    let ids: Vec<&ReservationId> = ids.collect();
    for ids in ids.chunks(500) {
        let mut rows = Vec::new();
        let mut stored = read(sql, &ids.iter().copied().collect())?;
        let entries = Told::read(sql, ids, &mut stored, usize::MAX)?;
        for (id, stored) in stored {
            match stored {
                Stored::Told { opened_by, ended_by } => {
                    let reservation = entries.reservation(&id, opened_by, ended_by).map_err(StoreError::Damaged)?;
                    rows.push(json(&(&id, ended_by, reservation)));
                }
                Stored::Damaged(reason) => return Err(StoreError::Damaged(reason)),
                Stored::Archived | Stored::Whole(_) | Stored::Unread => {}
            }
        }
        in_parts(rows.into_iter(), |rows| sql.query(WRITE, &[Param::Text(rows)]))?;
    }
    Ok(())
}

const WRITE: &str = "INSERT OR REPLACE INTO closed (id, entry, reservation) \
                     SELECT value ->> '$[0]', value ->> '$[1]', value ->> '$[2]' FROM json_each(?1)";

/// What archiving entries means for those whose ends they are. Those that a later entry has changed stay as they are.
#[derive(Default)]
pub(crate) struct Archiving {
    reported: BTreeSet<ReservationId>,
    unreported: BTreeSet<ReservationId>,
    /// Refunded, and it is their rows that tell whether they expired unreported.
    refunded: BTreeSet<ReservationId>,
}

impl Archiving {
    /// One more entry that is archived.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let Some(id) = changed_by(entry) else { return };
        match entry.event {
            Event::Expired(_) => {
                self.unreported.insert(id.clone());
            }
            // It reports nothing: what expired unreported may still be settled late.
            Event::Refunded { .. } => {
                if !self.unreported.contains(id) && !self.reported.contains(id) {
                    self.refunded.insert(id.clone());
                }
            }
            _ => {
                self.unreported.remove(id);
                self.refunded.remove(id);
                self.reported.insert(id.clone());
            }
        }
    }

    /// Writes it down, while the entries are still there. `base` is the state after them.
    pub(crate) fn write(&mut self, sql: &impl Sql, base: &Ledger) -> Result<(), StoreError> {
        for (id, stored) in read(sql, &self.refunded.iter().collect())? {
            let is_unreported = match &stored {
                Stored::Whole(reservation) => reservation.end.as_ref().is_some_and(End::awaits_report),
                Stored::Damaged(reason) => return Err(StoreError::Damaged(reason.clone())),
                Stored::Archived | Stored::Told { .. } | Stored::Unread => false,
            };
            let ids = if is_unreported { &mut self.unreported } else { &mut self.reported };
            ids.insert(id);
        }
        // What is still remembered in full must not refer to what goes: what expired unreported, and what is open at the base and has ended since.
        let open = base.open_reservations().map(|reservation| &reservation.id);
        make_whole(sql, self.unreported.iter().chain(open))?;
        let through = signed(base.last_seq());
        let statements =
            [(&self.reported, "reservation = '', archived = entry"), (&self.unreported, "archived = entry")];
        for (ids, change) in statements {
            let statement =
                format!("UPDATE closed SET {change} WHERE entry <= ?2 AND id IN (SELECT value FROM json_each(?1))");
            in_parts(ids.iter().map(json), |ids| sql.query(&statement, &[Param::Text(ids), Param::Integer(through)]))?;
        }
        Ok(())
    }
}

/// Lets go of archived ones whose last entry is `through` or earlier, `most` of them, and says how many.
pub(crate) fn forget(sql: &impl Sql, through: u64, most: u32) -> Result<u64, StoreError> {
    let rows = sql.query(
        "DELETE FROM closed WHERE id IN (SELECT id FROM closed WHERE archived <= ?1 ORDER BY archived LIMIT ?2) \
         RETURNING 1",
        &[Param::Integer(signed(through)), Param::Integer(i64::from(most))],
    )?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Removes those that are not archived, but for some.
pub(crate) fn remove_all_but(sql: &impl Sql, kept: &BTreeSet<ReservationId>) -> Result<(), StoreError> {
    sql.query(
        "DELETE FROM closed WHERE archived IS NULL AND id NOT IN (SELECT value FROM json_each(?1))",
        &[Param::Text(&json(kept)?)],
    )?;
    Ok(())
}

/// How many are not archived.
pub(crate) fn count(sql: &impl Sql) -> Result<u64, StoreError> {
    let rows = sql.query("SELECT COUNT(*) FROM closed WHERE archived IS NULL", &[])?;
    let row = rows.first().ok_or_else(|| StoreError::Damaged("closed: no count".to_owned()))?;
    Ok(unsigned(Row::new(row, "closed").integer()?))
}

/// The reservation or record whose stored end an entry makes or changes.
pub(crate) const fn changed_by(entry: &Entry) -> Option<&ReservationId> {
    match &entry.event {
        Event::SettledLate { charged, .. } | Event::Adjusted { charged, .. } | Event::Refunded { charged, .. } => {
            Some(&charged.id)
        }
        _ => entry.ends(),
    }
}

/// The answer to whoever names an archived one.
pub(crate) fn archived(id: &ReservationId) -> Problem {
    Problem::new(
        Code::Archived,
        format!("`{id}` has ended and was archived: the exported entries say how; nothing was changed"),
    )
}
