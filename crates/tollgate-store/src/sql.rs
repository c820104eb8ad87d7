//! The little of SQL that the store needs.

/// 2⁵³ − 1: up to here JavaScript's numbers hold every integer, and it and the next one are not the same.
pub(crate) const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A SQLite database. Integers stay within ±2⁵³ in both directions, because in a Durable Object they cross JavaScript; larger ones
/// travel as text.
pub trait Sql {
    /// Runs one statement and returns its rows.
    ///
    /// # Errors
    /// The database's message.
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError>;

    /// Runs `body` so that all its statements take effect, or, where it fails, none.
    ///
    /// # Errors
    /// The error of `body`, or of the commit.
    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError>;
}

/// A value that goes into a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param<'a> {
    /// Text.
    Text(&'a str),
    /// An integer within ±2⁵³.
    Integer(i64),
    /// NULL.
    Null,
}

/// A value that comes out of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// An integer within ±2⁵³.
    Integer(i64),
    /// NULL.
    Null,
}

/// What a statement returns.
pub type Rows = Vec<Vec<Cell>>;

/// The database refused a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SqlError(pub String);

/// Why the store could not answer. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database failed: try again.
    #[error("database: {0}")]
    Sql(#[from] SqlError),
    /// What is stored cannot be read: restore it from a backup.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// What is stored was written by a later version: deploy that version again.
    #[error("stored data has schema {found}, and this version knows up to {known}")]
    NewerSchema {
        /// The version that is stored.
        found: i64,
        /// The latest version that this code knows.
        known: i64,
    },
}

/// Takes the rows of a statement apart, with an error that says where what was expected is not there.
pub(crate) struct Row<'a> {
    cells: core::slice::Iter<'a, Cell>,
    of: &'static str,
}

impl<'a> Row<'a> {
    pub(crate) fn new(row: &'a [Cell], of: &'static str) -> Self {
        Self { cells: row.iter(), of }
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, StoreError> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(text),
            _ => Err(self.damaged("a text")),
        }
    }

    /// A text, or NULL.
    pub(crate) fn optional_text(&mut self) -> Result<Option<&'a str>, StoreError> {
        match self.cells.next() {
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.damaged("a text or NULL")),
        }
    }

    pub(crate) fn integer(&mut self) -> Result<i64, StoreError> {
        match self.cells.next() {
            Some(Cell::Integer(integer)) => Ok(*integer),
            _ => Err(self.damaged("an integer")),
        }
    }

    /// An integer of any size, selected as text.
    pub(crate) fn large_integer(&mut self) -> Result<i128, StoreError> {
        self.text()?.parse().map_err(|_| self.damaged("an integer"))
    }

    fn damaged(&self, expected: &str) -> StoreError {
        StoreError::Damaged(format!("{}: expected {expected}", self.of))
    }
}
