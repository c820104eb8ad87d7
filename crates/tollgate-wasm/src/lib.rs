//! Tollgate's core for JavaScript.
//!
//! JSON text crosses the boundary in both directions, in the same form as the Worker's batch commands and results, so that the
//! package and the Worker cannot differ. Nothing throws: what is wrong with a request is in the answer. An answer is three digits of
//! status with the JSON of its body behind them.

mod pricer;

use tollgate_core::api::{self, Answer, Code, Problem};
use tollgate_core::catalog::{Catalog, CatalogError};
use tollgate_core::local::{LocalConfig, LocalLedger};
use tollgate_core::time::Timestamp;
use wasm_bindgen::prelude::wasm_bindgen;

/// One tenant's ledger in memory.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Ledger(Result<LocalLedger, Problem>);

#[wasm_bindgen]
impl Ledger {
    /// A ledger that starts as `config_json` says, at `now_ms` milliseconds since 1970. What is wrong with either is the answer to
    /// every command.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(config_json: &str, now_ms: f64) -> Self {
        Self(open(config_json, now_ms))
    }

    /// Carries out one command, `{"op":"reserve",…}`, and answers `201{…}`.
    pub fn execute(&mut self, command_json: &str, now_ms: f64) -> String {
        let answer = match &mut self.0 {
            Err(problem) => Answer::problem(problem),
            Ok(ledger) => carry_out(ledger, command_json, now_ms).unwrap_or_else(|problem| Answer::problem(&problem)),
        };
        answer.into_text()
    }
}

/// The price of a usage, `{"provider":…,"model":…,"at":…,"usage":{…}}`.
#[wasm_bindgen]
#[must_use]
pub fn price(request_json: &str) -> String {
    let answer = catalog()
        .and_then(|catalog| api::parse_price(request_json, None)?.price(catalog))
        .map_or_else(|problem| Answer::problem(&problem), |charge| Answer::json(200, &charge));
    answer.into_text()
}

/// The date of the price list's last change.
#[wasm_bindgen(js_name = catalogVersion)]
#[must_use]
pub fn catalog_version() -> String {
    Catalog::builtin().map(|catalog| catalog.version().to_string()).unwrap_or_default()
}

fn open(config_json: &str, now_ms: f64) -> Result<LocalLedger, Problem> {
    LocalLedger::new(LocalConfig::parse(config_json)?, catalog()?, at(now_ms)?)
}

fn carry_out(ledger: &mut LocalLedger, command_json: &str, now_ms: f64) -> Result<Answer, Problem> {
    let request = api::parse_command(command_json)?;
    Ok(ledger.execute(catalog()?, at(now_ms)?, &request))
}

fn catalog() -> Result<&'static Catalog, Problem> {
    Catalog::builtin().map_err(|error: CatalogError| Problem::new(Code::Internal, error.to_string()))
}

/// JavaScript's times are floating-point numbers of milliseconds.
fn at(now_ms: f64) -> Result<Timestamp, Problem> {
    let invalid = || Problem::invalid("now", "must be milliseconds since 1970");
    if !now_ms.is_finite() {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a fraction of a millisecond does not matter, and the range is checked"
    )]
    let millis = now_ms as i64;
    Timestamp::from_millis(millis).map_err(|_| invalid())
}
