//! Whose eyes an answer is for.
//!
//! A tenant sees what its calls cost, for one and in sum, the price list's card where that applies, and its own agreements. What the platform has agreed on with its providers, and what it adds to
//! that, is the platform's own: of that a tenant sees that it applied, and in which version. What is stored has all of it, since that is what a settle is priced by.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{OverridesScope, RatesDocument};
use crate::ledger::{Entry, Event, Repair};
use crate::policy::UnknownModel;
use crate::price::{Basis, Charge};
use crate::time::Timestamp;

/// Whose eyes an answer is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// An administrator's: all that there is. So is that of a ledger at home, which is its own platform.
    #[default]
    Everything,
    /// Everybody else's: all but what is the platform's own.
    Tenant,
}

impl Sight {
    /// A basis as it may be seen.
    #[must_use]
    pub fn of_basis(self, basis: &Basis) -> Cow<'_, Basis> {
        match (self, &basis.applied) {
            (Self::Everything, _) | (Self::Tenant, None) => Cow::Borrowed(basis),
            (Self::Tenant, Some(applied)) => {
                let applied = applied.without_platforms();
                Cow::Owned(Basis { applied: applied.map(Arc::new), ..basis.clone() })
            }
        }
    }

    /// A charge as it may be seen.
    #[must_use]
    pub fn of_charge(self, charge: &Charge) -> Cow<'_, Charge> {
        match charge.basis.as_ref().map(|basis| self.of_basis(basis)) {
            None | Some(Cow::Borrowed(_)) => Cow::Borrowed(charge),
            Some(Cow::Owned(basis)) => Cow::Owned(Charge { basis: Some(basis), ..charge.clone() }),
        }
    }

    /// An entry as it may be seen.
    #[must_use]
    pub fn of_entry(self, entry: &Entry) -> SeenEntry<'_> {
        match self {
            Self::Everything => SeenEntry::Whole(entry),
            Self::Tenant => without_platforms(entry),
        }
    }

    fn hide(self, basis: &mut Option<Basis>) {
        if let Some(basis) = basis
            && let Cow::Owned(seen) = self.of_basis(basis)
        {
            *basis = seen;
        }
    }
}

/// An entry as somebody sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SeenEntry<'a> {
    /// As it is stored.
    Whole(&'a Entry),
    /// Without what is the platform's own.
    Partly(Box<Entry>),
    /// That the platform's document has changed, without the document.
    OverridesSet {
        /// The entry's number.
        seq: u64,
        /// When it was decided.
        at: Timestamp,
        /// What happened.
        #[serde(rename = "type")]
        kind: &'static str,
        /// Whose document it is.
        scope: OverridesScope,
        /// Its version.
        version: u64,
    },
    /// That something was repaired, and where, without what was kept there: that may be a part of any document.
    Repaired {
        /// The entry's number.
        seq: u64,
        /// When it was decided.
        at: Timestamp,
        /// What happened.
        #[serde(rename = "type")]
        kind: &'static str,
        /// Where.
        differences: Vec<RepairedPlace>,
    },
}

/// Where something was repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepairedPlace {
    /// A path in the state.
    pub place: String,
}

/// Every kind of entry is named here, so that whoever adds one says what of it a tenant sees.
fn without_platforms(entry: &Entry) -> SeenEntry<'_> {
    let (seq, at) = (entry.seq, entry.at);
    let mut seen = entry.clone();
    match &mut seen.event {
        Event::OverridesSet { scope: OverridesScope::Platform, version, .. } => {
            let (scope, version) = (OverridesScope::Platform, *version);
            return SeenEntry::OverridesSet { seq, at, kind: "overrides_set", scope, version };
        }
        Event::Repaired { differences, .. } => {
            let differences = differences.drain(..).map(|Repair { place, .. }| RepairedPlace { place }).collect();
            return SeenEntry::Repaired { seq, at, kind: "repaired", differences };
        }
        // That there are such rates is the plan's rule; what they are is the platform's own, as is what they are multiplied by.
        Event::PlanApplied { unknown_model: UnknownModel::Fallback(rates), .. } => *rates = RatesDocument::default(),
        Event::Reserved { basis, .. } | Event::Extended { basis, .. } => Sight::Tenant.hide(basis),
        Event::Metered { charged, .. }
        | Event::Settled(charged)
        | Event::SettledLate { charged, .. }
        | Event::Expired(charged)
        | Event::Recorded { charged, .. }
        | Event::Adjusted { charged, .. }
        | Event::Refunded { charged, .. } => Sight::Tenant.hide(&mut charged.charge.basis),
        Event::PlanApplied { unknown_model: UnknownModel::Deny, .. }
        | Event::QuotaSet { .. }
        | Event::QuotaRemoved { .. }
        | Event::QuotaReset { .. }
        | Event::Released { .. }
        | Event::CreditAdded { .. }
        | Event::CreditRevoked { .. }
        | Event::CreditLapsed { .. }
        | Event::LimitIncreased { .. }
        | Event::IncreaseEnded { .. }
        | Event::ThresholdCrossed { .. }
        | Event::OverridesSet { scope: OverridesScope::Tenant, .. }
        | Event::ClockSetBack { .. }
        | Event::CountersRestored { .. }
        | Event::Archived { .. } => return SeenEntry::Whole(entry),
    }
    SeenEntry::Partly(Box::new(seen))
}
