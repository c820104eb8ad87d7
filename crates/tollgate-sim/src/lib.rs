//! A seeded simulator of Tollgate: the production core and store, under a virtual clock and a storage that fails, with clients that
//! crash, retry, time out, duplicate and reorder, against a naive model that shares no code with them.
//!
//! A seed gives a [`scenario`]: a list of steps. The [`world`] takes them one by one, and after each the ledger must be what the
//! [`model`] says, and the invariants must hold. The same seed gives the same run, to the last line of its trace.
#![allow(
    clippy::indexing_slicing,
    reason = "a list of fixed choices is indexed by what lies within it; a simulator that is wrong here should stop"
)]

mod asked;
pub mod bites;
mod check;
pub mod disk;
pub mod fuzz;
pub mod model;
pub mod scenario;
pub mod seeds;
pub mod shrink;
pub mod vectors;
pub mod world;
