//! The usage roll-up in SQL. Money is in two integers, whole dollars and 10⁻¹² dollars, so that SQLite adds it exactly.

use std::collections::BTreeMap;

use tollgate_core::call::Resource;
use tollgate_core::money::Usd;
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::{Dimension, Group, UsageKey, UsageQuery, UsageReport, UsageTotals};

use crate::journal::signed;
use crate::parts::{in_parts, json};
use crate::sql::{Cell, Param, Row, Sql, StoreError};

/// The roll-up of all entries.
pub(crate) const USAGE: &str = "usage";
/// The roll-up of those that are archived.
pub(crate) const BASE_USAGE: &str = "base_usage";

const PICO: i128 = 1_000_000_000_000;

/// Adds to a stored roll-up. One statement for a thousand cells and more: where there are many users, there are as many cells.
pub(crate) fn add(sql: &impl Sql, table: &str, cells: &BTreeMap<UsageKey, UsageTotals>) -> Result<(), StoreError> {
    // JSON's integers reach SQLite as they are written, without a detour through JavaScript's numbers.
    let columns: Vec<String> = (0..10).map(|column| format!("value ->> '$[{column}]'")).collect();
    let statement = format!(
        "INSERT INTO {table} (hour, resource, user, model, touchpoint, usd_whole, usd_pico, calls, input_tokens, output_tokens) \
         SELECT {} FROM json_each(?1) WHERE true \
         ON CONFLICT (hour, resource, user, model, touchpoint) DO UPDATE SET \
         usd_whole = usd_whole + excluded.usd_whole + (usd_pico + excluded.usd_pico) / 1000000000000, \
         usd_pico = (usd_pico + excluded.usd_pico) % 1000000000000, \
         calls = calls + excluded.calls, input_tokens = input_tokens + excluded.input_tokens, \
         output_tokens = output_tokens + excluded.output_tokens",
        columns.join(", ")
    );
    let rows = cells.iter().map(|(key, totals)| {
        let (whole, pico) = split(totals.usd);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        json(&(
            key.hour.millis(),
            key.resource.to_string(),
            text(&key.user),
            text(&key.model),
            text(&key.touchpoint),
            whole,
            pico,
            totals.calls,
            totals.input_tokens,
            totals.output_tokens,
        ))
    });
    in_parts(rows, |rows| sql.query(&statement, &[Param::Text(rows)]))
}

/// The report over what is stored and what is not yet.
pub(crate) fn report(
    sql: &impl Sql,
    query: &UsageQuery,
    pending: &BTreeMap<UsageKey, UsageTotals>,
) -> Result<UsageReport, StoreError> {
    let later = pending.iter().filter(|(key, _)| query.covers(key.hour));
    let mut parts: Vec<_> = later.map(|(key, totals)| (query.group_of(key), *totals)).collect();
    parts.extend(stored(sql, query)?);
    Ok(UsageReport::new(query, parts))
}

/// Every cell of a stored roll-up.
pub(crate) fn cells(sql: &impl Sql, table: &str) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    cells_where(sql, table, "true", &[])
}

/// Those of the hours that overlap a stretch of time.
pub(crate) fn cells_between(
    sql: &impl Sql,
    table: &str,
    from: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    let stretch = [Param::Integer(from.millis() - 3_600_000), Param::Integer(until.millis())];
    cells_where(sql, table, "hour > ?1 AND hour < ?2", &stretch)
}

fn cells_where(
    sql: &impl Sql,
    table: &str,
    condition: &str,
    params: &[Param<'_>],
) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    let mut cells = BTreeMap::<UsageKey, UsageTotals>::new();
    // The hour is the one dimension of a cell that is no dimension of a report.
    let statement = format!(
        "SELECT resource, user, model, touchpoint, CAST(usd_whole AS TEXT), CAST(usd_pico AS TEXT), \
         CAST(calls AS TEXT), CAST(input_tokens AS TEXT), CAST(output_tokens AS TEXT), hour FROM {table} WHERE {condition}"
    );
    for row in sql.query(&statement, params)? {
        let (group, totals) = read(&row, 4)?;
        let Some(Cell::Integer(hour)) = row.last() else {
            return Err(StoreError::Damaged("usage: expected an hour".to_owned()));
        };
        let hour = Timestamp::from_millis(*hour).map_err(|error| StoreError::Damaged(format!("usage: {error}")))?;
        let mut values = group.into_iter();
        let resource = match values.next().flatten().as_deref() {
            Some("llm") => Resource::Llm,
            Some("e2b") => Resource::E2b,
            other => return Err(StoreError::Damaged(format!("usage: resource {other:?}"))),
        };
        let mut next = || values.next().flatten();
        let key = UsageKey { hour, resource, user: next(), model: next(), touchpoint: next() };
        cells.entry(key).or_default().add(&totals);
    }
    Ok(cells)
}

/// Replaces a stored roll-up.
pub(crate) fn replace(sql: &impl Sql, table: &str, cells: &BTreeMap<UsageKey, UsageTotals>) -> Result<(), StoreError> {
    sql.query(&format!("DELETE FROM {table}"), &[])?;
    add(sql, table, cells)
}

fn stored(sql: &impl Sql, query: &UsageQuery) -> Result<Vec<(Group, UsageTotals)>, StoreError> {
    let columns: Vec<&str> = query.group_by.iter().map(|dimension| column(*dimension)).collect();
    let mut select: Vec<String> = columns.iter().map(ToString::to_string).collect();
    // Sums may pass 2⁵³, which only text carries across JavaScript.
    for sum in ["usd_whole", "usd_pico", "calls", "input_tokens", "output_tokens"] {
        select.push(format!("CAST(COALESCE(SUM({sum}), 0) AS TEXT)"));
    }
    let group = if columns.is_empty() { String::new() } else { format!("GROUP BY {}", columns.join(", ")) };
    let statement = format!("SELECT {} FROM usage WHERE hour >= ?1 AND hour < ?2 {group}", select.join(", "));
    let from = query.from.map_or(0, Timestamp::millis);
    let to = query.to.map_or(signed(1 << 53), Timestamp::millis);
    let rows = sql.query(&statement, &[Param::Integer(from), Param::Integer(to)])?;
    rows.iter().map(|row| read(row, query.group_by.len())).collect()
}

fn read(row: &[Cell], dimensions: usize) -> Result<(Group, UsageTotals), StoreError> {
    let mut row = Row::new(row, "usage");
    let mut group = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        group.push(Some(row.text()?.to_owned()).filter(|value| !value.is_empty()));
    }
    let whole = row.large_integer()?;
    let pico = row.large_integer()?;
    let count = |count: i128| i64::try_from(count).map_err(|_| StoreError::Damaged("usage: too large".to_owned()));
    let totals = UsageTotals {
        usd: join(whole, pico)?,
        calls: count(row.large_integer()?)?,
        input_tokens: count(row.large_integer()?)?,
        output_tokens: count(row.large_integer()?)?,
    };
    Ok((group, totals))
}

const fn column(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::User => "user",
        Dimension::Model => "model",
        Dimension::Touchpoint => "touchpoint",
        Dimension::Day => "strftime('%Y-%m-%d', hour / 1000, 'unixepoch')",
        Dimension::Resource => "resource",
    }
}

/// Whole dollars and the rest in 10⁻¹² dollars, both with the amount's sign.
fn split(usd: Usd) -> (i64, i64) {
    let pico = usd.picos();
    let part = |value: i128| i64::try_from(value).unwrap_or(i64::MAX);
    (part(pico / PICO), part(pico % PICO))
}

fn join(whole: i128, pico: i128) -> Result<Usd, StoreError> {
    whole
        .checked_mul(PICO)
        .and_then(|whole| whole.checked_add(pico))
        .map(Usd::from_picos)
        .ok_or_else(|| StoreError::Damaged("usage: too large".to_owned()))
}
