//! Calendar periods by counting days, and instants as text. Nothing of the core is used.

use serde_json::{Value, json};

/// A second in milliseconds.
pub const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
/// A day in milliseconds.
pub const DAY: i64 = 24 * HOUR;

/// How long a limit lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A clock hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
    /// For ever.
    Lifetime,
    /// So many seconds before every instant.
    Rolling(i64),
}

/// Whose clocks count. The rules are written down by hand, and hold for the years that the simulator plays in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zone {
    /// Universal time.
    #[default]
    Utc,
    /// Central Europe: one hour ahead, two from the last Sunday of March to the last of October, changed at 01:00 UTC.
    Berlin,
    /// Eastern North America: five hours behind, four from the second Sunday of March to the first of November, changed at 02:00 there.
    NewYork,
    /// India: five and a half hours ahead.
    Kolkata,
    /// Nepal: a quarter of an hour more.
    Kathmandu,
}

/// Where calendar periods begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Whose clocks count.
    pub zone: Zone,
    /// Whether weeks begin on Sunday, and not on Monday.
    pub sundays: bool,
    /// The day on which a month begins; the last one in months that are shorter. 0 is as 1.
    pub month_day: u8,
    /// The hour of the clock at which days begin.
    pub hour: u8,
}

impl Zone {
    /// The name that everybody uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Berlin => "Europe/Berlin",
            Self::NewYork => "America/New_York",
            Self::Kolkata => "Asia/Kolkata",
            Self::Kathmandu => "Asia/Kathmandu",
        }
    }

    /// The offset in winter, and, where there is a summer, the instants of its beginning and end in a year.
    fn rules(self, year: i64) -> (i64, Option<(i64, i64)>) {
        match self {
            Self::Utc => (0, None),
            Self::Kolkata => (11 * HOUR / 2, None),
            Self::Kathmandu => (23 * HOUR / 4, None),
            Self::Berlin => {
                let last_sunday = |month| sunday_from(year, month, days_of(year, month) - 6) * DAY + HOUR;
                (HOUR, Some((last_sunday(3), last_sunday(10))))
            }
            Self::NewYork => {
                let (spring, autumn) = (sunday_from(year, 3, 8), sunday_from(year, 11, 1));
                (-5 * HOUR, Some((spring * DAY + 7 * HOUR, autumn * DAY + 6 * HOUR)))
            }
        }
    }

    /// How far its clocks are ahead at an instant.
    #[must_use]
    pub fn offset(self, at: i64) -> i64 {
        let (winter, summer) = self.rules(date(at.div_euclid(DAY)).0);
        let is_summer = summer.is_some_and(|(spring, autumn)| (spring..autumn).contains(&at));
        if is_summer { winter + HOUR } else { winter }
    }

    /// The first instant at which its clocks show so much, or more where they skip it.
    fn instant(self, local: i64) -> i64 {
        let (winter, summer) = self.rules(date(local.div_euclid(DAY)).0);
        let shown = [local - winter - HOUR, local - winter].into_iter().filter(|at| at + self.offset(*at) == local);
        shown.min().unwrap_or_else(|| summer.map_or(local - winter, |(spring, _)| spring))
    }
}

/// The first Sunday on or after a day of a month, as the number of a day.
fn sunday_from(year: i64, month: i64, day: i64) -> i64 {
    let number = day_of(year, month, day);
    // 1970-01-04 was a Sunday.
    number + (3 - number).rem_euclid(7)
}

impl Period {
    /// The period on the wire.
    #[must_use]
    pub fn to_json(self) -> Value {
        match self {
            Self::Hour => "hour".into(),
            Self::Day => "day".into(),
            Self::Week => "week".into(),
            Self::Month => "month".into(),
            Self::Lifetime => "lifetime".into(),
            Self::Rolling(seconds) => json!({ "rolling": seconds }),
        }
    }

    /// Start and end of the period that holds an instant. A rolling window has no end and starts after what has left it.
    #[must_use]
    pub fn around(self, calendar: Calendar, at: i64) -> (i64, Option<i64>) {
        let Calendar { zone, sundays, month_day, hour } = calendar;
        let opens = |day: i64| zone.instant(day * DAY + i64::from(hour) * HOUR);
        // The day that the clock shows, where days begin at that hour.
        let today = (at + zone.offset(at)).div_euclid(DAY);
        let today = if opens(today) <= at { today } else { today - 1 };
        let (first, next) = match self {
            Self::Hour => {
                let local = at + zone.offset(at);
                let start = at - local.rem_euclid(HOUR);
                return (start.max(0), Some(start + HOUR));
            }
            Self::Lifetime => return (0, None),
            Self::Rolling(seconds) => return (at - seconds * SECOND + 1, None),
            Self::Day => (today, today + 1),
            Self::Week => {
                // 1970-01-05 was a Monday.
                let monday_or_sunday = if sundays { 3 } else { 4 };
                let first = (today - monday_or_sunday).div_euclid(7) * 7 + monday_or_sunday;
                (first, first + 7)
            }
            Self::Month => {
                let (year, month, _) = date(today);
                let begins = |year: i64, month: i64| {
                    let (year, month) = (year + (month - 1).div_euclid(12), (month - 1).rem_euclid(12) + 1);
                    day_of(year, month, i64::from(month_day.max(1)).min(days_of(year, month)))
                };
                if begins(year, month) <= today {
                    (begins(year, month), begins(year, month + 1))
                } else {
                    (begins(year, month - 1), begins(year, month))
                }
            }
        };
        (opens(first), Some(opens(next)))
    }
}

/// The number of a day, where 1970-01-01 is 0.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let years: i64 = (1970..year).map(days_of_year).sum();
    let months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    years + months + day - 1
}

/// Year, month (1 to 12) and day of month of the day with this number, where 1970-01-01 is 0.
fn date(day: i64) -> (i64, i64, i64) {
    let (mut year, mut rest) = (1970, day);
    while rest >= days_of_year(year) {
        rest -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while rest >= days_of(year, month) {
        rest -= days_of(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// An instant as RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn text(at: i64) -> String {
    let (year, month, day) = date(at.div_euclid(DAY));
    let rest = at.rem_euclid(DAY);
    let (hour, minute, second) = (rest / HOUR, rest / 60_000 % 60, rest / SECOND % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_everybody_writes_them() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(text(1_795_991_400_123), "2026-11-29T22:30:00.123Z");
    }

    fn around(period: Period, calendar: Calendar, at: &str) -> (String, String) {
        let at = (0..).map(|day| 1_767_225_600_000 + day * 60 * 30 * SECOND).find(|instant| text(*instant) == at);
        let (start, end) = period.around(calendar, at.unwrap_or_default());
        (text(start), end.map(text).unwrap_or_default())
    }

    #[test]
    fn periods_begin_where_everybody_says_they_do() {
        let utc = Calendar::default();
        let berlin = Calendar { zone: Zone::Berlin, ..utc };
        let new_york = Calendar { zone: Zone::NewYork, ..utc };
        let last = Calendar { month_day: 31, ..utc };
        for (period, calendar, at, start, end) in [
            (Period::Month, utc, "2028-02-29T12:00:00.000Z", "2028-02-01T00", "2028-03-01T00"),
            (Period::Week, utc, "2026-11-29T22:30:00.000Z", "2026-11-23T00", "2026-11-30T00"),
            (
                Period::Week,
                Calendar { sundays: true, ..utc },
                "2026-11-29T22:30:00.000Z",
                "2026-11-29T00",
                "2026-12-06T00",
            ),
            (Period::Month, last, "2026-04-30T12:00:00.000Z", "2026-04-30T00", "2026-05-31T00"),
            (Period::Month, last, "2026-05-30T12:00:00.000Z", "2026-04-30T00", "2026-05-31T00"),
            (Period::Day, berlin, "2026-03-29T12:00:00.000Z", "2026-03-28T23", "2026-03-29T22"),
            (Period::Day, berlin, "2026-10-25T12:00:00.000Z", "2026-10-24T22", "2026-10-25T23"),
            (Period::Day, new_york, "2026-11-01T12:00:00.000Z", "2026-11-01T04", "2026-11-02T05"),
            (Period::Day, Calendar { hour: 2, ..berlin }, "2026-03-29T12:00:00.000Z", "2026-03-29T01", "2026-03-30T00"),
            (Period::Day, Calendar { hour: 2, ..berlin }, "2026-10-25T12:00:00.000Z", "2026-10-25T00", "2026-10-26T01"),
        ] {
            let whole = |text: &str| format!("{text}:00:00.000Z");
            assert_eq!(around(period, calendar, at), (whole(start), whole(end)), "{period:?} {calendar:?} {at}");
        }
    }
}
