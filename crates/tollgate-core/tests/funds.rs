//! Credits, increases and what periods leave, against a plain account of buckets, in cents.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::api::parse_command;
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Ledger, Snapshot};
use tollgate_core::local::{LocalConfig, LocalLedger};
use tollgate_core::time::Timestamp;

const START: i64 = 1_795_000_000_000;
/// The quota's own limit.
const LIMIT: i64 = 50;

#[derive(Clone, Debug)]
enum Step {
    Advance(i64),
    /// Cents, and for how many seconds, if not for ever; how much of the rest goes on.
    Credit {
        cents: i64,
        lasts: Option<i64>,
        rolls: Option<i64>,
    },
    Revoke {
        back: usize,
    },
    Increase {
        cents: i64,
        lasts: i64,
    },
    Reserve {
        cents: i64,
    },
    Settle {
        back: usize,
        cents: i64,
    },
    Release {
        back: usize,
    },
    Record {
        cents: i64,
    },
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0_i64..40_000).prop_map(Step::Advance),
        4 => (1_i64..60, prop::option::weighted(0.7, 1_i64..60), prop::option::weighted(0.3, 1_i64..30))
            .prop_map(|(cents, lasts, rolls)| Step::Credit { cents, lasts, rolls: lasts.and(rolls) }),
        1 => (0_usize..4).prop_map(|back| Step::Revoke { back }),
        1 => (1_i64..40, 1_i64..60).prop_map(|(cents, lasts)| Step::Increase { cents, lasts }),
        6 => (0_i64..50).prop_map(|cents| Step::Reserve { cents }),
        4 => (0_usize..5, 0_i64..60).prop_map(|(back, cents)| Step::Settle { back, cents }),
        2 => (0_usize..5).prop_map(|back| Step::Release { back }),
        2 => (0_i64..30).prop_map(|cents| Step::Record { cents }),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..50)
}

/// Money that was paid for, as one would note it down.
#[derive(Clone, Debug)]
struct Bucket {
    cents: i64,
    drawn: i64,
    ends: Option<i64>,
    rolls: Option<i64>,
    over: bool,
}

struct Test {
    local: LocalLedger,
    now: i64,
    buckets: Vec<Bucket>,
    increases: Vec<(i64, i64)>,
    /// Open holds: cents, and what of it comes from which bucket.
    open: BTreeMap<usize, (i64, Vec<(usize, i64)>)>,
    spent: i64,
}

impl Test {
    fn new() -> Self {
        let quota =
            json!({ "scope": "tenant", "resource": "all", "unit": "usd", "limit": usd(LIMIT), "period": "lifetime" });
        let config = json!({ "tenant": "acme", "plan": { "quotas": { "q": quota } } }).to_string();
        let now = Timestamp::from_millis(START).unwrap();
        let local = LocalLedger::new(LocalConfig::parse(&config).unwrap(), Catalog::builtin().unwrap(), now).unwrap();
        Self { local, now: START, buckets: Vec::new(), increases: Vec::new(), open: BTreeMap::new(), spent: 0 }
    }

    fn ask(&mut self, command: &Value) -> (u16, Value) {
        let request = parse_command(&command.to_string()).unwrap();
        let now = Timestamp::from_millis(self.now).unwrap();
        let answer = self.local.execute(Catalog::builtin().unwrap(), now, &request);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    /// Ends what is over, in the order of time.
    fn lapse(&mut self) {
        for _ in 0..2 {
            for bucket in self.buckets.iter_mut().filter(|bucket| !bucket.over) {
                if bucket.ends.is_none_or(|ends| ends > self.now) {
                    continue;
                }
                let goes_on = bucket.rolls.take().unwrap_or(0).min(bucket.cents - bucket.drawn);
                bucket.over = goes_on == 0;
                bucket.cents = bucket.drawn + goes_on;
                bucket.ends = bucket.ends.map(|ends| ends + 20_000);
            }
        }
    }

    /// Which buckets so much is drawn from: what ends first before the rest.
    fn draw(&mut self, cents: i64) -> Vec<(usize, i64)> {
        let mut order: Vec<usize> = (0..self.buckets.len()).filter(|at| !self.buckets[*at].over).collect();
        order.sort_by_key(|at| self.buckets[*at].ends.unwrap_or(i64::MAX));
        let mut left = cents;
        let mut drawn = Vec::new();
        for at in order {
            let part = (self.buckets[at].cents - self.buckets[at].drawn).min(left);
            if part > 0 {
                self.buckets[at].drawn += part;
                left -= part;
                drawn.push((at, part));
            }
        }
        drawn
    }

    /// Gives so much back, what was drawn last first.
    fn give_back(&mut self, drawn: &mut [(usize, i64)], cents: i64) {
        let mut left = cents;
        for (at, part) in drawn.iter_mut().rev() {
            let back = (*part).min(left);
            *part -= back;
            left -= back;
            self.buckets[*at].drawn -= back;
        }
    }

    fn limit(&self) -> i64 {
        let buckets = self.buckets.iter().map(|bucket| if bucket.over { bucket.drawn } else { bucket.cents });
        let increases = self.increases.iter().filter(|(_, until)| self.now < *until).map(|(cents, _)| *cents);
        LIMIT + buckets.chain(increases).sum::<i64>()
    }

    fn held(&self) -> i64 {
        self.open.values().map(|(cents, _)| cents).sum()
    }

    fn step(&mut self, number: usize, step: &Step) {
        self.lapse();
        match step {
            Step::Advance(millis) => self.now += millis,
            Step::Credit { cents, lasts, rolls } => {
                let ends = lasts.map(|lasts| self.now + lasts * 1000);
                let mut credit = json!({ "id": format!("c-{number}"), "amount": usd(*cents) });
                if let Some(ends) = ends {
                    credit["expiresAt"] = json!(time(ends));
                    if let Some(rolls) = rolls {
                        credit["rollover"] = json!({ "max": usd(*rolls), "until": time(ends + 20_000) });
                    }
                }
                for _ in 0..2 {
                    let (status, body) = self.ask(&json!({ "op": "addCredit", "id": "q", "credit": credit }));
                    assert_eq!(status, 200, "{body}");
                }
                self.buckets.push(Bucket { cents: *cents, drawn: 0, ends, rolls: *rolls, over: false });
            }
            Step::Revoke { back } => {
                let credits = self.ask(&json!({ "op": "listQuotas" })).1["quotas"][0]["credits"].clone();
                let Some(id) =
                    credits.as_array().and_then(|all| all.get(*back)).and_then(|credit| credit["id"].as_str())
                else {
                    return;
                };
                let (status, body) = self.ask(&json!({ "op": "revokeCredit", "id": "q", "creditId": id }));
                assert_eq!(status, 200, "{body}");
                let at = self.numbered(id);
                self.buckets[at].over = true;
            }
            Step::Increase { cents, lasts } => {
                let until = self.now + lasts * 1000;
                let increase = json!({ "id": format!("i-{number}"), "amount": usd(*cents), "until": time(until) });
                let (status, body) = self.ask(&json!({ "op": "increaseLimit", "id": "q", "increase": increase }));
                assert_eq!(status, 200, "{body}");
                self.increases.push((*cents, until));
            }
            Step::Reserve { cents } => {
                let fits = self.spent + self.held() + cents <= self.limit();
                let (status, body) = self.ask(&json!({
                    "op": "reserve", "id": format!("r-{number}"), "resource": "llm", "ttlSeconds": 86400, "estimate": { "usd": usd(*cents) }
                }));
                assert_eq!(status == 201, fits, "{body}");
                if fits {
                    let drawn = self.draw(*cents);
                    self.open.insert(number, (*cents, drawn));
                }
            }
            Step::Settle { back, cents } => {
                let Some(id) = self.open.keys().rev().nth(*back).copied() else { return };
                let (held, mut drawn) = self.open.remove(&id).unwrap();
                self.spent += cents;
                if *cents > held {
                    self.draw(cents - held);
                } else {
                    self.give_back(&mut drawn, held - cents);
                }
                let (status, body) = self.ask(&json!({ "op": "settle", "id": format!("r-{id}"), "usd": usd(*cents) }));
                assert_eq!(status, 200, "{body}");
            }
            Step::Release { back } => {
                let Some(id) = self.open.keys().rev().nth(*back).copied() else { return };
                let (held, mut drawn) = self.open.remove(&id).unwrap();
                self.give_back(&mut drawn, held);
                assert_eq!(self.ask(&json!({ "op": "release", "id": format!("r-{id}") })).0, 200);
            }
            Step::Record { cents } => {
                self.draw(*cents);
                self.spent += cents;
                let record =
                    json!({ "op": "record", "id": format!("r-{number}"), "resource": "llm", "usd": usd(*cents) });
                assert_eq!(self.ask(&record).0, 201);
            }
            Step::Reset => {
                assert_eq!(self.ask(&json!({ "op": "resetQuota", "id": "q" })).0, 200);
                self.spent = 0;
                for bucket in &mut self.buckets {
                    bucket.drawn = 0;
                }
                for (at, part) in self.open.values().flat_map(|(_, drawn)| drawn) {
                    self.buckets[*at].drawn += part;
                }
            }
        }
        self.compare();
    }

    /// Credits are numbered by the step that added them; buckets in their order.
    fn numbered(&self, id: &str) -> usize {
        let entries = serde_json::to_value(self.local.ledger().snapshot()).unwrap();
        let all = entries["quotas"]["q"]["funds"]["credits"].as_array().unwrap();
        let number = |id: &str| id.trim_start_matches("c-").parse::<usize>().unwrap();
        let mut numbers: Vec<usize> = all.iter().map(|state| number(state["credit"]["id"].as_str().unwrap())).collect();
        numbers.sort_unstable();
        numbers.iter().position(|found| *found == number(id)).unwrap()
    }

    fn compare(&mut self) {
        self.lapse();
        let (_, body) = self.ask(&json!({ "op": "listQuotas" }));
        let quota = &body["quotas"][0];
        let left = self.limit() - self.spent - self.held();
        assert_eq!(cents(&quota["spent"]), self.spent);
        assert_eq!(cents(&quota["held"]), self.held());
        assert_eq!(cents(&quota["remaining"]), left.max(0), "{quota}");
        let credits = quota["credits"].as_array().cloned().unwrap_or_default();
        let remaining: i64 = credits.iter().map(|credit| cents(&credit["remaining"])).sum();
        let expected = self.buckets.iter().filter(|bucket| !bucket.over).map(|bucket| bucket.cents - bucket.drawn);
        assert_eq!(remaining, expected.sum::<i64>(), "{quota}");
        // What is stored leads to the same.
        let text = serde_json::to_string(&self.local.ledger().snapshot()).unwrap();
        let read: Snapshot = serde_json::from_str(&text).unwrap();
        assert_eq!(Ledger::restore(read).differences(self.local.ledger()), []);
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millis(millis).unwrap().to_string()
}

fn usd(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn cents(amount: &Value) -> i64 {
    let (whole, part) = amount.as_str().unwrap().split_once('.').unwrap_or((amount.as_str().unwrap(), ""));
    whole.parse::<i64>().unwrap() * 100 + format!("{part:0<2}").parse::<i64>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_prepaid_quota_is_what_its_buckets_are(steps in steps()) {
        let mut test = Test::new();
        for (number, step) in steps.iter().enumerate() {
            test.step(number, step);
        }
        let mut refolded = Ledger::new();
        let request = parse_command(r#"{"op":"entries","limit":1000}"#).unwrap();
        let now = Timestamp::from_millis(test.now).unwrap();
        let answer = test.local.execute(Catalog::builtin().unwrap(), now, &request);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        for entry in body["entries"].as_array().unwrap() {
            refolded.evolve(&serde_json::from_value(entry.clone()).unwrap());
        }
        prop_assert_eq!(refolded.differences(test.local.ledger()), vec![]);
    }
}
