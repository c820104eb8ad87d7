//! Time zones: how far a region's clocks are from UTC, and when its days begin.
//!
//! The offsets come from the IANA time zone database, packed by `cargo xtask zones` into `zones/zones.txt`: the host's own table would
//! differ between a browser, Node and a Worker. They are right from 2025 on, as far as governments have said; before that, today's rule
//! is taken to have held. `tests/zones.rs` compares every zone with the database from 2025 to 2040.

use chrono::{Datelike, NaiveDate, NaiveTime};

/// Its first line is the database's version. Each other line has a rule, `|`, and the names of the zones that follow it; a name without
/// `/` is in the folder of the name before it. The rule is numbers: the offset in minutes east of Greenwich; then, where there is
/// summer time, its offset and, for its start and its end, month, week (5 for the last), weekday (0 for Sunday) and minute of the day by
/// the clock that is left. After `@` follow the changes that the rule does not tell: the offset before them, then minutes since
/// [`LISTED_FROM`] and the offset from there. The rule holds from the last one on.
const TABLE: &str = include_str!("../zones/zones.txt");
/// 2025-01-01T00:00:00Z, in seconds since 1970.
const LISTED_FROM: i64 = 1_735_689_600;
/// Further from UTC than any clock is, in seconds.
const FARTHEST: i64 = 26 * 3600;

/// How a region's clocks are set. Times are in seconds: since 1970 in UTC, or what the clock on the wall says, read as if it were UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    standard: i64,
    summer: Option<Summer>,
    /// From when another offset holds, ascending.
    listed: Vec<(i64, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Summer {
    offset: i64,
    start: YearDay,
    end: YearDay,
}

/// A weekday of a month, and the second of that day, which may lie outside it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct YearDay {
    month: u32,
    week: u32,
    weekday: u32,
    second: i64,
}

/// A stretch of time in which the offset stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first second.
    pub from: i64,
    /// The first second after it.
    pub until: i64,
    /// Seconds east of Greenwich.
    pub offset: i64,
}

impl Zone {
    /// The version of the IANA database.
    #[must_use]
    pub fn database() -> &'static str {
        TABLE.lines().next().unwrap_or_default()
    }

    /// The zone of a name, as the IANA database has it: `Europe/Berlin`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self::default());
        }
        let wanted = in_folder(name);
        TABLE.lines().find_map(|line| {
            let (rule, names) = line.split_once('|')?;
            listed(names).any(|name| name == wanted).then(|| Self::read(rule))
        })
    }

    /// The stretch of one offset that holds an instant.
    #[must_use]
    pub fn span(&self, at: i64) -> Span {
        let listed = self.listed.iter().rposition(|(from, _)| *from <= at);
        let next_listed = listed.map_or(0, |found| found + 1);
        let next = self.listed.get(next_listed).map(|(from, _)| *from);
        match (listed.and_then(|found| self.listed.get(found)), next) {
            (Some((from, offset)), Some(until)) => Span { from: *from, until, offset: *offset },
            (last, _) => {
                let span = self.ruled(at);
                Span { from: last.map_or(span.from, |(from, _)| span.from.max(*from)), ..span }
            }
        }
    }

    /// The first instant at which the wall clock has reached a time: where it skips that time, the moment of the jump; where it shows it
    /// twice, the first time.
    #[must_use]
    pub fn first_at(&self, wall: i64) -> i64 {
        let mut span = self.span(wall.saturating_sub(FARTHEST));
        loop {
            let at = wall.saturating_sub(span.offset).max(span.from);
            if at < span.until {
                return at;
            }
            span = self.span(span.until);
        }
    }

    /// The zone of a rule as a line of the table has it.
    pub(crate) fn read(rule: &str) -> Self {
        let (rule, listed) = rule.split_once('@').map_or((rule, None), |(rule, listed)| (rule, Some(listed)));
        let mut numbers = rule.split(' ').map(minutes);
        let mut next = || numbers.next();
        let standard = next().unwrap_or(0);
        let summer = next().and_then(|offset| {
            let mut day = || {
                // Written in minutes, so read as seconds like the rest; these three are counts.
                let mut count = || next().and_then(|count| u32::try_from(count / 60).ok());
                Some(YearDay { month: count()?, week: count()?, weekday: count()?, second: next()? })
            };
            Some(Summer { offset, start: day()?, end: day()? })
        });
        let changes =
            listed.into_iter().flat_map(|listed| listed.split(',')).map(|change| match change.split_once(':') {
                Some((since, offset)) => (LISTED_FROM + minutes(since), minutes(offset)),
                None => (i64::MIN, minutes(change)),
            });
        Self { standard, summer, listed: changes.collect() }
    }

    /// The stretch by the rule alone.
    fn ruled(&self, at: i64) -> Span {
        let Some(summer) = &self.summer else {
            return Span { from: i64::MIN, until: i64::MAX, offset: self.standard };
        };
        let year = date(at).year();
        let mut span = Span { from: i64::MIN, until: i64::MAX, offset: self.standard };
        for year in year - 1..=year + 1 {
            let start = (summer.start.in_year(year) - self.standard, summer.offset);
            let end = (summer.end.in_year(year) - summer.offset, self.standard);
            let (first, second) = if start <= end { (start, end) } else { (end, start) };
            for (change, offset) in [first, second] {
                if change <= at {
                    span = Span { from: change, until: i64::MAX, offset };
                } else if span.until == i64::MAX {
                    span.until = change;
                }
            }
        }
        span
    }
}

impl YearDay {
    /// What the wall clock says then, in a year.
    fn in_year(&self, year: i32) -> i64 {
        let nth = |week: u32| {
            let first = NaiveDate::from_ymd_opt(year, self.month, 1)?;
            let ahead = (self.weekday + 7 - first.weekday().num_days_from_sunday()) % 7;
            NaiveDate::from_ymd_opt(year, self.month, 1 + ahead + 7 * (week - 1))
        };
        // The fifth one, where there is none, is the fourth.
        let day = nth(self.week).or_else(|| nth(4)).unwrap_or_default();
        midnight(day) + self.second
    }
}

/// The names of a line of the table, each as its folder and the rest.
fn listed(names: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut folder = "";
    names.split(' ').map(move |name| {
        let (own, last) = in_folder(name);
        if !own.is_empty() {
            folder = own;
        }
        (folder, last)
    })
}

fn in_folder(name: &str) -> (&str, &str) {
    name.split_at(name.rfind('/').map_or(0, |at| at + 1))
}

/// What the wall clock says when a day begins.
pub(crate) const fn midnight(day: NaiveDate) -> i64 {
    day.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// The day that a wall clock shows.
pub(crate) fn date(wall: i64) -> NaiveDate {
    // Every instant that there is lies within chrono's range, so the fallback is never taken.
    chrono::DateTime::from_timestamp_secs(wall).unwrap_or_default().date_naive()
}

fn minutes(text: &str) -> i64 {
    text.parse().map_or(0, |minutes: i64| minutes * 60)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn seconds(text: &str) -> i64 {
        text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp()
    }

    fn first_at(zone: &Zone, wall: &str) -> String {
        let at = zone.first_at(seconds(&format!("{wall}:00Z")));
        chrono::DateTime::from_timestamp_secs(at).unwrap().format("%FT%H:%MZ").to_string()
    }

    #[test]
    fn finds_zones_by_name_and_no_others() {
        for known in ["UTC", "Cuba", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "Pacific/Chatham"]
        {
            assert!(Zone::find(known).is_some(), "{known}");
        }
        // A name of one folder is not a name of another, and the table's own words are none at all.
        for unknown in [
            "",
            "Berlin",
            "Europe/",
            "Europe/Cuba",
            "/Berlin",
            "europe/berlin",
            "Factory",
            "2026f",
            "0",
            "Europe/Berlin ",
        ] {
            assert_eq!(Zone::find(unknown), None, "{unknown}");
        }
        assert_eq!(Zone::find("UTC"), Some(Zone::default()));
        assert!(Zone::database().starts_with("20"), "{}", Zone::database());
    }

    #[test]
    fn an_offset_holds_until_the_next_change() {
        let berlin = Zone::find("Europe/Berlin").unwrap();
        let summer = berlin.span(seconds("2026-07-01T00:00:00Z"));
        assert_eq!(
            summer,
            Span { from: seconds("2026-03-29T01:00:00Z"), until: seconds("2026-10-25T01:00:00Z"), offset: 7200 }
        );
        let winter = berlin.span(summer.until);
        assert_eq!((winter.from, winter.offset), (summer.until, 3600));
        assert_eq!(winter.until, seconds("2027-03-28T01:00:00Z"));
    }

    #[test]
    fn what_the_rule_does_not_tell_is_listed() {
        // British Columbia stayed on summer time in 2026.
        let vancouver = Zone::find("America/Vancouver").unwrap();
        assert_eq!(vancouver.span(seconds("2026-01-01T00:00:00Z")).offset, -8 * 3600);
        assert_eq!(vancouver.span(seconds("2026-07-01T00:00:00Z")).offset, -7 * 3600);
        assert_eq!(vancouver.span(seconds("2030-01-01T00:00:00Z")).offset, -7 * 3600);
    }

    #[test]
    fn a_time_that_the_clock_skips_is_when_it_jumps() {
        // Cairo's clock jumps from midnight to one; Santiago's does, too.
        assert_eq!(first_at(&Zone::find("Africa/Cairo").unwrap(), "2026-04-24T00:00"), "2026-04-23T22:00Z");
        assert_eq!(first_at(&Zone::find("America/Santiago").unwrap(), "2026-09-06T00:00"), "2026-09-06T04:00Z");
        // São Paulo's did until 2019: the rule of those years.
        let sao_paulo = Zone::read("-180 -120 11 1 0 0 2 3 0 0");
        assert_eq!(first_at(&sao_paulo, "2018-11-04T00:00"), "2018-11-04T03:00Z");
        assert_eq!(first_at(&sao_paulo, "2018-11-05T00:00"), "2018-11-05T02:00Z");
    }

    #[test]
    fn a_time_that_the_clock_shows_twice_is_the_first_one() {
        // Havana's clock goes back from one to midnight.
        assert_eq!(first_at(&Zone::find("America/Havana").unwrap(), "2028-11-05T00:00"), "2028-11-05T04:00Z");
        // São Paulo's went back from midnight to eleven: there is one midnight, after both of these hours.
        let sao_paulo = Zone::read("-180 -120 11 1 0 0 2 3 0 0");
        assert_eq!(first_at(&sao_paulo, "2018-02-17T23:30"), "2018-02-18T01:30Z");
        assert_eq!(first_at(&sao_paulo, "2018-02-18T00:00"), "2018-02-18T03:00Z");
    }

    #[test]
    fn every_zone_is_whole_quarters_of_an_hour_from_utc_and_changes_at_one() {
        // What usage is rolled up by: were there another offset, its periods would begin within a cell.
        for line in TABLE.lines().skip(1) {
            let zone = Zone::read(line.split_once('|').unwrap().0);
            let mut at = seconds("2025-01-01T00:00:00Z");
            while at < seconds("2041-01-01T00:00:00Z") {
                let span = zone.span(at);
                assert!(span.offset % 900 == 0 && (at % 900 == 0), "{line}: {span:?}");
                at = span.until;
            }
        }
    }
}
