//! The platform's own rates, aliases and markups, every version of them.

use std::sync::Arc;

use tollgate_core::catalog::OverridesDocument;

use crate::documents;
use crate::sql::{Sql, StoreError};

const TABLE: &str = "overrides";

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
        Ok(documents::latest(&self.sql, TABLE, SINCE)?
            .map_or((0, Arc::default()), |(version, document)| (version, Arc::new(document))))
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
        documents::add(&self.sql, TABLE, version + 1, document)?;
        Ok(version + 1)
    }
}
