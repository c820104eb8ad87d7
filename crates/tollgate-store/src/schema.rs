//! The tables, and how older ones become the current ones.

use crate::sql::{Param, Row, Sql, StoreError};

/// The statements that lead from each version to the next: the first list makes version 1 of an empty database.
pub(crate) type Migrations = &'static [&'static [&'static str]];

/// The tables of a tenant's ledger.
pub(crate) const TENANT: Migrations = &[
    &[
        "CREATE TABLE journal (last_entry INTEGER PRIMARY KEY, hash TEXT NOT NULL, entries TEXT NOT NULL)",
        // Without a rowid a row is written once, not once for the table and once for the index; rows written are what a Durable Object
        // costs.
        "CREATE TABLE closed (id TEXT PRIMARY KEY, reservation TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE snapshot (part INTEGER PRIMARY KEY, last_entry INTEGER NOT NULL, hash TEXT NOT NULL, state TEXT NOT NULL)",
        // An absent user, model or touchpoint is '': names are never empty, and a key cannot be NULL here.
        "CREATE TABLE usage (hour INTEGER NOT NULL, resource TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL, \
     touchpoint TEXT NOT NULL, usd_whole INTEGER NOT NULL, usd_pico INTEGER NOT NULL, calls INTEGER NOT NULL, \
     input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, \
     PRIMARY KEY (hour, resource, user, model, touchpoint)) WITHOUT ROWID",
    ],
    &[
        // The entry that wrote the row last, and the same again once that entry is archived. What version 1 settled late does not say by
        // which entry: by the last one at the latest.
        "ALTER TABLE closed ADD COLUMN entry INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE closed ADD COLUMN archived INTEGER",
        "UPDATE closed SET entry = CASE WHEN reservation ->> '$.end.late' THEN (SELECT MAX(last_entry) FROM journal) \
         ELSE reservation ->> '$.end.seq' END",
        // Rows that are not archived are not in it, and so cost no more than before.
        "CREATE INDEX closed_archived ON closed (archived) WHERE archived IS NOT NULL",
        "CREATE TABLE base (part INTEGER PRIMARY KEY, last_entry INTEGER NOT NULL, hash TEXT NOT NULL, state TEXT NOT NULL)",
        "CREATE TABLE base_usage (hour INTEGER NOT NULL, resource TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL, \
         touchpoint TEXT NOT NULL, usd_whole INTEGER NOT NULL, usd_pico INTEGER NOT NULL, calls INTEGER NOT NULL, \
         input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, \
         PRIMARY KEY (hour, resource, user, model, touchpoint)) WITHOUT ROWID",
    ],
    // The roll-up by quarters of an hour, and by what was called. What is archived stays in the first quarter of its hours; the rest is made anew
    // from the journal by whoever opens the ledger.
    &[
        "DROP TABLE usage",
        "CREATE TABLE usage (quarter INTEGER NOT NULL, resource TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL, \
         called TEXT NOT NULL, touchpoint TEXT NOT NULL, usd_whole INTEGER NOT NULL, usd_pico INTEGER NOT NULL, \
         calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, \
         PRIMARY KEY (quarter, resource, user, model, called, touchpoint)) WITHOUT ROWID",
        "ALTER TABLE base_usage RENAME TO base_usage_by_hour",
        "CREATE TABLE base_usage (quarter INTEGER NOT NULL, resource TEXT NOT NULL, user TEXT NOT NULL, model TEXT NOT NULL, \
         called TEXT NOT NULL, touchpoint TEXT NOT NULL, usd_whole INTEGER NOT NULL, usd_pico INTEGER NOT NULL, \
         calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, \
         PRIMARY KEY (quarter, resource, user, model, called, touchpoint)) WITHOUT ROWID",
        "INSERT INTO base_usage SELECT hour, resource, user, model, '', touchpoint, usd_whole, usd_pico, calls, input_tokens, \
         output_tokens FROM base_usage_by_hour",
        "DROP TABLE base_usage_by_hour",
    ],
];

/// The first version whose roll-up is by quarters of an hour.
pub(crate) const BY_QUARTERS: i64 = 3;

/// The tables of what concerns every tenant.
pub(crate) const PLATFORM: Migrations = &[
    &["CREATE TABLE policy (version INTEGER PRIMARY KEY, document TEXT NOT NULL)"],
    &["CREATE TABLE overrides (version INTEGER PRIMARY KEY, document TEXT NOT NULL)"],
    &[
        // One row per tenant; what else is known of it gets columns of its own.
        "CREATE TABLE tenants (id TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE registry (began INTEGER NOT NULL, adopts INTEGER NOT NULL)",
    ],
];

/// The version that the database has; 0 where it is empty. Writes nothing.
pub(crate) fn version(sql: &impl Sql) -> Result<i64, StoreError> {
    let tables = sql.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'", &[])?;
    if tables.is_empty() {
        return Ok(0);
    }
    let rows = sql.query("SELECT version FROM schema_version", &[])?;
    let row = rows.first().ok_or_else(|| StoreError::Damaged("schema_version is empty".to_owned()))?;
    Row::new(row, "schema_version").integer()
}

/// Brings the database to the latest version, and says which one it had. Must run inside a transaction.
pub(crate) fn migrate(sql: &impl Sql, migrations: Migrations) -> Result<i64, StoreError> {
    let found = version(sql)?;
    let known = i64::try_from(migrations.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(found);
    }
    if found == 0 {
        sql.query("CREATE TABLE schema_version (version INTEGER NOT NULL)", &[])?;
        sql.query("INSERT INTO schema_version (version) VALUES (0)", &[])?;
    }
    for statements in migrations.iter().skip(usize::try_from(found).unwrap_or(0)) {
        for statement in *statements {
            sql.query(statement, &[])?;
        }
    }
    sql.query("UPDATE schema_version SET version = ?1", &[Param::Integer(known)])?;
    Ok(found)
}
