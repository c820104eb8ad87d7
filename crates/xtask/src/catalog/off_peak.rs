//! The hours that LiteLLM's off-peak hours leave.

use serde_json::Value;

use super::card::{Rates, Schedule};

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// Hours of some days of the week, in UTC.
#[derive(Debug, PartialEq)]
pub struct Hours {
    /// Minutes since midnight; the end is not part of it.
    from: u16,
    to: u16,
    weekdays: Vec<&'static str>,
}

impl Hours {
    /// What is charged then.
    pub fn at(self, rates: &Rates) -> Schedule {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
        Schedule {
            from: clock(self.from),
            to: clock(self.to),
            weekdays: self.weekdays.into_iter().map(str::to_owned).collect(),
            except_dates: Vec::new(),
            rates: rates.clone(),
        }
    }
}

/// What is left of the week. None where the hours are not written in the one way that is understood: each weekday in one entry of `windows`.
///
/// Their weekdays may be those of another time zone (`weekday_timezone`). That makes no difference as long as the hours in which the dates differ are off-peak on both
/// dates, which is so in Asia from 16:00 UTC.
pub fn peak_hours(pricing: &Value) -> Option<Vec<Hours>> {
    if pricing.get("hours_utc").is_some() {
        return None;
    }
    let mut peak = Vec::new();
    let mut seen = Vec::new();
    for rule in pricing["windows"].as_array()? {
        let numbers = rule["weekdays"].as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()?;
        let weekdays = numbers.iter().map(|number| weekday(*number)).collect::<Option<Vec<_>>>()?;
        if weekdays.iter().any(|day| seen.contains(day)) {
            return None;
        }
        seen.extend(&weekdays);
        let mut windows = match &rule["hours_utc"] {
            Value::String(window) => vec![window.as_str()],
            list => list.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?,
        }
        .into_iter()
        .map(window)
        .collect::<Option<Vec<_>>>()?;
        windows.sort_unstable();
        let mut end = 0;
        for (from, to) in windows.into_iter().chain([(DAY, DAY)]) {
            if from > end {
                peak.push(Hours { from: end, to: from, weekdays: weekdays.clone() });
            }
            end = end.max(to);
        }
    }
    let differs = pricing["weekday_timezone"].is_string() && peak.iter().any(|hours| hours.to > 16 * 60);
    (seen.len() == WEEKDAYS.len() && !differs).then_some(peak)
}

/// Monday is 1.
fn weekday(number: u64) -> Option<&'static str> {
    WEEKDAYS.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
}

/// `HH:MM-HH:MM` in minutes. Midnight ends a day where it is the end. None for what goes on after midnight.
fn window(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let minutes = |clock: &str| {
        let (hours, minutes) = clock.trim().split_once(':')?;
        Some(hours.parse::<u16>().ok()? * 60 + minutes.parse::<u16>().ok()?)
    };
    let (from, to) = (minutes(from)?, minutes(to)?);
    let to = if to == 0 { DAY } else { to };
    (from < to && to <= DAY).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_off_peak_hours_leave_are_the_peak_hours() {
        let pricing = json!({ "windows": [
            { "hours_utc": ["10:00-00:00", "00:00-01:00", "04:00-06:00"], "weekdays": [1, 2, 3, 4, 5] },
            { "hours_utc": "00:00-00:00", "weekdays": [6, 7] },
        ] });
        let weekdays = ["mon", "tue", "wed", "thu", "fri"].to_vec();
        assert_eq!(
            peak_hours(&pricing),
            Some(vec![Hours { from: 60, to: 240, weekdays: weekdays.clone() }, Hours { from: 360, to: 600, weekdays }])
        );
    }

    #[test]
    fn hours_that_are_not_understood_are_not_guessed_at() {
        let rule = |hours: &str, weekdays: &[u8]| json!({ "hours_utc": hours, "weekdays": weekdays });
        let week = [1, 2, 3, 4, 5, 6, 7];
        assert_eq!(peak_hours(&json!({ "windows": [rule("00:00-00:00", &week)] })), Some(Vec::new()));
        for wrong in [
            json!({}),
            json!({ "hours_utc": "01:00-02:00", "windows": [rule("00:00-00:00", &week)] }),
            json!({ "windows": [rule("22:00-02:00", &week)] }),
            json!({ "windows": [rule("01:00-02:00", &[1])] }),
            json!({ "windows": [rule("01:00-02:00", &week), rule("03:00-04:00", &[1])] }),
            json!({ "weekday_timezone": "Asia/Shanghai", "windows": [rule("00:00-16:00", &week)] }),
        ] {
            assert_eq!(peak_hours(&wrong), None, "{wrong}");
        }
    }
}
