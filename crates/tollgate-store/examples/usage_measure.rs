//! Measures usage reports over many users: time, and the most memory that the process has had.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a measurement")]
use serde_json::json;
use std::time::Instant;
use tollgate_core::api;
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Onboard};
use tollgate_store::{Param, Sql, Sqlite, TenantStore};
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|l| l.starts_with("VmHWM")).unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        / 1024
}
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let users: i64 = args[1].parse().unwrap();
    let file = std::path::PathBuf::from(&args[2]);
    let _ = std::fs::remove_file(&file);
    let catalog = Catalog::builtin().unwrap();
    {
        let sql = Sqlite::open(&file).unwrap();
        let mut store = TenantStore::open(&sql).unwrap();
        let onboard = Onboard {
            tenant: "acme".parse().unwrap(),
            plan_name: "default".parse().unwrap(),
            plan: serde_json::from_value(json!({})).unwrap(),
            policy_version: 0,
        };
        store
            .execute(
                catalog,
                "2026-11-24T12:00:00Z".parse().unwrap(),
                &[api::Request::Command(Command::Onboard(onboard))],
            )
            .unwrap();
        let old = sql.query("SELECT 1 FROM pragma_table_info('usage') WHERE name = 'hour'", &[]).unwrap().len() == 1;
        let called = if old { "" } else { "''," };
        let q = format!(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) INSERT INTO usage SELECT 1795500000000 + (i % 8) * 3600000, 'llm', 'user-' || i, 'openai/gpt-4o', {called} 'main-chat', i % 5, (i * 7919) % 1000000000000, 1, i, 1 FROM n"
        );
        sql.query(&q, &[Param::Integer(users)]).unwrap();
    }
    let sql = Sqlite::open(&file).unwrap();
    let mut store = TenantStore::open(&sql).unwrap();
    let before = peak();
    let request = api::parse_command(&json!({"op":"usage","groupBy":["user"]}).to_string()).unwrap();
    for _ in 0..3 {
        let start = Instant::now();
        let answer = store
            .execute(catalog, "2026-11-24T12:00:00Z".parse().unwrap(), core::slice::from_ref(&request))
            .unwrap()
            .remove(0);
        println!(
            "{users} users: {} ms, answer {} KB, peak {} MB (before {before} MB)",
            start.elapsed().as_millis(),
            answer.body.len() / 1024,
            peak()
        );
    }
}
