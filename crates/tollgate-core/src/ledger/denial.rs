//! Why a command was refused, with what its caller can do about it.

use std::borrow::Cow;

use super::counter::QuotaView;
use super::open_holds::TooManyHolds;
use super::reservation::EndState;
use crate::amount::Amount;
use crate::bounds::Amounts;
use crate::estimate::Affordable;
use crate::ids::{QuotaId, ReservationId};
use crate::period::Window;
use crate::price::Unpriced;
use crate::quota::{Quota, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It does not fit: wait, ask for less, or raise the limit.
    #[error("{}", .0.sentence())]
    QuotaExceeded(Box<Denial>),
    /// Too many reservations are open: settle or release some.
    #[error("{}", .0.sentence())]
    TooManyHolds(Box<TooManyHolds>),
    /// A hold has had too many extensions or readings, or the tenant's open holds have: settle it, and reserve anew.
    #[error(
        "too many {0}: a hold takes 10000 extensions and 10000 readings, and a tenant's open holds remember 250000 in all; settle this one, and reserve anew"
    )]
    TooManyChanges(&'static str),
    /// The tenant is not onboarded.
    #[error("the tenant is not onboarded")]
    TenantNotFound,
    /// There is no such reservation.
    #[error("there is no reservation `{0}`")]
    ReservationNotFound(ReservationId),
    /// There is no such quota.
    #[error("there is no quota `{0}`")]
    QuotaNotFound(QuotaId),
    /// Something that was paid for is left of a quota: spend it, revoke it, or forfeit it.
    #[error("quota `{id}` has {left} {} of credits left: revoke them first, or say `forfeit`", .unit.noun())]
    CreditsLeft {
        /// Which.
        id: QuotaId,
        /// How much.
        left: Amount,
        /// Of what.
        unit: Unit,
    },
    /// A quota has no such credit or increase.
    #[error("{0}")]
    NotFound(String),
    /// The id was used with other content: take a new one.
    #[error("`{0}` was used before with other content")]
    IdempotencyConflict(String),
    /// The reservation has ended in another way.
    #[error("reservation `{id}` has already been {}", .state.past_participle())]
    AlreadyEnded {
        /// Which.
        id: ReservationId,
        /// How.
        state: EndState,
    },
    /// The reservation is open, and nothing of it can be taken back: settle or release it.
    #[error("reservation `{0}` is still held: settle or release it")]
    StillHeld(ReservationId),
    /// The call has no price: give an amount, or set the policy's rule for unknown models.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// A field is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// Its path on the wire.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl EndState {
    const fn past_participle(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Recorded => "recorded",
        }
    }
}

/// A denial that explains itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Decided at.
    pub at: Timestamp,
    /// What was asked for; of an extension, what was asked for in addition.
    pub requested: Amounts,
    /// The quotas that did not fit, the binding one first: it is the one that resets last. Empty where no quota applies and the
    /// policy denies that.
    pub quotas: Vec<DenyingQuota>,
    /// What would have fitted in all of them.
    pub affordable: Option<Affordable>,
}

/// A quota that did not fit, as it stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyingQuota {
    /// Its id.
    pub id: QuotaId,
    /// What it says.
    pub quota: Quota,
    /// Where it comes from.
    pub source: super::QuotaSource,
    /// The period.
    pub window: Window,
    /// The limit that was in force.
    pub limit: Amount,
    /// Settled in the period.
    pub spent: Amount,
    /// Reserved in the period and not ended.
    pub held: Amount,
    /// The thresholds that were crossed.
    pub warned: Vec<Ratio>,
    /// When it has room by itself, if nothing else is added: at its period's end, or when enough has left its window for what was asked
    /// for. None where waiting does not help.
    pub resets_at: Option<Timestamp>,
}

/// A quota that something does not fit.
pub(super) struct Tight<'a> {
    pub(super) view: QuotaView<'a>,
    /// As of [`DenyingQuota`].
    pub(super) resets_at: Option<Timestamp>,
}

impl DenyingQuota {
    /// The quota as it stood.
    #[must_use]
    pub fn view(&self) -> QuotaView<'_> {
        QuotaView {
            id: &self.id,
            quota: &self.quota,
            rendered: None,
            source: self.source,
            window: self.window,
            limit: self.limit,
            funds: None,
            spent: self.spent,
            held: self.held,
            warned: Cow::Borrowed(&self.warned),
        }
    }
}

impl Denial {
    /// From the quotas that do not fit.
    pub(super) fn new(at: Timestamp, requested: Amounts, affordable: Option<Affordable>, tight: &[Tight<'_>]) -> Self {
        // What never resets does so last of all; among equals the tightest binds.
        let end = |quota: &DenyingQuota| quota.resets_at.or(quota.window.end).map_or(i64::MAX, Timestamp::millis);
        let mut quotas: Vec<DenyingQuota> = Vec::with_capacity(tight.len());
        for Tight { view, resets_at } in tight {
            let denying = DenyingQuota {
                id: view.id.clone(),
                quota: view.quota.clone(),
                source: view.source,
                window: view.window,
                limit: view.limit,
                spent: view.spent,
                held: view.held,
                warned: view.warned.to_vec(),
                resets_at: *resets_at,
            };
            let binds_less = |other: &DenyingQuota| {
                end(&denying)
                    .cmp(&end(other))
                    .then(other.view().remaining().cmp(&view.remaining()))
                    .then(other.id.cmp(view.id))
                    .is_lt()
            };
            // There are few, and sorting brings more code than all of this module.
            quotas.insert(quotas.partition_point(binds_less), denying);
        }
        Self { at, requested, quotas, affordable }
    }

    /// The quota that must change before the call can pass. None where there is no quota at all.
    #[must_use]
    pub fn binding(&self) -> Option<QuotaView<'_>> {
        self.quotas.first().map(DenyingQuota::view)
    }

    /// How much of the binding quota's unit was asked for; dollars where there is no quota at all.
    #[must_use]
    pub fn needed(&self) -> Amount {
        self.binding().map_or_else(|| self.requested.usd.into(), |view| view.quota.unit.held(&self.requested))
    }

    /// When the binding quota has room by itself, if nothing else is added: at its period's end, or when enough has left its window. None
    /// where waiting does not help: it never starts afresh, or its period is over and only holds are left in it.
    #[must_use]
    pub fn resets_at(&self) -> Option<Timestamp> {
        self.quotas.first()?.resets_at
    }

    /// Seconds, rounded up, until then.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.resets_at().map(|at| at.seconds_since(self.at))
    }

    /// The denial in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Some(binding) = self.binding() else {
            return "no quota applies to the call, and the policy denies calls without one".to_owned();
        };
        let until = self.resets_at().or(binding.window.end);
        let until = until.map_or_else(|| "for ever".to_owned(), |end| format!("until {end}"));
        let unit = binding.quota.unit;
        format!(
            "{} quota `{}`: {} {noun} needed, {} {noun} of {} {noun} remaining {until}",
            binding.quota.scope,
            binding.id,
            unit.held(&self.requested),
            binding.remaining(),
            binding.limit,
            noun = unit.noun(),
        )
    }
}
