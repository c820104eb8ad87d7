//! Requests that arrive together are carried out together: the queue of a tenant's object.
//!
//! Whoever knows that nobody else is about to join the queue takes the turn at once, so a lone request waits for nothing. While others
//! are arriving (their bodies are being read) the last of them takes the turn for all; a timer of a millisecond bounds the wait where
//! arrivals never cease. Measured on workerd: a timer alone costs a lone request more than a millisecond, as does waiting for the
//! previous commit, and no gathering at all costs a journal row for each request; this costs a lone request nothing, and 32
//! connections share a journal row among well over ten requests (1.1 rows written per reserve and settle, where 1 is the row of the ended reservation).

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use futures_channel::oneshot;
use tollgate_core::api::{Answer, Asking, Problem};
use tollgate_core::time::Timestamp;

/// The most commands that are carried out in one turn, unless a single batch has more. It bounds how long the object is deaf, and how
/// much is in memory at once.
pub const MAX_TURN: usize = 1_000;
/// The longest that a request waits for others that are arriving.
pub const LONGEST_WAIT: Duration = Duration::from_millis(1);

/// Requests that wait for the next turn.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Waiting>,
}

/// How many requests are about to join the queue.
#[derive(Debug, Default)]
pub struct Arrivals(Cell<usize>);

/// One request that is about to join the queue, or to fail.
#[derive(Debug)]
pub struct Arriving<'a>(&'a Arrivals);

impl Arrivals {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn begin(&self) -> Arriving<'_> {
        self.0.set(self.0.get().saturating_add(1));
        Arriving(self)
    }

    /// Whether nobody is about to join the queue.
    #[must_use]
    pub fn are_over(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get().saturating_sub(1));
    }
}

/// The requests of one HTTP request.
#[derive(Debug)]
pub struct Waiting {
    /// The instant to decide at, where the test clock says so.
    pub now: Option<Timestamp>,
    /// To be carried out in order.
    pub requests: Vec<Asking>,
    /// Who waits for the answers.
    pub done: oneshot::Sender<Answers>,
}

/// What an asker gets: an answer for each request, or the problem that all of them have.
pub type Answers = Result<Vec<Answer>, Problem>;

/// What is carried out in one turn, at one instant.
#[derive(Debug)]
pub struct Turn {
    /// The instant to decide at, where the test clock says so.
    pub now: Option<Timestamp>,
    /// Every request, in the order of arrival.
    pub requests: Vec<Asking>,
    askers: Vec<(usize, oneshot::Sender<Answers>)>,
}

impl Queue {
    /// Puts requests at the end.
    pub fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// The next turn. None where nothing waits.
    pub fn take(&mut self) -> Option<Turn> {
        let first = self.waiting.pop_front()?;
        let mut turn = Turn { now: first.now, requests: first.requests, askers: Vec::new() };
        turn.askers.push((turn.requests.len(), first.done));
        while let Some(next) = self.waiting.pop_front() {
            if next.now != turn.now || turn.requests.len() + next.requests.len() > MAX_TURN {
                self.waiting.push_front(next);
                break;
            }
            turn.askers.push((next.requests.len(), next.done));
            turn.requests.extend(next.requests);
        }
        Some(turn)
    }
}

impl Turn {
    /// Gives each asker its part of the answers, or the problem that all of them have. An asker that is gone is left out.
    pub fn answer(self, answers: Answers) {
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                for (count, done) in self.askers {
                    // Whoever asked may have hung up; what was decided stays.
                    let _gone = done.send(Ok(answers.by_ref().take(count).collect()));
                }
            }
            Err(problem) => {
                for (_, done) in self.askers {
                    let _gone = done.send(Err(problem.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use futures_util::FutureExt;
    use tollgate_core::api::{Code, Request, StateQuery};
    use tollgate_core::sight::Sight;

    use super::*;

    type Asker = oneshot::Receiver<Answers>;

    fn waiting(count: usize, now: Option<i64>) -> (Waiting, Asker) {
        let (done, answers) = oneshot::channel();
        let waiting = Waiting {
            now: now.map(|millis| Timestamp::from_millis(millis).unwrap()),
            requests: vec![Asking { request: Request::State(StateQuery::Quotas), sight: Sight::Tenant }; count],
            done,
        };
        (waiting, answers)
    }

    fn answer(status: u16) -> Answer {
        Answer { status, body: String::new(), headers: Vec::new() }
    }

    fn statuses(answers: &mut Asker) -> Vec<u16> {
        let answers = answers.now_or_never().unwrap().unwrap().unwrap();
        answers.iter().map(|answer| answer.status).collect()
    }

    #[test]
    fn arrivals_are_over_when_the_last_has_joined_or_failed() {
        let arrivals = Arrivals::default();
        assert!(arrivals.are_over());
        let (first, second) = (arrivals.begin(), arrivals.begin());
        drop(first);
        assert!(!arrivals.are_over());
        drop(second);
        assert!(arrivals.are_over());
    }

    #[test]
    fn each_asker_gets_its_own_answers() {
        let mut queue = Queue::default();
        let (first, mut for_first) = waiting(2, None);
        let (gone, for_gone) = waiting(1, None);
        let (last, mut for_last) = waiting(1, None);
        for waiting in [first, gone, last] {
            queue.push(waiting);
        }
        drop(for_gone);
        let turn = queue.take().unwrap();
        turn.answer(Ok(vec![answer(201), answer(429), answer(200), answer(404)]));
        assert_eq!(statuses(&mut for_first), [201, 429]);
        assert_eq!(statuses(&mut for_last), [404]);
    }

    #[test]
    fn a_problem_reaches_everyone_in_the_turn() {
        let mut queue = Queue::default();
        let (first, for_first) = waiting(1, None);
        let (second, for_second) = waiting(1, None);
        queue.push(first);
        queue.push(second);
        let problem = Problem::new(Code::Unavailable, "the database failed");
        queue.take().unwrap().answer(Err(problem.clone()));
        for asker in [for_first, for_second] {
            assert_eq!(asker.now_or_never().unwrap().unwrap(), Err(problem.clone()));
        }
    }

    #[test]
    fn a_turn_has_one_instant_and_a_bounded_size() {
        let mut queue = Queue::default();
        for (count, now) in
            [(MAX_TURN + 5, None), (600, None), (400, None), (1, None), (1, Some(7)), (1, Some(7)), (1, Some(8))]
        {
            queue.push(waiting(count, now).0);
        }
        let sizes: Vec<usize> = core::iter::from_fn(|| queue.take()).map(|turn| turn.requests.len()).collect();
        assert_eq!(sizes, [MAX_TURN + 5, 1_000, 1, 2, 1]);
    }
}
