//! The two products: the Worker, and the npm package with the core as wasm.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::{Compression, write::GzEncoder};

use crate::failure::failure;
use crate::hash;
use crate::step::{Step, present};
use crate::tools::Tools;
use crate::wasm::TARGET;
use crate::workspace::Workspace;

/// The profiles in the root Cargo.toml that make small modules: of the Worker, and of the npm package.
const WORKER_PROFILE: &str = "wasm";
const PACKAGE_PROFILE: &str = "wasm-small";

/// A module that ships, and the most that it may weigh.
pub struct Module {
    /// What it belongs to.
    pub name: &'static str,
    /// Where it is, from the root.
    pub path: &'static str,
    /// The largest gzipped size, in bytes.
    pub budget: usize,
}

/// The Worker's module.
pub const WORKER: Module =
    Module { name: "Worker", path: "crates/tollgate-worker/build/index_bg.wasm", budget: 1_000_000 };

/// The npm package's module.
pub const PACKAGE: Module = Module { name: "package", path: "pkg/wasm/tollgate_bg.wasm", budget: 300_000 };

/// Builds the Worker into `crates/tollgate-worker/build`.
pub fn worker(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let mut step = Step::begin("Worker", "Rust to wasm, and the JavaScript around it");
    let compiled = compile(workspace, tools, &mut step, "tollgate-worker", WORKER_PROFILE)?;
    let folder = workspace.root.join("crates/tollgate-worker");
    let outputs = [folder.join("build/index.js"), folder.join("build/index_bg.wasm")];
    let inputs = [compiled, folder.join("Cargo.toml")];
    let stamp = Stamp::new(workspace, "worker", &tools.versions, &inputs, &outputs)?;
    if stamp.holds() {
        step.done("unchanged");
        return check(workspace, &WORKER);
    }
    let mut command = workspace.command(&tools.worker_build);
    command.args(["--profile", WORKER_PROFILE]).current_dir(&folder);
    give_tools(workspace, tools, &mut command)?;
    command
        // A file that is not there makes worker-build download another, so each was checked during set-up.
        .env("WASM_BINDGEN_BIN", &tools.wasm_bindgen)
        .env("WASM_OPT_BIN", &tools.wasm_opt)
        .env("ESBUILD_BIN", &tools.esbuild);
    step.run(command, "see the message above")?;
    stamp.write()?;
    step.done("crates/tollgate-worker/build/index.js");
    check(workspace, &WORKER)
}

/// Builds the core as wasm into `pkg/wasm`, then the npm package around it into `pkg/dist`.
pub fn package(workspace: &Workspace, tools: &Tools) -> Result<()> {
    let mut step = Step::begin("Core as wasm", "the same rules as in the Worker, for the npm package");
    let compiled = compile(workspace, tools, &mut step, "tollgate-wasm", PACKAGE_PROFILE)?;
    let folder = workspace.root.join("pkg/wasm");
    let outputs =
        ["tollgate.js", "tollgate.d.ts", "tollgate_bg.wasm", "tollgate_bg.wasm.d.ts"].map(|name| folder.join(name));
    let stamp = Stamp::new(workspace, "package", &tools.versions, std::slice::from_ref(&compiled), &outputs)?;
    if stamp.holds() {
        step.done("unchanged");
    } else {
        bind(workspace, tools, &mut step, &compiled, &folder)?;
        stamp.write()?;
        step.done("pkg/wasm/tollgate_bg.wasm");
    }
    check(workspace, &PACKAGE)?;

    let mut step = Step::begin("npm package", "its JavaScript and its types, in ESM and CommonJS");
    let mut command = workspace.command("npm");
    command.args(["run", "build", "--workspace", "pkg"]);
    tools.node.give_to(&mut command)?;
    step.run(command, "see the message above")?;
    step.done("pkg/dist");
    Ok(())
}

/// Says how much a module weighs gzipped, and fails when that is more than its budget.
pub fn check(workspace: &Workspace, module: &Module) -> Result<()> {
    let path = workspace.root.join(module.path);
    let bytes = std::fs::read(&path).map_err(|error| {
        failure(format!("cannot read {}: {error}", module.path), "build it first: `cargo xtask build`")
    })?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).context("cannot compress")?;
    let gzipped = encoder.finish().context("cannot compress")?.len();
    let sizes = format!(
        "{} KB gzipped of {} KB allowed ({} KB as it is)",
        kilobytes(gzipped),
        kilobytes(module.budget),
        kilobytes(bytes.len())
    );
    if gzipped > module.budget {
        return Err(failure(
            format!("the {}'s wasm is too large: {sizes}", module.name),
            "find what grew (`wasm-opt --metrics`, or Twiggy) and make it smaller; the budget is a promise to users",
        ));
    }
    present(&format!("{} size", module.name), &sizes);
    Ok(())
}

/// Cargo decides what has to be compiled; the answer is where the module is.
fn compile(workspace: &Workspace, tools: &Tools, step: &mut Step, package: &str, profile: &str) -> Result<PathBuf> {
    let mut command = tools.wasm.cargo(workspace)?;
    command.args(["build", "--lib", "--package", package, "--profile", profile, "--target", TARGET]);
    step.run(command, "see the compiler's message above")?;
    Ok(workspace.wasm_target.join(TARGET).join(profile).join(package.replace('-', "_")).with_extension("wasm"))
}

/// Makes the JavaScript for the module, and makes the module small; readers of `folder` see the old files or the new ones.
fn bind(workspace: &Workspace, tools: &Tools, step: &mut Step, compiled: &Path, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("the folder has a parent")?;
    let staging =
        tempfile::Builder::new().prefix(".wasm-").tempdir_in(parent).context("cannot make a folder in pkg")?;
    let fresh = staging.path().join("wasm");
    let mut command = workspace.command(&tools.wasm_bindgen);
    command
        .args([
            "--target",
            "web",
            "--omit-default-module-path",
            "--remove-producers-section",
            "--out-name",
            "tollgate",
            "--out-dir",
        ])
        .arg(&fresh)
        .arg(compiled);
    step.run(command, "see the message above")?;

    let module = fresh.join("tollgate_bg.wasm");
    let small = fresh.join("small.wasm");
    let mut command = tools.node.script(workspace, &tools.wasm_opt)?;
    // Measured: -O2, -Os and -Oz are slower, and 6 % larger once gzipped, because what they move around compresses worse. A second round finds a hundredth more.
    command.args(["-O1", "--dae-optimizing", "--rse", "--precompute-propagate", "-O1"]);
    // What every runtime has had for years, and nothing newer: as worker-build does.
    for feature in
        ["bulk-memory", "multivalue", "mutable-globals", "nontrapping-float-to-int", "reference-types", "sign-ext"]
    {
        command.arg(format!("--enable-{feature}"));
    }
    command.arg(&module).arg("-o").arg(&small);
    step.run(command, "see the message above")?;
    std::fs::rename(&small, &module).context("wasm-opt wrote nothing")?;

    let old = staging.path().join("old");
    if folder.exists() {
        std::fs::rename(folder, &old).with_context(|| format!("cannot replace {}", folder.display()))?;
    }
    std::fs::rename(&fresh, folder).with_context(|| format!("cannot write {}", folder.display()))
}

fn give_tools(workspace: &Workspace, tools: &Tools, command: &mut std::process::Command) -> Result<()> {
    let folder = tools.node.program.parent().filter(|folder| folder.is_absolute());
    let folders: Vec<&Path> = folder.into_iter().collect();
    tools.wasm.give_to(workspace, command, &folders)
}

fn kilobytes(bytes: usize) -> String {
    format!("{}.{}", bytes / 1000, bytes % 1000 / 100)
}

/// Knows whether outputs are what these inputs gave last time.
struct Stamp {
    path: PathBuf,
    inputs: String,
    outputs: Vec<PathBuf>,
}

impl Stamp {
    fn new(workspace: &Workspace, name: &str, versions: &str, inputs: &[PathBuf], outputs: &[PathBuf]) -> Result<Self> {
        let own = std::env::current_exe().context("a program knows where it is")?;
        Ok(Self {
            path: workspace.own_folder()?.join(name),
            inputs: hash::of_parts(&[
                versions.as_bytes(),
                // How the outputs are made is decided by this program.
                hash::of_files([own.as_path()])?.as_bytes(),
                hash::of_files(inputs.iter().map(PathBuf::as_path))?.as_bytes(),
            ]),
            outputs: outputs.to_vec(),
        })
    }

    fn holds(&self) -> bool {
        let Ok(outputs) = hash::of_files(self.outputs.iter().map(PathBuf::as_path)) else {
            return false;
        };
        std::fs::read_to_string(&self.path).is_ok_and(|before| before == format!("{}\n{outputs}\n", self.inputs))
    }

    fn write(&self) -> Result<()> {
        for output in &self.outputs {
            if !output.is_file() {
                bail!("{} was not made", output.display());
            }
        }
        let outputs = hash::of_files(self.outputs.iter().map(PathBuf::as_path))?;
        std::fs::write(&self.path, format!("{}\n{outputs}\n", self.inputs))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
