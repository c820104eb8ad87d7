//! One tenant's ledger, stored: requests in, answers out, one commit a turn.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::api::{Answer, HistoryQuery, Request, StateQuery};
use tollgate_core::catalog::Catalog;
use tollgate_core::fault::{self, Fault};
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{Command, Entry, Event, Ledger, Reservation};
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::{self, UsageKey, UsageTotals};

use crate::audit::{self, AuditReport, Kept};
use crate::journal;
use crate::schema;
use crate::snapshot;
use crate::sql::{Param, Row, Sql, StoreError};
use crate::usage;

/// A snapshot is taken when the journal's tail has so many entries, plus two for each open hold: a snapshot costs in proportion to the
/// holds, so it pays to wait a little longer where there are many.
const SNAPSHOT_EVERY: usize = 1_000;
/// A parameter holds 2 MB in a Durable Object.
const MAX_PARAM_BYTES: usize = 1_000_000;

/// One tenant's ledger on a database.
#[derive(Debug)]
pub struct TenantStore<S> {
    sql: S,
    state: State,
    snapshot_every: usize,
}

/// What is in memory, all of it rebuilt from the database.
#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// The hash of the journal's last row.
    head: String,
    /// Entries since the snapshot.
    tail: usize,
    /// What those entries add to the usage roll-up.
    pending: BTreeMap<UsageKey, UsageTotals>,
    /// Whether there are tables. An object that was merely asked about a tenant that does not exist stores nothing.
    has_schema: bool,
    /// Whether a turn has begun and not been committed: then memory may be ahead of the database.
    stale: bool,
}

impl<S: Sql> TenantStore<S> {
    /// Opens the database: reads the snapshot and the tail of the journal, after bringing older tables up to date. Writes nothing
    /// into an empty database.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn open(sql: S) -> Result<Self, StoreError> {
        let state = State::load(&sql)?;
        Ok(Self { sql, state, snapshot_every: SNAPSHOT_EVERY })
    }

    /// The same with a snapshot after so many entries. What is answered does not depend on it; tests want snapshots early.
    #[must_use]
    pub fn with_snapshot_every(self, entries: usize) -> Self {
        Self { snapshot_every: entries, ..self }
    }

    /// Carries out requests in order, in one turn and one commit, with an answer for each. Holds whose deadline has passed end first.
    /// A request that is refused does not touch the others. Nothing is answered that is not stored, and a turn starts from what is
    /// stored, also where another instance has written it.
    ///
    /// # Errors
    /// The database failed: nothing was changed, and the next call starts from what is stored.
    pub fn execute(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        requests: &[Request],
    ) -> Result<Vec<Answer>, StoreError> {
        let Self { sql, state, snapshot_every } = self;
        if state.stale || state.is_overtaken(sql)? {
            *state = State::load(sql)?;
        }
        let mut answers = Vec::new();
        state.stale = !fault::on(Fault::FailedTurnStaysInMemory);
        let stored = sql.transaction(&mut || {
            answers = state.turn(sql, catalog, now, requests, *snapshot_every)?;
            Ok(())
        });
        if !fault::on(Fault::AnswerBeforeCommit) {
            stored?;
        }
        state.stale = false;
        Ok(answers)
    }

    /// Ends holds whose deadline has passed.
    ///
    /// # Errors
    /// The database failed: nothing was changed.
    pub fn expire(&mut self, catalog: &Catalog, now: Timestamp) -> Result<(), StoreError> {
        self.execute(catalog, now, &[]).map(|_| ())
    }

    /// Folds the whole journal again and compares the result with what is kept. Reads everything: its time grows with the ledger.
    /// None where the tenant was never onboarded.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read at all.
    pub fn audit(&self) -> Result<Option<AuditReport>, StoreError> {
        if !self.state.has_schema {
            return Ok(None);
        }
        let kept = Kept { ledger: &self.state.ledger, head: &self.state.head, pending: &self.state.pending };
        audit::audit(&self.sql, &kept).map(Some)
    }

    /// The earliest deadline of an open hold.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.ledger.next_deadline()
    }

    /// The state, for checks.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }
}

impl State {
    fn load(sql: &impl Sql) -> Result<Self, StoreError> {
        let has_schema = schema::version(sql)? > 0;
        let mut state = Self {
            ledger: Ledger::new(),
            head: journal::GENESIS.to_owned(),
            tail: 0,
            pending: BTreeMap::new(),
            has_schema,
            stale: false,
        };
        if !has_schema {
            return Ok(state);
        }
        sql.transaction(&mut || schema::migrate(sql, schema::TENANT))?;
        if let Some(stored) = snapshot::read(sql)? {
            state.ledger = stored.ledger;
            state.head = stored.hash;
            if state.ledger.last_seq() != stored.last_entry {
                return Err(StoreError::Damaged("snapshot: it is not of the entry it names".to_owned()));
            }
        }
        loop {
            let rows = journal::read_rows(sql, state.ledger.last_seq(), 64)?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                for entry in &row.entries {
                    if entry.seq != state.ledger.last_seq() + 1 {
                        return Err(StoreError::Damaged(format!("journal: entry {} is out of order", entry.seq)));
                    }
                    state.ledger.evolve(entry);
                    state.note(entry);
                }
                state.head = row.hash;
            }
        }
        state.ledger.forget_ended();
        Ok(state)
    }

    /// Whether the journal goes on where this memory ends. A Durable Object has one instance at a time, but nothing here has to trust that:
    /// a turn is synchronous, so what is found at its start holds until its end.
    fn is_overtaken(&self, sql: &impl Sql) -> Result<bool, StoreError> {
        if fault::on(Fault::StaleInstanceWrites) {
            return Ok(false);
        }
        if !self.has_schema {
            return Ok(schema::version(sql)? > 0);
        }
        Ok(journal::head(sql)?.is_some_and(|head| head != self.head))
    }

    /// One turn, to run inside a transaction.
    fn turn(
        &mut self,
        sql: &impl Sql,
        catalog: &Catalog,
        now: Timestamp,
        requests: &[Request],
        snapshot_every: usize,
    ) -> Result<Vec<Answer>, StoreError> {
        self.recall(sql, requests)?;
        let mut entries = Vec::new();
        self.ledger.expire(now, usize::MAX, &mut entries);
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(match request {
                Request::Command(command) => Some(match self.ledger.execute(catalog, now, command, &mut entries) {
                    Ok(outcome) => Answer::outcome(&self.ledger, now, &outcome),
                    Err(rejection) => Answer::problem(&rejection.into()),
                }),
                Request::State(query) => Some(Answer::query(&self.ledger, catalog, now, query)),
                // History is read once all that happens in this turn is part of it.
                Request::History(_) => None,
            });
        }
        self.commit(sql, &entries, snapshot_every)?;
        let answered = answers.into_iter().zip(requests).map(|(answer, request)| match (answer, request) {
            (Some(answer), _) => Ok(answer),
            (None, Request::History(query)) => self.history(sql, now, query),
            (None, _) => Err(StoreError::Damaged("a request was not answered".to_owned())),
        });
        let answers = answered.collect::<Result<_, _>>()?;
        // What has ended is in the database now. Only what this turn touched can be in memory.
        for id in entries.iter().filter_map(closed_by).chain(requests.iter().filter_map(subject)) {
            self.ledger.forget(id);
        }
        Ok(answers)
    }

    fn commit(&mut self, sql: &impl Sql, entries: &[Entry], snapshot_every: usize) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        if !self.has_schema {
            schema::migrate(sql, schema::TENANT)?;
            self.has_schema = true;
        }
        self.head = journal::append(sql, &self.head, entries)?;
        self.write_closed(sql, entries)?;
        for entry in entries {
            self.note(entry);
        }
        if self.tail >= snapshot_every.saturating_add(self.ledger.open_holds().saturating_mul(2)) {
            snapshot::write(sql, &self.ledger, &self.head)?;
            usage::add(sql, &self.pending)?;
            if !fault::on(Fault::RollUpIsAddedTwice) {
                self.pending.clear();
            }
            self.tail = 0;
        }
        Ok(())
    }

    /// Counts an entry that is in the journal and not yet in the snapshot and roll-up.
    fn note(&mut self, entry: &Entry) {
        self.tail = self.tail.saturating_add(1);
        if let Some((key, totals)) = usage_report::contribution(entry) {
            self.pending.entry(key).or_default().add(&totals);
        }
    }

    fn history(&self, sql: &impl Sql, now: Timestamp, query: &HistoryQuery) -> Result<Answer, StoreError> {
        if self.ledger.tenant().is_none() {
            return Ok(Answer::tenant(&self.ledger, now));
        }
        match query {
            HistoryQuery::Usage(query) => Ok(Answer::usage(query, &usage::report(sql, query, &self.pending)?)),
            HistoryQuery::Entries { after, limit } => {
                let most = usize::try_from(*limit).unwrap_or(usize::MAX);
                Ok(Answer::entries(&journal::read(sql, *after, most)?, *limit))
            }
        }
    }

    /// Brings the ended reservations that the requests name back into memory.
    fn recall(&mut self, sql: &impl Sql, requests: &[Request]) -> Result<(), StoreError> {
        if !self.has_schema {
            return Ok(());
        }
        let unknown: BTreeSet<&ReservationId> =
            requests.iter().filter_map(subject).filter(|id| self.ledger.reservation(id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        // An id is 128 bytes at most and a turn has some hundred requests, so one parameter holds them all.
        let ids = serde_json::to_string(&unknown).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let rows = sql.query(
            "SELECT reservation FROM closed WHERE id IN (SELECT value FROM json_each(?1))",
            &[Param::Text(&ids)],
        )?;
        for row in &rows {
            let reservation: Reservation = journal::parse(Row::new(row, "closed").text()?, "closed")?;
            self.ledger.recall(reservation);
        }
        Ok(())
    }

    /// Stores the reservations that ended, or whose end was corrected.
    fn write_closed(&self, sql: &impl Sql, entries: &[Entry]) -> Result<(), StoreError> {
        let is_lost = |entry: &&Entry| matches!(entry.event, Event::Expired(_)) && fault::on(Fault::ClosedRowIsDropped);
        let ids: BTreeSet<&ReservationId> =
            entries.iter().filter(|entry| !is_lost(entry)).filter_map(closed_by).collect();
        let mut rows = String::new();
        for reservation in ids.into_iter().filter_map(|id| self.ledger.reservation(id)) {
            let row = serde_json::to_string(&(&reservation.id, reservation))
                .map_err(|error| StoreError::Damaged(error.to_string()))?;
            if !rows.is_empty() && rows.len() + row.len() + 2 > MAX_PARAM_BYTES {
                insert_closed(sql, &mut rows)?;
            }
            rows.push(if rows.is_empty() { '[' } else { ',' });
            rows.push_str(&row);
        }
        if rows.is_empty() { Ok(()) } else { insert_closed(sql, &mut rows) }
    }
}

fn insert_closed(sql: &impl Sql, rows: &mut String) -> Result<(), StoreError> {
    rows.push(']');
    sql.query(
        "INSERT OR REPLACE INTO closed (id, reservation) SELECT value ->> '$[0]', value -> '$[1]' FROM json_each(?1)",
        &[Param::Text(rows)],
    )?;
    rows.clear();
    Ok(())
}

/// The reservation or record that a request is about.
fn subject(request: &Request) -> Option<&ReservationId> {
    match request {
        Request::Command(Command::Reserve(request)) => Some(&request.id),
        Request::Command(Command::Record(request)) => Some(&request.id),
        Request::Command(Command::Settle(id, _) | Command::Release(id) | Command::Extend(id, _))
        | Request::State(StateQuery::Reservation(id)) => Some(id),
        _ => None,
    }
}

/// The reservation or record whose stored end an entry makes or changes.
fn closed_by(entry: &Entry) -> Option<&ReservationId> {
    match &entry.event {
        Event::SettledLate { charged, .. } => Some(&charged.id),
        _ => entry.ends(),
    }
}
