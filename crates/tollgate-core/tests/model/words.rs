//! What can happen to a ledger, as data that shrinks: few ids, few users, small amounts, so that everything meets everything.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::calendar;

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Onboard(usize),
    SetQuota(String, Definition),
    RemoveQuota(String),
    ResetQuota(String),
    Reserve {
        id: String,
        e2b: bool,
        user: Option<usize>,
        estimate: Estimation,
        ttl_seconds: u32,
        on_expiry: usize,
    },
    Extend {
        id: String,
        extension: String,
        ttl_seconds: Option<u32>,
        estimate: Option<Estimation>,
    },
    Settle {
        id: String,
        actual: Reported,
    },
    Meter {
        id: String,
        reading: String,
        actual: Reported,
    },
    Release(String),
    Record {
        id: String,
        e2b: bool,
        user: Option<usize>,
        actual: Reported,
        within_limit: bool,
    },
    Refund {
        id: String,
        refund: String,
        /// All that is left where nothing is said.
        micros: Option<i64>,
        reason: usize,
    },
    /// So many milliseconds pass.
    Advance(i64),
    /// The clock is set back.
    SetBack(i64),
    /// Memory is lost.
    Restart,
    /// The same again as was asked so many commands ago.
    Repeat(usize),
}

/// What a quota says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub user: Option<usize>,
    /// Language models, sandboxes, both.
    pub resource: usize,
    pub limit: i64,
    /// Hour, day, week, month, lifetime.
    pub period: usize,
    /// Thousandths of the limit, ascending.
    pub warn_at: Vec<i64>,
}

/// What a reservation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Estimation {
    Usd(i64),
    Tokens { input: u64, output: u64 },
    Sandbox(u64),
}

/// What a call used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    Usd(i64),
    Usage { input: u64, output: u64 },
    Incomplete { input: u64, output: u64 },
    Seconds(u64),
    Sandbox(u64),
}

/// How a command is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Replayed,
    Denied {
        quotas: std::collections::BTreeSet<String>,
        binding: Option<String>,
        left: Option<i64>,
    },
    Conflict,
    Ended,
    NotFound,
    /// It has no price, or makes no sense.
    Unfit,
}

impl Definition {
    pub fn covers(&self, e2b: bool, user: Option<usize>) -> bool {
        let resource = match self.resource {
            0 => !e2b,
            1 => e2b,
            _ => true,
        };
        resource && (self.user.is_none() || self.user == user)
    }

    pub fn counts_the_same_as(&self, other: &Self) -> bool {
        (self.user, self.resource, self.period) == (other.user, other.resource, other.period)
    }

    pub fn period_start(&self, at: i64) -> i64 {
        calendar::period(self.period, at).0
    }

    pub fn period_end(&self, at: i64) -> Option<i64> {
        calendar::period(self.period, at).1
    }

    /// As the wire has it.
    pub fn to_json(&self) -> Value {
        let money = |micros: i64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let resources = ["llm", "e2b", "all"];
        let periods = ["hour", "day", "week", "month", "lifetime"];
        let mut quota = json!({
            "scope": if self.user.is_some() { "user" } else { "tenant" },
            "resource": resources[self.resource],
            "unit": "usd",
            "limit": money(self.limit),
            "period": periods[self.period],
            "warnAt": self.warn_at.iter().map(|thousandths| money(thousandths * 1000)).collect::<Vec<_>>(),
        });
        if let Some(user) = self.user {
            quota["scopeId"] = json!(format!("u-{user}"));
        }
        quota
    }
}

impl Estimation {
    /// The whole and the input's part, of GPT-4o (2.5 and 10 USD per million) or of a box at 0.001 USD a second.
    pub fn cost(&self, e2b: bool) -> Option<(i64, i64)> {
        match self {
            Self::Usd(micros) => Some((*micros, *micros)),
            Self::Tokens { input, output } => (!e2b).then(|| (price(*input, *output), price(*input, 0))),
            Self::Sandbox(seconds) => e2b.then(|| (seconds_price(*seconds), seconds_price(*seconds))),
        }
    }
}

impl Reported {
    /// What it costs without a hold.
    pub fn cost(&self, e2b: bool) -> Option<i64> {
        match self {
            Self::Usd(micros) => Some(*micros),
            Self::Usage { input, output } | Self::Incomplete { input, output } => {
                (!e2b).then(|| price(*input, *output))
            }
            Self::Seconds(_) => None,
            Self::Sandbox(seconds) => e2b.then(|| seconds_price(*seconds)),
        }
    }

    /// What it costs so far.
    pub fn cost_so_far(&self, e2b: bool, knows_sandbox: bool) -> Option<i64> {
        match self {
            Self::Seconds(seconds) => knows_sandbox.then(|| seconds_price(*seconds)),
            _ => self.cost(e2b),
        }
    }

    /// What it costs where so much was held.
    pub fn cost_of_hold(&self, e2b: bool, held: i64, knows_sandbox: bool) -> Option<i64> {
        match self {
            Self::Incomplete { .. } => self.cost(e2b).map(|seen| seen.max(held)),
            Self::Seconds(seconds) => knows_sandbox.then(|| seconds_price(*seconds)),
            _ => self.cost(e2b),
        }
    }
}

fn price(input: u64, output: u64) -> i64 {
    i64::try_from(input / 2 * 5 + output * 10).unwrap()
}

fn seconds_price(seconds: u64) -> i64 {
    i64::try_from(seconds * 1000).unwrap()
}

/// The quotas of a plan, and whether it denies calls without a quota.
pub fn plan(which: usize) -> (Vec<(String, Definition)>, bool) {
    let quota = |id: &str, user, resource, limit, period| {
        let warn_at = vec![800, 1000];
        (id.to_owned(), Definition { user, resource, limit, period, warn_at })
    };
    match which {
        0 => (vec![quota("q-0", None, 2, 400_000, 3), quota("q-1", Some(0), 0, 150_000, 1)], false),
        1 => (vec![quota("q-0", None, 2, 250_000, 3), quota("q-2", None, 0, 200_000, 0)], true),
        _ => (vec![quota("q-1", None, 1, 100_000, 2), quota("q-3", Some(1), 2, 50_000, 4)], true),
    }
}

pub fn ops() -> impl Strategy<Value = Op> {
    let reserve =
        (calls(), estimations(), ttls(), 0..3_usize).prop_map(|((id, e2b, user), estimate, ttl_seconds, on_expiry)| {
            Op::Reserve {
                id,
                e2b,
                user,
                // Most of what is asked for makes sense.
                estimate: if e2b == matches!(estimate, Estimation::Sandbox(_)) || on_expiry == 0 {
                    estimate
                } else {
                    Estimation::Usd(70_000)
                },
                ttl_seconds,
                on_expiry,
            }
        });
    let extend = (ids(), 0..3_usize, prop::option::of(ttls()), prop::option::of(estimations())).prop_map(
        |(id, extension, ttl_seconds, estimate)| Op::Extend {
            id,
            extension: format!("x-{extension}"),
            ttl_seconds,
            estimate,
        },
    );
    let settle = (ids(), reports(true)).prop_map(|(id, actual)| Op::Settle { id, actual });
    let meter = (ids(), 0..6_usize, reports(true)).prop_map(|(id, reading, actual)| Op::Meter {
        id,
        reading: format!("m-{reading}"),
        actual,
    });
    let record = (calls(), reports(false), any::<bool>())
        .prop_map(|((id, e2b, user), actual, within_limit)| Op::Record { id, e2b, user, actual, within_limit });
    let refund = (ids(), 0..3_usize, prop::option::of(amounts()), prop::bool::weighted(0.2)).prop_map(
        |(id, refund, micros, other)| Op::Refund {
            id,
            refund: format!("f-{refund}"),
            micros: micros.map(|micros| micros / 4),
            reason: usize::from(other),
        },
    );
    prop_oneof![
        20 => reserve,
        8 => extend,
        14 => settle,
        10 => meter,
        5 => ids().prop_map(Op::Release),
        10 => record,
        8 => refund,
        8 => prop_oneof![
            Just(0_i64), Just(1), Just(1_000), Just(59_000), Just(600_000), Just(3_600_000), Just(86_400_000),
            Just(7 * 86_400_000), Just(31 * 86_400_000)
        ].prop_map(Op::Advance),
        2 => prop_oneof![Just(1_i64), Just(7_200_000)].prop_map(Op::SetBack),
        4 => (quota_ids(), definitions()).prop_map(|(id, definition)| Op::SetQuota(id, definition)),
        1 => quota_ids().prop_map(Op::RemoveQuota),
        6 => quota_ids().prop_map(Op::ResetQuota),
        2 => (0..3_usize).prop_map(Op::Onboard),
        4 => Just(Op::Restart),
        10 => (0..6_usize).prop_map(Op::Repeat),
    ]
}

fn ids() -> impl Strategy<Value = String> {
    (0..9_usize).prop_map(|id| format!("r-{id}"))
}

fn quota_ids() -> impl Strategy<Value = String> {
    (0..4_usize).prop_map(|id| format!("q-{id}"))
}

fn calls() -> impl Strategy<Value = (String, bool, Option<usize>)> {
    (ids(), prop::bool::weighted(0.3), prop::option::of(0..2_usize))
}

fn ttls() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1_u32), Just(60), Just(600), Just(7_200), Just(86_400)]
}

fn amounts() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(0), 4 => (0..=20_i64).prop_map(|cents| cents * 10_000), 2 => 0..=200_000_i64]
}

fn tokens() -> impl Strategy<Value = (u64, u64)> {
    (1..20_u64, 1..20_u64).prop_map(|(input, output)| (input * 2_000, output * 1_000))
}

fn estimations() -> impl Strategy<Value = Estimation> {
    prop_oneof![
        3 => amounts().prop_map(Estimation::Usd),
        2 => tokens().prop_map(|(input, output)| Estimation::Tokens { input, output }),
        2 => (0..200_u64).prop_map(Estimation::Sandbox),
    ]
}

fn reports(of_a_hold: bool) -> impl Strategy<Value = Reported> {
    prop_oneof![
        4 => amounts().prop_map(Reported::Usd),
        2 => tokens().prop_map(|(input, output)| Reported::Usage { input, output }),
        1 => tokens().prop_map(|(input, output)| Reported::Incomplete { input, output }),
        1 => (0..250_u64).prop_map(move |seconds| {
            if of_a_hold { Reported::Seconds(seconds) } else { Reported::Sandbox(seconds) }
        }),
    ]
}

fn definitions() -> impl Strategy<Value = Definition> {
    let warnings = prop_oneof![Just(vec![]), Just(vec![500]), Just(vec![800, 1000]), Just(vec![250, 500, 1000]),];
    let users = prop_oneof![2 => Just(None), 1 => (0..2_usize).prop_map(Some)];
    (users, 0..3_usize, 0..=40_i64, 0..5_usize, warnings).prop_map(|(user, resource, cents, period, warn_at)| {
        Definition { user, resource, limit: cents * 10_000, period, warn_at }
    })
}
