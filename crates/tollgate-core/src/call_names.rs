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
