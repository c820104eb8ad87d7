//! Measures the dearest batches that the documented limits allow, on SQLite in a file: 500 commands on a ledger of 1,000 quotas with the longest ids.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that cannot be made ends with its reason"
)]

use std::time::Instant;

use serde_json::{Map, Value, json};
use tollgate_core::api::{self, Ask, Request};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Onboard};
use tollgate_core::time::Timestamp;
use tollgate_store::{Param, Sql, Sqlite, TenantStore};

fn main() {
    for quotas in [3, 100, 1_000] {
        let file = std::env::temp_dir().join(format!("tollgate-limits-{}-{quotas}.sqlite", std::process::id()));
        let mut store = open(&file, quotas);
        let mut time = |name: &str, command: &dyn Fn(usize) -> Value| {
            let commands: Vec<_> = (0..500).map(|at| api::parse_command(&command(at).to_string())).collect();
            let start = Instant::now();
            let answers = store.carry_out(Catalog::builtin().unwrap(), now(), &[Ask::Batch(commands)]).unwrap();
            let taken = start.elapsed();
            let body: Value = serde_json::from_str(&answers[0].body).unwrap();
            let mut statuses = Map::new();
            for result in body["results"].as_array().unwrap() {
                let count = statuses.entry(result["status"].to_string()).or_insert(json!(0));
                *count = json!(count.as_u64().unwrap() + 1);
            }
            println!(
                "{quotas} quotas, 500 × {name}: {taken:?}, {} bytes, {}",
                answers[0].body.len(),
                Value::Object(statuses)
            );
        };
        let tags: Map<String, Value> = (0..5).map(|at| (format!("t{at}"), json!("x".repeat(200)))).collect();
        let reserve = |usd: &str, op: &str, at: usize| {
            json!({ "op": op, "id": id(at), "resource": "llm", "provider": "openai", "model": "gpt-4o",
            "estimate": { "usd": usd }, "attribution": { "touchpoint": "main-chat", "tags": tags } })
        };
        time("explain", &|at| reserve("1", "explain", at));
        time("denied reserve", &|at| reserve("100000", "reserve", at));
        time("reserve", &|at| reserve("1", "reserve", at));
        time("reserve, again", &|at| reserve("1", "reserve", at));
        time("settle", &|at| json!({ "op": "settle", "id": id(at), "usd": "1" }));
        time("settle, again", &|at| json!({ "op": "settle", "id": id(at), "usd": "1" }));
        drop(store);
        let _gone = std::fs::remove_file(&file);
    }
}

fn id(at: usize) -> String {
    format!("{at:0128}")
}

fn open(file: &std::path::Path, quotas: usize) -> TenantStore<Sqlite> {
    let database = Sqlite::open(file).unwrap();
    for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"] {
        database.query(pragma, &[] as &[Param<'_>]).unwrap();
    }
    let mut store = TenantStore::open(database).unwrap();
    let quotas: Map<String, Value> = (0..quotas)
        .map(|at| {
            let quota = json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "1000", "period": "month",
                "warnAt": (1..=8).map(|at| (f64::from(at) / 8.0).to_string()).collect::<Vec<_>>() });
            (id(at), quota)
        })
        .collect();
    let onboard = Onboard {
        tenant: "acme".parse().unwrap(),
        plan_name: "default".parse().unwrap(),
        plan: serde_json::from_value(json!({ "quotas": quotas })).unwrap(),
        policy_version: 0,
    };
    store.execute(Catalog::builtin().unwrap(), now(), &[Request::Command(Command::Onboard(onboard))]).unwrap();
    store
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}
