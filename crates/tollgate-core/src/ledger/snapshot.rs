//! The state as data, to start from without folding every entry.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use super::set_back::SetBack;
use super::used_ids::UsedIds;
use super::{Ledger, QuotaState, Reservation, Tenant};
use crate::catalog::{OverridesDocument, OverridesScope};
use crate::fault::{self, Fault};
use crate::ids::{PlanName, QuotaId, ReservationId, TenantId};
use crate::policy::{UnknownModel, WithoutQuota};
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// Everything that folding further entries needs. Ended reservations are not in it: their owner keeps them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    tenant: Option<TenantSnapshot>,
    quotas: SortedMap<QuotaId, QuotaState>,
    /// The open reservations, by deadline and id.
    #[serde(deserialize_with = "each_once")]
    holds: Vec<Reservation>,
    clock: Timestamp,
    generation: u64,
    seq: u64,
    /// The latest time of any entry, where the clock was set back since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peak: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set_backs: Vec<SetBack>,
    /// The platform's and the tenant's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    overrides: Vec<OverridesSnapshot>,
    /// Those of credits and increases that no quota remembers any more.
    #[serde(default, skip_serializing_if = "UsedIds::is_empty")]
    used_ids: UsedIds,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct OverridesSnapshot {
    scope: OverridesScope,
    version: u64,
    document: Arc<OverridesDocument>,
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
            peak: (self.peak > self.clock).then_some(self.peak),
            set_backs: self.set_backs.clone(),
            overrides: [&self.prices.platform, &self.prices.tenant]
                .into_iter()
                .flatten()
                .filter(|_| !fault::on(Fault::SnapshotLosesOverrides))
                .map(|overrides| OverridesSnapshot {
                    scope: overrides.scope,
                    version: overrides.version,
                    document: overrides.document.clone(),
                })
                .collect(),
            used_ids: self.used_ids.clone(),
        }
    }

    /// Takes over which ids of credits and increases were used that no quota remembers: a state that an older version has stored does not
    /// have them, and the same entries folded again do.
    pub fn remember_ids_of(&mut self, refolded: &Self) {
        self.used_ids.clone_from(&refolded.used_ids);
    }

    /// The state that a snapshot was taken of.
    #[must_use]
    pub fn restore(snapshot: Snapshot) -> Self {
        let mut ledger = Self {
            tenant: snapshot.tenant.map(|tenant| Tenant {
                id: tenant.id,
                plan: tenant.plan,
                policy_version: tenant.policy_version,
                unknown_model: tenant.unknown_model,
                without_quota: tenant.without_quota,
                created_at: tenant.created_at,
            }),
            quotas: snapshot.quotas,
            clock: snapshot.clock,
            generation: snapshot.generation,
            peak: snapshot.peak.unwrap_or(snapshot.clock),
            set_backs: snapshot.set_backs,
            seq: snapshot.seq,
            used_ids: snapshot.used_ids,
            ..Self::default()
        };
        ledger.index_quotas();
        for OverridesSnapshot { scope, version, document } in snapshot.overrides {
            ledger.put_overrides(scope, version, &document);
        }
        for reservation in snapshot.holds {
            ledger.open(reservation);
        }
        ledger
    }
}

/// A damaged snapshot may have a hold twice, and with different deadlines: the ledger would wait for both.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Reservation>, D::Error> {
    let holds = Vec::<Reservation>::deserialize(deserializer)?;
    let mut ids: Vec<&ReservationId> = holds.iter().map(|hold| &hold.id).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|pair| matches!(pair, [one, other] if one == other)) {
        Some([id, ..]) => Err(D::Error::custom(format_args!("the hold {id} is there twice"))),
        _ => Ok(holds),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_snapshot_with_a_hold_twice_is_damaged() {
        let hold = |id: &str, expires: &str| {
            format!(
                r#"{{"id":"{id}","call":{{"resource":"llm","attribution":{{}}}},"opening":{{"reserve":{{"estimate":{{"usd":"1"}},"ttlSeconds":600,
                "onExpiry":"charge_hold"}}}},"held":{{"usd":"1","requests":1}},"input":{{"usd":"1","requests":1}},"countedOn":[],
                "createdAt":"2026-11-24T12:00:00.000Z","expiresAt":"{expires}"}}"#
            )
        };
        let read = |holds: [String; 2]| {
            let text = format!(
                r#"{{"tenant":null,"quotas":{{}},"holds":[{}],"clock":"2026-11-24T12:00:00.000Z","generation":0,"seq":2}}"#,
                holds.join(",")
            );
            serde_json::from_str::<Snapshot>(&text)
        };
        let (early, late) = ("2026-11-24T12:10:00.000Z", "2026-11-24T12:20:00.000Z");
        assert_eq!(Ledger::restore(read([hold("a", early), hold("b", late)]).unwrap()).open_holds(), 2);
        let damaged = read([hold("a", early), hold("a", late)]).unwrap_err();
        assert!(damaged.to_string().contains("the hold a is there twice"), "{damaged}");
    }
}
