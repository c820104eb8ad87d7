//! Entries as comma-separated values (RFC 4180).

use serde::Deserialize;
use tollgate_core::call::Call;
use tollgate_core::catalog::ModelName;
use tollgate_core::ledger::{Entry, Event};
use tollgate_core::usage_report;

/// The media type.
pub const MEDIA_TYPE: &str = "text/csv; charset=utf-8";

const COLUMNS: [&str; 15] = [
    "seq",
    "at",
    "type",
    "id",
    "user",
    "resource",
    "provider",
    "model",
    "touchpoint",
    "heldUsd",
    "usd",
    "inputTokens",
    "outputTokens",
    "quota",
    "ratedAs",
];

/// Whether a client prefers CSV to JSON, by its `Accept` header: it names `text/csv`, and not JSON with a higher weight.
#[must_use]
pub fn is_preferred(accept: &str) -> bool {
    let weight = |media_type: &str| {
        accept.split(',').find_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(media_type) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            Some(weight.map_or(Some(1000), thousandths).unwrap_or(0))
        })
    };
    let csv = weight("text/csv").unwrap_or(0);
    csv > 0 && csv >= weight("application/json").unwrap_or(0)
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvPage {
    /// The lines.
    pub text: String,
    /// The last entry of the page, where there are more.
    pub next: Option<u64>,
}

/// Turns a page of entries, as the ledger answers it, into CSV with a header line. Adding up `usd` gives what was spent: a correction
/// has the difference.
///
/// # Errors
/// The page is none.
pub fn from_json(page: &str) -> Result<CsvPage, String> {
    #[derive(Deserialize)]
    struct Page {
        entries: Vec<Entry>,
        next: Option<u64>,
    }
    let page: Page = serde_json::from_str(page).map_err(|error| error.to_string())?;
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(|error| error.to_string())?;
    for entry in &page.entries {
        writer.write_record(record(entry)).map_err(|error| error.to_string())?;
    }
    let bytes = writer.into_inner().map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok(CsvPage { text, next: page.next })
}

/// The value of a `Link` field that leads to the next page (RFC 8288). It is relative to the page's own address.
#[must_use]
pub fn link_to_next<'a>(next: u64, query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    parameters.append_pair("after", &next.to_string());
    parameters.extend_pairs(query.filter(|(name, _)| *name != "after"));
    format!("<?{}>; rel=\"next\"", parameters.finish())
}

fn record(entry: &Entry) -> [String; COLUMNS.len()] {
    let facts = Facts::of(&entry.event);
    let name = |name: Option<&tollgate_core::ids::Name>| name.map(|name| harmless(name.as_str())).unwrap_or_default();
    let call = facts.call;
    let usage = usage_report::contribution(entry).map(|(_, totals)| totals);
    let number = |count: Option<i64>| count.map(|count| count.to_string()).unwrap_or_default();
    [
        entry.seq.to_string(),
        entry.at.to_string(),
        kind(&entry.event).to_owned(),
        harmless(&facts.id),
        call.and_then(|call| call.user_id.as_ref()).map(|user| harmless(user.as_str())).unwrap_or_default(),
        call.map(|call| call.resource.to_string()).unwrap_or_default(),
        name(call.and_then(|call| call.provider.as_ref())),
        name(call.and_then(|call| call.model.as_ref())),
        name(call.and_then(|call| call.attribution.touchpoint.as_ref())),
        facts.held_usd,
        usage.map(|usage| usage.usd.to_string()).unwrap_or_default(),
        number(usage.map(|usage| usage.input_tokens)),
        number(usage.map(|usage| usage.output_tokens)),
        harmless(&facts.quota),
        harmless(&facts.rated_as),
    ]
}

/// A text from outside, so that a spreadsheet takes it for one: what begins like a formula gets an apostrophe before it.
fn harmless(text: &str) -> String {
    match text.chars().next() {
        // The last four are what `=`, `+`, `-` and `@` are in East Asian widths.
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}"),
        _ => text.to_owned(),
    }
}

/// What an event says that has a column.
#[derive(Default)]
struct Facts<'a> {
    id: String,
    call: Option<&'a Call>,
    held_usd: String,
    quota: String,
    /// The model whose rates the call has, where that is not what it was called.
    rated_as: String,
}

impl<'a> Facts<'a> {
    fn of(event: &'a Event) -> Self {
        match event {
            Event::PlanApplied { .. }
            | Event::OverridesSet { .. }
            | Event::ClockSetBack { .. }
            | Event::CountersRestored { .. }
            | Event::Archived { .. }
            | Event::Repaired { .. } => Self::default(),
            Event::QuotaSet { quota_id, .. }
            | Event::QuotaRemoved { quota_id, .. }
            | Event::QuotaReset { quota_id, .. }
            | Event::CreditAdded { quota_id, .. }
            | Event::CreditRevoked { quota_id, .. }
            | Event::CreditLapsed { quota_id, .. }
            | Event::LimitIncreased { quota_id, .. }
            | Event::IncreaseEnded { quota_id, .. }
            | Event::ThresholdCrossed { quota_id, .. } => Self { quota: quota_id.to_string(), ..Self::default() },
            Event::Reserved { id, call, rated_as, held, .. } => Self {
                id: id.to_string(),
                call: Some(call),
                held_usd: held.usd.to_string(),
                rated_as: name_of(rated_as.as_deref()),
                ..Self::default()
            },
            Event::Extended { id, held, .. } => {
                Self { id: id.to_string(), held_usd: held.usd.to_string(), ..Self::default() }
            }
            Event::Released { id, .. } => Self { id: id.to_string(), ..Self::default() },
            Event::Settled(charged)
            | Event::Metered { charged, .. }
            | Event::Expired(charged)
            | Event::SettledLate { charged, .. }
            | Event::Adjusted { charged, .. }
            | Event::Refunded { charged, .. }
            | Event::Recorded { charged, .. } => Self {
                id: charged.id.to_string(),
                call: Some(&charged.call),
                rated_as: name_of(charged.rated_as.as_deref()),
                ..Self::default()
            },
        }
    }
}

/// A model as usage reports have it.
fn name_of(model: Option<&ModelName>) -> String {
    model.map(|model| format!("{}/{}", model.provider, model.model)).unwrap_or_default()
}

/// The event's name, as JSON has it.
const fn kind(event: &Event) -> &'static str {
    match event {
        Event::PlanApplied { .. } => "plan_applied",
        Event::QuotaSet { .. } => "quota_set",
        Event::QuotaRemoved { .. } => "quota_removed",
        Event::QuotaReset { .. } => "quota_reset",
        Event::ClockSetBack { .. } => "clock_set_back",
        Event::CountersRestored { .. } => "counters_restored",
        Event::CreditAdded { .. } => "credit_added",
        Event::CreditRevoked { .. } => "credit_revoked",
        Event::CreditLapsed { .. } => "credit_lapsed",
        Event::LimitIncreased { .. } => "limit_increased",
        Event::IncreaseEnded { .. } => "increase_ended",
        Event::Reserved { .. } => "reserved",
        Event::Extended { .. } => "extended",
        Event::Metered { .. } => "metered",
        Event::Settled(_) => "settled",
        Event::SettledLate { .. } => "settled_late",
        Event::Released { .. } => "released",
        Event::Expired(_) => "expired",
        Event::Recorded { .. } => "recorded",
        Event::ThresholdCrossed { .. } => "threshold_crossed",
        Event::OverridesSet { .. } => "overrides_set",
        Event::Adjusted { .. } => "adjusted",
        Event::Refunded { .. } => "refunded",
        Event::Archived { .. } => "archived",
        Event::Repaired { .. } => "repaired",
    }
}

/// A weight (RFC 9110, section 12.4.2) in thousandths: 0 to 1 with at most three decimals.
fn thousandths(weight: &str) -> Option<u32> {
    let (whole, decimals) = weight.trim().split_once('.').unwrap_or((weight.trim(), ""));
    let whole: u32 = whole.parse().ok()?;
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u32 = format!("{decimals:0<3}").parse().ok()?;
    (whole * 1000 + thousandths <= 1000).then_some(whole * 1000 + thousandths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use tollgate_core::api::{Request, parse_command};
    use tollgate_core::catalog::Catalog;
    use tollgate_core::local::{LocalConfig, LocalLedger};

    use super::*;

    #[test]
    fn csv_is_preferred_where_it_is_named() {
        for yes in [
            "text/csv",
            "Text/CSV; charset=utf-8",
            "text/csv, application/json",
            "application/json;q=0.5, text/csv;q=0.9",
            "text/csv, */*",
        ] {
            assert!(is_preferred(yes), "{yes}");
        }
        for no in [
            "",
            "*/*",
            "application/json",
            "text/csv;q=0",
            "text/csv;q=0.1, application/json",
            "text/csv;q=x",
            "text/csv2",
            "text/csv;q=2",
        ] {
            assert!(!is_preferred(no), "{no}");
        }
    }

    #[test]
    fn what_begins_like_a_formula_is_a_text() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("'=1", "'=1"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), cell);
        }
    }

    #[test]
    fn the_next_page_is_asked_for_as_this_one_was() {
        let link = |query: &[(&'static str, &'static str)]| link_to_next(100, query.iter().copied());
        assert_eq!(link(&[]), "<?after=100>; rel=\"next\"");
        assert_eq!(link(&[("limit", "7"), ("after", "93")]), "<?after=100&limit=7>; rel=\"next\"");
    }

    #[test]
    fn every_kind_of_entry_has_its_name_and_its_columns() {
        let catalog = Catalog::builtin().unwrap();
        let config: LocalConfig = serde_json::from_str(r#"{"tenant":"acme"}"#).unwrap();
        let at = |text: &str| text.parse().unwrap();
        let mut ledger = LocalLedger::new(config, catalog, at("2026-11-24T00:00:00Z")).unwrap();
        let touchpoint = r#""attribution":{"touchpoint":"say \"hi\", twice"}"#;
        let quota = r#"{"scope":"tenant","resource":"llm","unit":"usd","limit":"4","period":"day"}"#;
        for (when, command) in [
            (0, format!(r#"{{"op":"putQuota","id":"q","quota":{quota}}}"#)),
            (
                1,
                format!(
                    r#"{{"op":"reserve","id":"a","userId":"u-7","resource":"llm","provider":"openai","model":"openai/gpt-4o","estimate":{{"usd":"2"}},"ttlSeconds":60,{touchpoint}}}"#
                ),
            ),
            (2, r#"{"op":"extend","id":"a","extend":{"id":"e","ttlSeconds":61}}"#.to_owned()),
            (3, r#"{"op":"settle","id":"a","usage":{"input":1000,"output":100}}"#.to_owned()),
            (4, r#"{"op":"reserve","id":"b","resource":"llm","estimate":{"usd":"1"},"ttlSeconds":1}"#.to_owned()),
            (5, r#"{"op":"reserve","id":"c","resource":"llm","estimate":{"usd":"1"}}"#.to_owned()),
            (6, r#"{"op":"release","id":"c"}"#.to_owned()),
            (7, r#"{"op":"settle","id":"b","usd":"0.25"}"#.to_owned()),
            (8, r#"{"op":"record","id":"d","resource":"llm","usd":"4"}"#.to_owned()),
            (9, r#"{"op":"resetQuota","id":"q"}"#.to_owned()),
            (10, r#"{"op":"deleteQuota","id":"q"}"#.to_owned()),
            (10, r#"{"op":"refund","id":"d","refund":{"id":"r","usd":"1.5","reason":"twice","by":"ops"}}"#.to_owned()),
            (11, r#"{"op":"putOverrides","overrides":{"markups":[{"id":"m","factor":"1.2"}]}}"#.to_owned()),
        ] {
            let request: Request = parse_command(&command).unwrap();
            let now = at(&format!("2026-11-24T00:00:{when:02}Z"));
            let answer = ledger.execute(catalog, now, &request);
            assert!(!answer.is_problem(), "{command}: {}", answer.body);
        }
        let page = parse_command(r#"{"op":"entries","limit":1000}"#).unwrap();
        let page = ledger.execute(catalog, at("2026-11-24T00:01:00Z"), &page).body;
        let CsvPage { text, next } = from_json(&page).unwrap();
        assert_eq!(next, None);

        let json: serde_json::Value = serde_json::from_str(&page).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), COLUMNS.as_slice());
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let entries = json["entries"].as_array().unwrap();
        assert_eq!(rows.len(), entries.len());
        for (row, entry) in rows.iter().zip(entries) {
            assert_eq!(row[0], entry["seq"].to_string());
            assert_eq!(row[1], *entry["at"].as_str().unwrap());
            assert_eq!(row[2], *entry["type"].as_str().unwrap());
        }
        let mut kinds: Vec<&str> = rows.iter().map(|row| &row[2]).collect();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), 14, "{kinds:?}");
        let of = |kind: &str| rows.iter().find(|row| &row[2] == kind).unwrap();
        let settled: Vec<&str> = of("settled").iter().skip(3).collect();
        assert_eq!(
            settled,
            [
                "a",
                "u-7",
                "llm",
                "openai",
                "openai/gpt-4o",
                "say \"hi\", twice",
                "",
                "0.0035",
                "1000",
                "100",
                "",
                "openai/gpt-4o"
            ]
        );
        assert_eq!(&of("reserved")[9], "2");
        // Held 1, expired at 1, settled late at 0.25.
        assert_eq!((&of("expired")[10], &of("settled_late")[10]), ("1", "-0.75"));
        assert_eq!((&of("refunded")[3], &of("refunded")[10]), ("d", "-1.5"));
        assert!(text.starts_with("seq,at,type,") && text.ends_with("\r\n"));
    }
}
