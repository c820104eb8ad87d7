//! Points in time, always given from outside.

use core::fmt;
use core::str::FromStr;

use chrono::{DateTime, Utc};
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

    pub(crate) fn utc(self) -> DateTime<Utc> {
        // Every value of this type is within chrono's range, so the fallback is never taken.
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl Timestamp {
    /// RFC 3339 in UTC, with milliseconds. Every entry and answer has several of these, and a calendar that knows all years and zones takes
    /// several times as long.
    fn text(self) -> [u8; 24] {
        let (days, millis) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let (days, millis) = (u32::try_from(days).unwrap_or(0), u32::try_from(millis).unwrap_or(0));
        // Years that begin in March, so that the leap day is a year's last, counted from year 0: the Gregorian calendar's 400 years have
        // 146,097 days, and from March on its months have 153 days in five.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let from_march = (5 * day + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year + era * 400 + u32::from(month <= 2);
        let seconds = millis / 1_000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, value) in [
            (0..4, year),
            (5..7, month),
            (8..10, day - (153 * from_march + 2) / 5 + 1),
            (11..13, seconds / 3_600),
            (14..16, seconds / 60 % 60),
            (17..19, seconds % 60),
            (20..23, millis % 1_000),
        ] {
            let mut rest = value;
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        text
    }
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
    fn every_day_is_written_as_the_calendar_has_it() {
        let last = Timestamp::MAX_MILLIS / 86_400_000;
        // Each day of the 400 years after which the calendar repeats itself, and some of each later year.
        for day in (0..146_097 + 366).chain((146_097..=last).step_by(97)) {
            // Another time each day, so that all parts of the text change.
            let at = Timestamp(day * 86_400_000 + day * 7_919 % 86_400_000);
            let expected = at.utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            assert_eq!(at.to_string(), expected);
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
