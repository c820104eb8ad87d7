//! What the list covers, and how sure it is.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

/// Counts over the data files.
#[derive(Default)]
pub struct Report {
    providers: usize,
    models: usize,
    names: usize,
    cards: usize,
    dated: usize,
    features: BTreeMap<&'static str, usize>,
    confidence: BTreeMap<String, usize>,
    sources: BTreeMap<String, usize>,
    by_provider: BTreeMap<String, usize>,
}

impl Report {
    /// Counts the provider files.
    pub fn of(files: &[Value]) -> Self {
        let mut report = Self::default();
        for file in files {
            report.providers += 1;
            let models = list(&file["models"]);
            report.models += models.len();
            report.by_provider.insert(text(&file["provider"]), models.len());
            for model in models {
                report.names += 1 + list(&model["aliases"]).len();
                for card in list(&model["rateCards"]) {
                    report.card(card);
                }
            }
        }
        report
    }

    fn card(&mut self, card: &Value) {
        self.cards += 1;
        self.dated += usize::from(card["from"] != super::card::UNKNOWN_DATE);
        *self.confidence.entry(text(&card["confidence"])).or_default() += 1;
        *self.sources.entry(text(&card["source"])).or_default() += 1;
        let mut has = |name: &'static str, yes: bool| *self.features.entry(name).or_default() += usize::from(yes);
        has("with tiers", card.get("tiers").is_some());
        has("with daily schedules", card.get("schedules").is_some());
        has("with regions", card.get("regions").is_some());
        for (label, mode) in [("with batch", "batch"), ("with flex", "flex"), ("with priority", "priority")] {
            has(label, card["modes"].get(mode).is_some());
        }
    }

    /// The report as text, with the size of the compact forms.
    pub fn text(&self, sizes: &[(&str, usize, usize)]) -> String {
        let mut text = format!(
            "providers {}, models {}, names {}, rate cards {} ({} with a known first date)\n",
            self.providers, self.models, self.names, self.cards, self.dated
        );
        let mut line = |label: &str, counts: Vec<String>| {
            // Writing to a string does not fail.
            writeln!(text, "{label}: {}", counts.join(", ")).ok();
        };
        let counts =
            |map: &BTreeMap<String, usize>| map.iter().map(|(name, count)| format!("{name} {count}")).collect();
        line("rate cards by confidence", counts(&self.confidence));
        line("rate cards by source", counts(&self.sources));
        line("rate cards", self.features.iter().map(|(name, count)| format!("{name} {count}")).collect());
        let mut largest: Vec<_> = self.by_provider.iter().collect();
        largest.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        line("models by provider", largest.iter().map(|(name, count)| format!("{name} {count}")).collect());
        for (name, bytes, gzipped) in sizes {
            line(name, vec![format!("{bytes} bytes, {gzipped} gzipped")]);
        }
        text
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
