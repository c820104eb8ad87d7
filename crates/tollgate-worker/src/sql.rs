//! A Durable Object's SQLite database for the store.

use std::cell::Cell as Shared;
use std::rc::Rc;

use tollgate_store::{Cell, Param, Rows, Sql, SqlError, StoreError};
use wasm_bindgen::JsValue;
use worker::{SqlCursor, SqlStorage, SqlStorageValue, Storage};

use crate::transaction::{TransactionError, transaction_sync};

/// 2⁵³: up to here a JavaScript number holds every integer exactly.
const MAX_EXACT: u64 = 1 << 53;

/// The database of one object.
pub struct ObjectSql {
    storage: Storage,
    sql: SqlStorage,
    written: RowsWritten,
}

/// How many rows an object has written since it started, as SQLite counts them: they are what it costs.
#[derive(Clone, Default)]
pub struct RowsWritten(Rc<Shared<usize>>);

impl ObjectSql {
    /// The database behind `storage`, counting into `written`.
    #[must_use]
    pub fn new(storage: Storage, written: RowsWritten) -> Self {
        let sql = storage.sql();
        Self { storage, sql, written }
    }
}

impl RowsWritten {
    /// So many more.
    pub fn add(&self, rows: usize) {
        self.0.set(self.0.get().saturating_add(rows));
    }

    /// So many in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.get()
    }
}

impl Sql for ObjectSql {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        let params = params.iter().map(to_js).collect::<Result<Vec<_>, _>>()?;
        let cursor = self.sql.exec_raw(sql, params).map_err(|error| sql_error(&error))?;
        let rows = rows(&cursor)?;
        self.written.add(cursor.rows_written());
        Ok(rows)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        transaction_sync(&self.storage, body).map_err(|error| match error {
            TransactionError::Body(error) => error,
            TransactionError::Storage(error) => sql_error(&error).into(),
        })
    }
}

/// Every row, all cells of it. The rows are read at once: a cursor must not outlive the turn.
fn rows(cursor: &SqlCursor) -> Result<Rows, SqlError> {
    cursor.raw().map(|row| row.map_err(|error| sql_error(&error))?.into_iter().map(from_sql).collect()).collect()
}

fn to_js(param: &Param<'_>) -> Result<JsValue, SqlError> {
    match *param {
        Param::Text(text) => Ok(JsValue::from_str(text)),
        Param::Null => Ok(JsValue::NULL),
        Param::Integer(integer) if integer.unsigned_abs() <= MAX_EXACT =>
        {
            #[expect(clippy::cast_precision_loss, reason = "it is within ±2⁵³, where every integer is exact")]
            Ok(JsValue::from_f64(integer as f64))
        }
        Param::Integer(integer) => Err(SqlError(format!("{integer} is beyond JavaScript's integers"))),
    }
}

fn from_sql(value: SqlStorageValue) -> Result<Cell, SqlError> {
    match value {
        SqlStorageValue::Null => Ok(Cell::Null),
        SqlStorageValue::String(text) => Ok(Cell::Text(text)),
        SqlStorageValue::Integer(integer) => Ok(Cell::Integer(integer)),
        // A number that is no integer, or one that JavaScript has rounded.
        SqlStorageValue::Float(_) => Err(SqlError("a number beyond JavaScript's integers".to_owned())),
        SqlStorageValue::Boolean(_) | SqlStorageValue::Blob(_) => {
            Err(SqlError("neither a text nor an integer nor NULL".to_owned()))
        }
    }
}

fn sql_error(error: &worker::Error) -> SqlError {
    SqlError(error.to_string())
}
