//! `cargo xtask bench ledger`: the ledger by itself. In the core, in process through the package, and on SQLite with few and with many entries.

use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::contender::Contender;
use super::report::{self, Table};
use crate::build;
use crate::step::Step;
use crate::tools;
use crate::workspace::Workspace;

/// The sizes that are compared: requests must not be slower at the second than at the first.
const ENTRIES: [u64; 2] = [1_000, 1_000_000];

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Rounds in which everything that is compared takes its turn
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Lifecycles (a reserve and a settle) in one turn of the core; the others make a part of it
    #[arg(long, default_value_t = 200_000)]
    lifecycles: u64,
    /// Write what was measured here too, as JSON
    #[arg(long)]
    json: Option<std::path::PathBuf>,
}

/// What is measured, in nanoseconds: one figure per round, or many.
#[derive(Default)]
struct Measured {
    /// A lifecycle in the core.
    core: Vec<f64>,
    /// A reserve through the package, and a whole lifecycle.
    local: [Vec<f64>; 2],
    /// A lifecycle on disk, a commit for the reserve and one for the settle, for each of [`ENTRIES`]; all of them, not only medians.
    turns: [Vec<f64>; 2],
    /// Start-up for each of [`ENTRIES`].
    start: [Vec<f64>; 2],
    /// An audit for each of [`ENTRIES`], per entry.
    audit: [f64; 2],
    /// Bytes of the database for each of [`ENTRIES`], per entry.
    bytes: [f64; 2],
}

/// Measures, and writes the section `ledger` of the benchmarks.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = tools::set_up(workspace, false)?;
    build::package(workspace, &tools)?;
    let program = super::example(workspace, "tollgate-store", &["rusqlite"], "measure_ledger")?;
    let place = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(workspace.own_folder()?)
        .context("cannot make a folder for the databases")?;
    let mut native = Contender::start("the native program", workspace.command(program))?;
    let node = tools.node.script(workspace, Path::new("bench/ledger/local.mjs"))?;
    let mut node = Contender::start("the package", node)?;

    let mut measured = Measured::default();
    let files = ENTRIES.map(|entries| place.path().join(format!("{entries}.sqlite")));
    for ((entries, file), bytes) in ENTRIES.iter().zip(&files).zip(&mut measured.bytes) {
        let step = Step::begin(&format!("A ledger of {entries} entries"), "reserves and settles, 250 in a commit");
        let filled = native.ask(&json!({ "task": "fill", "file": file, "entries": entries }))?;
        *bytes = number(&filled, "bytes")? / number(&filled, "entries")?;
        step.done(&format!("{bytes:.0} bytes per entry"));
    }

    let step = Step::begin("Rounds", "everything in turn");
    for round in 0..=options.rounds {
        // One that does not count: compiled code and caches are for everybody.
        let mut turn = Measured::default();
        take_turns(&mut native, &mut node, options, &files, &mut turn)?;
        if round > 0 {
            measured.add(turn);
        }
    }
    step.done(&format!("{} rounds", options.rounds));
    let step = Step::begin("Audits", "every entry folded again, every hash followed");
    for (file, audit) in files.iter().zip(&mut measured.audit) {
        let answer = native.ask(&json!({ "task": "audit", "file": file }))?;
        *audit = number(&answer, "nanoseconds")? / number(&answer, "entries")?;
    }
    step.done("clean");
    if let Some(path) = &options.json {
        std::fs::write(path, format!("{:#}\n", measured.json()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    report::publish(workspace, "ledger", "cargo xtask bench ledger", &body(&measured, options, &node.ready))
}

fn take_turns(
    native: &mut Contender,
    node: &mut Contender,
    options: &Options,
    files: &[std::path::PathBuf; 2],
    turn: &mut Measured,
) -> Result<()> {
    let lifecycles = options.lifecycles;
    let core = native.ask(&json!({ "task": "core", "lifecycles": lifecycles }))?;
    turn.core.push(number(&core, "nanoseconds")? / lifecycles as f64);
    let few = (lifecycles / 20).max(1);
    let local = node.ask(&json!({ "lifecycles": few }))?;
    let [reserve, lifecycle] = &mut turn.local;
    reserve.push(report::median(numbers(&local, "reserves")?));
    lifecycle.push(number(&local, "nanoseconds")? / few as f64);
    for ((file, turns), start) in files.iter().zip(&mut turn.turns).zip(&mut turn.start) {
        let answer = native.ask(&json!({ "task": "turns", "file": file, "lifecycles": (lifecycles / 400).max(1) }))?;
        turns.extend(numbers(&answer, "nanoseconds")?);
        let answer = native.ask(&json!({ "task": "start", "file": file }))?;
        start.push(number(&answer, "nanoseconds")?);
    }
    Ok(())
}

impl Measured {
    fn add(&mut self, turn: Self) {
        self.core.extend(turn.core);
        for (all, more) in self.local.iter_mut().zip(turn.local) {
            all.extend(more);
        }
        for (all, more) in self.turns.iter_mut().zip(turn.turns) {
            all.extend(more);
        }
        for (all, more) in self.start.iter_mut().zip(turn.start) {
            all.extend(more);
        }
    }

    /// Medians, in nanoseconds and bytes.
    fn json(&self) -> Value {
        let median = |values: &Vec<f64>| report::median(values.clone());
        json!({
            "core": median(&self.core),
            "localReserve": median(&self.local[0]),
            "localLifecycle": median(&self.local[1]),
            "entries": ENTRIES,
            "turns": self.turns.each_ref().map(median),
            "start": self.start.each_ref().map(median),
            "auditPerEntry": self.audit,
            "bytesPerEntry": self.bytes,
        })
    }
}

fn body(measured: &Measured, options: &Options, node: &Value) -> String {
    let median = |values: &Vec<f64>| report::median(values.clone());
    let core = median(&measured.core);
    let mut table = Table::new(&["reserve and settle, three scopes", "time", "per second"]);
    let per_second = |nanoseconds: f64| format!("{:.0}", 1e9 / nanoseconds);
    table.row(vec!["native core: decided and folded in".to_owned(), report::duration(core), per_second(core)]);
    let [reserve, lifecycle] = measured.local.each_ref().map(median);
    table.row(vec!["`createLocal`: the reserve alone".to_owned(), report::duration(reserve), per_second(reserve)]);
    table.row(vec!["`createLocal`: both".to_owned(), report::duration(lifecycle), per_second(lifecycle)]);

    let mut sizes = Table::new(&["on SQLite, natively", "1,000 entries", "1,000,000 entries", "ratio"]);
    let mut compare = |what: &str, [few, many]: [f64; 2], shown: fn(f64) -> String| {
        sizes.row(vec![what.to_owned(), shown(few), shown(many), format!("{:.2}", many / few)]);
    };
    compare("reserve and settle, a commit each, p50", measured.turns.each_ref().map(median), report::duration);
    compare("the same, p99", measured.turns.each_ref().map(|times| percentile_99(times.clone())), report::duration);
    compare("start-up: snapshot and tail", measured.start.each_ref().map(median), report::duration);
    compare("audit, per entry", measured.audit, report::duration);
    compare("database, bytes per entry", measured.bytes, |bytes| format!("{bytes:.0}"));
    format!(
        "Node {}. Medians of {} rounds.\n\n{}\n{}",
        node.get("node").and_then(Value::as_str).unwrap_or("?"),
        options.rounds,
        table.text(),
        sizes.text()
    )
}

fn percentile_99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * 99 / 100).copied().unwrap_or_default()
}

fn number(answer: &Value, field: &str) -> Result<f64> {
    answer.get(field).and_then(Value::as_f64).with_context(|| format!("the program's answer has no number `{field}`"))
}

fn numbers(answer: &Value, field: &str) -> Result<Vec<f64>> {
    let values = answer.get(field).and_then(Value::as_array);
    let values = values.with_context(|| format!("the program's answer has no list `{field}`"))?;
    Ok(values.iter().filter_map(Value::as_f64).collect())
}
