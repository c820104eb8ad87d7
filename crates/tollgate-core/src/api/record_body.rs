//! Reads records: charges without a hold.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::actual_body::{PayloadBody, actual};
use super::call_body::{CallParts, SandboxBody, call};
use super::fields::Place;
use super::json;
use super::problem::Problem;
use crate::call::{Attribution, Resource};
use crate::catalog::Mode;
use crate::ids::{Name, ReservationId, UserId};
use crate::ledger::{Actual, RecordMode, RecordRequest};
use crate::meter::Usage;
use crate::money::Usd;
use crate::objects;

/// Reads a record.
///
/// # Errors
/// The field that is wrong.
pub fn parse_record(json: &str) -> Result<RecordRequest, Problem> {
    read_record(json, Place::Route)
}

pub(super) fn read_record(json: &str, place: Place) -> Result<RecordRequest, Problem> {
    let body: RecordBody = json::read(json)?;
    place.allows("op", body.op)?;
    let sandbox = body.sandbox.map(|sandbox| sandbox.bounds("sandbox")).transpose()?;
    let tier = sandbox.as_ref().map(|sandbox| &sandbox.tier);
    let parts = CallParts {
        resource: body.resource,
        user_id: body.user_id,
        provider: body.provider,
        model: body.model,
        mode: body.processing,
        region: body.region,
        attribution: body.attribution,
    };
    let call = call(parts, tier)?;
    let actual = actual(body.usage, body.usd, body.payload, sandbox.map(Actual::Sandbox))?;
    Ok(RecordRequest { id: body.id, call: call.into(), actual, mode: body.mode })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    id: ReservationId,
    #[serde(default)]
    mode: RecordMode,
    #[serde(default)]
    user_id: Option<UserId>,
    resource: Resource,
    #[serde(default)]
    provider: Option<Name>,
    #[serde(default)]
    model: Option<Name>,
    #[serde(default)]
    processing: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    usd: Option<Usd>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    sandbox: Option<SandboxBody>,
    #[serde(default, deserialize_with = "objects::object")]
    attribution: Attribution,
}
