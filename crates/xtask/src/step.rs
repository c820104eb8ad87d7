//! What the reader sees of a task: one step after the other, what each is for, what it is doing, how long it took.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use console::{Term, strip_ansi_codes, style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::failure;
use crate::process::run_lines;

/// Without a terminal, a long step says this often that it is still there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A piece of work with a name and a purpose.
pub struct Step {
    started: Instant,
    spinner: Option<ProgressBar>,
    finished: bool,
}

impl Step {
    /// Says that the work begins.
    pub fn begin(title: &str, purpose: &str) -> Self {
        println!("{} {} {}", style("▸").cyan(), style(title).bold(), style(format!("— {purpose}")).dim());
        let spinner = Term::stderr().is_term().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(look) = ProgressStyle::with_template("  {spinner:.cyan} {elapsed:>4} {wide_msg:.dim}") {
                bar.set_style(look);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { started: Instant::now(), spinner, finished: false }
    }

    /// Says that the work is done, and with what result.
    pub fn done(mut self, result: &str) {
        self.end(&format!("  {} {result} {}", style("✓").green(), style(took(self.started)).dim()));
    }

    /// Says that the work cannot be done this way, which need not be an error.
    pub fn gave_up(mut self, reason: &str) {
        self.end(&format!("  {} {reason} {}", style("–").yellow(), style(took(self.started)).dim()));
    }

    /// Runs a program as a part of the work and returns what it printed.
    ///
    /// A failure shows all of the output; `next` says what the reader can do then.
    pub fn run(&mut self, command: Command, next: &str) -> Result<String> {
        let (worked, output) = self.attempt(command)?;
        if worked.is_ok() {
            return Ok(output);
        }
        self.end(&format!("  {} failed {}", style("✗").red(), style(took(self.started)).dim()));
        println!("{output}");
        Err(failure(worked.err().unwrap_or_default(), next))
    }

    /// As [`Step::run`], for a program that may fail: the first value is then what failed, the second what it printed.
    pub fn attempt(&mut self, command: Command) -> Result<(std::result::Result<(), String>, String)> {
        let shown = shown(&command);
        let mut output = String::new();
        let mut last = String::new();
        let mut said = Instant::now();
        let status = {
            let spinner = self.spinner.as_ref();
            let started = self.started;
            let latest = std::cell::RefCell::new(&mut last);
            run_lines(
                command,
                |line| {
                    output.push_str(line);
                    output.push('\n');
                    let plain = strip_ansi_codes(line.rsplit('\r').next().unwrap_or(line)).trim().to_owned();
                    if !plain.is_empty() {
                        if let Some(bar) = spinner {
                            bar.set_message(plain.clone());
                        }
                        **latest.borrow_mut() = plain;
                    }
                },
                || {
                    if spinner.is_none() && said.elapsed() >= HEARTBEAT {
                        said = Instant::now();
                        println!("  … {} {}", took(started), latest.borrow());
                    }
                },
            )?
        };
        let worked = if status.success() { Ok(()) } else { Err(format!("`{shown}` ended with {status}")) };
        Ok((worked, output))
    }

    fn end(&mut self, line: &str) {
        self.finished = true;
        if let Some(bar) = self.spinner.take() {
            bar.finish_and_clear();
        }
        println!("{line}");
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            let line = format!("  {} stopped {}", style("✗").red(), style(took(self.started)).dim());
            self.end(&line);
        }
    }
}

/// Says that nothing had to be done.
pub fn present(title: &str, detail: &str) {
    println!("{} {} {}", style("✓").green(), style(title).bold(), style(format!("— {detail}")).dim());
}

/// The time since `started`, for people.
pub fn took(started: Instant) -> String {
    let elapsed = started.elapsed();
    if elapsed < Duration::from_secs(60) {
        format!("{:.1} s", elapsed.as_secs_f64())
    } else {
        format!("{} min {} s", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
    }
}

/// Reads a file into a string, naming it when that fails.
pub fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let line = words.join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
