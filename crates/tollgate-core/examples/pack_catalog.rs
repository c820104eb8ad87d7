//! Writes the compact form of the catalog: `cargo run --example pack_catalog INDEX OUTPUT FILE…` reads an index and provider files and writes what the
//! core embeds. `cargo xtask catalog pack` runs it.

use std::error::Error;
use std::fs;

use tollgate_core::catalog::Catalog;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(index), Some(output)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pack_catalog INDEX OUTPUT FILE…".into());
    };
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let files: Vec<(String, String)> =
        arguments.map(|path| Ok((path.clone(), read(&path)?))).collect::<Result<_, String>>()?;
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let catalog = Catalog::read(&read(&index)?, &files)?;
    fs::write(&output, catalog.packed()).map_err(|error| format!("{output}: {error}"))?;
    println!("{} models in {} bytes", catalog.models().len(), catalog.packed().len());
    Ok(())
}
