//! Problem documents (RFC 9457) with stable codes.

use std::borrow::Cow;

use serde::Serialize;

use super::holds_body::TooManyHoldsBody;
use super::quota_body::{DenialBody, Names};
use crate::extract::ExtractError;
use crate::ledger::{Denial, EndState, Ledger, Rejection, TooManyHolds};
use crate::price::Unpriced;

/// What a caller can do about an error. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Mend the field named.
    InvalidRequest,
    /// Send a token.
    Unauthorized,
    /// Use a token that may do this.
    Forbidden,
    /// There is no such route, credit or increase.
    NotFound,
    /// Onboard the tenant first.
    TenantNotFound,
    /// Reserve first.
    ReservationNotFound,
    /// Set the quota first.
    QuotaNotFound,
    /// Use one of the methods in `Allow`.
    MethodNotAllowed,
    /// Use a new id.
    IdempotencyConflict,
    /// Revoke the quota's credits first, or say that they are forfeited.
    CreditsLeft,
    /// Look it up in the exported entries: it has ended, and was archived.
    Archived,
    /// Restore it from a backup.
    LedgerDamaged,
    /// Nothing: it was settled.
    AlreadySettled,
    /// Settle or release it first.
    StillHeld,
    /// Record what happened, if anything did.
    AlreadyReleased,
    /// Settle it late, if the call was made.
    AlreadyExpired,
    /// Send less.
    BodyTooLarge,
    /// Send it again, all of it.
    RequestTimeout,
    /// Send it as it is.
    UnsupportedEncoding,
    /// Open a WebSocket.
    UpgradeRequired,
    /// Give an amount, or set the policy's rule for unknown models.
    Unpriced,
    /// Settle by usage or amount.
    InvalidPayload,
    /// Wait, ask for less, or raise the limit.
    QuotaExceeded,
    /// Settle or release some holds.
    TooManyHolds,
    /// Settle the hold, and reserve anew.
    TooManyChanges,
    /// Retry with the same id.
    Internal,
    /// Retry with the same id, later.
    Unavailable,
    /// Set the Worker's secrets.
    NotConfigured,
}

impl Code {
    /// The code on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.parts().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.parts().1
    }

    const fn parts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid_request", 400, "Invalid request"),
            Self::Unauthorized => ("unauthorized", 401, "Unauthorized"),
            Self::Forbidden => ("forbidden", 403, "Forbidden"),
            Self::NotFound => ("not_found", 404, "Not found"),
            Self::TenantNotFound => ("tenant_not_found", 404, "Tenant not found"),
            Self::ReservationNotFound => ("reservation_not_found", 404, "Reservation not found"),
            Self::QuotaNotFound => ("quota_not_found", 404, "Quota not found"),
            Self::MethodNotAllowed => ("method_not_allowed", 405, "Method not allowed"),
            Self::IdempotencyConflict => ("idempotency_conflict", 409, "Idempotency conflict"),
            Self::CreditsLeft => ("credits_left", 409, "Credits left"),
            Self::Archived => ("archived", 410, "Archived"),
            Self::LedgerDamaged => ("ledger_damaged", 409, "Ledger damaged"),
            Self::AlreadySettled => ("already_settled", 409, "Already settled"),
            Self::StillHeld => ("still_held", 409, "Still held"),
            Self::AlreadyReleased => ("already_released", 409, "Already released"),
            Self::AlreadyExpired => ("already_expired", 409, "Already expired"),
            Self::BodyTooLarge => ("body_too_large", 413, "Body too large"),
            Self::RequestTimeout => ("request_timeout", 408, "Request timeout"),
            Self::UnsupportedEncoding => ("unsupported_encoding", 415, "Unsupported encoding"),
            Self::UpgradeRequired => ("upgrade_required", 426, "Upgrade required"),
            Self::Unpriced => ("unpriced", 422, "Unpriced"),
            Self::InvalidPayload => ("invalid_payload", 422, "Invalid payload"),
            Self::QuotaExceeded => ("quota_exceeded", 429, "Quota exceeded"),
            Self::TooManyHolds => ("too_many_holds", 429, "Too many holds"),
            Self::TooManyChanges => ("too_many_changes", 429, "Too many changes"),
            Self::Internal => ("internal", 500, "Internal error"),
            Self::Unavailable => ("unavailable", 503, "Unavailable"),
            Self::NotConfigured => ("not_configured", 503, "Not configured"),
        }
    }
}

/// An error as its caller sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What can be done about it.
    pub code: Code,
    /// What happened, in a sentence.
    pub detail: String,
    /// The field that is wrong, as a path on the wire.
    pub field: Option<String>,
    /// Which quotas did not fit.
    pub denial: Option<Box<Denial>>,
    /// Which cap on open holds is reached.
    pub holds: Option<Box<TooManyHolds>>,
}

impl Problem {
    /// A problem without a field.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, denial: None, holds: None }
    }

    /// A field that is wrong.
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl core::fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("{field}: {message}");
        Self { field: Some(field), ..Self::new(Code::InvalidRequest, detail) }
    }

    /// The same problem of a part of what was sent: its field is inside `outer`.
    #[must_use]
    pub fn inside(mut self, outer: &str) -> Self {
        if let Some(field) = &mut self.field {
            field.insert_str(0, &format!("{outer}."));
        }
        self
    }

    /// A provider's answer that gives no usage; `prefix` is where on the wire it was.
    #[must_use]
    pub fn payload(prefix: &str, error: &ExtractError) -> Self {
        let field = format!("{prefix}{}", error.field().trim_start_matches('$'));
        Self { field: Some(field), ..Self::new(Code::InvalidPayload, format!("{prefix}: {error}")) }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let detail = rejection.to_string();
        let code = match &rejection {
            Rejection::QuotaExceeded(_) => Code::QuotaExceeded,
            Rejection::TooManyHolds(_) => Code::TooManyHolds,
            Rejection::TooManyChanges(_) => Code::TooManyChanges,
            Rejection::TenantNotFound => Code::TenantNotFound,
            Rejection::ReservationNotFound(_) => Code::ReservationNotFound,
            Rejection::QuotaNotFound(_) => Code::QuotaNotFound,
            Rejection::NotFound(_) => Code::NotFound,
            Rejection::CreditsLeft { .. } => Code::CreditsLeft,
            Rejection::IdempotencyConflict(_) => Code::IdempotencyConflict,
            Rejection::AlreadyEnded { state, .. } => match state {
                EndState::Settled | EndState::Recorded => Code::AlreadySettled,
                EndState::Released => Code::AlreadyReleased,
                EndState::Expired => Code::AlreadyExpired,
            },
            Rejection::StillHeld(_) => Code::StillHeld,
            Rejection::Unpriced(_) => Code::Unpriced,
            Rejection::Invalid { .. } => Code::InvalidRequest,
        };
        let problem = Self::new(code, detail);
        match rejection {
            Rejection::QuotaExceeded(denial) => Self { denial: Some(denial), ..problem },
            Rejection::TooManyHolds(holds) => Self { holds: Some(holds), ..problem },
            Rejection::Invalid { field, .. } => Self { field: Some(field), ..problem },
            Rejection::Unpriced(unpriced) => Self { field: Some(unpriced_field(&unpriced).to_owned()), ..problem },
            _ => problem,
        }
    }
}

impl From<Unpriced> for Problem {
    fn from(unpriced: Unpriced) -> Self {
        Rejection::from(unpriced).into()
    }
}

const fn unpriced_field(unpriced: &Unpriced) -> &'static str {
    use crate::catalog::NoRates;
    match unpriced {
        Unpriced::NoRates(NoRates::UnknownMode { .. }) => "mode",
        Unpriced::NoRates(NoRates::UnknownRegion { .. }) => "region",
        Unpriced::NoRates(_) => "model",
        Unpriced::MissingResource { resource, .. } => resource,
        Unpriced::NotASandbox { .. } => "sandbox",
        Unpriced::Meter { .. } | Unpriced::TooLarge | Unpriced::TooMuch { .. } => "usage",
    }
}

/// The most bytes of a sentence, and of a field's path, as they stand in a problem document. What callers call things goes into both, and may be as long as a body.
const MAX_DETAIL_BYTES: usize = 2048;
const MAX_FIELD_BYTES: usize = 512;

/// A text whose JSON is not longer than so many bytes: what is too much is left out in the middle, because it is the ends that say what is wrong.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most && written(text.chars()) <= most {
        return Cow::Borrowed(text);
    }
    let half = (most - "…".len()) / 2;
    let head = fitting(text.chars(), half);
    let tail = text.len().saturating_sub(fitting(text.chars().rev(), half));
    let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
    Cow::Owned(part(text.get(..head)) + "…" + &part(text.get(tail..)))
}

/// How long a text is whose characters come one by one, until its JSON would be longer than so many bytes.
fn fitting(chars: impl Iterator<Item = char>, most: usize) -> usize {
    let mut bytes = 0;
    let fit = chars.take_while(|char| {
        bytes += written([*char]);
        bytes <= most
    });
    fit.map(char::len_utf8).sum()
}

/// How many bytes characters take in JSON.
fn written(chars: impl IntoIterator<Item = char>) -> usize {
    let bytes = |char: char| match char {
        '"' | '\\' => 2,
        char if char < ' ' => 6,
        char => char.len_utf8(),
    };
    chars.into_iter().map(bytes).sum()
}

/// The document as it is sent: 4 KiB at most, besides the denial.
#[derive(Serialize)]
pub(super) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<DenialBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<TooManyHoldsBody<'a>>,
}

impl<'a> ProblemBody<'a> {
    /// Beside the states of a batch, where there are names to which they belong.
    pub(super) fn new(problem: &'a Problem, beside: Option<(&Ledger, &mut Names)>) -> Self {
        let (code, status, title) = problem.code.parts();
        Self {
            kind: format!("urn:tollgate:problem:{code}"),
            title,
            status,
            code,
            detail: cut(&problem.detail, MAX_DETAIL_BYTES),
            field: problem.field.as_deref().map(|field| cut(field, MAX_FIELD_BYTES)),
            denial: problem.denial.as_deref().map(|denial| DenialBody::new(denial, beside)),
            holds: problem.holds.as_deref().map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_left_out_in_the_middle() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("much too long", 9), "muc…ong");
        assert_eq!(cut("ääääääää", 11), "ää…ää");
        for text in ["x", "\u{1}", "\"", "\\", "ä", "😀"].map(|part| part.repeat(5_000)) {
            for most in [MAX_DETAIL_BYTES, MAX_FIELD_BYTES] {
                let written = tollgate_json::to_string(&cut(&text, most)).map_or(usize::MAX, |text| text.len());
                assert!((most - 30..=most + 2).contains(&written), "{written} of {most}");
            }
        }
    }
}
