//! Whether a call fits: what is needed against what is left, of every quota that covers it.

use super::amounts::{Amounts, ONE, Pico, Unit};
use super::calendar::{Period, SECOND};
use super::prices::Rates;
use super::words::{Call, Definition, Estimate, plan};
use super::{Model, Place, Quota, Span};

/// The quotas that did not fit, the one that ends last first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    pub(super) tight: Vec<Tight>,
    /// The dollars that were left, where dollars were short.
    pub(super) usd: Option<Pico>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tight {
    pub(super) id: String,
    /// What was set.
    pub(super) limit: Pico,
    /// What is in force.
    pub(super) effective: Pico,
    pub(super) spent: Pico,
    pub(super) held: Pico,
    /// What of it is the caller's own already.
    own: Pico,
    end: Option<i64>,
    pub(super) resets_at: Option<i64>,
    unit: Unit,
}

impl Tight {
    pub(super) fn left(&self) -> Pico {
        (self.effective - self.spent - self.held).max(0)
    }
}

impl Model {
    /// Where a call is counted, if it fits everywhere.
    pub(super) fn admit(&self, call: &Call, amounts: &Amounts, holds: bool, now: i64) -> Result<Vec<Place>, Denial> {
        let covering: Vec<_> = self
            .quotas
            .iter()
            .filter(|(_, quota)| quota.definition.covers(call, &self.overrides, now))
            .map(|(id, quota)| {
                let unit = quota.definition.unit;
                let needed = if holds { unit.held(amounts) } else { unit.spent(amounts) };
                (id, quota, quota.definition.span(now), needed, 0)
            })
            .collect();
        if let Some(denial) = self.denial(covering.iter().copied(), now) {
            return Err(denial);
        }
        if covering.is_empty() && self.plan.is_some_and(|which| plan(which).denies_without_quota) {
            return Err(Denial { tight: Vec::new(), usd: None });
        }
        Ok(covering.into_iter().map(|(_, quota, ..)| (quota.identity, quota.definition.place(now))).collect())
    }

    /// A denial by the quotas that do not have so much left. Each comes with what is needed, and what of it is the caller's own already.
    pub(super) fn denial<'a>(
        &'a self,
        needs: impl Iterator<Item = (&'a String, &'a Quota, Span, Pico, Pico)>,
        now: i64,
    ) -> Option<Denial> {
        let mut tight: Vec<Tight> = needs
            .filter_map(|(id, quota, span, needed, own)| {
                let (spent, held) = (self.spent(quota, span), self.held(quota, span));
                let Definition { limit, unit, .. } = quota.definition;
                let effective = self.limit(quota, span, now);
                let short = !quota.definition.warns_only && spent + held + needed > effective;
                let end = match span {
                    Span::Period(start) => quota.definition.around(start).1,
                    Span::From(_) => self.has_room_at(quota, span, needed, effective),
                };
                let resets_at = end.filter(|end| *end > now);
                short.then(|| Tight { id: id.clone(), limit, effective, spent, held, own, end, resets_at, unit })
            })
            .collect();
        if tight.is_empty() {
            return None;
        }
        tight.sort_by_key(|quota| (core::cmp::Reverse(quota.end.unwrap_or(i64::MAX)), quota.left(), quota.id.clone()));
        let usd = tight.iter().filter(|quota| quota.unit == Unit::Usd).map(|quota| quota.left() + quota.own);
        Some(Denial { usd: usd.min(), tight })
    }

    /// When so much has left a rolling window that so much more fits; for more than the limit, when all has.
    fn has_room_at(&self, quota: &Quota, span: Span, needed: Pico, limit: Pico) -> Option<i64> {
        let Period::Rolling(seconds) = quota.definition.period else { return None };
        let within = self.counted.get(&quota.identity)?.iter().filter(|start| span.holds(**start));
        let mut used = self.spent(quota, span) + self.held(quota, span) + needed;
        let mut leaves = None;
        for start in within {
            used -= self.spent(quota, Span::Period(*start)) + self.held(quota, Span::Period(*start));
            leaves = Some(start + seconds * SECOND);
            if used <= limit {
                break;
            }
        }
        leaves
    }
}

/// The largest part of an estimate that fits where it was denied. None where nothing worth having does.
pub(super) fn shrunk(estimate: Estimate, input: &Amounts, denial: &Denial, rates: &Rates) -> Option<Estimate> {
    if denial.tight.is_empty() {
        return None;
    }
    if let Estimate::Usd(_) = estimate {
        return denial.usd.filter(|usd| *usd > 0).map(Estimate::Usd);
    }
    let mut most = match estimate {
        Estimate::Tokens { output, .. } => Pico::from(output),
        Estimate::Seconds(seconds) => Pico::from(seconds),
        Estimate::Usd(_) => return None,
    };
    for quota in &denial.tight {
        let buys = match quota.unit {
            Unit::Usd => rates.pays_for(estimate, quota.left())?,
            Unit::Tokens => {
                let left = quota.left() - input.tokens;
                if left < 0 {
                    return None;
                }
                left / ONE
            }
            Unit::Seconds => quota.left() / ONE,
            Unit::Requests | Unit::Concurrent => return None,
        };
        most = most.min(buys);
    }
    let most = u32::try_from(most).ok().filter(|most| *most > 0)?;
    Some(match estimate {
        Estimate::Tokens { input, .. } => Estimate::Tokens { input, output: most },
        _ => Estimate::Seconds(most),
    })
}
