//! The policy on the wire.

use serde::{Deserialize, Serialize};
use tollgate_core::ids::PlanName;
use tollgate_core::policy::{Plan, Policy};
use tollgate_core::sorted_map::SortedMap;

/// A policy with its version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyDocument {
    /// Counts up; 0 is the one that is built in.
    pub version: u64,
    /// The plan of a tenant that is onboarded without one.
    pub default_plan: PlanName,
    /// Every plan by its name.
    pub plans: SortedMap<PlanName, Plan>,
}

impl PolicyDocument {
    /// Of a policy.
    #[must_use]
    pub fn new(version: u64, policy: Policy) -> Self {
        Self { version, default_plan: policy.default_plan, plans: policy.plans }
    }

    /// A plan with its name: the one asked for, or the default one.
    ///
    /// # Errors
    /// The name of the plan that there is not.
    pub fn into_plan(mut self, asked: Option<PlanName>) -> Result<(PlanName, Plan), PlanName> {
        let name = asked.unwrap_or(self.default_plan);
        match self.plans.remove(&name) {
            Some(plan) => Ok((name, plan)),
            None => Err(name),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn reads_back_what_it_wrote_and_finds_plans() {
        let written = serde_json::to_string(&PolicyDocument::new(3, Policy::default())).unwrap();
        assert!(written.starts_with(r#"{"version":3,"defaultPlan":"default","plans":{"#), "{written}");
        let read = || serde_json::from_str::<PolicyDocument>(&written).unwrap();
        let (name, plan) = read().into_plan(None).unwrap();
        assert_eq!((name.as_str(), plan.quotas.len()), ("default", 2));
        let none = read().into_plan(Some("pro".parse().unwrap())).unwrap_err();
        assert_eq!(none.as_str(), "pro");
    }
}
