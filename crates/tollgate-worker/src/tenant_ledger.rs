//! One tenant's ledger: a Durable Object.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_channel::oneshot;
use js_sys::JsString;
use tollgate_core::api::{self, Answer, Ask, Asking, Code, Problem, Request as Asked};
use tollgate_core::catalog::Catalog;
use tollgate_core::sight::Sight;
use tollgate_core::time::Timestamp;
use tollgate_store::{StoreError, TenantStore};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use worker::{
    Delay, DurableObject, Env, Request, Response, Result, State, WebSocket, WebSocketPair, durable_object, web_sys,
};

use crate::alarm::Alarm;
use crate::asked;
use crate::body::Body;
use crate::clock;
use crate::config;
use crate::connection::{self, Message, Terms};
use crate::gather::{self, Arrivals, Arriving, Queue, Turn, Waiting};
use crate::log::{internal, unexpected};
use crate::object::OVERRIDES_WANTED_HEADER;
use crate::operation::{Envelope, Opening, Operation};
use crate::probe;
use crate::respond;
use crate::router::{Endpoint, Route};
use crate::sql::{ObjectSql, RowsWritten};
use crate::tickets::Tickets;
use crate::upkeep::Upkeep;

/// Says, with the test clock on, how many rows the object has written since it started.
const ROWS_WRITTEN_HEADER: &str = "Tollgate-Rows-Written";

/// Serializes everything that a tenant and its users spend.
///
/// A request's body is read first; then it joins a queue. Whatever waits there is decided and stored in one synchronous turn, in one
/// commit, and answered. The runtime holds the answers back until the commit is durable.
#[durable_object(alarm)]
pub struct TenantLedger {
    inner: Rc<Inner>,
}

/// What counts of who asks.
#[derive(Clone, Copy)]
struct Asker {
    /// The test clock's time, where there is one.
    now: Option<Timestamp>,
    /// Whose eyes the answer is for.
    sight: Sight,
}

struct Inner {
    state: State,
    has_test_clock: bool,
    store: RefCell<Option<TenantStore<ObjectSql>>>,
    arrivals: Arrivals,
    queue: RefCell<Queue>,
    tickets: RefCell<Tickets>,
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
                tickets: RefCell::default(),
                timer_runs: Cell::new(false),
                alarm: Alarm::new(state.storage(), written.clone()),
                written,
                state,
            }),
        }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let answer = match Envelope::of(request.headers()) {
            Ok(Envelope { opening: Some(opening), overrides, sight, .. }) => {
                return self.inner.connect(overrides, &opening, sight);
            }
            Ok(envelope) => self.inner.answer(envelope, &mut request).await,
            Err(problem) => Err(problem),
        };
        let response = respond::response(answer.unwrap_or_else(|problem| respond::refusal(&problem)))?;
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
}

/// What comes over connections. Not by the trait's functions: those have every message copied into WebAssembly's memory before anybody has looked at its length.
#[wasm_bindgen]
impl TenantLedger {
    /// A message.
    ///
    /// # Errors
    /// The runtime fails.
    #[wasm_bindgen(js_name = webSocketMessage)]
    pub async fn message(&self, socket: web_sys::WebSocket, message: JsValue) -> core::result::Result<(), JsValue> {
        Ok(self.inner.message_came(&socket.into(), &message).await?)
    }

    /// The client closes a connection.
    #[wasm_bindgen(js_name = webSocketClose)]
    pub fn closing(&self, socket: web_sys::WebSocket) {
        // Nothing is kept for a connection. The client waits for this answer to its closing, and fails where it has hung up meanwhile.
        let _hung_up = WebSocket::from(socket).close(Some(connection::CLOSED), None::<&str>);
    }

    /// A connection broke.
    #[wasm_bindgen(js_name = webSocketError)]
    pub fn broke(&self, _: web_sys::WebSocket, error: JsValue) {
        unexpected("a connection broke", &worker::Error::from(error));
    }
}

impl Inner {
    async fn answer(self: &Rc<Self>, envelope: Envelope, request: &mut Request) -> Result<Answer, Problem> {
        let Envelope { operation, now, overrides, sight, .. } = envelope;
        let asker = Asker { now: now.filter(|_| self.has_test_clock), sight };
        match operation {
            Operation::Route(route) => self.answer_route(&route, asker, overrides, request).await,
            Operation::TakeOverrides { version } => {
                self.ask(asker, request, &|body| asked::platform_overrides(version, body)).await
            }
            Operation::SayOnboarded => self.since().map(probe::answer),
            Operation::FindTenant { .. } | Operation::RegisterTenant { .. } => {
                Err(Problem::new(Code::NotFound, "no tenant's ledger answers this"))
            }
            Operation::ExpectTicket { id } => {
                self.tickets.borrow_mut().expect(id, clock::now())?;
                Ok(Answer { status: 204, body: String::new(), headers: Vec::new() })
            }
        }
    }

    async fn answer_route(
        self: &Rc<Self>,
        route: &Route,
        asker: Asker,
        overrides: u64,
        request: &mut Request,
    ) -> Result<Answer, Problem> {
        let minds_overrides = match route.endpoint {
            // What makes the tenant known comes before everything that applies to it.
            Endpoint::Onboard => false,
            Endpoint::Rerate => true,
            // What is stored is looked after as it is.
            other => !Upkeep::has(other),
        };
        if minds_overrides && self.lacks_overrides(overrides)? {
            return Ok(overrides_wanted());
        }
        if Upkeep::has(route.endpoint) {
            let body = Body::read(request).await?.text()?;
            return self.keep_up(&Upkeep::read(route, &body)?, asker.now.unwrap_or_else(clock::now));
        }
        self.ask(asker, request, &|body| asked::read(route, body)).await
    }

    /// Reads the body and what it asks, and has it carried out.
    async fn ask(
        self: &Rc<Self>,
        asker: Asker,
        request: &mut Request,
        read: &dyn Fn(&str) -> Result<Ask, Problem>,
    ) -> Result<Answer, Problem> {
        let arriving = self.arrivals.begin();
        self.alarm.learn().await;
        match read(&Body::read(request).await?.text()?)? {
            Ask::One(looked) if matches!(looked, Asked::State(_) | Asked::History(_)) => {
                drop(arriving);
                let answer = self.look(asker, &looked);
                // It may have been the one that others waited for.
                self.take_turns_if_arrivals_are_over();
                answer
            }
            ask => self.join(arriving, asker, ask).await,
        }
    }

    async fn message_came(self: &Rc<Self>, socket: &WebSocket, message: &JsValue) -> Result<()> {
        let terms: Option<String> = socket.deserialize_attachment()?;
        let terms = terms.and_then(|terms| serde_json::from_str::<Terms>(&terms).ok());
        let Some(Terms { sight, .. }) = terms.filter(|terms| !connection::is_over(terms.ends, clock::now())) else {
            return socket.close(Some(connection::ENDED), Some("open another one"));
        };
        let not_understood = || socket.close(Some(connection::NOT_UNDERSTOOD), Some("see docs/http-api.md"));
        let Some(text) = message.dyn_ref::<JsString>() else { return not_understood() };
        let is_too_long = text.length() > connection::MAX_MESSAGE;
        let text = if is_too_long { text.slice(0, connection::HEAD) } else { text.clone() };
        let text = String::from(text);
        let Some(message) = Message::read(&text) else { return not_understood() };
        let answer =
            if is_too_long { Err(connection::too_large()) } else { self.answer_message(&message, sight).await };
        let answer = answer.unwrap_or_else(|problem| respond::refusal(&problem));
        if let Err(error) = socket.send_with_str(message.answer(&answer)) {
            // Whoever asked has hung up; what was decided stays, and a repeat gets the same answer.
            unexpected("answering over a connection", &error);
        }
        Ok(())
    }

    async fn answer_message(self: &Rc<Self>, message: &Message<'_>, sight: Sight) -> Result<Answer, Problem> {
        message.check()?;
        let arriving = self.arrivals.begin();
        self.alarm.learn().await;
        self.join(arriving, Asker { now: None, sight }, Ask::Batch(api::parse_batch(message.body)?)).await
    }

    /// Joins the queue, sees to it that somebody takes a turn, and waits for the answer.
    async fn join(
        self: &Rc<Self>,
        arriving: Arriving<'_>,
        Asker { now, sight }: Asker,
        ask: Ask,
    ) -> Result<Answer, Problem> {
        let (done, answer) = oneshot::channel();
        self.queue.borrow_mut().push(Waiting { now, asking: Asking { ask, sight }, done });
        drop(arriving);
        if !self.take_turns_if_arrivals_are_over() && !self.timer_runs.replace(true) {
            spawn_local(Rc::clone(self).take_turns_in_time());
        }
        answer.await.map_err(|_| Problem::new(Code::Internal, "the request was not answered"))?
    }

    /// Accepts a connection, of which nothing is kept here, so that the object may sleep while it is open.
    fn connect(&self, overrides: u64, opening: &Opening, sight: Sight) -> Result<Response> {
        match self.lacks_overrides(overrides) {
            Ok(false) => {}
            Ok(true) => return respond::response(overrides_wanted()),
            Err(problem) => return respond::response(respond::refusal(&problem)),
        }
        if let Some(ticket) = &opening.ticket
            && let Err(problem) = self.tickets.borrow_mut().use_up(ticket, clock::now())
        {
            return respond::response(respond::refusal(&problem));
        }
        let pair = WebSocketPair::new()?;
        self.state.accept_web_socket(&pair.server);
        pair.server.serialize_attachment(serde_json::to_string(&Terms { ends: opening.ends, sight })?)?;
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
    fn look(&self, Asker { now: at, sight }: Asker, asked: &Asked) -> Result<Answer, Problem> {
        let now = at.unwrap_or_else(clock::now);
        self.with_store(|store, catalog| {
            let answer = store.look(catalog, now, asked, sight)?;
            if at.is_none() {
                self.alarm.arm(store.next_deadline());
            }
            Ok(answer)
        })
    }

    /// Whether the Worker knows a later version of the platform's own rates, aliases and markups than the ledger does.
    fn lacks_overrides(&self, version: u64) -> Result<bool, Problem> {
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
