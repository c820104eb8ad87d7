//! Points in time, always given from outside.

use core::fmt;
use core::str::FromStr;

use chrono::{DateTime, Datelike, Timelike, Utc};
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

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.utc();
        // Every entry and answer has several of these, and the formatting machinery takes ten times as long.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, value) in [
            (0..4, at.year().unsigned_abs()),
            (5..7, at.month()),
            (8..10, at.day()),
            (11..13, at.hour()),
            (14..16, at.minute()),
            (17..19, at.second()),
            (20..23, at.timestamp_subsec_millis()),
        ] {
            let mut rest = value;
            for digit in text.get_mut(place).into_iter().flatten().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        f.write_str(core::str::from_utf8(&text).unwrap_or_default())
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
        serializer.collect_str(self)
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
    fn seconds_are_rounded_up_and_never_negative() {
        let at = |millis| Timestamp::from_millis(millis).unwrap();
        assert_eq!(at(1001).seconds_since(at(0)), 2);
        assert_eq!(at(1000).seconds_since(at(0)), 1);
        assert_eq!(at(0).seconds_since(at(1000)), 0);
    }
}
