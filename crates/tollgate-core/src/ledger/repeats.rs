//! What a hold remembers of its extensions and readings, so that a repeat of one is recognized, however old it is: the latest whole, the
//! others by a fingerprint. A tenant may have ten thousand holds, and a sandbox is metered every minute.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::command::{ExtendRequest, Reading};
use crate::fault::{self, Fault};

/// The most extensions, and the most readings, that one hold takes. They are remembered to the last one, so the next is refused.
pub const MAX_CHANGES: usize = 10_000;
/// The most extensions and readings that the open holds of one tenant remember by their fingerprints, 24 bytes each.
pub const MAX_FINGERPRINTS: usize = 250_000;

/// How many are remembered whole: what a reading that ends a call says, and what people look at.
const KEPT_WHOLE: usize = 2;
/// How many the entries of before remembered; the others were forgotten.
const REMEMBERED_BEFORE: usize = 8;
/// By so much room grows, so that a hold with a few does not pay for many.
const ROOM: usize = 16;

/// A change of a hold that its caller may ask for again.
pub(super) trait Change: PartialEq + Serialize {
    fn id(&self) -> &str;
}

impl Change for ExtendRequest {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl Change for Reading {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

/// What is remembered of older changes, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprints(Vec<Fingerprint>);

/// 128 bits for the id, which nobody finds a second one for, not even who may choose both; 64 for the content, with which a caller could at most take
/// its own other words for a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    id: [u8; 16],
    content: [u8; 8],
}

/// Whether a change was made before: with the same content, or with another. None where it is new.
pub(super) fn known<T: Change>(latest: &[T], older: &Fingerprints, change: &T) -> Option<bool> {
    if let Some(known) = latest.iter().find(|known| known.id() == change.id()) {
        return Some(known == change);
    }
    // Nearly always there are none: nothing has to be hashed.
    if older.is_empty() || fault::on(Fault::OldRepeatIsForgotten) {
        return None;
    }
    let id = digest(change.id().as_bytes());
    let known = older.0.iter().find(|known| known.id == id)?;
    Some(known.content == content(change) || fault::on(Fault::OldRepeatMayDiffer))
}

/// Remembers one more. `counted` says whether the entry that tells of it counts those before: the entries of before do not, and what they led to stays as it was.
pub(super) fn remember<T: Change>(latest: &mut Vec<T>, older: &mut Fingerprints, change: T, counted: bool) {
    latest.push(change);
    let whole = if counted { KEPT_WHOLE } else { REMEMBERED_BEFORE };
    let old = latest.len().saturating_sub(whole);
    for change in latest.drain(..old) {
        if counted {
            older.push(Fingerprint { id: digest(change.id().as_bytes()), content: content(&change) });
        }
    }
}

impl Fingerprints {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    fn push(&mut self, fingerprint: Fingerprint) {
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(ROOM.max(self.0.len() / 4));
        }
        self.0.push(fingerprint);
    }
}

fn digest<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
    let mut digest = [0; SIZE];
    digest.iter_mut().zip(Sha256::digest(bytes)).for_each(|(byte, hashed)| *byte = hashed);
    digest
}

/// Of all that a change says, as it is stored: the same content has the same text.
fn content(change: &impl Change) -> [u8; 8] {
    // What has no text has never been stored.
    digest(tollgate_json::to_string(change).unwrap_or_default().as_bytes())
}

impl Serialize for Fingerprints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|known| known.id.into_iter().chain(known.content)).collect();
        serializer.serialize_str(&BASE64.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Fingerprints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let (known, rest) = bytes.as_chunks::<24>();
        if !rest.is_empty() {
            return Err(D::Error::custom("fingerprints have 24 bytes each"));
        }
        let fingerprint = |bytes: &[u8; 24]| {
            let (id, content) = bytes.split_first_chunk::<16>()?;
            Some(Fingerprint { id: *id, content: *content.first_chunk::<8>()? })
        };
        Ok(Self(known.iter().filter_map(fingerprint).collect()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn extension(id: &str, ttl_seconds: u32) -> ExtendRequest {
        ExtendRequest { id: id.parse().unwrap(), ttl_seconds: Some(ttl_seconds), estimate: None }
    }

    #[test]
    fn every_change_is_remembered_and_read_back() {
        let (mut latest, mut older) = (Vec::new(), Fingerprints::default());
        for number in 0..100 {
            remember(&mut latest, &mut older, extension(&format!("x-{number}"), 60), true);
        }
        assert_eq!((latest.len(), older.len()), (2, 98));
        let text = serde_json::to_string(&older).unwrap();
        assert_eq!(text.len(), 98 * 32 + 2, "32 characters each");
        let older: Fingerprints = serde_json::from_str(&text).unwrap();
        for number in 0..100 {
            let id = format!("x-{number}");
            assert_eq!(known(&latest, &older, &extension(&id, 60)), Some(true));
            assert_eq!(known(&latest, &older, &extension(&id, 61)), Some(false));
        }
        assert_eq!(known(&latest, &older, &extension("x-100", 60)), None);
    }

    #[test]
    fn what_entries_of_before_forgot_stays_forgotten() {
        let (mut latest, mut older) = (Vec::new(), Fingerprints::default());
        for number in 0..20 {
            remember(&mut latest, &mut older, extension(&format!("x-{number}"), 60), false);
        }
        assert_eq!((latest.len(), older.len()), (8, 0));
        assert_eq!(known(&latest, &older, &extension("x-11", 60)), None);
        remember(&mut latest, &mut older, extension("x-20", 60), true);
        assert_eq!((latest.len(), older.len()), (2, 7));
        assert_eq!(known(&latest, &older, &extension("x-12", 60)), Some(true));
    }

    #[test]
    fn damaged_fingerprints_are_refused() {
        for damaged in ["\"!\"", "\"AAAA\"", "7"] {
            assert!(serde_json::from_str::<Fingerprints>(damaged).is_err(), "{damaged}");
        }
    }
}
