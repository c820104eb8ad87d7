//! Calls to Durable Objects: bounded in time, repeated where that is safe and worth it, and never answered with anything but what the
//! object answered or a problem document.

use std::time::Duration;

use futures_util::future::{Either, select};
use tollgate_core::api::{Code, Problem};
use tollgate_core::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{Headers, Request, RequestInit, Response};
use worker::{Delay, ObjectNamespace};

use crate::body::Body;
use crate::clock;
use crate::connection;
use crate::log::{internal, unexpected};
use crate::router::Method;

/// How long a caller waits for an object, repeats included.
const TIMEOUT: Duration = Duration::from_secs(25);
/// The pauses before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// Says to a tenant's object which version of the platform's own rates, aliases and markups its ledger should know.
pub const OVERRIDES_HEADER: &str = "tollgate-overrides";
/// On the answer of an object whose ledger does not know it: nothing was done.
pub const OVERRIDES_WANTED_HEADER: &str = "tollgate-overrides-wanted";

/// A request needs a whole address, but an object has none: only path and query count.
const ORIGIN: &str = "http://object";

/// One call.
pub struct Call<'a> {
    /// The object's class.
    pub objects: &'a ObjectNamespace,
    /// The object's name in its class.
    pub name: &'a str,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: &'a str,
    /// The body.
    pub body: &'a Body,
    /// The test clock's time, where there is one.
    pub now: Option<Timestamp>,
    /// The version of the platform's own rates, aliases and markups that the ledger should know; 0 where there are none.
    pub overrides: u64,
    /// Until when the connection may be used that is asked for. None where none is.
    pub connection_ends: Option<Timestamp>,
    /// Whether doing it twice is as good as doing it once.
    pub repeats_safely: bool,
}

impl Call<'_> {
    /// Sends it and waits for the object's answer.
    ///
    /// # Errors
    /// `unavailable` where the object cannot be reached in time, `internal` where it broke.
    pub async fn send(&self) -> Result<Response, Problem> {
        let attempts = core::pin::pin!(self.attempts());
        match select(attempts, Delay::from(TIMEOUT)).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                unexpected("calling an object", &"no answer in time");
                Err(Problem::new(Code::Unavailable, "the ledger did not answer in time"))
            }
        }
    }

    async fn attempts(&self) -> Result<Response, Problem> {
        let mut pauses = PAUSES.into_iter();
        loop {
            // After an exception a stub stays broken, so each attempt makes its own.
            let error = match self.attempt().await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let is = |flag: &str| js_sys::Reflect::get(&error, &flag.into()).is_ok_and(|value| value.is_truthy());
            let failure = Failure { retryable: is("retryable"), overloaded: is("overloaded") };
            let error = worker::Error::from(error);
            match failure.next(self.repeats_safely, &mut pauses) {
                Next::Again(pause) => {
                    unexpected("calling an object, trying again", &error);
                    Delay::from(pause).await;
                }
                Next::Later => {
                    unexpected("calling an object", &error);
                    return Err(Problem::new(Code::Unavailable, "the ledger cannot be reached at the moment"));
                }
                Next::Never => return Err(internal("calling an object", &error)),
            }
        }
    }

    async fn attempt(&self) -> Result<Response, JsValue> {
        let init = RequestInit::new();
        init.set_method(self.method.name());
        // A GET with a body is an error to the runtime.
        if let (Some(body), false) = (self.body.to_js(), self.method == Method::Get) {
            init.set_body(body);
        }
        // Nothing of the client's own headers goes through.
        if self.now.is_some() || self.overrides > 0 || self.connection_ends.is_some() {
            let headers = Headers::new()?;
            if let Some(now) = self.now {
                headers.set(clock::TEST_HEADER, &now.to_string())?;
            }
            if self.overrides > 0 {
                headers.set(OVERRIDES_HEADER, &self.overrides.to_string())?;
            }
            if let Some(ends) = self.connection_ends {
                headers.set("upgrade", "websocket")?;
                headers.set(connection::ENDS_HEADER, &ends.to_string())?;
            }
            init.set_headers(&headers);
        }
        let request = Request::new_with_str_and_init(&format!("{ORIGIN}{}", self.target), &init)?;
        let stub: RawStub = self.objects.get_by_name(self.name).map_err(JsValue::from)?.into_rpc();
        JsFuture::from(stub.fetch(&request)?).await?.dyn_into()
    }
}

/// The body of an object's answer.
///
/// # Errors
/// It broke off.
pub async fn text_of(response: &Response) -> Result<String, Problem> {
    let read = |error| internal("reading an object's answer", &worker::Error::from(error));
    let text = JsFuture::from(response.text().map_err(read)?).await.map_err(read)?;
    text.as_string().ok_or_else(|| internal("reading an object's answer", &"it is no text"))
}

/// What the runtime says about a call that failed.
#[derive(Clone, Copy, Debug)]
struct Failure {
    /// The object was not reached, or gave up for no fault of the request: it may be repeated where that is safe.
    retryable: bool,
    /// The object has too much to do; a repeat would make it worse.
    overloaded: bool,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Try again after a pause.
    Again(Duration),
    /// Leave it to the client to try again.
    Later,
    /// It is our fault.
    Never,
}

impl Failure {
    fn next(self, repeats_safely: bool, pauses: &mut impl Iterator<Item = Duration>) -> Next {
        if self.overloaded {
            return Next::Later;
        }
        if !self.retryable {
            return Next::Never;
        }
        let pause = if repeats_safely { pauses.next() } else { None };
        pause.map_or(Next::Later, Next::Again)
    }
}

#[wasm_bindgen]
extern "C" {
    /// A stub. The `worker` crate's own `fetch` takes the response apart and the runtime puts it together again on the way to the
    /// client; this one hands it through untouched.
    type RawStub;

    #[wasm_bindgen(method, catch)]
    fn fetch(this: &RawStub, request: &Request) -> Result<js_sys::Promise, JsValue>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_few_and_only_where_they_are_safe_and_help() {
        let mut pauses = PAUSES.into_iter();
        let unreachable = Failure { retryable: true, overloaded: false };
        let next = [(); 3].map(|()| unreachable.next(true, &mut pauses));
        assert_eq!(next, [Next::Again(PAUSES[0]), Next::Again(PAUSES[1]), Next::Later]);

        let mut pauses = PAUSES.into_iter();
        assert_eq!(unreachable.next(false, &mut pauses), Next::Later);
        for retryable in [false, true] {
            let overloaded = Failure { retryable, overloaded: true };
            assert_eq!(overloaded.next(true, &mut pauses), Next::Later);
        }
        let broken = Failure { retryable: false, overloaded: false };
        assert_eq!(broken.next(true, &mut pauses), Next::Never);
        assert_eq!(pauses.len(), PAUSES.len(), "no pause was used up");
    }
}
