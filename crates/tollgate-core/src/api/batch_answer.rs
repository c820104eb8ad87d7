//! The answer to a batch: a result for each command, and beside them how the quotas that they name stand after the batch, each of them once.
//!
//! No command's result is as long as many quotas' states, and no answer longer than any may be. What would be too much is left out from some command on: these are not
//! carried out, and should be sent again. So should one whose own result does not fit: with the same id that is safe, although it was carried out.

use super::answer::Answer;
use super::problem::{Code, Problem};
use super::quota_body::{Names, QuotaBody};
use super::request::StateQuery;
use super::{MAX_ANSWER_BYTES, MAX_BATCH};
use crate::catalog::Catalog;
use crate::ledger::{Ledger, Outcome};
use crate::time::Timestamp;

/// After so much, in bytes, no further command is carried out.
const MAX_RESULTS_BYTES: usize = 700 << 10;
/// More than what is answered in place of a result that does not fit.
const LEFT_OUT_BYTES: usize = 300;

/// A batch's answer, while its commands are carried out.
#[derive(Debug, Default)]
pub struct BatchAnswer {
    text: String,
    results: usize,
    left_out: usize,
    names: Names,
}

impl BatchAnswer {
    /// Without any result yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether another command may be carried out.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.text.len() < MAX_RESULTS_BYTES
    }

    /// A command was carried out.
    pub fn outcome(&mut self, ledger: &Ledger, clock: Timestamp, outcome: &Outcome) {
        let answer = Answer::outcome_in_batch(ledger, clock, outcome, &mut self.names);
        self.push(&answer);
    }

    /// A command was refused.
    pub fn problem(&mut self, ledger: &Ledger, problem: &Problem) {
        let answer = Answer::problem_in_batch(ledger, problem, &mut self.names);
        self.push(&answer);
    }

    /// A question about the state.
    pub fn query(&mut self, ledger: &Ledger, catalog: &Catalog, clock: Timestamp, query: &StateQuery) {
        let answer = Answer::query_in_batch(ledger, catalog, clock, query, &mut self.names);
        self.push(&answer);
    }

    /// So many commands, which are the last, are not carried out: there is no room for their results, or it would be too much at once.
    pub fn leave_out(&mut self, commands: usize) {
        self.left_out = commands;
        (0..commands).for_each(|_| self.unanswered());
    }

    /// The whole answer. `ledger` is how the batch has left it.
    #[must_use]
    pub fn finish(self, ledger: &Ledger, clock: Timestamp) -> Answer {
        let now = ledger.now(clock);
        let mut body = String::with_capacity(self.text.len() + 2048);
        body.push_str("{\"results\":[");
        body.push_str(&self.text);
        body.push_str("],\"quotas\":[");
        let mut more = 0_usize;
        let mut begun = false;
        for view in self.names.ids.iter().filter_map(|id| ledger.quota(id, now)) {
            // A quota's state has nothing that JSON lacks; one that could not be written would be left out and counted.
            let state = tollgate_json::to_string(&QuotaBody::from(&view)).unwrap_or_default();
            if state.is_empty() || body.len() + state.len() + 64 > MAX_ANSWER_BYTES {
                more += 1;
                continue;
            }
            if begun {
                body.push(',');
            }
            body.push_str(&state);
            begun = true;
        }
        body.push(']');
        if more > 0 {
            body.push_str(&format!(",\"moreQuotas\":{more}"));
        }
        if self.left_out > 0 {
            body.push_str(&format!(",\"leftOut\":{}", self.left_out));
        }
        body.push('}');
        Answer { status: 200, body, headers: Vec::new() }
    }

    fn push(&mut self, answer: &Answer) {
        let later = MAX_BATCH.saturating_sub(self.results).saturating_mul(LEFT_OUT_BYTES);
        if self.text.len() + answer.body.len() + later > MAX_ANSWER_BYTES {
            self.unanswered();
        } else {
            self.append(answer);
        }
    }

    fn unanswered(&mut self) {
        let detail = "it was too much for one batch: send this command again, with the same id";
        self.append(&Answer::problem(&Problem::new(Code::Unavailable, detail)));
    }

    fn append(&mut self, answer: &Answer) {
        if self.results > 0 {
            self.text.push(',');
        }
        self.results += 1;
        let body = if answer.body.is_empty() { "null" } else { &answer.body };
        self.text.push_str(&format!("{{\"status\":{},\"body\":{body}}}", answer.status));
    }
}
