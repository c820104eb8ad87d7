//! The Worker's secrets, and from what a request brings to a caller.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tollgate_core::api::{Code, Problem};
use tollgate_core::time::Timestamp;

use crate::access::Caller;
use crate::token::{Accepted, Bearer, InvalidToken, Subject, Ticket, TicketRole, TokenKey};

/// The fewest characters of a secret. With fewer, somebody who has a token could guess the key that signed it, at leisure.
pub const MIN_SECRET: usize = 32;

/// The Worker's secrets.
pub struct Secrets {
    /// Kept as its hash: hashes have one length and differ everywhere, so that neither the length nor a common start can be timed.
    admin: [u8; 32],
    signing_key: TokenKey,
}

/// Why the Worker lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misconfigured {
    /// The secret that is to be set.
    name: &'static str,
    flaw: Flaw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Missing,
    Short,
    /// No header field can carry it.
    Unsendable,
    /// It is the other one.
    Reused,
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
    /// `admin_token` and `signing_secret` as they are configured. White space around them is no part of them: whoever sets a secret from a file
    /// or a command sends its line feed along.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn new(admin_token: Option<&str>, signing_secret: Option<&str>) -> Result<Self, Misconfigured> {
        let admin_token = secret(ADMIN_TOKEN, admin_token)?;
        if !admin_token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Misconfigured { name: ADMIN_TOKEN, flaw: Flaw::Unsendable });
        }
        let signing_secret = secret(TOKEN_SIGNING_KEY, signing_secret)?;
        if admin_token == signing_secret {
            return Err(Misconfigured { name: TOKEN_SIGNING_KEY, flaw: Flaw::Reused });
        }
        Ok(Self { admin: Sha256::digest(admin_token).into(), signing_key: TokenKey::from_secret(signing_secret) })
    }

    /// Signs tokens.
    #[must_use]
    pub const fn signing_key(&self) -> &TokenKey {
        &self.signing_key
    }

    /// Who calls, by the value of the `Authorization` header.
    ///
    /// # Errors
    /// There is no token, or it is not accepted.
    pub fn authenticate(&self, authorization: Option<&str>, now: Timestamp) -> Result<Identity, Problem> {
        let token = authorization.and_then(bearer_token);
        let token = token.ok_or_else(|| unauthorized("send a token: `Authorization: Bearer …`"))?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        if bool::from(self.admin.ct_eq(&digest)) {
            return Ok(Identity { caller: Caller::Admin, until: None });
        }
        let Accepted { what, ends, .. } = self.verify("token", token, now)?;
        let caller = match what {
            Bearer::Service => Caller::Service,
            Bearer::App { tenant } => Caller::Tenant { tenant, read_only: false },
            Bearer::Read { tenant } => Caller::Tenant { tenant, read_only: true },
        };
        Ok(Identity { caller, until: Some(ends) })
    }

    /// Who opens a connection to a tenant's ledger, by a ticket, and the ticket's id: that it is used once is for the tenant's object to see to.
    ///
    /// # Errors
    /// The ticket is not accepted, or is for another tenant.
    pub fn admit(&self, ticket: &str, tenant: &str, now: Timestamp) -> Result<(Identity, String), Problem> {
        let Accepted { id, what, .. } = self.verify::<Ticket>("ticket", ticket, now)?;
        if what.tenant.as_str() != tenant {
            return Err(Problem::new(Code::Forbidden, "this ticket is for another tenant"));
        }
        let until = what.until;
        let caller = match what.role {
            TicketRole::Admin => Caller::Admin,
            TicketRole::Service => Caller::Service,
            TicketRole::App => Caller::Tenant { tenant: what.tenant, read_only: false },
        };
        Ok((Identity { caller, until }, id))
    }

    fn verify<T: Subject>(&self, kind: &str, token: &str, now: Timestamp) -> Result<Accepted<T>, Problem> {
        self.signing_key.verify(token, now).map_err(|invalid| {
            unauthorized(&match invalid {
                InvalidToken::Expired => format!("the {kind} has expired"),
                InvalidToken::Early => format!("the {kind} is not valid yet: the clock that made it is ahead"),
                InvalidToken::Broken => format!("the {kind} is not accepted"),
            })
        })
    }
}

impl Misconfigured {
    /// As whoever calls sees it, so that it is the first thing that one who deploys sees. It says nothing about the secrets but that.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let Self { name, flaw } = self;
        let flaw = match flaw {
            Flaw::Missing => "is not set",
            Flaw::Short => "has fewer than 32 characters",
            Flaw::Unsendable => "has characters that no header can carry",
            Flaw::Reused => "is the same as ADMIN_TOKEN",
        };
        let detail = format!(
            "this Worker lets nobody in: its secret {name} {flaw}. Make one: `openssl rand -hex 32 | npx wrangler secret put {name}`; \
             for workerd, set TOLLGATE_{name} to one"
        );
        Problem::new(Code::NotConfigured, detail)
    }
}

/// The secret with which everything may be done.
const ADMIN_TOKEN: &str = "ADMIN_TOKEN";
/// The secret that signs tokens.
const TOKEN_SIGNING_KEY: &str = "TOKEN_SIGNING_KEY";

fn secret<'a>(name: &'static str, configured: Option<&'a str>) -> Result<&'a str, Misconfigured> {
    let secret = configured.map_or("", str::trim);
    let flaw = match secret.chars().count() {
        0 => Flaw::Missing,
        count if count < MIN_SECRET => Flaw::Short,
        _ => return Ok(secret),
    };
    Err(Misconfigured { name, flaw })
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
    use crate::token::TICKET_SECONDS;

    const ADMIN: &str = "admin-0123456789abcdef0123456789";
    const SIGNING: &str = "signs-0123456789abcdef0123456789";

    fn now() -> Timestamp {
        "2026-11-24T00:00:00Z".parse().unwrap()
    }

    fn secrets() -> Secrets {
        Secrets::new(Some(ADMIN), Some(SIGNING)).ok().unwrap()
    }

    fn flaw(admin: Option<&str>, signing: Option<&str>) -> Option<(&'static str, Flaw)> {
        Secrets::new(admin, signing).err().map(|Misconfigured { name, flaw }| (name, flaw))
    }

    #[test]
    fn the_admin_token_is_the_admin_token_and_nothing_else_is() {
        let secrets = secrets();
        for header in [format!("Bearer {ADMIN}"), format!("bearer  {ADMIN} "), format!(" BEARER {ADMIN}")] {
            assert_eq!(secrets.authenticate(Some(&header), now()).unwrap().caller, Caller::Admin, "{header}");
        }
        for header in [
            ADMIN.to_owned(),
            format!("Basic {ADMIN}"),
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {}", ADMIN.to_uppercase()),
            format!("Bearer {}", &ADMIN[1..]),
            format!("Bearer {ADMIN}x"),
            // The signing secret is no admin token.
            format!("Bearer {SIGNING}"),
        ] {
            let refused = secrets.authenticate(Some(&header), now()).unwrap_err();
            assert_eq!(refused.code, Code::Unauthorized, "{header}");
        }
        assert_eq!(secrets.authenticate(None, now()).unwrap_err().code, Code::Unauthorized);
    }

    #[test]
    fn both_secrets_are_demanded_and_they_are_long_and_two() {
        let (long, short) = ("x".repeat(32), "x".repeat(31));
        for (admin, signing, expected) in [
            (None, Some(SIGNING), (ADMIN_TOKEN, Flaw::Missing)),
            (Some(""), Some(SIGNING), (ADMIN_TOKEN, Flaw::Missing)),
            (Some(" \n"), Some(SIGNING), (ADMIN_TOKEN, Flaw::Missing)),
            (Some(&*short), Some(SIGNING), (ADMIN_TOKEN, Flaw::Short)),
            (Some(&*format!(" {short}\n")), Some(SIGNING), (ADMIN_TOKEN, Flaw::Short)),
            (Some("0123456789abcdef 0123456789abcdef"), Some(SIGNING), (ADMIN_TOKEN, Flaw::Unsendable)),
            (Some(&*"é".repeat(32)), Some(SIGNING), (ADMIN_TOKEN, Flaw::Unsendable)),
            (Some(ADMIN), None, (TOKEN_SIGNING_KEY, Flaw::Missing)),
            (Some(ADMIN), Some(&*short), (TOKEN_SIGNING_KEY, Flaw::Short)),
            (Some(ADMIN), Some(&*format!("{ADMIN}\n")), (TOKEN_SIGNING_KEY, Flaw::Reused)),
        ] {
            assert_eq!(flaw(admin, signing), Some(expected), "{admin:?} {signing:?}");
        }
        assert_eq!(flaw(Some(&long), Some(&format!("{long}é y"))), None);
        let problem = Secrets::new(Some(ADMIN), Some(&short)).err().unwrap().problem();
        assert_eq!(problem.code.status(), 503);
        assert!(problem.detail.contains("npx wrangler secret put TOKEN_SIGNING_KEY"), "{}", problem.detail);
        assert!(!problem.detail.contains(&short));
    }

    #[test]
    fn a_line_feed_after_a_secret_is_no_part_of_it() {
        let spaced = Secrets::new(Some(&format!("{ADMIN}\n")), Some(&format!(" {SIGNING}\r\n"))).ok().unwrap();
        assert!(spaced.authenticate(Some(&format!("Bearer {ADMIN}")), now()).is_ok());
        let token = secrets().signing_key().issue(&Bearer::Service, "t-1", now(), 60).unwrap().token;
        let identity = spaced.authenticate(Some(&format!("Bearer {token}")), now()).unwrap();
        assert_eq!(identity, Identity { caller: Caller::Service, until: Some(now().plus_seconds(60)) });
    }

    #[test]
    fn a_ticket_lets_in_whom_it_was_made_for() {
        let secrets = secrets();
        let until = Some(now().plus_seconds(3600));
        let ticket = |role| {
            let ticket = Ticket { tenant: "acme".parse().unwrap(), role, until };
            secrets.signing_key().issue(&ticket, "c-1", now(), TICKET_SECONDS).unwrap().token
        };
        let app = Caller::Tenant { tenant: "acme".parse().unwrap(), read_only: false };
        for (role, caller) in
            [(TicketRole::App, app), (TicketRole::Service, Caller::Service), (TicketRole::Admin, Caller::Admin)]
        {
            let admitted = secrets.admit(&ticket(role), "acme", now()).unwrap();
            assert_eq!(admitted, (Identity { caller, until }, "c-1".to_owned()));
            assert_eq!(secrets.admit(&ticket(role), "other", now()).unwrap_err().code, Code::Forbidden);
            let late = secrets.admit(&ticket(role), "acme", now().plus_seconds(TICKET_SECONDS + 1)).unwrap_err();
            assert_eq!(late.code, Code::Unauthorized);
            let header = format!("Bearer {}", ticket(role));
            assert_eq!(secrets.authenticate(Some(&header), now()).unwrap_err().code, Code::Unauthorized);
        }
        assert!(secrets.admit(ADMIN, "acme", now()).is_err());
    }
}
