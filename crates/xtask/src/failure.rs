//! Errors that say what to do next.

use std::fmt;

/// A task that cannot go on: what happened, and what the reader can do about it.
#[derive(Debug)]
pub struct Failure {
    what: String,
    next: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  what to do: {}", self.what, self.next)
    }
}

impl std::error::Error for Failure {}

/// Makes the error that a task ends with.
pub fn failure(what: impl Into<String>, next: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Failure { what: what.into(), next: next.into() })
}
