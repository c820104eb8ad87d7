//! Measures the ledger natively, in the core and on SQLite, as `cargo xtask bench ledger` asks: a JSON text per line in, one per line out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that cannot be made ends with its reason"
)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use tollgate_core::api::{self, Answer, Request};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Ledger, Onboard};
use tollgate_core::time::Timestamp;
use tollgate_store::{Cell, Param, Sql, Sqlite, TenantStore};

const NOW: &str = "2026-11-24T12:00:00Z";
/// Reserves, and as many settles, in a commit while a ledger is filled.
const FILL: u64 = 250;
/// Lifecycles whose requests are read before they are measured in the core: few enough that they are still in the processor's cache, as a request is that has just
/// come.
const AT_ONCE: u64 = 500;

fn main() {
    let mut stores = HashMap::new();
    say(&json!({ "ready": true }));
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let number = |name: &str| question[name].as_u64().unwrap();
        let text = |name: &str| question[name].as_str().unwrap().to_owned();
        say(&match question["task"].as_str().unwrap() {
            "core" => core(number("lifecycles")),
            "fill" => {
                let store = Filled::make(Path::new(&text("file")), number("entries"));
                let told = json!({ "entries": store.store.ledger().last_seq(), "bytes": store.bytes() });
                stores.insert(text("file"), store);
                told
            }
            "turns" => stores.get_mut(&text("file")).unwrap().turns(number("lifecycles")),
            "start" => start(Path::new(&text("file"))),
            "audit" => stores.get_mut(&text("file")).unwrap().audit(),
            other => panic!("no task {other}"),
        });
    }
}

fn say(answer: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}").unwrap();
    out.flush().unwrap();
}

/// Two quotas of the tenant and one of the user: three scopes to check and count on.
fn onboard() -> Vec<Request> {
    let quota = |period: &str| json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "1000000000", "period": period });
    let plan = json!({ "quotas": { "month": quota("month"), "day": quota("day") } });
    let onboard = Onboard {
        tenant: "acme".parse().unwrap(),
        plan_name: "default".parse().unwrap(),
        plan: serde_json::from_value(plan).unwrap(),
        policy_version: 0,
    };
    let of_user = (0..32).map(|user| {
        command(&json!({ "op": "putQuota", "id": format!("user-{user}"), "quota":
            { "scope": "user", "scopeId": format!("u-{user}"), "resource": "llm", "unit": "usd", "limit": "1000000000", "period": "day" } }))
    });
    [Request::Command(Command::Onboard(onboard))].into_iter().chain(of_user).collect()
}

fn command(json: &Value) -> Request {
    api::parse_command(&json.to_string()).unwrap_or_else(|problem| panic!("{json}: {problem:?}"))
}

fn reserve(number: u64) -> Request {
    command(&json!({
        "op": "reserve", "id": format!("01JD8Y{number:020}"), "userId": format!("u-{}", number % 32), "resource": "llm",
        "provider": "openai", "model": "gpt-4o", "estimate": { "inputTokens": 1200, "maxOutputTokens": 800 },
        "attribution": { "touchpoint": "main-chat" },
    }))
}

fn settle(number: u64) -> Request {
    command(
        &json!({ "op": "settle", "id": format!("01JD8Y{number:020}"), "usage": { "input": 1100, "cache_read": 100, "output": 350 } }),
    )
}

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Reserve and settle in the core alone: decided and folded in, neither written nor answered.
fn core(lifecycles: u64) -> Value {
    let catalog = Catalog::builtin().unwrap();
    let mut ledger = Ledger::new();
    let mut entries = Vec::new();
    let mut execute = |request: &Request, entries: &mut Vec<_>| {
        let Request::Command(command) = request else { panic!("no command") };
        ledger.execute(catalog, now(), command, entries).unwrap();
        if let Command::Settle(id, _) = command {
            ledger.forget(id);
        }
    };
    for request in onboard() {
        execute(&request, &mut entries);
    }
    let mut spent = 0;
    let mut next = 0;
    while next < lifecycles {
        let numbers = next..lifecycles.min(next + AT_ONCE);
        next = numbers.end;
        let requests: Vec<Request> = numbers.flat_map(|number| [reserve(number), settle(number)]).collect();
        let start = Instant::now();
        for request in &requests {
            entries.clear();
            execute(request, &mut entries);
        }
        spent += nanoseconds(start);
    }
    json!({ "nanoseconds": spent })
}

/// A ledger on disk.
struct Filled {
    store: TenantStore<Sqlite>,
    /// The same database once more.
    file: Sqlite,
    next: u64,
}

impl Filled {
    fn make(file: &Path, entries: u64) -> Self {
        let store = TenantStore::open(database(file)).unwrap();
        let mut filled = Self { store, file: database(file), next: 0 };
        filled.turn(&onboard());
        while filled.store.ledger().last_seq() < entries {
            let left = (entries - filled.store.ledger().last_seq()).div_ceil(2).min(FILL);
            let numbers = filled.next..filled.next + left;
            filled.next = numbers.end;
            filled.turn(&numbers.clone().map(reserve).collect::<Vec<_>>());
            filled.turn(&numbers.map(settle).collect::<Vec<_>>());
        }
        filled
    }

    fn turn(&mut self, requests: &[Request]) -> Vec<Answer> {
        let answers = self.store.execute(Catalog::builtin().unwrap(), now(), requests).unwrap();
        assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
        answers
    }

    /// Reserve and settle, each a commit of its own: nanoseconds of every one.
    fn turns(&mut self, lifecycles: u64) -> Value {
        let mut times = Vec::new();
        for number in self.next..self.next + lifecycles {
            let (reserve, settle) = ([reserve(number)], [settle(number)]);
            let start = Instant::now();
            self.turn(&reserve);
            self.turn(&settle);
            times.push(nanoseconds(start));
        }
        self.next += lifecycles;
        json!({ "nanoseconds": times })
    }

    fn audit(&mut self) -> Value {
        let start = Instant::now();
        let report = self.store.audit().unwrap().unwrap();
        assert!(report.clean, "{report:?}");
        json!({ "nanoseconds": nanoseconds(start), "entries": report.entries })
    }

    fn bytes(&self) -> u64 {
        let number = |sql: &str| match self.file.query(sql, &[]).unwrap().first().map(Vec::as_slice) {
            Some([Cell::Integer(number)]) => u64::try_from(*number).unwrap(),
            other => panic!("{other:?}"),
        };
        number("PRAGMA page_count") * number("PRAGMA page_size")
    }
}

/// What an object does when it starts: opens the database, reads the snapshot, folds the tail.
fn start(file: &Path) -> Value {
    let start = Instant::now();
    let store = TenantStore::open(database(file)).unwrap();
    let taken = nanoseconds(start);
    json!({ "nanoseconds": taken, "entries": store.ledger().last_seq() })
}

/// As workerd opens its databases: with a write-ahead log.
fn database(file: &Path) -> Sqlite {
    let database = Sqlite::open(file).unwrap();
    for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL"] {
        database.query(pragma, &[] as &[Param<'_>]).unwrap();
    }
    database
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap()
}
