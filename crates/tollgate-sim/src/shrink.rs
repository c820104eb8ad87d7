//! Cuts a failing run shorter: leaves steps out for as long as it still fails.

use tollgate_core::catalog::Catalog;

use crate::scenario::Scenario;
use crate::seeds;
use crate::world::Record;

/// The shortest scenario that was found to fail: no single step of it can be left out.
#[must_use]
pub fn shrink(scenario: &Scenario, catalog: &Catalog) -> Scenario {
    let fails = |candidate: &Scenario| seeds::run(candidate, catalog, Record::default()).violation.is_some();
    let mut shortest = scenario.clone();
    let mut size = shortest.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut has_changed = false;
        while at < shortest.steps.len() {
            let mut candidate = shortest.clone();
            candidate.steps.drain(at..(at + size).min(shortest.steps.len()));
            if fails(&candidate) {
                shortest = candidate;
                has_changed = true;
            } else {
                at += size;
            }
        }
        if !(has_changed && size == 1) {
            size /= 2;
        }
    }
    shortest
}
