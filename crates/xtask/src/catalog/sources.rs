//! The packages that the prices come from: downloaded once by pip, verified, and opened.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::failure::failure;
use crate::install;
use crate::step::{Step, read};
use crate::workspace::Workspace;

/// A Python package with price data.
struct Package {
    name: &'static str,
    version: &'static str,
    wheel: &'static str,
    sha256: &'static str,
    /// The file with the data, within the wheel.
    data: &'static str,
}

const GENAI_PRICES: Package = Package {
    name: "genai-prices",
    version: "0.2.3",
    wheel: "genai_prices-0.2.3-py3-none-any.whl",
    sha256: "56976ce2b04ec206117f7d0e53f4849211a6724ab3a12119afec304eba63ee25",
    data: "genai_prices/data.py",
};
const MODEL_PRICES: Package = Package {
    name: "model-prices",
    version: "0.0.5",
    wheel: "model_prices-0.0.5-py3-none-any.whl",
    sha256: "dd134760da4798fdac4b2c1ba050028871f95ed04b90343b09e8d920d0a9bad9",
    data: "model_prices/snapshot.json",
};
const LITELLM: Package = Package {
    name: "litellm",
    version: "1.109.1",
    wheel: "litellm-1.109.1-cp310-abi3-manylinux_2_28_x86_64.whl",
    sha256: "1c8b4dd671fa0cd0850aa751678704ff77e595fb1e6085b2dc3be39ee19bdaaf",
    data: "litellm/model_prices_and_context_window_backup.json",
};

/// Prints the prices in genai-prices' module as JSON. The module only calls constructors with literal arguments; each becomes an object of its arguments, so
/// that none of the package's own code or dependencies is needed.
const DUMP: &str = r#"
import datetime, decimal, json, sys
class Scope(dict):
    def __missing__(self, name):
        if name.startswith("__"):
            raise KeyError(name)
        return lambda *arguments, **members: members
scope = Scope()
source = open(sys.argv[1], encoding="utf-8").read()
for line, other in (("from .types import *", ""), ("providers: list[Provider] =", "providers =")):
    assert line in source, line
    source = source.replace(line, other)
exec(compile(source, "data.py", "exec"), scope)
plain = lambda value: format(value.normalize(), "f") if isinstance(value, decimal.Decimal) else value.isoformat()
json.dump(scope["providers"], sys.stdout, default=plain)
"#;

/// The three sources' data.
pub struct Data {
    pub genai_prices: Value,
    pub model_prices: Value,
    pub litellm: Value,
}

/// Downloads what is not in the cache, and reads it.
pub fn fetch(workspace: &Workspace) -> Result<Data> {
    Ok(Data {
        genai_prices: json(&unpacked(workspace, &GENAI_PRICES)?)?,
        model_prices: json(&unpacked(workspace, &MODEL_PRICES)?)?,
        litellm: json(&unpacked(workspace, &LITELLM)?)?,
    })
}

/// The data of a package as a JSON file in the cache.
fn unpacked(workspace: &Workspace, package: &Package) -> Result<PathBuf> {
    let name = format!("prices-{}-{}", package.name, package.version);
    let folder = install::once(workspace, &name, |folder| {
        let mut step = Step::begin(&format!("{} {}", package.name, package.version), "price data, downloaded once");
        let content = downloaded(workspace, package, &mut step)?;
        let data = folder.join("data.json");
        if package.data.ends_with(".py") {
            let module = folder.join("data.py");
            std::fs::write(&module, content).context("cannot write to the cache")?;
            let output = Command::new("python3")
                .args(["-c", DUMP])
                .arg(&module)
                .output()
                .map_err(|error| failure(format!("cannot start python3: {error}"), "install Python 3"))?;
            if !output.status.success() {
                return Err(failure(
                    format!("cannot read {}: {}", package.data, String::from_utf8_lossy(&output.stderr)),
                    "see how the package's format changed",
                ));
            }
            std::fs::write(&data, output.stdout).context("cannot write to the cache")?;
        } else {
            std::fs::write(&data, content).context("cannot write to the cache")?;
        }
        step.done("verified");
        Ok(())
    })?;
    Ok(folder.join("data.json"))
}

fn downloaded(workspace: &Workspace, package: &Package, step: &mut Step) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir_in(&workspace.cache).context("cannot make a folder in the cache")?;
    let mut pip = workspace.command("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--implementation=cp",
        "--abi=abi3",
    ]);
    // The wheel with a known hash, whatever this machine is: only data is read from it.
    pip.args(["--python-version=3.11", "--platform=manylinux_2_28_x86_64", "--dest"]).arg(folder.path());
    pip.arg(format!("{}=={}", package.name, package.version));
    step.run(pip, "check the network, and that python3 has pip")?;
    let wheel = folder.path().join(package.wheel);
    let bytes = std::fs::read(&wheel).with_context(|| format!("pip did not download {}", package.wheel))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != package.sha256 {
        return Err(failure(
            format!("{} has the SHA-256 {found}, not {}", package.wheel, package.sha256),
            "do not use it: the registry serves another file than the one that was reviewed",
        ));
    }
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).context("the wheel is not a zip file")?;
    let mut content = Vec::new();
    let mut file =
        archive.by_name(package.data).with_context(|| format!("{} has no {}", package.wheel, package.data))?;
    file.read_to_end(&mut content).with_context(|| format!("cannot unpack {}", package.data))?;
    Ok(content)
}

fn json(path: &Path) -> Result<Value> {
    serde_json::from_str(&read(path)?).with_context(|| format!("{} is not JSON", path.display()))
}
