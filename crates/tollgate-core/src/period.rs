//! How long a limit lasts: calendar periods, half-open, on the clocks of a time zone; and windows that roll.

use chrono::{Datelike, Days, Months, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::fault::{self, Fault};
use crate::time::Timestamp;
use crate::zone::{self, Zone};

const HOUR: i64 = 3_600;

/// How long a quota's limit lasts before it starts afresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// A clock hour.
    Hour,
    /// A calendar day.
    Day,
    /// Seven days from the quota's first day of the week.
    Week,
    /// From the quota's day of one month to that of the next.
    Month,
    /// For ever: it never starts afresh.
    Lifetime,
    /// Any stretch of so many seconds, 1 to [`Period::MAX_ROLLING_SECONDS`]: what was reserved leaves it bit by bit.
    Rolling(u32),
}

impl Period {
    /// The longest that a rolling window can be: 366 days.
    pub const MAX_ROLLING_SECONDS: u32 = 366 * 86_400;
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
    /// What never ends.
    pub const LIFETIME: Self = Self { start: Timestamp::from_calendar(0), end: None };

    /// Whether the instant lies in the window.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && self.end.is_none_or(|end| at < end)
    }
}

/// The first day of a week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Weekday {
    #[default]
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Where calendar periods begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Whose clocks count.
    pub zone: Zone,
    /// The day on which a week begins.
    pub week_starts_on: Weekday,
    /// The day on which a month begins, 1 to 31; the last one in months that are shorter.
    pub month_starts_on: u32,
    /// The hour of the clock at which days, and so weeks and months, begin: 0 to 23.
    pub day_starts_at: u32,
}

impl Calendar {
    /// The period's window that holds an instant. A rolling window, which ends with every instant anew, has none: it is given as the
    /// whole of time.
    #[must_use]
    pub fn window(&self, period: Period, at: Timestamp) -> Window {
        let at = if fault::on(Fault::PeriodEndIsInclusive) { Timestamp::from_calendar(at.millis() - 1) } else { at };
        let now = at.millis().div_euclid(1000);
        match period {
            Period::Hour => self.hour(now),
            Period::Day => self.days(now, |day| day, |start| start.succ_opt()),
            Period::Week => self.days(now, |day| self.week(day), |start| start.checked_add_days(Days::new(7))),
            Period::Month => self.days(
                now,
                |day| self.month(day),
                |start| self.month_start(start.with_day(1)?.checked_add_months(Months::new(1))?),
            ),
            Period::Lifetime | Period::Rolling(_) => Window::LIFETIME,
        }
    }

    /// An hour of the wall clock. An hour that a change of half an hour cuts has two parts, each of them a period.
    fn hour(&self, now: i64) -> Window {
        let span = self.zone.span(now);
        let cuts = |other: i64| (self.zone.span(other).offset - span.offset) % HOUR != 0;
        let start = now - (now + span.offset).rem_euclid(HOUR);
        let end = start + HOUR;
        let start = if start < span.from && cuts(span.from - 1) { span.from } else { start };
        let end = if end > span.until && cuts(span.until) { span.until } else { end };
        window(start, end)
    }

    /// A period of whole days: `first` says on which day the one that holds a day begins, `next` on which day the one after it does.
    fn days(
        &self,
        now: i64,
        first: impl Fn(NaiveDate) -> NaiveDate,
        next: impl Fn(NaiveDate) -> Option<NaiveDate>,
    ) -> Window {
        let anchor = i64::from(self.day_starts_at) * HOUR;
        let begins = |day: NaiveDate| self.zone.first_at(zone::midnight(day) + anchor);
        // The calendar ends in the year 262142, far behind the last instant.
        let next = |start: NaiveDate| next(start).unwrap_or(start);
        let start = first(zone::date(now + self.zone.span(now).offset - anchor));
        let end = next(start);
        if begins(end) <= now {
            // The clock has reached the next period and was set back into this one: a period that has begun goes on.
            return window(begins(end), begins(next(end)));
        }
        window(begins(start), begins(end))
    }

    fn week(&self, day: NaiveDate) -> NaiveDate {
        let since = (day.weekday().num_days_from_monday() + 7 - self.week_starts_on as u32) % 7;
        day.checked_sub_days(Days::new(since.into())).unwrap_or(day)
    }

    fn month(&self, day: NaiveDate) -> NaiveDate {
        let start = |day: NaiveDate| self.month_start(day).unwrap_or(day);
        let this = start(day);
        if this <= day { this } else { day.checked_sub_months(Months::new(1)).map_or(day, start) }
    }

    /// The day on which the month of a day begins.
    fn month_start(&self, day: NaiveDate) -> Option<NaiveDate> {
        (0..4).find_map(|back| day.with_day(self.month_starts_on.max(1).checked_sub(back)?))
    }
}

/// From and to so many seconds since 1970. Times before that do not exist here.
fn window(start: i64, end: i64) -> Window {
    let at = |seconds: i64| Timestamp::from_calendar(seconds.max(0) * 1000);
    Window { start: at(start), end: Some(at(end)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * HOUR;

    fn calendar(zone: &str) -> Calendar {
        Calendar { zone: Zone::find(zone).unwrap(), month_starts_on: 1, ..Calendar::default() }
    }

    fn window_of(calendar: &Calendar, period: Period, at: &str) -> (String, String) {
        let window = calendar.window(period, at.parse().unwrap());
        let text = |at: Timestamp| at.to_string().replace(":00.000Z", "Z");
        (text(window.start), window.end.map_or_else(|| "never".to_owned(), text))
    }

    fn from_to(start: &str, end: &str) -> (String, String) {
        let text = |text: &str| if text.contains('T') { text.to_owned() } else { format!("{text}T00:00Z") };
        (text(start), text(end))
    }

    #[test]
    fn periods_start_and_end_on_the_calendar() {
        let utc = calendar("UTC");
        let window = |period, at| window_of(&utc, period, at);
        assert_eq!(window(Period::Day, "2026-02-28T23:59:59.999Z"), from_to("2026-02-28", "2026-03-01"));
        assert_eq!(window(Period::Month, "2028-02-29T12:00:00Z"), from_to("2028-02-01", "2028-03-01"));
        assert_eq!(window(Period::Month, "2026-12-31T23:59:59.999Z"), from_to("2026-12-01", "2027-01-01"));
        // The existing app's own code ended this week on May 6; it ends on Monday, April 6.
        assert_eq!(window(Period::Week, "2026-04-02T10:00:00Z"), from_to("2026-03-30", "2026-04-06"));
        assert_eq!(window(Period::Week, "2026-11-23T00:00:00Z"), from_to("2026-11-23", "2026-11-30"));
        assert_eq!(window(Period::Hour, "2026-11-24T12:59:59.999Z"), from_to("2026-11-24T12:00Z", "2026-11-24T13:00Z"));
        assert_eq!(window(Period::Lifetime, "2026-11-24T12:00:00Z").1, "never");
    }

    #[test]
    fn days_have_23_24_and_25_hours() {
        let berlin = calendar("Europe/Berlin");
        let day = |at| window_of(&berlin, Period::Day, at);
        assert_eq!(day("2026-03-29T12:00:00Z"), from_to("2026-03-28T23:00Z", "2026-03-29T22:00Z"));
        assert_eq!(day("2026-10-25T00:30:00Z"), from_to("2026-10-24T22:00Z", "2026-10-25T23:00Z"));
        let month = |at| window_of(&berlin, Period::Month, at);
        assert_eq!(month("2026-10-31T23:00:00Z"), from_to("2026-10-31T23:00Z", "2026-11-30T23:00Z"));
        assert_eq!(month("2026-10-31T22:59:59Z"), from_to("2026-09-30T22:00Z", "2026-10-31T23:00Z"));
    }

    #[test]
    fn an_hour_that_comes_twice_is_two_hours() {
        let berlin = calendar("Europe/Berlin");
        let hour = |at| window_of(&berlin, Period::Hour, at);
        assert_eq!(hour("2026-10-25T00:30:00Z"), from_to("2026-10-25T00:00Z", "2026-10-25T01:00Z"));
        assert_eq!(hour("2026-10-25T01:30:00Z"), from_to("2026-10-25T01:00Z", "2026-10-25T02:00Z"));
        // Kolkata's hours begin at half past, Kathmandu's at a quarter past.
        assert_eq!(window_of(&calendar("Asia/Kolkata"), Period::Hour, "2026-11-24T12:00:00Z").0, "2026-11-24T11:30Z");
        assert_eq!(window_of(&calendar("Asia/Kathmandu"), Period::Hour, "2026-11-24T12:00:00Z").0, "2026-11-24T11:15Z");
        // Lord Howe's clock goes back from two to half past one: that half hour comes twice.
        let lord_howe = calendar("Australia/Lord_Howe");
        let hour = |at| window_of(&lord_howe, Period::Hour, at);
        assert_eq!(hour("2026-04-04T14:30:00Z"), from_to("2026-04-04T14:00Z", "2026-04-04T15:00Z"));
        assert_eq!(hour("2026-04-04T15:00:00Z"), from_to("2026-04-04T15:00Z", "2026-04-04T15:30Z"));
        assert_eq!(hour("2026-04-04T15:30:00Z"), from_to("2026-04-04T15:30Z", "2026-04-04T16:30Z"));
        // Chatham's clock changes in the middle of an hour, and by a whole one: no hour is cut.
        let chatham = calendar("Pacific/Chatham");
        for (before, after, start, end) in [
            ("2026-04-04T13:59:59Z", "2026-04-04T14:00:00Z", "2026-04-04T13:15Z", "2026-04-04T14:15Z"),
            ("2026-09-26T13:59:59Z", "2026-09-26T14:00:00Z", "2026-09-26T13:15Z", "2026-09-26T14:15Z"),
        ] {
            assert_eq!(window_of(&chatham, Period::Hour, before), from_to(start, end));
            assert_eq!(window_of(&chatham, Period::Hour, after), from_to(start, end));
        }
    }

    #[test]
    fn an_hour_that_is_cut_anywhere_has_two_parts() {
        // Nobody's clocks do this yet: from ten hours to ten and a half, at a quarter past midnight in UTC.
        let made_up = Calendar { zone: Zone::read("630@600,15:630"), ..calendar("UTC") };
        let hour = |at| window_of(&made_up, Period::Hour, at);
        assert_eq!(hour("2025-01-01T00:14:59.999Z"), from_to("2025-01-01T00:00Z", "2025-01-01T00:15Z"));
        assert_eq!(hour("2025-01-01T00:15:00Z"), from_to("2025-01-01T00:15Z", "2025-01-01T00:30Z"));
        assert_eq!(hour("2025-01-01T00:30:00Z"), from_to("2025-01-01T00:30Z", "2025-01-01T01:30Z"));
    }

    #[test]
    fn a_midnight_that_is_skipped_or_comes_twice() {
        let cairo = calendar("Africa/Cairo");
        let day = |at| window_of(&cairo, Period::Day, at);
        assert_eq!(day("2026-04-23T21:59:59Z"), from_to("2026-04-22T22:00Z", "2026-04-23T22:00Z"));
        assert_eq!(day("2026-04-23T22:00:00Z"), from_to("2026-04-23T22:00Z", "2026-04-24T21:00Z"));
        // Havana's clock goes back from one to midnight: the day began at the first of the two.
        let havana = calendar("America/Havana");
        let day = |at| window_of(&havana, Period::Day, at);
        assert_eq!(day("2028-11-05T04:30:00Z"), from_to("2028-11-05T04:00Z", "2028-11-06T05:00Z"));
        assert_eq!(day("2028-11-05T05:30:00Z"), from_to("2028-11-05T04:00Z", "2028-11-06T05:00Z"));
        // Cairo's goes back from midnight to eleven: that evening is an hour longer.
        let day = |at| window_of(&cairo, Period::Day, at);
        assert_eq!(day("2026-10-29T21:30:00Z"), from_to("2026-10-28T21:00Z", "2026-10-29T22:00Z"));
    }

    #[test]
    fn weeks_months_and_days_start_where_they_are_told() {
        let sunday = Calendar { week_starts_on: Weekday::Sunday, ..calendar("UTC") };
        assert_eq!(window_of(&sunday, Period::Week, "2026-11-28T23:00:00Z"), from_to("2026-11-22", "2026-11-29"));
        assert_eq!(window_of(&sunday, Period::Week, "2026-11-29T00:00:00Z"), from_to("2026-11-29", "2026-12-06"));
        let last = Calendar { month_starts_on: 31, ..calendar("UTC") };
        assert_eq!(window_of(&last, Period::Month, "2027-01-31T00:00:00Z"), from_to("2027-01-31", "2027-02-28"));
        assert_eq!(window_of(&last, Period::Month, "2027-03-01T00:00:00Z"), from_to("2027-02-28", "2027-03-31"));
        assert_eq!(window_of(&last, Period::Month, "2028-02-29T00:00:00Z"), from_to("2028-02-29", "2028-03-31"));
        assert_eq!(window_of(&last, Period::Month, "2026-12-30T23:00:00Z"), from_to("2026-11-30", "2026-12-31"));
        let shift = Calendar { day_starts_at: 6, month_starts_on: 15, ..calendar("America/New_York") };
        assert_eq!(
            window_of(&shift, Period::Day, "2026-11-24T10:59:59Z"),
            from_to("2026-11-23T11:00Z", "2026-11-24T11:00Z")
        );
        assert_eq!(
            window_of(&shift, Period::Month, "2026-11-15T10:59:59Z"),
            from_to("2026-10-15T10:00Z", "2026-11-15T11:00Z")
        );
    }

    fn calendars() -> impl Strategy<Value = Calendar> {
        let zones = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Africa/Cairo",
            "America/Santiago",
            "America/Havana",
            "Asia/Gaza",
            "Pacific/Chatham",
            "America/Vancouver",
            "America/Nuuk",
            "Europe/Dublin",
        ];
        let days = [Weekday::Monday, Weekday::Wednesday, Weekday::Saturday, Weekday::Sunday];
        (0..zones.len(), 0..days.len(), 1_u32..=31, 0_u32..24).prop_map(
            move |(zone, day, month_starts_on, day_starts_at)| Calendar {
                zone: Zone::find(zones[zone]).unwrap(),
                week_starts_on: days[day],
                month_starts_on,
                day_starts_at,
            },
        )
    }

    proptest! {
        #[test]
        fn windows_hold_their_instant_and_tile_time(
            calendar in calendars(), millis in 86_400_000_i64..253_370_764_800_000, which in 0_usize..4, near in any::<bool>()
        ) {
            let (period, shortest, longest) = [
                (Period::Hour, 0, HOUR), (Period::Day, 22 * HOUR, 26 * HOUR),
                (Period::Week, 7 * DAY - 2 * HOUR, 7 * DAY + 2 * HOUR), (Period::Month, 27 * DAY, 31 * DAY + 2 * HOUR),
            ][which];
            // Half of the time close to a change of the clocks.
            let until = calendar.zone.span(millis / 1000).until;
            let near = near && until < 253_000_000_000;
            let at = Timestamp::from_millis(if near { until * 1000 - 100_000_000 + millis % 200_000_000 } else { millis }).unwrap();
            let window = calendar.window(period, at);
            prop_assert!(window.contains(at));
            let end = window.end.unwrap();
            prop_assert!(!window.contains(end));
            prop_assert_eq!(calendar.window(period, end).start, end);
            prop_assert_eq!(calendar.window(period, window.start), window);
            let length = (end.millis() - window.start.millis()) / 1000;
            prop_assert!((shortest..=longest).contains(&length), "{} s", length);
        }
    }
}
