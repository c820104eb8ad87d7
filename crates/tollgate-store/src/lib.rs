//! The ledger in SQL.
//!
//! The statements go through the small [`Sql`] trait, so that the very same ones run in a Durable Object and, on SQLite in process,
//! in native tests. What is stored per tenant:
//!
//! - `journal`: one row per commit with all its entries, hash-chained: the ledger's truth;
//! - `closed`: one row per ended reservation or record, so that a repeat or a late settle finds it;
//! - `snapshot`: the state to start from, so that start-up reads it and a bounded tail of the journal;
//! - `usage`: the roll-up by hour, brought up to date whenever a snapshot is taken; what came later is added when it is read.

mod audit;
mod journal;
mod overrides_store;
mod policy_store;
mod schema;
mod snapshot;
mod sql;
#[cfg(feature = "rusqlite")]
mod sqlite;
mod tenant_store;
mod usage;

pub use audit::AuditReport;
pub use overrides_store::OverridesStore;
pub use policy_store::PolicyStore;
pub use sql::{Cell, Param, Rows, Sql, SqlError, StoreError};
#[cfg(feature = "rusqlite")]
pub use sqlite::Sqlite;
pub use tenant_store::TenantStore;
