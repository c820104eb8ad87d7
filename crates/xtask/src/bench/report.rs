//! Medians, tables, and the file that keeps the last results.

use std::process::Command;

use anyhow::{Context, Result};

use crate::failure::failure;
use crate::process::answer_of;
use crate::step::read;
use crate::workspace::Workspace;

const FILE: &str = "docs/benchmarks.md";

/// The median; of an even number of values the higher of the two in the middle. Zero of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A duration in nanoseconds, in a unit that suits it.
pub fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        short if short < 1_000.0 => format!("{short:.0} ns"),
        short if short < 1_000_000.0 => format!("{:.2} µs", short / 1_000.0),
        long if long < 1_000_000_000.0 => format!("{:.2} ms", long / 1_000_000.0),
        long => format!("{:.2} s", long / 1_000_000_000.0),
    }
}

/// Rows of text under a heading. Reads as Markdown, and as it is.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading and no rows.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// As text. The first column is aligned to the left, the others to the right.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for (at, row) in self.rows.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.chars().count());
                text.push_str(&if column == 0 { format!("| {cell}{padding} ") } else { format!("| {padding}{cell} ") });
            }
            text.push_str("|\n");
            if at == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    text.push_str(&if column == 0 { format!("|{dashes}-") } else { format!("|{dashes}:") });
                }
                text.push_str("|\n");
            }
        }
        text
    }
}

/// Prints results and puts them into their section of the file: what stands between `<!-- NAME -->` and `<!-- end of NAME -->`.
pub fn publish(workspace: &Workspace, name: &str, command: &str, body: &str) -> Result<()> {
    println!("\n{body}");
    let path = workspace.root.join(FILE);
    let text = read(&path)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let place = text.find(&begin).map(|at| at + begin.len()).zip(text.find(&end)).filter(|(from, to)| from <= to);
    let (Some(before), Some(after)) =
        (place.and_then(|(from, _)| text.get(..from)), place.and_then(|(_, to)| text.get(to..)))
    else {
        return Err(failure(format!("{FILE} has no section {name}"), format!("put {begin}{end} where it belongs")));
    };
    let fresh = format!("{before}\n`{command}` on {}, {}.\n\n{body}\n{after}", today()?, machine());
    std::fs::write(&path, fresh).with_context(|| format!("cannot write {FILE}"))?;
    println!("written into {FILE}");
    Ok(())
}

fn today() -> Result<String> {
    let mut ask = Command::new("date");
    ask.args(["-u", "+%Y-%m-%d"]);
    answer_of(ask).context("`date` does not say what day it is")
}

/// The processor and how many cores of it there are.
fn machine() -> String {
    let from_proc = || {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let from_sysctl = || {
        let mut ask = Command::new("sysctl");
        ask.args(["-n", "machdep.cpu.brand_string"]);
        answer_of(ask)
    };
    let processor = from_proc().or_else(from_sysctl).unwrap_or_else(|| "an unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {processor}, {}", std::env::consts::OS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let mut table = Table::new(&["what", "µs"]);
        table.row(vec!["a".to_owned(), "12.5".to_owned()]);
        assert_eq!(table.text(), "| what |   µs |\n|------|-----:|\n| a    | 12.5 |\n");
    }

    #[test]
    fn the_middle_of_a_list() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 3.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
