//! What was spent, rolled up by quarter of an hour, user, model and touchpoint.
//!
//! By quarters, because that is where the hours of every time zone begin: some are a half hour or three quarters from the others.

use core::cmp::Reverse;
use core::fmt;

use crate::api::Problem;
use crate::bounds::Amounts;
use crate::call::Resource;
use crate::fault::{self, Fault};
use crate::ids::Name;
use crate::ledger::{Charged, Entry, Event};
use crate::meter::MeterKind;
use crate::money::Usd;
use crate::time::Timestamp;
use crate::zone::{self, Zone};

/// The most cells of the roll-up that one report reads.
pub const MAX_CELLS: usize = 1_000_000;
/// How many groups a page has where the caller does not say.
pub const DEFAULT_GROUPS: u32 = 100;
/// The most bytes of a page's groups: an answer has 1 MiB at most.
const MAX_PAGE_BYTES: usize = 1_000_000;
/// What a group takes besides its values: the names of all dimensions, and the longest sums.
const GROUP_BYTES: usize = 256;
const QUARTER_MS: i64 = 15 * 60 * 1_000;

/// The cell of the roll-up that a charge belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Start of the quarter of an hour in which the call was reserved. What was archived by hours is in the first of each.
    pub quarter: Timestamp,
    /// What kind of budget it drew on.
    pub resource: Resource,
    /// The user, where one was named.
    pub user: Option<String>,
    /// `provider/model` of the model whose rates the call had, or the model alone, where one was named.
    pub model: Option<String>,
    /// What was called, where that was another name.
    pub called: Option<String>,
    /// The touchpoint, where one was named.
    pub touchpoint: Option<String>,
}

impl UsageKey {
    /// Whether a part of the hour that begins with the quarter lies from one instant up to, not including, another.
    #[must_use]
    pub const fn overlaps(&self, from: Timestamp, until: Timestamp) -> bool {
        self.quarter.millis() < until.millis() && self.quarter.millis() + 3_600_000 > from.millis()
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
        return Some((key(charged), totals));
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
    (totals != UsageTotals::default()).then(|| (key(charged), totals))
}

/// What a report is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dimension {
    /// By user.
    User,
    /// By the model whose rates calls had.
    Model,
    /// By what was called.
    CalledModel,
    /// By touchpoint.
    Touchpoint,
    /// By day, of the report's time zone.
    Day,
    /// By resource.
    Resource,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] =
        [Self::User, Self::Model, Self::CalledModel, Self::Touchpoint, Self::Day, Self::Resource];

    /// The dimension's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Model => "model",
            Self::CalledModel => "calledModel",
            Self::Touchpoint => "touchpoint",
            Self::Day => "day",
            Self::Resource => "resource",
        }
    }

    fn of(self, key: &UsageKey, zone: &Zone) -> Option<String> {
        match self {
            Self::User => key.user.clone(),
            Self::Model => key.model.clone(),
            Self::CalledModel => key.called.as_ref().or(key.model.as_ref()).cloned(),
            Self::Touchpoint => key.touchpoint.clone(),
            Self::Day => {
                let at = key.quarter.millis().div_euclid(1_000);
                Some(zone::date(at + zone.span(at).offset).to_string())
            }
            Self::Resource => Some(key.resource.to_string()),
        }
    }
}

/// One value per dimension of a query, in its order; None where a call had none.
pub type Group = Vec<Option<String>>;

/// Which part of the roll-up is asked for, and how it is grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// In the order in which they were asked for; none for the total alone.
    pub group_by: Vec<Dimension>,
    /// From this full quarter of an hour.
    pub from: Option<Timestamp>,
    /// Up to, not including, this full quarter of an hour.
    pub to: Option<Timestamp>,
    /// Whose days, as it was asked for.
    pub time_zone: Option<Name>,
    /// The same: UTC where nothing was said.
    pub zone: Zone,
    /// The most groups of the answer.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<UsageCursor>,
}

impl Default for UsageQuery {
    fn default() -> Self {
        Self {
            group_by: Vec::new(),
            from: None,
            to: None,
            time_zone: None,
            zone: Zone::default(),
            limit: DEFAULT_GROUPS,
            after: None,
        }
    }
}

impl UsageQuery {
    /// Whether a cell is asked for, by its quarter of an hour.
    #[must_use]
    pub fn covers(&self, quarter: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= quarter) && self.to.is_none_or(|to| quarter < to)
    }

    /// Whether an instant is one at which a report can begin or end.
    #[must_use]
    pub const fn begins_a_quarter(at: Timestamp) -> bool {
        at.millis() % QUARTER_MS == 0
    }

    /// The group of the report that a cell of the roll-up belongs to.
    #[must_use]
    pub fn group_of(&self, key: &UsageKey) -> Group {
        let zone = if fault::on(Fault::UsageDaysAreUtc) { &Zone::default() } else { &self.zone };
        self.group_by.iter().map(|dimension| dimension.of(key, zone)).collect()
    }
}

/// Where a page of a report ended: at its last group. It says what it is about itself, so that what is spent in between neither repeats a group that stayed where
/// it was nor leaves it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageCursor {
    /// What was spent in it.
    pub usd: Usd,
    /// Which it is.
    pub group: Group,
}

impl UsageCursor {
    /// Reads a cursor of a report by so many dimensions. None where it is none.
    #[must_use]
    pub fn read(text: &str, dimensions: usize) -> Option<Self> {
        let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        });
        let json = String::from_utf8(bytes.collect::<Option<_>>()?).ok()?;
        let (picos, group): (String, Group) = serde_json::from_str(&json).ok()?;
        let usd = Usd::from_picos(picos.parse().ok()?);
        (group.len() == dimensions).then_some(Self { usd, group })
    }
}

impl fmt::Display for UsageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = tollgate_json::to_string(&(self.usd.picos().to_string(), &self.group)).map_err(|_| fmt::Error)?;
        json.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageReport {
    /// One value per dimension, in the query's order, and what was spent; dearest first.
    pub groups: Vec<(Group, UsageTotals)>,
    /// All groups together, also those of other pages.
    pub total: UsageTotals,
    /// Where the next page begins. None where this is the last.
    pub next: Option<UsageCursor>,
}

impl UsageReport {
    /// Adds up what was found of each group.
    pub fn new(query: &UsageQuery, parts: impl IntoIterator<Item = (Group, UsageTotals)>) -> Self {
        let mut groups: Vec<(Group, UsageTotals)> = Vec::new();
        let mut total = UsageTotals::default();
        for (group, totals) in parts {
            total.add(&totals);
            if !query.group_by.is_empty() {
                groups.push((group, totals));
            }
        }
        groups.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        groups.dedup_by(|(later, more), (group, sum)| {
            let same = later == group;
            if same {
                sum.add(more);
            }
            same
        });
        groups.sort_unstable_by(|(a, a_sum), (b, b_sum)| place(a_sum.usd, a).cmp(&place(b_sum.usd, b)));
        if let Some(after) = &query.after {
            let repeats = fault::on(Fault::UsagePageRepeats);
            groups.retain(|(group, sum)| {
                let order = place(sum.usd, group).cmp(&place(after.usd, &after.group));
                order.is_gt() || repeats && order.is_eq()
            });
        }
        Self::page(query, groups, total)
    }

    /// A page of what comes after the one before, in order: as many groups as were asked for, and as fit an answer. It takes one more than these to know whether there is
    /// another page.
    pub fn page(
        query: &UsageQuery,
        groups: impl IntoIterator<Item = (Group, UsageTotals)>,
        total: UsageTotals,
    ) -> Self {
        let mut page: Vec<(Group, UsageTotals)> = Vec::new();
        let mut bytes = 0;
        for (group, totals) in groups {
            // A character of a name is two in JSON at most.
            bytes += GROUP_BYTES + group.iter().flatten().map(|value| 2 * value.len()).sum::<usize>();
            if page.len() >= usize::try_from(query.limit).unwrap_or(usize::MAX) || bytes > MAX_PAGE_BYTES {
                let next = page.last().map(|(group, totals)| UsageCursor { usd: totals.usd, group: group.clone() });
                return Self { groups: page, total, next };
            }
            page.push((group, totals));
        }
        Self { groups: page, total, next: None }
    }
}

/// Where a group stands among others: dearest first, and equals by their values.
const fn place(usd: Usd, group: &Group) -> (Reverse<Usd>, &Group) {
    (Reverse(usd), group)
}

/// The answer where a report would read more than [`MAX_CELLS`].
#[must_use]
pub fn too_many_cells() -> Problem {
    Problem::invalid(
        "from",
        "the report would read more than 1000000 cells of the roll-up: narrow `from` and `to`, and ask for the rest in further reports",
    )
}

fn key(charged: &Charged) -> UsageKey {
    let call = &charged.call;
    let text = |name: &Option<Name>| name.as_ref().map(ToString::to_string);
    let called = match (&call.provider, &call.model) {
        (Some(provider), Some(model)) => Some(format!("{provider}/{model}")),
        (_, model) => text(model),
    };
    let (model, called) = match &charged.rated_as {
        Some(rated_as) => (Some(format!("{}/{}", rated_as.provider, rated_as.model)), called),
        None => (called, None),
    };
    UsageKey {
        quarter: quarter(charged.reserved_at),
        resource: call.resource,
        user: call.user_id.as_ref().map(ToString::to_string),
        model,
        called,
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

/// The start of a quarter of an hour.
fn quarter(at: Timestamp) -> Timestamp {
    let length = if fault::on(Fault::UsageCountsByHour) { 4 * QUARTER_MS } else { QUARTER_MS };
    Timestamp::from_calendar(at.millis() - at.millis() % length)
}

fn whole(count: u64) -> i64 {
    // A quantity is 10¹² at most, and a usage has a handful of them.
    i64::try_from(count).unwrap_or(i64::MAX)
}
