//! The storage that fails: SQLite in memory behind the store's own trait. What is committed stays, whatever becomes of the instances.

use std::cell::Cell;
use std::rc::Rc;

use tollgate_store::{Cell as Value, Param, Rows, Sql, SqlError, Sqlite, StoreError};

/// How the storage fails in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The statement that many statements from now fails.
    Statement(u8),
    /// The commit fails and nothing is written.
    CommitFails,
    /// The instance dies at the statement that many statements from now.
    DiesAt(u8),
    /// The instance dies with everything written and nothing committed.
    DiesBeforeCommit,
    /// The instance dies right after the commit, before anyone is answered.
    DiesAfterCommit,
}

impl Failure {
    /// Whether no instance is left.
    #[must_use]
    pub const fn kills(self) -> bool {
        matches!(self, Self::DiesAt(_) | Self::DiesBeforeCommit | Self::DiesAfterCommit)
    }
}

/// What is changed behind the ledger's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The roll-up's sums.
    RollUp,
    /// All of the roll-up.
    NoRollUp,
    /// What the snapshot says was spent.
    Snapshot,
    /// The first of the reservations that have ended.
    Ended,
}

impl Damage {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::RollUp, Self::NoRollUp, Self::Snapshot, Self::Ended];

    const fn statement(self) -> &'static str {
        match self {
            Self::RollUp => "UPDATE usage SET usd_pico = usd_pico + 1",
            Self::NoRollUp => "DELETE FROM usage",
            Self::Snapshot => "UPDATE snapshot SET state = replace(state, '\"spent\":\"', '\"spent\":\"1')",
            Self::Ended => "DELETE FROM closed WHERE id = (SELECT MIN(id) FROM closed WHERE reservation <> '')",
        }
    }
}

/// One tenant's storage, shared by the instances that come and go.
#[derive(Clone, Debug)]
pub struct Disk(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Sqlite,
    failure: Cell<Option<Failure>>,
    has_failed: Cell<bool>,
    has_journal: Cell<bool>,
}

impl Disk {
    /// An empty one.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn new() -> Result<Self, SqlError> {
        Ok(Self(Rc::new(Inner {
            database: Sqlite::in_memory()?,
            failure: Cell::new(None),
            has_failed: Cell::new(false),
            has_journal: Cell::new(false),
        })))
    }

    /// Makes it fail once.
    pub fn fail(&self, failure: Option<Failure>) {
        self.0.failure.set(failure);
        self.0.has_failed.set(false);
    }

    /// Whether it has failed as it was [told](Self::fail), after which it works again.
    pub fn end_failure(&self) -> bool {
        self.0.failure.set(None);
        self.0.has_failed.replace(false)
    }

    /// The number of the last entry that is committed.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn last_entry(&self) -> Result<i64, SqlError> {
        if !self.0.has_journal.get() {
            let tables = self.0.database.query("SELECT 1 FROM sqlite_master WHERE name = 'journal'", &[])?;
            if tables.is_empty() {
                return Ok(0);
            }
            self.0.has_journal.set(true);
        }
        let rows = self.0.database.query("SELECT COALESCE(MAX(last_entry), 0) FROM journal", &[])?;
        match rows.first().and_then(|row| row.first()) {
            Some(Value::Integer(last)) => Ok(*last),
            other => Err(SqlError(format!("no last entry: {other:?}"))),
        }
    }

    /// The rows of the journal: the last entry of each, and its hash.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn rows(&self) -> Result<Vec<(u64, String)>, SqlError> {
        let rows = self.0.database.query("SELECT last_entry, hash FROM journal ORDER BY last_entry", &[])?;
        let row = |row: &Vec<Value>| match row.as_slice() {
            [Value::Integer(last), Value::Text(hash)] => Some((u64::try_from(*last).ok()?, hash.clone())),
            _ => None,
        };
        rows.iter().map(|cells| row(cells).ok_or_else(|| SqlError(format!("no row: {cells:?}")))).collect()
    }

    /// The rows of the journal after an entry, as they are stored.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn entries_after(&self, entry: i64) -> Result<Vec<String>, SqlError> {
        let statement = format!("SELECT entries FROM journal WHERE last_entry > {entry} ORDER BY last_entry");
        let rows = self.0.database.query(&statement, &[])?;
        let row = |row: &Vec<Value>| match row.as_slice() {
            [Value::Text(entries)] => Some(entries.clone()),
            _ => None,
        };
        rows.iter().map(|cells| row(cells).ok_or_else(|| SqlError(format!("no row: {cells:?}")))).collect()
    }

    /// The ended reservations of which only the id is left.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn archived(&self) -> Result<Vec<String>, SqlError> {
        let rows = self.0.database.query("SELECT id FROM closed WHERE reservation = ''", &[])?;
        let ids = rows.into_iter().flatten().filter_map(|cell| match cell {
            Value::Text(id) => Some(id),
            _ => None,
        });
        Ok(ids.collect())
    }

    /// Changes what is stored.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn damage(&self, damage: Damage) -> Result<(), SqlError> {
        self.0.database.query(damage.statement(), &[]).map(|_| ())
    }

    fn fails(&self, what: &str) -> SqlError {
        self.0.failure.set(None);
        self.0.has_failed.set(true);
        SqlError(what.to_owned())
    }
}

impl Sql for Disk {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        match self.0.failure.get() {
            Some(Failure::Statement(0) | Failure::DiesAt(0)) => return Err(self.fails("the disk failed")),
            Some(Failure::Statement(left)) => self.0.failure.set(Some(Failure::Statement(left - 1))),
            Some(Failure::DiesAt(left)) => self.0.failure.set(Some(Failure::DiesAt(left - 1))),
            _ => {}
        }
        self.0.database.query(sql, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.0.database.transaction(&mut || {
            body()?;
            match self.0.failure.get() {
                Some(Failure::CommitFails | Failure::DiesBeforeCommit) => Err(self.fails("the commit failed").into()),
                _ => Ok(()),
            }
        })?;
        if self.0.failure.get() == Some(Failure::DiesAfterCommit) {
            return Err(self.fails("the instance is gone").into());
        }
        Ok(())
    }
}
