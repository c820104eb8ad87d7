//! The demo: a fresh Worker on a free port, `examples/demo/main.ts` against it, and nothing left behind.

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::process::Running;
use crate::serve::{Server, random_token};
use crate::step::Step;
use crate::tools::Tools;
use crate::workspace::Workspace;

const SCRIPT: &str = "examples/demo/main.ts";

/// Runs the demo on the built Worker. With a step, its output is shown only when it fails.
pub fn run(workspace: &Workspace, tools: &Tools, step: Option<&mut Step>) -> Result<()> {
    let state =
        tempfile::Builder::new().prefix("tollgate-demo-").tempdir().context("cannot make a temporary folder")?;
    let token = random_token()?;
    let mut server = Server::start(workspace, tools, 0, state.path(), &token)?;
    let mut command = tools.node.script(workspace, &workspace.root.join(SCRIPT))?;
    command.env("TOLLGATE_URL", &server.url).env("TOLLGATE_ADMIN_TOKEN", &token);
    let next = "see its message above; `cargo xtask dev` keeps a Worker to try things on";
    match step {
        Some(step) => {
            step.run(command, next)?;
        }
        None => {
            command.stdin(std::process::Stdio::null());
            let status = Running::start(command)?.wait()?;
            if !status.success() {
                return Err(failure(format!("the demo ended with {status}"), next));
            }
        }
    }
    server.stop()?;
    state.close().context("cannot remove the demo's temporary folder")
}
