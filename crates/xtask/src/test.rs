//! Every test there is, in order, with a summary.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Error, Result};
use clap::ValueEnum;
use console::style;
use ignore::WalkBuilder;

use crate::failure::failure;
use crate::interrupt::Interrupted;
use crate::node::{self, Node};
use crate::process::answer_of;
use crate::serve::CONFIG;
use crate::step::{Step, took};
use crate::tools::{self, Tools};
use crate::wasm::TARGET;
use crate::workspace::Workspace;
use crate::{build, catalog, demo, hash, install, oracle, sim, tidy};

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Part {
    /// The code is formatted
    Fmt,
    /// No unfinished work, machine paths or registry addresses in the files
    Tidy,
    /// The price list is as `cargo xtask catalog update` writes it, and its decisions are about models that it has
    Catalog,
    /// Random usage of every model costs the same in genai-prices and LiteLLM, or a file says why not
    Oracle,
    /// Clippy has nothing to say, natively and for wasm
    Clippy,
    /// Unit and property tests of the crates
    Rust,
    /// The simulator: seeds that are always the same, and fresh ones
    Sim,
    /// The Worker and the npm package build, within their sizes
    Build,
    /// TypeScript's types fit: the package, the tests, the examples
    Types,
    /// The package, the Worker in workerd and the conformance vectors, by `node --test`
    Js,
    /// `wrangler deploy --dry-run`
    Wrangler,
    /// The demo runs to its end
    Demo,
}

const ALL: [Part; 12] = [
    Part::Fmt,
    Part::Tidy,
    Part::Catalog,
    Part::Clippy,
    Part::Rust,
    Part::Sim,
    Part::Oracle,
    Part::Build,
    Part::Types,
    Part::Js,
    Part::Wrangler,
    Part::Demo,
];

/// Tests that run the package where others run it.
const HOSTS: &str = "tests/hosts";

/// What to do about a lint.
const LINT: &str = "mend what it names (`rustup component add clippy` if it is missing)";

/// What to run.
pub struct Selection {
    /// These parts; all of them when empty.
    pub parts: Vec<Part>,
    /// Of the JavaScript tests, the files whose path has this in it.
    pub only: Option<String>,
}

/// Runs the selected parts in order. One that fails does not keep the others from running, but for those that need what it should have built.
pub fn run(workspace: &Workspace, selection: &Selection) -> Result<()> {
    let parts: Vec<Part> =
        ALL.into_iter().filter(|part| selection.parts.is_empty() || selection.parts.contains(part)).collect();
    let started = Instant::now();
    let floor = Floor { workspace, tools: OnceCell::new() };
    let mut summary = Vec::new();
    let mut failed: Vec<(Part, Error)> = Vec::new();
    for part in parts {
        let started = Instant::now();
        if part.needs_build() && failed.iter().any(|(failed, _)| *failed == Part::Build) {
            summary.push(format!("- {:<9} not run: what it runs was not built", name(part)));
            continue;
        }
        match floor.run(part, selection.only.as_deref()) {
            Ok(result) => summary.push(format!("{} {:<9} {result}, {}", style("✓").green(), name(part), took(started))),
            // Whoever stops it wants all of it to stop.
            Err(error) if error.is::<Interrupted>() => return Err(error),
            Err(error) => {
                summary.push(format!("{} {:<9} failed after {}", style("✗").red(), name(part), took(started)));
                failed.push((part, error));
            }
        }
    }
    println!();
    for line in &summary {
        println!("{line}");
    }
    if failed.is_empty() {
        println!("{} in {}", style("All passed").green().bold(), took(started));
        return Ok(());
    }
    for (part, error) in &failed {
        println!("\n{} {error:#}", style(format!("{}:", name(*part))).red().bold());
        println!("Run this part alone with `cargo xtask test {}`.", name(*part));
    }
    let names: Vec<String> = failed.iter().map(|(part, _)| name(*part)).collect();
    Err(failure(format!("failed: {}", names.join(", ")), "see above what each of them says"))
}

impl Part {
    /// Whether it runs what [`Part::Build`] builds.
    const fn needs_build(self) -> bool {
        matches!(self, Self::Types | Self::Js | Self::Demo)
    }
}

/// Where parts are run, with tools that are installed when the first part needs them.
struct Floor<'a> {
    workspace: &'a Workspace,
    tools: OnceCell<Tools>,
}

impl Floor<'_> {
    fn tools(&self) -> Result<&Tools> {
        if self.tools.get().is_none() {
            let tools = tools::set_up(self.workspace, false)?;
            return Ok(self.tools.get_or_init(|| tools));
        }
        self.tools.get().context("the tools are set up")
    }

    fn run(&self, part: Part, only: Option<&str>) -> Result<String> {
        let workspace = self.workspace;
        match part {
            Part::Fmt => formatted(workspace),
            Part::Tidy => tidied(workspace),
            Part::Catalog => catalog::check(workspace),
            Part::Oracle => oracle::check(workspace),
            Part::Clippy => clippy(workspace, self.tools()?),
            Part::Rust => rust(workspace),
            Part::Sim => sim::test(workspace),
            Part::Build => {
                build::worker(workspace, self.tools()?)?;
                build::package(workspace, self.tools()?)?;
                Ok("both within their sizes".to_owned())
            }
            Part::Types => types(workspace, self.tools()?),
            Part::Js => javascript(workspace, self.tools()?, only),
            Part::Wrangler => wrangler(workspace, self.tools()?),
            Part::Demo => {
                let mut step = Step::begin("Demo", "what `cargo xtask demo` runs");
                demo::run(workspace, self.tools()?, Some(&mut step))?;
                step.done("ran to its end");
                Ok("ran to its end".to_owned())
            }
        }
    }
}

/// What can be checked in less than a minute once it has been compiled: for before a commit.
pub fn check(workspace: &Workspace) -> Result<()> {
    let started = Instant::now();
    formatted(workspace)?;
    tidied(workspace)?;
    let mut step = Step::begin("Clippy", "all crates and their tests, natively");
    let mut command = workspace.cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    step.run(command, LINT)?;
    step.done("clean");
    if !workspace.root.join("pkg/dist").is_dir() {
        return Err(failure(
            "the package is not built, and the types need it",
            "run `cargo xtask build --package` once",
        ));
    }
    let node = node::node(workspace, false)?;
    node::packages(workspace, &node, false)?;
    types_by(workspace, &node)?;
    println!("{} in {}", style("Clean").green().bold(), took(started));
    Ok(())
}

fn tidied(workspace: &Workspace) -> Result<String> {
    let step = Step::begin("Tidiness", "unfinished work, machine paths, registry addresses");
    let files = tidy::check(workspace)?;
    step.done(&format!("{files} files"));
    Ok(format!("{files} files"))
}

fn formatted(workspace: &Workspace) -> Result<String> {
    let mut step = Step::begin("Format", "cargo fmt --check");
    let mut command = workspace.cargo();
    command.args(["fmt", "--all", "--check"]);
    step.run(command, "run `cargo fmt --all` (`rustup component add rustfmt` if it is missing)")?;
    step.done("formatted");
    Ok("formatted".to_owned())
}

fn clippy(workspace: &Workspace, tools: &Tools) -> Result<String> {
    let mut step = Step::begin("Clippy", "all crates and their tests, natively");
    let mut command = workspace.cargo();
    command.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
    step.run(command, LINT)?;
    step.done("clean");

    let linted = tools.wasm.has_clippy();
    let (name, purpose) = if linted {
        ("Clippy for wasm", "what ships as WebAssembly")
    } else {
        ("Check for wasm", "what ships as WebAssembly; this compiler has no clippy")
    };
    let mut step = Step::begin(name, purpose);
    let mut command = tools.wasm.cargo(workspace)?;
    command.args([
        if linted { "clippy" } else { "check" },
        "--package",
        "tollgate-wasm",
        "--package",
        "tollgate-worker",
        "--target",
        TARGET,
    ]);
    if linted {
        command.args(["--", "-D", "warnings"]);
    }
    step.run(command, LINT)?;
    step.done("clean");
    Ok("clean, natively and for wasm".to_owned())
}

fn rust(workspace: &Workspace) -> Result<String> {
    let mut step = Step::begin("Rust tests", "unit and property tests of every crate");
    let mut command = workspace.cargo();
    command.args(["test", "--workspace"]);
    let output = step.run(command, "see the failing test above; run it alone with `cargo test NAME`")?;
    let passed: usize = output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<usize>().ok())
        .sum();
    if passed == 0 {
        return Err(failure("cargo test ran no test", "look at what it printed: `cargo test --workspace`"));
    }
    let result = format!("{passed} tests passed");
    step.done(&result);
    Ok(result)
}

fn types(workspace: &Workspace, tools: &Tools) -> Result<String> {
    types_by(workspace, &tools.node)
}

fn types_by(workspace: &Workspace, node: &Node) -> Result<String> {
    let mut projects = vec!["pkg".to_owned(), "tests".to_owned()];
    // Each example is a project of its own, as it would be where someone copies it.
    for entry in std::fs::read_dir(workspace.root.join("examples")).context("cannot list the examples")? {
        let entry = entry.context("cannot list the examples")?;
        if entry.path().is_dir() {
            projects.push(format!("examples/{}", entry.file_name().to_string_lossy()));
        }
    }
    projects.sort();
    for project in &projects {
        let mut step = Step::begin("Types", project);
        let mut command = node.script(workspace, &workspace.root.join("node_modules/typescript/bin/tsc"))?;
        command.args(["--noEmit", "--project", project]);
        step.run(command, "mend what it names")?;
        step.done("they fit");
    }
    Ok(format!("they fit in {}", projects.join(", ")))
}

fn javascript(workspace: &Workspace, tools: &Tools, only: Option<&str>) -> Result<String> {
    let files = test_files(workspace, only)?;
    let mut step = Step::begin("JavaScript tests", &format!("{} files under tests/", files.len()));
    let mut command = workspace.command(&tools.node.program);
    command
        // Nothing here takes that long: a test that hangs must not hang the whole run.
        .args(["--test", "--test-reporter=spec", "--test-timeout=600000"])
        .args(&files);
    give_test_environment(workspace, tools, &mut command)?;
    if files.iter().any(|file| file.starts_with(workspace.root.join(HOSTS))) {
        command.env("TOLLGATE_NEXT", next(workspace, tools)?);
    }
    let output = step.run(
        command,
        "see the failing test above; run its file alone with `cargo xtask test js --only PART_OF_ITS_PATH`",
    )?;
    let count = |word: &str| -> usize {
        output
            .lines()
            .rev()
            .find_map(|line| {
                console::strip_ansi_codes(line).strip_prefix("ℹ ")?.strip_prefix(word)?.trim().parse().ok()
            })
            .unwrap_or(0)
    };
    let (passed, skipped) = (count("pass "), count("skipped "));
    if passed == 0 {
        return Err(failure("node ran no test", "look at what it printed: `node --test tests/`"));
    }
    let result = if skipped == 0 {
        format!("{passed} tests passed")
    } else {
        format!("{passed} tests passed, {skipped} skipped")
    };
    step.done(&result);
    Ok(result)
}

/// Next.js and React by the lock file of the app that is tested in them, in the cache: a third of a gigabyte that nothing else needs.
fn next(workspace: &Workspace, tools: &Tools) -> Result<PathBuf> {
    let app = workspace.root.join(HOSTS).join("next");
    let [manifest, lock] = ["package.json", "package-lock.json"].map(|name| app.join(name));
    let wanted = hash::of_files([manifest.as_path(), lock.as_path()])?;
    install::once(workspace, &format!("next-{}", wanted.get(..16).unwrap_or(&wanted)), |folder| {
        let mut step = Step::begin("Next.js", "by the lock file of the app in tests/hosts, once");
        for file in [&manifest, &lock] {
            let name = file.file_name().context("a file has a name")?;
            std::fs::copy(file, folder.join(name)).context("cannot copy a lock file into the cache")?;
        }
        let mut command = workspace.command("npm");
        command.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
        tools.node.give_to(&mut command)?;
        step.run(command, "check the network and run this again")?;
        step.done("installed");
        Ok(())
    })
}

fn test_files(workspace: &Workspace, only: Option<&str>) -> Result<Vec<PathBuf>> {
    let folder = workspace.root.join("tests");
    let mut files = Vec::new();
    for entry in WalkBuilder::new(&folder).build() {
        let entry = entry.context("cannot list the tests")?;
        let path = entry.path();
        if path.to_string_lossy().ends_with(".test.ts") && only.is_none_or(|part| path.to_string_lossy().contains(part))
        {
            files.push(path.to_path_buf());
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(failure(
            "no test files were found under tests/",
            "check what --only says; test files end in .test.ts",
        ));
    }
    Ok(files)
}

/// What tests/ may rely on: CONTRIBUTING.md lists it.
fn give_test_environment(workspace: &Workspace, tools: &Tools, command: &mut Command) -> Result<()> {
    tools.node.give_to(command)?;
    let node = if tools.node.program.is_absolute() {
        tools.node.program.clone()
    } else {
        let mut ask = workspace.command(&tools.node.program);
        ask.args(["--print", "process.execPath"]);
        PathBuf::from(answer_of(ask).context("node does not say where it is")?)
    };
    command
        .env("TOLLGATE_WORKERD", &tools.workerd)
        .env("TOLLGATE_WORKERD_CONFIG", workspace.root.join(CONFIG))
        .env("TOLLGATE_NODE", node);
    Ok(())
}

fn wrangler(workspace: &Workspace, tools: &Tools) -> Result<String> {
    let mut step =
        Step::begin("wrangler", "`wrangler deploy --dry-run`: builds as a deployment would, and sends nothing");
    let folder =
        tempfile::Builder::new().prefix("tollgate-wrangler-").tempdir().context("cannot make a temporary folder")?;
    let mut command = tools.node.script(workspace, &workspace.root.join("node_modules/wrangler/bin/wrangler.js"))?;
    command
        .args(["deploy", "--dry-run", "--outdir"])
        .arg(folder.path().join("out"))
        .env("CI", "true")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_LOG_PATH", folder.path().join("logs"));
    step.run(command, "see its message above; it reads wrangler.toml and runs the build command there")?;
    let uploaded = std::fs::read_dir(folder.path().join("out")).is_ok_and(|mut files| files.next().is_some());
    if !uploaded {
        return Err(failure("wrangler would upload nothing", "check `main` in wrangler.toml"));
    }
    step.done("would deploy");
    Ok("would deploy".to_owned())
}

fn name(part: Part) -> String {
    part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
