//! `tollgate-sim`: runs seeds, or shows one. `cargo xtask sim` is what builds and calls it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use lexopt::prelude::*;
use tollgate_core::catalog::Catalog;
use tollgate_sim::scenario::Scenario;
use tollgate_sim::world::Record;
use tollgate_sim::{bites, seeds, shrink, vectors};

struct Arguments {
    seeds: u64,
    first: u64,
    threads: usize,
    trace: bool,
    bites: bool,
    vectors: Option<PathBuf>,
}

fn main() -> ExitCode {
    match arguments().map_err(|error| error.to_string()).and_then(|arguments| simulate(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut found = Arguments { seeds: 1_000, first: 0, threads, trace: false, bites: false, vectors: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("seeds") => found.seeds = parser.value()?.parse()?,
            Long("seed") => found.first = parser.value()?.parse()?,
            Long("threads") => found.threads = parser.value()?.parse()?,
            Long("trace") => found.trace = true,
            Long("bites") => found.bites = true,
            Long("vectors") => found.vectors = Some(parser.value()?.into()),
            other => return Err(other.unexpected()),
        }
    }
    Ok(found)
}

/// Whether every invariant held.
fn simulate(arguments: &Arguments) -> Result<bool, String> {
    let catalog = Catalog::builtin().map_err(|error| error.to_string())?;
    // A panic is reported with its seed; the message of its own would only come in between.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.trace {
        let run = seeds::run(&Scenario::of_seed(arguments.first), catalog, Record { trace: true, log: false });
        run.trace.iter().for_each(|line| println!("{line}"));
        if let Some(violation) = &run.violation {
            println!("step {}: {}", violation.step, violation.what);
        }
        return Ok(run.violation.is_none());
    }
    if arguments.bites {
        let bites = bites::all(catalog, arguments.first, arguments.seeds, arguments.threads);
        println!("{}", bites::table(&bites));
        return Ok(bites.iter().all(|bite| bite.found.is_some()));
    }
    if let Some(folder) = &arguments.vectors {
        for seed in vectors::SEEDS {
            let (name, text) = vectors::file(seed, catalog)?;
            std::fs::write(folder.join(&name), text).map_err(|error| format!("{name}: {error}"))?;
            println!("{name}");
        }
        return Ok(true);
    }
    let started = Instant::now();
    let summary = seeds::run_all(catalog, arguments.first, arguments.seeds, arguments.threads, None);
    let seconds = started.elapsed().as_secs_f64().max(0.001);
    println!(
        "{} seeds from {}: {} commands, {} failed turns, {seconds:.1} s",
        summary.seeds, arguments.first, summary.commands, summary.failures
    );
    let Some((seed, violation)) = summary.failed else {
        println!("every invariant held");
        return Ok(true);
    };
    println!("\nseed {seed} fails at step {}: {}", violation.step, violation.what);
    let shortest = shrink::shrink(&Scenario::of_seed(seed), catalog);
    let run = seeds::run(&shortest, catalog, Record { trace: true, log: false });
    println!("\n{} of its steps do, too:", shortest.steps.len());
    run.trace.iter().for_each(|line| println!("{line}"));
    if let Some(violation) = run.violation {
        println!("  ✗ {}", violation.what);
    }
    println!("\nreplay: cargo xtask sim --seed {seed} --seeds 1, or with --trace for all of it");
    Ok(false)
}
