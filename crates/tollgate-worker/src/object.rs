//! Calls to Durable Objects: bounded in time, repeated where that is safe and worth it, and never answered with anything but what the
//! object answered or a problem document.

use std::time::Duration;

use futures_util::future::{Either, select};
use tollgate_core::api::{Code, Problem};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::web_sys::{Headers, Request, RequestInit, Response};
use worker::{Delay, ObjectNamespace};

use crate::body::Body;
use crate::log::{internal, unexpected};
use crate::operation::{self, Envelope};

/// How long a caller waits for an object, repeats included.
const TIMEOUT: Duration = Duration::from_secs(25);
/// The pauses before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// On the answer of an object whose ledger does not know it: nothing was done.
pub const OVERRIDES_WANTED_HEADER: &str = "tollgate-overrides-wanted";

/// A request needs an address. An object does not look at it.
const ADDRESS: &str = "http://object/";

/// One call.
pub struct Call<'a> {
    /// The object's class.
    pub objects: &'a ObjectNamespace,
    /// The object's name in its class.
    pub name: &'a str,
    /// What is to be done.
    pub envelope: &'a Envelope,
    /// The body.
    pub body: &'a Body,
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
        // Nothing of the client's own goes through but the body.
        let headers = Headers::new()?;
        let envelope = self.envelope.to_header().map_err(|error| JsValue::from_str(&error.to_string()))?;
        headers.set(operation::HEADER, &envelope)?;
        let init = RequestInit::new();
        if self.envelope.opening.is_some() {
            headers.set("upgrade", "websocket")?;
        } else {
            init.set_method("POST");
            if let Some(body) = self.body.to_js() {
                init.set_body(body);
            }
        }
        init.set_headers(&headers);
        let request = Request::new_with_str_and_init(ADDRESS, &init)?;
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
