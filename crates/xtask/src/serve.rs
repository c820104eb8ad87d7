//! The built Worker in workerd, on loopback.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::interrupt::{self, Interrupted};
use crate::process::{Running, TICK};
use crate::tools::Tools;
use crate::workspace::Workspace;

/// The config that `cargo xtask dev`, the demo and the tests share.
pub const CONFIG: &str = "workerd.capnp";

/// The folder of the tenants' databases in the state: the unique key of their class in the config.
const LEDGERS: &str = "tollgate-TenantLedger";
/// Says to the Worker whether there may be ledgers that its registry does not know: `docs/operations.md`.
const ADOPT_TENANTS: &str = "TOLLGATE_ADOPT_TENANTS";

/// How long workerd may take to answer for the first time.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Worker; it does not outlive this value.
pub struct Server {
    running: Running,
    /// Where it answers, without a slash at the end.
    pub url: String,
    _state_lock: File,
}

impl Server {
    /// Starts the Worker and returns when it answers. Port 0 takes a free one.
    pub fn start(workspace: &Workspace, tools: &Tools, port: u16, state: &Path, admin_token: &str) -> Result<Self> {
        Self::start_other(workspace, tools, CONFIG, port, state, admin_token)
    }

    /// Starts another Worker, which has a service `state` and answers `/healthz` too.
    pub fn start_other(
        workspace: &Workspace,
        tools: &Tools,
        config: &str,
        port: u16,
        state: &Path,
        admin_token: &str,
    ) -> Result<Self> {
        std::fs::create_dir_all(state).map_err(|error| {
            failure(
                format!("cannot make the state folder {}: {error}", state.display()),
                "choose a folder that you may write with --state",
            )
        })?;
        let state_lock = lock_state(state)?;
        let is_new = !has_ledgers(state);
        let mut command = workspace.command(&tools.workerd);
        command
            .arg("serve")
            .arg(config)
            .arg(format!("--socket-addr=http=127.0.0.1:{port}"))
            .arg(format!("--directory-path=state={}", absolute(state)?.display()))
            // workerd writes there which port it got.
            .arg("--control-fd=1")
            .env("TOLLGATE_ADMIN_TOKEN", admin_token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if is_new && std::env::var_os(ADOPT_TENANTS).is_none() {
            command.env(ADOPT_TENANTS, "off");
        }
        let mut running = Running::start(command)?;
        let stdout = running.take_stdout().context("workerd's output is a pipe")?;
        let ports = ports_of(stdout);
        let port = wait_for_port(&mut running, &ports, port)?;
        let url = format!("http://127.0.0.1:{port}");
        wait_for_health(&mut running, &url)?;
        Ok(Self { running, url, _state_lock: state_lock })
    }

    /// Waits until a signal asks to stop, or workerd ends by itself, which is an error.
    pub fn serve(mut self) -> Result<()> {
        loop {
            if let Some(status) = self.running.poll()? {
                return Err(ended(status));
            }
            if interrupt::requested() {
                self.stop()?;
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Stops the Worker. What it acknowledged is on disk.
    pub fn stop(&mut self) -> Result<()> {
        self.running.stop()?;
        Ok(())
    }
}

/// A token for a Worker on loopback, when nobody chose one: 192 random bits in hex.
pub fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).context("the system gives no random bytes; choose a token with --admin-token")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether there are ledgers already, which a registry of tenants may not know yet.
fn has_ledgers(state: &Path) -> bool {
    let Ok(files) = std::fs::read_dir(state.join(LEDGERS)) else { return false };
    files.flatten().any(|file| {
        let path = file.path();
        // The runtime's own database is there beside the objects'.
        path.extension().is_some_and(|extension| extension == "sqlite")
            && path.file_stem().is_some_and(|name| name != "metadata")
    })
}

/// Two workerd processes on one database would each believe to be alone.
fn lock_state(state: &Path) -> Result<File> {
    let path = state.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(failure(
            format!("another Worker uses the state folder {}", state.display()),
            "stop it, or choose another folder with --state",
        )),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Reads workerd's output: what it says about ports goes to the receiver, the rest to our own output.
fn ports_of(stdout: std::process::ChildStdout) -> Receiver<u16> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line);
            match port_in(&line) {
                // Nobody listens any more when the port was found: that is fine.
                Some(port) => sender.send(port).unwrap_or_default(),
                None => println!("{line}"),
            }
        }
    });
    receiver
}

fn port_in(line: &str) -> Option<u16> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    if event.get("event")?.as_str()? != "listen" {
        return None;
    }
    u16::try_from(event.get("port")?.as_u64()?).ok()
}

fn wait_for_port(running: &mut Running, ports: &Receiver<u16>, asked: u16) -> Result<u16> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        match ports.recv_timeout(TICK) {
            Ok(port) => return Ok(port),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(_) => {
                if let Some(status) = running.poll()? {
                    return Err(failure(
                        format!("workerd ended with {status} before it listened"),
                        format!(
                            "see its message above; if port {asked} is taken, choose another with --port, or a free one with --port 0"
                        ),
                    ));
                }
                if Instant::now() >= deadline {
                    return Err(slow());
                }
                std::thread::sleep(TICK);
            }
        }
        if interrupt::requested() {
            running.stop()?;
            return Err(Interrupted.into());
        }
    }
}

fn wait_for_health(running: &mut Running, url: &str) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into();
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        if let Some(status) = running.poll()? {
            return Err(ended(status));
        }
        if interrupt::requested() {
            running.stop()?;
            return Err(Interrupted.into());
        }
        if agent.get(format!("{url}/healthz")).call().is_ok_and(|answer| answer.status() == 200) {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
    Err(slow())
}

fn ended(status: ExitStatus) -> anyhow::Error {
    failure(
        format!("workerd stopped by itself ({status})"),
        "see its message above; what it acknowledged is in the state folder, so it can be started again",
    )
}

fn slow() -> anyhow::Error {
    failure(
        format!("the Worker did not answer /healthz within {} s", READY_WITHIN.as_secs()),
        "see workerd's messages above; on a busy machine, run this again",
    )
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is not a path", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_state_is_new_until_a_tenant_has_a_database() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let ledgers = state.join(LEDGERS);
        assert!(!has_ledgers(state));
        std::fs::create_dir_all(&ledgers).unwrap();
        std::fs::write(ledgers.join("metadata.sqlite"), "").unwrap();
        assert!(!has_ledgers(state));
        std::fs::write(ledgers.join("00ff.sqlite"), "").unwrap();
        assert!(has_ledgers(state));
    }

    #[test]
    fn only_listen_events_have_a_port() {
        assert_eq!(port_in(r#"{"event":"listen","socket":"http","port":8787}"#), Some(8787));
        assert_eq!(port_in(r#"{"event":"listen-inspector","port":9229}"#), None);
        assert_eq!(port_in(r#"{"event":"listen","socket":"http","port":123456}"#), None);
        assert_eq!(port_in("hello"), None);
    }
}
