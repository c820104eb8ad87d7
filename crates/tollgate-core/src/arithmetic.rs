//! A charge in words: every line of its arithmetic, with where its rates come from and what its reader should know.

use core::fmt::Write;

use crate::call::Call;
use crate::catalog::{Applied, Catalog, Flag, Priced, Rating};
use crate::meter::{Meter, MeterKind};
use crate::money::Usd;
use crate::price::{Basis, Charge, Line};
use crate::ratio::Ratio;
use crate::sight::Sight;
use crate::time::Timestamp;

/// The lines of a charge for a call made at an instant: the source of its rates, each quantity × rate × mode × region × markup, the sum, and
/// a sentence for each flag. Where the price list has changed since, and where the parts are not for the reader's eyes, a line has the price of one instead of its parts.
#[must_use]
pub fn arithmetic(catalog: &Catalog, call: &Call, at: Timestamp, charge: &Charge, sight: Sight) -> Vec<String> {
    let mut text = Vec::new();
    if let Some(basis) = &charge.basis {
        let rating = rating(catalog, call, at, basis);
        text.push(source(catalog, basis, rating.as_ref()));
        text.extend(applied(call, sight.of_basis(basis).applied.as_deref()));
        let prompt = charge.sum(MeterKind::InputTokens);
        let hides = sight != Sight::Everything && basis.applied.as_ref().is_some_and(|it| it.has_platforms_rates());
        let rating = rating.filter(|_| !hides);
        let listed = rating.as_ref().and_then(|rating| rating.listed(prompt));
        if let Some(from) = rating.as_ref().and_then(|rating| rating.card.tier_from(prompt)) {
            text.push(format!("a prompt of {prompt} tokens has the rates of those from {from} tokens"));
        }
        text.extend(charge.lines.iter().map(|line| {
            let factors = listed.as_ref().and_then(|listed| factors(listed, rating.as_ref(), line));
            format!("{} {} × {} = {} USD", line.quantity, line.meter, factors.unwrap_or_else(|| one(line)), line.usd)
        }));
    }
    text.push(if charge.lines.is_empty() {
        format!("charged {} USD as a whole", charge.usd)
    } else {
        format!("sum {} USD", charge.usd)
    });
    text.extend(charge.flags.iter().map(|flag| sentence(*flag).to_owned()));
    text
}

fn rating<'a>(catalog: &'a Catalog, call: &'a Call, at: Timestamp, basis: &Basis) -> Option<Rating<'a>> {
    let (provider, model) = call.provider.as_ref().zip(call.model.as_ref())?;
    let priced = Priced { resource: call.resource, provider, model, terms: call.terms(at) };
    match &basis.applied {
        Some(applied) => applied.rating(catalog, priced).ok(),
        None => {
            let card = catalog.rate_card(provider.as_str(), model.as_str(), at).ok()?;
            Some(Rating::of_card(catalog, card, priced.terms))
        }
    }
}

fn source(catalog: &Catalog, basis: &Basis, rating: Option<&Rating<'_>>) -> String {
    let mut text = format!("rates of {}", basis.rate_card);
    let own = basis.applied.as_ref().is_some_and(|applied| applied.rates.is_some() || applied.fallback.is_some());
    // Writing to a string does not fail.
    let _infallible = match (rating, own) {
        (_, true) => Ok(()),
        (Some(rating), false) if basis.catalog == *catalog.version() => write!(
            text,
            ", in the price list of {} from {}, {}",
            basis.catalog,
            rating.card.source,
            rating.card.confidence.name()
        ),
        _ => write!(text, ", in the price list of {}", basis.catalog),
    };
    text
}

fn applied(call: &Call, applied: Option<&Applied>) -> Vec<String> {
    let Some(applied) = applied else { return Vec::new() };
    let mut text = Vec::new();
    if let (Some(alias), Some(model)) = (&applied.alias, &call.model) {
        let (scope, version) = (alias.scope, alias.version);
        text.push(format!(
            "{model} stands for {}/{} ({scope} overrides, version {version})",
            alias.is.provider, alias.is.model
        ));
    }
    if let Some(rates) = &applied.rates {
        text.push(format!("own rates ({} overrides, version {})", rates.scope, rates.version));
    }
    if let Some(markup) = &applied.markup {
        let (scope, version) = (markup.scope, markup.version);
        text.push(format!(
            "every rate × {}: markup {} ({scope} overrides, version {version})",
            markup.factor, markup.id
        ));
    }
    if let Some(version) = applied.platform_version {
        text.push(format!("the platform's terms (version {version})"));
    }
    text
}

/// `rate × factor × …`, where their product is the price that was charged.
fn factors(listed: &crate::catalog::Listed<'_>, rating: Option<&Rating<'_>>, line: &Line) -> Option<String> {
    let rate = listed.rates.of(line.meter)?.rate;
    let mut text = one_or_million(line.meter, rate.usd());
    for (name, _) in listed.named.iter().filter(|(_, rates)| rates.get(line.meter).is_some()) {
        text.push_str(&format!(" ({name})"));
    }
    let mut multiplier = Ratio::ONE;
    for (name, by) in listed.multipliers.iter().filter(|_| line.meter.is_token()) {
        multiplier = multiplier.times(*by);
        text.push_str(&format!(" × {by} ({name})"));
    }
    let mut price = if multiplier == Ratio::ONE { rate } else { rate.times(multiplier) };
    if let Some(markup) = rating.and_then(Rating::markup) {
        price = price.times(markup.factor);
        text.push_str(&format!(" × {} (markup {})", markup.factor, markup.id));
    }
    (price.usd() == line.unit_price).then_some(text)
}

fn one_or_million(meter: Meter, rate: Usd) -> String {
    if meter.is_token() {
        format!("{} USD per 1000000", Usd::from_picos(rate.picos().saturating_mul(1_000_000)))
    } else {
        format!("{rate} USD")
    }
}

fn one(line: &Line) -> String {
    format!("{} USD", line.unit_price)
}

const fn sentence(flag: Flag) -> &'static str {
    match flag {
        Flag::CacheWritePricedAsInput => "the card has no rate for cache writes: they were priced as input",
        Flag::MediaPricedAsInput => "the card has no rate for images or video: they were priced as text input",
        Flag::FallbackRates => "the price list does not know the model: the policy's fallback rates were taken",
        Flag::IncompleteUsage => {
            "the answer broke off before its usage was complete: at least what was held was charged"
        }
        Flag::Expired => "nobody reported what was used: the charge is what the expiry rule says",
    }
}
