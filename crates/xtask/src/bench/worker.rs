//! `cargo xtask bench worker`: one hot tenant, and a hundred, asked by one Node process: Tollgate's client, plain requests to Tollgate, the transaction that the
//! first user's audit proposes on a real PostgreSQL, and a Lua script on a real Redis that answers when it is on disk.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use super::contender::Contender;
use super::databases::{Postgres, Redis};
use super::report::{self, Table};
use crate::hash;
use crate::serve::{Server, random_token};
use crate::step::Step;
use crate::tools::{self, Tools};
use crate::workspace::Workspace;
use crate::{build, install};

/// Where the measuring program is.
const PROGRAM: &str = "bench/worker";

/// Whom to measure: the name that the program knows, and how it is called in the report.
const CONTENDERS: [(&str, &str); 5] = [
    ("batching", "Tollgate, its client"),
    ("single", "Tollgate, a request each"),
    ("sql", "PostgreSQL, the audit's SQL"),
    ("redis", "Redis, a Lua script"),
    BARE,
];

/// What the platform itself takes: the same client, asked the same, of an object that has no rules at all. It has no budget, so no part in the race.
const BARE: (&str, &str) = ("bare", "an object that decides nothing");
/// Its config.
const BARE_CONFIG: &str = "bench/worker/bare.capnp";

/// What the app does today; it takes part in the race alone.
const APP: (&str, &str) = ("app", "PostgreSQL, check and then record");

const TENANTS: [usize; 2] = [1, 100];
const CALLERS: [usize; 3] = [1, 32, 256];

/// The budget of the race, for which twice as many one-dollar requests come at once.
const RACE_DOLLARS: u64 = 100;

/// How to measure.
#[derive(Args)]
pub struct Options {
    /// Rounds in which every contender takes its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Milliseconds of one turn
    #[arg(long, default_value_t = 2_000)]
    milliseconds: u64,
}

/// Measures, and writes the section `worker` of the benchmarks.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = tools::set_up(workspace, false)?;
    build::worker(workspace, &tools)?;
    build::package(workspace, &tools)?;
    packages(workspace, &tools)?;

    // All three on the same disk, in a folder that ends with the run.
    let place = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(workspace.own_folder()?)
        .context("cannot make a folder for the databases")?;
    let step = Step::begin("Servers", "the Worker, PostgreSQL and Redis, on loopback, on one disk");
    let token = random_token()?;
    let server = Server::start(workspace, &tools, 0, &place.path().join("worker"), &token)?;
    let bare = Server::start_other(workspace, &tools, BARE_CONFIG, 0, &place.path().join("bare"), &token)?;
    let postgres = Postgres::start(place.path())?;
    let redis = Redis::start(place.path())?;
    step.done("all answer");

    let connections = json!({
        "worker": { "url": server.url, "token": token },
        "bare": { "url": bare.url, "token": token },
        "postgres": postgres.connection(),
        "redis": redis.connection(),
    });
    let mut node = tools.node.script(workspace, Path::new(PROGRAM).join("measure.mjs").as_path())?;
    node.arg(connections.to_string());
    let mut program = Contender::start("the measuring program", node)?;

    let race = race(&mut program)?;
    let mut measured = Vec::new();
    for tenants in TENANTS {
        for callers in CALLERS {
            measured.push(Setting::measure(&mut program, options, tenants, callers)?);
        }
    }
    report::publish(workspace, "worker", "cargo xtask bench worker", &body(&program.ready, options, &measured, &race))
}

/// One number of tenants and callers, and what each contender did there.
struct Setting {
    tenants: usize,
    callers: usize,
    /// In the order of [`CONTENDERS`].
    results: Vec<Turn>,
}

/// The medians of one contender's turns.
struct Turn {
    per_second: f64,
    p50: f64,
    p99: f64,
}

impl Setting {
    fn measure(program: &mut Contender, options: &Options, tenants: usize, callers: usize) -> Result<Self> {
        let step = Step::begin(&format!("{tenants} tenants, {callers} callers"), "every contender in turn");
        let mut turns: Vec<Vec<Value>> = vec![Vec::new(); CONTENDERS.len()];
        // One turn that does not count: connections, compiled code and caches are for everybody.
        for round in 0..=options.rounds {
            for ((name, _), turns) in CONTENDERS.iter().zip(&mut turns) {
                let turn = program.ask(&json!({
                    "task": "throughput", "contender": name, "tenants": tenants, "callers": callers,
                    "milliseconds": options.milliseconds,
                }))?;
                if round > 0 {
                    turns.push(turn);
                }
            }
        }
        let results: Vec<Turn> = turns.iter().map(|turns| Turn::median(turns)).collect::<Result<_>>()?;
        step.done(&results.iter().map(|turn| format!("{:.0}/s", turn.per_second)).collect::<Vec<_>>().join(" · "));
        Ok(Self { tenants, callers, results })
    }
}

impl Turn {
    fn median(turns: &[Value]) -> Result<Self> {
        let of = |field: &str| -> Result<f64> {
            Ok(report::median(turns.iter().map(|turn| number(turn, field)).collect::<Result<_>>()?))
        };
        Ok(Self { per_second: of("perSecond")?, p50: of("p50")?, p99: of("p99")? })
    }
}

/// What a contender let through of twice what its budget holds.
struct Race {
    name: &'static str,
    admitted: u64,
    spent: f64,
}

fn race(program: &mut Contender) -> Result<Vec<Race>> {
    let step = Step::begin("Race", "twice as many one-dollar requests at once as the budget has dollars");
    let mut outcomes = Vec::new();
    for (contender, name) in CONTENDERS.into_iter().filter(|contender| *contender != BARE).chain([APP]) {
        let outcome = program.ask(&json!({ "task": "race", "contender": contender, "dollars": RACE_DOLLARS }))?;
        // A count, far below 2⁵³.
        outcomes.push(Race { name, admitted: number(&outcome, "admitted")? as u64, spent: number(&outcome, "spent")? });
    }
    step.done("run");
    Ok(outcomes)
}

fn body(ready: &Value, options: &Options, measured: &[Setting], race: &[Race]) -> String {
    let version =
        |what: &str| ready.pointer(&format!("/versions/{what}")).and_then(Value::as_str).unwrap_or("?").to_owned();
    let mut text = format!(
        "PostgreSQL {}, Redis {}, Node {}. Medians of {} turns of {} ms each. An operation is one decision that is stored before it is answered: for \
         Tollgate a reserve or a settle, for the others the one check that also records.\n",
        version("postgres"),
        version("redis"),
        version("node"),
        options.rounds,
        options.milliseconds,
    );
    for setting in measured {
        let sql = setting.result_of("sql").per_second;
        let mut table = Table::new(&["", "operations/s", "× the SQL", "p50", "p99"]);
        for ((_, name), turn) in CONTENDERS.iter().zip(&setting.results) {
            table.row(vec![
                (*name).to_owned(),
                format!("{:.0}", turn.per_second),
                format!("{:.1}", turn.per_second / sql),
                report::duration(turn.p50 * 1e6),
                report::duration(turn.p99 * 1e6),
            ]);
        }
        text.push_str(&format!(
            "\n{}, {}:\n\n{}",
            of(setting.tenants, "tenant"),
            of(setting.callers, "caller"),
            table.text()
        ));
    }
    text.push_str(&chart(measured));
    let mut table = Table::new(&["", "admitted", "spent", "overrun"]);
    for Race { name, admitted, spent } in race {
        let overrun = admitted.saturating_sub(RACE_DOLLARS);
        table.row(vec![(*name).to_owned(), admitted.to_string(), format!("${spent:.2}"), format!("${overrun}")]);
    }
    text.push_str(&format!(
        "\n{} requests of $1 at once on a budget of ${RACE_DOLLARS}:\n\n{}",
        2 * RACE_DOLLARS,
        table.text()
    ));
    text
}

impl Setting {
    fn result_of(&self, contender: &str) -> &Turn {
        const NOTHING: Turn = Turn { per_second: 0.0, p50: 0.0, p99: 0.0 };
        let found = CONTENDERS.iter().zip(&self.results).find(|((name, _), _)| *name == contender);
        found.map_or(&NOTHING, |(_, turn)| turn)
    }
}

/// Operations per second of one hot tenant, as a chart that Markdown shows.
fn chart(measured: &[Setting]) -> String {
    let hot: Vec<&Setting> = measured.iter().filter(|setting| setting.tenants == 1).collect();
    let callers: Vec<String> = hot.iter().map(|setting| format!("\"{}\"", of(setting.callers, "caller"))).collect();
    let mut text = format!(
        "\nOne tenant, operations per second; the lines are, in the order of the tables, {}.\n\n```mermaid\nxychart-beta\n    x-axis [{}]\n    y-axis \"operations/s\"\n",
        CONTENDERS.map(|(_, name)| name).join(" · "),
        callers.join(", ")
    );
    for (name, _) in CONTENDERS {
        let values: Vec<String> =
            hot.iter().map(|setting| format!("{:.0}", setting.result_of(name).per_second)).collect();
        text.push_str(&format!("    line [{}]\n", values.join(", ")));
    }
    text.push_str("```\n");
    text
}

fn number(answer: &Value, field: &str) -> Result<f64> {
    answer.get(field).and_then(Value::as_f64).with_context(|| format!("the program's answer has no number `{field}`"))
}

fn of(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Installs the drivers that the program measures with, where its lock file says something else than last time.
fn packages(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let folder = workspace.root.join(PROGRAM);
    let wanted = hash::of_files([folder.join("package.json").as_path(), folder.join("package-lock.json").as_path()])?;
    let stamp: PathBuf = folder.join("node_modules/.tollgate-installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let _lock = install::lock_file(&workspace.own_folder()?.join("bench-worker.lock"), "the benchmark's packages")?;
    let mut step = Step::begin("Drivers", "pg and ioredis, by the benchmark's own lock file");
    let mut command: Command = workspace.command("npm");
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder).stdin(Stdio::null());
    tools.node.give_to(&mut command)?;
    step.run(command, "check the network and run this again")?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    step.done("installed");
    Ok(())
}
