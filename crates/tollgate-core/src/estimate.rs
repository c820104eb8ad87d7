//! Upper bounds: the most that a call within declared bounds can cost, and what an amount can buy.
//!
//! For every usage within the bounds, charge ≤ estimate. That holds because the estimate takes the dearest rate of any input meter in
//! any tier that the prompt can reach, the dearest rate of any output meter, and the fee per call. `tests/estimate_bound.rs`
//! checks it over the whole catalog.

use serde::Serialize;

use crate::amount::Amount;
use crate::bounds::{Amounts, Estimate, SandboxBounds, TokenBounds};
use crate::catalog::Rating;
use crate::fault::{self, Fault};
use crate::meter::{Meter, MeterKind, Quantity};
use crate::money::Usd;
use crate::price::{self, Basis, Unpriced};
use crate::quota::Unit;

/// The most that a call can cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpperBound {
    /// In every unit.
    pub amounts: Amounts,
    /// The part that the input alone can cost: what an abandoned call is charged at least.
    pub input: Amounts,
    /// Where the rates come from.
    pub basis: Option<Basis>,
    /// What one more token of the answer, or one more second of the sandbox, can cost at most.
    marginal: Option<Marginal>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Marginal {
    unit: MarginalUnit,
    /// USD that are due however short the answer or life is.
    fixed: Usd,
    /// USD for one more.
    each: Usd,
    /// The most that was asked for.
    asked: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MarginalUnit {
    OutputTokens,
    Seconds,
}

/// What would have fitted of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Affordable {
    /// The money that was left, where money was short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usd: Option<Usd>,
    /// The longest answer that fits, where the call is estimated in tokens; absent where not even the prompt fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// The longest life that fits, in whole seconds, where the call is a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl Affordable {
    /// The largest part of an estimate that fits. None where nothing worth having does.
    #[must_use]
    pub fn shrunk(&self, estimate: &Estimate) -> Option<Estimate> {
        match estimate {
            Estimate::Usd(_) => self.usd.filter(|usd| !usd.is_zero()).map(Estimate::Usd),
            Estimate::Tokens(bounds) => {
                let max_output_tokens = self.max_output_tokens.filter(|tokens| *tokens > 0)?;
                Some(Estimate::Tokens(TokenBounds { max_output_tokens, ..bounds.clone() }))
            }
            Estimate::Sandbox(bounds) => {
                let seconds = self.seconds.filter(|seconds| *seconds > 0)?;
                Some(Estimate::Sandbox(SandboxBounds {
                    seconds: Quantity::from_count(seconds).ok()?,
                    ..bounds.clone()
                }))
            }
        }
    }
}

impl UpperBound {
    /// The bound of an amount that the caller worked out.
    ///
    /// The whole of it counts as input, because it is not known what part of it is.
    #[must_use]
    pub fn of_amount(usd: Usd) -> Self {
        Self::of_amounts(Amounts { usd, requests: Quantity::ONE, ..Amounts::default() })
    }

    /// The bound of amounts that are known.
    #[must_use]
    pub const fn of_amounts(amounts: Amounts) -> Self {
        Self { amounts, input: amounts, basis: None, marginal: None }
    }

    /// What so much of each unit would buy of this call: never more than was asked for. A limit on calls buys nothing smaller than one.
    #[must_use]
    pub fn affordable(&self, left: impl IntoIterator<Item = (Unit, Amount)>) -> Affordable {
        let mut affordable = Affordable { usd: None, max_output_tokens: None, seconds: None };
        // Starts with all that was asked for; each limit takes away from it.
        let mut most = self.marginal.as_ref().map(|marginal| marginal.asked);
        for (unit, left) in left {
            let buys = match unit {
                Unit::Usd => {
                    let usd = left.as_usd();
                    affordable.usd = Some(affordable.usd.map_or(usd, |least: Usd| least.min(usd)));
                    self.marginal.as_ref().and_then(|marginal| marginal.most(usd))
                }
                Unit::Tokens => self.left_for_output(left),
                Unit::Seconds => left.whole(),
                Unit::Requests | Unit::Concurrent => None,
            };
            most = most.zip(buys).map(|(most, buys)| most.min(buys));
        }
        match self.marginal.as_ref().map(|marginal| marginal.unit) {
            Some(MarginalUnit::OutputTokens) => affordable.max_output_tokens = most,
            Some(MarginalUnit::Seconds) => affordable.seconds = most,
            None => {}
        }
        affordable
    }

    fn left_for_output(&self, left: Amount) -> Option<u64> {
        left.minus(self.input.tokens.into()).whole()
    }
}

impl Marginal {
    fn most(&self, usd: Usd) -> Option<u64> {
        let left = usd.minus(self.fixed);
        if left.is_negative() {
            return None;
        }
        // What costs nothing can be had as long as was asked for.
        let count = left.picos().checked_div(self.each.picos()).and_then(|count| u64::try_from(count).ok());
        Some(count.map_or(self.asked, |count| count.min(self.asked)))
    }
}

/// The most that a call of a model can cost.
///
/// # Errors
/// The card lacks the mode, the region or a rate that the bounds call for, or the bound is beyond what money can hold.
pub fn token_bound(rating: &Rating<'_>, bounds: &TokenBounds) -> Result<UpperBound, Unpriced> {
    let card = &rating.card;
    let missing = |meter| Unpriced::Meter { rate_card: card.id.to_string(), meter };
    let mut input_rate = None;
    let mut output_rate = None;
    let mut search_rate = None;
    let mut call_fee = Usd::ZERO;
    for prompt in core::iter::once(0).chain(card.thresholds(bounds.input_tokens)) {
        let rates = rating.rates(prompt)?;
        input_rate = input_rate.max(rates.dearest(MeterKind::InputTokens, &bounds.meters));
        output_rate = output_rate.max(rates.dearest(MeterKind::OutputTokens, &bounds.meters));
        search_rate = search_rate.max(rates.of(Meter::WebSearch).map(|found| found.rate));
        let fee = rates.of(Meter::Request).map_or(Usd::ZERO, |found| found.rate.usd());
        call_fee = call_fee.max(fee);
    }
    let at_most = |count: u64, rate: Option<crate::catalog::Rate>, meter| {
        if count == 0 {
            return Ok(Usd::ZERO);
        }
        let of = if meter == Meter::WebSearch { "web searches" } else { "tokens" };
        let quantity = Quantity::from_count(count).map_err(|_| Unpriced::TooMuch { of })?;
        price::line_price(quantity, rate.ok_or_else(|| missing(meter))?.usd())
    };
    let input = at_most(bounds.input_tokens, input_rate, Meter::Input)?.plus(call_fee);
    let searches = at_most(bounds.max_web_searches, search_rate, Meter::WebSearch)?;
    let output = at_most(bounds.max_output_tokens, output_rate, Meter::Output)?;
    let usd = input.plus(searches).plus(if fault::on(Fault::BoundForgetsOutput) { Usd::ZERO } else { output });
    usd.within_range().map_err(|_| Unpriced::TooLarge)?;
    let tokens = bounds
        .input_tokens
        .checked_add(bounds.max_output_tokens)
        .and_then(|tokens| Quantity::from_count(tokens).ok())
        .ok_or(Unpriced::TooMuch { of: "tokens" })?;
    let input_tokens = Quantity::from_count(bounds.input_tokens).map_err(|_| Unpriced::TooMuch { of: "tokens" })?;
    Ok(UpperBound {
        amounts: Amounts { usd, tokens, requests: Quantity::ONE, seconds: Quantity::ZERO },
        input: Amounts { usd: input, tokens: input_tokens, requests: Quantity::ONE, seconds: Quantity::ZERO },
        basis: Some(rating.basis()),
        marginal: output_rate.map(|rate| Marginal {
            unit: MarginalUnit::OutputTokens,
            fixed: input.plus(searches),
            each: rate.usd(),
            asked: bounds.max_output_tokens,
        }),
    })
}

/// The most that a sandbox can cost.
///
/// # Errors
/// The tier has no sandbox rates, or the bound is beyond what money can hold.
pub fn sandbox_bound(rating: &Rating<'_>, bounds: &SandboxBounds) -> Result<UpperBound, Unpriced> {
    let rates = rating.rates(0)?;
    let cost_of = |seconds| -> Result<_, Unpriced> {
        let usage = price::sandbox_usage(&rating.card, &rates, &SandboxBounds { seconds, ..bounds.clone() })?;
        price::price(rating, &usage)
    };
    let charge = cost_of(bounds.seconds)?;
    let second = cost_of(Quantity::ONE)?;
    let amounts = Amounts { usd: charge.usd, tokens: Quantity::ZERO, requests: Quantity::ONE, seconds: bounds.seconds };
    Ok(UpperBound {
        amounts,
        input: amounts,
        basis: charge.basis,
        marginal: Some(Marginal {
            unit: MarginalUnit::Seconds,
            fixed: Usd::ZERO,
            each: second.usd,
            asked: bounds.seconds.whole(),
        }),
    })
}
