//! The policy document, every version of it.

use tollgate_core::policy::Policy;

use crate::documents;
use crate::sql::{Sql, StoreError};

const TABLE: &str = "policy";

/// Keeps the policy. An empty database has the built-in one, version 0.
#[derive(Debug)]
pub struct PolicyStore<S> {
    sql: S,
}

impl<S: Sql> PolicyStore<S> {
    /// Opens the database. Writes nothing.
    pub const fn open(sql: S) -> Self {
        Self { sql }
    }

    /// The policy in force and its version.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn policy(&self) -> Result<(u64, Policy), StoreError> {
        Ok(documents::latest(&self.sql, TABLE, 1)?.unwrap_or_default())
    }

    /// Puts a policy in force and returns its version. The same policy again is the same version.
    ///
    /// # Errors
    /// The database failed.
    pub fn put(&mut self, policy: &Policy) -> Result<u64, StoreError> {
        let (version, current) = self.policy()?;
        if version > 0 && current == *policy {
            return Ok(version);
        }
        documents::add(&self.sql, TABLE, version + 1, policy)?;
        Ok(version + 1)
    }
}
