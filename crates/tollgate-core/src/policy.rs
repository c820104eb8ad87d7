//! The policy: which plans there are, which quotas each gives a new tenant, and what happens where no rule says otherwise.

use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::catalog::RatesDocument;
use crate::ids::{PlanName, QuotaId};
use crate::meter::Quantity;
use crate::objects;
use crate::period::Period;
use crate::quota::{InvalidQuota, MAX_QUOTAS, Quota, ResourceFilter, Scope, Unit};
use crate::sorted_map::SortedMap;

/// The most quotas that a plan may give, and plans that a policy may have.
pub const MAX_PLANS: usize = 100;

/// The document that says what applies to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The plan of a tenant that is onboarded without one.
    pub default_plan: PlanName,
    /// Every plan by its name.
    #[serde(deserialize_with = "objects::map_of_objects")]
    pub plans: SortedMap<PlanName, Plan>,
}

/// What a tenant gets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Its quotas.
    #[serde(default, deserialize_with = "objects::map_of_objects")]
    pub quotas: SortedMap<QuotaId, Quota>,
    /// What a call of a model costs that the catalog does not know.
    #[serde(default)]
    pub unknown_model: UnknownModel,
    /// What a call may do that no quota applies to.
    #[serde(default)]
    pub without_quota: WithoutQuota,
}

/// The rule for models that the catalog does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownModel {
    /// They are refused as unpriced.
    #[default]
    Deny,
    /// They cost these rates. Never nothing.
    Fallback(RatesDocument),
}

/// The rule for calls that no quota applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutQuota {
    /// They pass.
    #[default]
    Allow,
    /// They are denied.
    Deny,
}

/// What is wrong with a policy that reads well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    /// The field, as a path on the wire.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Default for Policy {
    /// One plan, `default`: 100 USD a month for language models and 50 USD a month for sandboxes, the defaults that the first
    /// user's audit asks for.
    fn default() -> Self {
        let monthly = |resource, limit: u64| {
            let limit = Quantity::from_count(limit).map_or(Amount::ZERO, Amount::from);
            Quota::new(Scope::Tenant, resource, Unit::Usd, limit, Period::Month)
        };
        // Inserted one by one: making a map of a list sorts the list, and that code is a hundred times larger than these two.
        let mut plan = Plan::default();
        for (name, quota) in [
            ("tenant-llm-month", monthly(ResourceFilter::Llm, 100)),
            ("tenant-e2b-month", monthly(ResourceFilter::E2b, 50)),
        ] {
            plan.quotas.extend(name.parse().ok().map(|id: QuotaId| (id, quota)));
        }
        let default_plan = PlanName::default_plan();
        let mut plans = SortedMap::new();
        plans.insert(default_plan.clone(), plan);
        Self { default_plan, plans }
    }
}

impl Policy {
    /// Checks what the types alone do not rule out.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        if self.plans.len() > MAX_PLANS {
            return Err(InvalidPolicy { field: "plans".to_owned(), message: "at most 100 plans".to_owned() });
        }
        if !self.plans.contains_key(&self.default_plan) {
            return Err(InvalidPolicy {
                field: "defaultPlan".to_owned(),
                message: format!("there is no plan `{}`", self.default_plan),
            });
        }
        for (name, plan) in &self.plans {
            plan.check().map_err(|problem| InvalidPolicy {
                field: format!("plans.{name}.{}", problem.field),
                message: problem.message,
            })?;
        }
        Ok(())
    }
}

impl Plan {
    /// Checks what the types alone do not rule out.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn check(&self) -> Result<(), InvalidPolicy> {
        for (id, quota) in &self.quotas {
            quota.check().map_err(|InvalidQuota { field, message }| InvalidPolicy {
                field: format!("quotas.{id}.{field}"),
                message: message.to_owned(),
            })?;
        }
        if self.quotas.len() > MAX_QUOTAS {
            return Err(InvalidPolicy { field: "quotas".to_owned(), message: "at most 1000 quotas".to_owned() });
        }
        if let UnknownModel::Fallback(rates) = &self.unknown_model {
            let card = rates.to_rate_card("fallback").map_err(|problem| InvalidPolicy {
                field: "unknownModel.fallback".to_owned(),
                message: problem.message,
            })?;
            let terms = crate::catalog::Terms { at: card.from, mode: None, region: None };
            let needed = [crate::meter::Meter::Input, crate::meter::Meter::Output];
            let rates = card.rates(0, terms).ok();
            let dear = |meter| {
                rates.as_ref().and_then(|rates| rates.of(meter)).is_some_and(|found| !found.rate.usd().is_zero())
            };
            if !needed.into_iter().all(dear) {
                return Err(InvalidPolicy {
                    field: "unknownModel.fallback".to_owned(),
                    message: "fallback rates name input and output, above zero".to_owned(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn the_default_policy_is_what_the_audit_asks_for() {
        let policy = Policy::default();
        policy.check().unwrap();
        let plan = policy.plans.get(&policy.default_plan).unwrap();
        let limits: Vec<_> =
            plan.quotas.iter().map(|(id, quota)| (id.as_str(), quota.limit.to_string(), quota.period)).collect();
        assert_eq!(
            limits,
            [
                ("tenant-e2b-month", "50".to_owned(), Period::Month),
                ("tenant-llm-month", "100".to_owned(), Period::Month)
            ]
        );
    }

    #[test]
    fn a_bad_policy_names_its_field() {
        for (json, field) in [
            (r#"{"defaultPlan":"a","plans":{}}"#, "defaultPlan"),
            (
                r#"{"defaultPlan":"a","plans":{"a":{"quotas":{"q":{"scope":"user","resource":"llm","unit":"usd","limit":"1","period":"day"}}}}}"#,
                "plans.a.quotas.q.scopeId",
            ),
            (
                r#"{"defaultPlan":"a","plans":{"a":{"quotas":{"q":{"scope":"tenant","resource":"llm","unit":"usd","limit":"-1","period":"day"}}}}}"#,
                "plans.a.quotas.q.limit",
            ),
            (
                r#"{"defaultPlan":"a","plans":{"a":{"unknownModel":{"fallback":{"perMillion":{"input":"1","output":"0"}}}}}}"#,
                "plans.a.unknownModel.fallback",
            ),
        ] {
            let policy: Policy = serde_json::from_str(json).unwrap();
            assert_eq!(policy.check().unwrap_err().field, field);
        }
    }
}
