//! What bodies of several kinds have in common: ids in paths and texts, limits of fields, where a command stands.

use serde::de::IgnoredAny;

use super::problem::Problem;
use crate::ledger::HoldTerms;
use crate::money::Usd;

/// Reads an id or name that is part of a path.
///
/// # Errors
/// It is none; `field` names it.
pub fn parse_id<T: core::str::FromStr<Err: core::fmt::Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::invalid(field, error))
}

/// The largest whole number on the wire: 2⁵³ − 1. JavaScript, which numbers cross on their way to where they are stored, does not tell larger ones apart.
pub(super) const MAX_WHOLE: u64 = (1 << 53) - 1;

/// A whole number that can be stored and looked for.
pub(super) fn whole(field: &str, number: u64) -> Result<u64, Problem> {
    if number <= MAX_WHOLE { Ok(number) } else { Err(Problem::invalid(field, "must lie in 0 to 9007199254740991")) }
}

/// A whole number in a query.
pub(super) fn number(field: &str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    let read = |text: &str| match text.parse() {
        // What Rust reads besides digits.
        Ok(number) if !text.starts_with('+') => whole(field, number),
        _ => Err(Problem::invalid(field, "must be a whole number from 0 to 9007199254740991")),
    };
    text.map(read).transpose()
}

/// How much a page has at most: as many as are said, up to `most`, or else `usual`.
pub(super) fn page_limit(limit: Option<u64>, usual: u32, most: u32) -> Result<u32, Problem> {
    let Some(limit) = limit else { return Ok(usual) };
    u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=most).contains(limit))
        .ok_or_else(|| Problem::invalid("limit", format_args!("must lie in 1 to {most}")))
}

/// Where a command stands: on a route of its own, whose path says what it is and about which id; or in a batch, where it says so itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Route,
    Batch,
}

impl Place {
    /// On a route, a field that only a batch has is as unknown as any other.
    pub(super) fn allows(self, field: &str, given: Option<IgnoredAny>) -> Result<(), Problem> {
        match (self, given) {
            (Self::Route, Some(_)) => Err(Problem::invalid(field, "unknown field: the path says it")),
            _ => Ok(()),
        }
    }
}

/// A hold lives for 1 to 86,400 seconds.
pub(super) fn check_ttl(field: &str, seconds: u32) -> Result<(), Problem> {
    if (1..=HoldTerms::MAX_TTL_SECONDS).contains(&seconds) {
        Ok(())
    } else {
        Err(Problem::invalid(field, "must lie in 1 to 86400"))
    }
}

/// What is held or charged is never less than nothing.
pub(super) fn not_negative(field: &str, usd: Usd) -> Result<(), Problem> {
    if usd.is_negative() { Err(Problem::invalid(field, crate::money::InvalidUsd::Negative)) } else { Ok(()) }
}

/// The values of a query's parameters: each at most once, and no others.
pub(super) fn parameters<'a, const N: usize>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Problem> {
    let mut values = [None; N];
    for (name, value) in pairs {
        let known = names.iter().zip(&mut values).find(|(known, _)| **known == name);
        let (_, slot) = known
            .ok_or_else(|| Problem::invalid(name, format_args!("unknown parameter; there are {}", names.join(", "))))?;
        if slot.replace(value).is_some() {
            return Err(Problem::invalid(name, "given twice"));
        }
    }
    Ok(values)
}
