//! The state as data, to start from without folding every entry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::evolve::fallback;
use super::{Ledger, QuotaState, Reservation, Tenant};
use crate::fault::{self, Fault};
use crate::ids::{PlanName, QuotaId, TenantId};
use crate::policy::{UnknownModel, WithoutQuota};
use crate::time::Timestamp;

/// Everything that folding further entries needs. Ended reservations are not in it: their owner keeps them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    tenant: Option<TenantSnapshot>,
    quotas: BTreeMap<QuotaId, QuotaState>,
    /// The open reservations, by deadline and id.
    holds: Vec<Reservation>,
    clock: Timestamp,
    generation: u64,
    seq: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TenantSnapshot {
    id: TenantId,
    plan: PlanName,
    policy_version: u64,
    unknown_model: UnknownModel,
    without_quota: WithoutQuota,
    created_at: Timestamp,
}

impl Ledger {
    /// The state as data. Equal states give equal snapshots.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let skipped = usize::from(fault::on(Fault::SnapshotLosesHold));
        let holds = self.open_reservations().skip(skipped).cloned().collect();
        Snapshot {
            tenant: self.tenant.as_ref().map(|tenant| TenantSnapshot {
                id: tenant.id.clone(),
                plan: tenant.plan.clone(),
                policy_version: tenant.policy_version,
                unknown_model: tenant.unknown_model.clone(),
                without_quota: tenant.without_quota,
                created_at: tenant.created_at,
            }),
            quotas: self.quotas.clone(),
            holds,
            clock: self.clock,
            generation: self.generation,
            seq: self.seq,
        }
    }

    /// The state that a snapshot was taken of.
    #[must_use]
    pub fn restore(snapshot: Snapshot) -> Self {
        let mut ledger = Self {
            tenant: snapshot.tenant.map(|tenant| Tenant {
                id: tenant.id,
                plan: tenant.plan,
                policy_version: tenant.policy_version,
                fallback: fallback(&tenant.unknown_model),
                unknown_model: tenant.unknown_model,
                without_quota: tenant.without_quota,
                created_at: tenant.created_at,
            }),
            quotas: snapshot.quotas,
            clock: snapshot.clock,
            generation: snapshot.generation,
            seq: snapshot.seq,
            ..Self::default()
        };
        ledger.index_quotas();
        for reservation in snapshot.holds {
            ledger.open(reservation);
        }
        ledger
    }
}
