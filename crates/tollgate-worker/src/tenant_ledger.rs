//! One tenant's ledger: a Durable Object.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use tollgate_core::api::{self, Answer, Ask, Code, Problem, Request as Asked};
use tollgate_core::catalog::Catalog;
use tollgate_core::time::Timestamp;
use tollgate_store::{StoreError, TenantStore};
use wasm_bindgen_futures::spawn_local;
use worker::{
    Delay, DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, WebSocketPair,
    durable_object,
};

use crate::alarm::Alarm;
use crate::asked;
use crate::body::Body;
use crate::clock;
use crate::config;
use crate::connection::{self, Message};
use crate::gather::{self, Arrivals, Arriving, Queue, Turn, Waiting};
use crate::log::{internal, unexpected};
use crate::object::{OVERRIDES_HEADER, OVERRIDES_WANTED_HEADER};
use crate::probe;
use crate::respond;
use crate::router::{self, Endpoint, Route};
use crate::sql::{ObjectSql, RowsWritten};
use crate::upkeep::Upkeep;
use crate::url;

/// Says, with the test clock on, how many rows the object has written since it started.
const ROWS_WRITTEN_HEADER: &str = "Tollgate-Rows-Written";

/// Serializes everything that a tenant and its users spend.
///
/// A request's body is read first; then it joins a queue. Whatever waits there is decided and stored in one synchronous turn, in one
/// commit, and answered. The runtime holds the answers back until the commit is durable.
#[durable_object]
pub struct TenantLedger {
    inner: Rc<Inner>,
}

struct Inner {
    state: State,
    has_test_clock: bool,
    store: RefCell<Option<TenantStore<ObjectSql>>>,
    arrivals: Arrivals,
    queue: RefCell<Queue>,
    timer_runs: Cell<bool>,
    alarm: Alarm,
    written: RowsWritten,
}

impl DurableObject for TenantLedger {
    fn new(state: State, env: Env) -> Self {
        let written = RowsWritten::default();
        Self {
            inner: Rc::new(Inner {
                has_test_clock: config::has_test_clock(&env),
                store: RefCell::new(None),
                arrivals: Arrivals::default(),
                queue: RefCell::default(),
                timer_runs: Cell::new(false),
                alarm: Alarm::new(state.storage(), written.clone()),
                written,
                state,
            }),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        if let Some(ends) = request.headers().get(connection::ENDS_HEADER)? {
            return self.inner.connect(&request, &ends);
        }
        let answer = self.inner.answer(&mut request).await.unwrap_or_else(|problem| respond::refusal(&problem));
        let response = respond::response(answer)?;
        if self.inner.has_test_clock {
            let rows = self.inner.written.count().to_string();
            response.headers().set(ROWS_WRITTEN_HEADER, &rows)?;
        }
        Ok(response)
    }

    async fn alarm(&self) -> Result<Response> {
        self.inner.alarm_went_off();
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let ends: Option<String> = socket.deserialize_attachment()?;
        let ends = ends.and_then(|ends| ends.parse::<Timestamp>().ok());
        if ends.is_none_or(|ends| connection::is_over(ends, clock::now())) {
            return socket.close(Some(connection::ENDED), Some("open another one"));
        }
        let message = match &message {
            WebSocketIncomingMessage::String(text) => Message::read(text),
            WebSocketIncomingMessage::Binary(_) => None,
        };
        let Some(message) = message else {
            return socket.close(Some(connection::NOT_UNDERSTOOD), Some("see docs/http-api.md"));
        };
        let answer = self.inner.answer_message(&message).await.unwrap_or_else(|problem| respond::refusal(&problem));
        if let Err(error) = socket.send_with_str(message.answer(&answer)) {
            // Whoever asked has hung up; what was decided stays, and a repeat gets the same answer.
            unexpected("answering over a connection", &error);
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        // Nothing is kept for a connection. The client waits for this answer to its closing, and fails where it has hung up meanwhile.
        let _hung_up = socket.close(Some(connection::CLOSED), None::<&str>);
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, error: worker::Error) -> Result<()> {
        unexpected("a connection broke", &error);
        Ok(())
    }
}

impl Inner {
    async fn answer(self: &Rc<Self>, request: &mut Request) -> Result<Answer, Problem> {
        let url = request.inner().url();
        let (path, query) = url::path_and_query(url::target(&url));
        if path == probe::TARGET {
            return self.since().map(probe::answer);
        }
        let asks = match path {
            asked::PLATFORM_OVERRIDES_TARGET => None,
            path => Some(router::route(&request.inner().method(), path).map_err(|reason| reason.problem())?),
        };
        let now = if self.has_test_clock { clock::from_header(request.headers())? } else { None };
        let minds_overrides = asks.as_ref().is_some_and(|route| match route.endpoint {
            // What makes the tenant known comes before everything that applies to it.
            Endpoint::Onboard => false,
            Endpoint::Rerate => true,
            // What is stored is looked after as it is.
            other => !Upkeep::has(other),
        });
        if minds_overrides && self.lacks_overrides(request)? {
            return Ok(overrides_wanted());
        }
        if let Some(Route { endpoint, .. }) = &asks
            && Upkeep::has(*endpoint)
        {
            let body = Body::read(request).await?.text()?;
            return self.keep_up(&Upkeep::read(*endpoint, query, &body)?, now.unwrap_or_else(clock::now));
        }
        let arriving = self.arrivals.begin();
        self.alarm.learn().await;
        let body = Body::read(request).await?.text()?;
        let asked = match &asks {
            Some(route) => asked::read(route, query, &body)?,
            None => asked::platform_overrides(known_overrides(request), &body)?,
        };
        match asked {
            Ask::One(looked) if matches!(looked, Asked::State(_) | Asked::History(_)) => {
                drop(arriving);
                let answer = self.look(now, &looked);
                // It may have been the one that others waited for.
                self.take_turns_if_arrivals_are_over();
                answer
            }
            ask => self.join(arriving, now, ask).await,
        }
    }

    async fn answer_message(self: &Rc<Self>, message: &Message<'_>) -> Result<Answer, Problem> {
        message.check()?;
        let arriving = self.arrivals.begin();
        self.alarm.learn().await;
        self.join(arriving, None, Ask::Batch(api::parse_batch(message.body)?)).await
    }

    /// Joins the queue, sees to it that somebody takes a turn, and waits for the answer.
    async fn join(
        self: &Rc<Self>,
        arriving: Arriving<'_>,
        now: Option<Timestamp>,
        ask: Ask,
    ) -> Result<Answer, Problem> {
        let (done, answer) = oneshot::channel();
        self.queue.borrow_mut().push(Waiting { now, ask, done });
        drop(arriving);
        if !self.take_turns_if_arrivals_are_over() && !self.timer_runs.replace(true) {
            spawn_local(Rc::clone(self).take_turns_in_time());
        }
        answer.await.map_err(|_| Problem::new(Code::Internal, "the request was not answered"))?
    }

    /// Accepts a connection, of which nothing is kept here, so that the object may sleep while it is open.
    fn connect(&self, request: &Request, ends: &str) -> Result<Response> {
        match self.lacks_overrides(request) {
            Ok(false) => {}
            Ok(true) => return respond::response(overrides_wanted()),
            Err(problem) => return respond::response(respond::refusal(&problem)),
        }
        let pair = WebSocketPair::new()?;
        self.state.accept_web_socket(&pair.server);
        pair.server.serialize_attachment(ends)?;
        let response = Response::from_websocket(pair.client)?;
        response.headers().set(connection::PROTOCOL_HEADER, connection::PROTOCOL)?;
        Ok(response)
    }

    async fn take_turns_in_time(self: Rc<Self>) {
        Delay::from(gather::LONGEST_WAIT).await;
        self.timer_runs.set(false);
        self.take_turns();
    }

    fn take_turns_if_arrivals_are_over(&self) -> bool {
        let are_over = self.arrivals.are_over();
        if are_over {
            self.take_turns();
        }
        are_over
    }

    fn take_turns(&self) {
        loop {
            let turn = self.queue.borrow_mut().take();
            let Some(turn) = turn else { break };
            self.carry_out(turn);
        }
    }

    /// Decides, stores, answers and arms the alarm, all without letting anything else run in between.
    fn carry_out(&self, turn: Turn) {
        let at = turn.now;
        turn.run(|asks| {
            let now = at.unwrap_or_else(clock::now);
            let mut is_stale = false;
            let answers = self.with_store(|store, catalog| {
                let answers = store.carry_out(catalog, now, asks);
                is_stale = store.is_stale();
                // A test clock's deadlines are not on the alarm's clock.
                if at.is_none() && answers.is_ok() {
                    self.alarm.arm(store.next_deadline());
                }
                answers
            });
            answers.map_err(|problem| (problem, is_stale))
        });
    }

    /// Answers what only looks, between two turns.
    fn look(&self, at: Option<Timestamp>, asked: &Asked) -> Result<Answer, Problem> {
        let now = at.unwrap_or_else(clock::now);
        self.with_store(|store, catalog| {
            let answer = store.look(catalog, now, asked)?;
            if at.is_none() {
                self.alarm.arm(store.next_deadline());
            }
            Ok(answer)
        })
    }

    /// Whether the Worker knows a later version of the platform's own rates, aliases and markups than the ledger does.
    fn lacks_overrides(&self, request: &Request) -> Result<bool, Problem> {
        let version = known_overrides(request);
        if version == 0 {
            return Ok(false);
        }
        self.with_store(|store, _| {
            if store.is_stale() {
                store.catch_up()?;
            }
            let known = store.ledger().prices().platform.as_ref().map_or(0, |overrides| overrides.version);
            Ok(store.ledger().tenant().is_some() && known < version)
        })
    }

    /// Since when the tenant is onboarded. None where it is not; then nothing is stored.
    fn since(&self) -> Result<Option<Timestamp>, Problem> {
        let is_known = |store: &TenantStore<_>| store.ledger().tenant().is_some();
        if !self.store.borrow().as_ref().is_some_and(is_known) {
            // That there is nothing is said by what is stored alone.
            *self.store.borrow_mut() = None;
        }
        self.with_store(|store, _| Ok(store.ledger().tenant().map(|tenant| tenant.created_at)))
    }

    /// Does what an administrator asks of the stored ledger, between two turns.
    fn keep_up(&self, upkeep: &Upkeep, now: Timestamp) -> Result<Answer, Problem> {
        self.with_store(|store, catalog| upkeep.carry_out(store, catalog, now))?
    }

    fn alarm_went_off(&self) {
        self.alarm.went_off();
        let expired = self.with_store(|store, catalog| {
            store.expire(catalog, clock::now())?;
            self.alarm.arm(store.next_deadline());
            Ok(())
        });
        if expired.is_err() {
            self.alarm.arm_soon(clock::now());
        }
    }

    fn with_store<T>(
        &self,
        act: impl FnOnce(&mut TenantStore<ObjectSql>, &'static Catalog) -> Result<T, StoreError>,
    ) -> Result<T, Problem> {
        let catalog = Catalog::builtin().map_err(|error| internal("reading the catalog", &error))?;
        let mut slot = self.store.borrow_mut();
        let done = match slot.take() {
            Some(store) => Ok(store),
            None => TenantStore::open(ObjectSql::new(self.state.storage(), self.written.clone())),
        }
        .and_then(|mut store| {
            let done = act(&mut store, catalog);
            // It stays after an error, too: the store knows whether it has to read anew what is stored.
            *slot = Some(store);
            done
        });
        done.map_err(|error| problem(&error))
    }
}

/// The version of the platform's own rates, aliases and markups that the Worker knows; 0 where there are none.
fn known_overrides(request: &Request) -> u64 {
    let header = request.headers().get(OVERRIDES_HEADER).ok().flatten();
    header.and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Nothing was done; the Worker sends what is wanted and asks again.
fn overrides_wanted() -> Answer {
    let mut answer = Answer::problem(&Problem::new(Code::Unavailable, "the platform's overrides are wanted first"));
    answer.headers.push((OVERRIDES_WANTED_HEADER, "1".to_owned()));
    answer
}

fn problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Sql(_) => {
            unexpected("storing a turn", error);
            Problem::new(Code::Unavailable, "the database failed; nothing was changed")
        }
        StoreError::Damaged(_) | StoreError::NewerSchema { .. } => internal("reading what is stored", error),
    }
}
