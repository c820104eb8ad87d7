//! What an object is asked to do. The gateway reads and authorizes a request once; what it found goes to the object in one header field of its own
//! making, on an address that is always the same. An object never reads a path, so it does what was authorized and nothing else, and no address of
//! a client's leads to what only the Worker asks.

use core::fmt::Write;

use serde::{Deserialize, Serialize};
use tollgate_core::api::{Code, Problem};
use tollgate_core::ids::TenantId;
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;
use worker::Headers;

use crate::router::Route;

/// The header field that has the envelope.
pub const HEADER: &str = "tollgate-operation";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Operation {
    /// What a client has asked for, and may. The body is the client's.
    Route(Route),
    /// The platform's own rates, aliases and markups, which the body has, take the place of an older version in a tenant's ledger.
    TakeOverrides {
        /// Which version they are.
        version: u64,
    },
    /// Says since when a tenant's object has a ledger.
    SayOnboarded,
    /// Says whether the platform's registry knows a tenant.
    FindTenant {
        /// Which.
        tenant: TenantId,
    },
    /// Makes a tenant known to the platform's registry.
    RegisterTenant {
        /// Which.
        tenant: TenantId,
    },
    /// A ticket was made, which opens one connection within seconds.
    ExpectTicket {
        /// Which.
        id: String,
    },
}

/// A connection that may be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    /// Until when it may be used.
    pub ends: Timestamp,
    /// The ticket that is used up for it, where it is opened by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// An operation, with what the Worker tells an object besides. What an object does not know it does not ignore: it might be a restriction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// What is to be done.
    pub operation: Operation,
    /// The test clock's time, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Timestamp>,
    /// The version of the platform's own rates, aliases and markups that the ledger should know; 0 where there are none.
    #[serde(default)]
    pub overrides: u64,
    /// Whose eyes the answer is for.
    pub sight: Sight,
    /// The connection that is asked for. None where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opening: Option<Opening>,
}

impl Envelope {
    /// Of an operation that is nobody's but the Worker's own.
    #[must_use]
    pub const fn own(operation: Operation, now: Option<Timestamp>) -> Self {
        Self { operation, now, overrides: 0, sight: Sight::Tenant, opening: None }
    }

    /// The header field's value: JSON in ASCII.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn to_header(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self).map(|json| ascii(&json))
    }

    /// The envelope of a request.
    ///
    /// # Errors
    /// `unavailable` where there is none that can be read: while a new version is deployed, a Worker can meet an object of another one.
    pub fn of(headers: &Headers) -> Result<Self, Problem> {
        let header = headers.get(HEADER).ok().flatten();
        header.as_deref().and_then(Self::read).ok_or_else(|| {
            Problem::new(Code::Unavailable, "the Worker and the ledger are of different versions for a moment")
        })
    }

    fn read(header: &str) -> Option<Self> {
        serde_json::from_str(header).ok()
    }
}

/// JSON with everything escaped that a header field cannot have: not all who make one take what is beyond ASCII for the same bytes.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _infallible = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::router::{Endpoint, route};

    fn envelope(operation: Operation) -> Envelope {
        Envelope { operation, now: None, overrides: 0, sight: Sight::Tenant, opening: None }
    }

    #[test]
    fn what_is_sent_is_what_arrives() {
        let at = |text: &str| text.parse().unwrap();
        let route =
            route("POST", "/v1/tenants/acme/reservations/a%40b/settle?x=%C3%A9%F0%9F%92%B6&y=%7F%00%0A").unwrap();
        let sent = Envelope {
            now: Some(at("2026-11-24T00:00:00Z")),
            overrides: 7,
            sight: Sight::Everything,
            opening: Some(Opening { ends: at("2026-11-24T00:01:00Z"), ticket: Some("c-1".to_owned()) }),
            ..envelope(Operation::Route(route))
        };
        let header = sent.to_header().unwrap();
        assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
        assert_eq!(Envelope::read(&header), Some(sent));
        for operation in [Operation::TakeOverrides { version: 3 }, Operation::ExpectTicket { id: "c-1".to_owned() }] {
            let sent = envelope(operation);
            assert_eq!(Envelope::read(&sent.to_header().unwrap()), Some(sent));
        }
    }

    #[test]
    fn what_another_version_sends_is_not_half_understood() {
        let header = envelope(Operation::Route(Route::to(Endpoint::GetPolicy))).to_header().unwrap();
        assert!(Envelope::read(&header).is_some());
        for other in [
            header.replace("getPolicy", "dropEverything"),
            header.replace("route", "path"),
            header.replace("sight", "eyes"),
            header.replacen('{', r#"{"only":"this","#, 1),
            header.replace(r#""endpoint""#, r#""dryRun":true,"endpoint""#),
            String::new(),
        ] {
            assert_eq!(Envelope::read(&other), None, "{other}");
        }
    }
}
