//! Measures what repeats cost, on SQLite in a file: a batch of 500 settles, the same again, and 500 whose entries lie in as many rows.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be made ends with its reason")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_core::api::{self, Request};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Onboard};
use tollgate_core::time::Timestamp;
use tollgate_store::{Param, Sql, Sqlite, TenantStore};

/// Commands in a batch.
const BATCH: usize = 500;
/// How often each repeat is measured; the fastest counts.
const TIMES: usize = 5;

fn main() {
    let file = std::env::temp_dir().join(format!("tollgate-repeats-{}.sqlite", std::process::id()));
    for (name, tag_bytes) in [("small", 0), ("with 1 KB of tags", 1_000)] {
        let _old = std::fs::remove_file(&file);
        let mut ledger = Measured::open(&file);
        let ids = |name: &str| (0..BATCH).map(|at| format!("{name}-{at:04}")).collect::<Vec<_>>();
        let (first, other) = (ids("first"), ids("other"));
        let (opened, settled) = (ledger.time(&reserves(&first, tag_bytes)), ledger.time(&settles(&first)));
        let repeat = ledger.best(&settles(&first));
        let opened_again = ledger.best(&reserves(&first, tag_bytes));
        // Each of these is in another row, and each row is as long as rows become.
        for id in &other {
            let mut batch = reserves(std::slice::from_ref(id), tag_bytes);
            batch.extend(reserves(&(0..99).map(|at| format!("{id}-{at}")).collect::<Vec<_>>(), tag_bytes));
            ledger.time(&batch);
            let mut ends = settles(std::slice::from_ref(id));
            ends.extend((0..99).map(|at| request(&json!({ "op": "release", "id": format!("{id}-{at}") }))));
            ledger.time(&ends);
        }
        let worst = ledger.best(&settles(&other));
        let worst_looked_up = ledger
            .best(&other.iter().map(|id| request(&json!({ "op": "getReservation", "id": id }))).collect::<Vec<_>>());
        println!(
            "{name}: {BATCH} reserves {opened:?}, again {opened_again:?}; settles {settled:?}, again {repeat:?}; from 500 rows each {worst:?}, looked up {worst_looked_up:?}"
        );
        let _gone = std::fs::remove_file(&file);
    }
}

struct Measured {
    store: TenantStore<Sqlite>,
}

impl Measured {
    fn open(file: &std::path::Path) -> Self {
        let database = Sqlite::open(file).unwrap();
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"] {
            database.query(pragma, &[] as &[Param<'_>]).unwrap();
        }
        let mut store = TenantStore::open(database).unwrap();
        let quota = |period: &str| json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "1000000000", "period": period });
        let plan = json!({ "quotas": { "month": quota("month"), "day": quota("day"), "life": quota("lifetime") } });
        let onboard = Onboard {
            tenant: "acme".parse().unwrap(),
            plan_name: "default".parse().unwrap(),
            plan: serde_json::from_value(plan).unwrap(),
            policy_version: 0,
        };
        store.execute(Catalog::builtin().unwrap(), now(), &[Request::Command(Command::Onboard(onboard))]).unwrap();
        Self { store }
    }

    fn time(&mut self, requests: &[Request]) -> Duration {
        let start = Instant::now();
        let answers = self.store.execute(Catalog::builtin().unwrap(), now(), requests).unwrap();
        let taken = start.elapsed();
        assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
        taken
    }

    fn best(&mut self, requests: &[Request]) -> Duration {
        (0..TIMES).map(|_| self.time(requests)).min().unwrap()
    }
}

fn reserves(ids: &[String], tag_bytes: usize) -> Vec<Request> {
    let tags: serde_json::Map<String, Value> =
        (0..tag_bytes.div_ceil(200)).map(|at| (format!("t{at}"), json!("x".repeat(200)))).collect();
    let reserve = |id: &String| {
        request(&json!({
            "op": "reserve", "id": id, "resource": "llm", "provider": "openai", "model": "gpt-4o",
            "estimate": { "inputTokens": 1200, "maxOutputTokens": 800 }, "attribution": { "touchpoint": "main-chat", "tags": tags },
        }))
    };
    ids.iter().map(reserve).collect()
}

fn settles(ids: &[String]) -> Vec<Request> {
    let settle = |id: &String| {
        request(&json!({ "op": "settle", "id": id, "usage": { "input": 1100, "cache_read": 100, "output": 350 } }))
    };
    ids.iter().map(settle).collect()
}

fn request(command: &Value) -> Request {
    api::parse_command(&command.to_string()).unwrap()
}

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}
