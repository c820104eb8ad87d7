//! PostgreSQL and Redis as Debian ships them, each on a private port of loopback with its data in a given folder; they end with the value.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::failure::failure;
use crate::interrupt::{self, Interrupted};
use crate::process::{Running, TICK, answer_of, on_path};

/// How long a server may take to answer for the first time.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running PostgreSQL with its defaults, which commit to disk.
pub struct Postgres {
    port: u16,
    _running: Running,
}

impl Postgres {
    /// Makes a database in `folder` and serves it.
    pub fn start(folder: &Path) -> Result<Self> {
        let programs = postgres_programs()?;
        let data = folder.join("postgres");
        std::fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let user = Unprivileged::find(folder, &data)?;
        let mut init = user.command(&programs.join("initdb"));
        init.arg("-D").arg(&data).args(["-A", "trust", "-U", "bench"]);
        if answer_of(init).is_none() {
            return Err(failure("initdb fails", "run it by hand to see why: initdb -D SOME_FOLDER"));
        }
        let port = free_port()?;
        let mut serve = user.command(&programs.join("postgres"));
        serve.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(&data);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running::start(serve)?;
        wait_until("PostgreSQL", &mut running, || {
            let mut ask = Command::new(programs.join("pg_isready"));
            ask.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
            answer_of(ask).is_some()
        })?;
        Ok(Self { port, _running: running })
    }

    /// What `pg` connects with.
    pub fn connection(&self) -> Value {
        json!({ "host": "127.0.0.1", "port": self.port, "user": "bench", "database": "postgres" })
    }
}

/// A running Redis that answers a write when it is on disk.
pub struct Redis {
    port: u16,
    _running: Running,
}

impl Redis {
    /// Serves an empty database from `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        if !on_path("redis-server") {
            return Err(failure("redis-server is not on PATH", "apt-get install redis-server"));
        }
        let data = folder.join("redis");
        std::fs::create_dir(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let port = free_port()?;
        let mut serve = Command::new("redis-server");
        serve.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        serve.args(["--appendonly", "yes", "--appendfsync", "always", "--dir"]).arg(&data);
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running::start(serve)?;
        wait_until("Redis", &mut running, || {
            let mut ask = Command::new("redis-cli");
            ask.args(["-p", &port.to_string(), "ping"]);
            answer_of(ask).is_some_and(|answer| answer == "PONG")
        })?;
        Ok(Self { port, _running: running })
    }

    /// What `ioredis` connects with.
    pub fn connection(&self) -> Value {
        json!({ "host": "127.0.0.1", "port": self.port })
    }
}

/// PostgreSQL refuses to run as root; its package makes a user for it.
struct Unprivileged {
    user: Option<&'static str>,
}

impl Unprivileged {
    /// Ourselves, unless we are root: then the user `postgres`, who gets the data's folder and may pass the one around it.
    fn find(folder: &Path, data: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { user: None });
        }
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).context("cannot open the folder")?;
        let mut own = Command::new("chown");
        own.arg("postgres").arg(data);
        answer_of(own).context("there is no user `postgres` to run PostgreSQL as")?;
        Ok(Self { user: Some("postgres") })
    }

    fn command(&self, program: &Path) -> Command {
        match self.user {
            None => Command::new(program),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", user, "--regid", user, "--clear-groups"]).arg(program);
                command
            }
        }
    }
}

/// The folder that has them all: on PATH, or where Debian keeps them, the newest first.
fn postgres_programs() -> Result<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    folders.sort();
    folders.reverse();
    folders.splice(0..0, std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let complete =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file());
    folders
        .into_iter()
        .find(complete)
        .ok_or_else(|| failure("PostgreSQL is not installed", "apt-get install postgresql"))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
    Ok(listener.local_addr().context("a bound socket has an address")?.port())
}

fn wait_until(name: &str, running: &mut Running, ready: impl Fn() -> bool) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        if let Some(status) = running.poll()? {
            return Err(failure(format!("{name} ended with {status}"), "start it by hand to see why"));
        }
        if interrupt::requested() {
            return Err(Interrupted.into());
        }
        if ready() {
            return Ok(());
        }
        std::thread::sleep(TICK);
    }
    Err(failure(
        format!("{name} did not answer within {} s", READY_WITHIN.as_secs()),
        "on a busy machine, run this again",
    ))
}
