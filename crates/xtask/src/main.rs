//! `cargo xtask`: sets Tollgate up, builds it, runs it, tests it. `cargo xtask` alone lists the tasks.

mod bench;
mod build;
mod catalog;
mod demo;
mod failure;
mod hash;
mod install;
mod interrupt;
mod node;
mod oracle;
mod process;
mod python;
mod serve;
mod sim;
mod step;
mod test;
mod tidy;
mod tools;
mod wasm;
mod workspace;
mod zones;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use console::style;

use crate::interrupt::Interrupted;
use crate::serve::{Server, random_token};
use crate::step::Step;
use crate::workspace::Workspace;

#[cfg(not(unix))]
compile_error!("the tasks run on Linux and macOS; on Windows, use WSL");

/// Sets Tollgate up, builds it, runs it, tests it
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the other tasks need, and say what is there
    Setup,
    /// Build the Worker and the npm package
    Build(Build),
    /// Serve the Worker on loopback until Ctrl-C
    Dev(Dev),
    /// Show the race being lost without Tollgate and won with it, on a real local Worker
    Demo,
    /// Check format, tidiness, lints and types: what takes seconds once it is compiled, for before a commit
    Check,
    /// Run every test there is, or some parts
    Test(Test),
    /// Measure, side by side with what a user would pick instead, and write docs/benchmarks.md
    #[command(subcommand)]
    Bench(bench::Task),
    /// Simulate the core and the store under faults, seed by seed; exit 0 when every invariant held
    Sim(sim::Simulation),
    /// Give every decoder documents that were changed at random; exit 0 when none choked
    Fuzz(sim::Fuzz),
    /// Make, check or describe the price list
    #[command(subcommand)]
    Catalog(catalog::Task),
    /// Make the table of time zones from the IANA database
    Zones,
}

#[derive(Args)]
struct Build {
    /// Only the Worker
    #[arg(long, conflicts_with = "package")]
    worker: bool,
    /// Only the npm package
    #[arg(long)]
    package: bool,
}

#[derive(Args)]
struct Dev {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Folder of the databases [default: .tollgate/state in the checkout]
    #[arg(long)]
    state: Option<PathBuf>,
    /// Admin token; without it, a random one is made and printed
    #[arg(long)]
    admin_token: Option<String>,
    /// Serve what was built last, as it is
    #[arg(long)]
    no_build: bool,
}

#[derive(Args)]
struct Test {
    /// Run these parts only
    parts: Vec<test::Part>,
    /// Of the JavaScript tests, run the files whose path contains this
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("{} {error:#}", style("error:").red().bold().for_stderr());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let Some(task) = arguments.task else {
        Arguments::command().print_help()?;
        return Ok(());
    };
    interrupt::listen()?;
    let workspace = Workspace::find()?;
    match task {
        Task::Setup => tools::set_up(&workspace, true).map(|_| ()),
        Task::Build(what) => {
            let tools = tools::set_up(&workspace, false)?;
            if !what.package {
                build::worker(&workspace, &tools)?;
            }
            if !what.worker {
                build::package(&workspace, &tools)?;
            }
            Ok(())
        }
        Task::Dev(dev) => match serve(&workspace, dev) {
            // Whoever asks it to stop gets what they asked for, however early they ask.
            Err(error) if error.is::<Interrupted>() => Ok(()),
            result => result,
        },
        Task::Demo => {
            let tools = tools::set_up(&workspace, false)?;
            build::worker(&workspace, &tools)?;
            build::package(&workspace, &tools)?;
            println!();
            demo::run(&workspace, &tools, None)
        }
        Task::Check => test::check(&workspace),
        Task::Test(Test { parts, only }) => test::run(&workspace, &test::Selection { parts, only }),
        Task::Bench(task) => bench::run(&workspace, &task),
        Task::Sim(what) => sim::run(&workspace, &what),
        Task::Fuzz(what) => sim::fuzz(&workspace, &what),
        Task::Catalog(task) => catalog::run(&workspace, &task),
        Task::Zones => zones::run(&workspace),
    }
}

fn serve(workspace: &Workspace, dev: Dev) -> Result<()> {
    let tools = tools::set_up(workspace, false)?;
    if !dev.no_build {
        build::worker(workspace, &tools)?;
    }
    let token = match dev.admin_token {
        Some(token) => token,
        None => random_token()?,
    };
    let state = dev.state.unwrap_or_else(|| workspace.root.join(".tollgate/state"));
    let step = Step::begin("Server", "the Worker in workerd, on loopback");
    let server = Server::start(workspace, &tools, dev.port, &state, &token)?;
    step.done(&format!("state in {}", state.display()));
    println!("\n  ready:       {}", style(&server.url).bold());
    println!("  admin token: {token}");
    println!("  try it:      curl {}/healthz", server.url);
    println!(
        "               curl -X PUT {}/v1/tenants/acme -H 'authorization: Bearer {token}' -H 'content-type: application/json' -d '{{}}'",
        server.url
    );
    println!("  stop:        Ctrl-C\n");
    server.serve()
}
