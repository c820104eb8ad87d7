//! The ledger against a naive model of it: a list of reservations, a list of charges, and sums that are worked out from scratch
//! whenever somebody asks. Command lists are random and shrink; after every step the invariants of ARCHITECTURE.md hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod model;

use std::collections::{BTreeMap, BTreeSet};

use model::{Estimation, Model, Op, Reported, Verdict, ops};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tollgate_core::bounds::{Estimate, SandboxBounds, TokenBounds};
use tollgate_core::call::{Attribution, Call, Resource};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{
    Actual, Command, Entry, Event, ExtendRequest, Fit, HoldTerms, Ledger, OnExpiry, OnInsufficient, Onboard, Reading,
    RecordMode, RecordRequest, RefundRequest, Rejection, ReserveRequest, Snapshot,
};
use tollgate_core::meter::{Meter, Quantity, Usage};
use tollgate_core::money::Usd;
use tollgate_core::policy::{Plan, WithoutQuota};
use tollgate_core::quota::Quota;
use tollgate_core::ratio::Ratio;
use tollgate_core::time::Timestamp;
use tollgate_core::usage_report::contribution;

const CASES: u32 = 300;
const LONGEST: usize = 60;

#[test]
fn the_ledger_does_what_the_model_does() {
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let lists = prop::collection::vec(ops(), 1..LONGEST);
    if let Err(failure) = TestRunner::new(config).run(&lists, |ops| {
        let mut pair = Pair::open();
        for op in &ops {
            pair.step(op);
        }
        pair.finish();
        Ok(())
    }) {
        panic!("{failure}");
    }
}

/// A ledger with its owner's stores, and the model that says what they should hold.
struct Pair {
    ledger: Ledger,
    /// Nothing but the entries, read back from JSON, has ever reached this one.
    folded: Ledger,
    /// Ended reservations, as their owner keeps them.
    ended: BTreeMap<String, String>,
    history: Vec<Entry>,
    model: Model,
    asked: Vec<Op>,
}

impl Pair {
    fn open() -> Self {
        let mut pair = Self {
            ledger: Ledger::new(),
            folded: Ledger::new(),
            ended: BTreeMap::new(),
            history: Vec::new(),
            model: Model::new(),
            asked: Vec::new(),
        };
        pair.step(&Op::Onboard(0));
        pair
    }

    fn step(&mut self, op: &Op) {
        let (entries, wall) = (self.history.len(), self.model.wall);
        match op {
            Op::Repeat(back) => {
                let Some(at) = self.asked.len().checked_sub(1 + back) else { return };
                let again = self.asked[at].clone();
                self.carry_out(&again);
            }
            Op::Advance(millis) => {
                self.model.wall += millis;
                self.expire();
            }
            Op::SetBack(millis) => self.model.wall -= millis,
            Op::Restart => self.restart(),
            other => {
                self.asked.push(other.clone());
                self.carry_out(other);
            }
        }
        // What was refused or repeated left everything as it was: that was looked at already.
        if self.history.len() > entries || self.model.wall != wall || *op == Op::Restart {
            self.compare();
        }
    }

    fn carry_out(&mut self, op: &Op) {
        let catalog = Catalog::builtin().unwrap();
        self.expire();
        let clock = timestamp(self.model.wall);
        let command = command(op);
        // Its owner brings an ended reservation back before it asks about it.
        if let Some(text) = subject(&command).and_then(|id| self.ended.get(id)) {
            self.ledger.recall(serde_json::from_str(text).unwrap());
        }
        let before = snapshot(&self.ledger);
        let used = self.model.used();
        let decided = self.ledger.decide(catalog, clock, &command);
        if let Command::Reserve(request) = &command {
            self.compare_explanation(request, &decided.as_ref().map(|_| ()).map_err(Clone::clone));
        }

        let expected = self.model.carry_out(op);
        let mut entries = Vec::new();
        let outcome = self.ledger.execute(catalog, clock, &command, &mut entries);
        assert_eq!(outcome.as_ref().err(), decided.as_ref().err());
        self.store(&entries);
        match (&outcome, &expected) {
            (Ok(_), Verdict::Done) => {}
            (Ok(_), Verdict::Replayed) => {
                assert!(entries.is_empty(), "a repeat led to {entries:?}");
                assert_eq!(snapshot(&self.ledger), before, "a repeat changed something");
            }
            (Err(rejection), refused) => {
                assert!(entries.is_empty());
                assert_eq!(snapshot(&self.ledger), before, "a refusal changed something");
                assert_eq!(&verdict(rejection), refused, "{op:?}: {rejection:?}");
            }
            (Ok(done), refused) => panic!("{op:?}: expected {refused:?}, got {done:?}"),
        }
        self.check_limits(op, &used);
        assert_eq!(warnings(&entries), self.model.take_warnings(), "{op:?}");
    }

    /// Explain says what the reserve will say, where that is not a repeat.
    fn compare_explanation(&self, request: &ReserveRequest, decided: &Result<(), Rejection>) {
        if self.ledger.reservation(&request.id).is_some() {
            return;
        }
        let catalog = Catalog::builtin().unwrap();
        let explained = self.ledger.explain(catalog, timestamp(self.model.wall), request);
        match (explained, decided) {
            (Ok(explanation), Ok(())) => assert_eq!(explanation.denial, None),
            (Ok(explanation), Err(Rejection::QuotaExceeded(denial))) => {
                assert_eq!(explanation.denial.as_ref(), Some(denial));
                let tight = explanation.quotas.iter().filter(|(_, fit)| *fit != Fit::Now).count();
                assert_eq!(tight, denial.quotas.len());
            }
            (Err(rejection), Err(other)) => assert_eq!(&rejection, other),
            (explained, decided) => panic!("{explained:?} and then {decided:?}"),
        }
    }

    fn expire(&mut self) {
        let mut entries = Vec::new();
        let used = self.model.used();
        let ended = self.ledger.expire(timestamp(self.model.wall), usize::MAX, &mut entries);
        assert_eq!(ended, self.model.expire(), "holds that ended");
        if ended == 0 {
            return;
        }
        self.store(&entries);
        assert_eq!(warnings(&entries), self.model.take_warnings(), "warnings of expiry");
        for (key, after) in self.model.used() {
            let before = used.get(&key).map_or(0, |(sum, _)| *sum);
            assert!(after.0 <= before, "expiry used more of {key:?} than was held");
        }
        self.compare();
    }

    /// Invariant 1, step by step: what is let in fits, and nothing but an actual exceeds a limit.
    fn check_limits(&self, op: &Op, before: &BTreeMap<(u64, i64), (i64, i64)>) {
        for (key, (sum, limit)) in self.model.used() {
            let earlier = before.get(&key).map_or(0, |(sum, _)| *sum);
            let may_exceed = match op {
                Op::Record { within_limit, .. } => !within_limit,
                // An actual may exceed its hold, and comes late where the hold is gone.
                Op::Settle { .. } | Op::Meter { .. } => true,
                _ => false,
            };
            assert!(
                sum <= earlier || sum <= limit || may_exceed,
                "{op:?} brought {key:?} from {earlier} to {sum} of {limit}"
            );
        }
    }

    fn store(&mut self, entries: &[Entry]) {
        for entry in entries {
            let text = serde_json::to_string(entry).unwrap();
            let read: Entry = serde_json::from_str(&text).expect("an entry is read back");
            assert_eq!(&read, entry);
            self.folded.evolve(&read);
            let ended = match &entry.event {
                Event::SettledLate { charged, .. } | Event::Refunded { charged, .. } => Some(&charged.id),
                _ => entry.ends(),
            };
            if let Some(id) = ended {
                let reservation = self.ledger.reservation(id).expect("an ended reservation is still in memory");
                self.ended.insert(id.to_string(), serde_json::to_string(reservation).unwrap());
            }
            self.history.push(read);
        }
    }

    /// Memory is lost; snapshot and entries are read back. Ended reservations come back when they are asked for.
    fn restart(&mut self) {
        let text = snapshot(&self.ledger);
        let read: Snapshot = serde_json::from_str(&text).expect("a snapshot is read back");
        self.ledger = Ledger::restore(read);
        assert_eq!(snapshot(&self.ledger), text);
        self.folded.forget_ended();
    }

    fn compare(&self) {
        // Invariant 3.
        assert_eq!(snapshot(&self.ledger), snapshot(&self.folded), "the state is not the fold of the entries");
        let now = self.ledger.now(timestamp(self.model.wall));
        assert_eq!(now.millis(), self.model.now());

        let views: Vec<_> = self.ledger.quotas(now).collect();
        let quotas = self.model.quotas();
        assert_eq!(views.len(), quotas.len());
        for (view, quota) in views.iter().zip(quotas) {
            let start = quota.definition.period_start(self.model.now());
            assert_eq!(view.id.as_str(), quota.id);
            assert_eq!(view.window.start.millis(), start, "start of {}", quota.id);
            assert_eq!(view.quota.limit, usd(quota.definition.limit).into());
            assert_eq!(view.spent, usd(self.model.spent(quota.identity, start)).into(), "spent of {}", quota.id);
            assert_eq!(view.held, usd(self.model.held(quota.identity, start)).into(), "held of {}", quota.id);
            let warned: BTreeSet<_> = view.warned.iter().map(|fraction| thousandths(*fraction).to_string()).collect();
            let expected: BTreeSet<_> =
                self.model.warned(quota.identity, start).iter().map(ToString::to_string).collect();
            let warned: BTreeSet<_> = warned.iter().map(|text| text.split('.').next().unwrap().to_owned()).collect();
            assert_eq!(warned, expected, "warned of {}", quota.id);
        }

        let mut deadlines = Vec::new();
        for (id, reservation) in self.model.reservations() {
            let stored = self.ended.get(id).map(|text| serde_json::from_str(text).expect("a reservation is read back"));
            let known = self.ledger.reservation(&id.parse().unwrap());
            let in_memory = known.or(stored.as_ref()).expect("every reservation is somewhere");
            assert_eq!(in_memory.state_name(), reservation.state.name(), "{id}");
            assert_eq!(in_memory.expires_at.millis(), reservation.expires_at, "{id}");
            assert_eq!(in_memory.held.usd, usd(reservation.held), "{id}");
            match &in_memory.end {
                None => deadlines.push(reservation.expires_at),
                Some(end) => {
                    assert_eq!(end.spent.usd, usd(reservation.charged), "{id}");
                    assert_eq!(end.late, reservation.late, "{id}");
                }
            }
            if in_memory.is_open() {
                // Also where its period is over.
                for view in self.ledger.quotas_of(in_memory, self.ledger.now(Timestamp::default())) {
                    let quota = self.model.quota(view.id.as_str()).unwrap();
                    let start = view.window.start.millis();
                    assert_eq!(view.spent, usd(self.model.spent(quota.identity, start)).into(), "{id} on {}", quota.id);
                    assert_eq!(view.held, usd(self.model.held(quota.identity, start)).into(), "{id} on {}", quota.id);
                }
                assert_eq!(
                    self.ledger.quotas_of(in_memory, self.ledger.now(Timestamp::default())).count(),
                    reservation.counted_on.iter().filter(|(identity, _)| self.model.is_alive(*identity)).count()
                );
            }
        }
        assert_eq!(self.ledger.open_holds(), deadlines.len());
        assert_eq!(self.ledger.next_deadline().map(Timestamp::millis), deadlines.into_iter().min());
        // What has ended is one state for good, so that a second fold of the same entries cannot differ either.
        assert_eq!(self.ledger.last_seq(), u64::try_from(self.history.len()).unwrap());
    }

    /// What holds of a whole history.
    fn finish(mut self) {
        self.check_ends();
        // Invariant 4: the charges are what was spent, once for each reservation, whoever counts them.
        let reported: Usd = self.history.iter().filter_map(contribution).map(|(_, totals)| totals.usd).sum();
        let charged: i64 = self.model.reservations().map(|(_, reservation)| reservation.charged).sum();
        assert_eq!(reported, usd(charged), "the report and the charges differ");
        let calls: i64 = self.history.iter().filter_map(contribution).map(|(_, totals)| totals.calls).sum();
        let charged_calls = self.model.reservations().filter(|(_, reservation)| reservation.is_charged()).count();
        assert_eq!(calls, i64::try_from(charged_calls).unwrap(), "calls are charged once");
        assert!(self.history.iter().map(|entry| entry.at).is_sorted(), "time ran backwards");

        // Invariant 5: once nobody asks any more, every hold ends.
        self.model.wall = self.model.now() + 40 * 86_400_000;
        self.expire();
        assert_eq!(self.ledger.open_holds(), 0);
        self.check_ends();
    }

    /// Invariant 2: at most one end, and a correction only of an expiry.
    fn check_ends(&self) {
        let mut ends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in &self.history {
            let (id, kind) = match &entry.event {
                Event::Settled(charged) => (&charged.id, "settled"),
                Event::Expired(charged) => (&charged.id, "expired"),
                Event::SettledLate { charged, .. } => (&charged.id, "settled_late"),
                Event::Recorded { charged, .. } => (&charged.id, "recorded"),
                Event::Released { id, .. } => (id, "released"),
                _ => continue,
            };
            ends.entry(id.as_str()).or_default().push(kind);
        }
        for (id, kinds) in ends {
            assert!(kinds.len() == 1 || kinds == ["expired", "settled_late"], "{id}: {kinds:?}");
        }
    }
}

fn snapshot(ledger: &Ledger) -> String {
    serde_json::to_string(&ledger.snapshot()).unwrap()
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap()
}

fn thousandths(fraction: Ratio) -> i128 {
    fraction.picos() / 1_000_000_000
}

/// The model counts millionths of a dollar.
fn usd(micros: i64) -> Usd {
    Usd::from_picos(i128::from(micros) * 1_000_000)
}

/// `quota threshold-in-thousandths period-start`, in no order.
fn warnings(entries: &[Entry]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in entries {
        if let Event::ThresholdCrossed { quota_id, threshold, period_start, .. } = &entry.event {
            let thousandths = thousandths(*threshold);
            let new = found.insert(format!("{quota_id} {thousandths} {}", period_start.millis()));
            assert!(new, "crossed twice at once: {entry:?}");
        }
    }
    found
}

fn verdict(rejection: &Rejection) -> Verdict {
    match rejection {
        Rejection::QuotaExceeded(denial) => Verdict::Denied {
            quotas: denial.quotas.iter().map(|quota| quota.id.to_string()).collect(),
            binding: denial.binding().map(|view| view.id.to_string()),
            left: denial.affordable.as_ref().and_then(|affordable| affordable.usd).map(Usd::micros),
        },
        Rejection::ReservationNotFound(_) | Rejection::QuotaNotFound(_) => Verdict::NotFound,
        Rejection::IdempotencyConflict(_) => Verdict::Conflict,
        Rejection::AlreadyEnded { .. } | Rejection::StillHeld(_) => Verdict::Ended,
        Rejection::Unpriced(_) | Rejection::Invalid { .. } => Verdict::Unfit,
        // Nothing is credited here.
        Rejection::TooManyHolds(_)
        | Rejection::TooManyChanges(_)
        | Rejection::TenantNotFound
        | Rejection::NotFound(_)
        | Rejection::CreditsLeft { .. } => panic!("{rejection:?}"),
    }
}

/// The reservation that a command is about.
fn subject(command: &Command) -> Option<&str> {
    match command {
        Command::Reserve(request) => Some(request.id.as_str()),
        Command::Record(request) => Some(request.id.as_str()),
        Command::Extend(id, _)
        | Command::Settle(id, _)
        | Command::Meter(id, _)
        | Command::Release(id)
        | Command::Refund(id, _) => Some(id.as_str()),
        _ => None,
    }
}

fn command(op: &Op) -> Command {
    match op {
        Op::Onboard(which) => {
            let (quotas, denies) = model::plan(*which);
            let quotas = quotas.iter().map(|(id, definition)| (id.parse().unwrap(), quota(definition)));
            Command::Onboard(Onboard {
                tenant: "acme".parse().unwrap(),
                plan_name: format!("plan-{which}").parse().unwrap(),
                plan: Plan {
                    quotas: quotas.collect(),
                    without_quota: if denies { WithoutQuota::Deny } else { WithoutQuota::Allow },
                    ..Plan::default()
                },
                policy_version: 1,
            })
        }
        Op::SetQuota(id, definition) => Command::SetQuota(id.parse().unwrap(), quota(definition)),
        Op::RemoveQuota(id) => Command::RemoveQuota(id.parse().unwrap(), false),
        Op::ResetQuota(id) => Command::ResetQuota(id.parse().unwrap()),
        Op::Reserve { id, e2b, user, estimate, ttl_seconds, on_expiry } => Command::Reserve(ReserveRequest {
            id: id.parse().unwrap(),
            call: call(*e2b, *user).into(),
            terms: HoldTerms {
                estimate: estimation(estimate),
                ttl_seconds: *ttl_seconds,
                on_expiry: [OnExpiry::Release, OnExpiry::ChargeInput, OnExpiry::ChargeHold][*on_expiry],
                on_insufficient: OnInsufficient::Deny,
            },
        }),
        Op::Extend { id, extension, ttl_seconds, estimate } => Command::Extend(
            id.parse().unwrap(),
            ExtendRequest {
                id: extension.parse().unwrap(),
                ttl_seconds: *ttl_seconds,
                estimate: estimate.as_ref().map(estimation),
            },
        ),
        Op::Settle { id, actual } => Command::Settle(id.parse().unwrap(), reported(actual)),
        Op::Meter { id, reading, actual } => {
            Command::Meter(id.parse().unwrap(), Reading { id: reading.parse().unwrap(), actual: reported(actual) })
        }
        Op::Release(id) => Command::Release(id.parse().unwrap()),
        Op::Record { id, e2b, user, actual, within_limit } => Command::Record(RecordRequest {
            id: id.parse().unwrap(),
            call: call(*e2b, *user).into(),
            actual: reported(actual),
            mode: if *within_limit { RecordMode::WithinLimit } else { RecordMode::Always },
        }),
        Op::Refund { id, refund, micros, reason } => Command::Refund(
            id.parse().unwrap(),
            RefundRequest {
                id: refund.parse().unwrap(),
                usd: micros.map(usd),
                reason: ["useless", "twice"][*reason].parse().unwrap(),
                by: "support".parse().unwrap(),
            },
        ),
        Op::Advance(_) | Op::SetBack(_) | Op::Restart | Op::Repeat(_) => panic!("{op:?} is no command"),
    }
}

fn quota(definition: &model::Definition) -> Quota {
    serde_json::from_value(definition.to_json()).unwrap()
}

fn call(e2b: bool, user: Option<usize>) -> Call {
    let (resource, provider, model) =
        if e2b { (Resource::E2b, "e2b", "gpu") } else { (Resource::Llm, "openai", "gpt-4o") };
    Call {
        resource,
        user_id: user.map(|user| format!("u-{user}").parse().unwrap()),
        provider: Some(provider.parse().unwrap()),
        model: Some(model.parse().unwrap()),
        mode: None,
        region: None,
        attribution: Attribution::default(),
    }
}

fn estimation(estimate: &Estimation) -> Estimate {
    match estimate {
        Estimation::Usd(micros) => Estimate::Usd(usd(*micros)),
        Estimation::Tokens { input, output } => Estimate::Tokens(TokenBounds {
            input_tokens: *input,
            max_output_tokens: *output,
            max_web_searches: 0,
            meters: Vec::new(),
        }),
        Estimation::Sandbox(seconds) => Estimate::Sandbox(sandbox(*seconds)),
    }
}

fn reported(actual: &Reported) -> Actual {
    let usage =
        |input: u64, output: u64| Usage::new().with(Meter::Input, input).unwrap().with(Meter::Output, output).unwrap();
    match actual {
        Reported::Usd(micros) => Actual::Usd(usd(*micros)),
        Reported::Usage { input, output } => Actual::Usage(usage(*input, *output)),
        Reported::Incomplete { input, output } => Actual::IncompleteUsage(usage(*input, *output)),
        Reported::Seconds(seconds) => Actual::SandboxSeconds(Quantity::from_count(*seconds).unwrap()),
        Reported::Sandbox(seconds) => Actual::Sandbox(sandbox(*seconds)),
    }
}

fn sandbox(seconds: u64) -> SandboxBounds {
    SandboxBounds {
        tier: "gpu".parse().unwrap(),
        seconds: Quantity::from_count(seconds).unwrap(),
        vcpus: None,
        memory_gib: None,
    }
}
