//! Rolling windows against a plain list of everything that was admitted, and when.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::api::parse_command;
use tollgate_core::catalog::Catalog;
use tollgate_core::local::{LocalConfig, LocalLedger};
use tollgate_core::time::Timestamp;

const START: i64 = 1_795_000_000_000;
const LIMIT: i64 = 100;

/// What can happen; ids are the number of the step that reserved.
#[derive(Clone, Debug)]
enum Step {
    Advance(i64),
    Reserve {
        cents: i64,
        ttl: i64,
    },
    /// Of the hold so many back: settle by so much less than it holds, release, or grow it by so much.
    Settle {
        back: usize,
        less: i64,
    },
    Release {
        back: usize,
    },
    Grow {
        back: usize,
        more: i64,
    },
    Restart,
}

fn steps(longest: usize, gap: i64) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..gap).prop_map(Step::Advance),
        8 => (0_i64..40, 1_i64..30).prop_map(|(cents, ttl)| Step::Reserve { cents, ttl }),
        3 => (0_usize..6, 0_i64..40).prop_map(|(back, less)| Step::Settle { back, less }),
        1 => (0_usize..6).prop_map(|back| Step::Release { back }),
        1 => (0_usize..6, 0_i64..30).prop_map(|(back, more)| Step::Grow { back, more }),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..longest)
}

/// A reservation as one would note it down.
#[derive(Debug)]
struct Noted {
    /// When room was found for it.
    at: i64,
    cents: i64,
    open: bool,
    expires: i64,
}

struct Test {
    local: LocalLedger,
    catalog: &'static Catalog,
    length: i64,
    now: i64,
    noted: BTreeMap<usize, Noted>,
}

impl Test {
    fn new(seconds: i64) -> Self {
        let catalog = Catalog::builtin().unwrap();
        let quota = json!({ "scope": "tenant", "resource": "all", "unit": "usd", "limit": "1", "period": { "rolling": seconds } });
        let config = LocalConfig::parse(&json!({ "tenant": "acme", "plan": { "quotas": { "q": quota } } }).to_string());
        let local = LocalLedger::new(config.unwrap(), catalog, Timestamp::from_millis(START).unwrap()).unwrap();
        Self { local, catalog, length: seconds * 1000, now: START, noted: BTreeMap::new() }
    }

    fn ask(&mut self, command: &Value) -> (u16, Value) {
        let request = parse_command(&command.to_string()).unwrap();
        let answer = self.local.execute(self.catalog, Timestamp::from_millis(self.now).unwrap(), &request);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }

    fn expire(&mut self) {
        for noted in self.noted.values_mut().filter(|noted| noted.open && noted.expires <= self.now) {
            // Holds of an amount are charged whole.
            noted.open = false;
        }
    }

    /// What was admitted in the window that ends at an instant.
    fn used(&self, end: i64) -> i64 {
        let within = |noted: &&Noted| end - self.length < noted.at && noted.at <= end;
        self.noted.values().filter(within).map(|noted| noted.cents).sum()
    }

    /// When so much more fits, by the list.
    fn resets_at(&self, cents: i64) -> Option<i64> {
        let leaving = self.noted.values().map(|noted| noted.at + self.length).filter(|at| *at > self.now);
        leaving.filter(|at| self.used(*at) + cents <= LIMIT).min()
    }

    fn open(&self, back: usize) -> Option<usize> {
        self.noted.iter().rev().filter(|(_, noted)| noted.open).map(|(id, _)| *id).nth(back)
    }

    /// Carries out a step. Exact: as long as there are few points, whatever fits the list is admitted; always: nothing else is.
    fn step(&mut self, number: usize, step: &Step, exact: bool) {
        match step {
            Step::Advance(millis) => self.now += millis,
            Step::Restart => {
                let snapshot = serde_json::to_string(&self.local.ledger().snapshot()).unwrap();
                let restored = tollgate_core::ledger::Ledger::restore(serde_json::from_str(&snapshot).unwrap());
                assert_eq!(restored.differences(self.local.ledger()), []);
            }
            Step::Reserve { cents, ttl } => {
                self.expire();
                let (status, body) = self.ask(&json!({
                    "op": "reserve", "id": format!("r-{number}"), "resource": "llm", "ttlSeconds": ttl,
                    "estimate": { "usd": usd(*cents) }
                }));
                let fits = self.used(self.now) + cents <= LIMIT;
                match status {
                    201 => {
                        assert!(fits, "{cents} more than {} of {LIMIT} were admitted", self.used(self.now));
                        let noted = Noted { at: self.now, cents: *cents, open: true, expires: self.now + ttl * 1000 };
                        self.noted.insert(number, noted);
                    }
                    429 => {
                        assert!(!exact || !fits, "{cents} were denied, with {} of {LIMIT} used", self.used(self.now));
                        if exact {
                            let at =
                                body["denial"]["resetsAt"].as_str().map(|at| at.parse::<Timestamp>().unwrap().millis());
                            assert_eq!(at, self.resets_at(*cents), "{body}");
                            let seconds = at.map(|at| (at - self.now + 999) / 1000);
                            assert_eq!(body["denial"]["retryAfterSeconds"].as_i64(), seconds);
                        }
                    }
                    other => panic!("{other}: {body}"),
                }
            }
            Step::Settle { back, less } => {
                self.expire();
                let Some(id) = self.open(*back) else { return };
                let noted = self.noted.get_mut(&id).unwrap();
                let actual = (noted.cents - less).max(0);
                (noted.cents, noted.open) = (actual, false);
                let (status, body) = self.ask(&json!({ "op": "settle", "id": format!("r-{id}"), "usd": usd(actual) }));
                assert_eq!(status, 200, "{body}");
            }
            Step::Release { back } => {
                self.expire();
                let Some(id) = self.open(*back) else { return };
                self.noted.remove(&id);
                let (status, body) = self.ask(&json!({ "op": "release", "id": format!("r-{id}") }));
                assert_eq!(status, 200, "{body}");
            }
            Step::Grow { back, more } => {
                self.expire();
                let Some(id) = self.open(*back) else { return };
                let before = &self.noted[&id];
                let (cents, own) =
                    (before.cents + more, if before.at > self.now - self.length { before.cents } else { 0 });
                let fits = *more == 0 || self.used(self.now) - own + cents <= LIMIT;
                let (status, body) = self.ask(&json!({
                    "op": "extend", "id": format!("r-{id}"), "extend": { "id": format!("x-{number}"), "estimate": { "usd": usd(cents) } }
                }));
                match status {
                    200 => {
                        assert!(fits, "{body}");
                        let noted = self.noted.get_mut(&id).unwrap();
                        // What grows counts from when room was found for it.
                        if *more > 0 {
                            (noted.at, noted.cents) = (self.now, cents);
                        }
                    }
                    429 => assert!(!exact || !fits, "{body}"),
                    other => panic!("{other}: {body}"),
                }
            }
        }
        self.expire();
        let (_, body) = self.ask(&json!({ "op": "listQuotas" }));
        let quota = &body["quotas"][0];
        let held = self.noted.values().filter(|noted| noted.open && noted.at > self.now - self.length);
        let (held, used) = (held.map(|noted| noted.cents).sum::<i64>(), self.used(self.now));
        if exact {
            assert_eq!((cents(&quota["held"]), cents(&quota["spent"])), (held, used - held), "{quota}");
        }
        assert!(cents(&quota["held"]) + cents(&quota["spent"]) >= used, "{quota}, not {used}");
    }
}

impl Test {
    /// No window that has ever been: it is enough to look at those that end where something was admitted.
    fn check_every_window(&self) {
        for end in self.noted.values().map(|noted| noted.at) {
            assert!(self.used(end) <= LIMIT, "{} of {LIMIT} in the window that ends at {end}", self.used(end));
        }
    }
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
    fn no_window_ever_has_more_than_the_limit_and_all_that_fits_passes(
        steps in steps(60, 4_000), seconds in prop::sample::select(vec![1_i64, 10, 60])
    ) {
        let mut test = Test::new(seconds);
        for (number, step) in steps.iter().enumerate() {
            test.step(number, step, true);
            test.check_every_window();
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn many_points_never_admit_more(steps in steps(300, 60), seconds in prop::sample::select(vec![1_i64, 4, 20])) {
        let mut test = Test::new(seconds);
        for (number, step) in steps.iter().enumerate() {
            // Small amounts, so that there are many points.
            let step = match step {
                Step::Reserve { cents, ttl } => &Step::Reserve { cents: cents / 20, ttl: *ttl },
                other => other,
            };
            test.step(number, step, false);
        }
        test.check_every_window();
        let snapshot = serde_json::to_value(test.local.ledger().snapshot()).unwrap();
        prop_assert!(snapshot["quotas"]["q"]["counters"].as_array().unwrap().len() <= 65);
    }
}
