//! Calendar periods by counting days, one after the other.

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Start and end of the period that holds an instant: hour, day, week, month, lifetime.
pub fn period(kind: usize, at: i64) -> (i64, Option<i64>) {
    match kind {
        0 => (at / HOUR * HOUR, Some(at / HOUR * HOUR + HOUR)),
        1 => (at / DAY * DAY, Some(at / DAY * DAY + DAY)),
        2 => {
            // 1970-01-05 was a Monday.
            let monday = (at / DAY - 4).div_euclid(7) * 7 + 4;
            (monday * DAY, Some((monday + 7) * DAY))
        }
        3 => {
            let mut start = 0;
            for month in 0.. {
                let next = start + days_of_month(1970 + month / 12, month % 12);
                if at < next * DAY {
                    return (start * DAY, Some(next * DAY));
                }
                start = next;
            }
            unreachable!("months do not end")
        }
        _ => (0, None),
    }
}

const fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        1 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
