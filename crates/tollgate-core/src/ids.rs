//! Ids and names from outside, each a type of its own, checked when it is made.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest id or name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 512;

/// Why a text is not an id or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Empty, or longer than [`MAX_NAME_BYTES`].
    #[error("must have 1 to 128 characters")]
    Length,
    /// An id has a character that it cannot have in a path.
    #[error("can have visible ASCII characters only, without / ? # % \" \\ < >")]
    IdCharacter,
    /// A reason is empty, or longer than [`MAX_REASON_BYTES`].
    #[error("must have 1 to 512 characters")]
    ReasonLength,
    /// A name has a control character.
    #[error("cannot have control characters")]
    ControlCharacter,
}

fn check_id(text: &str) -> Result<(), InvalidName> {
    check_length(text)?;
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"/?#%\"\\<>".contains(&byte);
    // "." and ".." would be resolved away in a URL.
    if text.bytes().all(fits) && text != "." && text != ".." { Ok(()) } else { Err(InvalidName::IdCharacter) }
}

fn check_name(text: &str) -> Result<(), InvalidName> {
    check_length(text)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidName::ControlCharacter);
    }
    Ok(())
}

fn check_reason(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > MAX_REASON_BYTES {
        return Err(InvalidName::ReasonLength);
    }
    if text.chars().any(char::is_control) {
        return Err(InvalidName::ControlCharacter);
    }
    Ok(())
}

const fn check_length(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > MAX_NAME_BYTES {
        return Err(InvalidName::Length);
    }
    Ok(())
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        text_type!($(#[$doc])* $name, $check, "a string of 1 to 128 characters");
    };
    ($(#[$doc:meta])* $name:ident, $check:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                // Most that are compared are one text, known in several places.
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

text_type!(
    /// Names a tenant: the customer whose budget is kept in one ledger.
    TenantId, check_id
);
text_type!(
    /// Names a user of a tenant.
    UserId, check_id
);
text_type!(
    /// Names a reservation or a record; chosen by the caller, it is the idempotency key.
    ReservationId, check_id
);
text_type!(
    /// Names one extension of a reservation; chosen by the caller, so that an extension repeats safely.
    ExtensionId, check_id
);
text_type!(
    /// Names what posts adjusting entries; chosen by the caller, so that it repeats safely.
    AdjustmentId, check_id
);
text_type!(
    /// Names one refund of a charge; chosen by the caller, so that a refund repeats safely.
    RefundId, check_id
);
text_type!(
    /// Why somebody did something, in their own words.
    Reason, check_reason, "a string of 1 to 512 characters"
);
text_type!(
    /// Names one meter reading of a reservation; chosen by the caller, so that a reading repeats safely.
    ReadingId, check_id
);
text_type!(
    /// Names a credit of a quota; chosen by the caller, so that a top-up repeats safely.
    CreditId, check_id
);
text_type!(
    /// Names an increase of a quota's limit; chosen by the caller, so that it repeats safely.
    IncreaseId, check_id
);
text_type!(
    /// Names a quota within its tenant.
    QuotaId, check_id
);
text_type!(
    /// Names a plan of the policy.
    PlanName, check_id
);
text_type!(
    /// A provider, model, region, touchpoint or conversation as the caller or the provider writes it.
    Name, check_name
);

impl PlanName {
    /// The plan that exists without any policy.
    #[must_use]
    pub fn default_plan() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn ids_are_safe_in_a_path() {
        for good in ["acme", "01J-x_y.z:1", "auth0|7", "a@b.example", &"x".repeat(128)] {
            assert_eq!(good.parse::<TenantId>().unwrap().as_str(), good);
        }
        for (bad, why) in [
            ("", InvalidName::Length),
            (&*"x".repeat(129), InvalidName::Length),
            ("a/b", InvalidName::IdCharacter),
            ("a b", InvalidName::IdCharacter),
            ("a%2f", InvalidName::IdCharacter),
            ("é", InvalidName::IdCharacter),
            ("..", InvalidName::IdCharacter),
            ("a\n", InvalidName::IdCharacter),
        ] {
            assert_eq!(bad.parse::<TenantId>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn names_may_be_what_people_write() {
        for good in ["agent:global-regulatory", "openai/gpt-oss-120b", "größe 1"] {
            assert!(good.parse::<Name>().is_ok());
        }
        assert_eq!("a\u{0}b".parse::<Name>(), Err(InvalidName::ControlCharacter));
    }

    #[test]
    fn reasons_are_a_line_of_text() {
        assert!("x".repeat(512).parse::<Reason>().is_ok());
        for (bad, why) in [
            ("", InvalidName::ReasonLength),
            (&*"x".repeat(513), InvalidName::ReasonLength),
            ("a\nb", InvalidName::ControlCharacter),
        ] {
            assert_eq!(bad.parse::<Reason>(), Err(why));
        }
    }
}
