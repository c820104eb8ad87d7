//! The simulator finds every deliberate bug, and what it finds can be cut short.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use tollgate_core::catalog::Catalog;
use tollgate_core::fault::{self, Fault};
use tollgate_sim::scenario::Scenario;
use tollgate_sim::{bites, seeds, shrink, world::Record};

/// In so many seeds every bug is found.
const MOST: u64 = 500;

#[test]
fn every_deliberate_bug_is_found() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let found = bites::all(Catalog::builtin().unwrap(), 0, MOST, threads);
    println!("{}", bites::table(&found));
    let missed: Vec<Fault> = found.iter().filter(|bite| bite.found.is_none()).map(|bite| bite.fault).collect();
    assert!(missed.is_empty(), "not found in {MOST} seeds: {missed:?}");
    assert!(found.len() >= 12);
}

#[test]
fn a_failing_run_is_cut_to_what_it_takes() {
    let catalog = Catalog::builtin().unwrap();
    fault::wake(Some(Fault::ReleaseFreesTwice));
    let failing = (0..MOST).map(Scenario::of_seed);
    let fails = |scenario: &Scenario| seeds::run(scenario, catalog, Record::default()).violation.is_some();
    let failing = failing.into_iter().find(|scenario| fails(scenario)).unwrap();
    let shortest = shrink::shrink(&failing, catalog);
    assert!(fails(&shortest));
    // It takes a reserve, its delivery, a release and its delivery, and seldom much more.
    assert!(shortest.steps.len() <= 12, "{:?}", shortest.steps);
    fault::wake(None);
    assert!(!fails(&shortest), "it fails without the bug, too");
}
