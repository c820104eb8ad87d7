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
