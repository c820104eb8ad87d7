//! Everything that the tasks need besides Rust and npm.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::install;
use crate::node::{self, Node};
use crate::process::answer_of;
use crate::step::{Step, present, read, took};
use crate::wasm::{self, Toolchain};
use crate::workspace::Workspace;

/// Cloudflare's builder for Rust Workers. It must be as new as the `worker` crate.
const WORKER_BUILD: &str = "0.8.7";

/// What installations from crates.io share while they compile.
const SCRATCH: &str = "cargo-install";

/// The installed tools.
pub struct Tools {
    pub node: Node,
    pub wasm: Toolchain,
    pub worker_build: PathBuf,
    pub wasm_bindgen: PathBuf,
    pub wasm_opt: PathBuf,
    pub esbuild: PathBuf,
    pub workerd: PathBuf,
    /// What post-processing depends on besides the compiled wasm.
    pub versions: String,
}

/// Installs what is missing. With `verbose`, also says what is there already.
pub fn set_up(workspace: &Workspace, verbose: bool) -> Result<Tools> {
    let started = Instant::now();
    let node = node::node(workspace, verbose)?;
    node::packages(workspace, &node, verbose)?;
    let wasm = wasm::toolchain(workspace, verbose)?;
    let bindgen_version = wasm_bindgen_version(workspace)?;
    let wasm_bindgen = CargoTool {
        package: "wasm-bindgen-cli",
        version: &bindgen_version,
        program: "wasm-bindgen",
        purpose: "makes the JavaScript that calls the wasm",
        flags: &[],
    }
    .get(workspace, verbose)?;
    let worker_build = CargoTool {
        package: "worker-build",
        version: WORKER_BUILD,
        program: "worker-build",
        purpose: "makes a Worker from Rust",
        // Without TLS it cannot download tools of its own, and compiles faster.
        flags: &["--no-default-features"],
    }
    .get(workspace, verbose)?;
    let tools = Tools {
        wasm_opt: node::file_of(workspace, "binaryen/bin/wasm-opt")?,
        esbuild: node::esbuild(workspace)?,
        workerd: node::workerd(workspace)?,
        versions: format!(
            "worker-build {WORKER_BUILD}, wasm-bindgen {bindgen_version}, binaryen {}, esbuild {}",
            node::locked_version(workspace, "binaryen")?,
            node::locked_version(workspace, "esbuild")?
        ),
        node,
        wasm,
        worker_build,
        wasm_bindgen,
    };
    remove_scratch(workspace)?;
    if verbose {
        present("Set up", &format!("tools are in {}; {}", workspace.cache.display(), took(started)));
    }
    Ok(tools)
}

/// A program from crates.io, compiled without debug information and without optimization: that takes a third of the time, and
/// the modules that it works on are small.
struct CargoTool<'a> {
    package: &'a str,
    version: &'a str,
    program: &'a str,
    purpose: &'a str,
    flags: &'a [&'a str],
}

impl CargoTool<'_> {
    /// Where the program is, after installing it if it is not there.
    fn get(&self, workspace: &Workspace, verbose: bool) -> Result<PathBuf> {
        let name = format!("{}-{}", self.package, self.version);
        let title = format!("{} {}", self.package, self.version);
        let place = workspace.cache.join(&name);
        if place.is_dir() {
            if verbose {
                present(&title, &format!("{}; in the cache", self.purpose));
            }
        } else {
            let mut step = Step::begin(&title, &format!("{}; compiled once, a minute or two", self.purpose));
            install::once(workspace, &name, |folder| self.compile(workspace, &mut step, folder))?;
            step.done("installed");
        }
        Ok(place.join("bin").join(self.program))
    }

    fn compile(&self, workspace: &Workspace, step: &mut Step, folder: &Path) -> Result<()> {
        let _lock = install::lock(workspace, SCRATCH)?;
        // A release's own lock file may name a version that was withdrawn since: cargo says so at once.
        if step.attempt(self.cargo_install(workspace, folder, true))?.0.is_err() {
            step.run(
                self.cargo_install(workspace, folder, false),
                &format!(
                    "check the network and the C compiler (`cc`), or run `cargo install {} --version {}` and see what it says",
                    self.package, self.version
                ),
            )?;
        }
        let mut ask = workspace.command(folder.join("bin").join(self.program));
        ask.arg("--version");
        match answer_of(ask) {
            Some(answer) if answer.contains(self.version) => Ok(()),
            answer => Err(failure(
                format!("{} was installed but says {answer:?} instead of {}", self.package, self.version),
                "run this again; if it stays so, the package on crates.io is not what it was",
            )),
        }
    }

    fn cargo_install(&self, workspace: &Workspace, folder: &Path, locked: bool) -> Command {
        let mut command = workspace.cargo();
        command.args(["install", "--debug", "--bin", self.program, "--version", self.version]);
        command.args(self.flags).arg("--root").arg(folder);
        if locked {
            command.arg("--locked");
        }
        command.arg(self.package).env("CARGO_TARGET_DIR", scratch(workspace)).env("CARGO_PROFILE_DEV_DEBUG", "0");
        command
    }
}

/// Removes what the installations shared while they compiled, unless another task is compiling now.
fn remove_scratch(workspace: &Workspace) -> Result<()> {
    let scratch = scratch(workspace);
    if scratch.is_dir() {
        let _lock = install::lock(workspace, SCRATCH)?;
        install::remove_folder(&scratch)?;
    }
    Ok(())
}

fn scratch(workspace: &Workspace) -> PathBuf {
    workspace.cache.join(format!(".{SCRATCH}-target"))
}

/// The program and the crate must be the same version to the last digit.
fn wasm_bindgen_version(workspace: &Workspace) -> Result<String> {
    let lock: toml::Table = read(&workspace.root.join("Cargo.lock"))?.parse().context("Cargo.lock is not TOML")?;
    lock.get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .find(|package| package.get("name").and_then(toml::Value::as_str) == Some("wasm-bindgen"))
        .and_then(|package| package.get("version"))
        .and_then(toml::Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| failure("Cargo.lock has no wasm-bindgen", "run `cargo metadata` to bring Cargo.lock up to date"))
}
