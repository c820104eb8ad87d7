//! What the tests of the ledger share: a ledger that is asked in the words of the wire, and partial comparison of its answers.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking, and each test file uses its own part of this module"
)]

use serde_json::{Value, json};
use tollgate_core::api::{Answer, Request, parse_command};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{
    Beginning, Command, Entry, Event, Ledger, Onboard, Pace, Refolding, Reservation, Snapshot,
};
use tollgate_core::local::LocalLedger;
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;

/// When a desk opens: a Tuesday.
pub const OPENING: &str = "2026-11-24T12:00:00Z";

/// Above this many holds the checks after each command, which look at the whole state, are left to the end.
const CHECKED_HOLDS: usize = 200;

/// A tenant's ledger as its owner keeps it: every entry and every ended reservation is stored as JSON text, and a restart knows
/// nothing but those.
pub struct Desk {
    ledger: Ledger,
    entries: Vec<String>,
    now: Timestamp,
    sight: Sight,
}

/// An answer, as the wire has it.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    pub headers: Vec<(&'static str, String)>,
}

impl Desk {
    /// Onboards a tenant with a plan, as the policy writes it.
    pub fn open(plan: Value) -> Self {
        let mut desk = Self { ledger: Ledger::new(), entries: Vec::new(), now: at(OPENING), sight: Sight::Everything };
        desk.onboard("default", plan).expect(200, json!({ "tenant": "acme" }));
        desk
    }

    /// A tenant whose only quota is this many USD a month for language models.
    pub fn with_monthly_limit(limit: &str) -> Self {
        Self::open(json!({ "quotas": { "month": tenant_quota("llm", limit, "month") } }))
    }

    /// Says for whose eyes the answers are from now on; for an administrator's at first.
    pub const fn seen_by(&mut self, sight: Sight) -> &mut Self {
        self.sight = sight;
        self
    }

    /// Sets the clock, also backwards.
    pub fn at(&mut self, time: &str) -> &mut Self {
        self.now = at(time);
        self
    }

    pub fn onboard(&mut self, plan_name: &str, plan: Value) -> Reply {
        let onboard = Onboard {
            tenant: "acme".parse().unwrap(),
            plan_name: plan_name.parse().unwrap(),
            plan: serde_json::from_value(plan).expect("a plan"),
            policy_version: 1,
        };
        self.carry_out(&Request::Command(Command::Onboard(onboard)))
    }

    /// Asks in the words of a batch's commands.
    pub fn ask(&mut self, command: Value) -> Reply {
        match parse_command(&command.to_string()) {
            Ok(request) => self.carry_out(&request),
            Err(problem) => Reply::from(Answer::problem(&problem)),
        }
    }

    /// Carries out a command that the wire has no words for.
    pub fn command(&mut self, command: Command) -> Reply {
        self.carry_out(&Request::Command(command))
    }

    /// Asks, and expects a status and a part of the body.
    pub fn expect(&mut self, command: Value, status: u16, body: Value) -> Value {
        let reply = self.ask(command);
        reply.expect(status, body);
        reply.body
    }

    /// The state of one quota now.
    pub fn quota(&mut self, id: &str) -> Value {
        let quotas = self.ask(json!({ "op": "listQuotas" })).body;
        let found = quotas["quotas"].as_array().unwrap().iter().find(|quota| quota["id"] == id);
        found.unwrap_or_else(|| panic!("there is no quota `{id}`")).clone()
    }

    /// `spent/held` of one quota now.
    pub fn spent_and_held(&mut self, id: &str) -> String {
        let quota = self.quota(id);
        format!("{}/{}", quota["spent"].as_str().unwrap(), quota["held"].as_str().unwrap())
    }

    /// Everything that happened, oldest first.
    pub fn history(&self) -> Vec<Entry> {
        self.entries.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// How often a quota's threshold was crossed, as `fraction of period`.
    pub fn warnings(&self) -> Vec<String> {
        self.history()
            .into_iter()
            .filter_map(|entry| match entry.event {
                Event::ThresholdCrossed { quota_id, period_start, threshold, .. } => {
                    Some(format!("{quota_id} {threshold} {}", &period_start.to_string()[..10]))
                }
                _ => None,
            })
            .collect()
    }

    /// Everything in memory is lost; what was stored is read back.
    pub fn restart(&mut self) {
        let snapshot = self.snapshot();
        let snapshot: Snapshot = serde_json::from_str(&snapshot).expect("a snapshot is read back");
        let mut restored = Ledger::restore(snapshot);
        for reservation in self.ended() {
            let text = serde_json::to_string(reservation).unwrap();
            restored.recall(serde_json::from_str(&text).expect("a reservation is read back"));
        }
        self.ledger = restored;
        self.check_fold();
    }

    /// The state as text. Equal states give equal texts.
    pub fn snapshot(&self) -> String {
        serde_json::to_string(&self.ledger.snapshot()).unwrap()
    }

    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn ended(&self) -> Vec<&Reservation> {
        let entries = self.history();
        let ids = entries.iter().filter_map(Entry::ends);
        ids.filter_map(|id| self.ledger.reservation(id)).collect()
    }

    fn carry_out(&mut self, request: &Request) -> Reply {
        let catalog = Catalog::builtin().unwrap();
        let mut entries = Vec::new();
        if let Some(beginning) = Pace::default().begin(&self.ledger, self.now) {
            let mut refolding = Refolding::new(Ledger::new(), self.ledger.now(self.now).min(self.now));
            self.history().iter().for_each(|entry| refolding.fold(entry));
            match beginning {
                Beginning::StepBack(refolds) => {
                    self.ledger.set_back(self.now, refolds.then_some(refolding), &mut entries);
                }
                Beginning::TakeIn => self.ledger.take_in(&refolding, &mut entries),
            }
        }
        self.ledger.expire(self.now, usize::MAX, &mut entries);
        self.store(&entries);
        let thorough = self.ledger.open_holds() < CHECKED_HOLDS;
        let before = thorough.then(|| self.snapshot());
        let mut entries = Vec::new();
        let answer = match request {
            Request::Command(command) => match self.ledger.execute(catalog, self.now, command, &mut entries) {
                Ok(outcome) => Answer::outcome(&self.ledger, self.now, &outcome, self.sight),
                Err(rejection) => Answer::problem(&rejection.into()),
            },
            Request::State(query) => Answer::query(&self.ledger, catalog, self.now, query, self.sight),
            Request::History(_) => panic!("a desk keeps no history to ask: use LocalLedger"),
        };
        self.store(&entries);
        if thorough {
            if entries.is_empty() {
                assert_eq!(Some(self.snapshot()), before, "nothing was recorded, and the state changed");
            } else {
                assert!(!answer.is_problem(), "{answer:?} came with {entries:?}");
            }
            self.check_fold();
        }
        Reply::from(answer)
    }

    fn store(&mut self, entries: &[Entry]) {
        let texts = entries.iter().map(|entry| serde_json::to_string(entry).unwrap());
        self.entries.extend(texts);
    }

    /// Invariant 3: the state is the fold of the entries.
    fn check_fold(&self) {
        let mut folded = Ledger::new();
        for entry in self.history() {
            folded.evolve(&entry);
        }
        let folded = serde_json::to_string(&folded.snapshot()).unwrap();
        assert_eq!(folded, self.snapshot(), "the state is not the fold of the entries");
    }
}

/// The ledger in memory that the npm package runs in process.
pub struct Local(LocalLedger);

impl Local {
    pub fn open(config: Value) -> Self {
        Self::open_at(at(OPENING), config)
    }

    pub fn open_at(now: Timestamp, config: Value) -> Self {
        let config = serde_json::from_value(config).expect("a configuration");
        Self(LocalLedger::new(config, Catalog::builtin().unwrap(), now).unwrap())
    }

    pub fn ask(&mut self, now: Timestamp, command: &Value) -> Reply {
        Reply::from(match parse_command(&command.to_string()) {
            Ok(request) => self.0.execute(Catalog::builtin().unwrap(), now, &request),
            Err(problem) => Answer::problem(&problem),
        })
    }

    pub const fn ledger(&self) -> &Ledger {
        self.0.ledger()
    }
}

impl Reply {
    /// Checks the status, and that everything in `body` is in the answer.
    pub fn expect(&self, status: u16, body: Value) -> &Self {
        let partial = difference("$", &self.body, &body);
        assert!(
            self.status == status && partial.is_none(),
            "expected {status} {body}\ngot {} {}\n{}",
            self.status,
            self.body,
            partial.unwrap_or_default()
        );
        self
    }

    /// Checks for a denial by a quota.
    pub fn expect_denial(&self, quota: &str) -> &Value {
        self.expect(429, json!({ "code": "quota_exceeded", "denial": { "quota": quota } }));
        &self.body["denial"]
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(named, _)| *named == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        let body = if answer.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&answer.body).expect("an answer's body is JSON")
        };
        Self { status: answer.status, body, headers: answer.headers }
    }
}

/// Where `actual` lacks something of `expected`: objects may have more, arrays must have the same length.
pub fn difference(path: &str, actual: &Value, expected: &Value) -> Option<String> {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match actual.get(name) {
                Some(actual) => difference(&path, actual, value),
                None => Some(format!("{path}: expected {value}, and it is not there")),
            }
        }),
        (Value::Array(actual), Value::Array(expected)) => {
            if actual.len() != expected.len() {
                return Some(format!("{path}: expected {} elements, got {}", expected.len(), actual.len()));
            }
            let pairs = actual.iter().zip(expected).enumerate();
            pairs
                .filter_map(|(index, (actual, expected))| difference(&format!("{path}[{index}]"), actual, expected))
                .next()
        }
        _ if actual == expected => None,
        _ => Some(format!("{path}: expected {expected}, got {actual}")),
    }
}

pub fn at(time: &str) -> Timestamp {
    time.parse().unwrap_or_else(|_| panic!("{time} is a time"))
}

pub fn tenant_quota(resource: &str, limit: &str, period: &str) -> Value {
    json!({ "scope": "tenant", "resource": resource, "unit": "usd", "limit": limit, "period": period })
}

pub fn user_quota(user: &str, resource: &str, limit: &str, period: &str) -> Value {
    json!({ "scope": "user", "scopeId": user, "resource": resource, "unit": "usd", "limit": limit, "period": period })
}

/// A reserve of an amount for a language model.
pub fn reserve(id: &str, usd: &str) -> Value {
    json!({ "op": "reserve", "id": id, "resource": "llm", "estimate": { "usd": usd } })
}

/// A reserve of tokens of a model.
pub fn reserve_tokens(id: &str, (provider, model): (&str, &str), input: u64, max_output: u64) -> Value {
    json!({ "op": "reserve", "id": id, "resource": "llm", "provider": provider, "model": model,
        "estimate": { "inputTokens": input, "maxOutputTokens": max_output } })
}

pub fn settle(id: &str, usd: &str) -> Value {
    json!({ "op": "settle", "id": id, "usd": usd })
}

pub fn release(id: &str) -> Value {
    json!({ "op": "release", "id": id })
}

pub fn record(id: &str, usd: &str) -> Value {
    json!({ "op": "record", "id": id, "resource": "llm", "usd": usd })
}

/// A command with members added or replaced.
pub fn with(mut command: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("members are an object") };
    command.as_object_mut().expect("a command is an object").extend(more);
    command
}
