//! Documents that are known to be right: the conformance vectors, the providers' answers, and what a ledger makes of the former.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};
use tollgate_core::api;
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::Ledger;
use tollgate_core::local::{LocalConfig, LocalLedger};
use tollgate_core::time::Timestamp;

use super::{Target, mutate};

/// Documents for every decoder.
#[derive(Debug, Default)]
pub struct Corpus {
    commands: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    batches: Vec<Vec<u8>>,
    quotas: Vec<Vec<u8>>,
    policies: Vec<Vec<u8>>,
    prices: Vec<Vec<u8>>,
    payloads: Vec<Vec<u8>>,
    entries: Vec<Vec<u8>>,
    closed: Vec<Vec<u8>>,
    snapshots: Vec<Vec<u8>>,
    catalogs: Vec<Vec<u8>>,
}

impl Corpus {
    /// Reads the documents of a checkout.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn read(checkout: &Path, catalog: &Catalog) -> Result<Self, String> {
        let mut corpus = Self::default();
        for case in cases(&checkout.join("tests/conformance/ledger"))? {
            corpus.add_ledger(&case, catalog)?;
        }
        for case in cases(&checkout.join("tests/conformance/price"))? {
            corpus.prices.push(bytes(&case["request"]));
        }
        for case in cases(&checkout.join("tests/conformance/extract"))? {
            if case["body"].is_object() || case["body"].is_array() {
                corpus.payloads.push(bytes(&case["body"]));
            }
        }
        for folder in files(&checkout.join("tests/fixtures/providers"))? {
            for file in files(&folder)? {
                if file.extension().is_some_and(|extension| extension == "json") {
                    corpus.payloads.push(fs::read(&file).map_err(|error| error.to_string())?);
                }
            }
        }
        let packed = checkout.join("crates/tollgate-core/catalog/packed/package.bin");
        corpus.catalogs.push(fs::read(packed).map_err(|error| error.to_string())?);
        for target in Target::ALL {
            if corpus.of(target).is_empty() {
                return Err(format!("there is no document for {target:?}"));
            }
        }
        Ok(corpus)
    }

    /// A document of a decoder, changed.
    pub(super) fn changed(&self, target: Target, rng: &mut Rng) -> Vec<u8> {
        let documents = self.of(target);
        let mut document = rng.choice(documents).cloned().unwrap_or_default();
        if target != Target::Catalog
            && rng.u32(..4) > 0
            && let Ok(mut value) = serde_json::from_slice::<Value>(&document)
        {
            mutate::tree(&mut value, documents, rng);
            document = bytes(&value);
            if rng.u32(..4) > 0 {
                return document;
            }
        }
        mutate::bytes(&mut document, documents, rng);
        document
    }

    fn of(&self, target: Target) -> &[Vec<u8>] {
        match target {
            Target::Command => &self.commands,
            Target::Body => &self.bodies,
            Target::Batch => &self.batches,
            Target::Quota => &self.quotas,
            Target::Policy => &self.policies,
            Target::Price => &self.prices,
            Target::Payload => &self.payloads,
            Target::Entries => &self.entries,
            Target::Closed => &self.closed,
            Target::Snapshot => &self.snapshots,
            Target::Catalog => &self.catalogs,
        }
    }

    /// A case of the ledger's vectors: its commands, and what a ledger stores when it carries them out.
    fn add_ledger(&mut self, case: &Value, catalog: &Catalog) -> Result<(), String> {
        let plan = &case["plan"];
        self.policies.push(bytes(&json!({ "defaultPlan": "p", "plans": { "p": plan } })));
        self.quotas.extend(plan["quotas"].as_object().into_iter().flat_map(|quotas| quotas.values().map(bytes)));
        let steps = case["steps"].as_array().ok_or("a case has steps")?;
        let commands: Vec<&Value> = steps.iter().map(|step| &step["command"]).collect();
        self.commands.extend(commands.iter().map(|command| bytes(command)));
        self.bodies.extend(commands.iter().map(|command| body(command)));
        self.batches.push(bytes(&json!({ "commands": commands })));
        let at = |step: &Value| step["now"].as_str().and_then(|now| now.parse::<Timestamp>().ok()).unwrap_or_default();
        let config = json!({ "tenant": "vector", "plan": plan }).to_string();
        let config = LocalConfig::parse(&config).map_err(|problem| problem.detail)?;
        let start = steps.first().map(at).unwrap_or_default();
        let mut ledger = LocalLedger::new(config, catalog, start).map_err(|problem| problem.detail)?;
        for step in steps {
            if let Ok(request) = api::parse_command(&step["command"].to_string()) {
                let _ = ledger.execute(catalog, at(step), &request);
            }
            self.keep(ledger.ledger(), &step["command"])?;
        }
        let all = api::parse_command(r#"{"op":"entries","limit":1000}"#).map_err(|problem| problem.detail)?;
        let answer = ledger.execute(catalog, steps.last().map(at).unwrap_or_default(), &all);
        let answer: Value = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
        self.entries.push(bytes(&answer["entries"]));
        Ok(())
    }

    fn keep(&mut self, ledger: &Ledger, command: &Value) -> Result<(), String> {
        let stored = serde_json::to_vec(&ledger.snapshot()).map_err(|error| error.to_string())?;
        self.snapshots.push(stored);
        let id = command["id"].as_str().and_then(|id| id.parse().ok());
        if let Some(reservation) = id.and_then(|id| ledger.reservation(&id)) {
            self.closed.push(serde_json::to_vec(reservation).map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

fn cases(folder: &Path) -> Result<Vec<Value>, String> {
    let mut cases = Vec::new();
    for file in files(folder)? {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        cases.extend(document["cases"].as_array().cloned().unwrap_or_default());
    }
    Ok(cases)
}

/// What is in a folder, in the order of the names: the same everywhere.
fn files(folder: &Path) -> Result<Vec<std::path::PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    Ok(files)
}

/// A command in the form that it has on its own route, where the path says what it is and about which id.
fn body(command: &Value) -> Vec<u8> {
    if command["extend"].is_object() {
        return bytes(&command["extend"]);
    }
    let mut body = command.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("op");
        if command["op"] == "settle" {
            members.remove("id");
        }
    }
    bytes(&body)
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
