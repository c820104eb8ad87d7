//! `cargo xtask bench`: measures, side by side in one run. Every figure is the median of rounds in which all that is compared takes its turn, so that a machine
//! that slows down slows all of them down. Results go to the terminal and into `docs/benchmarks.md`.

mod contender;
mod databases;
mod hostile;
mod ledger;
mod price;
mod report;
mod worker;

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::step::Step;
use crate::workspace::Workspace;

/// What can be measured.
#[derive(Subcommand)]
pub enum Task {
    /// What good tenants feel beside hostile ones on the same Worker
    Hostile(hostile::Options),
    /// Time of the ledger by itself: in the core, in process, and on disk with few and with many entries
    Ledger(ledger::Options),
    /// Time and size of pricing one usage, beside other price libraries for JavaScript and Python
    Price(price::Options),
    /// Stored decisions per second of one hot tenant and of a hundred, beside PostgreSQL and Redis
    Worker(worker::Options),
}

/// Measures it.
pub fn run(workspace: &Workspace, task: &Task) -> Result<()> {
    match task {
        Task::Hostile(options) => hostile::run(workspace, options),
        Task::Ledger(options) => ledger::run(workspace, options),
        Task::Price(options) => price::run(workspace, options),
        Task::Worker(options) => worker::run(workspace, options),
    }
}

/// Builds a package's example program for speed, with the profile `fast`, and says where it is.
fn example(workspace: &Workspace, package: &str, features: &[&str], name: &str) -> Result<PathBuf> {
    let mut step = Step::begin("Native program", "optimized as whoever wants speed builds it");
    let mut command = workspace.cargo();
    command.args(["build", "--profile", "fast", "--package", package, "--example", name]);
    command.arg("--features").arg(features.join(","));
    step.run(command, "see the compiler's message above")?;
    step.done("built");
    Ok(workspace.target.join("fast/examples").join(name))
}
