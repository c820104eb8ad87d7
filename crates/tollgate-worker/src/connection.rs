//! Connections: WebSockets over which a client sends its batches straight to the tenant's object, without an HTTP request for each.
//!
//! A message is a number of the client's choice, a line feed and the body of `POST …/batch`; its answer is the number, a space, the status, a line feed and the
//! body that the HTTP request would have had. Every message may be sent again over HTTP, so a connection that breaks loses nothing.
//!
//! What is checked once for each HTTP request is checked once for each connection: the token, and which overrides of the platform the ledger has. So a
//! connection ends after [`LIFETIME_SECONDS`], or with its token.

use percent_encoding::percent_decode_str;
use tollgate_core::api::{Answer, Code, Problem};
use tollgate_core::time::Timestamp;

use crate::body::MAX_BODY;

/// The subprotocol that both sides speak.
pub const PROTOCOL: &str = "tollgate.v1";
/// The header in which a client lists the subprotocols that it speaks.
pub const PROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";
/// Says to a tenant's object until when a connection may be used.
pub const ENDS_HEADER: &str = "tollgate-connection-ends";
/// How long a connection may be used. As long as what an isolate of the Worker has seen of the platform's overrides counts as what is.
pub const LIFETIME_SECONDS: u32 = crate::platform_prices::FRESH_SECONDS;
/// Answers a client that closes its connection (RFC 6455, section 7.4.1).
pub const CLOSED: u16 = 1000;
/// Closes a connection that may not be used any more. The client may open another one.
pub const ENDED: u16 = 4001;
/// Closes a connection on which something else was said.
pub const NOT_UNDERSTOOD: u16 = 4002;

/// Stands before a token among the subprotocols: WebSockets have no other place for one in browsers and in most servers' runtimes.
const BEARER: &str = "tollgate.bearer.";
/// The longest number that a message may have, in bytes.
const MAX_NUMBER: usize = 20;

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
        if self.body.len() > MAX_BODY {
            return Err(Problem::new(Code::BodyTooLarge, "a body has at most 1048576 bytes"));
        }
        Ok(())
    }

    /// The text of its answer.
    #[must_use]
    pub fn answer(&self, answer: &Answer) -> String {
        format!("{} {}\n{}", self.number, answer.status, answer.body)
    }
}

/// The token among a client's subprotocols, percent-encoded there.
#[must_use]
pub fn token(protocols: &str) -> Option<String> {
    let encoded = listed(protocols).find_map(|protocol| protocol.strip_prefix(BEARER))?;
    percent_decode_str(encoded).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Whether the client speaks as we do.
#[must_use]
pub fn is_spoken(protocols: &str) -> bool {
    listed(protocols).any(|protocol| protocol == PROTOCOL)
}

/// Until when a connection may be used that begins now. `until` is the end of its token on the clock that says `now`; that of the connection may be another one, a
/// test's.
#[must_use]
pub fn ends(begins: Timestamp, now: Timestamp, until: Option<Timestamp>) -> Timestamp {
    let longest = i64::from(LIFETIME_SECONDS) * 1000;
    let left = until.map_or(longest, |until| longest.min(until.millis() - now.millis()));
    Timestamp::from_millis(begins.millis().saturating_add(left)).unwrap_or(begins)
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
        let text = format!("{text}x");
        assert_eq!(Message::read(&text).unwrap().check().unwrap_err().code, Code::BodyTooLarge);
    }

    #[test]
    fn the_token_is_among_the_subprotocols() {
        assert_eq!(token("tollgate.v1, tollgate.bearer.eyJh.b-_c").as_deref(), Some("eyJh.b-_c"));
        assert_eq!(token("tollgate.bearer.a%20%28b%29%2C,tollgate.v1").as_deref(), Some("a (b),"));
        assert_eq!(token("tollgate.v1"), None);
        assert_eq!(token("tollgate.bearer.%FF"), None);
        assert!(is_spoken("x, tollgate.v1"));
        assert!(!is_spoken("tollgate.v10, tollgate.bearer.tollgate.v1"));
    }

    #[test]
    fn a_connection_ends_with_its_token_or_after_its_lifetime() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000).unwrap();
        assert_eq!(ends(at(1_000), at(5), None), at(1_060));
        assert_eq!(ends(at(1_000), at(5), Some(at(400))), at(1_060));
        assert_eq!(ends(at(1_000), at(5), Some(at(25))), at(1_020));
        assert_eq!([999, 1_000, 1_059, 1_060].map(|now| is_over(at(1_060), at(now))), [true, false, false, true]);
    }
}
