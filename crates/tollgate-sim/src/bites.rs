//! Deliberate bugs, and how many seeds it takes to find each.

use tollgate_core::catalog::Catalog;
use tollgate_core::fault::Fault;

use crate::seeds;

/// How a deliberate bug was found.
#[derive(Clone, Debug)]
pub struct Bite {
    /// Which.
    pub fault: Fault,
    /// After how many seeds, and by what. None where it was not.
    pub found: Option<(u64, String)>,
}

/// Looks for every bug in `most` seeds at most, from `first` on.
#[must_use]
pub fn all(catalog: &Catalog, first: u64, most: u64, threads: usize) -> Vec<Bite> {
    Fault::ALL.into_iter().map(|fault| one(catalog, fault, first, most, threads)).collect()
}

/// Looks for one bug.
#[must_use]
pub fn one(catalog: &Catalog, fault: Fault, first: u64, most: u64, threads: usize) -> Bite {
    let summary = seeds::run_all(catalog, first, most, threads, Some(fault));
    let found = summary.failed.map(|(seed, violation)| (seed.wrapping_sub(first) + 1, violation.what));
    Bite { fault, found }
}

/// The bugs as a table of Markdown: what each does, how many seeds it took, and what was noticed first.
#[must_use]
pub fn table(bites: &[Bite]) -> String {
    let mut text = "| bug | does | seeds | noticed by |\n|---|---|---|---|\n".to_owned();
    for Bite { fault, found } in bites {
        let (seeds, noticed) = match found {
            Some((seeds, what)) => (seeds.to_string(), first_words(what)),
            None => ("not found".to_owned(), String::new()),
        };
        text.push_str(&format!("| `{fault:?}` | {} | {seeds} | {noticed} |\n", fault.what_it_does()));
    }
    text
}

/// The beginning of a violation, fit for a table.
fn first_words(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default().replace('|', "/");
    match line.char_indices().nth(110) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
