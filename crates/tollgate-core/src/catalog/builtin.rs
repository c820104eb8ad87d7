//! The catalog that ships with Tollgate. Its data files and their sources are in the folder `catalog` of this crate.

use std::sync::LazyLock;

use super::{Catalog, CatalogError};

const INDEX: &str = include_str!("../../catalog/catalog.json");
const PROVIDERS: [(&str, &str); 7] = [
    ("openai.json", include_str!("../../catalog/openai.json")),
    ("anthropic.json", include_str!("../../catalog/anthropic.json")),
    ("google.json", include_str!("../../catalog/google.json")),
    ("groq.json", include_str!("../../catalog/groq.json")),
    ("mistral.json", include_str!("../../catalog/mistral.json")),
    ("deepseek.json", include_str!("../../catalog/deepseek.json")),
    ("e2b.json", include_str!("../../catalog/e2b.json")),
];

static BUILTIN: LazyLock<Result<Catalog, CatalogError>> = LazyLock::new(|| Catalog::read(INDEX, &PROVIDERS));

impl Catalog {
    /// The catalog that ships with this version of Tollgate; read at the first call.
    ///
    /// # Errors
    /// Never in a released version: a test reads the files.
    pub fn builtin() -> Result<&'static Self, CatalogError> {
        BUILTIN.as_ref().map_err(Clone::clone)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::catalog::NoRates;

    #[test]
    fn every_file_of_the_folder_is_shipped_and_reads() {
        let catalog = Catalog::builtin().unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/catalog");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".json") && name != "catalog.json")
            .collect();
        files.sort();
        let mut shipped: Vec<_> = PROVIDERS.map(|(file, _)| file.to_owned()).to_vec();
        shipped.sort();
        assert_eq!(files, shipped);
        assert!(catalog.models().len() >= 25, "{}", catalog.models().len());
    }

    #[test]
    fn an_unknown_model_never_takes_a_known_ones_price() {
        let catalog = Catalog::builtin().unwrap();
        let at = "2026-11-24T00:00:00Z".parse().unwrap();
        assert!(catalog.rate_card("openai", "gpt-4o", at).is_ok());
        for (provider, model) in
            [("openai", "gpt-4"), ("openai", "gpt-4o-"), ("openai", "GPT-4o"), ("openai", ""), ("azure", "gpt-4o")]
        {
            assert!(matches!(catalog.rate_card(provider, model, at), Err(NoRates::UnknownModel { .. })), "{model}");
        }
    }
}
