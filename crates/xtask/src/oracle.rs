//! The same usages priced by others: genai-prices and LiteLLM answer in Python, the core compares, and every difference has its reason in a file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::step::{Step, read};
use crate::workspace::Workspace;
use crate::{hash, install, python};

/// What an oracle is called, the script that asks it, and the reasons why it differs.
const ORACLES: [(&str, &str, &str); 2] =
    [("genai-prices", "ask_genai_prices.py", "genai-prices.json"), ("LiteLLM", "ask_litellm.py", "litellm.json")];

/// Asks every oracle, unless it has been asked the same already, and compares.
pub fn check(workspace: &Workspace) -> Result<String> {
    let folder = workspace.root.join("tests/oracle");
    let index: Value = serde_json::from_str(&read(&workspace.root.join("crates/tollgate-core/catalog/catalog.json"))?)
        .context("catalog.json is not JSON")?;
    let today = index.get("version").and_then(Value::as_str).context("catalog.json has no version")?;
    let mut step = Step::begin("Price oracles", "random usage of every model, priced here and by others");
    let mut answers = Vec::new();
    for (_, script, _) in ORACLES {
        let asked = [script, "cases.py"].map(|name| folder.join(name));
        let requirements = workspace.root.join(python::REQUIREMENTS);
        let files = asked.iter().chain([&requirements]).map(PathBuf::as_path);
        let key = hash::of_parts(&[today.as_bytes(), hash::of_files(files)?.as_bytes()]);
        // The answers depend on nothing else: they are kept, and whoever has them needs no Python.
        let name = format!("oracle-{}", key.get(..16).unwrap_or(&key));
        let place = install::once(workspace, &name, |place| {
            let environment = python::environment(workspace)?;
            let mut command = environment.python(workspace);
            command
                .arg(folder.join(script))
                .arg(today)
                .arg(place.join("answers.jsonl"))
                .env("PYTHONDONTWRITEBYTECODE", "1");
            step.run(command, "see the message above")?;
            Ok(())
        })?;
        answers.push(place.join("answers.jsonl"));
    }
    let mut results = Vec::new();
    for ((name, _, exceptions), answers) in ORACLES.into_iter().zip(answers) {
        let mut command = workspace.cargo();
        command.args(["run", "--quiet", "--package", "tollgate-core", "--example", "oracle", "--"]);
        command.arg(folder.join(exceptions)).arg(answers);
        let output = step.run(
            command,
            "find out who is right: mend the price list (docs/prices.md), or give the reason in tests/oracle",
        )?;
        results.push(format!("{name}: {}", output.lines().last().unwrap_or_default()));
    }
    let result = results.join("; ");
    step.done(&result);
    Ok(result)
}
