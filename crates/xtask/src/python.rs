//! The Python libraries that prices are compared with, in an environment of their own in the cache.

use std::process::Command;

use anyhow::Result;

use crate::failure::failure;
use crate::process::answer_of;
use crate::step::Step;
use crate::workspace::Workspace;
use crate::{hash, install};

/// Every package with its version: nothing is resolved, because LiteLLM asks for more than pricing needs.
pub const REQUIREMENTS: &str = "tests/oracle/requirements.txt";

/// A Python with the price libraries.
pub struct Environment {
    folder: std::path::PathBuf,
}

impl Environment {
    /// A command that runs this Python. It works offline: LiteLLM takes the price list that it was shipped with.
    pub fn python(&self, workspace: &Workspace) -> Command {
        let mut command = workspace.command(self.folder.join("bin/python"));
        command
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_LOG", "CRITICAL")
            .env("PYTHONHASHSEED", "0")
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME");
        command
    }
}

/// The system's Python, if it can make environments.
fn version(workspace: &Workspace) -> Option<String> {
    let mut ask = workspace.command("python3");
    ask.args(["-c", "import ensurepip, sys, venv; print('.'.join(map(str, sys.version_info[:3])))"]);
    answer_of(ask)
}

/// Makes the environment if it is not there.
pub fn environment(workspace: &Workspace) -> Result<Environment> {
    let version = version(workspace).ok_or_else(|| {
        failure(
            "python3 with its modules venv and ensurepip is not there",
            "install Python 3.10 or newer (on Debian: apt-get install python3 python3-venv), then run this again",
        )
    })?;
    let requirements = workspace.root.join(REQUIREMENTS);
    let key = hash::of_parts(&[hash::of_files([requirements.as_path()])?.as_bytes(), version.as_bytes()]);
    let name = format!("python-prices-{}", key.get(..16).unwrap_or(&key));
    // An environment knows where it is, so it is made in its place; what says that it is whole is made last.
    let folder = workspace.cache.join(&name);
    let done = format!("{name}-done");
    install::once(workspace, &done, |_| {
        let mut step = Step::begin("Python price libraries", "genai-prices and LiteLLM, installed once by pip");
        install::remove_folder(&folder)?;
        let mut command = workspace.command("python3");
        command.args(["-m", "venv"]).arg(&folder);
        step.run(command, "see the message above")?;
        let mut command = workspace.command(folder.join("bin/python"));
        command.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "-r",
        ]);
        command.arg(&requirements);
        step.run(command, "if the network failed, run this again")?;
        step.done("installed");
        Ok(())
    })?;
    Ok(Environment { folder })
}
