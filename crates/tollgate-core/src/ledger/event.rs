//! What has happened in a ledger: the immutable lines that its state is folded from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::{Actual, ExtendRequest, HoldTerms, Reading, RecordMode};
use super::funds::{Credit, Drawn, Increase, Rollover};
use super::reservation::Refund;
use super::set_back::Restored;
use crate::amount::Amount;
use crate::bounds::{Amounts, Estimate};
use crate::call::Call;
use crate::catalog::{ModelName, OverridesDocument, OverridesScope};
use crate::ids::{AdjustmentId, CreditId, IncreaseId, Name, PlanName, QuotaId, ReservationId, TenantId};
use crate::policy::{UnknownModel, WithoutQuota};
use crate::price::{Basis, Charge};
use crate::quota::{Quota, Unit};
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// One line of a tenant's ledger.
///
/// `entry_json` has how it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// 1, 2, 3, … without gaps.
    pub seq: u64,
    /// When it was decided; earlier than the line before only where that line's clock was wrong: then this one is a [`Event::ClockSetBack`].
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// The charge that the entry makes, where it makes one: of a settle, an expiry, a late settle or a record.
    #[must_use]
    pub const fn charge(&self) -> Option<&Charged> {
        match &self.event {
            Event::Settled(charged)
            | Event::Expired(charged)
            | Event::SettledLate { charged, .. }
            | Event::Recorded { charged, .. } => Some(charged),
            _ => None,
        }
    }

    /// The reservation or record that the entry ends, where it ends one.
    #[must_use]
    pub const fn ends(&self) -> Option<&ReservationId> {
        match &self.event {
            Event::Settled(charged) | Event::Expired(charged) | Event::Recorded { charged, .. } => Some(&charged.id),
            Event::Released { id, .. } => Some(id),
            _ => None,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// The tenant became known, or got another plan or other rules.
    PlanApplied {
        /// Whose ledger it is.
        tenant: TenantId,
        /// The plan's name.
        plan: PlanName,
        /// The version of the policy that it was taken from.
        policy_version: u64,
        /// Its rule for unknown models.
        unknown_model: UnknownModel,
        /// Its rule for calls without a quota.
        without_quota: WithoutQuota,
    },
    /// A quota was created or changed.
    QuotaSet {
        /// Which.
        quota_id: QuotaId,
        /// What it says now.
        quota: Quota,
        /// Where it comes from.
        source: QuotaSource,
        /// Counts up whenever the quota starts to count something else; what was counted before does not count for it.
        generation: u64,
    },
    /// A quota was removed.
    QuotaRemoved {
        /// Which.
        quota_id: QuotaId,
        /// What was left of its credits and went with it, where anything was.
        #[serde(skip_serializing_if = "Option::is_none")]
        forfeited: Option<Amount>,
    },
    /// A quota's period started again.
    QuotaReset {
        /// Which.
        quota_id: QuotaId,
        /// Start of the period that was reset.
        period_start: Timestamp,
        /// What had been spent in it.
        dropped: Amount,
    },
    /// Money was held.
    Reserved {
        /// Which reservation.
        id: ReservationId,
        /// What is to be paid for.
        call: Arc<Call>,
        /// The model whose rates it has, where that is not what it was called.
        #[serde(skip_serializing_if = "Option::is_none")]
        rated_as: Option<Arc<ModelName>>,
        /// How much, how long, and what then.
        terms: HoldTerms,
        /// The estimate that was held, where the one that was asked for did not fit.
        #[serde(skip_serializing_if = "Option::is_none")]
        granted: Option<Estimate>,
        /// The upper bound in every unit.
        held: Amounts,
        /// The part of it that the input alone can cost.
        input: Amounts,
        /// When the hold ends unless extended.
        expires_at: Timestamp,
        /// Where the rates come from.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
        /// The quotas, with their periods, that hold it.
        counted_on: Arc<[Placement]>,
    },
    /// A hold was enlarged, shrunk or prolonged.
    Extended {
        /// Which reservation.
        id: ReservationId,
        /// What was asked.
        extension: ExtendRequest,
        /// The new upper bound.
        held: Amounts,
        /// The part of it that the input alone can cost.
        input: Amounts,
        /// When the hold ends now.
        expires_at: Timestamp,
        /// Where the rates of the new bound come from.
        #[serde(skip_serializing_if = "Option::is_none")]
        basis: Option<Basis>,
        /// How many extensions the hold remembers, with this one. Entries without it are older: they forgot all but the latest eight.
        #[serde(skip_serializing_if = "Option::is_none")]
        known: Option<u32>,
        /// What it draws on credits from then on, where that changes.
        #[serde(skip_serializing_if = "Option::is_none")]
        drawn: Option<Vec<Drawn>>,
    },
    /// What a call has used so far was charged; the hold stays for the rest.
    Metered {
        /// What was reported.
        reading: Reading,
        /// How many readings the hold remembers, with this one. Entries without it are older: they forgot all but the latest eight.
        #[serde(skip_serializing_if = "Option::is_none")]
        known: Option<u32>,
        /// What it comes to so far, and what the reading before had come to.
        #[serde(flatten)]
        charged: Charged,
    },
    /// A hold was replaced by the actual charge.
    Settled(Charged),
    /// An expired hold's actual charge came after all; the difference was corrected.
    SettledLate {
        /// The quotas, with their periods, that it was charged to.
        counted_on: Arc<[Placement]>,
        /// What, how much, and what had been charged before.
        #[serde(flatten)]
        charged: Charged,
    },
    /// A hold ended without a charge.
    Released {
        /// Which reservation.
        id: ReservationId,
        /// What it draws on credits from then on, where it drew on any.
        #[serde(skip_serializing_if = "Option::is_none")]
        drawn: Option<Vec<Drawn>>,
    },
    /// A hold ended unreported.
    Expired(Charged),
    /// A call without a hold was charged.
    Recorded {
        /// Whether limits mattered.
        mode: RecordMode,
        /// The quotas, with their periods, that it was spent from.
        counted_on: Arc<[Placement]>,
        /// What, and how much.
        #[serde(flatten)]
        charged: Charged,
    },
    /// A quota was credited.
    CreditAdded {
        /// Which.
        quota_id: QuotaId,
        /// With what.
        credit: Credit,
    },
    /// What was left of a credit was taken back.
    CreditRevoked {
        /// Of which quota.
        quota_id: QuotaId,
        /// Which.
        credit_id: CreditId,
        /// How much it was.
        amount: Amount,
    },
    /// A credit has ended: its unspent part lapsed, but for what goes on.
    CreditLapsed {
        /// Of which quota.
        quota_id: QuotaId,
        /// Which.
        credit_id: CreditId,
        /// How much lapsed.
        amount: Amount,
        /// How much goes on, and until when.
        #[serde(skip_serializing_if = "Option::is_none")]
        rolled: Option<Rollover>,
    },
    /// A quota's limit was raised for a while. That it ends is no entry: it says itself when.
    LimitIncreased {
        /// Which.
        quota_id: QuotaId,
        /// By how much, and until when.
        increase: Increase,
    },
    /// An increase was ended before its time.
    IncreaseEnded {
        /// Of which quota.
        quota_id: QuotaId,
        /// Which.
        increase_id: IncreaseId,
    },
    /// Spend reached a fraction of a quota's limit, for the first time in the period.
    ThresholdCrossed {
        /// Which.
        quota_id: QuotaId,
        /// Start of the period.
        period_start: Timestamp,
        /// The fraction.
        threshold: Ratio,
        /// Spent when it was crossed.
        spent: Amount,
        /// The limit in force then, of which the threshold is a fraction.
        limit: Amount,
    },
    /// Another document of own rates, aliases and markups came into force.
    OverridesSet {
        /// Whose.
        scope: OverridesScope,
        /// Its version.
        version: u64,
        /// All of it.
        document: Arc<OverridesDocument>,
    },
    /// A charge was re-rated, and the difference made up.
    Adjusted {
        /// What it was part of.
        adjustment: AdjustmentId,
        /// The quotas, with their periods, that it was charged to.
        counted_on: Arc<[Placement]>,
        /// What, how much it is now, and what had been charged before.
        #[serde(flatten)]
        charged: Charged,
    },
    /// A charge was taken back, wholly or partly.
    Refunded {
        /// How much, why and by whom.
        refund: Refund,
        /// The quotas, with their periods, that it was charged to.
        counted_on: Arc<[Placement]>,
        /// The charge, what of it counts now, and what had counted before.
        #[serde(flatten)]
        charged: Charged,
    },
    /// The clock was set back by more than an hour, to the time of this entry, and the ledger follows it. The next one may say what counts again.
    ClockSetBack {
        /// What the time was.
        from: Timestamp,
    },
    /// What counts again because the clock was set back.
    CountersRestored {
        /// Of each quota.
        restored: Vec<Restored>,
    },
    /// Entries were exported, and then dropped here. The ledger goes on from the state that they led to.
    Archived {
        /// The last entry that was dropped.
        through: u64,
        /// The hash of the journal's last row that was dropped.
        head: String,
        /// The hash of the state that is kept in their place.
        state: String,
    },
    /// An audit's differences were set right: what is kept now is what the entries lead to.
    Repaired {
        /// Who asked for it.
        by: Name,
        /// What differed.
        differences: Vec<Repair>,
    },
}

/// What an audit found kept, and what a repair put in its place, both as JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Repair {
    /// Where.
    pub place: String,
    /// What was kept.
    pub kept: String,
    /// What the entries lead to.
    pub refolded: String,
}

/// A charge, with all that a report needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Charged {
    /// Which reservation or record.
    pub id: ReservationId,
    /// What was paid for.
    pub call: Arc<Call>,
    /// The model whose rates it has, where that is not what it was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rated_as: Option<Arc<ModelName>>,
    /// When it was reserved or recorded: the instant that decides its periods.
    pub reserved_at: Timestamp,
    /// What was reported, where anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<Actual>,
    /// The price and its arithmetic.
    pub charge: Charge,
    /// What counts of it in every unit: what it comes to, without what was refunded.
    pub spent: Amounts,
    /// What a correction replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// What the call draws on credits from then on, where it draws or drew on any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Vec<Drawn>>,
    /// What it drew before, where it had ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drew: Vec<Drawn>,
    /// What resets have dropped of it while it was open, where that was not known before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<Dropped>,
}

impl Charged {
    /// What more of it a quota counts than of what it replaces; below zero where it corrects downwards. What resets have dropped
    /// stays dropped.
    pub(super) fn counted(&self, on: &Placement, unit: Unit) -> Amount {
        let before = self.replaces.as_ref().map_or(Amount::ZERO, |replaced| unit.spent(&replaced.amounts));
        on.counts(unit.spent(&self.spent)).minus(on.counts(before))
    }
}

/// What resets of a quota have dropped of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dropped {
    /// Which quota.
    pub quota_id: QuotaId,
    /// So much, in its unit: all that the call had come to at the last of them.
    pub amount: Amount,
}

/// A charge that a later one replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replaced {
    /// The entry that made it.
    pub seq: u64,
    /// The entry that first charged a part of it, where another did. What a reset has dropped since then is not given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// What it came to.
    pub amounts: Amounts,
    /// The tokens of the prompt that were reported before, where any were.
    #[serde(default, skip_serializing_if = "is_none")]
    pub input_tokens: u64,
    /// The tokens of the answer, likewise.
    #[serde(default, skip_serializing_if = "is_none")]
    pub output_tokens: u64,
}

impl Replaced {
    /// The entry that first charged something of it.
    pub(super) fn since(&self) -> u64 {
        self.first.unwrap_or(self.seq)
    }
}

const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A quota and period that a reservation counts on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Which quota.
    pub quota_id: QuotaId,
    /// Its generation then.
    pub generation: u64,
    /// The start of its period then.
    pub period_start: Timestamp,
    /// What the call had come to, in the quota's unit, when the quota was reset last: so much of it counts no more. None where no reset
    /// came between its charges; entries of before this was written down have none either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Amount>,
    /// Where it was found among the ledger's quotas, so that it is not searched for again.
    #[serde(skip)]
    pub(super) hint: Hint,
}

impl Placement {
    /// What counts of a call that comes to so much.
    pub(super) fn counts(&self, amount: Amount) -> Amount {
        self.dropped.map_or(amount, |dropped| amount.minus(dropped).or_zero())
    }
}

/// A place that something was last found at. No part of what has it: any two are equal, and one that is wrong costs a search.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint(pub(super) usize);

impl PartialEq for Hint {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Hint {}

/// Where a quota comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaSource {
    /// The tenant's plan; another plan may take it away.
    Plan,
    /// Set for this tenant; plans leave it alone.
    Custom,
}
