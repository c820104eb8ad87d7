//! The ids of credits and increases that no quota remembers any more: it is gone, counts something else, or has had too many since. None of them pays in again.
//!
//! Only digests are kept, sixteen bytes for each: of the id, and of what was asked under it, so that the same again is told from something else.

use serde::{Deserialize, Serialize};

use super::funds::{Credit, Increase};
use crate::ids::QuotaId;

/// The most ids that are remembered so. Where a quota with many is removed there may be more.
const MAX_USED_IDS: usize = 100_000;

/// Something that was asked under an id of the caller's.
pub(super) enum Used {
    Credit(Credit),
    Increase(Increase),
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct UsedIds(
    /// Ascending by the first: the digest of the id with its quota's, and the digest of the content.
    Vec<(u64, u64)>,
);

impl UsedIds {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.0.len() >= MAX_USED_IDS
    }

    pub(super) fn add_all(&mut self, quota: &QuotaId, used: impl IntoIterator<Item = Used>) {
        for used in used {
            let (id, content) = used.digests(quota);
            if let Err(place) = self.0.binary_search_by_key(&id, |(id, _)| *id) {
                self.0.insert(place, (id, content));
            }
        }
    }

    /// Whether an id was used, and if so, whether for the same.
    pub(super) fn find(&self, quota: &QuotaId, used: &Used) -> Option<bool> {
        if self.0.is_empty() {
            return None;
        }
        let (id, content) = used.digests(quota);
        let place = self.0.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.0.get(place).map(|(_, known)| *known == content)
    }
}

impl Used {
    fn digests(&self, quota: &QuotaId) -> (u64, u64) {
        let (kind, id, content) = match self {
            Self::Credit(credit) => ("credit", credit.id.as_str(), tollgate_json::to_string(credit)),
            Self::Increase(increase) => ("increase", increase.id.as_str(), tollgate_json::to_string(increase)),
        };
        // Neither has anything that JSON lacks.
        (digest(&[kind, quota.as_str(), id]), digest(&[&content.unwrap_or_default()]))
    }
}

/// FNV-1a, whose bits are then mixed. It is stored: it must stay as it is. Only an administrator chooses what goes in, and two that are alike by chance among
/// 100,000 are one case in a hundred million such ledgers.
fn digest(texts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for text in texts {
        // No id has a line feed.
        for byte in text.bytes().chain([b'\n']) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
