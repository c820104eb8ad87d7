//! A call by its names: as the caller wrote it, and as whose rates it has. A filter may name it by either, in any of the ways in which the
//! price list, the platform and the tenant write it.

use core::cell::OnceCell;
use std::sync::Arc;

use crate::call::Call;
use crate::catalog::{Alias, Catalog, Meant, ModelName, PriceBook, Terms};
use crate::fault::{self, Fault};
use crate::quota::Names;
use crate::time::Timestamp;

/// What filters ask of a call. What takes a look at the price list is worked out when the first of them asks, and once for all.
#[derive(Debug)]
pub struct CallNames<'a> {
    call: &'a Call,
    catalog: &'a Catalog,
    prices: &'a PriceBook,
    at: Timestamp,
    meant: OnceCell<Option<Meant<'a>>>,
    aliases: OnceCell<Vec<&'a Alias>>,
}

impl<'a> CallNames<'a> {
    /// The names of a call that is made at an instant.
    #[must_use]
    pub const fn new(call: &'a Call, catalog: &'a Catalog, prices: &'a PriceBook, at: Timestamp) -> Self {
        Self { call, catalog, prices, at, meant: OnceCell::new(), aliases: OnceCell::new() }
    }

    /// The call.
    #[must_use]
    pub const fn call(&self) -> &'a Call {
        self.call
    }

    /// The model whose rates the call has, where that is not what it was called.
    #[must_use]
    pub fn rated_as(&self) -> Option<Arc<ModelName>> {
        let meant = self.meant().filter(|_| !fault::on(Fault::UsageSeesNamesAsWritten))?;
        let is_called =
            |called: Option<&crate::ids::Name>, name: &str| called.is_some_and(|called| called.as_str() == name);
        if is_called(self.call.provider.as_ref(), meant.provider) && is_called(self.call.model.as_ref(), meant.model) {
            return None;
        }
        // What the price list or a document has is a name; a test makes one of each.
        let name = ModelName { provider: meant.provider.parse().ok()?, model: meant.model.parse().ok()? };
        Some(Arc::new(name))
    }

    /// Whether the call is by one of the providers and of one of the models, where any are named: what was called, or whose rates it has.
    pub(crate) fn are_among(&self, providers: Option<&Names>, models: Option<&Names>) -> bool {
        if providers.is_none() && models.is_none() {
            return true;
        }
        let has = |names: Option<&Names>, name: Option<&str>| {
            names.is_none_or(|names| name.is_some_and(|name| names.has(name)))
        };
        let (provider, model) = (self.call.provider.as_ref(), self.call.model.as_ref());
        if has(providers, provider.map(|name| name.as_str())) && has(models, model.map(|name| name.as_str())) {
            return true;
        }
        if fault::on(Fault::FilterSeesNamesAsWritten) {
            return false;
        }
        let Some(meant) = self.meant() else { return false };
        let is_its_provider = has(providers, Some(meant.provider));
        if is_its_provider && has(models, Some(meant.model)) {
            return true;
        }
        // A filter's own names may be written otherwise, too.
        let Some(models) = models else {
            return false;
        };
        is_its_provider && models.as_slice().iter().any(|name| self.is_spelling(&meant, name.as_str()))
            || self.aliases(&meant).iter().any(|alias| {
                has(providers, Some(alias.provider.as_str()))
                    && models.has(alias.model.as_str())
                    && self.means(alias.provider.as_str(), alias.model.as_str(), &meant)
            })
    }

    fn meant(&self) -> Option<Meant<'a>> {
        *self.meant.get_or_init(|| {
            let model = self.call.model.as_ref()?.as_str();
            let (provider, model) = match &self.call.provider {
                Some(provider) => (provider.as_str(), model),
                // Nobody bills for it by name. `openai/gpt-4o` says all the same what it is.
                None => {
                    let (provider, model) = model.split_once('/')?;
                    self.catalog.model(provider, model).map(|_| (provider, model))?
                }
            };
            Some(self.prices.meant(self.catalog, provider, model, self.terms()))
        })
    }

    /// Whether a name is one that the price list has for the model besides its own.
    fn is_spelling(&self, meant: &Meant<'_>, name: &str) -> bool {
        meant.listed.is_some_and(|listed| listed.is_written(name)) && self.means(meant.provider, name, meant)
    }

    fn means(&self, provider: &str, model: &str, meant: &Meant<'_>) -> bool {
        let other = self.prices.meant(self.catalog, provider, model, self.terms());
        (other.provider, other.model) == (meant.provider, meant.model)
    }

    /// The aliases of platform and tenant that may lead to the model. Whether one does is asked where a filter names it.
    fn aliases(&self, meant: &Meant<'_>) -> &[&'a Alias] {
        self.aliases.get_or_init(|| {
            let leads = |alias: &&Alias| {
                let (provider, model) = (alias.is.provider.as_str(), alias.is.model.as_str());
                provider == meant.provider
                    && (model == meant.model || meant.listed.is_some_and(|listed| listed.is_written(model)))
            };
            self.prices.aliases().filter(leads).collect()
        })
    }

    fn terms(&self) -> Terms<'a> {
        self.call.terms(self.at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::call::{Attribution, Resource};

    fn call(provider: &str, model: &str) -> Call {
        Call {
            resource: Resource::Llm,
            user_id: None,
            provider: Some(provider.parse().unwrap()),
            model: Some(model.parse().unwrap()),
            mode: None,
            region: None,
            attribution: Attribution::default(),
        }
    }

    fn one(name: &str) -> Names {
        Names::One(name.parse().unwrap())
    }

    #[test]
    fn a_filter_on_any_model_of_the_price_list_sees_each_of_its_names_and_no_other_model() {
        let catalog = Catalog::builtin().unwrap();
        let prices = PriceBook::default();
        let at = "2026-11-24T12:00:00Z".parse().unwrap();
        for (place, model) in catalog.models().iter().enumerate() {
            let (provider, id) = (one(&model.provider), one(&model.model));
            let prefixed = format!("{}/{}", model.provider, model.model);
            let mut names: Vec<&str> = model.aliases.iter().map(String::as_str).chain([model.model.as_str()]).collect();
            // Another model may have that name itself.
            if prefixed.len() <= 128
                && catalog.model(&model.provider, &prefixed).is_some_and(|found| found.model == model.model)
            {
                names.push(&prefixed);
            }
            for name in &names {
                let called = call(&model.provider, name);
                let seen = CallNames::new(&called, catalog, &prices, at);
                assert!(seen.are_among(Some(&provider), Some(&id)), "{name} of {}", model.model);
                assert!(seen.are_among(None, Some(&id)), "{name} of {}", model.model);
                // And the other way round.
                let plain = call(&model.provider, &model.model);
                let seen = CallNames::new(&plain, catalog, &prices, at);
                assert!(seen.are_among(Some(&provider), Some(&one(name))), "{} by {name}", model.model);
                let rated_as = CallNames::new(&called, catalog, &prices, at).rated_as();
                let is = rated_as
                    .as_deref()
                    .map_or((*name, &*model.provider), |is| (is.model.as_str(), is.provider.as_str()));
                assert_eq!(is, (model.model.as_str(), model.provider.as_str()));
            }
            let others = catalog.models().iter().skip(place + 1).take_while(|other| other.provider == model.provider);
            for other in others.take(5) {
                let called = call(&other.provider, &other.model);
                let seen = CallNames::new(&called, catalog, &prices, at);
                assert!(!seen.are_among(Some(&provider), Some(&id)), "{} is not {}", other.model, model.model);
            }
        }
    }

    #[test]
    fn what_has_no_model_is_seen_by_its_provider_alone() {
        let catalog = Catalog::builtin().unwrap();
        let prices = PriceBook::default();
        let nothing = Call { model: None, ..call("openai", "gpt-4o") };
        let seen = CallNames::new(&nothing, catalog, &prices, Timestamp::default());
        assert!(seen.are_among(Some(&one("openai")), None));
        assert!(
            !seen.are_among(Some(&one("openai")), Some(&one("gpt-4o"))) && !seen.are_among(None, Some(&one("gpt-4o")))
        );
        assert_eq!(seen.rated_as(), None);
    }
}
