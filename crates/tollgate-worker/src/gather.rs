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
use tollgate_core::api::{Answer, Ask, Code, Problem};
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

/// What one HTTP request, or one message, asks.
#[derive(Debug)]
pub struct Waiting {
    /// The instant to decide at, where the test clock says so.
    pub now: Option<Timestamp>,
    /// What.
    pub ask: Ask,
    /// Who waits for the answer.
    pub done: oneshot::Sender<Answered>,
}

/// What an asker gets.
pub type Answered = Result<Answer, Problem>;

/// What is carried out in one turn, at one instant.
#[derive(Debug)]
pub struct Turn {
    /// The instant to decide at, where the test clock says so.
    pub now: Option<Timestamp>,
    /// Everything that is asked, in the order of arrival.
    pub asks: Vec<Ask>,
    askers: Vec<oneshot::Sender<Answered>>,
}

/// How many turns of one asker each may fail and cost what is in memory, after the turn in which they were together failed. Each costs reading it anew, and where
/// so many fail it is not what is asked that makes them.
const MAX_FAILURES: usize = 4;

impl Queue {
    /// Puts requests at the end.
    pub fn push(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// The next turn. None where nothing waits.
    pub fn take(&mut self) -> Option<Turn> {
        let first = self.waiting.pop_front()?;
        let mut commands = first.ask.len();
        let mut turn = Turn { now: first.now, asks: vec![first.ask], askers: vec![first.done] };
        while let Some(next) = self.waiting.pop_front() {
            if next.now != turn.now || commands + next.ask.len() > MAX_TURN {
                self.waiting.push_front(next);
                break;
            }
            commands += next.ask.len();
            turn.asks.push(next.ask);
            turn.askers.push(next.done);
        }
        Some(turn)
    }
}

impl Turn {
    /// Has it carried out, and gives each asker its answer. Where it fails, and several ask, what each of them asks is carried out by itself, once: so that what
    /// makes it fail fails alone. An asker that is gone is left out.
    ///
    /// `carry_out` says besides the problem whether the failure cost what is in memory.
    pub fn run(self, mut carry_out: impl FnMut(&[Ask]) -> Result<Vec<Answer>, (Problem, bool)>) {
        let Self { asks, askers, .. } = self;
        // Whoever asked may have hung up; what was decided stays.
        let tell = |done: oneshot::Sender<Answered>, answer: Answered| {
            let _gone = done.send(answer);
        };
        let problem = match carry_out(&asks) {
            Ok(answers) => {
                return askers.into_iter().zip(answers).for_each(|(done, answer)| tell(done, Ok(answer)));
            }
            Err((problem, _)) => problem,
        };
        if asks.len() == 1 {
            return askers.into_iter().for_each(|done| tell(done, Err(problem.clone())));
        }
        let mut failures = 0;
        for (ask, done) in asks.iter().zip(askers) {
            if failures >= MAX_FAILURES {
                tell(done, Err(problem.clone()));
                continue;
            }
            let alone = carry_out(core::slice::from_ref(ask));
            failures += usize::from(matches!(alone, Err((_, true))));
            let unanswered = || Problem::new(Code::Internal, "the request was not answered");
            tell(
                done,
                match alone {
                    Ok(mut answers) => answers.pop().ok_or_else(unanswered),
                    Err((problem, _)) => Err(problem),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use futures_util::FutureExt;
    use tollgate_core::api::{Request, parse_command};

    use super::*;

    type Asker = oneshot::Receiver<Answered>;

    fn release(id: &str) -> Request {
        parse_command(&format!(r#"{{"op":"release","id":"{id}"}}"#)).unwrap()
    }

    fn waiting(count: usize, now: Option<i64>) -> (Waiting, Asker) {
        let (done, answers) = oneshot::channel();
        let ask = if count == 1 { Ask::One(release("a")) } else { Ask::Batch(vec![Ok(release("a")); count]) };
        (Waiting { now: now.map(|millis| Timestamp::from_millis(millis).unwrap()), ask, done }, answers)
    }

    fn answer(status: u16) -> Answer {
        Answer { status, body: String::new(), headers: Vec::new() }
    }

    /// A turn of single requests about some ids.
    fn turn_about(ids: &[&str]) -> (Turn, Vec<Asker>) {
        let mut queue = Queue::default();
        let mut askers = Vec::new();
        for id in ids {
            let (done, asker) = oneshot::channel();
            queue.push(Waiting { now: None, ask: Ask::One(release(id)), done });
            askers.push(asker);
        }
        (queue.take().unwrap(), askers)
    }

    fn told(asker: Asker) -> Result<u16, Code> {
        asker.now_or_never().unwrap().unwrap().map(|answer| answer.status).map_err(|problem| problem.code)
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
    fn each_asker_gets_its_own_answer() {
        let (turn, mut askers) = turn_about(&["a", "gone", "b"]);
        drop(askers.remove(1));
        turn.run(|asks| Ok((200..).take(asks.len()).map(answer).collect()));
        assert_eq!(askers.into_iter().map(told).collect::<Vec<_>>(), [Ok(200), Ok(202)]);
    }

    #[test]
    fn what_makes_a_turn_fail_fails_alone() {
        let (turn, askers) = turn_about(&["a", "poison", "b", "poison", "c"]);
        let poison = Ask::One(release("poison"));
        let mut turns = 0;
        turn.run(|asks| {
            turns += 1;
            if asks.contains(&poison) {
                return Err((Problem::new(Code::Unavailable, "it fails"), false));
            }
            Ok(asks.iter().map(|_| answer(200)).collect())
        });
        let failed = Err(Code::Unavailable);
        assert_eq!(askers.into_iter().map(told).collect::<Vec<_>>(), [Ok(200), failed, Ok(200), failed, Ok(200)]);
        assert_eq!(turns, 6, "one together, and one each");
    }

    #[test]
    fn a_database_that_fails_is_not_asked_over_and_over() {
        let (turn, askers) = turn_about(&["a"; 100]);
        let mut turns = 0;
        turn.run(|_| {
            turns += 1;
            Err((Problem::new(Code::Unavailable, "the database failed"), true))
        });
        assert!(askers.into_iter().all(|asker| told(asker) == Err(Code::Unavailable)));
        assert_eq!(turns, 1 + MAX_FAILURES);
        let (turn, askers) = turn_about(&["a"]);
        let mut turns = 0;
        turn.run(|_| {
            turns += 1;
            Err((Problem::new(Code::Unavailable, "the database failed"), true))
        });
        assert!(askers.into_iter().all(|asker| told(asker) == Err(Code::Unavailable)));
        assert_eq!(turns, 1, "alone it was already");
    }

    #[test]
    fn a_turn_has_one_instant_and_a_bounded_size() {
        let mut queue = Queue::default();
        for (count, now) in
            [(MAX_TURN + 5, None), (600, None), (400, None), (1, None), (1, Some(7)), (1, Some(7)), (1, Some(8))]
        {
            queue.push(waiting(count, now).0);
        }
        let sizes: Vec<usize> =
            core::iter::from_fn(|| queue.take()).map(|turn| turn.asks.iter().map(Ask::len).sum()).collect();
        assert_eq!(sizes, [MAX_TURN + 5, 1_000, 1, 2, 1]);
    }
}
