//! Seeds that are run with every test, and that a seed means the same every time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use tollgate_core::catalog::Catalog;
use tollgate_sim::scenario::Scenario;
use tollgate_sim::seeds;
use tollgate_sim::world::Record;

/// `cargo xtask test` runs more of them, and fresh ones.
const FIXED: u64 = 100;

#[test]
fn every_invariant_holds_for_the_fixed_seeds() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = seeds::run_all(Catalog::builtin().unwrap(), 0, FIXED, threads, None);
    if let Some((seed, violation)) = summary.failed {
        panic!("seed {seed} fails: {violation:?}\nreplay: cargo xtask sim --seed {seed} --seeds 1");
    }
    // Runs that do nothing hold every invariant.
    assert_eq!(summary.seeds, FIXED);
    assert!(summary.commands > 2_000, "only {} commands took effect", summary.commands);
    assert!(summary.failures > 50, "only {} turns failed", summary.failures);
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let catalog = Catalog::builtin().unwrap();
    for seed in 0..20 {
        let trace = || seeds::run(&Scenario::of_seed(seed), catalog, Record { trace: true, log: false }).trace;
        let first = trace();
        assert!(first.len() > 20, "seed {seed} does nothing");
        assert_eq!(first, trace(), "seed {seed}");
    }
}
