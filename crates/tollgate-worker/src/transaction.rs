//! `transactionSync` of SQLite-backed Durable Objects, which the `worker` crate does not bind.
//!
//! Writes that have no `.await` between them survive a crash all together or not at all, but an error or a panic after the
//! first of them leaves it written. Inside [`transaction_sync`] nothing is left behind either.

use std::fmt;

use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use worker::Storage;

/// Why a transaction left nothing behind.
#[derive(Debug)]
pub enum TransactionError<E> {
    /// The body returned this error; every write that it made was rolled back.
    Body(E),
    /// The storage threw: it could not begin or commit. Nothing was written; the caller may try again with the same ids.
    Storage(worker::Error),
}

impl<E: fmt::Display> fmt::Display for TransactionError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => write!(f, "rolled back: {error}"),
            Self::Storage(error) => write!(f, "the storage failed: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for TransactionError<E> {}

/// Runs `body` in one transaction of the object's SQLite database and returns what it returned.
///
/// The body is synchronous, so no other request runs in between. It must not start another transaction: the runtime
/// nests them as savepoints, and a reader would have to know which one a write belongs to.
///
/// # Errors
/// [`TransactionError::Body`] when `body` returned an error, [`TransactionError::Storage`] when the storage threw. Either way
/// nothing was written. A panic in `body` rolls back too, and takes the instance down.
pub fn transaction_sync<T, E>(
    storage: &Storage,
    body: impl FnOnce() -> Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let mut body = Some(body);
    let mut outcome = None;
    let answer = {
        let mut call = || match body.take() {
            Some(body) => {
                let result = body();
                let verdict = if result.is_ok() {
                    Ok(JsValue::UNDEFINED)
                } else {
                    Err(JsValue::from_str("the body asked for a roll-back"))
                };
                outcome = Some(result);
                verdict
            }
            None => Err(JsValue::from_str("the body ran already")),
        };
        storage.as_raw().unchecked_ref::<SyncStorage>().transaction_sync(&mut call)
    };
    match (answer, outcome) {
        (Ok(_), Some(Ok(value))) => Ok(value),
        (_, Some(Err(error))) => Err(TransactionError::Body(error)),
        (Err(thrown), _) => Err(TransactionError::Storage(thrown.into())),
        (Ok(_), None) => Err(TransactionError::Storage(worker::Error::RustError(
            "transactionSync returned without running its body".to_owned(),
        ))),
    }
}

#[wasm_bindgen]
extern "C" {
    /// `ctx.storage`, as far as the `worker` crate does not know it.
    type SyncStorage;

    /// A borrowed closure, so that the body may use the caller's locals.
    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &SyncStorage,
        body: &mut dyn FnMut() -> Result<JsValue, JsValue>,
    ) -> Result<JsValue, JsValue>;
}
