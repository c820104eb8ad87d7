//! What was spent, rolled up by hour, user, model and touchpoint.

use crate::bounds::Amounts;
use crate::call::{Call, Resource};
use crate::ledger::{Charged, Entry, Event};
use crate::meter::MeterKind;
use crate::money::Usd;
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;

/// The cell of the roll-up that a charge belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Start of the hour in which the call was reserved.
    pub hour: Timestamp,
    /// What kind of budget it drew on.
    pub resource: Resource,
    /// The user, where one was named.
    pub user: Option<String>,
    /// `provider/model`, or the model alone, where one was named.
    pub model: Option<String>,
    /// The touchpoint, where one was named.
    pub touchpoint: Option<String>,
}

impl UsageKey {
    /// Whether a part of the hour lies from one instant up to, not including, another.
    #[must_use]
    pub const fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.hour.millis() < until.millis() && self.hour.millis() + 3_600_000 > from.millis()
    }
}

/// What was spent in a cell, or by a charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Money.
    pub usd: Usd,
    /// Charged calls.
    pub calls: i64,
    /// Tokens of prompts, where usage was reported.
    pub input_tokens: i64,
    /// Tokens of answers, where usage was reported.
    pub output_tokens: i64,
}

impl UsageTotals {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.usd = self.usd.plus(other.usd);
        self.calls = self.calls.saturating_add(other.calls);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }
}

/// What an entry adds to the roll-up. None where it charges nothing.
#[must_use]
pub fn contribution(entry: &Entry) -> Option<(UsageKey, UsageTotals)> {
    if let Event::Adjusted { charged, .. } | Event::Refunded { charged, .. } = &entry.event {
        // The call and its tokens were counted when it was charged.
        let before = charged.replaces.map_or(Usd::ZERO, |replaced| replaced.amounts.usd);
        let totals = UsageTotals { usd: charged.spent.usd.minus(before), ..UsageTotals::default() };
        return Some((key(&charged.call, charged.reserved_at), totals));
    }
    let charged = match &entry.event {
        Event::Settled(charged)
        | Event::Expired(charged)
        | Event::SettledLate { charged, .. }
        | Event::Metered { charged, .. }
        | Event::Recorded { charged, .. } => charged,
        _ => return None,
    };
    let totals = totals(charged);
    (totals != UsageTotals::default()).then(|| (key(&charged.call, charged.reserved_at), totals))
}

/// What a report is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// By user.
    User,
    /// By model.
    Model,
    /// By touchpoint.
    Touchpoint,
    /// By day, in UTC.
    Day,
    /// By resource.
    Resource,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 5] = [Self::User, Self::Model, Self::Touchpoint, Self::Day, Self::Resource];

    /// The dimension's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Model => "model",
            Self::Touchpoint => "touchpoint",
            Self::Day => "day",
            Self::Resource => "resource",
        }
    }

    fn of(self, key: &UsageKey) -> Option<String> {
        match self {
            Self::User => key.user.clone(),
            Self::Model => key.model.clone(),
            Self::Touchpoint => key.touchpoint.clone(),
            Self::Day => key.hour.to_string().split_once('T').map(|(day, _)| day.to_owned()),
            Self::Resource => Some(key.resource.to_string()),
        }
    }
}

/// One value per dimension of a query, in its order; None where a call had none.
pub type Group = Vec<Option<String>>;

/// Which part of the roll-up is asked for, and how it is grouped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageQuery {
    /// In the order in which they were asked for; none for the total alone.
    pub group_by: Vec<Dimension>,
    /// From this full hour.
    pub from: Option<Timestamp>,
    /// Up to, not including, this full hour.
    pub to: Option<Timestamp>,
}

impl UsageQuery {
    /// Whether an hour is asked for.
    #[must_use]
    pub fn covers(&self, hour: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= hour) && self.to.is_none_or(|to| hour < to)
    }

    /// Whether both ends are full hours, as the roll-up needs.
    #[must_use]
    pub fn on_full_hours(at: Timestamp) -> bool {
        full_hour(at) == at
    }
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// One value per dimension, in the query's order, and what was spent; dearest first.
    pub groups: Vec<(Group, UsageTotals)>,
    /// All groups together.
    pub total: UsageTotals,
}

impl UsageQuery {
    /// The group of the report that a cell of the roll-up belongs to.
    #[must_use]
    pub fn group_of(&self, key: &UsageKey) -> Group {
        self.group_by.iter().map(|dimension| dimension.of(key)).collect()
    }
}

impl UsageReport {
    /// Adds up what was found of each group.
    pub fn new(query: &UsageQuery, parts: impl IntoIterator<Item = (Group, UsageTotals)>) -> Self {
        let mut groups: SortedMap<Group, UsageTotals> = SortedMap::new();
        let mut total = UsageTotals::default();
        for (group, totals) in parts {
            total.add(&totals);
            groups.update(group, |sum| sum.add(&totals));
        }
        let mut groups: Vec<_> = if query.group_by.is_empty() { Vec::new() } else { groups.into_iter().collect() };
        groups.sort_unstable_by(|(a, a_totals), (b, b_totals)| b_totals.usd.cmp(&a_totals.usd).then_with(|| a.cmp(b)));
        Self { groups, total }
    }
}

fn key(call: &Call, reserved_at: Timestamp) -> UsageKey {
    let text = |name: &Option<crate::ids::Name>| name.as_ref().map(ToString::to_string);
    let model = match (&call.provider, &call.model) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        (_, model) => text(model),
    };
    UsageKey {
        hour: full_hour(reserved_at),
        resource: call.resource,
        user: call.user_id.as_ref().map(ToString::to_string),
        model,
        touchpoint: text(&call.attribution.touchpoint),
    }
}

fn totals(charged: &Charged) -> UsageTotals {
    let replaced = charged.replaces.unwrap_or_default();
    // An amount says nothing of tokens; those that were reported before stay reported.
    let tokens = |kind, before| {
        if charged.charge.lines.is_empty() { 0 } else { whole(charged.charge.sum(kind)).saturating_sub(whole(before)) }
    };
    let calls = |amounts: &Amounts| whole(amounts.requests.whole());
    UsageTotals {
        usd: charged.spent.usd.minus(replaced.amounts.usd),
        calls: calls(&charged.spent).saturating_sub(calls(&replaced.amounts)),
        input_tokens: tokens(MeterKind::InputTokens, replaced.input_tokens),
        output_tokens: tokens(MeterKind::OutputTokens, replaced.output_tokens),
    }
}

/// The start of an hour, in UTC.
const fn full_hour(at: Timestamp) -> Timestamp {
    Timestamp::from_calendar(at.millis() - at.millis() % 3_600_000)
}

fn whole(count: u64) -> i64 {
    // A quantity is 10¹² at most, and a usage has a handful of them.
    i64::try_from(count).unwrap_or(i64::MAX)
}
