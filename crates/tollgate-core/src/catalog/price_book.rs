//! Which rates a call has: the price list's, or what the platform or the tenant has agreed on.

use core::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::overrides::{Alias, ModelName, Overrides, OverridesScope, OwnRates};
use super::{Catalog, EffectiveRates, Listed, Model, NoRates, RateCard, RatesDocument, Terms};
use crate::call::Resource;
use crate::ids::Name;
use crate::objects;
use crate::price::Basis;
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// The id of the card of a policy's rates for unknown models.
const FALLBACK: &str = "policy/fallback";

/// The agreements of a tenant and of its platform.
#[derive(Clone, Debug, Default)]
pub struct PriceBook {
    /// The platform's.
    pub platform: Option<Overrides>,
    /// The tenant's, which come first.
    pub tenant: Option<Overrides>,
}

/// What applied to a charge besides the price list. It says all that is needed to price the same call again: a settle has the rates of
/// its reservation, whatever documents have come since.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The model that the call's name stood for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<AppliedAlias>,
    /// The rates that were taken instead of the price list's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<AppliedRates>,
    /// The policy's rates for unknown models, where the call's is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<RatesDocument>,
    /// The factor that whichever rates were taken were multiplied by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markup: Option<AppliedMarkup>,
}

/// See [`Applied::alias`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedAlias {
    /// Whose document says so.
    pub scope: OverridesScope,
    /// Its version.
    pub version: u64,
    /// What the name stood for.
    #[serde(deserialize_with = "objects::object")]
    pub is: ModelName,
}

/// See [`Applied::rates`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRates {
    /// Whose document says so.
    pub scope: OverridesScope,
    /// Its version.
    pub version: u64,
    /// The entry.
    #[serde(deserialize_with = "objects::object")]
    pub entry: OwnRates,
}

/// See [`Applied::markup`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMarkup {
    /// Whose document says so.
    pub scope: OverridesScope,
    /// Its version.
    pub version: u64,
    /// The entry's id.
    pub id: Name,
    /// What every rate was multiplied by.
    pub factor: Ratio,
}

/// The rates of one call, and where they come from.
#[derive(Clone, Debug)]
pub struct Rating<'a> {
    /// The price list.
    pub catalog: &'a Catalog,
    /// The card.
    pub card: Card<'a>,
    /// What chooses among its rates.
    pub terms: Terms<'a>,
    /// What applies besides.
    pub applied: Option<Arc<Applied>>,
}

impl<'a> Rating<'a> {
    /// By a card alone.
    #[must_use]
    pub const fn of_card(catalog: &'a Catalog, card: &'a RateCard, terms: Terms<'a>) -> Self {
        Self { catalog, card: Card::Listed(card), terms, applied: None }
    }

    /// The rates that apply to a prompt of so many tokens (all input meters together).
    ///
    /// # Errors
    /// The card does not have the mode or region.
    pub fn rates(&self, prompt_tokens: u64) -> Result<EffectiveRates<'_>, NoRates> {
        let rates = self.card.rates(prompt_tokens, self.terms)?;
        Ok(match self.markup() {
            None => rates,
            Some(markup) => rates.times(markup.factor),
        })
    }

    /// The rates before anything multiplies them. None where the card lacks the mode or region.
    pub(crate) fn listed(&self, prompt_tokens: u64) -> Option<Listed<'_>> {
        self.card.listed(prompt_tokens, self.terms).ok()
    }

    /// The markup, where there is one.
    #[must_use]
    pub fn markup(&self) -> Option<&AppliedMarkup> {
        self.applied.as_ref().and_then(|applied| applied.markup.as_ref())
    }

    /// Whether the rates are a policy's for unknown models.
    #[must_use]
    pub fn is_fallback(&self) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.fallback.is_some())
    }

    /// What a charge or estimate says of its rates.
    #[must_use]
    pub fn basis(&self) -> Basis {
        Basis {
            catalog: self.catalog.version().clone(),
            rate_card: self.card.id.clone(),
            applied: self.applied.clone(),
        }
    }
}

/// A rate card of the price list, or one that was made for a call. That is rare, and apart, so that ratings are small.
#[derive(Clone, Debug)]
pub enum Card<'a> {
    /// The price list's, or a document's.
    Listed(&'a RateCard),
    /// Made of what applied to a charge.
    Made(Box<RateCard>),
}

impl Deref for Card<'_> {
    type Target = RateCard;

    fn deref(&self) -> &RateCard {
        match self {
            Self::Listed(card) => card,
            Self::Made(card) => card,
        }
    }
}

/// The model that a name stands for: the one whose rates a call of that name has.
#[derive(Clone, Copy, Debug)]
pub struct Meant<'a> {
    /// Who bills for it.
    pub provider: &'a str,
    /// Its exact id.
    pub model: &'a str,
    /// What the price list has of it, under whichever name.
    pub listed: Option<&'a Model>,
}

/// Whose call it is that is to be priced.
#[derive(Clone, Copy, Debug)]
pub struct Priced<'a> {
    /// What kind of budget it draws on.
    pub resource: Resource,
    /// Who bills for it.
    pub provider: &'a Name,
    /// The model or tier, as the caller names it.
    pub model: &'a Name,
    /// What else chooses among rates.
    pub terms: Terms<'a>,
}

impl PriceBook {
    /// Whether there is nothing but the price list.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.platform.is_none() && self.tenant.is_none()
    }

    /// The document of a scope.
    #[must_use]
    pub const fn of(&self, scope: OverridesScope) -> Option<&Overrides> {
        match scope {
            OverridesScope::Platform => self.platform.as_ref(),
            OverridesScope::Tenant => self.tenant.as_ref(),
        }
    }

    /// Puts a document in the place of its scope's.
    pub fn put(&mut self, overrides: Overrides) {
        match overrides.scope {
            OverridesScope::Platform => self.platform = Some(overrides),
            OverridesScope::Tenant => self.tenant = Some(overrides),
        }
    }

    /// The rates of a call: the tenant's own, or the platform's, or the price list's, under the name that an alias leads to; with the
    /// tenant's markup, or the platform's. Own rates that lack the call's mode or region say nothing about it.
    ///
    /// # Errors
    /// Nobody has rates for the call.
    pub fn rating<'a>(&'a self, catalog: &'a Catalog, call: Priced<'a>) -> Result<Rating<'a>, NoRates> {
        let Priced { provider, model, terms, .. } = call;
        if self.is_empty() {
            let card = catalog.rate_card(provider.as_str(), model.as_str(), terms.at)?;
            return Ok(Rating::of_card(catalog, card, terms));
        }
        let alias = self.alias(provider.as_str(), model.as_str(), terms.at);
        let (provider, model) = alias.map_or((provider, model), |(_, is)| (&is.provider, &is.model));
        let own = self.own_rates(provider.as_str(), model.as_str(), terms);
        let card = match own {
            Some((_, _, card)) => card,
            None => match catalog.rate_card(provider.as_str(), model.as_str(), terms.at) {
                Ok(card) => card,
                // A model that only own rates know, in a mode or region that they lack.
                Err(unknown) => {
                    let (provider, model) = (provider.as_str(), model.as_str());
                    self.layers().find_map(|layer| layer.rates(provider, model, terms.at)).ok_or(unknown)?.1
                }
            },
        };
        let applied = Applied {
            fallback: None,
            alias: alias.map(|(layer, is)| AppliedAlias { scope: layer.scope, version: layer.version, is: is.clone() }),
            rates: own.map(|(layer, entry, _)| AppliedRates {
                scope: layer.scope,
                version: layer.version,
                entry: entry.clone(),
            }),
            markup: self.markup(call.resource, (provider, model), terms.at),
        };
        let applied = (applied != Applied::default()).then(|| Arc::new(applied));
        Ok(Rating { applied, ..Rating::of_card(catalog, card, terms) })
    }

    /// The model that a name stands for, by the rules of [`PriceBook::rating`]: what an alias leads to; of that, what has rates of its own is a model of its own,
    /// and anything else is what the price list takes it for. What nobody knows stands for itself.
    #[must_use]
    pub fn meant<'a>(&'a self, catalog: &'a Catalog, provider: &'a str, model: &'a str, terms: Terms<'_>) -> Meant<'a> {
        let alias = self.alias(provider, model, terms.at);
        let (provider, model) = alias.map_or((provider, model), |(_, is)| (is.provider.as_str(), is.model.as_str()));
        let listed = catalog.model(provider, model);
        match listed {
            Some(known) if self.own_rates(provider, model, terms).is_none() => {
                Meant { provider: &known.provider, model: &known.model, listed }
            }
            _ => Meant { provider, model, listed },
        }
    }

    /// Every alias, the tenant's first.
    pub(crate) fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.layers().flat_map(|layer| &layer.document.aliases)
    }

    /// What applies to a call whose rates nobody has, and to which a policy gives these.
    #[must_use]
    pub fn fallback(&self, rates: &RatesDocument, call: Priced<'_>) -> Arc<Applied> {
        let alias = self.alias(call.provider.as_str(), call.model.as_str(), call.terms.at);
        let model = alias.map_or((call.provider, call.model), |(_, is)| (&is.provider, &is.model));
        let markup = self.markup(call.resource, model, call.terms.at);
        Arc::new(Applied { fallback: Some(rates.clone()), markup, ..Applied::default() })
    }

    fn layers(&self) -> impl Iterator<Item = &Overrides> {
        self.tenant.iter().chain(&self.platform)
    }

    /// The first document that knows the name decides: whether it is an alias, or has rates of its own.
    fn alias(&self, provider: &str, model: &str, at: Timestamp) -> Option<(&Overrides, &ModelName)> {
        for layer in self.layers() {
            if let Some(is) = layer.alias(provider, model, at) {
                return Some((layer, is));
            }
            if layer.rates(provider, model, at).is_some() {
                return None;
            }
        }
        None
    }

    fn own_rates(&self, provider: &str, model: &str, terms: Terms<'_>) -> Option<(&Overrides, &OwnRates, &RateCard)> {
        self.layers().find_map(|layer| {
            let (entry, card) = layer.rates(provider, model, terms.at)?;
            card.covers(terms).then_some((layer, entry, card))
        })
    }

    /// The markup of a model, by the name that an alias leads to.
    fn markup(&self, resource: Resource, model: (&Name, &Name), at: Timestamp) -> Option<AppliedMarkup> {
        self.layers().find_map(|layer| {
            let markup = layer.markup(resource, model, at)?;
            let factor = markup.factor();
            Some(AppliedMarkup { scope: layer.scope, version: layer.version, id: markup.id.clone(), factor })
        })
    }
}

impl Applied {
    /// The rates that a charge with this basis had, for the same call.
    ///
    /// # Errors
    /// The price list does not have them.
    pub fn rating<'a>(self: &Arc<Self>, catalog: &'a Catalog, call: Priced<'a>) -> Result<Rating<'a>, NoRates> {
        let is = self.alias.as_ref().map(|alias| &alias.is);
        let (provider, model) = is.map_or((call.provider, call.model), |is| (&is.provider, &is.model));
        let (provider, model) = (provider.as_str(), model.as_str());
        // What was applied was checked before.
        let unknown = || NoRates::UnknownModel { provider: provider.to_owned(), model: model.to_owned() };
        let card = match (&self.rates, &self.fallback) {
            (Some(rates), _) => Card::Made(rates.entry.card(rates.scope, "rates").map_err(|_| unknown())?.into()),
            (None, Some(rates)) => Card::Made(rates.to_rate_card(FALLBACK).map_err(|_| unknown())?.into()),
            (None, None) => Card::Listed(catalog.rate_card(provider, model, call.terms.at)?),
        };
        let terms = match self.fallback {
            None => call.terms,
            // The fallback's rates hold in every mode and region.
            Some(_) => Terms { at: call.terms.at, mode: None, region: None },
        };
        Ok(Rating { catalog, card, terms, applied: Some(Arc::clone(self)) })
    }
}
