//! What can be asked about or of one tenant's ledger.

use super::price_body::PriceRequest;
use super::problem::Problem;
use crate::ids::{QuotaId, ReservationId};
use crate::ledger::{Command, HoldPlace, HoldsFilter, ReserveRequest};
use crate::usage_report::UsageQuery;

/// What can be asked about or of one tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A change.
    Command(Command),
    /// A question about the state.
    State(StateQuery),
    /// A question about what has happened.
    History(HistoryQuery),
}

/// What one caller asks at once, and is given one answer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One request.
    One(Request),
    /// A batch's commands, or what is wrong with them.
    Batch(Vec<Result<Request, Problem>>),
}

impl Ask {
    /// How many requests it is.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Batch(commands) => commands.len(),
        }
    }

    /// Whether it asks nothing: a batch without commands.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A question about what has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryQuery {
    /// What was spent.
    Usage(Box<UsageQuery>),
    /// The ledger's lines after a number.
    Entries {
        /// The last line that the caller has.
        after: u64,
        /// The most lines to return.
        limit: u32,
    },
}

/// A question about the state of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateQuery {
    /// The tenant and its quotas.
    Tenant,
    /// Quotas, by page.
    Quotas(QuotasQuery),
    /// One quota, with every credit and increase that it has.
    Quota(QuotaId),
    /// One reservation or record.
    Reservation(ReservationId),
    /// Open holds, by page.
    Holds(Box<HoldsQuery>),
    /// What a reservation would be answered.
    Explain(Box<ReserveRequest>),
    /// Own rates, aliases and markups.
    Overrides,
    /// What a usage costs this tenant.
    Price(Box<PriceRequest>),
}

/// A page of quotas, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotasQuery {
    /// The last quota that the caller has; none for the first page.
    pub after: Option<QuotaId>,
    /// The most quotas to return: 1 to [`MAX_QUOTAS_PAGE`](super::MAX_QUOTAS_PAGE).
    pub limit: u32,
}

/// A page of open holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldsQuery {
    /// Which.
    pub filter: HoldsFilter,
    /// The place of the last hold that the caller has.
    pub after: Option<HoldPlace>,
    /// The most holds to return.
    pub limit: u32,
}
