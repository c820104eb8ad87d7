//! Documents of the platform, every version of them, each kind in a table of its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::journal;
use crate::parts::json;
use crate::schema;
use crate::sql::{Param, Row, Sql, StoreError};

/// The document in force and its version. None before the first, or where the tables are older than its own, which came with schema `since`.
pub(crate) fn latest<T: DeserializeOwned>(
    sql: &impl Sql,
    table: &'static str,
    since: i64,
) -> Result<Option<(u64, T)>, StoreError> {
    if schema::version(sql)? < since {
        return Ok(None);
    }
    let rows = sql.query(&format!("SELECT version, document FROM {table} ORDER BY version DESC LIMIT 1"), &[])?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut row = Row::new(row, table);
    let version = journal::unsigned(row.integer()?);
    Ok(Some((version, journal::parse(row.text()?, table)?)))
}

/// Adds a version of a document.
pub(crate) fn add(sql: &impl Sql, table: &str, version: u64, document: &impl Serialize) -> Result<(), StoreError> {
    let document = json(document)?;
    sql.transaction(&mut || {
        schema::migrate(sql, schema::PLATFORM)?;
        sql.query(
            &format!("INSERT INTO {table} (version, document) VALUES (?1, ?2)"),
            &[Param::Integer(journal::signed(version)), Param::Text(&document)],
        )?;
        Ok(())
    })
}
