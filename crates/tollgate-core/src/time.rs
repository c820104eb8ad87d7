//! Points in time, always given from outside.

use core::fmt;
use core::str::FromStr;

use chrono::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, up to the end of the year 9998. Travels as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text or number is not a point in time from 1970 to 9998.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 time from 1970 to 9998, such as \"2026-11-24T12:00:00Z\"")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 9998-12-31T23:59:59.999Z. The last year that RFC 3339 can write is left out, so that every period that starts has an end.
    const MAX_MILLIS: i64 = 253_370_764_799_999;

    /// From milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// The point lies before 1970 or after 9998.
    pub fn from_millis(millis: i64) -> Result<Self, InvalidTimestamp> {
        if (0..=Self::MAX_MILLIS).contains(&millis) { Ok(Self(millis)) } else { Err(InvalidTimestamp) }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The point so many seconds later, or the last one there is.
    #[must_use]
    pub fn plus_seconds(self, seconds: u32) -> Self {
        Self((self.0 + i64::from(seconds) * 1000).min(Self::MAX_MILLIS))
    }

    /// Whole seconds from `earlier` to this point, rounded up; zero where it is not later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> u64 {
        u64::try_from((self.0 - earlier.0).max(0)).unwrap_or(0).div_ceil(1000)
    }

    pub(crate) const fn from_calendar(millis: i64) -> Self {
        Self(millis)
    }
}

impl Timestamp {
    /// As RFC 3339 writes it, in ASCII. Every entry and answer has several of these: the calendar and the formatting of a library take ten times as long.
    fn text(self) -> [u8; 24] {
        // A time that is stored is from 1970 to 9998, so neither its days nor its milliseconds go beyond 32 bits.
        let days = u32::try_from(self.0 / 86_400_000).unwrap_or(0);
        let millis = u32::try_from(self.0 % 86_400_000).unwrap_or(0);
        let (year, month, day) = date(days);
        let digit = |value: u32| b'0' + (value % 10) as u8;
        let (hour, minute, second) = (millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60);
        [
            digit(year / 1000),
            digit(year / 100),
            digit(year / 10),
            digit(year),
            b'-',
            digit(month / 10),
            digit(month),
            b'-',
            digit(day / 10),
            digit(day),
            b'T',
            digit(hour / 10),
            digit(hour),
            b':',
            digit(minute / 10),
            digit(minute),
            b':',
            digit(second / 10),
            digit(second),
            b'.',
            digit(millis / 100),
            digit(millis / 10),
            digit(millis),
            b'Z',
        ]
    }
}

/// Year, month and day of the month, so many days after 1970-01-01. The algorithm is `civil_from_days` of Howard Hinnant's "chrono-Compatible Low-Level Date
/// Algorithms", which counts years from March, so that the day that is not in every year is a year's last; without its care for dates before year 0.
const fn date(days: u32) -> (u32, u32, u32) {
    // From 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTimestamp)?;
        Self::from_millis(at.timestamp_millis())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time, such as \"2026-11-24T12:00:00Z\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn reads_and_writes_rfc_3339() {
        let at: Timestamp = "2026-11-24T13:00:00.5+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-24T12:00:00.500Z");
        assert_eq!(Timestamp::from_millis(0).unwrap().to_string(), "1970-01-01T00:00:00.000Z");
        for bad in ["", "2026-11-24", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z", "now"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_day_is_the_calendars() {
        // Eleven days share no factor with weeks, months, years or eras.
        for days in (0..=Timestamp::MAX_MILLIS / 86_400_000).step_by(11) {
            // A time of day that is another one every time, with the last millisecond among them.
            let at = Timestamp::from_millis(days * 86_400_000 + (86_399_999 + days * 7_919_317) % 86_400_000).unwrap();
            assert_eq!(
                at.to_string(),
                DateTime::from_timestamp_millis(at.millis())
                    .unwrap()
                    .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
                "{days}"
            );
        }
    }

    #[test]
    fn seconds_are_rounded_up_and_never_negative() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(at(1001).seconds_since(at(0)), 2);
        assert_eq!(at(1000).seconds_since(at(0)), 1);
        assert_eq!(at(0).seconds_since(at(1000)), 0);
    }
}
