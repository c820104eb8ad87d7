//! Runs seeds, on every core.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tollgate_core::catalog::Catalog;
use tollgate_core::fault::{self, Fault};

use crate::scenario::Scenario;
use crate::world::{self, Record, Run, Violation};

/// What came of a range of seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many were run.
    pub seeds: u64,
    /// How many commands took effect.
    pub commands: usize,
    /// How many turns failed or were cut short.
    pub failures: usize,
    /// The first seed that failed, and how.
    pub failed: Option<(u64, Violation)>,
}

/// Runs a seed; a panic is a violation like any other.
#[must_use]
pub fn run(scenario: &Scenario, catalog: &Catalog, record: Record) -> Run {
    catch_unwind(AssertUnwindSafe(|| world::run(scenario, catalog, record))).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        Run { violation: Some(Violation { step: 0, what: format!("panic: {what}") }), ..Run::default() }
    })
}

/// Runs `count` seeds from `first` on, on `threads` threads, until one fails. The first seed that fails is the same for any
/// number of threads: those before it are run to their end.
#[must_use]
pub fn run_all(catalog: &Catalog, first: u64, count: u64, threads: usize, fault: Option<Fault>) -> Summary {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let (commands, failures, seeds) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
    let failed: Mutex<Option<(u64, Violation)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                fault::wake(fault);
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let seed = first.wrapping_add(number);
                    let run = run(&Scenario::of_seed(seed), catalog, Record::default());
                    seeds.fetch_add(1, Ordering::Relaxed);
                    commands.fetch_add(run.commands, Ordering::Relaxed);
                    failures.fetch_add(run.failures, Ordering::Relaxed);
                    if let Some(violation) = run.violation {
                        stop.store(true, Ordering::Relaxed);
                        let mut earliest = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        if earliest.as_ref().is_none_or(|(earlier, _)| seed < *earlier) {
                            *earliest = Some((seed, violation));
                        }
                    }
                }
            });
        }
    });
    Summary {
        seeds: seeds.into_inner(),
        commands: commands.into_inner(),
        failures: failures.into_inner(),
        failed: failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
    }
}
