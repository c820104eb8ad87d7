//! A program that measures when it is asked to: one JSON text per line in, one per line out. It says on its first line that it is ready, and ends when its
//! standard input does.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::failure::failure;
use crate::interrupt::{self, Interrupted};
use crate::process::Running;

/// A running contender.
pub struct Contender {
    name: String,
    running: Running,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// What it said on its first line.
    pub ready: Value,
}

impl Contender {
    /// Starts it and waits until it is ready. Its standard error is shown.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = Running::start(command)?;
        let questions = running.take_stdin().context("standard input was piped")?;
        let answers = BufReader::new(running.take_stdout().context("standard output was piped")?);
        let mut contender = Self { name: name.to_owned(), running, questions, answers, ready: Value::Null };
        contender.ready = contender.answer()?;
        Ok(contender)
    }

    /// Asks one question and waits for the answer.
    pub fn ask(&mut self, question: &Value) -> Result<Value> {
        if interrupt::requested() {
            return Err(Interrupted.into());
        }
        // A program that has ended says so in its answer, which is then missing.
        writeln!(self.questions, "{question}").and_then(|()| self.questions.flush()).ok();
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self.answers.read_line(&mut line).with_context(|| format!("cannot read from {}", self.name))?;
        if length == 0 {
            let ended = self.running.stop()?;
            if interrupt::requested() {
                return Err(Interrupted.into());
            }
            return Err(failure(format!("{} ended with {ended}", self.name), "see its message above"));
        }
        serde_json::from_str(&line).with_context(|| format!("{} says {:?}, which is not JSON", self.name, line.trim()))
    }
}
