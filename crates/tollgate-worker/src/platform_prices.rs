//! The platform's own rates, aliases and markups, as this isolate of the Worker has last seen them.
//!
//! A tenant's ledger decides by what is in the ledger. So the Worker tells a tenant's object which version of the platform's document it
//! knows; an object whose ledger has an older one asks for it, gets it as a command of its own, and the request is sent again. Nothing is
//! pushed to tenants that are not asked anything, and no tenant depends on the platform's object being reachable. A change is seen
//! everywhere after [`FRESH_SECONDS`]; entries that begin later than that begin everywhere at once.

use std::cell::RefCell;
use std::rc::Rc;

use serde_json::{Map, Value};
use tollgate_core::api::{self, Code, Problem};
use tollgate_core::catalog::{Overrides, OverridesScope, PriceBook};
use tollgate_core::time::Timestamp;

/// How long what was seen counts as what is.
pub const FRESH_SECONDS: u32 = 60;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// The platform's document, ready to use.
#[derive(Debug, Default)]
pub struct PlatformPrices {
    /// Counts up; 0 where there is none.
    pub version: u64,
    /// As it is sent to a tenant's object.
    pub document: String,
    /// As a price is looked up in it. None until the platform's object has said whether there is one.
    book: Option<PriceBook>,
}

impl PlatformPrices {
    /// As a price is looked up in it.
    ///
    /// # Errors
    /// It was never seen: the price list alone might be the wrong price.
    pub fn book(&self) -> Result<&PriceBook, Problem> {
        self.book.as_ref().ok_or_else(|| {
            Problem::new(Code::Unavailable, "the platform's overrides cannot be read now; nothing was changed")
        })
    }
}

#[derive(Default)]
struct Seen {
    prices: Rc<PlatformPrices>,
    /// When it was seen, or at least asked for. None before the first time.
    at: Option<Timestamp>,
}

/// What was seen last, where it need not be asked for again. Where it must, whoever gets None is the one to ask; until there is an answer, the
/// others go on with what was seen before.
pub fn seen(now: Timestamp) -> Option<Rc<PlatformPrices>> {
    SEEN.with_borrow_mut(|seen| seen.get(now))
}

/// Takes note of what the platform's object answers: its whole document with its version.
///
/// # Errors
/// It cannot be read.
pub fn note(answer: &str, now: Timestamp) -> Result<Rc<PlatformPrices>, String> {
    let prices = Rc::new(read(answer)?);
    SEEN.with_borrow_mut(|seen| *seen = Seen { prices: Rc::clone(&prices), at: Some(now) });
    Ok(prices)
}

/// What was seen last, however long ago: for when the platform's object cannot be asked.
pub fn last_seen(now: Timestamp) -> Rc<PlatformPrices> {
    SEEN.with_borrow_mut(|seen| {
        seen.at = Some(now);
        Rc::clone(&seen.prices)
    })
}

/// The platform's document has just been changed through this isolate.
pub fn forget() {
    SEEN.with_borrow_mut(|seen| seen.at = None);
}

impl Seen {
    fn get(&mut self, now: Timestamp) -> Option<Rc<PlatformPrices>> {
        let at = self.at?;
        // What was seen by a clock that has been set back since may be of any age.
        if at.plus_seconds(FRESH_SECONDS) <= now || now < at {
            self.at = Some(now);
            return None;
        }
        Some(Rc::clone(&self.prices))
    }
}

fn read(answer: &str) -> Result<PlatformPrices, String> {
    let mut members: Map<String, Value> = serde_json::from_str(answer).map_err(|error| error.to_string())?;
    let version = members.remove("version").and_then(|version| version.as_u64()).ok_or("no version")?;
    // What is left is the document as it was put.
    let document = Value::Object(members).to_string();
    let mut book = PriceBook::default();
    if version > 0 {
        let read = api::read_overrides(&document).map_err(|problem| problem.detail)?;
        let overrides = Overrides::new(OverridesScope::Platform, version, read);
        book.put(overrides.map_err(|error| error.to_string())?);
    }
    Ok(PlatformPrices { version, document, book: Some(book) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    const ANSWER: &str = r#"{"version":3,"rates":[],"aliases":[],"markups":[{"id":"m","factor":"1.2"}]}"#;

    #[test]
    fn one_asks_again_after_a_while_and_the_others_go_on_meanwhile() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000).unwrap();
        assert!(seen(at(0)).is_none(), "nothing is known");
        let unknown = last_seen(at(0)).book().unwrap_err();
        assert_eq!(unknown.code, Code::Unavailable, "and nobody could be asked");
        assert!(note(ANSWER, at(0)).unwrap().book().is_ok());
        assert_eq!(seen(at(59)).unwrap().version, 3);
        assert!(seen(at(60)).is_none());
        assert_eq!(seen(at(60)).unwrap().version, 3);
        assert_eq!(last_seen(at(70)).version, 3);
        assert_eq!(seen(at(129)).unwrap().version, 3);
        assert!(seen(at(69)).is_none(), "the clock was set back");
        assert_eq!(seen(at(70)).unwrap().version, 3);
        forget();
        assert!(seen(at(129)).is_none());
        assert!(note("{}", at(130)).is_err());
    }

    #[test]
    fn an_empty_document_leaves_the_price_list_alone() {
        let none = read(r#"{"version":0,"rates":[],"aliases":[],"markups":[]}"#).unwrap();
        assert!(none.book().unwrap().is_empty());
        assert!(!read(ANSWER).unwrap().book().unwrap().is_empty());
    }
}
