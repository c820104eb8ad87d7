//! What can be asked about or of one tenant's ledger.

use super::price_body::PriceRequest;
use crate::ids::ReservationId;
use crate::ledger::{Command, ReserveRequest};
use crate::sight::Sight;
use crate::usage_report::UsageQuery;

/// A request, with whose eyes its answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// What is asked.
    pub request: Request,
    /// Whose eyes the answer is for.
    pub sight: Sight,
}

/// Whatever a ledger can be asked. A request by itself is one for an administrator's eyes.
pub trait Asks {
    /// What is asked.
    fn request(&self) -> &Request;
    /// Whose eyes the answer is for.
    fn sight(&self) -> Sight;
}

impl Asks for Asking {
    fn request(&self) -> &Request {
        &self.request
    }

    fn sight(&self) -> Sight {
        self.sight
    }
}

impl Asks for Request {
    fn request(&self) -> &Request {
        self
    }

    fn sight(&self) -> Sight {
        Sight::Everything
    }
}

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

/// A question about what has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryQuery {
    /// What was spent.
    Usage(UsageQuery),
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
    /// Every quota.
    Quotas,
    /// One reservation or record.
    Reservation(ReservationId),
    /// What a reservation would be answered.
    Explain(Box<ReserveRequest>),
    /// Own rates, aliases and markups.
    Overrides,
    /// What a usage costs this tenant.
    Price(Box<PriceRequest>),
}
