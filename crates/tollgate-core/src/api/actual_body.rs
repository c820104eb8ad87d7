//! Reads what was used: settles, releases, meter readings, and the parts that records and prices share with them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::call_body::Number;
use super::fields::{Place, not_negative};
use super::json;
use super::problem::Problem;
use crate::extract::{self, Format};
use crate::ids::ReadingId;
use crate::ledger::{Actual, Reading};
use crate::meter::{Quantity, Usage};
use crate::money::Usd;
use crate::objects;

/// Reads a settle.
///
/// # Errors
/// The field that is wrong.
pub fn parse_settle(json: &str) -> Result<Actual, Problem> {
    read_settle(json, Place::Route)
}

/// Reads a release, which says nothing.
///
/// # Errors
/// The field that is wrong.
pub fn parse_release(json: &str) -> Result<(), Problem> {
    if json.trim().is_empty() {
        return Ok(());
    }
    let _: Nothing = json::read(json)?;
    Ok(())
}

/// Reads a meter reading.
///
/// # Errors
/// The field that is wrong.
pub fn parse_meter(json: &str) -> Result<Reading, Problem> {
    json::read::<MeterBody>(json)?.into_reading("")
}

pub(super) fn read_settle(json: &str, place: Place) -> Result<Actual, Problem> {
    let body: SettleBody = json::read(json)?;
    place.allows("op", body.op)?;
    place.allows("id", body.id)?;
    actual(body.usage, body.usd, body.payload, settled_sandbox(body.sandbox)?)
}

/// What was used, in the one of four ways that is given.
pub(super) fn actual(
    usage: Option<Usage>,
    usd: Option<Usd>,
    payload: Option<PayloadBody>,
    sandbox: Option<Actual>,
) -> Result<Actual, Problem> {
    match (usage, usd, payload, sandbox) {
        (Some(usage), None, None, None) => Ok(Actual::Usage(usage)),
        (None, Some(usd), None, None) => {
            not_negative("usd", usd)?;
            Ok(Actual::Usd(usd))
        }
        (None, None, Some(payload), None) => {
            let extracted = extract::extract(payload.format, &payload.body)
                .map_err(|error| Problem::payload("payload.body", &error))?;
            if extracted.complete {
                Ok(Actual::Usage(extracted.usage))
            } else {
                Ok(Actual::IncompleteUsage(extracted.usage))
            }
        }
        (None, None, None, Some(sandbox)) => Ok(sandbox),
        _ => Err(Problem::invalid("usage", "exactly one of `usage`, `usd`, `payload` and `sandbox`")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PayloadBody {
    format: Format,
    body: serde_json::Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettleBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    id: Option<IgnoredAny>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SettledSandbox>,
}

fn settled_sandbox(sandbox: Option<SettledSandbox>) -> Result<Option<Actual>, Problem> {
    let seconds = sandbox.map(|sandbox| sandbox.running()).transpose()?;
    Ok(seconds.map(Actual::SandboxSeconds))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettledSandbox {
    seconds: Number,
    /// Those of `seconds` in which it was paused, which are free.
    #[serde(default)]
    paused_seconds: Option<Number>,
}

impl SettledSandbox {
    fn running(&self) -> Result<Quantity, Problem> {
        let seconds = self.seconds.quantity("sandbox.seconds")?;
        let Some(paused) = &self.paused_seconds else { return Ok(seconds) };
        let paused = paused.quantity("sandbox.pausedSeconds")?;
        if paused > seconds {
            return Err(Problem::invalid("sandbox.pausedSeconds", "cannot be more than `seconds`"));
        }
        Ok(seconds.less(paused))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MeterBody {
    id: ReadingId,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SettledSandbox>,
}

impl MeterBody {
    pub(super) fn into_reading(self, prefix: &str) -> Result<Reading, Problem> {
        let place = |mut problem: Problem| {
            if let Some(field) = &mut problem.field {
                field.insert_str(0, prefix);
                problem.detail.insert_str(0, prefix);
            }
            problem
        };
        let sandbox = settled_sandbox(self.sandbox).map_err(place)?;
        let actual = actual(self.usage, self.usd, self.payload, sandbox).map_err(place)?;
        Ok(Reading { id: self.id, actual })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}
