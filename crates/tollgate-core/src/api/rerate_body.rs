//! Re-rating on the wire.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fields::{page_limit, whole};
use super::json;
use super::problem::Problem;
use crate::catalog::{Overrides, OverridesDocument, OverridesScope, PriceBook};
use crate::ids::AdjustmentId;
use crate::ledger::{Ledger, RerateBy, Rerated};
use crate::money::Usd;
use crate::objects;
use crate::time::Timestamp;

/// The most entries that are looked at for one answer, and how many are where the caller does not say.
pub const MAX_RERATED: u32 = 1_000;
/// A page ends with the line that passes this: a line can have two entries of overrides in it.
const MAX_LINES_BYTES: usize = 512 << 10;

/// What to re-rate, against what.
#[derive(Clone, Debug)]
pub struct RerateRequest {
    /// Charges of calls reserved or recorded from this instant.
    pub from: Timestamp,
    /// Up to this one, which is not included.
    pub to: Timestamp,
    /// The last entry that the caller has seen: the `next` of the page before.
    pub after: u64,
    /// How many entries to look at.
    pub limit: usize,
    /// The id under which to post adjusting entries. None for a dry run.
    pub post: Option<AdjustmentId>,
    /// The totals of the pages before.
    pub totals: RerateTotals,
    overrides: Against,
}

#[derive(Clone, Debug)]
enum Against {
    AsCharged,
    Current,
    Document(Arc<OverridesDocument>),
}

/// What a page has, together with the pages before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RerateTotals {
    /// Charges.
    pub charges: u64,
    /// Those that would be another amount.
    pub changed: u64,
    /// What they come to now.
    pub old: Usd,
    /// What they would come to.
    pub new: Usd,
    /// `new` − `old`.
    pub difference: Usd,
}

/// A page.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RerateReport {
    /// The price list's version.
    pub catalog: String,
    /// Charges that would be another amount, and those of which it cannot be told.
    pub lines: Vec<Rerated>,
    /// All charges of this page and of those before.
    pub totals: RerateTotals,
    /// How many adjusting entries were posted.
    pub posted: u64,
    /// The `after` of the next page; null at the end.
    pub next: Option<u64>,
    /// How long the lines are, as they are sent.
    #[serde(skip)]
    pub bytes: usize,
}

impl RerateReport {
    /// Whether the answer has as many lines as it may have.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.bytes >= MAX_LINES_BYTES
    }

    /// Adds a line.
    pub fn add(&mut self, line: Rerated) {
        self.totals.charges = self.totals.charges.saturating_add(1);
        self.totals.old = self.totals.old.plus(line.old);
        self.totals.new = self.totals.new.plus(line.new);
        self.totals.difference = self.totals.difference.plus(line.difference);
        if !line.difference.is_zero() {
            self.totals.changed = self.totals.changed.saturating_add(1);
        }
        if !line.difference.is_zero() || line.new_basis.is_none() {
            let bytes = tollgate_json::to_string(&line).map_or(MAX_LINES_BYTES, |text| text.len());
            self.bytes = self.bytes.saturating_add(bytes);
            self.lines.push(line);
        }
    }
}

impl RerateRequest {
    /// The prices to compare with.
    ///
    /// # Errors
    /// The field of the document that is wrong.
    pub fn by(&self, ledger: &Ledger) -> Result<RerateBy, Problem> {
        Ok(match &self.overrides {
            Against::AsCharged => RerateBy::AsCharged,
            Against::Current => RerateBy::Prices(ledger.prices().clone()),
            Against::Document(document) => {
                let platform = ledger.prices().platform.clone();
                // A document that is only asked about has no version.
                let tenant = Overrides::new(OverridesScope::Tenant, 0, document.clone())
                    .map_err(|problem| Problem::invalid(format!("overrides.{}", problem.field), problem.message))?;
                RerateBy::Prices(PriceBook { platform, tenant: Some(tenant) })
            }
        })
    }
}

/// Reads a request to re-rate.
///
/// # Errors
/// The field that is wrong.
pub fn parse_rerate(text: &str) -> Result<RerateRequest, Problem> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Body<'a> {
        from: Timestamp,
        to: Timestamp,
        #[serde(default, borrow)]
        overrides: Option<&'a RawValue>,
        #[serde(default)]
        post: Option<AdjustmentId>,
        #[serde(default)]
        after: u64,
        #[serde(default)]
        limit: Option<u64>,
        #[serde(default, deserialize_with = "objects::optional_object")]
        totals: Option<RerateTotals>,
    }
    let body: Body<'_> = json::read(text)?;
    if body.from >= body.to {
        return Err(Problem::invalid("to", "must be later than `from`"));
    }
    let limit = page_limit(body.limit, MAX_RERATED, MAX_RERATED)?;
    whole("after", body.after)?;
    let totals = body.totals.unwrap_or_default();
    whole("totals.charges", totals.charges)?;
    whole("totals.changed", totals.changed)?;
    let overrides = match body.overrides.map(RawValue::get) {
        None => Against::AsCharged,
        Some("\"current\"") => Against::Current,
        Some(document) if document.starts_with('{') => {
            Against::Document(super::parse_overrides(document).map_err(|problem| problem.inside("overrides"))?)
        }
        Some(_) => return Err(Problem::invalid("overrides", "either \"current\" or a document")),
    };
    Ok(RerateRequest {
        from: body.from,
        to: body.to,
        after: body.after,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        post: body.post,
        totals,
        overrides,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn bad_requests_name_their_field() {
        for (more, field) in [
            (r#""to":"2026-11-01T00:00:00Z""#, "to"),
            (r#""to":"2026-12-01T00:00:00Z","limit":1001"#, "limit"),
            (r#""to":"2026-12-01T00:00:00Z","limit":0"#, "limit"),
            (r#""to":"2026-12-01T00:00:00Z","after":9007199254740992"#, "after"),
            (r#""to":"2026-12-01T00:00:00Z","after":1e3"#, "after"),
            (
                r#""to":"2026-12-01T00:00:00Z","totals":{"charges":9007199254740992,"changed":0,"old":"0","new":"0","difference":"0"}"#,
                "totals.charges",
            ),
            (r#""to":"2026-12-01T00:00:00Z","post":"a b""#, "post"),
            (r#""to":"2026-12-01T00:00:00Z","overrides":"then""#, "overrides"),
            (r#""to":"2026-12-01T00:00:00Z","overrides":{"rate":[]}"#, "overrides.rate"),
            (r#""to":"2026-12-01T00:00:00Z","totals":{"charges":"1"}"#, "totals.charges"),
            (r#""to":"2026-12-01T00:00:00Z","dryRun":true"#, "dryRun"),
        ] {
            let problem = parse_rerate(&format!(r#"{{"from":"2026-11-01T00:00:00Z",{more}}}"#)).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{more}: {}", problem.detail);
        }
        let request = parse_rerate(
            r#"{"from":"2026-11-01T00:00:00Z","to":"2026-12-01T00:00:00Z","overrides":{"markups":[{"id":"m"}]}}"#,
        );
        let problem = request.unwrap().by(&Ledger::new()).unwrap_err();
        assert_eq!(problem.field.as_deref(), Some("overrides.markups[0]"));
    }
}
