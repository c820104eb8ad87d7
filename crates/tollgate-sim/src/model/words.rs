//! What can be asked of a ledger, as the simulator says it, and how the wire says it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Span;
use super::amounts::{self, ONE, Pico, Unit};
use super::calendar::{self, Calendar, Period, Zone};
use super::prices::Document;

fn meant(op: &str, user: Option<u8>, touchpoint: Option<u8>) -> Value {
    let mut body = json!({ "op": op });
    if let Some(user) = user {
        body["userId"] = user_id(user).into();
    }
    if let Some(touchpoint) = touchpoint {
        body["touchpoint"] = touchpoint_name(touchpoint).into();
    }
    body
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Applies one of the [`plan`]s.
    Onboard(usize),
    /// Creates or changes a quota.
    PutQuota(String, Definition),
    /// Removes a quota; what is left of its credits is forfeited, where that is said.
    DeleteQuota(String, bool),
    /// Starts a quota's period again.
    ResetQuota(String),
    /// Credits a quota.
    AddCredit(String, Credit),
    /// Takes back what is left of a quota's credit.
    RevokeCredit(String, String),
    /// Raises a quota's limit for a while.
    Increase(String, Increase),
    /// Ends a quota's increase.
    EndIncrease(String, String),
    /// Puts another document of own rates, other names and markups in force.
    PutOverrides(Document),
    /// Holds money.
    Reserve {
        /// The key.
        id: String,
        /// What for.
        call: Call,
        /// How much.
        estimate: Estimate,
        /// How long.
        ttl_seconds: u32,
        /// What is charged at its end.
        on_expiry: OnExpiry,
        /// Whether less will do.
        shrink: bool,
    },
    /// Enlarges or prolongs a hold.
    Extend {
        /// Which.
        id: String,
        /// The extension's key.
        extension: String,
        /// The new time to live.
        ttl_seconds: Option<u32>,
        /// The new estimate.
        estimate: Option<Estimate>,
    },
    /// Charges what was used so far.
    Meter {
        /// Which.
        id: String,
        /// The reading's key.
        reading: String,
        /// What was used since the beginning.
        actual: Actual,
    },
    /// Replaces a hold by a charge.
    Settle {
        /// Which.
        id: String,
        /// What it used.
        actual: Actual,
    },
    /// Ends a hold.
    Release {
        /// Which.
        id: String,
    },
    /// Ends the open holds that have all that is named.
    ReleaseHolds {
        /// Whose.
        user: Option<u8>,
        /// From where.
        touchpoint: Option<u8>,
        /// Opened before.
        opened_before: Option<i64>,
    },
    /// Asks for the open holds that have all that is named.
    ListHolds {
        /// Whose.
        user: Option<u8>,
        /// From where.
        touchpoint: Option<u8>,
    },
    /// Charges without a hold.
    Record {
        /// The key.
        id: String,
        /// What for.
        call: Call,
        /// What it used.
        actual: Actual,
        /// Whether limits matter.
        within_limit: bool,
    },
    /// Takes back a charge, or a part of it.
    Refund {
        /// Whose.
        id: String,
        /// The refund's key.
        refund: String,
        /// How much; all that is left of it where nothing is said.
        usd: Option<Pico>,
        /// Why: one of a few reasons.
        why: u8,
    },
    /// Asks what a reserve would be answered.
    Explain {
        /// What for.
        call: Call,
        /// How much.
        estimate: Estimate,
    },
    /// Asks about a reservation.
    GetReservation {
        /// Which.
        id: String,
    },
    /// Asks about all quotas.
    ListQuotas,
    /// Asks what was spent.
    Usage(Report),
}

/// What is paid for in advance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Its key.
    pub id: String,
    /// How much.
    pub amount: Pico,
    /// When what is left of it lapses.
    pub ends: Option<i64>,
    /// How much of what is left goes on then at most, and until when.
    pub rolls: Option<(Pico, i64)>,
}

/// A higher limit for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Increase {
    /// Its key.
    pub id: String,
    /// By how much.
    pub amount: Pico,
    /// The first instant without it.
    pub until: i64,
}

/// What a call is of, by whom, from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which model.
    pub model: Model,
    /// How its name is written.
    pub naming: Naming,
    /// Which user.
    pub user: Option<u8>,
    /// Which place in the app.
    pub touchpoint: Option<u8>,
}

/// The models that the simulator calls, with rates written down by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// OpenAI's `gpt-4o`: 2.5 USD per million tokens of input, 1.25 cached, 10 of output.
    Gpt4o,
    /// Anthropic's `claude-sonnet-4-5`: 3, 0.3 read from and up to 6 written into a cache, 15.
    Sonnet,
    /// One that no price list has.
    Unknown,
    /// E2B's `gpu` at 0.001 USD a second.
    Sandbox,
}

/// How the name of a model is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// As the price list has it.
    #[default]
    Plain,
    /// With its provider in front.
    Prefixed,
    /// By another name that the price list has for it.
    Listed,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// An amount.
    Usd(Pico),
    /// The most tokens.
    Tokens {
        /// Of the prompt.
        input: u32,
        /// Of the answer.
        output: u32,
    },
    /// The longest life of a sandbox, in seconds.
    Seconds(u32),
}

/// What was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actual {
    /// An amount.
    Usd(Pico),
    /// Tokens.
    Usage {
        /// Of the prompt, not cached.
        input: u32,
        /// Of the prompt, cached.
        cached: u32,
        /// Of the answer.
        output: u32,
    },
    /// Tokens that were seen before the answer broke off.
    Incomplete {
        /// Of the prompt.
        input: u32,
        /// Of the answer.
        output: u32,
    },
    /// Seconds that a sandbox ran.
    Seconds(u32),
}

/// What an expired hold is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpiry {
    /// Nothing.
    Release,
    /// The input's part.
    ChargeInput,
    /// All.
    ChargeHold,
}

/// What a quota says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Whose it is; the tenant's where it is nobody's.
    pub user: Option<u8>,
    /// What draws on it.
    pub resource: Resource,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub limit: Pico,
    /// How long.
    pub period: Period,
    /// Where periods begin.
    pub calendar: Calendar,
    /// Thousandths of the limit that are reported, ascending.
    pub warn_at: Vec<Pico>,
    /// Calls from one of these only; from anywhere, where there are none.
    pub touchpoints: Vec<u8>,
    /// Calls that a provider of one of these bills only.
    pub providers: Vec<Model>,
    /// Calls of one of these only, written so.
    pub models: Vec<(Model, Naming)>,
    /// Whether it lets everything pass.
    pub warns_only: bool,
    /// How much of what a period leaves goes on into the next at most.
    pub rollover: Option<Pico>,
}

/// What draws on a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Models.
    Llm,
    /// Sandboxes.
    E2b,
    /// Both.
    All,
}

/// Rates of a plan for unknown models: 10⁻¹² USD per token of input and of output.
pub type Fallback = Option<(Pico, Pico)>;

/// What a plan says.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its quotas.
    pub quotas: Vec<(String, Definition)>,
    /// What unknown models cost.
    pub fallback: Fallback,
    /// Whether calls that no quota applies to are denied.
    pub denies_without_quota: bool,
}

/// How many plans there are.
pub const PLANS: usize = 6;
/// The one whose quotas are paid for in advance, or roll over.
pub const PREPAID: usize = 4;

/// One of the plans.
#[must_use]
pub fn plan(which: usize) -> Plan {
    let quota = |id: &str, user, resource, unit, limit, period| {
        let warn_at = vec![800, 1000];
        let rest = Definition {
            user,
            resource,
            unit,
            limit,
            period,
            calendar: Calendar::default(),
            warn_at,
            touchpoints: Vec::new(),
            providers: Vec::new(),
            models: Vec::new(),
            warns_only: false,
            rollover: None,
        };
        (id.to_owned(), rest)
    };
    let dime = ONE / 10;
    match which {
        0 => Plan {
            quotas: vec![
                quota("q-0", None, Resource::All, Unit::Usd, 5 * dime, Period::Month),
                quota("q-1", Some(0), Resource::Llm, Unit::Usd, 2 * dime, Period::Day),
            ],
            fallback: None,
            denies_without_quota: false,
        },
        1 => Plan {
            quotas: vec![
                quota("q-0", None, Resource::All, Unit::Usd, 3 * dime, Period::Month),
                quota("q-2", None, Resource::Llm, Unit::Tokens, 60_000 * ONE, Period::Hour),
                quota("q-3", None, Resource::All, Unit::Concurrent, 4 * ONE, Period::Lifetime),
            ],
            fallback: Some((1_000_000, 4_000_000)),
            denies_without_quota: true,
        },
        2 => Plan {
            quotas: vec![
                quota("q-1", None, Resource::E2b, Unit::Seconds, 400 * ONE, Period::Week),
                quota("q-3", Some(1), Resource::All, Unit::Requests, 5 * ONE, Period::Hour),
                quota("q-4", None, Resource::All, Unit::Usd, dime, Period::Lifetime),
            ],
            fallback: Some((5_000_000, 20_000_000)),
            denies_without_quota: true,
        },
        3 => {
            let mut quotas = vec![
                quota("q-0", None, Resource::All, Unit::Usd, 3 * dime, Period::Rolling(600)),
                quota("q-1", Some(0), Resource::All, Unit::Requests, 4 * ONE, Period::Rolling(60)),
                quota("q-2", None, Resource::All, Unit::Usd, 4 * dime, Period::Day),
                quota("q-4", None, Resource::Llm, Unit::Tokens, 40_000 * ONE, Period::Month),
            ];
            quotas[2].1.calendar = Calendar { zone: Zone::Berlin, ..Calendar::default() };
            quotas[3].1.calendar = Calendar { zone: Zone::NewYork, month_day: 31, hour: 2, ..Calendar::default() };
            Plan { quotas, fallback: Some((2_000_000, 2_000_000)), denies_without_quota: false }
        }
        PREPAID => {
            let mut quotas = vec![
                quota("q-0", None, Resource::All, Unit::Usd, dime, Period::Lifetime),
                quota("q-1", None, Resource::All, Unit::Usd, 2 * dime, Period::Day),
                quota("q-2", Some(0), Resource::Llm, Unit::Tokens, 20_000 * ONE, Period::Lifetime),
                quota("q-3", None, Resource::All, Unit::Usd, 3 * dime, Period::Rolling(600)),
            ];
            quotas[1].1.rollover = Some(dime);
            Plan { quotas, fallback: Some((2_000_000, 2_000_000)), denies_without_quota: false }
        }
        _ => Plan { quotas: Vec::new(), fallback: None, denies_without_quota: false },
    }
}

impl Plan {
    /// As the policy document writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let quotas: serde_json::Map<_, _> =
            self.quotas.iter().map(|(id, quota)| (id.clone(), quota.to_json())).collect();
        let unknown_model = self.fallback.map_or(json!("deny"), |(input, output)| {
            // 10⁻¹² USD per token are 10⁻⁶ USD per million.
            json!({ "fallback": { "perMillion": { "input": amounts::text(input * 1_000_000), "output": amounts::text(output * 1_000_000) } } })
        });
        json!({ "quotas": quotas, "unknownModel": unknown_model,
            "withoutQuota": if self.denies_without_quota { "deny" } else { "allow" } })
    }
}

impl Model {
    /// Provider and model.
    #[must_use]
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Gpt4o => ("openai", "gpt-4o"),
            Self::Sonnet => ("anthropic", "claude-sonnet-4-5"),
            Self::Unknown => ("nobody", "nothing-1"),
            Self::Sandbox => ("e2b", "gpu"),
        }
    }

    /// Its name in one of the ways in which it can be written.
    #[must_use]
    pub const fn written(self, naming: Naming) -> &'static str {
        match (self, naming) {
            (Self::Gpt4o, Naming::Prefixed) => "openai/gpt-4o",
            (Self::Gpt4o, Naming::Listed) => "gpt-4o-2024-11-20",
            (Self::Sonnet, Naming::Prefixed) => "anthropic/claude-sonnet-4-5",
            (Self::Sonnet, Naming::Listed) => "claude-sonnet-4-5-20250929",
            _ => self.names().1,
        }
    }
}

/// A report of what was spent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it is grouped by.
    pub by: Vec<Dimension>,
    /// From when.
    pub from: Option<i64>,
    /// Before when.
    pub to: Option<i64>,
    /// Whose days.
    pub zone: Zone,
    /// How many groups at most.
    pub limit: Option<usize>,
    /// The last group of the page before: what was spent in it, and its values.
    pub after: Option<(Pico, Vec<Option<String>>)>,
}

/// What a report is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Users.
    User,
    /// Models whose rates calls had.
    Model,
    /// What was called.
    Called,
    /// Places in the app.
    Touchpoint,
    /// Days.
    Day,
    /// Models or sandboxes.
    Resource,
}

impl Dimension {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::User, Self::Model, Self::Called, Self::Touchpoint, Self::Day, Self::Resource];

    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Model => "model",
            Self::Called => "calledModel",
            Self::Touchpoint => "touchpoint",
            Self::Day => "day",
            Self::Resource => "resource",
        }
    }
}

impl Report {
    /// How the wire points at a group, for the page after it.
    #[must_use]
    pub fn cursor(usd: Pico, values: &[Option<String>]) -> String {
        let text = json!([usd.to_string(), values]).to_string();
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    fn to_json(&self) -> Value {
        let mut query = json!({ "op": "usage", "groupBy": self.by.iter().map(|by| by.name()).collect::<Vec<_>>() });
        for (name, instant) in [("from", self.from), ("to", self.to)] {
            if let Some(instant) = instant {
                query[name] = calendar::text(instant).into();
            }
        }
        if self.by.contains(&Dimension::Day) {
            query["timeZone"] = self.zone.name().into();
        }
        if let Some(limit) = self.limit {
            query["limit"] = limit.into();
        }
        if let Some((usd, values)) = &self.after {
            query["after"] = Self::cursor(*usd, values).into();
        }
        query
    }
}

impl Definition {
    /// Whether a call draws on it, where names mean what a document says.
    #[must_use]
    pub fn covers(&self, call: &Call, document: &Document, at: i64) -> bool {
        let resource = match self.resource {
            Resource::Llm => call.model != Model::Sandbox,
            Resource::E2b => call.model == Model::Sandbox,
            Resource::All => true,
        };
        resource
            && (self.user.is_none() || self.user == call.user)
            && (self.touchpoints.is_empty() || call.touchpoint.is_some_and(|from| self.touchpoints.contains(&from)))
            && self.names(call, document, at)
    }

    /// Whether a call is by one of its providers and of one of its models: by what was called, or by what that means.
    fn names(&self, call: &Call, document: &Document, at: i64) -> bool {
        let by = |provider: &str| {
            self.providers.is_empty() || self.providers.iter().any(|model| model.names().0 == provider)
        };
        let is_written = |name: &str| {
            self.models.is_empty() || self.models.iter().any(|(model, naming)| model.written(*naming) == name)
        };
        let (provider, name) = (call.model.names().0, call.model.written(call.naming));
        let meant = document.meant(call.model, at);
        // All that is written of one model means that model; a name of the tenant's own means another as long as it says so.
        let means = |(model, _): &(Model, Naming)| by(model.names().0) && document.meant(*model, at) == meant;
        by(provider) && is_written(name)
            || by(meant.names().0) && self.models.is_empty()
            || self.models.iter().any(means)
    }

    /// Whether there can be such a quota, as far as the simulator asks for what cannot be: only calendar periods leave something.
    #[must_use]
    pub const fn is_right(&self) -> bool {
        self.rollover.is_none() || matches!(self.period, Period::Hour | Period::Day | Period::Week | Period::Month)
    }

    /// Whether so much can be counted in its unit.
    #[must_use]
    pub const fn can_count(&self, amount: Pico) -> bool {
        match self.unit {
            Unit::Usd => true,
            Unit::Seconds => amount % (ONE / 1_000_000) == 0,
            Unit::Tokens | Unit::Requests | Unit::Concurrent => amount % ONE == 0,
        }
    }

    /// Start and end of the period that holds an instant.
    #[must_use]
    pub fn around(&self, at: i64) -> (i64, Option<i64>) {
        self.period.around(self.calendar, at)
    }

    /// What it looks at, at an instant.
    #[must_use]
    pub fn span(&self, now: i64) -> Span {
        let start = self.around(now).0;
        if matches!(self.period, Period::Rolling(_)) { Span::From(start) } else { Span::Period(start) }
    }

    /// Where it counts what is reserved at an instant.
    #[must_use]
    pub fn place(&self, now: i64) -> i64 {
        if matches!(self.period, Period::Rolling(_)) { now } else { self.around(now).0 }
    }

    /// Whether what was counted for the other counts for this one.
    #[must_use]
    pub fn counts_the_same_as(&self, other: &Self) -> bool {
        let counted = |it: &Self| (it.user, it.resource, it.unit, it.period, it.calendar);
        fn listed<T: ToString>(names: impl Iterator<Item = T>) -> BTreeSet<String> {
            names.map(|name| name.to_string()).collect()
        }
        let names = |it: &Self| {
            (
                listed(it.touchpoints.iter()),
                listed(it.providers.iter().map(|model| model.names().0)),
                listed(it.models.iter().map(|(model, naming)| model.written(*naming))),
            )
        };
        counted(self) == counted(other) && names(self) == names(other)
    }

    /// As the wire has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut quota = json!({
            "scope": if self.user.is_some() { "user" } else { "tenant" },
            "resource": match self.resource { Resource::Llm => "llm", Resource::E2b => "e2b", Resource::All => "all" },
            "unit": self.unit.name(),
            "limit": amounts::text(self.limit),
            "period": self.period.to_json(),
            "warnAt": self.warn_at.iter().map(|thousandths| amounts::text(thousandths * ONE / 1000)).collect::<Vec<_>>(),
        });
        if let Some(user) = self.user {
            quota["scopeId"] = user_id(user).into();
        }
        let touchpoints = self.touchpoints.iter().map(|touchpoint| touchpoint_name(*touchpoint));
        let providers = self.providers.iter().map(|model| model.names().0.to_owned());
        let models = self.models.iter().map(|(model, naming)| model.written(*naming).to_owned());
        let all: [(&str, Vec<String>); 3] =
            [("touchpoint", touchpoints.collect()), ("provider", providers.collect()), ("model", models.collect())];
        for (name, mut names) in all {
            if names.len() > 1 {
                quota["filter"][name] = names.into();
            } else if let Some(one) = names.pop() {
                quota["filter"][name] = one.into();
            }
        }
        let Calendar { zone, sundays, month_day, hour } = self.calendar;
        if zone != Zone::Utc {
            quota["timeZone"] = zone.name().into();
        }
        if sundays {
            quota["weekStartsOn"] = "sunday".into();
        }
        if month_day > 1 {
            quota["monthStartsOn"] = month_day.into();
        }
        if hour > 0 {
            quota["dayStartsAt"] = hour.into();
        }
        if self.warns_only {
            quota["enforcement"] = "warn".into();
        }
        if let Some(most) = self.rollover {
            quota["rollover"] = amounts::text(most).into();
        }
        quota
    }
}

impl Command {
    /// As a batch has it; None for what has no such form.
    #[must_use]
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Onboard(_) | Self::Settle { actual: Actual::Incomplete { .. }, .. } => return None,
            Self::PutQuota(id, definition) => json!({ "op": "putQuota", "id": id, "quota": definition.to_json() }),
            Self::DeleteQuota(id, forfeit) => json!({ "op": "deleteQuota", "id": id, "forfeit": forfeit }),
            Self::ResetQuota(id) => json!({ "op": "resetQuota", "id": id }),
            Self::AddCredit(id, credit) => json!({ "op": "addCredit", "id": id, "credit": credit.to_json() }),
            Self::RevokeCredit(id, credit) => json!({ "op": "revokeCredit", "id": id, "creditId": credit }),
            Self::Increase(id, increase) => {
                json!({ "op": "increaseLimit", "id": id, "increase": increase.to_json() })
            }
            Self::EndIncrease(id, increase) => json!({ "op": "endIncrease", "id": id, "increaseId": increase }),
            Self::PutOverrides(document) => json!({ "op": "putOverrides", "overrides": document.to_json() }),
            Self::ReleaseHolds { user, touchpoint, opened_before } => {
                let mut body = meant("releaseReservations", *user, *touchpoint);
                if let Some(before) = opened_before {
                    body["openedBefore"] = calendar::text(*before).into();
                }
                if user.is_none() && touchpoint.is_none() && opened_before.is_none() {
                    body["all"] = true.into();
                }
                body
            }
            Self::ListHolds { user, touchpoint } => meant("listReservations", *user, *touchpoint),
            Self::Reserve { id, call, estimate, ttl_seconds, on_expiry, shrink } => {
                let mut body = json!({ "op": "reserve", "id": id, "estimate": estimate.to_json(), "ttlSeconds": ttl_seconds, "onExpiry": on_expiry.name() });
                call.write(&mut body, matches!(estimate, Estimate::Seconds(_)));
                if *shrink {
                    body["onInsufficient"] = "shrink".into();
                }
                body
            }
            Self::Extend { id, extension, ttl_seconds, estimate } => {
                let mut body = json!({ "op": "extend", "id": id, "extend": { "id": extension } });
                if let Some(seconds) = ttl_seconds {
                    body["extend"]["ttlSeconds"] = (*seconds).into();
                }
                if let Some(estimate) = estimate {
                    body["extend"]["estimate"] = estimate.to_json();
                }
                body
            }
            Self::Meter { id, reading, actual } => {
                let mut body = json!({ "op": "meter", "id": id, "meter": { "id": reading } });
                actual.write(&mut body["meter"], false);
                body
            }
            Self::Settle { id, actual } => {
                let mut body = json!({ "op": "settle", "id": id });
                actual.write(&mut body, false);
                body
            }
            Self::Release { id } => json!({ "op": "release", "id": id }),
            Self::Record { id, call, actual, within_limit } => {
                let mode = if *within_limit { "within_limit" } else { "always" };
                let mut body = json!({ "op": "record", "id": id, "mode": mode });
                call.write(&mut body, matches!(actual, Actual::Seconds(_)));
                actual.write(&mut body, true);
                body
            }
            Self::Refund { id, refund, usd, why } => {
                let reason = if *why == 0 { "the answer was useless" } else { "a gesture" };
                let mut body =
                    json!({ "op": "refund", "id": id, "refund": { "id": refund, "reason": reason, "by": "support" } });
                if let Some(usd) = usd {
                    body["refund"]["usd"] = amounts::text(*usd).into();
                }
                body
            }
            Self::Explain { call, estimate } => {
                let mut body = json!({ "op": "explain", "estimate": estimate.to_json() });
                call.write(&mut body, matches!(estimate, Estimate::Seconds(_)));
                body
            }
            Self::GetReservation { id } => json!({ "op": "getReservation", "id": id }),
            Self::ListQuotas => json!({ "op": "listQuotas" }),
            Self::Usage(report) => report.to_json(),
        })
    }

    /// The reservation or record that it is about.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Reserve { id, .. }
            | Self::Extend { id, .. }
            | Self::Meter { id, .. }
            | Self::Settle { id, .. }
            | Self::Release { id }
            | Self::Record { id, .. }
            | Self::Refund { id, .. }
            | Self::GetReservation { id } => Some(id),
            _ => None,
        }
    }

    /// The key of the part of a reservation that it adds.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        match self {
            Self::Extend { extension: part, .. }
            | Self::Meter { reading: part, .. }
            | Self::Refund { refund: part, .. } => Some(part),
            _ => None,
        }
    }
}

impl Credit {
    fn to_json(&self) -> Value {
        let mut credit = json!({ "id": self.id, "amount": amounts::text(self.amount) });
        if let Some(ends) = self.ends {
            credit["expiresAt"] = calendar::text(ends).into();
        }
        if let Some((most, until)) = self.rolls {
            credit["rollover"] = json!({ "max": amounts::text(most), "until": calendar::text(until) });
        }
        credit
    }
}

impl Increase {
    /// As the wire has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "id": self.id, "amount": amounts::text(self.amount), "until": calendar::text(self.until) })
    }
}

impl Call {
    fn write(&self, body: &mut Value, names_its_tier: bool) {
        let (provider, model) = (self.model.names().0, self.model.written(self.naming));
        body["resource"] = if self.model == Model::Sandbox { "e2b" } else { "llm" }.into();
        if !names_its_tier {
            body["provider"] = provider.into();
            body["model"] = model.into();
        }
        if let Some(user) = self.user {
            body["userId"] = user_id(user).into();
        }
        if let Some(touchpoint) = self.touchpoint {
            body["attribution"] = json!({ "touchpoint": touchpoint_name(touchpoint) });
        }
    }
}

impl Estimate {
    fn to_json(self) -> Value {
        match self {
            Self::Usd(usd) => json!({ "usd": amounts::text(usd) }),
            Self::Tokens { input, output } => json!({ "inputTokens": input, "maxOutputTokens": output }),
            Self::Seconds(seconds) => json!({ "sandbox": { "tier": "gpu", "seconds": seconds } }),
        }
    }
}

impl Actual {
    fn write(self, body: &mut Value, names_its_tier: bool) {
        match self {
            Self::Usd(usd) => body["usd"] = amounts::text(usd).into(),
            Self::Usage { input, cached, output } => {
                body["usage"] = json!({ "input": input, "cache_read": cached, "output": output });
            }
            Self::Incomplete { input, output } => body["usage"] = json!({ "input": input, "output": output }),
            Self::Seconds(seconds) if names_its_tier => body["sandbox"] = json!({ "tier": "gpu", "seconds": seconds }),
            Self::Seconds(seconds) => body["sandbox"] = json!({ "seconds": seconds }),
        }
    }
}

impl OnExpiry {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::ChargeInput => "charge_input",
            Self::ChargeHold => "charge_hold",
        }
    }
}

/// A user's id.
#[must_use]
pub fn user_id(user: u8) -> String {
    format!("u-{user}")
}

/// A place in the app.
#[must_use]
pub fn touchpoint_name(touchpoint: u8) -> String {
    format!("t-{touchpoint}")
}
