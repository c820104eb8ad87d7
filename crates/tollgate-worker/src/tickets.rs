//! Tickets that were made for connections to one tenant's ledger and not used yet.
//!
//! They are kept in memory alone, by the one object that connections are opened at. An object that starts anew knows none, and refuses those that
//! were made before: so no ticket opens two connections, and none is stored.

use std::collections::BTreeMap;

use tollgate_core::api::{Code, Problem};
use tollgate_core::time::Timestamp;

use crate::token::TICKET_SECONDS;

/// How many may wait to be used: each takes some hundred bytes until it ends.
const MOST: usize = 1_000;

/// Tickets by their ids, with when each ends by the object's own clock.
#[derive(Debug, Default)]
pub struct Tickets(BTreeMap<String, Timestamp>);

impl Tickets {
    /// One was made.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn expect(&mut self, id: String, now: Timestamp) -> Result<(), Problem> {
        self.0.retain(|_, ends| *ends > now);
        if self.0.len() >= MOST {
            return Err(Problem::new(Code::Unavailable, "too many tickets wait to be used; use one of them"));
        }
        // A ticket counts whole seconds, and lasts up to one longer.
        self.0.insert(id, now.plus_seconds(TICKET_SECONDS + 1));
        Ok(())
    }

    /// One is used, and from now on it was.
    ///
    /// # Errors
    /// It was used before, or has ended, or was made before the object started.
    pub fn use_up(&mut self, id: &str, now: Timestamp) -> Result<(), Problem> {
        match self.0.remove(id) {
            Some(ends) if ends > now => Ok(()),
            _ => Err(Problem::new(Code::Unauthorized, "the ticket was used, or is none any more; ask for another")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000).unwrap()
    }

    #[test]
    fn a_ticket_is_used_once_and_in_time() {
        let mut tickets = Tickets::default();
        for id in ["a", "b"] {
            tickets.expect(id.to_owned(), at(0)).unwrap();
        }
        assert!(tickets.use_up("a", at(10)).is_ok());
        for (id, when) in [("a", 10), ("b", 11), ("b", 1), ("c", 1)] {
            assert_eq!(tickets.use_up(id, at(when)).unwrap_err().code, Code::Unauthorized, "{id}");
        }
    }

    #[test]
    fn so_many_may_wait_and_those_that_end_make_room() {
        let mut tickets = Tickets::default();
        for number in 0..MOST {
            tickets.expect(number.to_string(), at(0)).unwrap();
        }
        assert_eq!(tickets.expect("one more".to_owned(), at(10)).unwrap_err().code, Code::Unavailable);
        assert!(tickets.expect("one more".to_owned(), at(11)).is_ok());
        assert_eq!(tickets.0.len(), 1);
    }
}
