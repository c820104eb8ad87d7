//! Signed tokens: JSON Web Tokens with HMAC-SHA256 (RFC 7519, `HS256`). Of two kinds, told apart by their audience: those that a caller keeps, and tickets, each of
//! which opens one connection within seconds.

use chrono::{DateTime, Duration, Utc};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, Claims, Header, TimeOptions, UntrustedToken, ValidationError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_core::ids::TenantId;
use tollgate_core::time::Timestamp;

/// How long a ticket is good for: as long as a client may take from the ticket's answer to the handshake.
pub const TICKET_SECONDS: u32 = 10;

/// Who makes tokens: a Tollgate.
const ISSUER: &str = "tollgate";
/// How far the clock that made a token may be ahead of the one that reads it: they are those of different machines.
const LEEWAY_SECONDS: i64 = 60;

/// Signs and verifies tokens.
pub struct TokenKey(Hs256Key);

/// Whom a token is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Bearer {
    /// An app's server that spends for every tenant.
    Service,
    /// A tenant's own app: spends and reads.
    App {
        /// Whose.
        tenant: TenantId,
    },
    /// Reads one tenant.
    Read {
        /// Whose.
        tenant: TenantId,
    },
}

/// What a ticket lets in: one connection to one tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// To whose ledger.
    pub tenant: TenantId,
    /// Who asked for it.
    pub role: TicketRole,
    /// When the token ends with which it was asked for, and so the connection; none for the admin's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Who may ask for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketRole {
    /// The holder of the Worker's secret.
    Admin,
    /// An app's server that spends for every tenant.
    Service,
    /// The tenant's own app.
    App,
}

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What a token says that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<T> {
    /// Its id.
    pub id: String,
    /// Whom or what it is for.
    pub what: T,
    /// When it ends.
    pub ends: Timestamp,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidToken {
    /// It is not one of ours, or was changed, or is for something else.
    Broken,
    /// Its time has not come: the clock that made it is ahead.
    Early,
    /// Its time is over.
    Expired,
}

/// What tokens of one kind are about.
pub trait Subject: Serialize + DeserializeOwned {
    /// What such a token is for, so that one of another kind is not taken for it.
    const AUDIENCE: &'static str;
}

impl Subject for Bearer {
    const AUDIENCE: &'static str = "tollgate/api";
}

impl Subject for Ticket {
    const AUDIENCE: &'static str = "tollgate/connect";
}

/// All that a token says besides its times.
#[derive(Serialize, Deserialize)]
struct Says<T> {
    iss: String,
    aud: String,
    jti: String,
    #[serde(flatten)]
    what: T,
}

impl TokenKey {
    /// From a secret of its own.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        Self(Hs256Key::new(secret.as_bytes()))
    }

    /// A token with an id that nothing else has, good for so many seconds: tokens count whole seconds, so up to one more. None where it cannot be written.
    #[must_use]
    pub fn issue<T: Subject>(&self, what: &T, id: &str, now: Timestamp, seconds: u32) -> Option<Issued> {
        let whole_second = Timestamp::from_millis(now.millis().checked_add(999)? / 1000 * 1000).ok()?;
        let expires_at = whole_second.plus_seconds(seconds);
        let says = Says { iss: ISSUER.to_owned(), aud: T::AUDIENCE.to_owned(), jti: id.to_owned(), what };
        let mut claims = Claims::new(says);
        claims.issued_at = Some(instant(now)?);
        claims.not_before = claims.issued_at;
        claims.expiration = Some(instant(expires_at)?);
        let token = Hs256.token(&Header::empty().with_token_type("JWT"), &claims, &self.0).ok()?;
        Some(Issued { token, expires_at })
    }

    /// What a token says.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn verify<T: Subject>(&self, token: &str, now: Timestamp) -> Result<Accepted<T>, InvalidToken> {
        let now = instant(now).ok_or(InvalidToken::Broken)?;
        let untrusted: UntrustedToken<'_, Map<String, Value>> =
            token.try_into().map_err(|_: jwt_compact::ParseError| InvalidToken::Broken)?;
        // What it names there must be understood (RFC 7515, section 4.1.11), and nothing is.
        if untrusted.header().other_fields.contains_key("crit") {
            return Err(InvalidToken::Broken);
        }
        let validator = Hs256.validator::<Says<T>>(&self.0);
        let (_, claims) = validator.validate(&untrusted).map_err(|_| InvalidToken::Broken)?.into_parts();
        if claims.custom.iss != ISSUER || claims.custom.aud != T::AUDIENCE || claims.custom.jti.is_empty() {
            return Err(InvalidToken::Broken);
        }
        claims.validate_maturity(&TimeOptions::new(Duration::seconds(LEEWAY_SECONDS), || now)).map_err(refused)?;
        // Nothing is forgiven at the end.
        claims.validate_expiration(&TimeOptions::new(Duration::zero(), || now)).map_err(refused)?;
        let ends = claims.expiration.ok_or(InvalidToken::Broken)?;
        let ends = Timestamp::from_millis(ends.timestamp_millis()).map_err(|_| InvalidToken::Broken)?;
        Ok(Accepted { id: claims.custom.jti, what: claims.custom.what, ends })
    }
}

fn refused(error: ValidationError) -> InvalidToken {
    match error {
        ValidationError::Expired => InvalidToken::Expired,
        ValidationError::NotMature => InvalidToken::Early,
        _ => InvalidToken::Broken,
    }
}

fn instant(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(at.millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use serde_json::json;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-24T00:00:00.001Z")
    }

    fn key() -> TokenKey {
        TokenKey::from_secret(SECRET)
    }

    fn app() -> Bearer {
        Bearer::App { tenant: "acme".parse().unwrap() }
    }

    fn ticket() -> Ticket {
        Ticket { tenant: "acme".parse().unwrap(), role: TicketRole::App, until: Some(at("2026-11-25T00:00:00Z")) }
    }

    /// Signed with the right key, with these members in place of ours; null leaves one out.
    fn signed(header: &Value, changes: &Value) -> String {
        let seconds = |at: Timestamp| at.millis() / 1000;
        let mut claims = json!({
            "iss": "tollgate", "aud": "tollgate/api", "jti": "t-1", "role": "app", "tenant": "acme",
            "iat": seconds(now()), "nbf": seconds(now()), "exp": seconds(now()) + 60,
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                members.remove(name)
            } else {
                members.insert(name.clone(), value.clone())
            };
        }
        let extra: Map<String, Value> = header.as_object().unwrap().clone();
        Hs256.token(&Header::new(extra), &Claims::new(claims), &key().0).unwrap()
    }

    #[test]
    fn a_token_names_its_bearer_until_it_expires() {
        for bearer in [Bearer::Service, app(), Bearer::Read { tenant: "acme".parse().unwrap() }] {
            let Issued { token, expires_at } = key().issue(&bearer, "t-1", now(), 3600).unwrap();
            assert_eq!(expires_at, at("2026-11-24T01:00:01Z"));
            let accepted = Accepted { id: "t-1".to_owned(), what: bearer, ends: expires_at };
            assert_eq!(key().verify(&token, now()), Ok(accepted.clone()));
            assert_eq!(key().verify(&token, expires_at), Ok(accepted));
            assert_eq!(key().verify::<Bearer>(&token, at("2026-11-24T01:00:02Z")), Err(InvalidToken::Expired));
            assert!(key().verify::<Bearer>(&token, at("2026-11-23T23:59:00Z")).is_ok(), "clocks differ a little");
            assert_eq!(key().verify::<Bearer>(&token, at("2026-11-23T23:58:58Z")), Err(InvalidToken::Early));
        }
    }

    #[test]
    fn a_ticket_is_no_token_and_a_token_is_no_ticket() {
        let asked = key().issue(&ticket(), "c-1", now(), TICKET_SECONDS).unwrap();
        let accepted = key().verify::<Ticket>(&asked.token, now()).unwrap();
        assert_eq!((accepted.id.as_str(), &accepted.what), ("c-1", &ticket()));
        assert_eq!(key().verify::<Bearer>(&asked.token, now()), Err(InvalidToken::Broken));
        assert_eq!(key().verify::<Ticket>(&asked.token, at("2026-11-24T00:00:12Z")), Err(InvalidToken::Expired));
        let token = key().issue(&app(), "t-1", now(), 3600).unwrap().token;
        assert_eq!(key().verify::<Ticket>(&token, now()), Err(InvalidToken::Broken));
    }

    #[test]
    fn a_token_that_was_changed_or_signed_by_another_is_broken() {
        let token = key().issue(&app(), "t-1", now(), 60).unwrap().token;
        let (header, rest) = token.split_once('.').unwrap();
        let (claims, signature) = rest.split_once('.').unwrap();
        for changed in [
            // {"alg":"none"}
            format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
            format!("eyJhbGciOiJub25lIn0.{claims}."),
            // {"role":"service"}
            format!("{header}.eyJyb2xlIjoic2VydmljZSJ9.{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{token}x"),
            format!("{token}.{signature}"),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(key().verify::<Bearer>(&changed, now()), Err(InvalidToken::Broken), "{changed}");
        }
        let other = TokenKey::from_secret("0123456789abcdef0123456789abcdeF");
        assert_eq!(other.verify::<Bearer>(&token, now()), Err(InvalidToken::Broken));
    }

    #[test]
    fn a_signed_token_that_leaves_something_out_or_is_another_ones_is_broken() {
        assert!(key().verify::<Bearer>(&signed(&json!({}), &json!({})), now()).is_ok());
        assert!(
            key().verify::<Bearer>(&signed(&json!({ "kid": "k", "typ": "JWT", "x": 1 }), &json!({})), now()).is_ok()
        );
        for changes in [
            json!({ "exp": null }),
            json!({ "nbf": null }),
            json!({ "iss": null }),
            json!({ "iss": "another" }),
            json!({ "aud": null }),
            json!({ "aud": "tollgate/connect" }),
            json!({ "aud": ["tollgate/api"] }),
            json!({ "jti": null }),
            json!({ "jti": "" }),
            json!({ "role": null }),
            json!({ "role": "admin" }),
            json!({ "tenant": null }),
            json!({ "tenant": "a/b" }),
            json!({ "exp": "tomorrow" }),
            json!({ "exp": -1 }),
        ] {
            assert!(key().verify::<Bearer>(&signed(&json!({}), &changes), now()).is_err(), "{changes}");
        }
        for header in [json!({ "crit": ["b64"], "b64": false }), json!({ "crit": [] }), json!({ "crit": null })] {
            assert_eq!(
                key().verify::<Bearer>(&signed(&header, &json!({})), now()),
                Err(InvalidToken::Broken),
                "{header}"
            );
        }
    }
}
