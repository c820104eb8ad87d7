//! What time it is.

use tollgate_core::api::Problem;
use tollgate_core::time::Timestamp;
use worker::{Headers, Result};

/// With the variable `TEST_CLOCK` set, this header says what time it is, so that conformance vectors give the same answers on every
/// day. Without the variable it is ignored.
pub const TEST_HEADER: &str = "tollgate-now";

/// The clock's time.
#[must_use]
pub fn now() -> Timestamp {
    let millis = js_sys::Date::now();
    #[expect(clippy::cast_possible_truncation, reason = "Date.now() is a whole number within ±2⁵³")]
    // A clock outside 1970 to 9998 is no clock, and neither is one that says 1970: the last entry overrules it.
    Timestamp::from_millis(millis as i64).unwrap_or_default()
}

/// The time that the test clock's header says, where there is one.
///
/// # Errors
/// It cannot be read.
pub fn from_header(headers: &Headers) -> Result<Option<Timestamp>, Problem> {
    match headers.get(TEST_HEADER) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => text.parse().map(Some).map_err(|error| Problem::invalid("Tollgate-Now", error)),
        Err(_) => Err(Problem::invalid("Tollgate-Now", "cannot be read")),
    }
}
