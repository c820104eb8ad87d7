//! Calendar periods by counting days, and instants as text. Nothing of the core is used.

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
    /// From Monday to Sunday.
    Week,
    /// A month.
    Month,
    /// For ever.
    Lifetime,
}

impl Period {
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

    /// Start and end of the period that holds an instant.
    #[must_use]
    pub fn around(self, at: i64) -> (i64, Option<i64>) {
        match self {
            Self::Hour => (at / HOUR * HOUR, Some(at / HOUR * HOUR + HOUR)),
            Self::Day => (at / DAY * DAY, Some(at / DAY * DAY + DAY)),
            Self::Week => {
                // 1970-01-05 was a Monday.
                let monday = (at / DAY - 4).div_euclid(7) * 7 + 4;
                (monday * DAY, Some((monday + 7) * DAY))
            }
            Self::Month => {
                let (year, month, day) = date(at / DAY);
                let first = at / DAY - (day - 1);
                (first * DAY, Some((first + days_of(year, month)) * DAY))
            }
            Self::Lifetime => (0, None),
        }
    }
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

    #[test]
    fn months_end_where_the_next_begins() {
        let (start, end) = Period::Month.around(951_782_400_000);
        assert_eq!(
            (text(start), end.map(text)),
            ("2000-02-01T00:00:00.000Z".into(), Some("2000-03-01T00:00:00.000Z".into()))
        );
        let (start, end) = Period::Week.around(1_795_991_400_000);
        assert_eq!(
            (text(start), end.map(text)),
            ("2026-11-23T00:00:00.000Z".into(), Some("2026-11-30T00:00:00.000Z".into()))
        );
    }
}
