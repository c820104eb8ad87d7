//! The simulator: built for speed and run on every core, or, in the tests, as the tests were built.

use std::process::Stdio;

use anyhow::{Context, Result};
use clap::Args;

use crate::failure::failure;
use crate::process::Running;
use crate::step::Step;
use crate::workspace::Workspace;

/// How many seeds the tests run: the same ones every time, and as many that nobody has run before.
const TESTED: u64 = 300;

/// What to simulate.
#[derive(Args)]
pub struct Simulation {
    /// How many seeds to run
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Show everything that happens in the first seed
    #[arg(long)]
    trace: bool,
    /// Look for each deliberate bug in that many seeds, and show the table
    #[arg(long, conflicts_with = "trace")]
    bites: bool,
    /// Write the conformance vectors that the simulator makes
    #[arg(long, conflicts_with_all = ["trace", "bites"])]
    vectors: bool,
}

/// Runs the simulator.
pub fn run(workspace: &Workspace, what: &Simulation) -> Result<()> {
    let mut step = Step::begin("Simulator", "the core and the store under faults, against a model");
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--package", "tollgate-sim"]);
    step.run(build, "mend what the compiler names")?;
    step.done("built");
    let mut command = workspace.command(workspace.target.join("release/tollgate-sim"));
    command.args(["--seeds", &what.seeds.to_string(), "--seed", &what.seed.to_string()]);
    for (flag, is_set) in [("--trace", what.trace), ("--bites", what.bites)] {
        if is_set {
            command.arg(flag);
        }
    }
    if what.vectors {
        command.arg("--vectors").arg(workspace.root.join("tests/conformance/ledger"));
    }
    command.stdin(Stdio::null());
    let status = Running::start(command)?.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(failure(format!("the simulator ended with {status}"), "see what it printed: it says how to replay it"))
    }
}

/// Runs the seeds that belong to the tests; the first of the fresh ones is printed, so that it can be run again.
pub fn test(workspace: &Workspace) -> Result<String> {
    let fresh = fresh_seed()?;
    let mut step = Step::begin("Simulator", &format!("{TESTED} fixed seeds, and {TESTED} fresh ones from {fresh}"));
    // Built with the features that all crates together have, so that nothing is built for this alone.
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--bin", "tollgate-sim"]);
    step.run(build, "mend what the compiler names")?;
    for first in [0, fresh] {
        let mut command = workspace.command(workspace.target.join("debug/tollgate-sim"));
        command.args(["--seeds", &TESTED.to_string(), "--seed", &first.to_string()]);
        step.run(command, "it says above how to replay the seed that fails")?;
    }
    let result = format!("every invariant held in {TESTED} fixed seeds and {TESTED} from {fresh}");
    step.done(&result);
    Ok(result)
}

fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).context("there is no randomness")?;
    // Short enough to be typed.
    Ok(u64::from_le_bytes(bytes) % 1_000_000_000_000)
}
