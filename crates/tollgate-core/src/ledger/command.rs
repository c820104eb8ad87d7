//! What can be asked of a ledger.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::funds::{Credit, Increase};
use crate::bounds::{Estimate, SandboxBounds};
use crate::call::Call;
use crate::catalog::{OverridesDocument, OverridesScope};
use crate::ids::{
    AdjustmentId, CreditId, ExtensionId, IncreaseId, Name, PlanName, QuotaId, ReadingId, Reason, RefundId,
    ReservationId, TenantId, UserId,
};
use crate::meter::{Quantity, Usage};
use crate::money::Usd;
use crate::policy::Plan;
use crate::price::Charge;
use crate::quota::Quota;
use crate::time::Timestamp;

/// One request to change a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes the tenant known and applies a plan.
    Onboard(Onboard),
    /// Creates or changes a quota.
    SetQuota(QuotaId, Quota),
    /// Removes a quota; what is left of its credits is forfeited, where the order says so.
    RemoveQuota(QuotaId, bool),
    /// Starts a quota's current period again at zero spent.
    ResetQuota(QuotaId),
    /// Holds the most that a call can cost.
    Reserve(ReserveRequest),
    /// Enlarges, shrinks or prolongs a hold.
    Extend(ReservationId, ExtendRequest),
    /// Charges what a call has used so far, and keeps holding the rest.
    Meter(ReservationId, Reading),
    /// Replaces a hold by what the call really cost.
    Settle(ReservationId, Actual),
    /// Ends a hold without a charge: the call was not made.
    Release(ReservationId),
    /// Ends every open hold that a filter lets through, [`MAX_BULK_RELEASE`](super::MAX_BULK_RELEASE) of them at most, those with the earliest deadlines first.
    ReleaseHolds(HoldsFilter),
    /// Charges a call that was made without a hold.
    Record(RecordRequest),
    /// Adds to what a `lifetime` quota has been paid for.
    AddCredit(QuotaId, Credit),
    /// Takes back what is left of a credit.
    RevokeCredit(QuotaId, CreditId),
    /// Raises a quota's limit for a while.
    Increase(QuotaId, Increase),
    /// Ends an increase.
    EndIncrease(QuotaId, IncreaseId),
    /// Puts another document of own rates, aliases and markups in force.
    SetOverrides(OverridesOrder),
    /// Makes up the difference between what was charged and what should have been.
    Adjust(Adjustment),
    /// Takes back a charge, wholly or partly.
    Refund(ReservationId, RefundRequest),
}

/// See [`Command::Refund`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// Chosen by the caller; makes the refund safe to repeat.
    pub id: RefundId,
    /// How much, above zero; all that is left of the charge where nothing is said.
    pub usd: Option<Usd>,
    /// Why.
    pub reason: Reason,
    /// Who says so.
    pub by: Name,
}

/// Which open holds are meant: those that have all that is named, and where nothing is named, every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldsFilter {
    /// Whose.
    pub user_id: Option<UserId>,
    /// From where in the app.
    pub touchpoint: Option<Name>,
    /// Opened before this instant.
    pub opened_before: Option<Timestamp>,
    /// One of these.
    pub ids: Option<BTreeSet<ReservationId>>,
}

/// See [`Command::Adjust`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// Chosen by the caller; a charge that was adjusted under it is not adjusted again.
    pub id: AdjustmentId,
    /// Whose charge.
    pub reservation: ReservationId,
    /// What it should have been.
    pub charge: Charge,
}

/// See [`Command::SetOverrides`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverridesOrder {
    /// Whose document it is.
    pub scope: OverridesScope,
    /// The version that whoever keeps the document has given it: nothing happens where the ledger has this one or a later one. The
    /// next one, where it is left out: then the ledger keeps the document.
    pub version: Option<u64>,
    /// All of it.
    pub document: Arc<OverridesDocument>,
}

/// See [`Command::Onboard`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onboard {
    /// Whose ledger it is.
    pub tenant: TenantId,
    /// The plan's name.
    pub plan_name: PlanName,
    /// What the plan says.
    pub plan: Plan,
    /// The version of the policy that it was taken from.
    pub policy_version: u64,
}

/// See [`Command::Reserve`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReserveRequest {
    /// Chosen by the caller; the idempotency key.
    pub id: ReservationId,
    /// What is to be paid for. The ledger keeps it as it is.
    pub call: Arc<Call>,
    /// The most that it can use.
    pub terms: HoldTerms,
}

/// How much is held, how long, and what happens then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldTerms {
    /// The most that the call can use.
    pub estimate: Estimate,
    /// How long the hold lasts unless extended: 1 to [`HoldTerms::MAX_TTL_SECONDS`].
    pub ttl_seconds: u32,
    /// What is charged when it ends unreported.
    pub on_expiry: OnExpiry,
    /// What happens where the estimate does not fit.
    #[serde(default, skip_serializing_if = "OnInsufficient::is_deny")]
    pub on_insufficient: OnInsufficient,
}

impl HoldTerms {
    /// The longest that a hold may last without an extension: a day.
    pub const MAX_TTL_SECONDS: u32 = 86_400;
    /// How long a hold lasts where the caller does not say.
    pub const DEFAULT_TTL_SECONDS: u32 = 600;
}

/// What happens where an estimate does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInsufficient {
    /// The call is denied.
    #[default]
    Deny,
    /// The largest part that fits is held: a shorter answer, a shorter life, less money. Denied where nothing fits.
    Shrink,
}

impl OnInsufficient {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    const fn is_deny(&self) -> bool {
        matches!(self, Self::Deny)
    }
}

/// What an expired hold is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// Nothing: only for work that surely did not happen.
    Release,
    /// The input part of the estimate.
    ChargeInput,
    /// All that was held.
    ChargeHold,
}

/// See [`Command::Extend`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtendRequest {
    /// Chosen by the caller; makes the extension safe to repeat.
    pub id: ExtensionId,
    /// The hold lasts at least this long from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
    /// The new estimate of the whole call, not an addition. A lower one frees the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// See [`Command::Meter`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Chosen by the caller; makes the reading safe to repeat.
    pub id: ReadingId,
    /// What the call has used since it began, not since the reading before: so a reading that is lost, repeated or late does no harm.
    pub actual: Actual,
}

/// See [`Command::Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRequest {
    /// Chosen by the caller; the idempotency key, in one space with reservations.
    pub id: ReservationId,
    /// What was paid for. The ledger keeps it as it is.
    pub call: Arc<Call>,
    /// What it used.
    pub actual: Actual,
    /// Whether limits matter.
    pub mode: RecordMode,
}

/// Whether a record minds the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// It is charged whatever the limits say: the money is spent.
    #[default]
    Always,
    /// It is denied, and not charged, where it does not fit.
    WithinLimit,
}

/// What a call really used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actual {
    /// Quantities, priced by the catalog.
    Usage(Usage),
    /// The part of the usage that was seen before an answer broke off: charged at no less than what was held.
    IncompleteUsage(Usage),
    /// An amount that the caller knows: USD, not negative.
    Usd(Usd),
    /// How long a sandbox ran; its resources are as reserved.
    SandboxSeconds(Quantity),
    /// What a sandbox used.
    Sandbox(SandboxBounds),
}
