//! From the `Authorization` header to a caller.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tollgate_core::api::{Code, Problem};
use tollgate_core::time::Timestamp;

use crate::access::Caller;
use crate::token::{Bearer, InvalidToken, TokenKey};

/// The Worker's secrets.
pub struct Secrets {
    admin_token: Option<String>,
    signing_key: Option<TokenKey>,
}

/// Who calls, and for how long that is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub caller: Caller,
    /// When the token ends; none for the admin's.
    pub until: Option<Timestamp>,
}

impl Secrets {
    /// `admin_token` and `signing_secret` as they are configured; an empty one counts as none. Without a signing secret of its own
    /// the signing key is derived from the admin token.
    #[must_use]
    pub fn new(admin_token: Option<String>, signing_secret: Option<String>) -> Self {
        let admin_token = admin_token.filter(|secret| !secret.is_empty());
        let signing_key = match signing_secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => Some(TokenKey::from_secret(&secret)),
            None => admin_token.as_deref().and_then(TokenKey::derived),
        };
        Self { admin_token, signing_key }
    }

    /// Signs tokens; none where nothing is configured.
    #[must_use]
    pub const fn signing_key(&self) -> Option<&TokenKey> {
        self.signing_key.as_ref()
    }

    /// Who calls, by the value of the `Authorization` header.
    ///
    /// # Errors
    /// There is no token, or it is not accepted.
    pub fn authenticate(&self, authorization: Option<&str>, now: Timestamp) -> Result<Identity, Problem> {
        self.identify(authorization.and_then(bearer_token), now)
    }

    /// Who calls, by the token.
    ///
    /// # Errors
    /// There is no token, or it is not accepted.
    pub fn identify(&self, token: Option<&str>, now: Timestamp) -> Result<Identity, Problem> {
        let token = token.ok_or_else(|| unauthorized("send a token: `Authorization: Bearer …`"))?;
        if let Some(admin) = &self.admin_token {
            // Hashes have one length and differ everywhere, so neither the length nor a common start can be timed.
            if bool::from(Sha256::digest(admin).ct_eq(&Sha256::digest(token))) {
                return Ok(Identity { caller: Caller::Admin, until: None });
            }
        }
        let Some(key) = &self.signing_key else {
            return Err(unauthorized("this Worker has no secret ADMIN_TOKEN yet, so it accepts no token"));
        };
        let (bearer, until) = key.verify(token, now).map_err(|invalid| match invalid {
            InvalidToken::Expired => unauthorized("the token has expired"),
            InvalidToken::Broken => unauthorized("the token is not accepted"),
        })?;
        let caller = match bearer {
            Bearer::Service => Caller::Service,
            Bearer::App { tenant } => Caller::Tenant { tenant, read_only: false },
            Bearer::Read { tenant } => Caller::Tenant { tenant, read_only: true },
        };
        Ok(Identity { caller, until: Some(until) })
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(Code::Unauthorized, detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn now() -> Timestamp {
        "2026-11-24T00:00:00Z".parse().unwrap()
    }

    fn secrets(admin: &str, signing: &str) -> Secrets {
        Secrets::new(Some(admin.to_owned()), Some(signing.to_owned()))
    }

    #[test]
    fn the_admin_token_is_the_admin_token_and_nothing_else_is() {
        let secrets = secrets("s3cret", "");
        for header in ["Bearer s3cret", "bearer  s3cret ", " BEARER s3cret"] {
            assert_eq!(secrets.authenticate(Some(header), now()).unwrap().caller, Caller::Admin, "{header}");
        }
        for header in ["s3cret", "Basic s3cret", "Bearer", "Bearer ", "Bearer S3cret", "Bearer s3cre", "Bearer s3crett"]
        {
            let refused = secrets.authenticate(Some(header), now()).unwrap_err();
            assert_eq!(refused.code, Code::Unauthorized, "{header}");
        }
        assert_eq!(secrets.authenticate(None, now()).unwrap_err().code, Code::Unauthorized);
    }

    #[test]
    fn without_a_secret_nobody_is_let_in() {
        for secrets in [secrets("", ""), Secrets::new(None, None)] {
            for header in ["Bearer ", "Bearer x", "Bearer e30.e30."] {
                assert!(secrets.authenticate(Some(header), now()).is_err(), "{header}");
            }
            assert!(secrets.signing_key().is_none());
        }
    }

    #[test]
    fn tokens_are_signed_by_the_secret_for_it_where_there_is_one() {
        let issued = |secrets: &Secrets| {
            let key = secrets.signing_key().unwrap();
            format!("Bearer {}", key.issue(&Bearer::Service, now(), 60).unwrap().0)
        };
        let (derived, own) = (secrets("admin", ""), secrets("admin", "own"));
        let service = Identity { caller: Caller::Service, until: Some(now().plus_seconds(60)) };
        assert_eq!(derived.authenticate(Some(&issued(&derived)), now()).unwrap(), service);
        assert_eq!(own.authenticate(Some(&issued(&own)), now()).unwrap(), service);
        assert!(own.authenticate(Some(&issued(&derived)), now()).is_err());
        // The signing secret is no admin token.
        assert!(own.authenticate(Some("Bearer own"), now()).is_err());
    }
}
