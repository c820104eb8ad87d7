//! Calendar periods in UTC, half-open: a period starts at its first instant and ends just before the next one's.

use chrono::{Datelike, Months, NaiveDate, NaiveTime};
use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::time::Timestamp;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// 1970-01-01 was a Thursday, so the first Monday came four days later and the week that holds the epoch began three days before it.
const EPOCH_TO_MONDAY_MS: i64 = 3 * DAY_MS;

/// How long a quota's limit lasts before it starts afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// From Monday to Sunday (ISO 8601).
    Week,
    /// A calendar month.
    Month,
    /// For ever: it never starts afresh.
    Lifetime,
}

/// One concrete period: from `start` up to, not including, `end`. Without an end it lasts for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// The first instant.
    pub start: Timestamp,
    /// The first instant after it.
    pub end: Option<Timestamp>,
}

impl Window {
    /// Whether the instant lies in the window.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

impl Period {
    /// The period's window that holds an instant.
    #[must_use]
    pub fn window(self, at: Timestamp) -> Window {
        let at = if fault::on(Fault::PeriodEndIsInclusive) {
            Timestamp::from_calendar((at.millis() - 1).max(0))
        } else {
            at
        };
        match self {
            Self::Hour => fixed(at, HOUR_MS, 0),
            Self::Day => fixed(at, DAY_MS, 0),
            Self::Week => fixed(at, WEEK_MS, EPOCH_TO_MONDAY_MS),
            Self::Month => month(at),
            Self::Lifetime => Window { start: Timestamp::default(), end: None },
        }
    }

    /// The period's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Lifetime => "lifetime",
        }
    }
}

fn fixed(at: Timestamp, length: i64, offset: i64) -> Window {
    let since = (at.millis() + offset).rem_euclid(length);
    // The week that holds the epoch starts before it; times before 1970 do not exist here.
    let start = (at.millis() - since).max(0);
    Window { start: Timestamp::from_calendar(start), end: Some(Timestamp::from_calendar(at.millis() - since + length)) }
}

fn month(at: Timestamp) -> Window {
    // The day always exists, so the fallback is never taken.
    let today = at.utc().date_naive();
    let first = today.with_day(1).unwrap_or(today);
    let millis = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    Window {
        start: Timestamp::from_calendar(millis(first)),
        end: first.checked_add_months(Months::new(1)).map(|next| Timestamp::from_calendar(millis(next))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn window(period: Period, at: &str) -> (String, String) {
        let window = period.window(at.parse().unwrap());
        (window.start.to_string(), window.end.map_or_else(|| "never".to_owned(), |end| end.to_string()))
    }

    fn day(start: &str, end: &str) -> (String, String) {
        (format!("{start}T00:00:00.000Z"), format!("{end}T00:00:00.000Z"))
    }

    #[test]
    fn periods_start_and_end_on_the_calendar() {
        assert_eq!(window(Period::Day, "2026-02-28T23:59:59.999Z"), day("2026-02-28", "2026-03-01"));
        assert_eq!(window(Period::Month, "2028-02-29T12:00:00Z"), day("2028-02-01", "2028-03-01"));
        assert_eq!(window(Period::Month, "2026-12-31T23:59:59.999Z"), day("2026-12-01", "2027-01-01"));
        // The existing app's own code ended this week on May 6; it ends on Monday, April 6.
        assert_eq!(window(Period::Week, "2026-04-02T10:00:00Z"), day("2026-03-30", "2026-04-06"));
        assert_eq!(window(Period::Week, "2026-11-23T00:00:00Z"), day("2026-11-23", "2026-11-30"));
        assert_eq!(
            window(Period::Hour, "2026-11-24T12:59:59.999Z"),
            ("2026-11-24T12:00:00.000Z".to_owned(), "2026-11-24T13:00:00.000Z".to_owned())
        );
        assert_eq!(window(Period::Lifetime, "2026-11-24T12:00:00Z").1, "never");
    }

    proptest! {
        #[test]
        fn windows_hold_their_instant_and_tile_time(millis in 0_i64..253_370_764_800_000, which in 0_usize..4) {
            let period = [Period::Hour, Period::Day, Period::Week, Period::Month][which];
            let at = Timestamp::from_millis(millis).unwrap();
            let window = period.window(at);
            prop_assert!(window.contains(at));
            let end = window.end.unwrap();
            prop_assert!(!window.contains(end));
            prop_assert_eq!(period.window(end).start, end);
            prop_assert_eq!(period.window(window.start), window);
        }
    }
}
