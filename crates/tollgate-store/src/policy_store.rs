//! The policy document, every version of it.

use tollgate_core::policy::Policy;

use crate::journal;
use crate::schema;
use crate::sql::{Param, Row, Sql, StoreError};

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
        if schema::version(&self.sql)? == 0 {
            return Ok((0, Policy::default()));
        }
        let rows = self.sql.query("SELECT version, document FROM policy ORDER BY version DESC LIMIT 1", &[])?;
        let Some(row) = rows.first() else {
            return Ok((0, Policy::default()));
        };
        let mut row = Row::new(row, "policy");
        let version = journal::unsigned(row.integer()?);
        Ok((version, journal::parse(row.text()?, "policy")?))
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
        let version = version + 1;
        let document = serde_json::to_string(policy).map_err(|error| StoreError::Damaged(error.to_string()))?;
        let sql = &self.sql;
        sql.transaction(&mut || {
            schema::migrate(sql, schema::PLATFORM)?;
            sql.query(
                "INSERT INTO policy (version, document) VALUES (?1, ?2)",
                &[Param::Integer(journal::signed(version)), Param::Text(&document)],
            )?;
            Ok(())
        })?;
        Ok(version)
    }
}
