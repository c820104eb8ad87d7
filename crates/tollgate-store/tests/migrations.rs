//! Databases that older versions wrote, as they wrote them: each becomes the current schema, and nothing is lost.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use common::{Flaky, at, body, catalog, request};
use serde_json::{Value, json};
use tollgate_core::api::{ArchiveRequest, JournalQuery};
use tollgate_store::{Cell, Param, Sql, StoreError, TenantStore};

/// By version, dumped by SQLite: tenant `acme`, with settled, released, recorded, expired, late and open reservations, a snapshot and a
/// tail after it.
const SCHEMAS: [(i64, &str); 1] = [(1, include_str!("../../../tests/fixtures/store/schema-1.sql"))];
/// What version 0.1.0 stored under schema 2, before corrections drew on credits and before there were refunds: an archive, a snapshot and a tail; credits that ended, rolled
/// over and were revoked under holds that were settled late, re-rated, metered, extended and reset in between.
const SCHEMA_2: &str = include_str!("../../../tests/fixtures/store/schema-2.sql");
/// What it answered about that.
const ANSWERS_2: &str = include_str!("../../../tests/fixtures/store/schema-2.json");
const NOW: &str = "2026-11-24T15:00:00Z";

fn written_by(dump: &str) -> Flaky {
    let flaky = Flaky::new();
    for statement in dump.lines() {
        flaky.database.query(statement.trim_end_matches(';'), &[]).unwrap();
    }
    flaky
}

fn run(store: &mut TenantStore<Flaky>, commands: &[Value]) -> Vec<(u16, Value)> {
    let requests: Vec<_> = commands.iter().map(request).collect();
    let answers = store.execute(catalog(), at(NOW), &requests).unwrap();
    answers.iter().map(|answer| (answer.status, body(answer))).collect()
}

fn version(database: &Flaky) -> Vec<Vec<Cell>> {
    database.database.query("SELECT version FROM schema_version", &[]).unwrap()
}

/// Every table and index, without the order of columns that were added later.
fn shape(database: &Flaky) -> Vec<Vec<Cell>> {
    let sql = "SELECT m.name, p.name, p.type, p.\"notnull\", p.pk FROM sqlite_master m, pragma_table_info(m.name) p \
               WHERE m.name NOT LIKE 'sqlite%' ORDER BY 1, 2";
    database.database.query(sql, &[]).unwrap()
}

#[test]
fn every_older_schema_becomes_the_current_one() {
    let fresh = Flaky::new();
    let mut store = fresh.open();
    store.execute(catalog(), at(NOW), &[common::onboard(&json!({}))]).unwrap();
    for (found, dump) in [SCHEMAS[0], (2, SCHEMA_2)] {
        let database = written_by(dump);
        assert_eq!(version(&database), [[Cell::Integer(found)]]);
        drop(database.open());
        assert_eq!(version(&database), version(&fresh), "from {found}");
        assert_eq!(shape(&database), shape(&fresh), "from {found}");
    }
}

#[test]
fn what_an_older_version_stored_is_found_counted_and_audited() {
    for (found, dump) in SCHEMAS {
        let database = written_by(dump);
        let mut store = database.open();
        let report = store.audit().unwrap().unwrap();
        assert!(report.clean, "from {found}: {report:#?}");
        assert_eq!((report.entries, store.ledger().open_holds()), (29, 2));
        let quotas = run(&mut store, &[json!({ "op": "listQuotas" })]).remove(0).1;
        let month = quotas["quotas"].as_array().unwrap().iter().find(|quota| quota["id"] == "month").unwrap();
        // 0.006125 settled, 4 unreported, 1.25 late, 0.25 recorded, 6 × 0.5; 7 and 0.011 open.
        assert_eq!((&month["spent"], &month["held"]), (&json!("8.506125"), &json!("7.011")));
        let usage = run(&mut store, &[json!({ "op": "usage" })]).remove(0).1;
        assert_eq!(usage["total"]["usd"], "8.506125");
        let answers = run(
            &mut store,
            &[
                json!({ "op": "settle", "id": "settled", "usage": { "input": 1000, "cache_read": 100, "output": 350 } }),
                json!({ "op": "settle", "id": "late", "usd": "1.25" }),
                json!({ "op": "settle", "id": "unreported", "usd": "3" }),
                json!({ "op": "settle", "id": "open-early", "usage": { "input": 10, "output": 10 } }),
                json!({ "op": "settle", "id": "open-late", "usd": "7" }),
                json!({ "op": "extend", "id": "open-early", "extend": { "id": "ext-1", "ttlSeconds": 86400 } }),
            ],
        );
        let statuses: Vec<_> = answers.iter().map(|(status, answer)| (*status, answer["replayed"] == true)).collect();
        assert_eq!(statuses, [(200, true), (200, true), (200, false), (200, false), (200, false), (200, true)]);
        assert!(store.audit().unwrap().unwrap().clean);
        // What came from the older version can be archived.
        let rows = store.journal(JournalQuery { after: 0, limit: 1_000 }).unwrap().unwrap().rows;
        let last = rows.last().unwrap();
        let order = ArchiveRequest { through: last.through, head: last.head.clone(), forget_through: None };
        assert!(store.archive(at(NOW), &order).unwrap().unwrap().complete);
        let report = database.open().audit().unwrap().unwrap();
        assert!(report.clean, "from {found}: {report:#?}");
    }
}

#[test]
fn what_was_stored_before_corrections_drew_on_credits_folds_to_what_it_did() {
    let expected: Value = serde_json::from_str(ANSWERS_2).unwrap();
    let database = written_by(SCHEMA_2);
    let mut store = database.open();
    let report = store.audit().unwrap().unwrap();
    assert!(report.clean, "{report:#?}");
    assert_eq!(
        json!([report.entries, store.ledger().open_holds()]),
        json!([expected["entries"], expected["openHolds"]])
    );
    let now = at(expected["now"].as_str().unwrap());
    let answers = expected["answers"].as_array().unwrap();
    assert!(answers.len() > 25);
    for asked in answers {
        let answer = store.execute(catalog(), now, &[request(&asked["command"])]).unwrap().remove(0);
        assert_eq!(json!(answer.status), asked["status"], "{}", asked["command"]);
        if let Some(missing) = missing("$", &asked["body"], &body(&answer)) {
            panic!("{}: {missing} in {}", asked["command"], answer.body);
        }
    }
    assert!(store.audit().unwrap().unwrap().clean);
}

/// What an answer of then has and the answer of now does not; there may be more by now.
fn missing(path: &str, then: &Value, now: &Value) -> Option<String> {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => then
            .iter()
            .find_map(|(name, value)| missing(&format!("{path}.{name}"), value, now.get(name).unwrap_or(&Value::Null))),
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => {
            let mut pairs = then.iter().zip(now).enumerate();
            pairs.find_map(|(at, (then, now))| missing(&format!("{path}[{at}]"), then, now))
        }
        _ => (then != now).then(|| format!("{path} was {then} and is {now}")),
    }
}

#[test]
fn a_migration_that_fails_leaves_the_older_schema() {
    for (found, dump) in SCHEMAS {
        for statement in 0.. {
            let database = written_by(dump);
            let shape_before = shape(&database);
            database.fail_in.set(Some(statement));
            if TenantStore::open(database.clone()).is_ok() {
                assert!(statement > 3, "a migration has more statements than {statement}");
                break;
            }
            if version(&database) == [[Cell::Integer(found)]] {
                assert_eq!(shape(&database), shape_before, "statement {statement}");
            }
            let report = database.open().audit().unwrap().unwrap();
            assert!(report.clean, "statement {statement}: {report:#?}");
        }
    }
}

#[test]
fn a_later_schema_is_refused_and_left_alone() {
    for (_, dump) in SCHEMAS {
        let database = written_by(dump);
        database.database.query("UPDATE schema_version SET version = ?1", &[Param::Integer(99)]).unwrap();
        let before = shape(&database);
        assert!(matches!(TenantStore::open(database.clone()), Err(StoreError::NewerSchema { found: 99, .. })));
        assert_eq!(shape(&database), before);
    }
}
