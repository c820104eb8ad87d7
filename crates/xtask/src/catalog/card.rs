//! What one source says about one model, in our meters.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

/// Our meters, in the order in which they are written. The last ones are not tokens: their rates are per one.
pub const METERS: [&str; 14] = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "input_audio",
    "cache_read_audio",
    "input_image",
    "input_video",
    "output",
    "reasoning",
    "output_audio",
    "output_image",
    "request",
    "web_search",
];

/// The modes of a call that have rates of their own.
pub const MODES: [&str; 3] = ["batch", "flex", "priority"];

/// The first date of a price whose beginning no source knows.
pub const UNKNOWN_DATE: &str = "1970-01-01";

/// Whether a meter counts tokens, and its rate is per million.
pub fn is_token(meter: &str) -> bool {
    !["request", "web_search"].contains(&meter)
}

/// A meter's rate beyond a prompt length; 0 is the base.
pub type Key = (u64, &'static str);

/// USD per million tokens, or per one.
pub type Rates = BTreeMap<Key, Decimal>;

/// Rates in force from a date.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// `YYYY-MM-DD`.
    pub from: String,
    pub rates: Rates,
    pub modes: BTreeMap<&'static str, Rates>,
    pub regions: BTreeMap<String, Region>,
    pub schedules: Vec<Schedule>,
}

/// What a region changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Region {
    /// Multiplies every rate.
    Times(Decimal),
    /// Replaces rates.
    Rates(Rates),
}

/// Rates of some hours of the day.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    pub from: String,
    pub to: String,
    pub weekdays: Vec<String>,
    pub except_dates: Vec<String>,
    pub rates: Rates,
}

/// Everything that a source says about a model.
#[derive(Clone, Debug, Default)]
pub struct Opinion {
    /// Ascending by date, at least one.
    pub cards: Vec<Card>,
    pub context_window: Option<u64>,
    pub max_output_tokens: Option<u64>,
    /// The source's own entry, where several names share one.
    pub entry: Option<String>,
}

impl Opinion {
    /// The card in force on a date, or the first one.
    pub fn at(&self, date: &str) -> usize {
        self.cards.iter().rposition(|card| card.from.as_str() <= date).unwrap_or(0)
    }
}

/// What a source says, by our provider and the exact name of a model.
pub type Opinions = BTreeMap<(String, String), Opinion>;

/// Drops rates that are not a price: a zero beside a positive input rate means that the source does not know, or that nothing is billed apart.
pub fn drop_zeros(rates: &mut Rates) {
    if rates.iter().any(|((_, meter), rate)| *meter == "input" && !rate.is_zero()) {
        rates.retain(|(_, meter), rate| !rate.is_zero() || ["input", "output"].contains(meter));
    }
}

/// Whether there is a rate for tokens that is worth keeping.
pub fn has_token_rates(rates: &Rates) -> bool {
    rates.keys().any(|(_, meter)| is_token(meter))
}
