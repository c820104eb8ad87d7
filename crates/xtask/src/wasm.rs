//! The compiler for wasm32: rustup's where it can be had, else Debian's.
//!
//! `TOLLGATE_WASM_TOOLCHAIN` chooses: `auto` (default), `rustup`, or `debian`. Debian ships a compiler new enough, but neither a standard
//! library for wasm32 nor a linker, so the library is built once from Debian's sources, and rustup's linker is used.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::install;
use crate::process::{answer_of, on_path};
use crate::step::{Step, present, read};
use crate::workspace::{Workspace, path_with};

/// The target of everything that runs on Workers or in a browser.
pub const TARGET: &str = "wasm32-unknown-unknown";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
const SYSTEM_LIBRARY: &str = "/usr/lib/rustlib/wasm32-unknown-unknown";
const STAMP: &str = "tollgate-built-by";
const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler that can build for [`TARGET`].
pub enum Toolchain {
    /// The one that runs this task.
    Native {
        /// What `rustc -vV` says.
        compiler: String,
    },
    /// Debian's, with a library built here.
    Debian {
        /// What `rustc -vV` says.
        compiler: String,
        /// A folder with its `cargo` and `rustc` and nothing else.
        programs: PathBuf,
        linker: PathBuf,
    },
}

impl Toolchain {
    /// Cargo for wasm builds, with its own target folder.
    pub fn cargo(&self, workspace: &Workspace) -> Result<Command> {
        let mut command = match self {
            Self::Native { .. } => workspace.cargo(),
            Self::Debian { .. } => workspace.command(CARGO),
        };
        self.give_to(workspace, &mut command, &[])?;
        Ok(command)
    }

    /// Makes `command` and the programs that it starts use this compiler; `folders` come first on PATH.
    pub fn give_to(&self, workspace: &Workspace, command: &mut Command, folders: &[&Path]) -> Result<()> {
        command.env("CARGO_TARGET_DIR", &workspace.wasm_target);
        match self {
            Self::Native { .. } => {
                command.env("PATH", path_with(folders)?);
            }
            Self::Debian { programs, linker, .. } => {
                let mut all: Vec<&Path> = vec![programs];
                all.extend_from_slice(folders);
                command
                    .env("PATH", path_with(&all)?)
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    // What rustup's and cargo's own proxies set would lead back to rustup's compiler.
                    .env_remove("RUSTC")
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("LD_LIBRARY_PATH");
            }
        }
        Ok(())
    }

    /// Can clippy check wasm code with it? Debian's has no clippy.
    pub fn has_clippy(&self) -> bool {
        matches!(self, Self::Native { .. })
    }

    fn compiler(&self) -> &str {
        match self {
            Self::Native { compiler } | Self::Debian { compiler, .. } => compiler,
        }
    }

    /// Builds made with another identity do not fit.
    fn identity(&self) -> Result<String> {
        match self {
            Self::Native { compiler } => Ok(compiler.clone()),
            // Not the compiler alone: a library that was built again does not fit what was built with the one before.
            Self::Debian { .. } => read(&Path::new(SYSTEM_LIBRARY).join("lib").join(STAMP)),
        }
    }
}

/// Finds or installs a compiler for wasm32.
pub fn toolchain(workspace: &Workspace, verbose: bool) -> Result<Toolchain> {
    let choice = std::env::var("TOLLGATE_WASM_TOOLCHAIN").unwrap_or_default();
    let toolchain = match choice.as_str() {
        "" | "auto" => automatic(workspace)?,
        "rustup" => native(workspace).map_or_else(|| add_to_rustup(workspace), Ok)?,
        "debian" => debian(workspace)?,
        other => {
            return Err(failure(
                format!("TOLLGATE_WASM_TOOLCHAIN is `{other}`"),
                "set it to auto, rustup or debian, or not at all",
            ));
        }
    };
    forget_other_compilers(workspace, &toolchain.identity()?)?;
    if verbose {
        let (whose, version) = match &toolchain {
            Toolchain::Native { compiler } => ("the toolchain that runs this task", compiler),
            Toolchain::Debian { compiler, .. } => ("Debian's rustc-web with a library built here", compiler),
        };
        present("wasm32 compiler", &format!("{whose}: {}", version.lines().next().unwrap_or_default()));
    }
    Ok(toolchain)
}

fn automatic(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = native(workspace) {
        return Ok(toolchain);
    }
    if library_fits() {
        return debian(workspace);
    }
    match add_to_rustup(workspace) {
        Ok(toolchain) => Ok(toolchain),
        Err(error) if error.is::<crate::interrupt::Interrupted>() => Err(error),
        Err(error) if !on_path("apt-get") => Err(error),
        Err(_) => debian(workspace),
    }
}

/// The toolchain that runs this task, if it has the library.
fn native(workspace: &Workspace) -> Option<Toolchain> {
    let mut ask = workspace.command("rustc");
    ask.args(["--print", "target-libdir", "--target", TARGET]);
    let folder = PathBuf::from(answer_of(ask)?);
    let has_library = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"));
    if !has_library {
        return None;
    }
    let mut ask = workspace.command("rustc");
    ask.arg("-vV");
    Some(Toolchain::Native { compiler: answer_of(ask)? })
}

fn add_to_rustup(workspace: &Workspace) -> Result<Toolchain> {
    let next = format!(
        "run `rustup target add {TARGET}` yourself where the network allows it; on Debian, TOLLGATE_WASM_TOOLCHAIN=debian takes the compiler from Debian's packages instead"
    );
    if !on_path("rustup") {
        return Err(failure(format!("this Rust has no {TARGET} library, and rustup is not on PATH"), next));
    }
    let step = Step::begin("wasm32 library", "what Rust needs to compile to WebAssembly, from rustup");
    // In a closed network rustup tries for long minutes.
    let mut command = workspace.command(if on_path("timeout") { "timeout" } else { "rustup" });
    if on_path("timeout") {
        command.args(["--kill-after=5", "180", "rustup"]);
    }
    command.args(["target", "add", TARGET]);
    let mut step = step;
    let (worked, output) = step.attempt(command)?;
    match (worked, native(workspace)) {
        (Ok(()), Some(toolchain)) => {
            step.done("installed");
            Ok(toolchain)
        }
        (worked, _) => {
            let reason = output.trim().lines().last().unwrap_or_default().to_owned();
            step.gave_up(&format!("rustup cannot: {reason}"));
            Err(failure(
                worked.err().unwrap_or_else(|| {
                    "rustup says it added the library, but the compiler does not find it".to_owned()
                }),
                next,
            ))
        }
    }
}

fn debian(workspace: &Workspace) -> Result<Toolchain> {
    let _lock = install::lock(workspace, "debian-wasm32")?;
    if !packages_present(workspace) {
        install_packages(workspace)?;
    }
    let compiler = debian_compiler()
        .ok_or_else(|| failure(format!("{RUSTC} does not run"), "reinstall Debian's package rustc-web"))?;
    check_age(workspace, &compiler)?;
    let linker = linker(workspace, &compiler)?;
    let toolchain = Toolchain::Debian { programs: programs_folder(workspace)?, compiler, linker };
    if !library_fits() {
        build_library(workspace, &toolchain)?;
    }
    Ok(toolchain)
}

fn debian_compiler() -> Option<String> {
    let mut ask = Command::new(RUSTC);
    ask.arg("-vV").env_remove("LD_LIBRARY_PATH");
    answer_of(ask)
}

/// Was the library in the system's folder built by the compiler that is installed now?
fn library_fits() -> bool {
    let stamp = Path::new(SYSTEM_LIBRARY).join("lib").join(STAMP);
    match (std::fs::read_to_string(stamp), debian_compiler()) {
        (Ok(stamp), Some(compiler)) => stamp.strip_prefix(&compiler).is_some_and(|rest| rest.starts_with('\n')),
        _ => false,
    }
}

fn packages_present(workspace: &Workspace) -> bool {
    PACKAGES.iter().all(|package| {
        let mut ask = workspace.command("dpkg-query");
        ask.args(["--show", "--showformat=${db:Status-Status}", package]);
        answer_of(ask).as_deref() == Some("installed")
    }) && Path::new(RUSTC).exists()
        && Path::new(CARGO).exists()
}

fn install_packages(workspace: &Workspace) -> Result<()> {
    if !on_path("apt-get") {
        return Err(failure(
            "this is not a Debian system: there is no apt-get",
            format!("run `rustup target add {TARGET}`"),
        ));
    }
    let mut step = Step::begin("Debian's Rust", "a compiler for WebAssembly, because rustup cannot give one here");
    let install = ["install", "--yes", "--no-remove", "--no-install-recommends"];
    let next = format!(
        "run `apt-get update && apt-get {} {}` as root and see what it says",
        install.join(" "),
        PACKAGES.join(" ")
    );
    let apt = |arguments: &[&str]| -> Result<Command> {
        let mut command = as_root(workspace, "apt-get")?;
        command.args(arguments);
        Ok(command)
    };
    let arguments: Vec<&str> = install.into_iter().chain(PACKAGES).collect();
    if step.attempt(apt(&arguments)?)?.0.is_err() {
        // Package lists that are missing or out of date are the usual reason.
        step.run(apt(&["update"])?, &next)?;
        step.run(apt(&arguments)?, &next)?;
    }
    step.done("installed");
    Ok(())
}

fn check_age(workspace: &Workspace, compiler: &str) -> Result<()> {
    let oldest = workspace.oldest_rust()?;
    let release = field(compiler, "release").unwrap_or_default();
    if numbers(release) < numbers(&oldest) {
        return Err(failure(
            format!("Debian's rustc-web is {release}; {oldest} or newer is needed"),
            "enable Debian's security repository, which has a newer one, and run `apt-get update`",
        ));
    }
    Ok(())
}

/// The linker in the toolchain that runs this task; where that has none, the one of the LLVM that Debian's compiler uses.
fn linker(workspace: &Workspace, compiler: &str) -> Result<PathBuf> {
    let mut ask = workspace.command("rustc");
    ask.args(["--print", "sysroot"]);
    let mut version = workspace.command("rustc");
    version.arg("-vV");
    if let (Some(sysroot), Some(version)) = (answer_of(ask), answer_of(version)) {
        let host = field(&version, "host").unwrap_or_default();
        let linker = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/rust-lld");
        if linker.is_file() {
            return Ok(linker);
        }
    }
    let llvm = field(compiler, "LLVM version").and_then(|version| version.split('.').next()).unwrap_or_default();
    let linker = PathBuf::from(format!("/usr/bin/wasm-ld-{llvm}"));
    if !linker.is_file() {
        let package = format!("lld-{llvm}");
        let mut step = Step::begin(&package, "the linker for WebAssembly");
        let mut command = as_root(workspace, "apt-get")?;
        command.args(["install", "--yes", "--no-remove", "--no-install-recommends", &package]);
        step.run(
            command,
            &format!("install Debian's package {package} yourself, or Rust through rustup, which has a linker"),
        )?;
        step.done("installed");
    }
    Ok(linker)
}

/// A folder with Debian's `cargo` and `rustc` alone: with all of `/usr/bin` first on PATH, the system's Node would come first too.
fn programs_folder(workspace: &Workspace) -> Result<PathBuf> {
    install::once(workspace, "debian-rust", |folder| {
        for program in [RUSTC, CARGO] {
            let name = Path::new(program).file_name().context("a program has a name")?;
            std::os::unix::fs::symlink(program, folder.join(name)).context("cannot make a link in the cache")?;
        }
        Ok(())
    })
}

fn build_library(workspace: &Workspace, toolchain: &Toolchain) -> Result<()> {
    let mut step =
        Step::begin("wasm32 library", "Rust's standard library, built once from Debian's sources (about a minute)");
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = scratch.path();
    std::fs::create_dir(folder.join("src")).context("cannot make a temporary folder")?;
    std::fs::write(
        folder.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )
    .context("cannot write to a temporary folder")?;
    std::fs::write(folder.join("src/lib.rs"), "").context("cannot write to a temporary folder")?;
    let mut command = toolchain.cargo(workspace)?;
    command
        .args(["build", "--release", "--target", TARGET, "-Z", "build-std=std,panic_abort"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("RUSTC_BOOTSTRAP", "1")
        // Builds with link-time optimization need it.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes");
    step.run(
        command,
        "see the compiler's message above; `TOLLGATE_WASM_TOOLCHAIN=rustup` goes without Debian's compiler",
    )?;

    let built = folder.join("target").join(TARGET).join("release/deps");
    let library = folder.join("library");
    std::fs::create_dir(&library).context("cannot make a temporary folder")?;
    for entry in std::fs::read_dir(&built).context("the build left no libraries")? {
        let entry = entry.context("cannot list the libraries")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rlib") && !name.starts_with("libempty-") {
            std::fs::copy(entry.path(), library.join(&name)).context("cannot copy a library")?;
        }
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    std::fs::write(
        library.join(STAMP),
        format!(
            "{}
built at {}
",
            toolchain.compiler(),
            now.as_nanos()
        ),
    )
    .context("cannot write to a temporary folder")?;

    let mut place = as_root(workspace, "sh")?;
    place
        .args(["-c", "set -e; mkdir -p \"$2\"; rm -rf \"$2/lib.new\"; cp -r \"$1\" \"$2/lib.new\"; rm -rf \"$2/lib\"; mv \"$2/lib.new\" \"$2/lib\"", "sh"])
        .arg(&library)
        .arg(SYSTEM_LIBRARY);
    step.run(place, &format!("make {SYSTEM_LIBRARY} writable, or run this once as root"))?;
    step.done("built and installed");
    Ok(())
}

/// Runs a program as root: directly, or through sudo.
fn as_root(workspace: &Workspace, program: &str) -> Result<Command> {
    if rustix::process::geteuid().is_root() {
        let mut command = workspace.command(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        return Ok(command);
    }
    // Steps run without a terminal, where sudo cannot ask: it must know the password already, or need none.
    let mut ask = Command::new("sudo");
    ask.args(["--non-interactive", "true"]);
    if answer_of(ask).is_none() {
        return Err(failure(
            format!("root is needed to run {program}, and sudo would ask for a password"),
            "run `sudo true` first and then this again, or run this once as root",
        ));
    }
    let mut command = workspace.command("sudo");
    command.args(["--non-interactive", "env", "DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}

/// Cleans the wasm target folder when another compiler filled it.
fn forget_other_compilers(workspace: &Workspace, identity: &str) -> Result<()> {
    let stamp = workspace.wasm_target.join(".compiler");
    if std::fs::read_to_string(&stamp).is_ok_and(|before| before == identity) {
        return Ok(());
    }
    install::remove_folder(&workspace.wasm_target)?;
    std::fs::create_dir_all(&workspace.wasm_target)
        .and_then(|()| std::fs::write(&stamp, identity))
        .with_context(|| format!("cannot write {}", stamp.display()))
}

/// One line of `rustc -vV`.
fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.91"));
        assert!(numbers("1.85.0") < numbers("1.91"));
        assert!(numbers("1.91.0") >= numbers("1.91"));
    }

    #[test]
    fn fields_of_the_compiler_are_found() {
        let version =
            "rustc 1.96.0 (abc 2026-05-25)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8";
        assert_eq!(field(version, "release"), Some("1.96.0"));
        assert_eq!(field(version, "LLVM version"), Some("22.1.8"));
        assert_eq!(field(version, "nothing"), None);
    }
}
