//! The platform's own rates, aliases and markups, every version of them.

use std::sync::Arc;

use tollgate_core::catalog::OverridesDocument;

use crate::journal;
use crate::schema;
use crate::sql::{Param, Row, Sql, StoreError};

/// The version of the tables that has the documents.
const SINCE: i64 = 2;

/// Keeps the document. An empty database has an empty one, version 0.
#[derive(Debug)]
pub struct OverridesStore<S> {
    sql: S,
}

impl<S: Sql> OverridesStore<S> {
    /// Opens the database. Writes nothing.
    pub const fn open(sql: S) -> Self {
        Self { sql }
    }

    /// The document in force and its version.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn overrides(&self) -> Result<(u64, Arc<OverridesDocument>), StoreError> {
        if schema::version(&self.sql)? < SINCE {
            return Ok((0, Arc::default()));
        }
        let rows = self.sql.query("SELECT version, document FROM overrides ORDER BY version DESC LIMIT 1", &[])?;
        let Some(row) = rows.first() else {
            return Ok((0, Arc::default()));
        };
        let mut row = Row::new(row, "overrides");
        let version = journal::unsigned(row.integer()?);
        Ok((version, Arc::new(journal::parse(row.text()?, "overrides")?)))
    }

    /// Puts a document in force and returns its version. The same document again is the same version.
    ///
    /// # Errors
    /// The database failed.
    pub fn put(&mut self, document: &OverridesDocument) -> Result<u64, StoreError> {
        let (version, current) = self.overrides()?;
        if *current == *document {
            return Ok(version);
        }
        let version = version + 1;
        let document = serde_json::to_string(document).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let sql = &self.sql;
        sql.transaction(&mut || {
            schema::migrate(sql, schema::PLATFORM)?;
            sql.query(
                "INSERT INTO overrides (version, document) VALUES (?1, ?2)",
                &[Param::Integer(journal::signed(version)), Param::Text(&document)],
            )?;
            Ok(())
        })?;
        Ok(version)
    }
}
