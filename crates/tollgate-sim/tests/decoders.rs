//! Every decoder gets documents that were changed at random: it must not panic, and what it reads must come back the same.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;

use tollgate_core::catalog::Catalog;
use tollgate_sim::fuzz::{Case, Corpus, Fate, Target};

const CASES: u64 = 1_500;

#[test]
fn no_decoder_chokes() {
    let catalog = Catalog::builtin().unwrap();
    let corpus = Corpus::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), catalog).unwrap();
    for target in Target::ALL {
        let (mut read, mut refused) = (0, 0);
        for number in 0..CASES {
            match (Case { target, number }).run(&corpus, catalog) {
                Fate::Read => read += 1,
                Fate::Refused => refused += 1,
                Fate::Broken { what, input } => panic!("{target:?} {number}: {what}\n{input}"),
            }
        }
        // A decoder that reads nothing, or everything, is not being tested.
        assert!(read > 20 && refused > 20, "{target:?} reads {read} and refuses {refused}");
    }
}
