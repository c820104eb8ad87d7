//! Signed tokens: JSON Web Tokens with HMAC-SHA256 (RFC 7519, `HS256`).

use chrono::{DateTime, Duration, Utc};
use hmac::{Hmac, Mac};
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, Claims, Header, TimeOptions, UntrustedToken};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tollgate_core::ids::TenantId;
use tollgate_core::time::Timestamp;

/// Separates the key that signs tokens from every other use of the admin token.
const SIGNING_KEY_LABEL: &[u8] = b"tollgate token signing key v1";

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

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidToken {
    /// It is not one of ours, or was changed.
    Broken,
    /// Its time is over.
    Expired,
}

impl TokenKey {
    /// From a secret of its own.
    #[must_use]
    pub fn from_secret(secret: &str) -> Self {
        Self(Hs256Key::new(secret.as_bytes()))
    }

    /// Derived from the admin token, so that one secret is enough. Another admin token ends every token that was issued. HMAC takes
    /// keys of any length, so there always is one.
    #[must_use]
    pub fn derived(admin_token: &str) -> Option<Self> {
        let mac = Hmac::<Sha256>::new_from_slice(admin_token.as_bytes()).ok()?;
        let derived = mac.chain_update(SIGNING_KEY_LABEL).finalize().into_bytes();
        Some(Self(Hs256Key::new(derived)))
    }

    /// A token for `bearer` that is good for so many seconds, and when it ends: tokens count whole seconds, so up to one later. None
    /// where it cannot be written.
    #[must_use]
    pub fn issue(&self, bearer: &Bearer, now: Timestamp, seconds: u32) -> Option<(String, Timestamp)> {
        let whole_second = Timestamp::from_millis(now.millis().checked_add(999)? / 1000 * 1000).ok()?;
        let expires_at = whole_second.plus_seconds(seconds);
        let mut claims = Claims::new(bearer);
        claims.issued_at = Some(instant(now)?);
        claims.expiration = Some(instant(expires_at)?);
        let token = Hs256.token(&Header::empty().with_token_type("JWT"), &claims, &self.0).ok()?;
        Some((token, expires_at))
    }

    /// Whom a token is for, and when it ends.
    ///
    /// # Errors
    /// It is not accepted.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<(Bearer, Timestamp), InvalidToken> {
        let now = instant(now).ok_or(InvalidToken::Broken)?;
        let untrusted = UntrustedToken::new(token).map_err(|_| InvalidToken::Broken)?;
        let token = Hs256.validator::<Bearer>(&self.0).validate(&untrusted).map_err(|_| InvalidToken::Broken)?;
        // Nothing is forgiven: the same clock issues and verifies.
        token.claims().validate_expiration(&TimeOptions::new(Duration::zero(), || now)).map_err(
            |error| match error {
                jwt_compact::ValidationError::Expired => InvalidToken::Expired,
                _ => InvalidToken::Broken,
            },
        )?;
        let ends = token.claims().expiration.ok_or(InvalidToken::Broken)?;
        let ends = Timestamp::from_millis(ends.timestamp_millis()).map_err(|_| InvalidToken::Broken)?;
        Ok((token.claims().custom.clone(), ends))
    }
}

fn instant(at: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(at.millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn app() -> Bearer {
        Bearer::App { tenant: "acme".parse().unwrap() }
    }

    #[test]
    fn a_token_names_its_bearer_until_it_expires() {
        let key = TokenKey::derived("secret").unwrap();
        let now = at("2026-11-24T00:00:00.001Z");
        for bearer in [Bearer::Service, app(), Bearer::Read { tenant: "acme".parse().unwrap() }] {
            let (token, end) = key.issue(&bearer, now, 3600).unwrap();
            assert_eq!(end, at("2026-11-24T01:00:01Z"));
            assert_eq!(key.verify(&token, now).unwrap(), (bearer.clone(), end));
            assert_eq!(key.verify(&token, end).unwrap(), (bearer, end));
            assert_eq!(key.verify(&token, at("2026-11-24T01:00:01.001Z")), Err(InvalidToken::Expired));
        }
    }

    #[test]
    fn a_token_that_was_changed_or_signed_by_another_is_broken() {
        let key = TokenKey::derived("secret").unwrap();
        let now = at("2026-11-24T00:00:00Z");
        let (token, _) = key.issue(&app(), now, 86_400).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { unreachable!("a token has three parts") };
        // {"alg":"none"} and {"alg":"HS512"}; {"role":"service","exp":4102444800}
        let service = "eyJyb2xlIjoic2VydmljZSIsImV4cCI6NDEwMjQ0NDgwMH0";
        for changed in [
            format!("eyJhbGciOiJub25lIn0.{claims}."),
            format!("eyJhbGciOiJub25lIn0.{claims}.{signature}"),
            format!("eyJhbGciOiJIUzUxMiJ9.{claims}.{signature}"),
            format!("{header}.{service}.{signature}"),
            format!("{header}.{claims}."),
            format!("{header}.{claims}"),
            format!("{token}x"),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(key.verify(&changed, now), Err(InvalidToken::Broken), "{changed}");
        }
        for other in [TokenKey::derived("secret2").unwrap(), TokenKey::from_secret("secret")] {
            assert_eq!(other.verify(&token, now), Err(InvalidToken::Broken));
        }
    }

    #[test]
    fn a_signed_token_without_an_end_or_with_an_impossible_bearer_is_broken() {
        let key = TokenKey::derived("secret").unwrap();
        let now = at("2026-11-24T00:00:00Z");
        let sign = |claims: serde_json::Value| {
            let mut signed = Claims::new(claims);
            signed.expiration = instant(at("2026-11-25T00:00:00Z"));
            Hs256.token(&Header::empty(), &signed, &key.0).unwrap()
        };
        for claims in [
            serde_json::json!({ "role": "admin" }),
            serde_json::json!({ "role": "app" }),
            serde_json::json!({ "role": "app", "tenant": "a/b" }),
            serde_json::json!({}),
        ] {
            assert_eq!(key.verify(&sign(claims.clone()), now), Err(InvalidToken::Broken), "{claims}");
        }
        let endless = Hs256.token(&Header::empty(), &Claims::new(app()), &key.0).unwrap();
        assert_eq!(key.verify(&endless, now), Err(InvalidToken::Broken));
    }
}
