//! The Worker's log: what nobody expects, never with a token, a header or a body in it.

use core::fmt::Display;

use tollgate_core::api::{Code, Problem};
use worker::console_error;

/// Writes an error down. `doing` says at what.
pub fn unexpected(doing: &str, error: &dyn Display) {
    console_error!("{doing}: {error}");
}

/// Writes an error down and makes of it what the caller is told, which is nothing about our inside.
#[must_use]
pub fn internal(doing: &str, error: &dyn Display) -> Problem {
    unexpected(doing, error);
    Problem::new(Code::Internal, "unexpected error; the Worker's log has more")
}
