//! The usage roll-up in SQL. Money is in two integers, whole dollars and 10⁻¹² dollars, so that SQLite adds it exactly.

use std::collections::BTreeMap;

use tollgate_core::api::Problem;
use tollgate_core::call::Resource;
use tollgate_core::fault::{self, Fault};
use tollgate_core::ledger::Ledger;
use tollgate_core::money::Usd;
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::{
    self, Dimension, Group, MAX_CELLS, UsageKey, UsageQuery, UsageReport, UsageTotals, too_many_cells,
};

use crate::archive;
use crate::journal::{self, signed};
use crate::parts::{in_parts, json, parts};
use crate::sql::{Cell, Param, Row, Sql, StoreError};

/// The roll-up of all entries.
pub(crate) const USAGE: &str = "usage";
/// The roll-up of those that are archived.
pub(crate) const BASE_USAGE: &str = "base_usage";

const PICO: i128 = 1_000_000_000_000;
/// How many cells a rebuild has in memory.
const REBUILT_AT_ONCE: usize = 4_000;
/// How many changes of clocks the days of one report may look at: twice a year for centuries.
const MOST_CHANGES: usize = 1_000;

/// Adds to a stored roll-up. One statement for a thousand cells and more: where there are many users, there are as many cells.
pub(crate) fn add(sql: &impl Sql, table: &str, cells: &BTreeMap<UsageKey, UsageTotals>) -> Result<(), StoreError> {
    // JSON's integers reach SQLite as they are written, without a detour through JavaScript's numbers.
    let columns: Vec<String> = (0..11).map(|column| format!("value ->> '$[{column}]'")).collect();
    let statement = format!(
        "INSERT INTO {table} (quarter, resource, user, model, called, touchpoint, usd_whole, usd_pico, calls, input_tokens, \
         output_tokens) SELECT {} FROM json_each(?1) WHERE true \
         ON CONFLICT (quarter, resource, user, model, called, touchpoint) DO UPDATE SET \
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
            key.quarter.millis(),
            key.resource.to_string(),
            text(&key.user),
            text(&key.model),
            text(&key.called),
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

/// The report over what is stored and what is not yet. SQLite groups, orders and cuts, so that only a page is in memory. The problem: it would read too much.
pub(crate) fn report(
    sql: &impl Sql,
    query: &UsageQuery,
    pending: &BTreeMap<UsageKey, UsageTotals>,
) -> Result<Result<UsageReport, Problem>, StoreError> {
    let mut total = UsageTotals::default();
    let mut later = BTreeMap::<Group, UsageTotals>::new();
    for (key, totals) in pending.iter().filter(|(key, _)| query.covers(key.quarter)) {
        total.add(totals);
        later.entry(query.group_of(key)).or_default().add(totals);
    }
    let range = [Param::Integer(query.from.map_or(0, Timestamp::millis)), Param::Integer(until(query))];
    let most = i64::try_from(MAX_CELLS).unwrap_or(i64::MAX);
    let sums = "CAST(COALESCE(SUM(usd_whole), 0) AS TEXT), CAST(COALESCE(SUM(usd_pico), 0) AS TEXT), \
                CAST(COALESCE(SUM(calls), 0) AS TEXT), CAST(COALESCE(SUM(input_tokens), 0) AS TEXT), \
                CAST(COALESCE(SUM(output_tokens), 0) AS TEXT)";
    let [from, to] = range;
    let rows = sql.query(
        &format!(
            "SELECT {sums}, COUNT(*) FROM (SELECT usd_whole, usd_pico, calls, input_tokens, output_tokens FROM usage \
             WHERE quarter >= ?1 AND quarter < ?2 LIMIT ?3)"
        ),
        &[from, to, Param::Integer(most.saturating_add(1))],
    )?;
    for row in &rows {
        if matches!(row.last(), Some(Cell::Integer(count)) if *count > most) {
            return Ok(Err(too_many_cells()));
        }
        total.add(&read(row, 0)?.1);
    }
    if query.group_by.is_empty() {
        return Ok(Ok(UsageReport::page(query, Vec::new(), total)));
    }
    let Some(columns) = columns(sql, query, range)? else { return Ok(Err(too_many_changes())) };
    let groups = groups(sql, query, range, &columns, &later)?;
    Ok(Ok(UsageReport::page(query, groups, total)))
}

/// Makes the roll-up anew from what is archived and the journal, up to an entry: a few thousand cells at a time, however long the journal is.
/// Returns the state that the entries lead to.
pub(crate) fn rebuild(sql: &impl Sql, through: u64) -> Result<Ledger, StoreError> {
    sql.query("DELETE FROM usage", &[])?;
    sql.query("INSERT INTO usage SELECT * FROM base_usage", &[])?;
    let base = archive::base(sql)?;
    let mut ledger = base.ledger;
    let mut last = base.last_entry;
    let mut cells = BTreeMap::<UsageKey, UsageTotals>::new();
    while last < through {
        // One at a time: a row has a megabyte of entries at most.
        let Some(row) = journal::read_rows(sql, last, 1)?.pop().filter(|row| row.last_entry <= through) else { break };
        for entry in &row.entries {
            ledger.evolve(entry);
            if let Some((key, totals)) = usage_report::contribution(entry) {
                cells.entry(key).or_default().add(&totals);
            }
        }
        ledger.forget_ended();
        last = row.last_entry;
        if cells.len() >= REBUILT_AT_ONCE {
            add(sql, USAGE, &core::mem::take(&mut cells))?;
        }
    }
    add(sql, USAGE, &cells)?;
    if last == through {
        Ok(ledger)
    } else {
        Err(StoreError::Damaged(format!("journal: no row ends with entry {through}")))
    }
}

/// Every cell of a stored roll-up.
pub(crate) fn cells(sql: &impl Sql, table: &str) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    cells_where(sql, table, "true", &[])
}

/// Those of which an hour overlaps a stretch of time.
pub(crate) fn cells_between(
    sql: &impl Sql,
    table: &str,
    from: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    let stretch = [Param::Integer(from.millis() - 3_600_000), Param::Integer(until.millis())];
    cells_where(sql, table, "quarter > ?1 AND quarter < ?2", &stretch)
}

fn cells_where(
    sql: &impl Sql,
    table: &str,
    condition: &str,
    params: &[Param<'_>],
) -> Result<BTreeMap<UsageKey, UsageTotals>, StoreError> {
    let mut cells = BTreeMap::<UsageKey, UsageTotals>::new();
    // The quarter is the one dimension of a cell that is no dimension of a report.
    let statement = format!(
        "SELECT resource, user, model, called, touchpoint, CAST(usd_whole AS TEXT), CAST(usd_pico AS TEXT), \
         CAST(calls AS TEXT), CAST(input_tokens AS TEXT), CAST(output_tokens AS TEXT), quarter FROM {table} WHERE {condition}"
    );
    for row in sql.query(&statement, params)? {
        let (group, totals) = read(&row, 5)?;
        let Some(Cell::Integer(quarter)) = row.last() else {
            return Err(StoreError::Damaged("usage: expected an instant".to_owned()));
        };
        let quarter =
            Timestamp::from_millis(*quarter).map_err(|error| StoreError::Damaged(format!("usage: {error}")))?;
        let mut values = group.into_iter();
        let resource = match values.next().flatten().as_deref() {
            Some("llm") => Resource::Llm,
            Some("e2b") => Resource::E2b,
            other => return Err(StoreError::Damaged(format!("usage: resource {other:?}"))),
        };
        let mut next = || values.next().flatten();
        let key = UsageKey { quarter, resource, user: next(), model: next(), called: next(), touchpoint: next() };
        cells.entry(key).or_default().add(&totals);
    }
    Ok(cells)
}

/// Replaces a stored roll-up.
pub(crate) fn replace(sql: &impl Sql, table: &str, cells: &BTreeMap<UsageKey, UsageTotals>) -> Result<(), StoreError> {
    sql.query(&format!("DELETE FROM {table}"), &[])?;
    add(sql, table, cells)
}

/// The groups after those of the page before, in order, one more than a page has.
fn groups(
    sql: &impl Sql,
    query: &UsageQuery,
    range: [Param<'_>; 2],
    columns: &[String],
    later: &BTreeMap<Group, UsageTotals>,
) -> Result<Vec<(Group, UsageTotals)>, StoreError> {
    // As JSON, like everything of which there can be many.
    let later = later.iter().map(|(group, totals)| {
        let (whole, pico) = split(totals.usd);
        let group: Vec<&str> = group.iter().map(|value| value.as_deref().unwrap_or_default()).collect();
        json(&(group, whole, pico, totals.calls, totals.input_tokens, totals.output_tokens))
    });
    let later = parts(later)?;
    let names: Vec<String> = (0..columns.len()).map(|at| format!("g{at}")).collect();
    let names = names.join(", ");
    let mut params = range.to_vec();
    let mut number = |param| {
        params.push(param);
        params.len()
    };
    let selected = columns.iter().enumerate().map(|(at, column)| format!("{column} AS g{at}"));
    let mut cells = format!(
        "SELECT {}, usd_whole, usd_pico, calls, input_tokens, output_tokens FROM usage WHERE quarter >= ?1 AND quarter < ?2",
        selected.collect::<Vec<_>>().join(", ")
    );
    for part in &later {
        let values = (0..columns.len()).map(|at| format!("value ->> '$[0][{at}]'"));
        let sums = (1..6).map(|at| format!("value ->> '$[{at}]'"));
        let values: Vec<String> = values.chain(sums).collect();
        cells.push_str(&format!(
            " UNION ALL SELECT {} FROM json_each(?{})",
            values.join(", "),
            number(Param::Text(part))
        ));
    }
    let mut after = String::new();
    if let Some(cursor) = &query.after {
        // Below, amounts are written with the smaller of the two parts at zero or above.
        let (whole, pico) = (cursor.usd.picos().div_euclid(PICO), cursor.usd.picos().rem_euclid(PICO));
        let integer = |value: i128| Param::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        let mut values = vec![number(integer(-whole)), number(integer(-pico))];
        values.extend(cursor.group.iter().map(|value| number(Param::Text(value.as_deref().unwrap_or_default()))));
        let values: Vec<String> = values.into_iter().map(|number| format!("?{number}")).collect();
        let is_later = if fault::on(Fault::UsagePageRepeats) { ">=" } else { ">" };
        after = format!("WHERE (-whole, -pico, {names}) {is_later} ({})", values.join(", "));
    }
    let limit = number(Param::Integer(i64::from(query.limit) + 1));
    // Equal amounts are written alike, so that their order is that of the groups' values.
    let pico = format!("(usd_pico % {PICO} + {PICO}) % {PICO}");
    let statement = format!(
        "WITH cells AS ({cells}), \
         sums AS (SELECT {names}, SUM(usd_whole) AS usd_whole, SUM(usd_pico) AS usd_pico, SUM(calls) AS calls, \
         SUM(input_tokens) AS input_tokens, SUM(output_tokens) AS output_tokens FROM cells GROUP BY {names}), \
         exact AS (SELECT {names}, usd_whole + (usd_pico - {pico}) / {PICO} AS whole, {pico} AS pico, calls, input_tokens, \
         output_tokens FROM sums) \
         SELECT {names}, CAST(whole AS TEXT), CAST(pico AS TEXT), CAST(calls AS TEXT), CAST(input_tokens AS TEXT), \
         CAST(output_tokens AS TEXT) FROM exact {after} ORDER BY whole DESC, pico DESC, {names} LIMIT ?{limit}"
    );
    let rows = sql.query(&statement, &params)?;
    rows.iter().map(|row| read(row, columns.len())).collect()
}

/// What a report is grouped by, as expressions. None where its days would have to look at too many changes of clocks.
fn columns(sql: &impl Sql, query: &UsageQuery, range: [Param<'_>; 2]) -> Result<Option<Vec<String>>, StoreError> {
    let mut columns = Vec::with_capacity(query.group_by.len());
    for dimension in &query.group_by {
        columns.push(match dimension {
            Dimension::User => "user".to_owned(),
            Dimension::Model => "model".to_owned(),
            Dimension::CalledModel => "CASE called WHEN '' THEN model ELSE called END".to_owned(),
            Dimension::Touchpoint => "touchpoint".to_owned(),
            Dimension::Resource => "resource".to_owned(),
            Dimension::Day => match offset(sql, query, range)? {
                Some(offset) => format!("strftime('%Y-%m-%d', quarter / 1000 + {offset}, 'unixepoch')"),
                None => return Ok(None),
            },
        });
    }
    Ok(Some(columns))
}

/// How many seconds the clocks of a report's days are ahead at a quarter, as an expression: for the times that there is anything of. None where clocks change too
/// often in between.
fn offset(sql: &impl Sql, query: &UsageQuery, range: [Param<'_>; 2]) -> Result<Option<String>, StoreError> {
    if fault::on(Fault::UsageDaysAreUtc) {
        return Ok(Some("0".to_owned()));
    }
    let of = |function: &str| format!("(SELECT {function}(quarter) FROM usage WHERE quarter >= ?1 AND quarter < ?2)");
    let rows = sql.query(&format!("SELECT {}, {}", of("MIN"), of("MAX")), &range)?;
    let Some([Cell::Integer(first), Cell::Integer(last)]) = rows.first().map(Vec::as_slice) else {
        return Ok(Some("0".to_owned()));
    };
    // The latest first: most that is asked about is recent.
    let mut at = last.div_euclid(1_000);
    let mut expression = "CASE".to_owned();
    for _ in 0..MOST_CHANGES {
        let span = query.zone.span(at);
        if span.from <= first.div_euclid(1_000) {
            return Ok(Some(if expression == "CASE" {
                span.offset.to_string()
            } else {
                format!("({expression} ELSE {} END)", span.offset)
            }));
        }
        expression.push_str(&format!(" WHEN quarter >= {}000 THEN {}", span.from, span.offset));
        at = span.from - 1;
    }
    Ok(None)
}

fn too_many_changes() -> Problem {
    Problem::invalid(
        "from",
        "the days of the report would look at more than 1000 changes of clocks: narrow `from` and `to`",
    )
}

fn until(query: &UsageQuery) -> i64 {
    query.to.map_or(signed(1 << 53), Timestamp::millis)
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
