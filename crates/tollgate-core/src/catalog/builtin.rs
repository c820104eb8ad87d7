//! The catalog that ships with Tollgate, in its compact form. `cargo xtask catalog update` writes it from the data files in the folder `catalog` of this
//! crate.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::{Catalog, CatalogError};

/// Every provider.
#[cfg(feature = "long-tail")]
const PACKED: &[u8] = include_bytes!("../../catalog/packed/all.bin");
/// The providers that `catalog.json` lists for the npm package, whose WebAssembly must stay small.
#[cfg(not(feature = "long-tail"))]
const PACKED: &[u8] = include_bytes!("../../catalog/packed/package.bin");

static BUILTIN: LazyLock<Result<Catalog, CatalogError>> = LazyLock::new(|| Catalog::open(Cow::Borrowed(PACKED)));

impl Catalog {
    /// The catalog that ships with this version of Tollgate. Without the feature `long-tail`, it has the providers of the npm package only.
    ///
    /// # Errors
    /// Never in a released version: a test reads all of it.
    pub fn builtin() -> Result<&'static Self, CatalogError> {
        BUILTIN.as_ref().map_err(Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;
    use crate::catalog::NoRates;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("catalog")
    }

    /// What the data files say, of all providers or of those in the package.
    fn from_files(package_only: bool) -> Catalog {
        let index = fs::read_to_string(folder().join("catalog.json")).unwrap();
        let package: Vec<String> =
            serde_json::from_value(serde_json::from_str::<Value>(&index).unwrap()["package"].clone()).unwrap();
        let mut files: Vec<String> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".json") && name != "catalog.json")
            .filter(|name| !package_only || package.contains(&name.trim_end_matches(".json").to_owned()))
            .collect();
        files.sort();
        let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(folder().join(file)).unwrap()).collect();
        let pairs: Vec<(&str, &str)> = files.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
        Catalog::read(&index, &pairs).unwrap()
    }

    #[test]
    fn what_is_shipped_is_what_the_files_say() {
        for (package_only, file) in [(false, "packed/all.bin"), (true, "packed/package.bin")] {
            let expected = from_files(package_only);
            let shipped = fs::read(folder().join(file)).unwrap();
            assert!(expected.packed() == shipped, "{file} is out of date: run `cargo xtask catalog pack`");
            let shipped = Catalog::open(Cow::Owned(shipped)).unwrap();
            assert!(!shipped.models().is_empty());
            // Every model reads, by each of its names.
            for model in shipped.models() {
                for name in core::iter::once(&model.model).chain(&model.aliases) {
                    assert_eq!(shipped.model(&model.provider, name).unwrap().model, model.model);
                }
            }
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_price_from_nowhere() {
        assert!(Catalog::open(Cow::Borrowed(b"TGC0")).is_err());
        for length in 0..PACKED.len().min(400) {
            assert!(Catalog::open(Cow::Borrowed(&PACKED[..length])).is_err(), "{length}");
        }
        assert!(Catalog::open(Cow::Borrowed(&PACKED[..PACKED.len() - 1])).is_err());
    }

    #[test]
    fn an_unknown_model_never_takes_a_known_ones_price() {
        let catalog = Catalog::builtin().unwrap();
        let at = "2026-11-24T00:00:00Z".parse().unwrap();
        assert!(catalog.rate_card("openai", "gpt-4o", at).is_ok());
        for (provider, model) in [
            ("openai", "gpt-4o-"),
            ("openai", "GPT-4o"),
            ("openai", ""),
            ("openai", "gpt-4o-2030-01-01"),
            ("openal", "gpt-4o"),
        ] {
            assert!(matches!(catalog.rate_card(provider, model, at), Err(NoRates::UnknownModel { .. })), "{model}");
        }
    }
}
