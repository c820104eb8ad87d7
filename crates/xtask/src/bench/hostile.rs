//! `cargo xtask bench hostile`: what good tenants feel beside hostile ones on the same Worker. In workerd all objects share one thread, so it is the worst
//! case of neighbours; the load of the hostile ones is bounded (`bench/hostile/attacks.mjs`).

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::contender::Contender;
use super::report::{self, Table};
use crate::build;
use crate::serve::{Server, random_token};
use crate::step::Step;
use crate::tools;
use crate::workspace::Workspace;

/// Where the measuring program is.
const PROGRAM: &str = "bench/hostile";

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Rounds in which the good tenants are measured alone and beside each kind of hostile ones
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds of one turn
    #[arg(long, default_value_t = 5_000)]
    milliseconds: u64,
}

/// Measures, and writes the section `hostile` of the benchmarks.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = tools::set_up(workspace, false)?;
    build::worker(workspace, &tools)?;
    let place = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(workspace.own_folder()?)
        .context("cannot make a folder for the Worker's state")?;
    let token = random_token()?;
    let server = Server::start(workspace, &tools, 0, &place.path().join("worker"), &token)?;

    let step = Step::begin("Stage", "good tenants, and a hostile one with 100,000 users, 5,000 holds and 900 quotas");
    let mut node = tools.node.script(workspace, Path::new(PROGRAM).join("measure.mjs").as_path())?;
    node.arg(json!({ "worker": { "url": server.url, "token": token } }).to_string());
    let mut program = Contender::start("the measuring program", node)?;
    step.done("set");

    let kinds: Vec<String> = serde_json::from_value(program.ready.get("kinds").cloned().unwrap_or_default())
        .context("the program names the kinds of attacks")?;
    let mut alone = Vec::new();
    let mut beside: Vec<Vec<Value>> = vec![Vec::new(); kinds.len()];
    for round in 0..=options.rounds {
        let step = Step::begin(&format!("Round {round} of {}", options.rounds), "alone, and beside each kind in turn");
        for (kind, turns) in kinds.iter().zip(&mut beside) {
            let before = turn(&mut program, options, None)?;
            let attacked = turn(&mut program, options, Some(kind))?;
            // The first round is for connections, compiled code and caches.
            if round > 0 {
                alone.push(before);
                turns.push(attacked);
            }
        }
        step.done("done");
    }
    let text = body(&program.ready, options, &kinds, &alone, &beside);
    report::publish(workspace, "hostile", "cargo xtask bench hostile", &text)
}

fn turn(program: &mut Contender, options: &Options, kind: Option<&str>) -> Result<Value> {
    program.ask(&json!({ "kind": kind, "milliseconds": options.milliseconds }))
}

fn body(ready: &Value, options: &Options, kinds: &[String], alone: &[Value], beside: &[Vec<Value>]) -> String {
    let of = |name: &str| ready.get(name).map(Value::to_string).unwrap_or_default();
    let mut text = format!(
        "Node {}. {} good tenants with a caller each, who reserves and settles over HTTP and rests {} ms in between. Medians of {} turns of {} ms; alone and beside in turn. \
         Failed is the sum over all turns.\n\n",
        ready.get("node").and_then(Value::as_str).unwrap_or("?"),
        of("goodTenants"),
        of("restMs"),
        options.rounds,
        options.milliseconds,
    );
    let mut table =
        Table::new(&["beside", "p50", "p99", "p99 × alone", "failed", "hostile requests/s", "what they were answered"]);
    let base = median(alone, "p99");
    table.row(row("nobody", alone, base, options));
    for (kind, turns) in kinds.iter().zip(beside) {
        table.row(row(kind, turns, base, options));
    }
    text.push_str(&table.text());
    text
}

fn row(name: &str, turns: &[Value], alone: f64, options: &Options) -> Vec<String> {
    let p99 = median(turns, "p99");
    let failed: u64 = turns
        .iter()
        .filter_map(|turn| turn.get("failures")?.as_object())
        .flat_map(|all| all.values())
        .filter_map(Value::as_u64)
        .sum();
    let requests: u64 = turns.iter().filter_map(|turn| turn.pointer("/attack/requests")?.as_u64()).sum();
    // Counts and milliseconds are far below 2⁵³.
    let seconds = turns.len() as f64 * options.milliseconds as f64 / 1_000.0;
    vec![
        name.to_owned(),
        report::duration(median(turns, "p50") * 1e6),
        report::duration(p99 * 1e6),
        format!("{:.1}", p99 / alone),
        failed.to_string(),
        format!("{:.0}", requests as f64 / seconds.max(1.0)),
        outcomes(turns),
    ]
}

/// How many requests of the hostile ones had each outcome, most first.
fn outcomes(turns: &[Value]) -> String {
    let mut counts: Vec<(String, u64)> = Vec::new();
    for (outcome, count) in turns.iter().filter_map(|turn| turn.pointer("/attack/outcomes")?.as_object()).flatten() {
        let count = count.as_u64().unwrap_or_default();
        match counts.iter_mut().find(|(known, _)| known == outcome) {
            Some((_, sum)) => *sum += count,
            None => counts.push((outcome.clone(), count)),
        }
    }
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().map(|(outcome, count)| format!("{count} × {outcome}")).collect::<Vec<_>>().join(", ")
}

fn median(turns: &[Value], field: &str) -> f64 {
    report::median(turns.iter().filter_map(|turn| turn.get(field)?.as_f64()).collect())
}
