//! Things that no compiler looks for in the files of the repository.

use std::path::Path;

use anyhow::{Context, Result};
use ignore::WalkBuilder;

use crate::failure::failure;
use crate::workspace::Workspace;

/// Written in two halves, so that this file does not find itself.
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/ro", "ot/"), concat!("/t", "mp/")];

/// Checks every file that git would keep; returns how many there are.
pub fn check(workspace: &Workspace) -> Result<usize> {
    let mut found = Vec::new();
    let mut files = 0;
    for entry in WalkBuilder::new(&workspace.root)
        .hidden(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build()
    {
        let entry = entry.context("cannot list the checkout")?;
        if !entry.file_type().is_some_and(|kind| kind.is_file()) {
            continue;
        }
        files += 1;
        // What is not text has nothing to find.
        if let Ok(text) = std::fs::read_to_string(entry.path()) {
            let name = entry.path().strip_prefix(&workspace.root).unwrap_or(entry.path());
            look_at(name, &text, &workspace.root, &mut found);
        }
    }
    if found.is_empty() { Ok(files) } else { Err(failure(found.join("\n"), "mend these lines")) }
}

fn look_at(name: &Path, text: &str, root: &Path, found: &mut Vec<String>) {
    let shown = name.display();
    let file = name.file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let locked = matches!(file, "Cargo.lock" | "package-lock.json");
    let root = root.to_string_lossy();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if !locked && let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
            found.push(format!("{shown}:{number}: {word}: finish it, or say in an issue what is missing"));
        }
        if MACHINE_PATHS.iter().any(|path| line.contains(path)) || line.contains(&*root) {
            found.push(format!("{shown}:{number}: a path of someone's machine"));
        }
        if file == "package-lock.json" && line.contains("\"resolved\": \"http") {
            found.push(format!("{shown}:{number}: the address of a registry; the repository's .npmrc leaves it out"));
        }
    }
    if file == "Cargo.toml" && !described(text) {
        found.push(format!("{shown}: the package has no description"));
    }
}

/// Does a manifest with a package say what the package is?
fn described(manifest: &str) -> bool {
    let Ok(manifest) = manifest.parse::<toml::Table>() else {
        return false;
    };
    match manifest.get("package") {
        None => true,
        Some(package) => {
            package.get("description").and_then(toml::Value::as_str).is_some_and(|description| description.len() > 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, text: &str) -> usize {
        let mut found = Vec::new();
        look_at(Path::new(name), text, Path::new("/somewhere/checkout"), &mut found);
        found.len()
    }

    #[test]
    fn unfinished_work_and_machine_paths_are_found() {
        assert_eq!(findings("a.rs", &format!("// {} later", UNFINISHED[0])), 1);
        assert_eq!(findings("a.md", &format!("cd {}me/x", MACHINE_PATHS[0])), 1);
        assert_eq!(findings("a.md", "cd /somewhere/checkout/crates"), 1);
        assert_eq!(findings("a.md", "cd crates"), 0);
        assert_eq!(findings("package-lock.json", "      \"resolved\": \"https://registry.example/a\","), 1);
    }

    #[test]
    fn packages_need_a_description() {
        assert_eq!(findings("Cargo.toml", "[package]\nname = \"a\"\ndescription = \"\"\n"), 1);
        assert_eq!(findings("Cargo.toml", "[package]\nname = \"a\"\ndescription = \"Does a thing well\"\n"), 0);
        assert_eq!(findings("Cargo.toml", "[workspace]\n"), 0);
    }
}
