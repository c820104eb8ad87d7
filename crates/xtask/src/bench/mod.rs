//! `cargo xtask bench`: measures, side by side in one run. Every figure is the median of rounds in which all that is compared takes its turn, so that a machine
//! that slows down slows all of them down. Results go to the terminal and into `docs/benchmarks.md`.

mod contender;
mod databases;
mod ledger;
mod report;
mod worker;

use anyhow::Result;
use clap::Subcommand;

use crate::workspace::Workspace;

/// What can be measured.
#[derive(Subcommand)]
pub enum Task {
    /// Time of the ledger by itself: in the core, in process, and on disk with few and with many entries
    Ledger(ledger::Options),
    /// Stored decisions per second of one hot tenant and of a hundred, beside PostgreSQL and Redis
    Worker(worker::Options),
}

/// Measures it.
pub fn run(workspace: &Workspace, task: &Task) -> Result<()> {
    match task {
        Task::Ledger(options) => ledger::run(workspace, options),
        Task::Worker(options) => worker::run(workspace, options),
    }
}
