//! Connections: WebSockets over which a client sends its batches straight to the tenant's object, without an HTTP request for each.
//!
//! A message is a number of the client's choice, a line feed and the body of `POST …/batch`; its answer is the number, a space, the status, a line feed and the
//! body that the HTTP request would have had. Every message may be sent again over HTTP, so a connection that breaks loses nothing.
//!
//! Who may open one says so by `Authorization`, or by a ticket among the subprotocols: WebSockets have no other place for anything in browsers and in most
//! servers' runtimes, but what is there appears in traces and logs, so that it must not be of use for long, or twice.
//!
//! What is checked once for each HTTP request is checked once for each connection: the token, and which overrides of the platform the ledger has. So a
//! connection ends after [`LIFETIME_SECONDS`], or with its token.

use serde::{Deserialize, Serialize};
use tollgate_core::api::{Answer, Code, Problem};
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;

use crate::body::MAX_BODY;

/// The subprotocol that both sides speak.
pub const PROTOCOL: &str = "tollgate.v1";
/// The header in which a client lists the subprotocols that it speaks.
pub const PROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";
/// How long a connection may be used. As long as what an isolate of the Worker has seen of the platform's overrides counts as what is.
pub const LIFETIME_SECONDS: u32 = crate::platform_prices::FRESH_SECONDS;
/// Answers a client that closes its connection (RFC 6455, section 7.4.1).
pub const CLOSED: u16 = 1000;
/// Closes a connection that may not be used any more. The client may open another one.
pub const ENDED: u16 = 4001;
/// Closes a connection on which something else was said.
pub const NOT_UNDERSTOOD: u16 = 4002;

/// Stands before a ticket among the subprotocols.
const TICKET: &str = "tollgate.ticket.";
/// Stood before a token among the subprotocols, before there were tickets.
const BEARER: &str = "tollgate.bearer.";
/// The longest number that a message may have, in bytes.
const MAX_NUMBER: usize = 20;
/// How many characters of a message are enough to tell its number.
pub const HEAD: u32 = 21;
/// The longest message, as JavaScript counts characters, of which none is less than a byte. A longer one is not taken into WebAssembly's memory, which all
/// objects of an isolate share and which never shrinks.
pub const MAX_MESSAGE: u32 = HEAD + (1 << 20);

/// What is kept of a connection, beside it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Terms {
    /// Until when it may be used.
    pub ends: Timestamp,
    /// Whose eyes its answers are for.
    pub sight: Sight,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    number: &'a str,
    /// A batch's body.
    pub body: &'a str,
}

impl<'a> Message<'a> {
    /// Takes a message apart. None where it is none.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let (number, body) = text.split_once('\n')?;
        let is_number = (1..=MAX_NUMBER).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then_some(Self { number, body })
    }

    /// Checks the body's length, as that of an HTTP request's.
    ///
    /// # Errors
    /// It is too long.
    pub fn check(&self) -> Result<(), Problem> {
        if self.body.len() > MAX_BODY { Err(too_large()) } else { Ok(()) }
    }

    /// The text of its answer.
    #[must_use]
    pub fn answer(&self, answer: &Answer) -> String {
        format!("{} {}\n{}", self.number, answer.status, answer.body)
    }
}

/// What a message is answered that is too long.
#[must_use]
pub fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, "a body has at most 1048576 bytes")
}

/// The ticket among a client's subprotocols.
#[must_use]
pub fn ticket(protocols: &str) -> Option<&str> {
    listed(protocols).find_map(|protocol| protocol.strip_prefix(TICKET))
}

/// Checks that there is no token among a client's subprotocols.
///
/// # Errors
/// There is one, and it may have been seen.
pub fn check_protocols(protocols: &str) -> Result<(), Problem> {
    if listed(protocols).any(|protocol| protocol.starts_with(BEARER)) {
        let reason = "a token is no subprotocol: traces show it. Ask `POST …/connect/ticket` for a ticket";
        return Err(Problem::invalid(PROTOCOL_HEADER, reason));
    }
    Ok(())
}

/// Whether the client speaks as we do.
#[must_use]
pub fn is_spoken(protocols: &str) -> bool {
    listed(protocols).any(|protocol| protocol == PROTOCOL)
}

/// Until when a connection may be used that begins now. `until` is when its token ends.
#[must_use]
pub fn ends(now: Timestamp, until: Option<Timestamp>) -> Timestamp {
    let longest = now.plus_seconds(LIFETIME_SECONDS);
    until.map_or(longest, |until| longest.min(until))
}

/// Whether a connection may not be used any more. Nor one whose end is farther away than any can be: it was opened by a clock that has been set back since.
#[must_use]
pub fn is_over(ends: Timestamp, now: Timestamp) -> bool {
    ends <= now || now.plus_seconds(LIFETIME_SECONDS) < ends
}

fn listed(protocols: &str) -> impl Iterator<Item = &str> {
    protocols.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_message_has_a_number_and_a_body() {
        let message = Message::read("17\n{\"commands\":[]}\n").unwrap();
        assert_eq!((message.number, message.body), ("17", "{\"commands\":[]}\n"));
        let answer = Answer { status: 400, body: "{}".to_owned(), headers: Vec::new() };
        assert_eq!(message.answer(&answer), "17 400\n{}");
        for other in ["", "17", "\n{}", "-1\n{}", "1 \n{}", "1a\n{}", "123456789012345678901\n{}"] {
            assert_eq!(Message::read(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_body_is_as_long_as_over_http() {
        let text = format!("1\n{}", "x".repeat(MAX_BODY));
        assert!(Message::read(&text).unwrap().check().is_ok());
        assert_eq!(MAX_MESSAGE as usize, MAX_NUMBER + 1 + MAX_BODY);
        let text = format!("{text}x");
        assert_eq!(Message::read(&text).unwrap().check().unwrap_err().code, Code::BodyTooLarge);
    }

    #[test]
    fn a_ticket_is_among_the_subprotocols_and_a_token_is_not() {
        assert_eq!(ticket("tollgate.v1, tollgate.ticket.eyJh.b-_c"), Some("eyJh.b-_c"));
        assert_eq!(ticket("tollgate.ticket.a,tollgate.v1"), Some("a"));
        assert_eq!(ticket("tollgate.v1"), None);
        assert!(check_protocols("tollgate.v1, tollgate.ticket.tollgate.bearer.x").is_ok());
        for protocols in
            ["tollgate.v1, tollgate.bearer.eyJh.b-_c", "tollgate.bearer.", "tollgate.ticket.a,tollgate.bearer.b"]
        {
            assert_eq!(check_protocols(protocols).unwrap_err().field.as_deref(), Some(PROTOCOL_HEADER), "{protocols}");
        }
        assert!(is_spoken("x, tollgate.v1"));
        assert!(!is_spoken("tollgate.v10, tollgate.bearer.tollgate.v1"));
    }

    #[test]
    fn a_connection_ends_with_its_token_or_after_its_lifetime() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000).unwrap();
        assert_eq!(ends(at(1_000), None), at(1_060));
        assert_eq!(ends(at(1_000), Some(at(1_400))), at(1_060));
        assert_eq!(ends(at(1_000), Some(at(1_020))), at(1_020));
        assert_eq!([999, 1_000, 1_059, 1_060].map(|now| is_over(at(1_060), at(now))), [true, false, false, true]);
    }
}
