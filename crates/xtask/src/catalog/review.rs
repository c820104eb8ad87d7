//! What people have decided: which source is right where they disagree, and what none of them can give.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use crate::failure::failure;
use crate::step::read;

/// `catalog/review/exceptions.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    pub classes: Vec<Class>,
}

/// Disagreements that have one cause and one decision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    pub class: String,
    pub decision: Decision,
    pub reason: String,
    /// `provider/model` → each disagreement with the numbers that were decided upon. Other numbers are another disagreement.
    pub cases: BTreeMap<String, Vec<String>>,
}

/// Which number is taken.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    GenaiPrices,
    ModelPrices,
    Litellm,
    /// The one in manual.json.
    ByHand,
    /// The highest one: a budget may be overestimated, never overrun.
    Dearest,
}

/// `catalog/review/manual.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manual {
    pub models: Vec<ManualModel>,
}

/// A model as people wrote it, in the place of what the sources say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManualModel {
    pub provider: String,
    pub reason: String,
    /// In the schema of the data files.
    pub entry: Value,
}

impl ManualModel {
    /// The model's id and its aliases.
    pub fn names(&self) -> Vec<&str> {
        let aliases = self.entry["aliases"].as_array().into_iter().flatten();
        core::iter::once(&self.entry["model"]).chain(aliases).filter_map(Value::as_str).collect()
    }
}

/// The decisions, and what happened to them.
pub struct Review {
    decided: BTreeMap<(String, String), Decision>,
    used: BTreeSet<(String, String)>,
    /// Disagreements that nothing explains, by model.
    pub unexplained: BTreeMap<String, Vec<String>>,
    /// Numbers on which two of three sources agree against the third.
    pub outvoted: usize,
}

impl Review {
    /// Starts with the decisions in a file.
    pub fn new(exceptions: &Exceptions) -> Result<Self> {
        let mut decided = BTreeMap::new();
        for class in &exceptions.classes {
            anyhow::ensure!(class.reason.len() > 20, "the class `{}` has no reason", class.class);
            for (model, cases) in &class.cases {
                for case in cases {
                    let twice = decided.insert((model.clone(), case.clone()), class.decision);
                    anyhow::ensure!(twice.is_none(), "{model}, {case}: decided twice");
                }
            }
        }
        Ok(Self { decided, used: BTreeSet::new(), unexplained: BTreeMap::new(), outvoted: 0 })
    }

    /// The number to take of those that sources give, and how many of them give it.
    pub fn decide(&mut self, model: &str, what: &str, values: &[(&'static str, Decimal)]) -> (Decimal, usize) {
        let votes = |value: Decimal| values.iter().filter(|(_, other)| *other == value).count();
        let dearest = values.iter().map(|(_, value)| *value).max().unwrap_or_default();
        let favourite = values.iter().map(|(_, value)| *value).max_by_key(|value| votes(*value)).unwrap_or_default();
        if votes(favourite) == values.len() {
            return (favourite, values.len());
        }
        if votes(favourite) > 1 {
            self.outvoted += 1;
            return (favourite, votes(favourite));
        }
        let stated: Vec<String> = values.iter().map(|(source, value)| format!("{source} {value}")).collect();
        let case = (model.to_owned(), format!("{what}: {}", stated.join(", ")));
        let Some(decision) = self.decided.get(&case) else {
            self.unexplained.entry(case.0).or_default().push(case.1);
            return (dearest, 1);
        };
        let of = |name: &str| values.iter().find(|(source, _)| *source == name).map_or(dearest, |(_, value)| *value);
        let value = match decision {
            Decision::GenaiPrices => of("genai-prices"),
            Decision::ModelPrices => of("model-prices"),
            Decision::Litellm => of("litellm"),
            Decision::ByHand => of("by-hand"),
            Decision::Dearest => dearest,
        };
        self.used.insert(case);
        (value, 1)
    }

    /// Decisions about disagreements that are no more.
    pub fn unused(&self) -> Vec<String> {
        self.decided
            .keys()
            .filter(|case| !self.used.contains(*case))
            .map(|(model, case)| format!("{model}, {case}"))
            .collect()
    }
}

/// Reads the decisions.
pub fn exceptions(folder: &Path) -> Result<Exceptions> {
    parse(&folder.join("review/exceptions.json"))
}

/// Reads what people wrote.
pub fn manual(folder: &Path) -> Result<Manual> {
    let manual: Manual = parse(&folder.join("review/manual.json"))?;
    for model in &manual.models {
        if model.reason.len() < 20 || model.names().is_empty() {
            return Err(failure(
                format!("review/manual.json: {}/{} has no reason or no name", model.provider, model.entry["model"]),
                "say why no source can give it",
            ));
        }
    }
    Ok(manual)
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{} is not as it should be", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn review(case: &str) -> Review {
        let exceptions = serde_json::json!({ "classes": [{ "class": "c", "decision": "litellm",
            "reason": "a reason of some length", "cases": { "p/m": [case] } }] });
        Review::new(&serde_json::from_value(exceptions).unwrap()).unwrap()
    }

    fn usd(value: i64) -> Decimal {
        Decimal::from(value)
    }

    #[test]
    fn a_decision_holds_for_the_numbers_it_was_made_for() {
        let mut one = review("input: genai-prices 2, litellm 1");
        assert_eq!(one.decide("p/m", "input", &[("genai-prices", usd(2)), ("litellm", usd(1))]), (usd(1), 1));
        assert!(one.unexplained.is_empty() && one.unused().is_empty());

        let mut other = review("input: genai-prices 2, litellm 1");
        assert_eq!(other.decide("p/m", "input", &[("genai-prices", usd(3)), ("litellm", usd(1))]), (usd(3), 1));
        assert_eq!(other.unexplained.len(), 1);
        assert_eq!(other.unused().len(), 1);
    }

    #[test]
    fn two_sources_outvote_a_third() {
        let mut review = review("x");
        let values = [("genai-prices", usd(1)), ("model-prices", usd(2)), ("litellm", usd(1))];
        assert_eq!(review.decide("p/m", "output", &values), (usd(1), 2));
        assert_eq!((review.outvoted, review.unexplained.len()), (1, 0));
    }
}
