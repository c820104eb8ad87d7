//! How an entry is read from JSON: as one struct of everything that any entry can have, of which its type then takes what it needs.
//!
//! Serde's own way of reading a tagged enum keeps every member in between until it has seen the tag, and makes code for every type a second and a third time,
//! for what is kept and for what is flattened. This is there once, and reads a journal faster.

use core::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};

use super::command::{Actual, ExtendRequest, HoldTerms, Reading, RecordMode};
use super::event::{Charged, Dropped, Entry, Event, Placement, QuotaSource, Repair, Replaced};
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
use crate::quota::Quota;
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// The names of [`Event`]'s variants.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Type {
    PlanApplied,
    QuotaSet,
    QuotaRemoved,
    QuotaReset,
    Reserved,
    Extended,
    Metered,
    Settled,
    SettledLate,
    Released,
    Expired,
    Recorded,
    CreditAdded,
    CreditRevoked,
    CreditLapsed,
    LimitIncreased,
    IncreaseEnded,
    ThresholdCrossed,
    OverridesSet,
    Adjusted,
    Refunded,
    ClockSetBack,
    CountersRestored,
    Archived,
    Repaired,
}

/// Every member that an entry can have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members {
    seq: u64,
    at: Timestamp,
    r#type: Type,

    id: Option<ReservationId>,
    call: Option<Arc<Call>>,
    rated_as: Option<Arc<ModelName>>,
    terms: Option<HoldTerms>,
    granted: Option<Estimate>,
    held: Option<Amounts>,
    input: Option<Amounts>,
    expires_at: Option<Timestamp>,
    basis: Option<Basis>,
    counted_on: Option<Arc<[Placement]>>,
    extension: Option<ExtendRequest>,
    reading: Option<Reading>,
    known: Option<u32>,
    mode: Option<RecordMode>,
    adjustment: Option<AdjustmentId>,
    refund: Option<Refund>,

    reserved_at: Option<Timestamp>,
    actual: Option<Actual>,
    charge: Option<Charge>,
    spent: Option<Spent>,
    replaces: Option<Replaced>,
    drawn: Option<Vec<Drawn>>,
    #[serde(default)]
    drew: Vec<Drawn>,
    #[serde(default)]
    resets: Vec<Dropped>,

    tenant: Option<TenantId>,
    plan: Option<PlanName>,
    policy_version: Option<u64>,
    unknown_model: Option<UnknownModel>,
    without_quota: Option<WithoutQuota>,

    quota_id: Option<QuotaId>,
    quota: Option<Quota>,
    source: Option<QuotaSource>,
    generation: Option<u64>,
    period_start: Option<Timestamp>,
    dropped: Option<Amount>,
    forfeited: Option<Amount>,
    threshold: Option<Ratio>,
    limit: Option<Amount>,

    credit: Option<Credit>,
    credit_id: Option<CreditId>,
    amount: Option<Amount>,
    rolled: Option<Rollover>,
    increase: Option<Increase>,
    increase_id: Option<IncreaseId>,

    scope: Option<OverridesScope>,
    version: Option<u64>,
    document: Option<Arc<OverridesDocument>>,

    from: Option<Timestamp>,
    restored: Option<Vec<Restored>>,

    through: Option<u64>,
    head: Option<String>,
    state: Option<String>,
    by: Option<Name>,
    differences: Option<Vec<Repair>>,
}

/// What is called `spent`: of a charge in every unit, of a threshold in the quota's own.
enum Spent {
    Every(Amounts),
    One(Amount),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Members::deserialize(deserializer)?;
        let (seq, at) = (members.seq, members.at);
        let event = members.event().map_err(|Missing(name)| de::Error::missing_field(name))?;
        Ok(Self { seq, at, event })
    }
}

impl<'de> Deserialize<'de> for Spent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = Spent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount, or amounts by unit")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Spent, E> {
                text.parse().map(Spent::One).map_err(E::custom)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Spent, A::Error> {
                Amounts::deserialize(de::value::MapAccessDeserializer::new(map)).map(Spent::Every)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A member that an entry of its type must have.
struct Missing(&'static str);

/// A member that must be there.
macro_rules! take {
    ($members:ident.$name:ident as $text:literal) => {
        $members.$name.ok_or(Missing($text))?
    };
}

impl Members {
    fn event(self) -> Result<Event, Missing> {
        let it = self;
        Ok(match it.r#type {
            Type::PlanApplied => Event::PlanApplied {
                tenant: take!(it.tenant as "tenant"),
                plan: take!(it.plan as "plan"),
                policy_version: take!(it.policy_version as "policyVersion"),
                unknown_model: take!(it.unknown_model as "unknownModel"),
                without_quota: take!(it.without_quota as "withoutQuota"),
            },
            Type::QuotaSet => Event::QuotaSet {
                quota_id: take!(it.quota_id as "quotaId"),
                quota: take!(it.quota as "quota"),
                source: take!(it.source as "source"),
                generation: take!(it.generation as "generation"),
            },
            Type::QuotaRemoved => {
                Event::QuotaRemoved { quota_id: take!(it.quota_id as "quotaId"), forfeited: it.forfeited }
            }
            Type::QuotaReset => Event::QuotaReset {
                quota_id: take!(it.quota_id as "quotaId"),
                period_start: take!(it.period_start as "periodStart"),
                dropped: take!(it.dropped as "dropped"),
            },
            Type::Reserved => Event::Reserved {
                id: take!(it.id as "id"),
                call: take!(it.call as "call"),
                rated_as: it.rated_as,
                terms: take!(it.terms as "terms"),
                granted: it.granted,
                held: take!(it.held as "held"),
                input: take!(it.input as "input"),
                expires_at: take!(it.expires_at as "expiresAt"),
                basis: it.basis,
                counted_on: take!(it.counted_on as "countedOn"),
            },
            Type::Extended => Event::Extended {
                id: take!(it.id as "id"),
                extension: take!(it.extension as "extension"),
                held: take!(it.held as "held"),
                input: take!(it.input as "input"),
                expires_at: take!(it.expires_at as "expiresAt"),
                basis: it.basis,
                known: it.known,
                drawn: it.drawn,
            },
            Type::Released => Event::Released { id: take!(it.id as "id"), drawn: it.drawn },
            Type::CreditAdded => {
                Event::CreditAdded { quota_id: take!(it.quota_id as "quotaId"), credit: take!(it.credit as "credit") }
            }
            Type::CreditRevoked => Event::CreditRevoked {
                quota_id: take!(it.quota_id as "quotaId"),
                credit_id: take!(it.credit_id as "creditId"),
                amount: take!(it.amount as "amount"),
            },
            Type::CreditLapsed => Event::CreditLapsed {
                quota_id: take!(it.quota_id as "quotaId"),
                credit_id: take!(it.credit_id as "creditId"),
                amount: take!(it.amount as "amount"),
                rolled: it.rolled,
            },
            Type::LimitIncreased => Event::LimitIncreased {
                quota_id: take!(it.quota_id as "quotaId"),
                increase: take!(it.increase as "increase"),
            },
            Type::IncreaseEnded => Event::IncreaseEnded {
                quota_id: take!(it.quota_id as "quotaId"),
                increase_id: take!(it.increase_id as "increaseId"),
            },
            Type::ThresholdCrossed => Event::ThresholdCrossed {
                quota_id: take!(it.quota_id as "quotaId"),
                period_start: take!(it.period_start as "periodStart"),
                threshold: take!(it.threshold as "threshold"),
                spent: match it.spent {
                    Some(Spent::One(spent)) => spent,
                    _ => return Err(Missing("spent")),
                },
                limit: take!(it.limit as "limit"),
            },
            Type::OverridesSet => Event::OverridesSet {
                scope: take!(it.scope as "scope"),
                version: take!(it.version as "version"),
                document: take!(it.document as "document"),
            },
            Type::ClockSetBack => Event::ClockSetBack { from: take!(it.from as "from") },
            Type::CountersRestored => Event::CountersRestored { restored: take!(it.restored as "restored") },
            Type::Archived => Event::Archived {
                through: take!(it.through as "through"),
                head: take!(it.head as "head"),
                state: take!(it.state as "state"),
            },
            Type::Repaired => {
                Event::Repaired { by: take!(it.by as "by"), differences: take!(it.differences as "differences") }
            }
            Type::Metered
            | Type::Settled
            | Type::SettledLate
            | Type::Expired
            | Type::Recorded
            | Type::Adjusted
            | Type::Refunded => return it.charging_event(),
        })
    }

    /// One that has a charge.
    fn charging_event(self) -> Result<Event, Missing> {
        let it = self;
        let charged = Charged {
            id: take!(it.id as "id"),
            call: take!(it.call as "call"),
            rated_as: it.rated_as,
            reserved_at: take!(it.reserved_at as "reservedAt"),
            actual: it.actual,
            charge: take!(it.charge as "charge"),
            spent: match it.spent {
                Some(Spent::Every(spent)) => spent,
                _ => return Err(Missing("spent")),
            },
            replaces: it.replaces,
            drawn: it.drawn,
            drew: it.drew,
            resets: it.resets,
        };
        let counted_on = it.counted_on.ok_or(Missing("countedOn"));
        Ok(match it.r#type {
            Type::Metered => Event::Metered { reading: take!(it.reading as "reading"), known: it.known, charged },
            Type::SettledLate => Event::SettledLate { counted_on: counted_on?, charged },
            Type::Recorded => Event::Recorded { mode: take!(it.mode as "mode"), counted_on: counted_on?, charged },
            Type::Adjusted => {
                Event::Adjusted { adjustment: take!(it.adjustment as "adjustment"), counted_on: counted_on?, charged }
            }
            Type::Refunded => {
                Event::Refunded { refund: take!(it.refund as "refund"), counted_on: counted_on?, charged }
            }
            Type::Expired => Event::Expired(charged),
            _ => Event::Settled(charged),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use serde_json::{Map, Value, json};

    use super::*;

    /// One of each type, with every member that it can have, and the names of those that can be left out.
    fn examples() -> Vec<(Value, &'static [&'static str])> {
        let at = "2026-11-01T00:00:00.000Z";
        let call = json!({ "resource": "llm", "provider": "openai", "model": "gpt-4o" });
        let rated_as = json!({ "provider": "openai", "model": "gpt-4o-2024-08-06" });
        let amounts = json!({ "usd": "0.011", "tokens": 2000, "requests": 1 });
        let basis = json!({ "catalog": "2026-11-24", "rateCard": "openai/gpt-4o@2024-10-01" });
        let counted_on = json!([{ "quotaId": "q", "generation": 3, "periodStart": at, "dropped": "0.1" }]);
        let drawn = json!([{ "quotaId": "q", "credit": "c", "amount": "0.2" }]);
        let charged = json!({
            "id": "r-1", "call": call, "ratedAs": rated_as, "reservedAt": at, "actual": { "usd": "0.2" },
            "charge": { "usd": "0.2", "lines": [], "flags": [] }, "spent": amounts, "replaces": { "seq": 1, "amounts": amounts },
            "drawn": drawn, "drew": drawn, "resets": [{ "quotaId": "q", "amount": "0.1" }],
        });
        let with_charge = |r#type: &str, more: Value| joined(joined(json!({ "type": r#type }), more), charged.clone());
        let of_charge: &[&str] = &["ratedAs", "actual", "replaces", "drawn", "drew", "resets"];
        let of_metering: &[&str] = &["ratedAs", "actual", "replaces", "drawn", "drew", "resets", "known"];
        vec![
            (
                json!({ "type": "plan_applied", "tenant": "acme", "plan": "default", "policyVersion": 2, "unknownModel": "deny", "withoutQuota": "allow" }),
                &[],
            ),
            (
                json!({ "type": "quota_set", "quotaId": "q", "source": "plan", "generation": 1, "quota":
                    { "scope": "tenant", "resource": "all", "unit": "usd", "limit": "50", "period": "month", "warnAt": ["0.8", "1"] } }),
                &[],
            ),
            (json!({ "type": "quota_removed", "quotaId": "q", "forfeited": "5" }), &["forfeited"]),
            (json!({ "type": "quota_reset", "quotaId": "q", "periodStart": at, "dropped": "0.5" }), &[]),
            (
                json!({ "type": "reserved", "id": "r-1", "call": call, "ratedAs": rated_as, "terms": { "estimate": { "usd": "1" }, "ttlSeconds": 600, "onExpiry": "release" },
                    "granted": { "usd": "0.5" }, "held": amounts, "input": amounts, "expiresAt": at, "basis": basis, "countedOn": counted_on }),
                &["ratedAs", "granted", "basis"],
            ),
            (
                json!({ "type": "extended", "id": "r-1", "extension": { "id": "x", "ttlSeconds": 60 }, "held": amounts, "input": amounts,
                    "expiresAt": at, "basis": basis, "known": 9, "drawn": drawn }),
                &["basis", "known", "drawn"],
            ),
            (
                with_charge("metered", json!({ "reading": { "id": "m", "actual": { "usd": "0.2" } }, "known": 9 })),
                of_metering,
            ),
            (with_charge("settled", json!({})), of_charge),
            (with_charge("settled_late", json!({ "countedOn": counted_on })), of_charge),
            (json!({ "type": "released", "id": "r-1", "drawn": drawn }), &["drawn"]),
            (with_charge("expired", json!({})), of_charge),
            (with_charge("recorded", json!({ "mode": "always", "countedOn": counted_on })), of_charge),
            (json!({ "type": "credit_added", "quotaId": "q", "credit": { "id": "c", "amount": "5" } }), &[]),
            (json!({ "type": "credit_revoked", "quotaId": "q", "creditId": "c", "amount": "5" }), &[]),
            (
                json!({ "type": "credit_lapsed", "quotaId": "q", "creditId": "c", "amount": "5", "rolled": { "max": "1", "until": at } }),
                &["rolled"],
            ),
            (
                json!({ "type": "limit_increased", "quotaId": "q", "increase": { "id": "i", "amount": "5", "until": at } }),
                &[],
            ),
            (json!({ "type": "increase_ended", "quotaId": "q", "increaseId": "i" }), &[]),
            (
                json!({ "type": "threshold_crossed", "quotaId": "q", "periodStart": at, "threshold": "0.8", "spent": "8", "limit": "10" }),
                &[],
            ),
            (
                json!({ "type": "overrides_set", "scope": "tenant", "version": 1, "document": { "aliases": [], "rates": [], "markups": [] } }),
                &[],
            ),
            (with_charge("adjusted", json!({ "adjustment": "a", "countedOn": counted_on })), of_charge),
            (
                with_charge(
                    "refunded",
                    json!({ "countedOn": counted_on,
                        "refund": { "id": "f", "usd": "0.1", "all": true, "reason": "twice", "by": "ops", "at": at } }),
                ),
                of_charge,
            ),
            (json!({ "type": "archived", "through": 7, "head": "sha256:1", "state": "sha256:2" }), &[]),
            (json!({ "type": "clock_set_back", "from": at }), &[]),
            (
                json!({ "type": "counters_restored", "restored": [{ "quotaId": "q", "generation": 3, "credits": [{ "creditId": "c", "amount": "5" }],
                    "counters": [{ "periodStart": at, "spent": "1", "held": "0", "holds": 0, "resetSeq": 0, "warned": ["0.8"] }] }] }),
                &[],
            ),
            (
                json!({ "type": "repaired", "by": "ops", "differences": [{ "place": "p", "kept": "1", "refolded": "2" }] }),
                &[],
            ),
        ]
    }

    fn joined(one: Value, other: Value) -> Value {
        let members = [one, other].into_iter().filter_map(|value| value.as_object().cloned()).flatten();
        Value::Object(members.collect())
    }

    fn entry(event: &Value) -> Map<String, Value> {
        joined(json!({ "seq": 9, "at": "2026-11-02T00:00:00.000Z" }), event.clone()).as_object().cloned().unwrap()
    }

    fn read(members: &Map<String, Value>) -> Result<Entry, String> {
        serde_json::from_str(&Value::Object(members.clone()).to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_type_is_read_as_it_is_written() {
        let mut types = std::collections::BTreeSet::new();
        for (event, _) in examples() {
            let members = entry(&event);
            let read = read(&members).unwrap_or_else(|problem| panic!("{event}: {problem}"));
            let written: Value = serde_json::from_str(&tollgate_json::to_string(&read).unwrap()).unwrap();
            assert_eq!(written, Value::Object(members));
            types.insert(event["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(types.len(), 25, "an example of each variant");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (event, optional) in examples() {
            let members = entry(&event);
            for name in members.keys() {
                let mut without = members.clone();
                without.remove(name);
                let found = read(&without);
                if optional.contains(&name.as_str()) {
                    assert!(found.is_ok(), "{event} without {name}: {found:?}");
                } else {
                    let problem = found.unwrap_err();
                    assert!(problem.contains(&format!("missing field `{name}`")), "{event} without {name}: {problem}");
                }
            }
        }
    }

    #[test]
    fn what_is_spent_has_the_shape_of_its_type() {
        let swapped = |r#type: &str, spent: Value| {
            let (event, _) = examples().into_iter().find(|(event, _)| event["type"] == r#type).unwrap();
            let mut members = entry(&event);
            members.insert("spent".to_owned(), spent);
            read(&members).unwrap_err()
        };
        assert!(swapped("settled", json!("8")).contains("missing field `spent`"));
        assert!(swapped("threshold_crossed", json!({ "usd": "8" })).contains("missing field `spent`"));
        assert!(swapped("settled", json!(8)).contains("expected an amount, or amounts by unit"));
        assert!(swapped("settled", json!("much")).contains("must be a plain decimal number"));
    }
}
