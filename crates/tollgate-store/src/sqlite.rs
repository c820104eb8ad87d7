//! [`Sql`] on SQLite in process.

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::sql::{Cell, Param, Rows, Sql, SqlError, StoreError};

/// A SQLite database in memory or in a file.
#[derive(Debug)]
pub struct Sqlite(Connection);

impl Sqlite {
    /// An empty database in memory.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn in_memory() -> Result<Self, SqlError> {
        Connection::open_in_memory().map(Self::of).map_err(failed)
    }

    /// The database in a file, which is made if it is not there.
    ///
    /// # Errors
    /// SQLite's message.
    pub fn open(path: &std::path::Path) -> Result<Self, SqlError> {
        Connection::open(path).map(Self::of).map_err(failed)
    }

    /// The store has more statements than SQLite's wrapper keeps prepared by itself.
    fn of(connection: Connection) -> Self {
        connection.set_prepared_statement_cache_capacity(64);
        Self(connection)
    }
}

impl Sql for Sqlite {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        let mut statement = self.0.prepare_cached(sql).map_err(failed)?;
        let columns = statement.column_count();
        let mut rows = statement.query(params_from_iter(params)).map_err(failed)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let cells = (0..columns).map(|column| row.get_ref(column).map_err(failed).and_then(cell));
            found.push(cells.collect::<Result<_, _>>()?);
        }
        Ok(found)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let transaction = self.0.unchecked_transaction().map_err(failed)?;
        // Dropping it without a commit rolls back.
        body()?;
        transaction.commit().map_err(failed)?;
        Ok(())
    }
}

impl<S: Sql> Sql for &S {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        (**self).query(sql, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        (**self).transaction(body)
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Integer(integer) => ToSqlOutput::Owned(Value::Integer(*integer)),
            Param::Null => ToSqlOutput::Owned(Value::Null),
        })
    }
}

fn cell(value: ValueRef<'_>) -> Result<Cell, SqlError> {
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(integer) => Ok(Cell::Integer(integer)),
        ValueRef::Text(text) => {
            let text = core::str::from_utf8(text).map_err(|error| SqlError(error.to_string()))?;
            Ok(Cell::Text(text.to_owned()))
        }
        other => Err(SqlError(format!("a value of type {}", other.data_type()))),
    }
}

fn failed(error: rusqlite::Error) -> SqlError {
    SqlError(error.to_string())
}
