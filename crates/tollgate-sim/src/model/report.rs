//! What was spent, group by group: every reservation is looked at, and what it was charged is added to its group.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::amounts::{self, ONE, Pico};
use super::calendar::{self, SECOND};
use super::words::{Dimension, Model as Called, Naming, Report, touchpoint_name, user_id};
use super::{Model, Reservation};

const QUARTER: i64 = 15 * 60 * SECOND;
/// How many groups a page has where nobody says.
const USUAL: usize = 100;

/// One value for each dimension, and what was spent, for how many calls.
pub type Group = (Vec<Option<String>>, (Pico, Pico));

impl Model {
    /// The groups of a report, dearest first, and equals in the order of their values.
    #[must_use]
    pub fn groups(&self, report: &Report) -> Vec<Group> {
        let mut groups = BTreeMap::<Vec<Option<String>>, (Pico, Pico)>::new();
        for known in self.charged_in(report) {
            let values = report.by.iter().map(|by| value(*by, known, report)).collect();
            let group = groups.entry(values).or_default();
            *group = (group.0 + known.charged.usd, group.1 + known.charged.requests / ONE);
        }
        let mut groups: Vec<Group> = groups.into_iter().collect();
        groups.sort_by_key(|(values, (usd, _))| (Reverse(*usd), values.clone()));
        groups
    }

    /// The body of a report's answer.
    pub(super) fn report(&self, report: &Report) -> Value {
        let all = self.charged_in(report);
        let total = all.fold((0, 0), |sum, known| (sum.0 + known.charged.usd, sum.1 + known.charged.requests / ONE));
        let mut groups = if report.by.is_empty() { Vec::new() } else { self.groups(report) };
        if let Some((usd, values)) = &report.after {
            groups.retain(|(of, (spent, _))| (Reverse(*spent), of) > (Reverse(*usd), values));
        }
        let limit = report.limit.unwrap_or(USUAL);
        let next = groups.get(limit).map(|_| &groups[limit - 1]);
        let next = next.map(|(values, (usd, _))| Report::cursor(*usd, values));
        let groups = groups.iter().take(limit).map(|(values, sums)| {
            let mut group = told(*sums);
            for (by, value) in report.by.iter().zip(values) {
                group[by.name()] = json!(value);
            }
            group
        });
        json!({ "groups": groups.collect::<Vec<_>>(), "total": told(total), "next": next })
    }

    /// What was charged of what was opened in the quarters of an hour that are asked about.
    fn charged_in<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = &'a Reservation> {
        self.reservations.values().filter(|known| {
            let quarter = known.created_at - known.created_at % QUARTER;
            let is_in = report.from.is_none_or(|from| from <= quarter) && report.to.is_none_or(|to| quarter < to);
            is_in && known.charged.requests > 0
        })
    }
}

fn value(by: Dimension, known: &Reservation, report: &Report) -> Option<String> {
    let call = known.call;
    let name = |model: Called, naming| format!("{}/{}", model.names().0, model.written(naming));
    match by {
        Dimension::User => call.user.map(user_id),
        Dimension::Model => Some(name(known.meant, Naming::Plain)),
        Dimension::Called => Some(name(call.model, call.naming)),
        Dimension::Touchpoint => call.touchpoint.map(touchpoint_name),
        Dimension::Day => {
            let local = known.created_at + report.zone.offset(known.created_at);
            calendar::text(local).split('T').next().map(str::to_owned)
        }
        Dimension::Resource => Some(if call.model == Called::Sandbox { "e2b" } else { "llm" }.to_owned()),
    }
}

fn told((usd, calls): (Pico, Pico)) -> Value {
    json!({ "usd": amounts::text(usd), "calls": i64::try_from(calls).unwrap_or(i64::MAX) })
}
