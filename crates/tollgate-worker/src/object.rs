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
use crate::log::{internal, unexpected};
use crate::router::Method;

/// How long a caller waits for an object, repeats included.
const TIMEOUT: Duration = Duration::from_secs(25);
/// The pauses before the second and the third attempt.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

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
            let (retryable, overloaded) = (is("retryable"), is("overloaded"));
            let error = worker::Error::from(error);
            if retryable && !overloaded && self.repeats_safely {
                if let Some(pause) = pauses.next() {
                    unexpected("calling an object, trying again", &error);
                    Delay::from(pause).await;
                    continue;
                }
            }
            if retryable || overloaded {
                unexpected("calling an object", &error);
                return Err(Problem::new(Code::Unavailable, "the ledger cannot be reached at the moment"));
            }
            return Err(internal("calling an object", &error));
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
        if let Some(now) = self.now {
            let headers = Headers::new()?;
            headers.set(clock::TEST_HEADER, &now.to_string())?;
            init.set_headers(&headers);
        }
        let request = Request::new_with_str_and_init(&format!("{ORIGIN}{}", self.target), &init)?;
        let stub: RawStub = self.objects.get_by_name(self.name).map_err(JsValue::from)?.into_rpc();
        JsFuture::from(stub.fetch(&request)?).await?.dyn_into()
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
