//! The vectors in tests/conformance/ledger are those that the simulator makes now.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use tollgate_core::catalog::Catalog;
use tollgate_sim::vectors;

#[test]
fn the_vectors_are_those_of_their_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/ledger");
    for seed in vectors::SEEDS {
        let (name, text) = vectors::file(seed, Catalog::builtin().unwrap()).unwrap();
        let found = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(text.matches("\"now\"").count() > 10, "{name} has hardly a step");
        assert!(found == text, "{name} is out of date: cargo xtask sim --vectors");
    }
}
