//! One tenant's ledger, stored: requests in, answers out, one commit a turn.

use std::collections::BTreeMap;

use tollgate_core::api::{
    Answer, ArchiveRequest, Ask, Asking, BatchAnswer, Code, EntriesPage, HistoryQuery, JournalQuery, Problem,
    RepairRequest, Request, RerateReport, RerateRequest, StateQuery,
};
use tollgate_core::catalog::Catalog;
use tollgate_core::fault::{self, Fault};
use tollgate_core::ids::ReservationId;
use tollgate_core::ledger::{Beginning, Command, Entry, Ledger, Outcome, Pace, Refolding, Rejection};
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::{self, UsageKey, UsageTotals};

use crate::archive::{self, ArchiveReport};
use crate::audit::{self, Audit, AuditReport, Kept};
use crate::closed::{self, Recalled};
use crate::journal::{self, JournalPage};
use crate::repair::{self, RepairReport};
use crate::rerate;
use crate::schema;
use crate::set_back;
use crate::snapshot::{self, SNAPSHOT};
use crate::sql::{Sql, StoreError};
use crate::usage::{self, USAGE};

/// A snapshot is taken when the journal's tail has so many entries, plus two for each open hold and each quota: a snapshot costs in
/// proportion to these, so that each entry pays for half a one of them at most, and start-up folds a bounded tail.
const SNAPSHOT_EVERY: usize = 1_000;

/// How long the rows of the journal may be together that tell of what a turn names: it bounds how long the ledger is deaf, whatever it is asked about. 500 ended
/// reservations, each of which lies in two rows of its own, are within it, unless their entries are longer than rows usually are.
const MAX_RECALLED_BYTES: usize = 33_000_000;
/// How many quotas may be looked at for the commands of a batch. A hundred for each of 500 are within it.
const MAX_BATCH_QUOTAS: usize = 50_000;

/// One tenant's ledger on a database.
#[derive(Debug)]
pub struct TenantStore<S> {
    sql: S,
    state: State,
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
    /// The last entry that is not kept any more; 0 where all are.
    archived_through: u64,
    /// After how many entries a snapshot is taken, where that is not as usual.
    snapshot_every: Option<usize>,
    /// Whether there are tables. An object that was merely asked about a tenant that does not exist stores nothing.
    has_schema: bool,
    /// Whether a turn has begun to change it and was not committed: then memory may be ahead of the database. A turn that fails before, where it only reads, costs
    /// nothing.
    stale: bool,
    /// How often the clock is followed back.
    pace: Pace,
}

impl<S: Sql> TenantStore<S> {
    /// Opens the database: reads the snapshot and the tail of the journal, after bringing older tables up to date. Writes nothing
    /// into an empty database.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn open(sql: S) -> Result<Self, StoreError> {
        let state = State::load(&sql)?;
        Ok(Self { sql, state })
    }

    /// The same with a snapshot after so many entries. What is answered does not depend on it; tests want snapshots early.
    #[must_use]
    pub fn with_snapshot_every(mut self, entries: usize) -> Self {
        self.state.snapshot_every = Some(entries);
        self
    }

    /// Carries out what callers ask in order, in one turn and one commit, with an answer for each caller. Where the clock was set back, the ledger follows first; then
    /// holds end whose deadline has passed.
    /// A request that is refused, or about something that cannot be read, does not touch the others. Nothing is answered that is not stored, and a turn starts from
    /// what is stored, also where another instance has written it.
    ///
    /// Questions about what has happened are answered once all that happens in the turn is part of it.
    ///
    /// # Errors
    /// The database failed: nothing was changed, and the next call starts from what is stored. Where it failed at a question about what has happened, what was to be
    /// changed is changed.
    pub fn carry_out(&mut self, catalog: &Catalog, now: Timestamp, asks: &[Asking]) -> Result<Vec<Answer>, StoreError> {
        let asked: Vec<_> = asks.iter().map(|asking| (Asked::from(&asking.ask), asking.sight)).collect();
        self.take_turn(catalog, now, &asked)
    }

    /// The same for requests that are each asked alone, by an administrator.
    ///
    /// # Errors
    /// As those of [`carry_out`](Self::carry_out).
    pub fn execute(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        requests: &[Request],
    ) -> Result<Vec<Answer>, StoreError> {
        let asked: Vec<_> = requests.iter().map(|request| (Asked::One(request), Sight::Everything)).collect();
        self.take_turn(catalog, now, &asked)
    }

    /// Answers what only looks, from what is stored and what is in memory of it, and not in a turn: where it fails, nothing else does. What has to end first, ends in a
    /// turn of its own.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read; what is in memory stays.
    pub fn look(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        request: &Request,
        sight: Sight,
    ) -> Result<Answer, StoreError> {
        self.catch_up()?;
        // Also where the clock was set back, or a period comes again.
        let has_to_begin = |ledger: &Ledger| ledger.is_set_back_by(now) || ledger.has_unknown(now);
        if has_to_begin(&self.state.ledger) || self.state.ledger.decide_expiry(now).is_some() {
            self.expire(catalog, now)?;
        }
        match request {
            Request::State(query) => self.state.look(&self.sql, catalog, now, query, sight),
            Request::History(query) => self.state.history(&self.sql, now, query, sight),
            Request::Command(_) => Err(StoreError::Damaged("a command does not only look".to_owned())),
        }
    }

    fn take_turn(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        asked: &[(Asked<'_>, Sight)],
    ) -> Result<Vec<Answer>, StoreError> {
        let answers = self.in_transaction(|state, sql| state.turn(sql, catalog, now, asked))?;
        let answered = answers.into_iter().zip(asked).map(|(answer, asked)| match (answer, asked) {
            (Some(answer), _) => Ok(answer),
            (None, (Asked::One(Request::History(query)), sight)) => self.state.history(&self.sql, now, query, *sight),
            (None, _) => Err(StoreError::Damaged("a request was not answered".to_owned())),
        });
        answered.collect()
    }

    /// Ends holds whose deadline has passed.
    ///
    /// # Errors
    /// The database failed: nothing was changed.
    pub fn expire(&mut self, catalog: &Catalog, now: Timestamp) -> Result<(), StoreError> {
        self.execute(catalog, now, &[]).map(|_| ())
    }

    /// Folds the whole journal again and compares the result with what is kept. Reads everything: its time grows with the ledger.
    /// None where the tenant was never onboarded. After a turn that failed, memory has to [catch up](Self::catch_up) first: it is part of what is kept.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read at all.
    pub fn audit(&self) -> Result<Option<AuditReport>, StoreError> {
        if !self.state.has_schema {
            return Ok(None);
        }
        Ok(Some(self.state.audit(&self.sql)?.report))
    }

    /// Makes what is kept what the journal leads to, where an audit finds that it differs, and tells of it in an entry. Reads everything,
    /// as an audit does.
    ///
    /// # Errors
    /// The database failed: nothing was changed. The problem: the tenant is not known, or the journal itself is damaged, and there is
    /// nothing to repair from.
    pub fn repair(
        &mut self,
        now: Timestamp,
        order: &RepairRequest,
    ) -> Result<Result<RepairReport, Problem>, StoreError> {
        if !self.state.has_schema {
            return Ok(Err(Rejection::TenantNotFound.into()));
        }
        self.in_transaction(|state, sql| state.repair(sql, now, order))
    }

    /// Drops entries that the caller has exported, as its knowledge of the last one's hash shows, and keeps the state that they led to. One
    /// step of bounded size; the report says whether there is more to do.
    ///
    /// # Errors
    /// The database failed: nothing was changed. The problem: the tenant is not known, the order names no row of the journal with its hash,
    /// or the journal is damaged.
    pub fn archive(
        &mut self,
        now: Timestamp,
        order: &ArchiveRequest,
    ) -> Result<Result<ArchiveReport, Problem>, StoreError> {
        if !self.state.has_schema {
            return Ok(Err(Rejection::TenantNotFound.into()));
        }
        self.in_transaction(|state, sql| state.archive(sql, now, order))
    }

    /// Re-rates the charges that a page of the journal made, and posts adjusting entries where the request says so.
    ///
    /// # Errors
    /// The database failed: nothing was changed. The problem: the tenant is not known, or the document to compare with is wrong.
    pub fn rerate(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        request: &RerateRequest,
    ) -> Result<Result<RerateReport, Problem>, StoreError> {
        if !self.state.has_schema {
            return Ok(Err(Rejection::TenantNotFound.into()));
        }
        self.in_transaction(|state, sql| {
            let by = match request.by(&state.ledger) {
                Ok(by) => by,
                Err(problem) => return Ok(Err(problem)),
            };
            let mut posted = Vec::new();
            if request.post.is_some() {
                // A dry run leaves everything as it is.
                state.stale = true;
                state.follow(sql, now, &mut posted)?;
            }
            let report = rerate::page(sql, &mut state.ledger, catalog, now, request, &by, &mut posted)?;
            state.commit(sql, &posted)?;
            for id in posted.iter().filter_map(closed::changed_by) {
                state.ledger.forget(id);
            }
            Ok(Ok(report))
        })
    }

    /// A page of the journal as it is stored, for archives and whoever checks the chain. None where the tenant was never onboarded.
    ///
    /// # Errors
    /// The database failed.
    pub fn journal(&self, query: JournalQuery) -> Result<Option<JournalPage>, StoreError> {
        if !self.state.has_schema {
            return Ok(None);
        }
        journal::page(&self.sql, query, archive::end(&self.sql)?).map(Some)
    }

    fn in_transaction<T>(
        &mut self,
        mut body: impl FnMut(&mut State, &S) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.catch_up()?;
        let Self { sql, state } = self;
        let mut done = None;
        let stored = sql.transaction(&mut || {
            done = Some(body(state, sql)?);
            Ok(())
        });
        if !(done.is_some() && fault::on(Fault::AnswerBeforeCommit)) {
            state.stale &= !fault::on(Fault::FailedTurnStaysInMemory);
            stored?;
        }
        state.stale = false;
        done.ok_or_else(|| StoreError::Damaged("a transaction did not run".to_owned()))
    }

    /// Sees to it that memory is what is stored: reads it anew after a turn that failed, or where another instance has written.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn catch_up(&mut self) -> Result<(), StoreError> {
        let Self { sql, state } = self;
        if state.stale || state.is_overtaken(sql)? {
            *state = State { snapshot_every: state.snapshot_every, ..State::load(sql)? };
        }
        Ok(())
    }

    /// The earliest deadline of an open hold.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.state.ledger.next_deadline()
    }

    /// Whether the last turn failed, so that the state is read anew before the next.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.state.stale
    }

    /// The state, for checks. What a turn that failed has left there counts for nothing.
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
            archived_through: 0,
            snapshot_every: None,
            has_schema,
            stale: false,
            pace: Pace::default(),
        };
        if !has_schema {
            return Ok(state);
        }
        sql.transaction(&mut || bring_up_to_date(sql))?;
        state.archived_through = archive::end(sql)?.through;
        // Where there is no snapshot, the whole journal is folded, onto what its archived part led to.
        let stored = match snapshot::read(sql, SNAPSHOT)? {
            Some(stored) => stored,
            None => archive::base(sql)?,
        };
        state.ledger = stored.ledger;
        state.head = stored.hash;
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

    /// One turn, to run inside a transaction. None for questions about what has happened.
    fn turn(
        &mut self,
        sql: &impl Sql,
        catalog: &Catalog,
        now: Timestamp,
        asked: &[(Asked<'_>, Sight)],
    ) -> Result<Vec<Option<Answer>>, StoreError> {
        let subjects = || asked.iter().flat_map(|(asked, _)| asked.requests()).filter_map(subject);
        let mut recalled = self.recall(sql, subjects())?;
        // Up to here nothing was changed, in memory either.
        self.stale = true;
        recalled.put_into(&mut self.ledger);
        let mut entries = Vec::new();
        self.follow(sql, now, &mut entries)?;
        self.ledger.expire(now, usize::MAX, &mut entries);
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(asked.len());
        for (asked, sight) in asked {
            answers.push(match asked {
                Asked::One(Request::Command(command)) => {
                    Some(match self.decide(catalog, now, command, &recalled, &mut entries) {
                        Ok(outcome) => Answer::outcome(&self.ledger, now, &outcome, *sight),
                        Err(problem) => Answer::problem(&problem),
                    })
                }
                Asked::One(Request::State(query)) => Some(self.query(catalog, now, query, &recalled, *sight)),
                // History is read once all that happens in this turn is part of it.
                Asked::One(Request::History(_)) => None,
                Asked::Batch(commands) => Some(self.batch(catalog, now, commands, &recalled, &mut entries, *sight)),
            });
        }
        self.commit(sql, &entries)?;
        // What has ended is in the database now. Only what this turn touched can be in memory.
        for id in entries.iter().filter_map(closed::changed_by).chain(subjects()) {
            self.ledger.forget(id);
        }
        Ok(answers)
    }

    /// Where the clock was set back by more than an hour, the ledger follows it, before anything else happens.
    fn follow(&mut self, sql: &impl Sql, clock: Timestamp, entries: &mut Vec<Entry>) -> Result<(), StoreError> {
        match self.pace.begin(&self.ledger, clock) {
            None => {}
            Some(Beginning::StepBack(refolds)) => {
                let refolded = if refolds { Some(self.refold(sql, clock)?) } else { None };
                let (refolding, folded) = refolded.unzip();
                self.ledger.set_back(clock, refolding, entries);
                self.pace.has_stepped(&self.ledger, folded.unwrap_or(0));
            }
            Some(Beginning::TakeIn) => {
                let (refolding, _) = self.refold(sql, self.ledger.now(clock))?;
                self.ledger.take_in(&refolding, entries);
            }
        }
        Ok(())
    }

    fn refold(&self, sql: &impl Sql, to: Timestamp) -> Result<(Refolding, u64), StoreError> {
        let kept = set_back::Kept { ledger: &self.ledger, pending: &self.pending };
        set_back::refold(sql, to, &kept, set_back::MAX_FOLDED)
    }

    fn batch(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        commands: &[Result<Request, Problem>],
        recalled: &Recalled,
        entries: &mut Vec<Entry>,
        sight: Sight,
    ) -> Answer {
        let mut answer = BatchAnswer::new(sight);
        let mut quotas = 0_usize;
        let mut commands = commands.iter();
        // What comes behind a command that is left out is left out, too: the caller may mean them to be done in order.
        let mut goes_on = |ledger: &Ledger, answer: &BatchAnswer, command: &Result<Request, Problem>| {
            let Ok(request) = command else { return answer.has_room() };
            let has_room = answer.has_room() && quotas <= MAX_BATCH_QUOTAS;
            quotas = quotas.saturating_add(quotas_looked_at(ledger, request));
            has_room && subject(request).is_none_or(|id| !recalled.unread.contains(id))
        };
        while let Some(command) = commands.next() {
            if !goes_on(&self.ledger, &answer, command) {
                answer.leave_out(1 + commands.len());
                break;
            }
            match command {
                Err(problem) => answer.problem(&self.ledger, problem),
                Ok(Request::Command(command)) => match self.decide(catalog, now, command, recalled, entries) {
                    Ok(outcome) => answer.outcome(&self.ledger, now, &outcome),
                    Err(problem) => answer.problem(&self.ledger, &problem),
                },
                Ok(Request::State(query)) => answer.query(&self.ledger, catalog, now, query),
                Ok(Request::History(_)) => {
                    answer.problem(&self.ledger, &Problem::invalid("op", "a batch does not ask what has happened"));
                }
            }
        }
        answer.finish(&self.ledger, now)
    }

    /// Decides a command and folds what it leads to into the state.
    fn decide(
        &mut self,
        catalog: &Catalog,
        now: Timestamp,
        command: &Command,
        recalled: &Recalled,
        entries: &mut Vec<Entry>,
    ) -> Result<Outcome, Problem> {
        if let Some(problem) = command_subject(command).and_then(|id| unusable(id, recalled)) {
            return Err(problem);
        }
        Ok(self.ledger.execute(catalog, now, command, entries)?)
    }

    fn query(
        &self,
        catalog: &Catalog,
        now: Timestamp,
        query: &StateQuery,
        recalled: &Recalled,
        sight: Sight,
    ) -> Answer {
        let named = if let StateQuery::Reservation(id) = query { Some(id) } else { None };
        match named.and_then(|id| unusable(id, recalled)) {
            Some(problem) => Answer::problem(&problem),
            None => Answer::query(&self.ledger, catalog, now, query, sight),
        }
    }

    /// A question about the state, outside of any turn. Nothing of it stays in memory.
    fn look(
        &mut self,
        sql: &impl Sql,
        catalog: &Catalog,
        now: Timestamp,
        query: &StateQuery,
        sight: Sight,
    ) -> Result<Answer, StoreError> {
        let StateQuery::Reservation(id) = query else {
            return Ok(Answer::query(&self.ledger, catalog, now, query, sight));
        };
        let mut recalled = self.recall(sql, core::iter::once(id))?;
        recalled.put_into(&mut self.ledger);
        let answer = self.query(catalog, now, query, &recalled, sight);
        self.ledger.forget(id);
        Ok(answer)
    }

    fn recall<'a>(&self, sql: &impl Sql, ids: impl Iterator<Item = &'a ReservationId>) -> Result<Recalled, StoreError> {
        if self.has_schema {
            closed::recall(sql, ids, &self.ledger, MAX_RECALLED_BYTES)
        } else {
            Ok(Recalled::default())
        }
    }

    fn commit(&mut self, sql: &impl Sql, entries: &[Entry]) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        if !self.has_schema {
            schema::migrate(sql, schema::TENANT)?;
            self.has_schema = true;
        }
        self.head = journal::append(sql, &self.head, entries)?;
        closed::write(sql, &self.ledger, entries, self.archived_through)?;
        for entry in entries {
            self.note(entry);
        }
        if self.is_snapshot_due() {
            self.snapshot(sql)?;
        }
        Ok(())
    }

    fn is_snapshot_due(&self) -> bool {
        let held_in_memory = self.ledger.open_holds().saturating_add(self.ledger.quota_count());
        let usual = SNAPSHOT_EVERY.saturating_add(held_in_memory.saturating_mul(2));
        self.tail >= self.snapshot_every.unwrap_or(usual)
    }

    fn snapshot(&mut self, sql: &impl Sql) -> Result<(), StoreError> {
        snapshot::write(sql, SNAPSHOT, &self.ledger, &self.head)?;
        usage::add(sql, USAGE, &self.pending)?;
        if !fault::on(Fault::RollUpIsAddedTwice) {
            self.pending.clear();
        }
        self.tail = 0;
        Ok(())
    }

    fn audit(&self, sql: &impl Sql) -> Result<Audit, StoreError> {
        let kept = Kept { ledger: &self.ledger, head: &self.head, pending: &self.pending };
        audit::audit(sql, &kept)
    }

    fn repair(
        &mut self,
        sql: &impl Sql,
        now: Timestamp,
        order: &RepairRequest,
    ) -> Result<Result<RepairReport, Problem>, StoreError> {
        let Audit { report, ledger, usage, changed_since_base } = self.audit(sql)?;
        if report.clean {
            return Ok(Ok(RepairReport { entry: None, repaired: Vec::new() }));
        }
        if let Err(problem) = repair::check(&report) {
            return Ok(Err(problem));
        }
        if report.differences.iter().any(|found| found.place.starts_with("closed")) {
            repair::rewrite_closed(sql, &changed_since_base)?;
        }
        if !fault::on(Fault::RepairLeavesRollUp) {
            usage::replace(sql, USAGE, &usage)?;
        }
        self.stale = true;
        self.pending.clear();
        self.ledger = ledger;
        let mut entries = Vec::new();
        self.follow(sql, now, &mut entries)?;
        self.ledger.note(now, repair::event(order, &report.differences), &mut entries);
        self.commit(sql, &entries)?;
        self.snapshot(sql)?;
        Ok(Ok(RepairReport { entry: Some(self.ledger.last_seq()), repaired: report.differences }))
    }

    fn archive(
        &mut self,
        sql: &impl Sql,
        now: Timestamp,
        order: &ArchiveRequest,
    ) -> Result<Result<ArchiveReport, Problem>, StoreError> {
        let base = archive::base(sql)?;
        if let Err(problem) = archive::check(sql, &base, order)? {
            return Ok(Err(problem));
        }
        let base = if base.last_entry < order.through {
            let mut step = match archive::fold(sql, base, order.through)? {
                Ok(step) => step,
                Err(problem) => return Ok(Err(problem)),
            };
            let event = archive::write(sql, &mut step)?;
            let mut entries = Vec::new();
            self.stale = true;
            self.follow(sql, now, &mut entries)?;
            self.ledger.note(now, event, &mut entries);
            self.commit(sql, &entries)?;
            archive::drop_folded(sql, &step)?;
            // An older snapshot would need entries that are gone.
            self.snapshot(sql)?;
            self.archived_through = step.base.last_entry;
            step.base
        } else {
            base
        };
        archive::report(sql, &base, order).map(Ok)
    }

    /// Counts an entry that is in the journal and not yet in the snapshot and roll-up.
    fn note(&mut self, entry: &Entry) {
        self.tail = self.tail.saturating_add(1);
        if let Some((key, totals)) = usage_report::contribution(entry) {
            self.pending.entry(key).or_default().add(&totals);
        }
    }

    fn history(
        &self,
        sql: &impl Sql,
        now: Timestamp,
        query: &HistoryQuery,
        sight: Sight,
    ) -> Result<Answer, StoreError> {
        if self.ledger.tenant().is_none() {
            return Ok(Answer::tenant(&self.ledger, now));
        }
        match query {
            HistoryQuery::Usage(query) => Ok(match usage::report(sql, query, &self.pending)? {
                Ok(report) => Answer::usage(query, &report),
                Err(problem) => Answer::problem(&problem),
            }),
            HistoryQuery::Entries { after, limit } => {
                let mut page = EntriesPage::new(*limit);
                let most = usize::try_from(*limit).unwrap_or(usize::MAX);
                journal::read(sql, *after, most, |entry| page.add(&entry, sight))?;
                Ok(page.answer(self.archived_through))
            }
        }
    }
}

/// Brings tables of an older version up to date, and with them what is kept besides the journal.
fn bring_up_to_date(sql: &impl Sql) -> Result<(), StoreError> {
    let found = schema::migrate(sql, schema::TENANT)?;
    if found >= schema::BY_QUARTERS {
        return Ok(());
    }
    // Without a snapshot all entries are folded at every start, and the roll-up is of those before.
    if let Some(mut kept) = snapshot::read(sql, SNAPSHOT)? {
        let refolded = usage::rebuild(sql, kept.last_entry)?;
        kept.ledger.remember_ids_of(&refolded);
        snapshot::write(sql, SNAPSHOT, &kept.ledger, &kept.hash)?;
    }
    Ok(())
}

/// What one caller asks.
#[derive(Clone, Copy)]
enum Asked<'a> {
    One(&'a Request),
    Batch(&'a [Result<Request, Problem>]),
}

impl<'a> From<&'a Ask> for Asked<'a> {
    fn from(ask: &'a Ask) -> Self {
        match ask {
            Ask::One(request) => Self::One(request),
            Ask::Batch(commands) => Self::Batch(commands),
        }
    }
}

impl<'a> Asked<'a> {
    fn requests(&self) -> impl Iterator<Item = &'a Request> + use<'a> {
        let (one, batch): (_, &[_]) = match *self {
            Self::One(request) => (Some(request), &[]),
            Self::Batch(commands) => (None, commands),
        };
        one.into_iter().chain(batch.iter().filter_map(|command| command.as_ref().ok()))
    }
}

/// The reservation or record that a request is about.
fn subject(request: &Request) -> Option<&ReservationId> {
    match request {
        Request::Command(command) => command_subject(command),
        Request::State(StateQuery::Reservation(id)) => Some(id),
        _ => None,
    }
}

/// How many quotas a request is about, at most.
fn quotas_looked_at(ledger: &Ledger, request: &Request) -> usize {
    match request {
        Request::Command(Command::Reserve(request)) => ledger.most_applicable(&request.call),
        Request::Command(Command::Record(request)) => ledger.most_applicable(&request.call),
        Request::State(_) => ledger.quota_count(),
        request => {
            subject(request).and_then(|id| ledger.reservation(id)).map_or(0, |reservation| reservation.counted_on.len())
        }
    }
}

fn command_subject(command: &Command) -> Option<&ReservationId> {
    match command {
        Command::Reserve(request) => Some(&request.id),
        Command::Record(request) => Some(&request.id),
        Command::Settle(id, _)
        | Command::Release(id)
        | Command::Extend(id, _)
        | Command::Meter(id, _)
        | Command::Refund(id, _) => Some(id),
        _ => None,
    }
}

/// Why nothing can be done about a reservation or record: it is archived, or what is stored of it cannot be read.
fn unusable(id: &ReservationId, recalled: &Recalled) -> Option<Problem> {
    if recalled.archived.contains(id) {
        return Some(closed::archived(id));
    }
    if recalled.unread.contains(id) {
        return Some(Problem::new(Code::Unavailable, "too much is asked at once: send this again, with the same id"));
    }
    let reason = recalled.damaged.get(id)?;
    Some(Problem::new(Code::Internal, format!("what is stored of `{id}` is damaged; an audit says more ({reason})")))
}
