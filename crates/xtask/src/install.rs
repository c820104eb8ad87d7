//! Tools in the cache: each is installed beside its place and moved there when complete.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::interrupt::{self, Interrupted};
use crate::process::TICK;
use crate::workspace::Workspace;

/// Returns the folder of `name` in the cache; fills it with `install` when it is not there.
///
/// `install` gets an empty folder. An interrupted or failed installation leaves nothing that looks like a finished one, and
/// two tasks at once do not install the same thing twice.
pub fn once(workspace: &Workspace, name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let place = workspace.cache.join(name);
    if place.is_dir() {
        return Ok(place);
    }
    let _lock = lock(workspace, name)?;
    if place.is_dir() {
        return Ok(place);
    }
    sweep(workspace, name)?;
    let staging = tempfile::Builder::new()
        .prefix(&format!(".{name}-"))
        .tempdir_in(&workspace.cache)
        .with_context(|| format!("cannot make a folder in {}", workspace.cache.display()))?;
    let filled = staging.path().join("content");
    std::fs::create_dir(&filled).context("cannot make a folder in the cache")?;
    install(&filled)?;
    std::fs::rename(&filled, &place)
        .with_context(|| format!("cannot move the finished tool to {}", place.display()))?;
    Ok(place)
}

/// Keeps other tasks out of one installation in the cache until the value is dropped.
pub fn lock(workspace: &Workspace, name: &str) -> Result<File> {
    lock_file(&workspace.cache.join(format!(".{name}.lock")), name)
}

/// Keeps other tasks out of what `path` stands for until the value is dropped.
pub fn lock_file(path: &Path, name: &str) -> Result<File> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut waited = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
            Err(TryLockError::WouldBlock) => {
                if !waited {
                    println!("  waiting for another task that installs {name} …");
                    waited = true;
                }
                if interrupt::requested() {
                    return Err(Interrupted.into());
                }
                std::thread::sleep(TICK);
            }
        }
    }
}

/// Removes a folder, if it is there.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what killed installations of `name` left behind. The caller holds its lock, so nobody is using it.
fn sweep(workspace: &Workspace, name: &str) -> Result<()> {
    let prefix = format!(".{name}-");
    for entry in std::fs::read_dir(&workspace.cache).context("cannot list the cache")? {
        let entry = entry.context("cannot list the cache")?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            remove_folder(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn workspace(cache: &Path) -> Workspace {
        Workspace {
            root: cache.join("root"),
            target: cache.join("target"),
            wasm_target: cache.join("target/wasm"),
            cache: cache.to_path_buf(),
        }
    }

    #[test]
    fn only_a_finished_installation_counts() {
        let cache = tempfile::tempdir().unwrap();
        let workspace = workspace(cache.path());
        let failed = once(&workspace, "tool-1.0", |folder| {
            std::fs::write(folder.join("half"), "").unwrap();
            anyhow::bail!("the network is gone")
        });
        assert!(failed.is_err());
        assert!(!cache.path().join("tool-1.0").exists());

        // What a killed installation leaves.
        std::fs::create_dir_all(cache.path().join(".tool-1.0-abc/content")).unwrap();
        let place = once(&workspace, "tool-1.0", |folder| Ok(std::fs::write(folder.join("tool"), "")?)).unwrap();
        assert_eq!(place, cache.path().join("tool-1.0"));
        assert!(place.join("tool").is_file() && !place.join("half").exists());
        assert!(!cache.path().join(".tool-1.0-abc").exists());

        let again = once(&workspace, "tool-1.0", |_| anyhow::bail!("must not install again")).unwrap();
        assert_eq!(again, place);
    }
}
