//! What the administrator does with what is stored: archives, re-rates, repairs and audits.

use serde_json::json;
use tollgate_core::api::{self, ArchiveRequest, RepairRequest};
use tollgate_core::ledger::Entry;
use tollgate_store::StoreError;

use super::{World, arm, name, open, pick_of, timestamp};
use crate::check;
use crate::disk::{Damage, Failure};
use crate::model::Rerated;
use crate::model::calendar;

impl World<'_> {
    /// All entries are exported; then those up to some row of the journal are dropped.
    pub(super) fn archive(&mut self, pick: u16, failure: Option<Failure>) -> Result<(), String> {
        let now = timestamp(self.clock);
        let mut store = match self.live.take() {
            Some(store) => store,
            None => open(&self.disk, self.scenario).map_err(|error| error.to_string())?,
        };
        // What is due ends before anything else, as in every turn.
        self.model.expire(self.clock);
        check::export(&mut store, self.catalog, now, &mut self.exported)?;
        let rows = self.disk.rows().map_err(|error| error.to_string())?;
        let Some((through, head)) = pick_of(&rows, pick).cloned() else { return Ok(()) };
        let before = self.disk.last_entry().map_err(|error| error.to_string())?;
        self.disk.fail(failure);
        let result = store.archive(now, &ArchiveRequest { through, head, forget_through: None });
        let has_failed = self.disk.end_failure();
        let after = self.disk.last_entry().map_err(|error| error.to_string())?;
        self.note(|| format!("entries through {through} are archived: {result:?}; entries {before} to {after}"));
        if after > before {
            let gone = self.exported.iter().filter(|entry| entry.seq <= through);
            self.archived = self.archived.max(gone.map(|entry| entry.at.millis()).max());
            let archived = self.disk.archived().map_err(|error| error.to_string())?;
            let left = self.exported.iter().filter(|entry| entry.seq > through);
            let still_told = left.filter_map(Entry::charge).map(|charged| charged.id.to_string()).collect();
            self.model.archive(self.clock, &archived, &still_told)?;
        }
        let clock = self.clock;
        self.clock = self.possible(self.clock);
        match result {
            Ok(Ok(report)) if report.complete && report.archived_through == through => {
                check::state(store.ledger(), &self.model, clock)?;
                self.live = Some(store);
            }
            Ok(answer) => return Err(format!("archiving through {through} is answered {answer:?}")),
            Err(error) => {
                self.run.failures += 1;
                if !has_failed || !matches!(error, StoreError::Sql(_)) {
                    return Err(format!("archiving fails by itself: {error}"));
                }
                if self.scenario.keeps_failed_instance && !failure.is_some_and(Failure::kills) {
                    self.live = Some(store);
                }
            }
        }
        arm(&mut self.alarm, self.model.next_deadline());
        Ok(())
    }

    /// Every charge is compared with the prices of now; differences are made up, where there is an id to do it under.
    pub(super) fn rerate(&mut self, post: Option<u8>, failure: Option<Failure>) -> Result<(), String> {
        let post = post.map(|number| format!("p-{number}"));
        let request = json!({ "from": calendar::text(0), "to": "2100-01-01T00:00:00.000Z", "overrides": "current", "post": post });
        let request = api::parse_rerate(&request.to_string()).map_err(|problem| format!("{problem:?}"))?;
        let mut store = match self.live.take() {
            Some(store) => store,
            None => open(&self.disk, self.scenario).map_err(|error| error.to_string())?,
        };
        let before = self.disk.last_entry().map_err(|error| error.to_string())?;
        self.disk.fail(failure);
        let result = store.rerate(self.catalog, timestamp(self.clock), &request);
        let has_failed = self.disk.end_failure();
        let after = self.disk.last_entry().map_err(|error| error.to_string())?;
        self.note(|| format!("charges are re-rated under {post:?}: {result:?}; entries {before} to {after}"));
        match result {
            Ok(Ok(report)) => {
                let expected = self.model.rerate(self.clock, post.as_deref());
                let totals = report.totals;
                let found = Rerated {
                    charges: totals.charges,
                    old: totals.old.picos(),
                    new: totals.new.picos(),
                    posted: report.posted,
                };
                if found != expected {
                    return Err(format!("re-rating comes to {found:?}, expected {expected:?}"));
                }
                check::state(store.ledger(), &self.model, self.clock)?;
                self.live = Some(store);
            }
            Ok(Err(problem)) => return Err(format!("re-rating is refused: {problem:?}")),
            Err(error) => {
                self.run.failures += 1;
                if !has_failed || !matches!(error, StoreError::Sql(_)) {
                    return Err(format!("re-rating fails by itself: {error}"));
                }
                if after > before {
                    self.model.rerate(self.clock, post.as_deref());
                }
                if self.scenario.keeps_failed_instance && !failure.is_some_and(Failure::kills) {
                    self.live = Some(store);
                }
            }
        }
        Ok(())
    }

    /// Something is damaged, and set right again; where that fails, the administrator asks again.
    pub(super) fn repair(&mut self, damage: Damage, failure: Option<Failure>) -> Result<(), String> {
        // Rows of what was archived cannot be made from the journal any more.
        let damage = if self.archived.is_some() && damage == Damage::Ended { Damage::RollUp } else { damage };
        self.disk.damage(damage).map_err(|error| error.to_string())?;
        // Whoever has it in memory does not see the damage.
        (self.live, self.overtaken) = (None, None);
        let order = RepairRequest { by: name("ops@example.com")? };
        for failure in [failure, None] {
            let mut store = open(&self.disk, self.scenario).map_err(|error| error.to_string())?;
            let before = self.disk.last_entry().map_err(|error| error.to_string())?;
            self.disk.fail(failure);
            let result = store.repair(timestamp(self.clock), &order);
            let has_failed = self.disk.end_failure();
            let after = self.disk.last_entry().map_err(|error| error.to_string())?;
            self.note(|| format!("{damage:?} is damaged and repaired: {result:?}; entries {before} to {after}"));
            if after > before {
                self.model.note(self.clock);
            }
            match result {
                Ok(Ok(report)) if report.entry.is_some() == (after > before) => {
                    check::audit(&store)?;
                    self.model.allow_what_is_used(self.model.now(self.clock));
                    check::state(store.ledger(), &self.model, self.clock)?;
                    self.live = Some(store);
                    return Ok(());
                }
                Err(StoreError::Sql(_)) if has_failed => self.run.failures += 1,
                other => return Err(format!("a repair is answered {other:?}")),
            }
        }
        Err("a repair fails by itself".to_owned())
    }

    pub(super) fn audit(&mut self) -> Result<(), String> {
        self.note(|| "an audit".to_owned());
        let store = open(&self.disk, self.scenario).map_err(|error| error.to_string())?;
        check::audit(&store)
    }
}
