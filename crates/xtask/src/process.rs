//! Running other programs: each in a process group of its own, so that stopping one stops what it started too.

use std::io::{BufRead, BufReader, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::failure;
use crate::interrupt::{self, Interrupted};

/// How often a waiting loop looks at signals and children.
pub const TICK: Duration = Duration::from_millis(100);

/// How long a program may take to stop by itself before it is killed.
const GRACE: Duration = Duration::from_secs(8);

/// A running program that does not outlive this value.
pub struct Running {
    child: Child,
    name: String,
    ended: Option<ExitStatus>,
}

impl Running {
    /// Starts `command` as the leader of a new process group.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = name_of(&command);
        let child = command.process_group(0).spawn().map_err(|error| {
            failure(format!("cannot start `{name}`: {error}"), format!("install `{name}`, or put it on PATH"))
        })?;
        Ok(Self { child, name, ended: None })
    }

    /// The program's standard input, when it was piped and not taken yet.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The program's standard output, when it was piped and not taken yet.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub fn poll(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().with_context(|| format!("cannot wait for `{}`", self.name))?;
        }
        Ok(self.ended)
    }

    /// Waits for the end, after which nothing of the group is left. A signal to this process stops the program and ends the wait.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if self.poll()?.is_some() {
                return self.stop();
            }
            if interrupt::requested() {
                self.stop()?;
                return Err(Interrupted.into());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Asks the whole group to stop, and kills what has not stopped after a while.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let group = Pid::from_child(&self.child);
        for signal in [Signal::TERM, Signal::KILL] {
            if self.poll()?.is_none() {
                kill_process_group(group, signal).with_context(|| format!("cannot stop `{}`", self.name))?;
            }
            let deadline = Instant::now() + GRACE;
            while Instant::now() < deadline {
                if let Some(status) = self.poll()? {
                    // What the leader started and did not wait for. The usual answer is that there is nobody left.
                    kill_process_group(group, Signal::KILL).ok();
                    return Ok(status);
                }
                std::thread::sleep(TICK / 4);
            }
        }
        Err(failure(format!("`{}` (process {}) does not stop", self.name, self.child.id()), "stop it by hand"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none()
            && let Err(error) = self.stop()
        {
            eprintln!("{error:#}");
        }
    }
}

/// Runs `command` to its end without a terminal, gives every line of its output to `line` as it comes, calls `tick` in
/// between, and returns how it ended.
pub fn run_lines(mut command: Command, mut line: impl FnMut(&str), mut tick: impl FnMut()) -> Result<ExitStatus> {
    let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("cannot make a pipe")?).stderr(writer);
    let mut running = Running::start(command)?;
    let lines = lines_of(reader);
    loop {
        match lines.recv_timeout(TICK) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Timeout) => {
                // A program may end and leave something behind that keeps the pipe open: the end of the program counts.
                if running.poll()?.is_some() {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        tick();
        if interrupt::requested() {
            running.stop()?;
            return Err(Interrupted.into());
        }
    }
    running.wait()
}

/// What a short program prints on standard output; `None` when it is not there or fails.
pub fn answer_of(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Is a program of this name on PATH?
pub fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

fn name_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn lines_of(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut bytes = Vec::new();
        // Bytes that are not UTF-8 must not end the reading: the program would block on a full pipe.
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    /// A killed orphan is there until its new parent notices.
    fn wait_until_gone(pid: &str) {
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let deadline = Instant::now() + GRACE;
        while rustix::process::test_kill_process(pid).is_ok() {
            assert!(Instant::now() < deadline, "process {pid:?} is still there");
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn both_outputs_come_in_order_and_the_status_with_them() {
        let mut lines = Vec::new();
        let status =
            run_lines(shell("echo one; echo two >&2; printf three; exit 7"), |line| lines.push(line.to_owned()), || ())
                .unwrap();
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn what_a_program_left_behind_neither_keeps_us_nor_stays() {
        let mut pid = String::new();
        let status = run_lines(shell("sleep 300 & echo $!"), |line| pid.push_str(line), || ()).unwrap();
        assert!(status.success());
        wait_until_gone(&pid);
    }

    #[test]
    fn stopping_stops_the_children_too() {
        let mut command = shell("sleep 300 & echo $!; wait");
        command.stdout(Stdio::piped());
        let mut running = Running::start(command).unwrap();
        let mut pid = String::new();
        BufReader::new(running.take_stdout().unwrap()).read_line(&mut pid).unwrap();
        assert!(!running.stop().unwrap().success());
        wait_until_gone(&pid);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run_lines(Command::new("no-such-program-anywhere"), |_| (), || ()).unwrap_err();
        assert!(error.to_string().contains("no-such-program-anywhere"));
    }
}
