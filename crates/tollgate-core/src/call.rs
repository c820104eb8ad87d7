//! The paid call: what is paid for, for whom, and from where in the app.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::catalog::{Mode, Terms};
use crate::ids::{Name, UserId};
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// What kind of budget a call draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A call of a language model.
    Llm,
    /// The life of a sandbox.
    E2b,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Llm => "llm",
            Self::E2b => "e2b",
        })
    }
}

/// Who makes a call, of what, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// What kind of budget it draws on.
    pub resource: Resource,
    /// The tenant's user for whom it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Who bills for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Name>,
    /// The model, or the sandbox tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Name>,
    /// How it is processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Where it is processed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Name>,
    /// Where in the app it comes from.
    #[serde(default, skip_serializing_if = "Attribution::is_empty")]
    pub attribution: Attribution,
}

impl Call {
    /// What chooses among a rate card's rates, for this call made at an instant.
    #[must_use]
    pub const fn terms(&self, at: Timestamp) -> Terms<'_> {
        Terms { at, mode: self.mode, region: self.region.as_ref() }
    }
}

/// Where in the app a call comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attribution {
    /// The place in the app that spends, such as `main-chat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touchpoint: Option<Name>,
    /// The conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<Name>,
    /// Anything else the app wants to find again.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

impl Attribution {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.touchpoint.is_none() && self.conversation_id.is_none() && self.tags.is_empty()
    }
}

/// Free key-value pairs: at most [`Tags::MAX`], names of 1 to 64 and values of up to 256 bytes, all together up to
/// [`Tags::MAX_BYTES`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Tags(SortedMap<String, String>);

impl Tags {
    /// The most tags a call may have.
    pub const MAX: usize = 16;
    /// The most bytes of all names and values: every open hold has its tags in memory and in each snapshot.
    pub const MAX_BYTES: usize = 1_024;

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Checked inside the visitor, so that an error is placed at the tags and not at what holds them.
        struct Pairs;
        impl<'de> de::Visitor<'de> for Pairs {
            type Value = Tags;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Tags, A::Error> {
                let mut tags = SortedMap::new();
                let mut bytes = 0;
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if key.is_empty() || key.len() > 64 {
                        return Err(de::Error::custom("a tag's name has 1 to 64 characters"));
                    }
                    if value.len() > 256 {
                        return Err(de::Error::custom("a tag's value has 256 characters at most"));
                    }
                    bytes += key.len() + value.len();
                    if bytes > Tags::MAX_BYTES {
                        return Err(de::Error::custom("tags have 1024 characters at most, all together"));
                    }
                    tags.insert(key, value);
                    if tags.len() > Tags::MAX {
                        return Err(de::Error::custom("at most 16 tags"));
                    }
                }
                Ok(Tags(tags))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
