//! The ledger in SQL.
//!
//! The statements go through the small [`Sql`] trait, so that the very same ones run in a Durable Object and, on SQLite in process,
//! in native tests. What is stored per tenant:
//!
//! - `journal`: one row per commit with all its entries, hash-chained: the ledger's truth;
//! - `closed`: one row per ended reservation or record, so that a repeat or a late settle finds it; only its id once it is archived;
//! - `snapshot`: the state to start from, so that start-up reads it and a bounded tail of the journal;
//! - `usage`: the roll-up by hour, brought up to date whenever a snapshot is taken; what came later is added when it is read;
//! - `base` and `base_usage`: state and roll-up that archived entries led to, where the audit starts.

mod archive;
mod audit;
mod closed;
mod documents;
mod journal;
mod overrides_store;
mod parts;
mod policy_store;
mod repair;
mod rerate;
mod schema;
mod set_back;
mod snapshot;
mod sql;
#[cfg(feature = "rusqlite")]
mod sqlite;
mod tenant_store;
mod tenants;
mod usage;

pub use archive::ArchiveReport;
pub use audit::{AuditReport, DifferenceBody};
pub use journal::{ChainEnd, JournalPage, StoredRow};
pub use overrides_store::OverridesStore;
pub use policy_store::PolicyStore;
pub use repair::RepairReport;
pub use sql::{Cell, Param, Rows, Sql, SqlError, StoreError};
#[cfg(feature = "rusqlite")]
pub use sqlite::Sqlite;
pub use tenant_store::TenantStore;
pub use tenants::{ADOPTION_DAYS, Adoption, TenantsStore};
