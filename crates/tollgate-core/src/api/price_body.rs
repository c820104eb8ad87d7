//! Reads requests for a price, and answers them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::actual_body::{PayloadBody, actual};
use super::fields::Place;
use super::json;
use super::problem::Problem;
use crate::call::{Attribution, Call, Resource};
use crate::catalog::{Catalog, Mode, PriceBook, Priced};
use crate::ids::Name;
use crate::ledger::Actual;
use crate::meter::Usage;
use crate::objects;
use crate::price::{self, Charge, Unpriced};
use crate::time::Timestamp;

/// A request for a price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRequest {
    call: Call,
    usage: Usage,
    /// When the call is made, where the request says so.
    at: Option<Timestamp>,
}

impl PriceRequest {
    /// The price by the price list alone.
    ///
    /// # Errors
    /// The catalog has no price for it, or the request does not say when the call is made.
    pub fn price(&self, catalog: &Catalog) -> Result<Charge, Problem> {
        let at = self.at.ok_or_else(|| Problem::invalid("at", "missing"))?;
        self.price_with(catalog, &PriceBook::default(), at)
    }

    /// The price with own rates, aliases and markups; of a call at `now` where the request does not say when.
    ///
    /// # Errors
    /// Nobody has a price for it.
    pub fn price_with(&self, catalog: &Catalog, prices: &PriceBook, now: Timestamp) -> Result<Charge, Problem> {
        let (Some(provider), Some(model)) = (&self.call.provider, &self.call.model) else {
            return Err(Problem::invalid("model", "missing"));
        };
        let terms = self.call.terms(self.at.unwrap_or(now));
        let call = Priced { resource: self.call.resource, provider, model, terms };
        let rating = prices.rating(catalog, call).map_err(Unpriced::from)?;
        Ok(price::price(&rating, &self.usage)?)
    }
}

/// Reads a request for a price; `now` is when the call is made where the request does not say. Without it the request must say.
///
/// # Errors
/// The field that is wrong.
pub fn parse_price(json: &str, now: Option<Timestamp>) -> Result<PriceRequest, Problem> {
    let request = read_price(json, Place::Route)?;
    let at = request.at.or(now).ok_or_else(|| Problem::invalid("at", "missing"))?;
    Ok(PriceRequest { at: Some(at), ..request })
}

/// Reads a request for a price from a tenant's ledger, which has a time of its own.
///
/// # Errors
/// The field that is wrong.
pub fn parse_tenant_price(json: &str) -> Result<PriceRequest, Problem> {
    read_price(json, Place::Route)
}

pub(super) fn read_price(json: &str, place: Place) -> Result<PriceRequest, Problem> {
    let body: PriceBody = json::read(json)?;
    place.allows("op", body.op)?;
    let usage = match actual(body.usage, None, body.payload, None)? {
        Actual::Usage(usage) => usage,
        _ => {
            return Err(Problem::invalid("payload", "the answer broke off before its usage was complete"));
        }
    };
    let call = Call {
        resource: body.resource,
        user_id: None,
        provider: Some(body.provider),
        model: Some(body.model),
        mode: body.mode,
        region: body.region,
        attribution: Attribution::default(),
    };
    Ok(PriceRequest { call, usage, at: body.at })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PriceBody {
    #[serde(default)]
    op: Option<IgnoredAny>,
    provider: Name,
    model: Name,
    #[serde(default = "llm")]
    resource: Resource,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default, deserialize_with = "objects::optional_object")]
    payload: Option<PayloadBody>,
    #[serde(default)]
    at: Option<Timestamp>,
    #[serde(default)]
    mode: Option<Mode>,
    #[serde(default)]
    region: Option<Name>,
}

const fn llm() -> Resource {
    Resource::Llm
}
