//! Looks up names of the price list. Anybody can ask for a name and nobody can add one, so that the hash needs no secret: FNV-1a, which is short, and fast for
//! short texts.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::HashMap;

/// Something by a name of the price list.
pub(super) type ByName<T> = HashMap<Box<str>, T, BuildHasherDefault<NameHasher>>;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
