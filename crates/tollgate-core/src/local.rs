//! A ledger in memory alone: what the npm package runs in process, for unit tests, development and checks at the edge.

use std::collections::VecDeque;

use serde::Deserialize;

use crate::api::{self, Answer, EntriesPage, HistoryQuery, Problem, Request};
use crate::catalog::{Catalog, OverridesDocument, OverridesScope};
use crate::ids::{PlanName, ReservationId, TenantId};
use crate::ledger::{Beginning, Command, Entry, Ledger, Onboard, OverridesOrder, Pace, Refolding};
use crate::objects;
use crate::policy::{Plan, Policy};
use crate::sight::Sight;
use crate::sorted_map::SortedMap;
use crate::time::Timestamp;
use crate::usage_report::{self, UsageKey, UsageReport, UsageTotals};

/// The most ended reservations that are remembered for repeats and late settles; the oldest go first.
pub const MAX_REMEMBERED: usize = 100_000;
/// The most entries that are kept for reading; the oldest go first.
pub const MAX_KEPT_ENTRIES: usize = 100_000;

/// How a ledger in memory starts.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalConfig {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its quotas and rules; the default policy's plan where none is given.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// Own rates, aliases and markups.
    #[serde(default, deserialize_with = "objects::optional_object")]
    pub overrides: Option<OverridesDocument>,
}

impl LocalConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn parse(json: &str) -> Result<Self, Problem> {
        api::json::read(json)
    }
}

/// One tenant's ledger, its entries and its usage roll-up, in memory.
#[derive(Debug)]
pub struct LocalLedger {
    ledger: Ledger,
    entries: VecDeque<Entry>,
    usage: SortedMap<UsageKey, UsageTotals>,
    ended: VecDeque<ReservationId>,
    pace: Pace,
}

impl LocalLedger {
    /// A ledger whose tenant is onboarded.
    ///
    /// # Errors
    /// The plan's field that is wrong.
    pub fn new(config: LocalConfig, catalog: &Catalog, now: Timestamp) -> Result<Self, Problem> {
        let mut policy = Policy::default();
        let plan_name = PlanName::default_plan();
        let plan = config.plan.or_else(|| policy.plans.remove(&plan_name)).unwrap_or_default();
        let onboard = Onboard { tenant: config.tenant, plan_name, plan, policy_version: 0 };
        let mut local = Self {
            ledger: Ledger::new(),
            entries: VecDeque::new(),
            usage: SortedMap::new(),
            ended: VecDeque::new(),
            pace: Pace::default(),
        };
        let mut entries = Vec::new();
        local.ledger.execute(catalog, now, &Command::Onboard(onboard), &mut entries)?;
        if let Some(document) = config.overrides {
            let order = OverridesOrder { scope: OverridesScope::Tenant, version: None, document: document.into() };
            let set = local.ledger.execute(catalog, now, &Command::SetOverrides(order), &mut entries);
            set.map_err(|rejection| Problem::from(rejection).inside("overrides"))?;
        }
        local.keep(entries);
        Ok(local)
    }

    /// Carries out one request. Where the clock was set back, the ledger follows first; then holds end whose deadline has passed.
    pub fn execute(&mut self, catalog: &Catalog, now: Timestamp, request: &Request) -> Answer {
        let mut entries = Vec::new();
        self.begin(now, &mut entries);
        self.ledger.expire(now, usize::MAX, &mut entries);
        let answer = match request {
            Request::Command(command) => match self.ledger.execute(catalog, now, command, &mut entries) {
                Ok(outcome) => Answer::outcome(&self.ledger, now, &outcome, Sight::Everything),
                Err(rejection) => Answer::problem(&rejection.into()),
            },
            Request::State(query) => Answer::query(&self.ledger, catalog, now, query, Sight::Everything),
            Request::History(query) => {
                // What has just expired is part of the history.
                self.keep(core::mem::take(&mut entries));
                self.history(query)
            }
        };
        self.keep(entries);
        answer
    }

    /// The state, for checks.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Where the clock was set back by more than an hour, the ledger follows it, before anything else happens.
    fn begin(&mut self, clock: Timestamp, entries: &mut Vec<Entry>) {
        let all = self.ledger.last_seq();
        match self.pace.begin(&self.ledger, clock) {
            None => {}
            Some(Beginning::StepBack(refolds)) => {
                let refolding = refolds.then(|| self.refold(clock));
                self.ledger.set_back(clock, refolding, entries);
                self.pace.has_stepped(&self.ledger, if refolds { all } else { 0 });
            }
            Some(Beginning::TakeIn) => {
                let refolding = self.refold(self.ledger.now(clock));
                self.ledger.take_in(&refolding, entries);
            }
        }
    }

    /// Folds the entries again, or, where the first ones are not kept any more, goes by the roll-up.
    fn refold(&self, to: Timestamp) -> Refolding {
        if self.entries.front().is_some_and(|first| first.seq == 1) {
            let mut refolding = Refolding::new(Ledger::new(), to);
            self.entries.iter().for_each(|entry| refolding.fold(entry));
            return refolding;
        }
        let mut refolding = Refolding::new(Ledger::restore(self.ledger.snapshot()), to);
        if refolding.missing().is_some() {
            refolding.add_usage(self.usage.iter());
        }
        refolding
    }

    fn history(&self, query: &HistoryQuery) -> Answer {
        match query {
            HistoryQuery::Usage(query) => {
                let cells = || self.usage.iter().filter(|(key, _)| query.covers(key.quarter));
                if cells().nth(usage_report::MAX_CELLS).is_some() {
                    return Answer::problem(&usage_report::too_many_cells());
                }
                let groups = cells().map(|(key, totals)| (query.group_of(key), *totals));
                Answer::usage(query, &UsageReport::new(query, groups))
            }
            HistoryQuery::Entries { after, limit } => {
                // They are in the order of their numbers.
                let first = self.entries.partition_point(|entry| entry.seq <= *after);
                let mut page = EntriesPage::new(*limit);
                let _full = self.entries.range(first..).all(|entry| page.add(entry, Sight::Everything));
                page.answer(0)
            }
        }
    }

    fn keep(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if let Some((key, totals)) = usage_report::contribution(&entry) {
                self.usage.update(key, |cell| cell.add(&totals));
            }
            if let Some(id) = entry.ends() {
                self.ended.push_back(id.clone());
            }
            self.entries.push_back(entry);
        }
        while self.entries.len() > MAX_KEPT_ENTRIES {
            self.entries.pop_front();
        }
        while self.ended.len() > MAX_REMEMBERED {
            if let Some(id) = self.ended.pop_front() {
                self.ledger.forget(&id);
            }
        }
    }
}
