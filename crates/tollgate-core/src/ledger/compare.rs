//! Compares two states of a ledger, for audits.

use serde_json::Value;

use super::Ledger;

/// The most differences that are listed: more would not tell more.
pub const MAX_DIFFERENCES: usize = 100;

/// A place where two states differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: a path in the snapshot, such as `quotas.tenant-llm-month.counters[0].spent`.
    pub place: String,
    /// What is there on the one side; null where it lacks the place.
    pub kept: Value,
    /// What is there on the other.
    pub refolded: Value,
}

impl Ledger {
    /// Where this state differs from another one of the same ledger; ended reservations do not count, since their owner keeps them.
    /// [`MAX_DIFFERENCES`] at most.
    #[must_use]
    pub fn differences(&self, refolded: &Self) -> Vec<Difference> {
        let data = |ledger: &Self| serde_json::to_value(ledger.snapshot()).unwrap_or_default();
        let mut found = Vec::new();
        compare(String::new(), &data(self), &data(refolded), &mut found);
        found
    }
}

fn compare(place: String, kept: &Value, refolded: &Value, found: &mut Vec<Difference>) {
    if kept == refolded || found.len() >= MAX_DIFFERENCES {
        return;
    }
    match (kept, refolded) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                compare(place, a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                let member = |side: &[Value]| side.get(at).cloned().unwrap_or_default();
                compare(format!("{place}[{at}]"), &member(a), &member(b), found);
            }
        }
        _ => found.push(Difference { place, kept: kept.clone(), refolded: refolded.clone() }),
    }
}
