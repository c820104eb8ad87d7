//! A Durable Object's one alarm.

use std::cell::Cell;
use std::rc::Rc;

use tollgate_core::time::Timestamp;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_futures::spawn_local;
use worker::Storage;

use crate::log::unexpected;
use crate::sql::RowsWritten;

/// How soon the alarm goes off again after its work failed.
const AGAIN_SECONDS: u32 = 5;

/// The alarm, and when it is set to go off. Setting it writes a row, so it is set only where it would otherwise go off too late; one that
/// goes off too early finds nothing to do and is set anew.
pub struct Alarm {
    storage: Storage,
    written: RowsWritten,
    set_to: Rc<Cell<SetTo>>,
}

#[derive(Clone, Copy)]
enum SetTo {
    /// Nobody has looked since the object started, or setting it failed.
    Unknown,
    Nothing,
    At(Timestamp),
}

impl Alarm {
    /// The alarm of the object behind `storage`; rows that it costs are counted into `written`.
    #[must_use]
    pub fn new(storage: Storage, written: RowsWritten) -> Self {
        Self { storage, written, set_to: Rc::new(Cell::new(SetTo::Unknown)) }
    }

    /// Finds out when it is set to go off, unless that is known.
    pub async fn learn(&self) {
        if !matches!(self.set_to.get(), SetTo::Unknown) {
            return;
        }
        let found = match self.storage.get_alarm().await {
            Ok(found) => found,
            Err(error) => {
                // Setting it once too often does no harm.
                unexpected("looking up the alarm", &error);
                None
            }
        };
        let found = found.and_then(|millis| Timestamp::from_millis(millis).ok());
        // It may have been set, or gone off, while we waited.
        if matches!(self.set_to.get(), SetTo::Unknown) {
            self.set_to.set(found.map_or(SetTo::Nothing, SetTo::At));
        }
    }

    /// It is going off, and so is not set any more.
    pub fn went_off(&self) {
        self.set_to.set(SetTo::Nothing);
    }

    /// Sees to it that it goes off at `deadline` or earlier. What is set takes effect together with the writes of the same turn.
    pub fn arm(&self, deadline: Option<Timestamp>) {
        let Some(deadline) = deadline else { return };
        if matches!(self.set_to.get(), SetTo::At(set) if set <= deadline) {
            return;
        }
        self.set(deadline);
    }

    /// Sees to it that it goes off again in a few seconds.
    pub fn arm_soon(&self, now: Timestamp) {
        self.arm(Some(now.plus_seconds(AGAIN_SECONDS)));
    }

    fn set(&self, at: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "a timestamp's milliseconds are below 2⁵³")]
        let date = js_sys::Date::new(&JsValue::from_f64(at.millis() as f64));
        match self.storage.as_raw().set_alarm(date, JsValue::NULL.into()) {
            Ok(promise) => {
                self.written.add(1);
                self.set_to.set(SetTo::At(at));
                let set_to = Rc::clone(&self.set_to);
                spawn_local(async move {
                    if let Err(error) = JsFuture::from(promise).await {
                        set_to.set(SetTo::Unknown);
                        unexpected("setting the alarm", &worker::Error::from(error));
                    }
                });
            }
            Err(error) => {
                self.set_to.set(SetTo::Unknown);
                unexpected("setting the alarm", &worker::Error::from(error));
            }
        }
    }
}
