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
    /// A hold of so much that has expired, charged or freed, is settled at so much.
    Late {
        held: i64,
        charged: bool,
        cents: i64,
        after: i64,
    },
    /// So many tenths of what is left of a charge are taken back.
    Refund {
        back: usize,
        tenths: i64,
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
        4 => (0_i64..30, any::<bool>(), 0_i64..40, 1_000_i64..40_000)
            .prop_map(|(held, charged, cents, after)| Step::Late { held, charged, cents, after }),
        3 => (0_usize..6, 1_i64..11).prop_map(|(back, tenths)| Step::Refund { back, tenths }),
        2 => (0_i64..30).prop_map(|cents| Step::Record { cents }),
        1 => Just(Step::Reset),
    ];
    prop::collection::vec(step, 1..50)
}

/// Money that was paid for, as one would note it down.
#[derive(Clone, Debug)]
struct Bucket {
    paid: i64,
    cents: i64,
    drawn: i64,
    ends: Option<i64>,
    rolls: Option<i64>,
    over: bool,
    /// When it ended first, where a part of it goes on.
    rolled_at: Option<i64>,
}

/// What a call draws: how much from which bucket, and whether from what went on of it although the call is from before.
type Drawn = Vec<(usize, i64, bool)>;

/// A call that has ended: when it was made, what counts of it, and what of that comes from which bucket.
struct Call {
    made: i64,
    /// What it came to at the last reset, and what it comes to.
    dropped: i64,
    total: i64,
    drawn: Drawn,
}

struct Test {
    local: LocalLedger,
    now: i64,
    buckets: Vec<Bucket>,
    increases: Vec<(i64, i64)>,
    /// Open holds: cents, when they were made, and what of it comes from which bucket.
    open: BTreeMap<usize, (i64, i64, Drawn)>,
    ended: BTreeMap<usize, Call>,
}

impl Test {
    fn new() -> Self {
        let quota =
            json!({ "scope": "tenant", "resource": "all", "unit": "usd", "limit": usd(LIMIT), "period": "lifetime" });
        let config = json!({ "tenant": "acme", "plan": { "quotas": { "q": quota } } }).to_string();
        let now = Timestamp::from_millis(START).unwrap();
        let local = LocalLedger::new(LocalConfig::parse(&config).unwrap(), Catalog::builtin().unwrap(), now).unwrap();
        Self {
            local,
            now: START,
            buckets: Vec::new(),
            increases: Vec::new(),
            open: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
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
                bucket.rolled_at = bucket.ends.filter(|_| goes_on > 0);
                bucket.ends = bucket.ends.map(|ends| ends + 20_000);
            }
        }
    }

    /// Which buckets so much is drawn from: what ends first before the rest.
    fn draw(&mut self, cents: i64) -> Drawn {
        let mut drawn = Vec::new();
        self.draw_more(&mut drawn, cents, self.now);
        drawn
    }

    /// The same for a call that draws already, and was made then: what it drew on comes first, also what has lapsed of that.
    fn draw_more(&mut self, drawn: &mut Drawn, cents: i64, made: i64) {
        let mut left = cents;
        for (at, _, of_the_rest) in drawn.clone() {
            let bucket = &mut self.buckets[at];
            let is_before = !bucket.over && !of_the_rest && bucket.rolled_at.is_some_and(|rolled| made < rolled);
            let rooms = if bucket.over {
                [(bucket.paid - bucket.drawn, of_the_rest), (0, true)]
            } else if is_before {
                [(bucket.paid - bucket.cents, false), (bucket.cents - bucket.drawn, true)]
            } else {
                [(bucket.cents - bucket.drawn, of_the_rest), (0, true)]
            };
            for (room, of_the_rest) in rooms {
                let more = room.min(left).max(0);
                left -= more;
                bucket.drawn += more;
                if is_before && !of_the_rest {
                    bucket.cents += more;
                }
                match drawn.iter_mut().find(|(known, _, rest)| (*known, *rest) == (at, of_the_rest)) {
                    Some((_, part, _)) => *part += more,
                    None if more > 0 => drawn.push((at, more, of_the_rest)),
                    None => {}
                }
            }
        }
        let mut order: Vec<usize> = (0..self.buckets.len()).filter(|at| !self.buckets[*at].over).collect();
        order.sort_by_key(|at| self.buckets[*at].ends.unwrap_or(i64::MAX));
        for at in order {
            let bucket = &mut self.buckets[at];
            let part = (bucket.cents - bucket.drawn).min(left);
            if part > 0 && drawn.iter().all(|(known, ..)| *known != at) {
                bucket.drawn += part;
                left -= part;
                drawn.push((at, part, bucket.rolled_at.is_some_and(|rolled| made < rolled)));
            }
        }
    }

    /// Gives so much back, what was drawn last first. What a call from before gives back is no part of what went on.
    fn give_back(&mut self, drawn: &mut Drawn, cents: i64, made: i64) {
        let mut left = cents;
        for (at, part, of_the_rest) in drawn.iter_mut().rev() {
            let bucket = &mut self.buckets[*at];
            let back = (*part).min(left);
            *part -= back;
            left -= back;
            bucket.drawn -= back;
            if !*of_the_rest && !bucket.over && bucket.rolled_at.is_some_and(|rolled| made < rolled) {
                bucket.cents -= back;
            }
        }
    }

    /// A call that had come to so much, or held it, comes to another sum now.
    fn comes_to(&mut self, number: usize, mut call: Call, before: i64, total: i64) {
        let counts = |total: i64| (total - call.dropped).max(0);
        let more = counts(total) - before;
        if more > 0 {
            self.draw_more(&mut call.drawn, more, call.made);
        } else {
            self.give_back(&mut call.drawn, -more, call.made);
        }
        call.total = total;
        self.ended.insert(number, call);
    }

    fn spent(&self) -> i64 {
        self.ended.values().map(|call| (call.total - call.dropped).max(0)).sum()
    }

    fn limit(&self) -> i64 {
        let buckets = self.buckets.iter().map(|bucket| if bucket.over { bucket.drawn } else { bucket.cents });
        let increases = self.increases.iter().filter(|(_, until)| self.now < *until).map(|(cents, _)| *cents);
        LIMIT + buckets.chain(increases).sum::<i64>()
    }

    fn held(&self) -> i64 {
        self.open.values().map(|(cents, ..)| cents).sum()
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
                let (paid, cents) = (*cents, *cents);
                self.buckets.push(Bucket { paid, cents, drawn: 0, ends, rolls: *rolls, over: false, rolled_at: None });
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
                let fits = self.spent() + self.held() + cents <= self.limit();
                let (status, body) = self.ask(&json!({
                    "op": "reserve", "id": format!("r-{number}"), "resource": "llm", "ttlSeconds": 86400, "estimate": { "usd": usd(*cents) }
                }));
                assert_eq!(status == 201, fits, "{body}");
                if fits {
                    let drawn = self.draw(*cents);
                    self.open.insert(number, (*cents, self.now, drawn));
                }
            }
            Step::Settle { back, cents } => {
                let Some(id) = self.open.keys().rev().nth(*back).copied() else { return };
                let (held, made, drawn) = self.open.remove(&id).unwrap();
                self.comes_to(id, Call { made, dropped: 0, total: 0, drawn }, held, *cents);
                let (status, body) = self.ask(&json!({ "op": "settle", "id": format!("r-{id}"), "usd": usd(*cents) }));
                assert_eq!(status, 200, "{body}");
            }
            Step::Release { back } => {
                let Some(id) = self.open.keys().rev().nth(*back).copied() else { return };
                let (held, made, mut drawn) = self.open.remove(&id).unwrap();
                self.give_back(&mut drawn, held, made);
                assert_eq!(self.ask(&json!({ "op": "release", "id": format!("r-{id}") })).0, 200);
            }
            Step::Record { cents } => {
                let drawn = self.draw(*cents);
                self.ended.insert(number, Call { made: self.now, dropped: 0, total: *cents, drawn });
                let record =
                    json!({ "op": "record", "id": format!("r-{number}"), "resource": "llm", "usd": usd(*cents) });
                assert_eq!(self.ask(&record).0, 201);
            }
            Step::Late { held, charged, cents, after } => {
                let id = format!("r-{number}");
                let rule = if *charged { "charge_hold" } else { "release" };
                let (status, body) = self.ask(&json!({
                    "op": "reserve", "id": id, "resource": "llm", "ttlSeconds": 1, "onExpiry": rule, "estimate": { "usd": usd(*held) }
                }));
                if status == 429 {
                    assert!(self.spent() + self.held() + held > self.limit(), "{body}");
                    return;
                }
                let made = self.now;
                let mut drawn = self.draw(*held);
                // It ends by itself before anything that ends later.
                self.now += 1_000;
                if !*charged {
                    self.give_back(&mut drawn, *held, made);
                }
                let expired = if *charged { *held } else { 0 };
                self.ended.insert(number, Call { made, dropped: 0, total: expired, drawn });
                self.ask(&json!({ "op": "listQuotas" }));
                self.lapse();
                self.now += after;
                self.ask(&json!({ "op": "listQuotas" }));
                self.lapse();
                let call = self.ended.remove(&number).unwrap();
                self.comes_to(number, call, expired, *cents);
                let (status, body) = self.ask(&json!({ "op": "settle", "id": id, "usd": usd(*cents) }));
                assert_eq!((status, &body["late"]), (200, &json!(true)), "{body}");
            }
            Step::Refund { back, tenths } => {
                let charged = self.ended.iter().rev().filter(|(_, call)| call.total > 0);
                let Some(id) = charged.map(|(id, _)| *id).nth(*back) else { return };
                let call = self.ended.remove(&id).unwrap();
                let back = (call.total * tenths / 10).max(1);
                let (before, total) = ((call.total - call.dropped).max(0), call.total - back);
                self.comes_to(id, call, before, total);
                let refund = json!({ "id": format!("f-{number}"), "usd": usd(back), "reason": "why not", "by": "me" });
                let (status, body) = self.ask(&json!({ "op": "refund", "id": format!("r-{id}"), "refund": refund }));
                assert_eq!((status, cents(&body["left"])), (200, total), "{body}");
            }
            Step::Reset => {
                assert_eq!(self.ask(&json!({ "op": "resetQuota", "id": "q" })).0, 200);
                for call in self.ended.values_mut() {
                    call.dropped = call.total;
                    call.drawn.iter_mut().for_each(|(_, part, _)| *part = 0);
                }
                for bucket in &mut self.buckets {
                    bucket.drawn = 0;
                }
                for (at, part, _) in self.open.values().flat_map(|(.., drawn)| drawn) {
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
        let left = self.limit() - self.spent() - self.held();
        assert_eq!(cents(&quota["spent"]), self.spent());
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
