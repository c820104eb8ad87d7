//! The price list on the wire.

use serde::Serialize;
use tollgate_core::api::Answer;
use tollgate_core::catalog::{Catalog, Confidence, Model};
use tollgate_core::time::Timestamp;

/// The answer that lists every model with its rate cards.
#[must_use]
pub fn answer(catalog: &Catalog) -> Answer {
    let models = catalog.models().iter().map(ModelDocument::from).collect();
    Answer::json(200, &CatalogDocument { version: catalog.version(), models })
}

#[derive(Serialize)]
struct CatalogDocument<'a> {
    version: &'a str,
    models: Vec<ModelDocument<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ModelDocument<'a> {
    provider: &'a str,
    model: &'a str,
    aliases: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    context_window: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    rate_cards: Vec<RateCardDocument<'a>>,
}

#[derive(Serialize)]
struct RateCardDocument<'a> {
    id: &'a str,
    from: Timestamp,
    source: &'a str,
    confidence: Confidence,
}

impl<'a> From<&'a Model> for ModelDocument<'a> {
    fn from(model: &'a Model) -> Self {
        Self {
            provider: &model.provider,
            model: &model.model,
            aliases: &model.aliases,
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
            rate_cards: model
                .rate_cards()
                .iter()
                .map(|card| RateCardDocument {
                    id: &card.id,
                    from: card.from,
                    source: &card.source,
                    confidence: card.confidence,
                })
                .collect(),
        }
    }
}
