//! What the tests of the store share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::cell::{Cell as Counter, RefCell};
use std::rc::Rc;

use serde_json::{Value, json};
use tollgate_core::api::{self, Answer, Request};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Onboard};
use tollgate_core::policy::Plan;
use tollgate_core::time::Timestamp;
use tollgate_store::{Param, Rows, Sql, SqlError, Sqlite, StoreError, TenantStore};

pub fn catalog() -> &'static Catalog {
    Catalog::builtin().unwrap()
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn request(command: &Value) -> Request {
    api::parse_command(&command.to_string()).unwrap_or_else(|problem| panic!("{command}: {problem:?}"))
}

pub fn onboard(plan: &Value) -> Request {
    let plan: Plan = serde_json::from_value(plan.clone()).unwrap();
    Request::Command(Command::Onboard(Onboard {
        tenant: "acme".parse().unwrap(),
        plan_name: "default".parse().unwrap(),
        plan,
        policy_version: 0,
    }))
}

pub fn usd_quota(limit: &str, period: &str) -> Value {
    json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": limit, "period": period })
}

pub fn body(answer: &Answer) -> Value {
    if answer.body.is_empty() { Value::Null } else { serde_json::from_str(&answer.body).unwrap() }
}

/// What a batch answers to its one command, with the quotas that it names filled in as the npm package does: as if the command had been asked alone.
pub fn alone(answer: &Answer) -> (u64, Value) {
    let batch = body(answer);
    assert_eq!((answer.status, batch["results"].as_array().map(Vec::len)), (200, Some(1)), "{batch}");
    let mut result = batch["results"][0]["body"].clone();
    let fill_in = |part: &mut Value, left_out: &[&str]| {
        let Some(Value::Array(quotas)) = part.get_mut("quotas") else { return };
        for quota in quotas {
            let said = if quota.is_string() { json!({ "id": quota.take() }) } else { quota.take() };
            let mut states = batch["quotas"].as_array().unwrap().iter();
            let mut state = states.find(|state| state["id"] == said["id"]).cloned().unwrap_or_else(|| json!({}));
            state.as_object_mut().unwrap().retain(|name, _| !left_out.contains(&name.as_str()));
            state.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            *quota = state;
        }
    };
    fill_in(&mut result, &[]);
    if let Some(denial) = result.get_mut("denial") {
        // A denial says of its quotas what there is, and not of which credits and increases it is made.
        fill_in(denial, &["credits", "moreCredits", "increases", "moreIncreases"]);
    }
    (batch["results"][0]["status"].as_u64().unwrap(), result)
}

/// A database that can be reopened, and that fails on demand.
#[derive(Clone)]
pub struct Flaky {
    pub database: Rc<Sqlite>,
    /// Fails the statement that many statements from now.
    pub fail_in: Rc<Counter<Option<u32>>>,
    pub statements: Rc<RefCell<Vec<String>>>,
}

impl Flaky {
    pub fn new() -> Self {
        Self {
            database: Rc::new(Sqlite::in_memory().unwrap()),
            fail_in: Rc::new(Counter::new(None)),
            statements: Rc::default(),
        }
    }

    pub fn open(&self) -> TenantStore<Self> {
        TenantStore::open(self.clone()).unwrap()
    }

    pub fn count(&self, table: &str) -> i64 {
        let rows = self.database.query(&format!("SELECT COUNT(*) FROM {table}"), &[]).unwrap();
        match rows.first().and_then(|row| row.first()) {
            Some(tollgate_store::Cell::Integer(count)) => *count,
            other => panic!("{other:?}"),
        }
    }
}

impl Sql for Flaky {
    fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Rows, SqlError> {
        match self.fail_in.get() {
            Some(0) => {
                self.fail_in.set(None);
                return Err(SqlError("disk full".to_owned()));
            }
            Some(left) => self.fail_in.set(Some(left - 1)),
            None => {}
        }
        self.statements.borrow_mut().push(sql.to_owned());
        self.database.query(sql, params)
    }

    fn transaction(&self, body: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.database.transaction(body)
    }
}
