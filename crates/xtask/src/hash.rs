//! Fingerprints of files, by which a later run knows that nothing changed.

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// SHA-256 of each part after the other, in hex. Lengths go in too, so that parts cannot run into each other.
pub fn of_parts(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of the contents of files, in the order given.
pub fn of_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<String> {
    let mut contents = Vec::new();
    for file in files {
        contents.push(std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    let parts: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    Ok(of_parts(&parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(of_parts(&[b"ab", b"c"]), of_parts(&[b"a", b"bc"]));
        assert_eq!(of_parts(&[b"ab", b"c"]), of_parts(&[b"ab", b"c"]));
    }
}
