//! `cargo xtask catalog`: makes the price list from the packages of registries, and from what people decided.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value by a name that it does not have gives null; nothing else is indexed here"
)]

mod card;
mod document;
mod genai;
mod json;
mod litellm;
mod merge;
mod model_prices;
mod names;
mod off_peak;
mod report;
mod review;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use flate2::{Compression, write::GzEncoder};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::failure::failure;
use crate::step::{Step, read};
use crate::workspace::Workspace;

use merge::Source;
use report::Report;
use review::{Manual, ManualModel, Review};

/// What can be done with the price list.
#[derive(Subcommand)]
pub enum Task {
    /// Make the data files and their compact form from the pinned packages and the reviewed decisions
    Update,
    /// Make the compact form, which the core embeds, from the data files
    Pack,
    /// Check the data files and the decisions, without network
    Check,
    /// Say what the price list covers and how sure it is
    Report,
}

/// Does it.
pub fn run(workspace: &Workspace, task: &Task) -> Result<()> {
    match task {
        Task::Update => {
            update(workspace)?;
            pack(workspace)?;
            print_report(workspace)
        }
        Task::Pack => pack(workspace),
        Task::Check => check(workspace).map(|_| ()),
        Task::Report => print_report(workspace),
    }
}

/// Checks the data files and the decisions without network; returns a line that says how many there are.
pub fn check(workspace: &Workspace) -> Result<String> {
    let step = Step::begin("Price list", "the data files, and the decisions behind them");
    let folder = folder(workspace);
    let files = files(&folder)?;
    let mut names: BTreeMap<String, &Value> = BTreeMap::new();
    let mut problems = Vec::new();
    for (path, text, file) in &files {
        if *text != json::pretty(file) {
            problems.push(format!("{}: not as `cargo xtask catalog update` writes it", path.display()));
        }
        for model in file["models"].as_array().into_iter().flatten() {
            let aliases = model["aliases"].as_array().into_iter().flatten();
            for name in std::iter::once(&model["model"]).chain(aliases).filter_map(Value::as_str) {
                names.insert(format!("{}/{name}", file["provider"].as_str().unwrap_or_default()), model);
            }
        }
    }
    let exceptions = review::exceptions(&folder)?;
    Review::new(&exceptions)?;
    let mut cases = 0;
    for class in &exceptions.classes {
        for (model, decided) in &class.cases {
            cases += decided.len();
            if !names.contains_key(model) {
                problems.push(format!("review/exceptions.json, {}: there is no {model}", class.class));
            }
        }
    }
    let manual = review::manual(&folder)?;
    for model in &manual.models {
        for name in model.names() {
            if names.get(&format!("{}/{name}", model.provider)) != Some(&&model.entry) {
                problems.push(format!(
                    "review/manual.json: {}/{name} is not in the data files as it is here",
                    model.provider
                ));
            }
        }
    }
    if !problems.is_empty() {
        return Err(failure(
            problems.join("\n"),
            "edit the files in review/, not the others, and run `cargo xtask catalog update`",
        ));
    }
    let result = format!("{} files, {cases} decisions, {} models by hand", files.len(), manual.models.len());
    step.done(&result);
    Ok(result)
}

fn update(workspace: &Workspace) -> Result<()> {
    let data = sources::fetch(workspace)?;
    let step = Step::begin("Price list", "the sources, compared and merged");
    let folder = folder(workspace);
    let index: Value =
        serde_json::from_str(&read(&folder.join("catalog.json"))?).context("catalog.json is not JSON")?;
    let as_of = index["version"].as_str().context("catalog.json has no version")?;
    let litellm = litellm::read(&data.litellm)?;
    let sources = [
        Source {
            key: "genai-prices-0.2.3",
            name: "genai-prices",
            read_on: None,
            opinions: genai::read(&data.genai_prices)?,
        },
        Source {
            key: "model-prices-0.0.5",
            name: "model-prices",
            read_on: model_prices::read_on(&data.model_prices),
            opinions: model_prices::read(&data.model_prices)?,
        },
        Source { key: "litellm-1.109.1", name: "litellm", read_on: None, opinions: litellm.opinions },
    ];
    let exceptions = review::exceptions(&folder)?;
    let mut review = Review::new(&exceptions)?;
    let manual = review::manual(&folder)?;
    let merged = merge::merge(&sources, &model_prices::peak_hours(&data.model_prices), as_of, &mut review);
    let mut files: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (provider, models) in merged {
        files.insert(provider, models.iter().map(document::model).collect());
    }
    let needless = overlay(&manual, &mut files, as_of, &mut review);
    complain(&review, &needless)?;
    write(&folder, files)?;
    for name in ["review/exceptions.json", "review/manual.json"] {
        let path = folder.join(name);
        let content: Value = serde_json::from_str(&read(&path)?).with_context(|| format!("{name} is not JSON"))?;
        std::fs::write(&path, json::pretty(&content)).with_context(|| format!("cannot write {name}"))?;
    }
    step.done(&format!(
        "{} numbers decided by two of three, {} by review; left out: {} models with fees that no meter counts, {} with rates that cannot be right",
        review.outvoted,
        exceptions.classes.iter().flat_map(|class| class.cases.values()).map(Vec::len).sum::<usize>(),
        litellm.other_fees,
        litellm.implausible
    ));
    Ok(())
}

/// Puts what people wrote in the place of what was merged. Returns entries that say nothing else than the sources.
fn overlay(manual: &Manual, files: &mut BTreeMap<String, Vec<Value>>, as_of: &str, review: &mut Review) -> Vec<String> {
    let mut needless = Vec::new();
    for own in &manual.models {
        let models = files.entry(own.provider.clone()).or_default();
        if models.contains(&own.entry) {
            needless.push(format!("{}/{}", own.provider, own.entry["model"]));
            continue;
        }
        let names: BTreeSet<&str> = own.names().into_iter().collect();
        // What people wrote decides about these names as a whole, but today's price must be what the sources come to.
        review.unexplained.retain(|model, _| {
            model
                .strip_prefix(&own.provider)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_none_or(|name| !names.contains(name))
        });
        for model in models.iter() {
            compare(own, model, as_of, review);
        }
        models.retain_mut(|model| without(model, &names));
        models.push(own.entry.clone());
    }
    for models in files.values_mut() {
        models.sort_by(|one, other| one["model"].as_str().cmp(&other["model"].as_str()));
    }
    needless
}

/// Compares today's price of the same name by hand and by the sources, so that an entry by hand cannot hide a change.
fn compare(own: &ManualModel, merged: &Value, as_of: &str, review: &mut Review) {
    if merged["model"] != own.entry["model"] {
        return;
    }
    let price = |model: &Value, meter: &str| -> Option<Decimal> {
        let mut cards = model["rateCards"].as_array().into_iter().flatten();
        let in_force = cards.rfind(|card| card["from"].as_str().is_some_and(|from| from <= as_of))?;
        in_force["perMillion"][meter].as_str()?.parse().ok()
    };
    for meter in ["input", "output"] {
        if let (Some(hand), Some(sources)) = (price(&own.entry, meter), price(merged, meter)) {
            let place = format!("{}/{}", own.provider, own.entry["model"].as_str().unwrap_or_default());
            review.decide(&place, meter, &[("by-hand", hand), ("sources", sources)]);
        }
    }
}

/// Takes names from a model; returns whether any is left.
fn without(model: &mut Value, names: &BTreeSet<&str>) -> bool {
    let aliases = model["aliases"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = std::iter::once(model["model"].clone()).chain(aliases).collect();
    let left: Vec<Value> =
        all.iter().filter(|name| !name.as_str().is_some_and(|name| names.contains(name))).cloned().collect();
    let Some((first, others)) = left.split_first() else { return false };
    if left.len() < all.len()
        && let Some(entry) = model.as_object_mut()
    {
        entry.insert("model".to_owned(), first.clone());
        entry.remove("aliases");
        if !others.is_empty() {
            entry.insert("aliases".to_owned(), others.into());
        }
    }
    true
}

fn complain(review: &Review, needless: &[String]) -> Result<()> {
    if !review.unexplained.is_empty() {
        return Err(failure(
            format!("the sources disagree, and nothing says why:\n{}", json::pretty(&json!(review.unexplained))),
            "find out which is right, and put these into a class of review/exceptions.json with the reason",
        ));
    }
    let unused = review.unused();
    if !unused.is_empty() || !needless.is_empty() {
        return Err(failure(
            format!("no longer needed: {}", [unused, needless.to_vec()].concat().join("\n")),
            "take them out of review/exceptions.json and review/manual.json",
        ));
    }
    Ok(())
}

fn write(folder: &Path, files: BTreeMap<String, Vec<Value>>) -> Result<()> {
    for (path, ..) in self::files(folder)? {
        let kept = path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| files.contains_key(name));
        if !kept {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for (provider, models) in files {
        let path = folder.join(format!("{provider}.json"));
        let text = json::pretty(&json!({ "provider": provider, "models": models }));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn pack(workspace: &Workspace) -> Result<()> {
    let mut step =
        Step::begin("Compact form", "what the core embeds, of all providers and of those in the npm package");
    let folder = folder(workspace);
    let index_path = folder.join("catalog.json");
    let index: Value = serde_json::from_str(&read(&index_path)?).context("catalog.json is not JSON")?;
    let package: Vec<&str> = index["package"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let all: Vec<PathBuf> = files(&folder)?.into_iter().map(|(path, ..)| path).collect();
    let small = all
        .iter()
        .filter(|path| path.file_stem().and_then(|name| name.to_str()).is_some_and(|name| package.contains(&name)));
    let small: Vec<PathBuf> = small.cloned().collect();
    for (name, paths) in [("all.bin", all), ("package.bin", small)] {
        let mut command = workspace.cargo();
        command.args(["run", "--quiet", "--package", "tollgate-core", "--example", "pack_catalog", "--"]);
        command.arg(&index_path).arg(folder.join("packed").join(name)).args(paths);
        step.run(command, "see what it says about the data files")?;
    }
    step.done("crates/tollgate-core/catalog/packed");
    Ok(())
}

fn print_report(workspace: &Workspace) -> Result<()> {
    let folder = folder(workspace);
    let files: Vec<Value> = files(&folder)?.into_iter().map(|(_, _, file)| file).collect();
    let mut sizes = Vec::new();
    for name in ["all.bin", "package.bin"] {
        let bytes =
            std::fs::read(folder.join("packed").join(name)).with_context(|| format!("cannot read packed/{name}"))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes).context("cannot compress")?;
        sizes.push((name, bytes.len(), encoder.finish().context("cannot compress")?.len()));
    }
    print!("{}", Report::of(&files).text(&sizes));
    Ok(())
}

/// The provider files: path, text and content, by name.
fn files(folder: &Path) -> Result<Vec<(PathBuf, String, Value)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry.context("cannot list the price list")?.path();
        if path.extension().is_some_and(|extension| extension == "json")
            && path.file_name().is_some_and(|name| name != "catalog.json")
        {
            let text = read(&path)?;
            let content = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
            found.push((path, text, content));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("crates/tollgate-core/catalog")
}
