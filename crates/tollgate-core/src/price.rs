//! The exact price of a usage: quantity × rate, line by line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::bounds::SandboxBounds;
use crate::catalog::{Applied, EffectiveRates, Flag, NoRates, RateCard, Rating};
use crate::meter::{Meter, MeterKind, Quantity, Usage};
use crate::money::Usd;

/// What a call costs, with the arithmetic that leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// The sum of the lines; or the amount itself, where money was given instead of usage.
    pub usd: Usd,
    /// One line per meter that was used.
    pub lines: Vec<Line>,
    /// Where the rates come from. None where money was given instead of usage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// What the reader should know about the price.
    pub flags: Vec<Flag>,
}

/// One meter's part of a charge: `usd` = `quantity` × `unit_price`, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// What was counted.
    pub meter: Meter,
    /// How much.
    pub quantity: Quantity,
    /// USD for one.
    pub unit_price: Usd,
    /// USD for all.
    pub usd: Usd,
}

/// The rates a price was computed with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// The catalog's version.
    pub catalog: Arc<str>,
    /// The rate card's id, `provider/model@date`; own rates have the scope of their document before it, `tenant:provider/model@date`.
    pub rate_card: Arc<str>,
    /// What applied besides the price list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Arc<Applied>>,
}

/// Why a usage has no price.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// The catalog has no rates for the call.
    #[error(transparent)]
    NoRates(#[from] NoRates),
    /// The rate card has no rate for a meter that was used, and none that could stand in for it.
    #[error("`{rate_card}` has no rate for `{meter}`")]
    Meter {
        /// The card's id.
        rate_card: String,
        /// What was used.
        meter: Meter,
    },
    /// A sandbox tier has a rate for a resource that was not named.
    #[error("`{rate_card}` is priced by `{resource}`, which is missing")]
    MissingResource {
        /// The card's id.
        rate_card: String,
        /// The field on the wire.
        resource: &'static str,
    },
    /// The rate card is not of a sandbox tier.
    #[error("`{rate_card}` has no rates for sandboxes")]
    NotASandbox {
        /// The card's id.
        rate_card: String,
    },
    /// The quantities and rates are beyond what money can hold.
    #[error("the price is beyond 1000000000 USD")]
    TooLarge,
    /// There is more of something, taken together, than is counted.
    #[error("more than 1000000000000 {of} are not counted")]
    TooMuch {
        /// Of what.
        of: &'static str,
    },
}

impl Charge {
    /// A charge of a given amount, without lines.
    #[must_use]
    pub const fn of_amount(usd: Usd) -> Self {
        Self { usd, lines: Vec::new(), basis: None, flags: Vec::new() }
    }

    /// The charge with a flag added.
    #[must_use]
    pub fn flagged(mut self, flag: Flag) -> Self {
        if let Err(at) = self.flags.binary_search(&flag) {
            self.flags.insert(at, flag);
        }
        self
    }

    /// The quantities of all lines of a kind together, in whole units: tokens and events have no parts.
    #[must_use]
    pub fn sum(&self, kind: MeterKind) -> u64 {
        self.lines.iter().filter(|line| line.meter.kind() == kind).map(|line| line.quantity.whole()).sum()
    }
}

/// The exact price of a usage.
///
/// # Errors
/// The card lacks the mode, the region or a meter's rate, or the price is beyond what money can hold.
pub fn price(rating: &Rating<'_>, usage: &Usage) -> Result<Charge, Unpriced> {
    let card = &rating.card;
    let rates = rating.rates(usage.sum(MeterKind::InputTokens))?;
    let mut charge =
        Charge { usd: Usd::ZERO, lines: Vec::with_capacity(4), basis: Some(rating.basis()), flags: Vec::new() };
    for (meter, quantity) in usage.iter() {
        let found = rates.of(meter).ok_or_else(|| Unpriced::Meter { rate_card: card.id.to_string(), meter })?;
        let usd = line_price(quantity, found.rate.usd())?;
        charge.usd = charge.usd.plus(usd);
        charge.lines.push(Line { meter, quantity, unit_price: found.rate.usd(), usd });
        if let Some(flag) = found.flag {
            charge = charge.flagged(flag);
        }
    }
    charge.usd.within_range().map_err(|_| Unpriced::TooLarge)?;
    Ok(charge)
}

/// What a sandbox uses in its life: resources × seconds, in the meters that its tier has rates for.
///
/// # Errors
/// The tier has no sandbox rates, a resource that it has a rate for is not named, or the quantities are too large.
pub fn sandbox_usage(card: &RateCard, rates: &EffectiveRates<'_>, bounds: &SandboxBounds) -> Result<Usage, Unpriced> {
    let mut usage = Usage::new();
    let mut priced = false;
    for (meter, of, resource) in [
        (Meter::VcpuSecond, "vCPU-seconds", Some(("vcpus", bounds.vcpus))),
        (Meter::GibSecond, "GiB-seconds", Some(("memoryGib", bounds.memory_gib))),
        (Meter::SandboxSecond, "seconds", None),
    ] {
        let too_much = Unpriced::TooMuch { of };
        if !rates.has(meter) {
            continue;
        }
        priced = true;
        let quantity = match resource {
            None => bounds.seconds,
            Some((_, Some(allocated))) => bounds.seconds.times(allocated).map_err(|_| too_much.clone())?,
            Some((resource, None)) => {
                return Err(Unpriced::MissingResource { rate_card: card.id.to_string(), resource });
            }
        };
        usage.add(meter, quantity).map_err(|_| too_much)?;
    }
    if priced { Ok(usage) } else { Err(Unpriced::NotASandbox { rate_card: card.id.to_string() }) }
}

/// Quantity × rate. Exact: a quantity has 6 decimals at most and a rate 12, and what is beyond the 12 decimals of money can only
/// come from a fractional quantity; that is rounded up, so that a sum of parts is never less than the whole.
pub(crate) fn line_price(quantity: Quantity, rate: Usd) -> Result<Usd, Unpriced> {
    let rate = rate.picos();
    let picos = if quantity.is_whole() {
        rate.checked_mul(quantity.whole().into())
    } else {
        // A rate is not negative, so that away from zero is up.
        let millionths = rate.checked_mul(quantity.micros().into());
        millionths
            .map(|product| (product + i128::from(Quantity::MICROS_PER_ONE) - 1) / i128::from(Quantity::MICROS_PER_ONE))
    };
    Usd::from_picos(picos.ok_or(Unpriced::TooLarge)?).within_range().map_err(|_| Unpriced::TooLarge)
}
