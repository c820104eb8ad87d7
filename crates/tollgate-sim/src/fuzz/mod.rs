//! Fuzzing of every decoder: what is read from the wire, from storage, from the packed price list and from providers' answers.
//!
//! Inputs are documents that are known to be right, changed at random: in their bytes, and in the tree that they are. A decoder may refuse
//! whatever it likes, and must neither panic nor hang; what it accepts must come back the same when it is written and read again.

mod corpus;
mod mutate;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tollgate_core::api::{self, Answer};
use tollgate_core::catalog::Catalog;
use tollgate_core::extract::{self, Format};
use tollgate_core::ledger::{Entry, Ledger, Reservation, Snapshot};
use tollgate_core::local::LocalLedger;
use tollgate_core::policy::Policy;
use tollgate_core::quota::Quota;
use tollgate_core::time::Timestamp;

pub use corpus::Corpus;

/// A decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A command as a batch has it, carried out by a ledger where it can be read.
    Command,
    /// A whole batch.
    Batch,
    /// The bodies that have routes of their own.
    Body,
    /// A quota.
    Quota,
    /// A policy document.
    Policy,
    /// A request for a price.
    Price,
    /// A provider's answer, whole or as the events of a stream.
    Payload,
    /// A row of the journal.
    Entries,
    /// A row of the ended reservations.
    Closed,
    /// A snapshot.
    Snapshot,
    /// The packed price list.
    Catalog,
}

impl Target {
    /// Every decoder.
    pub const ALL: [Self; 11] = [
        Self::Command,
        Self::Batch,
        Self::Body,
        Self::Quota,
        Self::Policy,
        Self::Price,
        Self::Payload,
        Self::Entries,
        Self::Closed,
        Self::Snapshot,
        Self::Catalog,
    ];
}

/// One input that a decoder must not choke on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// For which decoder.
    pub target: Target,
    /// Which one: the same number is the same input every time.
    pub number: u64,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The decoder refused the input.
    Refused,
    /// It read it.
    Read,
    /// It did what it must not.
    Broken {
        /// What.
        what: String,
        /// On which input.
        input: String,
    },
}

impl Case {
    /// Tries it.
    #[must_use]
    pub fn run(self, corpus: &Corpus, catalog: &Catalog) -> Fate {
        let mut rng = Rng::with_seed(self.number ^ ((self.target as u64) << 56));
        let input = corpus.changed(self.target, &mut rng);
        let tried = catch_unwind(AssertUnwindSafe(|| try_out(self.target, &input, catalog, &mut rng)));
        let broken = match tried {
            Ok(Ok(true)) => return Fate::Read,
            Ok(Ok(false)) => return Fate::Refused,
            Ok(Err(what)) => what,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!("it panics: {}", text.unwrap_or_default())
            }
        };
        Fate::Broken { what: broken, input: String::from_utf8_lossy(&input).into_owned() }
    }
}

/// Whether the decoder read the input.
fn try_out(target: Target, input: &[u8], catalog: &Catalog, rng: &mut Rng) -> Result<bool, String> {
    if target == Target::Catalog {
        return catalog_bytes(input);
    }
    let Ok(text) = core::str::from_utf8(input) else { return Ok(false) };
    match target {
        Target::Command => command(text, catalog),
        Target::Batch => Ok(api::parse_batch(text).is_ok()),
        Target::Body => Ok([
            api::parse_reserve(text).is_ok(),
            api::parse_explain(text).is_ok(),
            api::parse_settle(text).is_ok(),
            api::parse_release(text).is_ok(),
            api::parse_extend(text).is_ok(),
            api::parse_record(text).is_ok(),
            api::parse_onboard(text).is_ok(),
        ]
        .contains(&true)),
        Target::Quota => {
            let _ = api::parse_quota(text);
            comes_back::<Quota>(text)
        }
        Target::Policy => {
            let _ = api::parse_policy(text);
            comes_back::<Policy>(text)
        }
        Target::Price => {
            let now = Timestamp::from_millis(1_795_991_400_000).ok();
            let Ok(request) = api::parse_price(text, now) else { return Ok(false) };
            // Whether there is a price for it is another matter.
            let _ = request.price(catalog);
            Ok(true)
        }
        Target::Payload => {
            let Ok(body) = serde_json::from_str::<Value>(text) else { return Ok(false) };
            let format = Format::ALL[rng.usize(..Format::ALL.len())];
            Ok(extract::extract(format, &body).is_ok())
        }
        Target::Entries => {
            if !comes_back::<Vec<Entry>>(text)? {
                return Ok(false);
            }
            let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let mut ledger = Ledger::new();
            // What was never decided leads to a state that nobody promises anything of; folding it must not panic.
            for entry in &entries {
                ledger.evolve(entry);
            }
            Ok(true)
        }
        Target::Closed => {
            if !comes_back::<Reservation>(text)? {
                return Ok(false);
            }
            let reservation = serde_json::from_str(text).map_err(|error| error.to_string())?;
            let mut ledger = Ledger::new();
            ledger.recall(reservation);
            Ok(true)
        }
        Target::Snapshot => {
            let Ok(snapshot) = serde_json::from_str::<Snapshot>(text) else { return Ok(false) };
            settles_down(&Ledger::restore(snapshot))?;
            Ok(true)
        }
        Target::Catalog => Ok(false),
    }
}

/// A command that can be read is carried out; whatever comes of it, the answer is JSON and the state can be stored.
fn command(text: &str, catalog: &Catalog) -> Result<bool, String> {
    let Ok(request) = api::parse_command(text) else { return Ok(false) };
    let config = r#"{"tenant":"acme","plan":{"quotas":{"q":{"scope":"tenant","resource":"all","unit":"usd","limit":"10","period":"month"}}}}"#;
    let config = tollgate_core::local::LocalConfig::parse(config).map_err(|problem| problem.detail)?;
    let now = Timestamp::from_millis(1_795_991_400_000).map_err(|error| error.to_string())?;
    let mut ledger = LocalLedger::new(config, catalog, now).map_err(|problem| problem.detail)?;
    for _ in 0..2 {
        let Answer { status, body, .. } = ledger.execute(catalog, now, &request);
        if status == 500 {
            return Err(format!("it is answered {status} {body}"));
        }
        if !body.is_empty() && serde_json::from_str::<Value>(&body).is_err() {
            return Err(format!("the answer is not JSON: {body}"));
        }
    }
    settles_down(ledger.ledger())?;
    Ok(true)
}

/// What was read, written and read again is the same. False where it cannot be read.
fn comes_back<T: DeserializeOwned + Serialize + PartialEq + core::fmt::Debug>(text: &str) -> Result<bool, String> {
    let Ok(value) = serde_json::from_str::<T>(text) else { return Ok(false) };
    let written = serde_json::to_string(&value).map_err(|error| format!("it cannot be written: {error}"))?;
    let read: T = serde_json::from_str(&written).map_err(|error| format!("{written} cannot be read again: {error}"))?;
    if read == value { Ok(true) } else { Err(format!("{value:?} comes back as {read:?}")) }
}

/// A state that is stored and read is stored the same again.
fn settles_down(ledger: &Ledger) -> Result<(), String> {
    let text = |ledger: &Ledger| serde_json::to_string(&ledger.snapshot()).map_err(|error| error.to_string());
    let first = text(ledger)?;
    let read: Snapshot = serde_json::from_str(&first).map_err(|error| format!("{first} cannot be read: {error}"))?;
    let restored = Ledger::restore(read);
    let second = text(&restored)?;
    if first != second {
        return Err(format!("the state {first} comes back as {second}"));
    }
    let now = restored.now(Timestamp::default());
    for view in restored.quotas(now) {
        let _ = (view.remaining(), view.utilization());
    }
    Ok(())
}

fn catalog_bytes(input: &[u8]) -> Result<bool, String> {
    let Ok(catalog) = Catalog::open(Cow::Owned(input.to_vec())) else { return Ok(false) };
    for (provider, model) in [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("e2b", "gpu"), ("", "")] {
        let at = Timestamp::from_millis(1_795_991_400_000).map_err(|error| error.to_string())?;
        let _ = catalog.rate_card(provider, model, at);
    }
    Ok(true)
}
