//! Reports of what was spent: by pages that add up, of bounded size, however many users there are; and from databases whose roll-up was by hours.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use common::{Flaky, at, body, catalog, request};
use serde_json::{Value, json};
use tollgate_core::usage_report::MAX_CELLS;
use tollgate_store::{Cell, Param, Sql, TenantStore};

const NOW: &str = "2026-11-24T12:00:00Z";

fn ask(store: &mut TenantStore<Flaky>, command: &Value) -> (u16, Value, usize) {
    let answer = store.execute(catalog(), at(NOW), &[request(command)]).unwrap().remove(0);
    (answer.status, body(&answer), answer.body.len())
}

fn onboarded() -> (Flaky, TenantStore<Flaky>) {
    let database = Flaky::new();
    let mut store = database.open();
    store.execute(catalog(), at(NOW), &[common::onboard(&json!({}))]).unwrap();
    (database, store)
}

/// Cells as the store keeps them, `count` of them, each of a user of its own.
fn fill(database: &Flaky, count: usize, user: &str) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) \
         INSERT INTO usage SELECT 1795500000000 + (i % 8) * 900000, 'llm', {user}, 'openai/gpt-4o', '', '', i % 5, (i * 7919) % 1000000000000, \
         1, i, 1 FROM n"
    );
    database.database.query(&sql, &[Param::Integer(i64::try_from(count).unwrap())]).unwrap();
}

#[test]
fn pages_have_every_group_once_and_dearest_first() {
    let (database, mut store) = onboarded();
    fill(&database, 2_500, "'u-' || i");
    // Some of them also in what is not stored yet.
    let records: Vec<_> = (0..40)
        .map(|n| request(&json!({ "op": "record", "id": format!("r{n}"), "resource": "llm", "usd": "0.5", "userId": format!("u-{}", n * 70) })))
        .collect();
    store.execute(catalog(), at(NOW), &records).unwrap();
    let mut seen: Vec<(String, i128)> = Vec::new();
    let mut query = json!({ "op": "usage", "groupBy": ["user"], "limit": 333 });
    loop {
        let (status, page, _) = ask(&mut store, &query);
        assert_eq!((status, &page["total"]["calls"]), (200, &json!(2_540)));
        for group in page["groups"].as_array().unwrap() {
            let usd: tollgate_core::money::Usd = group["usd"].as_str().unwrap().parse().unwrap();
            seen.push((group["user"].as_str().unwrap().to_owned(), usd.picos()));
        }
        if page["next"].is_null() {
            break;
        }
        query["after"] = page["next"].clone();
    }
    assert!(
        seen.is_sorted_by(|(a, a_usd), (b, b_usd)| a_usd > b_usd || (a_usd == b_usd && a < b)),
        "in order, each once"
    );
    // 70 × 36 and more are users who are in no cell.
    let sum: i128 = seen.iter().map(|(_, usd)| usd).sum();
    let (_, whole, _) = ask(&mut store, &json!({ "op": "usage" }));
    let total: tollgate_core::money::Usd = whole["total"]["usd"].as_str().unwrap().parse().unwrap();
    assert_eq!((seen.len(), sum), (2_504, total.picos()));
}

#[test]
fn an_answer_has_a_mebibyte_at_most_and_the_next_page_goes_on() {
    let (database, mut store) = onboarded();
    // The longest names, of characters that are two in JSON.
    let sql = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) \
               INSERT INTO usage SELECT 1795500000000, 'llm', 'u-' || printf('%0126d', i), ?1 || '/' || ?1, ?1 || '/' || ?1, ?1, 1, 0, 1, 1, 1 FROM n";
    database.database.query(sql, &[Param::Text(&"\"".repeat(128))]).unwrap();
    let mut query = json!({ "op": "usage", "groupBy": ["user", "model", "calledModel", "touchpoint", "day", "resource"], "limit": 1000 });
    let (mut groups, mut pages) = (0, 0);
    loop {
        let (status, page, bytes) = ask(&mut store, &query);
        assert!(status == 200 && bytes <= 1 << 20, "{bytes} bytes");
        groups += page["groups"].as_array().unwrap().len();
        pages += 1;
        if page["next"].is_null() {
            break;
        }
        query["after"] = page["next"].clone();
    }
    assert_eq!((groups, pages), (1_000, 2));
}

#[test]
fn a_report_that_would_read_too_much_is_refused_and_says_what_to_narrow() {
    let (database, mut store) = onboarded();
    fill(&database, MAX_CELLS + 1, "'u-' || i");
    for group_by in [json!([]), json!(["user"])] {
        let (status, problem, _) = ask(&mut store, &json!({ "op": "usage", "groupBy": group_by }));
        assert_eq!((status, &problem["code"], &problem["field"]), (400, &json!("invalid_request"), &json!("from")));
    }
    let later = json!({ "op": "usage", "groupBy": ["day"], "from": "2026-11-24T10:15:00Z" });
    assert_eq!(ask(&mut store, &later).0, 200);
}

#[test]
fn days_that_would_look_at_too_many_changes_of_clocks_are_refused() {
    let (database, mut store) = onboarded();
    for millis in [0, 253_000_000_000_000_i64] {
        let sql = "INSERT INTO usage VALUES (?1, 'llm', '', '', '', '', 1, 0, 1, 1, 1)";
        database.database.query(sql, &[Param::Integer(millis)]).unwrap();
    }
    let by_day = |zone: &str| json!({ "op": "usage", "groupBy": ["day"], "timeZone": zone });
    assert_eq!(ask(&mut store, &by_day("Europe/Berlin")).0, 400);
    let (status, page, _) = ask(&mut store, &by_day("Asia/Kolkata"));
    assert_eq!(
        (status, &page["groups"]),
        (
            200,
            &json!([
                { "day": "1970-01-01", "usd": "1", "calls": 1, "inputTokens": 1, "outputTokens": 1 },
                { "day": "9987-04-02", "usd": "1", "calls": 1, "inputTokens": 1, "outputTokens": 1 },
            ])
        )
    );
}

/// What the journal of an older database tells, in the quarters of an hour that it was in; what is archived stays where it was.
#[test]
fn the_roll_up_of_an_older_database_is_made_anew_by_quarters() {
    let database = Flaky::new();
    for statement in include_str!("../../../tests/fixtures/store/schema-2.sql").lines() {
        database.database.query(statement.trim_end_matches(';'), &[]).unwrap();
    }
    let rows = |sql: &str| database.database.query(sql, &[]).unwrap();
    let sums = "SUM(usd_whole) * 1000000000000 + SUM(usd_pico), SUM(calls), SUM(input_tokens), SUM(output_tokens)";
    let (before, archived) = (rows(&format!("SELECT {sums} FROM usage")), rows("SELECT * FROM base_usage"));
    assert!(!archived.is_empty());
    let mut store = database.open();
    assert_eq!(rows(&format!("SELECT {sums} FROM usage")), before, "what was rolled up still is");
    assert_eq!(
        rows(
            "SELECT quarter, resource, user, model, touchpoint, usd_whole, usd_pico, calls, input_tokens, output_tokens FROM base_usage"
        ),
        archived
    );
    let finer = rows("SELECT COUNT(*) FROM usage WHERE quarter % 3600000 != 0");
    assert_ne!(finer, [[Cell::Integer(0)]], "some of it is not in the first quarter of its hour");
    let report = store.audit().unwrap().unwrap();
    assert!(report.clean, "{report:#?}");
    drop(store);
    store = database.open();
    assert!(store.audit().unwrap().unwrap().clean);
}
