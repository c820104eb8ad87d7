//! The world of a run: the object with its storage, clock and alarm, the clients, and the requests and answers that are on their way.

mod upkeep;

use std::collections::BTreeMap;

use serde_json::Value;
use tollgate_core::api::{self, Answer, Request as Asked};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{self, Actual as Reported, Caps, Command as Ordered, Entry, Onboard};
use tollgate_core::meter::{Meter, Usage};
use tollgate_core::policy::Plan;
use tollgate_core::time::Timestamp;
use tollgate_store::{StoreError, TenantStore};

use crate::disk::{Disk, Failure};
use crate::model::calendar::{self, SECOND, Zone};
use crate::model::words::{self, Actual, Command, Dimension, Report};
use crate::model::{Expected, Model, State, Verdict};
use crate::scenario::{CLIENTS, Question, Scenario, Step, Tick};
use crate::{asked, check};

type Store = TenantStore<Disk>;

/// How soon the alarm goes off again after its work failed, as in the Worker.
const AGAIN: i64 = 5 * SECOND;
/// The beginnings of 2026, when all prices were there, and of 2038.
const YEARS: (i64, i64) = (1_767_225_600_000, 2_145_916_800_000);
/// More alarms than that after everybody has stopped mean that they do not come to an end.
const MOST_ALARMS: usize = 400;

/// What must never happen, and when it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In which step, counted from 0; the number of steps where it was after the last.
    pub step: usize,
    /// What.
    pub what: String,
}

/// One command that took effect, and what it must be answered: what conformance vectors are made of.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The instant that it was decided at.
    pub now: i64,
    /// What was asked.
    pub command: Command,
    /// What must be answered.
    pub expected: Expected,
}

/// What a run leaves behind.
#[derive(Debug, Default)]
pub struct Run {
    /// What must never happen.
    pub violation: Option<Violation>,
    /// What happened, line by line, where it was asked for.
    pub trace: Vec<String>,
    /// Every command that took effect, where it was asked for.
    pub log: Vec<Logged>,
    /// How many commands took effect.
    pub commands: usize,
    /// How many turns failed or were cut short.
    pub failures: usize,
}

/// What to write down of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// What happens.
    pub trace: bool,
    /// Every command.
    pub log: bool,
}

/// Runs a scenario to its end or to the first violation.
#[must_use]
pub fn run(scenario: &Scenario, catalog: &Catalog, record: Record) -> Run {
    ledger::set_caps(scenario.caps.map(|(tenant, user)| Caps { tenant, user }));
    let mut world = match World::new(scenario, catalog, record) {
        Ok(world) => world,
        Err(what) => return Run { violation: Some(Violation { step: 0, what }), ..Run::default() },
    };
    let outcome = world.go();
    let step = world.step;
    Run { violation: outcome.err().map(|what| Violation { step, what }), ..world.run }
}

struct World<'a> {
    scenario: &'a Scenario,
    catalog: &'a Catalog,
    record: Record,
    step: usize,
    run: Run,
    clock: i64,
    disk: Disk,
    live: Option<Store>,
    overtaken: Option<Store>,
    model: Model,
    alarm: Option<i64>,
    clients: Vec<Client>,
    requests: Vec<Request>,
    answers: Vec<Answered>,
    ids: Vec<String>,
    acknowledged: Vec<(Command, Value)>,
    /// What was asked about credits and increases, for whoever asks again.
    funding: Vec<Command>,
    /// The latest time of any entry that is archived. None where none is.
    archived: Option<i64>,
    /// What the clock said before it jumped.
    before_jump: i64,
    /// The entries that somebody has read.
    exported: Vec<Entry>,
    others: u32,
}

#[derive(Default)]
struct Client {
    serial: u32,
    awaiting: Option<Command>,
    hold: Option<String>,
}

/// A request on its way.
#[derive(Clone)]
struct Request {
    client: Option<u8>,
    serial: u32,
    command: Command,
}

/// An answer on its way.
struct Answered {
    request: Request,
    status: u16,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, catalog: &'a Catalog, record: Record) -> Result<Self, String> {
        Ok(Self {
            scenario,
            catalog,
            record,
            step: 0,
            run: Run::default(),
            clock: scenario.start,
            disk: Disk::new().map_err(|error| error.to_string())?,
            live: None,
            overtaken: None,
            model: Model::with_caps(scenario.caps),
            alarm: None,
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            requests: Vec::new(),
            answers: Vec::new(),
            ids: Vec::new(),
            acknowledged: Vec::new(),
            funding: Vec::new(),
            archived: None,
            before_jump: scenario.start,
            exported: Vec::new(),
            others: 0,
        })
    }

    fn go(&mut self) -> Result<(), String> {
        let scenario = self.scenario;
        // A tenant is onboarded before anybody spends; from then on, plans change at any time.
        let onboard = Request { client: None, serial: 0, command: Command::Onboard(scenario.plan) };
        self.turn(vec![onboard], false, None)?;
        for (number, step) in scenario.steps.iter().enumerate() {
            self.step = number;
            self.take(step)?;
        }
        self.step = scenario.steps.len();
        self.finish()
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Begin(client, call, estimate, ttl_seconds, on_expiry, shrink) => {
                let serial = self.clients[usize::from(*client)].serial;
                let id = format!("c{client}-{serial}");
                self.ids.push(id.clone());
                let (call, estimate, ttl_seconds, on_expiry, shrink) =
                    (*call, *estimate, *ttl_seconds, *on_expiry, *shrink);
                self.clients[usize::from(*client)].hold = None;
                self.send(*client, Command::Reserve { id, call, estimate, ttl_seconds, on_expiry, shrink });
            }
            Step::GoOn(client, wanted) => {
                let state = &self.clients[usize::from(*client)];
                if let (None, Some(id)) = (&state.awaiting, state.hold.clone()) {
                    let command = asked::about(&self.model, id, *wanted);
                    self.send(*client, command);
                }
            }
            Step::Retry(client) => self.retry(*client),
            Step::Crash(client) => {
                self.note(|| format!("client {client} crashes"));
                let serial = self.clients[usize::from(*client)].serial;
                self.clients[usize::from(*client)] = Client { serial, ..Client::default() };
            }
            Step::Meddle(pick, wanted) => {
                if let Some(id) = self.known_id(*pick) {
                    let command = asked::about(&self.model, id, *wanted);
                    self.ask(command);
                }
            }
            Step::Refund(pick, reclaim) => {
                if let Some(command) = asked::refund(&self.model, *pick, *reclaim) {
                    self.ask(command);
                }
            }
            Step::Record(call, pieces, within_limit) => {
                let id = format!("x-{}", self.others);
                self.ids.push(id.clone());
                let actual = asked::used_without_estimate(*call, *pieces);
                self.ask(Command::Record { id, call: *call, actual, within_limit: *within_limit });
            }
            Step::Administer(change) => {
                if let Some(command) = asked::change(&self.model, self.clock, change) {
                    self.ask(command);
                }
            }
            Step::Fund(fund) => {
                if let Some(command) = asked::funding(&self.model, self.clock, fund) {
                    self.funding.push(command.clone());
                    self.ask(command);
                }
            }
            Step::FundAgain(pick) => {
                if let Some(command) = pick_of(&self.funding, *pick).cloned() {
                    self.ask(command);
                }
            }
            Step::AskAgain(pick) => {
                let changes = |command: &&Command| matches!(command, Command::Extend { .. } | Command::Meter { .. });
                let asked: Vec<&Command> =
                    self.acknowledged.iter().map(|(command, _)| command).filter(changes).collect();
                if let Some(command) = pick_of(&asked, *pick).map(|command| (*command).clone()) {
                    self.ask(command);
                }
            }
            Step::Insist(pick, meters) => {
                let open: Vec<String> = self
                    .model
                    .reservations()
                    .iter()
                    .filter(|(_, known)| known.state == State::Held)
                    .map(|(id, _)| id.clone())
                    .collect();
                if let Some(id) = pick_of(&open, *pick) {
                    let requests = asked::insisting(id, *meters).into_iter();
                    let requests = requests.map(|command| Request { client: None, serial: 0, command }).collect();
                    self.turn(requests, false, None)?;
                }
            }
            Step::Renew(pick, forfeit) => {
                let Some(again) = pick_of(&self.funding, *pick).cloned() else { return Ok(()) };
                let (Command::AddCredit(id, _) | Command::Increase(id, _)) = &again else { return Ok(()) };
                let Some(quota) = self.model.quotas().get(id) else { return Ok(()) };
                let anew = Command::PutQuota(id.clone(), quota.definition.clone());
                let commands = [Command::DeleteQuota(id.clone(), *forfeit), anew, again];
                let together = commands.map(|command| Request { client: None, serial: 0, command });
                self.turn(together.to_vec(), false, None)?;
            }
            Step::ReleaseHolds(meant) => self.ask(asked::release(self.clock, *meant)),
            Step::Ask(Question::Holds(meant)) => {
                self.ask(Command::ListHolds { user: meant.user, touchpoint: meant.touchpoint });
            }
            Step::Ask(Question::Quotas) => self.ask(Command::ListQuotas),
            Step::Ask(Question::Usage(asked)) => {
                let report = asked::report(&self.model, self.clock, asked);
                self.ask(Command::Usage(report));
            }
            Step::Ask(Question::Explain(call, estimate)) => {
                self.ask(Command::Explain { call: *call, estimate: *estimate });
            }
            Step::Deliver(picks, overtaken, failure) => {
                let mut together = Vec::new();
                for pick in picks {
                    if let Some(at) = place_of(&self.requests, *pick) {
                        together.push(self.requests.remove(at));
                    }
                }
                if !together.is_empty() {
                    self.turn(together, *overtaken, *failure)?;
                }
            }
            Step::Answer(pick, lost) => {
                if let Some(at) = self.next_answer(*pick) {
                    let answer = self.answers.remove(at);
                    if *lost {
                        self.note(|| "an answer is lost".to_owned());
                    } else {
                        self.receive(answer);
                    }
                }
            }
            Step::Lose(pick) => {
                if let Some(at) = place_of(&self.requests, *pick) {
                    self.requests.remove(at);
                    self.note(|| "a request is lost".to_owned());
                }
            }
            Step::Double(pick) => {
                if let Some(request) = pick_of(&self.requests, *pick).cloned() {
                    self.requests.push(request);
                }
            }
            Step::Tick(tick) => {
                let target = match tick {
                    Tick::By(millis) => Some(self.clock + millis),
                    Tick::Back(millis) => Some(self.clock - millis),
                    Tick::Jump(millis) => {
                        self.before_jump = self.clock;
                        Some(self.clock + millis)
                    }
                    Tick::Return(more) => Some(self.before_jump + more),
                    Tick::ToDeadline(more) => self.model.next_deadline().map(|deadline| deadline + more),
                    Tick::ToEndOfFunds(more) => self.model.next_end(self.clock).map(|end| end + more),
                    Tick::ToBoundary(more) => self.model.next_boundary(self.clock).map(|end| end + more),
                };
                self.clock = self.possible(target.unwrap_or(self.clock));
                self.note(|| "the clock is set".to_owned());
            }
            Step::Alarm(early, failure) => {
                if *early || self.alarm.is_some_and(|at| at <= self.clock) {
                    self.alarm_goes_off(*failure)?;
                }
            }
            Step::Evict => self.evict()?,
            Step::Fork => {
                if let Some(store) = self.live.take() {
                    self.note(|| "a second instance starts; the first lives on".to_owned());
                    self.overtaken = Some(store);
                }
            }
            Step::Audit => self.audit()?,
            Step::Rerate(post, failure) => self.rerate(*post, *failure)?,
            Step::Repair(damage, failure) => self.repair(*damage, *failure)?,
            Step::Archive(pick, failure) => self.archive(*pick, *failure)?,
        }
        Ok(())
    }

    /// What a clock can say: in the years whose calendar the model has. What is archived cannot be counted again exactly, so that a clock is not set back behind it.
    fn possible(&self, clock: i64) -> i64 {
        let (first, last) = YEARS;
        clock.clamp(first.max(self.archived.unwrap_or(first)), last)
    }

    /// A client sends a request and waits for its answer.
    fn send(&mut self, client: u8, command: Command) {
        let state = &mut self.clients[usize::from(client)];
        state.serial += 1;
        state.awaiting = Some(command.clone());
        let request = Request { client: Some(client), serial: state.serial, command };
        self.note(|| format!("client {client} asks: {}", shown(&request.command)));
        self.requests.push(request);
    }

    fn retry(&mut self, client: u8) {
        let state = &self.clients[usize::from(client)];
        if let Some(command) = state.awaiting.clone() {
            self.requests.push(Request { client: Some(client), serial: state.serial, command });
            self.note(|| format!("client {client} asks again"));
        }
    }

    /// Somebody who does not wait for the answer asks.
    fn ask(&mut self, command: Command) {
        self.others += 1;
        self.note(|| format!("asked: {}", shown(&command)));
        self.requests.push(Request { client: None, serial: self.others, command });
    }

    /// An id that somebody has used: every other time one whose hold is open.
    fn known_id(&self, pick: u16) -> Option<String> {
        let reservations = self.model.reservations().iter();
        let open: Vec<&String> =
            reservations.filter(|(_, known)| known.state == State::Held).map(|(id, _)| id).collect();
        let found =
            if pick.is_multiple_of(2) { pick_of(&open, pick / 2).copied() } else { pick_of(&self.ids, pick / 2) };
        found.cloned()
    }

    /// Which answer arrives: most often one that somebody still waits for.
    fn next_answer(&self, pick: u16) -> Option<usize> {
        let is_awaited = |at: &usize| {
            let Request { client, serial, .. } = self.answers[*at].request;
            client.is_some_and(|client| {
                let state = &self.clients[usize::from(client)];
                state.serial == serial && state.awaiting.is_some()
            })
        };
        let awaited: Vec<usize> = (0..self.answers.len()).filter(is_awaited).collect();
        if pick.is_multiple_of(4) { place_of(&self.answers, pick / 4) } else { pick_of(&awaited, pick / 4).copied() }
    }

    fn receive(&mut self, answer: Answered) {
        let Some(client) = answer.request.client else { return };
        self.note(|| format!("client {client} is answered {} to {}", answer.status, shown(&answer.request.command)));
        let state = &mut self.clients[usize::from(client)];
        // It has meanwhile given up, or knows already.
        if state.serial != answer.request.serial || state.awaiting.is_none() || answer.status >= 500 {
            return;
        }
        state.awaiting = None;
        match (&answer.request.command, answer.status) {
            (Command::Reserve { id, .. }, 201) => state.hold = Some(id.clone()),
            (Command::Settle { .. } | Command::Release { .. }, _) => state.hold = None,
            _ => {}
        }
    }

    /// Requests are carried out in one turn. Afterwards everything must be as the model says.
    fn turn(&mut self, requests: Vec<Request>, overtaken: bool, failure: Option<Failure>) -> Result<(), String> {
        let overtaken = overtaken && self.overtaken.is_some();
        let clock = if overtaken { self.possible(self.clock + self.scenario.skew) } else { self.clock };
        let asked = requests.iter().map(|request| order(&request.command)).collect::<Result<Vec<_>, _>>()?;
        let before = self.disk.last_entry().map_err(|error| error.to_string())?;
        let result = self.execute(overtaken, clock, &asked, failure);
        let has_failed = self.disk.end_failure();
        let after = self.disk.last_entry().map_err(|error| error.to_string())?;
        self.note(|| {
            let who = if overtaken { "the overtaken instance" } else { "the object" };
            let fate = match &result {
                Ok(_) => String::new(),
                Err(error) => format!(" and fails ({failure:?}: {error})"),
            };
            format!("{who} takes a turn of {}{fate}; entries {before} to {after}", requests.len())
        });
        if self.record.trace && after > before {
            for row in self.disk.entries_after(before).map_err(|error| error.to_string())? {
                self.note(|| format!("  stores {row}"));
            }
        }
        match result {
            Ok(answers) => {
                let mut next = self.model.clone();
                let expected = predict(&mut next, clock, &requests);
                for ((request, answer), (_, expected)) in requests.iter().zip(&answers).zip(&expected) {
                    self.note(|| format!("  {} → {} {}", shown(&request.command), answer.status, answer.body));
                    let body = check::answer(&request.command, answer, expected)?;
                    check::within_bounds(&next, &request.command, &body)?;
                }
                if (after > before) != (next.changes() > self.model.changes()) {
                    return Err(format!("entries went from {before} to {after}, and the model says otherwise"));
                }
                self.model = next;
                self.keep_log(&requests, expected);
                for (request, answer) in requests.iter().zip(&answers) {
                    self.acknowledge(&request.command, answer);
                }
                let queue = requests.into_iter().zip(&answers).filter(|(request, _)| request.client.is_some());
                self.answers.extend(queue.map(|(request, answer)| Answered { request, status: answer.status }));
                let store = if overtaken { &self.overtaken } else { &self.live };
                let Some(store) = store else { return Err("there is no instance after a turn".to_owned()) };
                check::state(store.ledger(), &self.model, clock)?;
                arm(&mut self.alarm, store.next_deadline().map(Timestamp::millis));
            }
            Err(error) => {
                self.run.failures += 1;
                if !has_failed || !matches!(error, StoreError::Sql(_)) {
                    return Err(format!("a turn fails by itself: {error}"));
                }
                if after > before {
                    // It took effect, and nobody has been told.
                    let expected = predict(&mut self.model, clock, &requests);
                    self.keep_log(&requests, expected);
                    arm(&mut self.alarm, self.model.next_deadline());
                }
                let dies = failure.is_some_and(Failure::kills);
                if dies || !self.scenario.keeps_failed_instance {
                    *(if overtaken { &mut self.overtaken } else { &mut self.live }) = None;
                }
                if !dies {
                    let queue = requests.into_iter().filter(|request| request.client.is_some());
                    self.answers.extend(queue.map(|request| Answered { request, status: 503 }));
                }
            }
        }
        Ok(())
    }

    fn execute(
        &mut self,
        overtaken: bool,
        clock: i64,
        asked: &[Asked],
        failure: Option<Failure>,
    ) -> Result<Vec<Answer>, StoreError> {
        self.disk.fail(failure);
        let now = timestamp(clock);
        let slot = if overtaken { &mut self.overtaken } else { &mut self.live };
        let store = match slot {
            Some(store) => store,
            None => slot.insert(open(&self.disk, self.scenario)?),
        };
        store.execute(self.catalog, now, asked)
    }

    fn keep_log(&mut self, requests: &[Request], expected: Vec<(i64, Expected)>) {
        self.run.commands += requests.len();
        if self.record.log {
            // What was spent is told at the end of a turn; where commands come one by one, it is asked for there.
            let (last, logged): (Vec<_>, Vec<_>) =
                requests.iter().zip(expected).partition(|(request, _)| matches!(request.command, Command::Usage(_)));
            let logged = logged.into_iter().chain(last);
            self.run.log.extend(logged.map(|(request, (now, expected))| Logged {
                now,
                command: request.command.clone(),
                expected,
            }));
        }
    }

    /// What was answered must be so for good.
    fn acknowledge(&mut self, command: &Command, answer: &Answer) {
        let changes = matches!(
            command,
            Command::Reserve { .. }
                | Command::Extend { .. }
                | Command::Meter { .. }
                | Command::Settle { .. }
                | Command::Release { .. }
                | Command::Record { .. }
                | Command::Refund { .. }
        );
        if changes && !answer.is_problem() {
            let body = serde_json::from_str(&answer.body).unwrap_or_default();
            self.acknowledged.push((command.clone(), body));
        }
    }

    fn alarm_goes_off(&mut self, failure: Option<Failure>) -> Result<(), String> {
        self.note(|| "the alarm goes off".to_owned());
        self.alarm = None;
        let failures = self.run.failures;
        self.turn(Vec::new(), false, failure)?;
        if self.run.failures > failures {
            // The Worker sets it again itself; where the instance died, the platform repeats it.
            arm(&mut self.alarm, Some(self.clock + AGAIN));
        }
        Ok(())
    }

    /// Memory is lost. What is read back must be what was lost.
    fn evict(&mut self) -> Result<(), String> {
        self.note(|| "the instance is evicted".to_owned());
        let Some(lost) = self.live.take() else { return Ok(()) };
        if self.overtaken.is_some() {
            // The other instance may have gone on meanwhile.
            return Ok(());
        }
        let found = open(&self.disk, self.scenario).map_err(|error| error.to_string())?;
        // Where another instance has gone on since, or a turn has failed, it would have been read anew. The numbers alone do not tell: another instance may have
        // written as many entries as the turn that failed.
        if !lost.is_stale() && found.ledger().last_seq() == lost.ledger().last_seq() {
            check::same(lost.ledger(), found.ledger())?;
        }
        self.live = Some(found);
        Ok(())
    }

    /// Everybody stops. Alarms go on, and every hold ends; then everything that was acknowledged is looked for.
    fn finish(&mut self) -> Result<(), String> {
        self.requests.clear();
        self.overtaken = None;
        let last_deadline =
            self.model.reservations().values().map(|reservation| reservation.expires_at).max().unwrap_or(0);
        // A clock that was set back is behind the ledger, and catches up.
        for _ in 0..MOST_ALARMS {
            let Some(at) = self.alarm else { break };
            self.clock = self.clock.max(at);
            self.alarm_goes_off(None)?;
        }
        if self.model.open_holds() > 0 {
            return Err(format!("{} holds never end: the alarm is {:?}", self.model.open_holds(), self.alarm));
        }
        let late = self.clock - last_deadline.max(self.scenario.start);
        if self.alarm.is_some() {
            return Err(format!("the alarm goes off again and again, {late} ms after the last deadline"));
        }
        self.live = None;
        let mut questions: Vec<Command> =
            self.model.reservations().keys().map(|id| Command::GetReservation { id: id.clone() }).collect();
        let all =
            Report { by: Dimension::ALL.to_vec(), zone: Zone::Kathmandu, limit: Some(1_000), ..Report::default() };
        questions.extend([Command::ListQuotas, Command::Usage(Report::default()), Command::Usage(all)]);
        let requests = questions.into_iter().map(|command| Request { client: None, serial: 0, command }).collect();
        let requests: Vec<Request> = requests;
        self.turn(requests.clone(), false, None)?;
        let Some(mut store) = self.live.take() else { return Err("there is no instance after a turn".to_owned()) };
        let asked = requests.iter().map(|request| order(&request.command)).collect::<Result<Vec<_>, _>>()?;
        let now = timestamp(self.clock);
        let answers = store.execute(self.catalog, now, &asked).map_err(|error| error.to_string())?;
        let told: BTreeMap<&str, Value> = requests
            .iter()
            .zip(&answers)
            .filter_map(|(request, answer)| {
                Some((request.command.subject()?, serde_json::from_str(&answer.body).ok()?))
            })
            .collect();
        for (command, body) in &self.acknowledged {
            let Some(id) = command.subject() else { continue };
            check::is_borne_out(command, body, told.get(id).unwrap_or(&Value::Null), &self.model)?;
        }
        check::audit(&store)?;
        check::export(&mut store, self.catalog, now, &mut self.exported)?;
        check::history(&self.exported, &self.model)
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.record.trace {
            let line = format!("{:>3} {} {}", self.step, calendar::text(self.clock), line());
            self.run.trace.push(line);
        }
    }
}

/// Carries requests out on the model; each is answered with the instant that it is decided at and what the answer must say.
fn predict(model: &mut Model, clock: i64, requests: &[Request]) -> Vec<(i64, Expected)> {
    model.expire(clock);
    let mut answers: Vec<(i64, Verdict, Option<Expected>)> = Vec::with_capacity(requests.len());
    for Request { command, .. } in requests {
        let now = model.now(clock);
        let verdict = model.carry_out(clock, command);
        // What was spent is told once all that happens in the turn is part of it.
        let told = (!matches!(command, Command::Usage(_))).then(|| model.answer(clock, command, &verdict));
        answers.push((now, verdict, told));
    }
    let told = answers.into_iter().zip(requests).map(|((now, verdict, told), request)| {
        (now, told.unwrap_or_else(|| model.answer(clock, &request.command, &verdict)))
    });
    told.collect()
}

fn open(disk: &Disk, scenario: &Scenario) -> Result<Store, StoreError> {
    Ok(TenantStore::open(disk.clone())?.with_snapshot_every(scenario.snapshot_every))
}

/// Sets the alarm as the Worker does: only where it would otherwise go off too late.
fn arm(alarm: &mut Option<i64>, deadline: Option<i64>) {
    if let Some(deadline) = deadline
        && alarm.is_none_or(|set| set > deadline)
    {
        *alarm = Some(deadline);
    }
}

/// A command as the store gets it: where it can be, by way of its JSON.
fn order(command: &Command) -> Result<Asked, String> {
    match command {
        Command::Onboard(which) => {
            let plan = words::plan(*which).to_json();
            let plan: Plan = serde_json::from_value(plan).map_err(|error| error.to_string())?;
            Ok(Asked::Command(Ordered::Onboard(Onboard {
                tenant: name("acme")?,
                plan_name: name(&format!("plan-{which}"))?,
                plan,
                policy_version: u64::try_from(*which).unwrap_or(0),
            })))
        }
        Command::Settle { id, actual: Actual::Incomplete { input, output } } => {
            let usage = Usage::new()
                .with(Meter::Input, u64::from(*input))
                .and_then(|usage| usage.with(Meter::Output, u64::from(*output)))
                .map_err(|error| format!("{error:?}"))?;
            Ok(Asked::Command(Ordered::Settle(name(id)?, Reported::IncompleteUsage(usage))))
        }
        other => {
            let json = other.to_json().unwrap_or_default().to_string();
            api::parse_command(&json).map_err(|problem| format!("{json}: {problem:?}"))
        }
    }
}

fn name<T: core::str::FromStr<Err: core::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// An instant as the core has it. The simulator's clock never leaves the range.
#[must_use]
pub fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).unwrap_or_default()
}

/// A command in a trace.
fn shown(command: &Command) -> String {
    command.to_json().map_or_else(|| format!("{command:?}"), |json| json.to_string())
}

fn place_of<T>(list: &[T], pick: u16) -> Option<usize> {
    usize::from(pick).checked_rem(list.len())
}

fn pick_of<T>(list: &[T], pick: u16) -> Option<&T> {
    list.get(place_of(list, pick)?)
}
