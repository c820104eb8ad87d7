//! Where things are: the checkout, its target folders, the cache outside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::hash;
use crate::step::read;

/// The folders that the tasks work in.
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target folder for native builds.
    pub target: PathBuf,
    /// Cargo's target folder for wasm builds: another compiler may make those, and would rebuild the native ones.
    pub wasm_target: PathBuf,
    /// Tools, each in a folder keyed by its name and version; shared by all checkouts.
    pub cache: PathBuf,
}

impl Workspace {
    /// Finds the folders of the checkout that this task belongs to.
    pub fn find() -> Result<Self> {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&here)
            .ancestors()
            .nth(2)
            .context("the xtask crate is not two folders below the root")?
            .to_path_buf();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder).context("CARGO_TARGET_DIR is not a path")?,
            None => root.join("target"),
        };
        let cache = match std::env::var_os("TOLLGATE_CACHE_DIR") {
            Some(folder) => std::path::absolute(folder).context("TOLLGATE_CACHE_DIR is not a path")?,
            None => dirs::cache_dir().map(|folder| folder.join("tollgate")).ok_or_else(|| {
                failure("there is no cache folder on this system", "set TOLLGATE_CACHE_DIR to a folder for the tools")
            })?,
        };
        std::fs::create_dir_all(&cache).map_err(|error| {
            failure(
                format!("cannot make the cache folder {}: {error}", cache.display()),
                "set TOLLGATE_CACHE_DIR to a folder that you may write",
            )
        })?;
        Ok(Self { wasm_target: target.join("wasm"), root, target, cache })
    }

    /// A command that runs in the checkout, without what `cargo run` told this task about the xtask crate: build scripts
    /// that look at it would run again for nothing.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            let about_xtask = name.to_str().is_some_and(|name| {
                ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix))
                    || ["CARGO", "CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"].contains(&name)
            });
            if about_xtask {
                command.env_remove(&name);
            }
        }
        command
    }

    /// A folder for what the tasks note about this checkout.
    pub fn own_folder(&self) -> Result<PathBuf> {
        // Several checkouts may share a target folder.
        let place = hash::of_parts(&[self.root.as_os_str().as_encoded_bytes()]);
        let folder = self.target.join("xtask").join(place.get(..16).unwrap_or(&place));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// The oldest Rust that the workspace builds with, as its Cargo.toml says.
    pub fn oldest_rust(&self) -> Result<String> {
        let manifest: toml::Table = read(&self.root.join("Cargo.toml"))?.parse().context("Cargo.toml is not TOML")?;
        manifest
            .get("workspace")
            .and_then(|table| table.get("package"))
            .and_then(|table| table.get("rust-version"))
            .and_then(toml::Value::as_str)
            .map(str::to_owned)
            .context("Cargo.toml has no rust-version")
    }

    /// `cargo` of the toolchain that runs this task.
    pub fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }
}

/// PATH with `folders` in front.
pub fn path_with(folders: &[&Path]) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folders.iter().map(|folder| folder.to_path_buf()).chain(std::env::split_paths(&path)))
        .context("a folder's name cannot be part of PATH")
}
