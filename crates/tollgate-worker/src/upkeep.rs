//! What an administrator asks of a stored ledger: to audit, to repair, to hand out its rows, to archive, to re-rate.

use serde::Serialize;
use tollgate_core::api::{self, Answer, ArchiveRequest, Code, JournalQuery, Problem, RepairRequest, RerateRequest};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::Rejection;
use tollgate_core::time::Timestamp;
use tollgate_store::{Sql, StoreError, TenantStore};

use crate::router::Endpoint;

/// One such request.
#[derive(Debug)]
pub enum Upkeep {
    /// Fold again and compare.
    Audit,
    /// Set right what differs.
    Repair(RepairRequest),
    /// Rows as they are stored.
    Journal(JournalQuery),
    /// Drop what was exported.
    Archive(ArchiveRequest),
    /// Compare charges with other prices.
    Rerate(Box<RerateRequest>),
}

impl Upkeep {
    /// Whether an endpoint is one of these.
    #[must_use]
    pub const fn has(endpoint: Endpoint) -> bool {
        matches!(
            endpoint,
            Endpoint::Audit | Endpoint::Repair | Endpoint::Journal | Endpoint::Archive | Endpoint::Rerate
        )
    }

    /// Reads what an endpoint, its query and its body ask.
    ///
    /// # Errors
    /// The field that is wrong, or an endpoint that is none of these.
    pub fn read(endpoint: Endpoint, query: &str, body: &str) -> Result<Self, Problem> {
        match endpoint {
            Endpoint::Audit => Ok(Self::Audit),
            Endpoint::Repair => api::parse_repair(body).map(Self::Repair),
            Endpoint::Archive => api::parse_archive(body).map(Self::Archive),
            Endpoint::Rerate => api::parse_rerate(body).map(Box::new).map(Self::Rerate),
            Endpoint::Journal => {
                let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
                api::parse_journal_query(pairs.iter().map(|(name, value)| (&**name, &**value))).map(Self::Journal)
            }
            _ => Err(Problem::new(Code::NotFound, "no tenant's ledger answers this")),
        }
    }

    /// Does it. The answer, or the problem that it was refused for.
    ///
    /// # Errors
    /// The database failed; nothing was changed.
    pub fn carry_out<S: Sql>(
        &self,
        store: &mut TenantStore<S>,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<Result<Answer, Problem>, StoreError> {
        Ok(match self {
            Self::Audit => {
                store.catch_up()?;
                known(store.audit()?)
            }
            Self::Journal(query) => known(store.journal(*query)?),
            Self::Repair(order) => store.repair(now, order)?.map(|report| Answer::json(200, &report)),
            Self::Archive(order) => store.archive(now, order)?.map(|report| Answer::json(200, &report)),
            Self::Rerate(request) => store.rerate(catalog, now, request)?.map(|report| Answer::json(200, &report)),
        })
    }
}

fn known(found: Option<impl Serialize>) -> Result<Answer, Problem> {
    found.map(|found| Answer::json(200, &found)).ok_or_else(|| Rejection::TenantNotFound.into())
}
