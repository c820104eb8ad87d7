//! What must hold after every step and at the end of a run: the invariants, and that the ledger is as the model says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use tollgate_core::api::{self, Answer, HistoryQuery, Request as Asked};
use tollgate_core::catalog::{Catalog, OverridesScope};
use tollgate_core::ledger::{Entry, Event, Ledger, QuotaView};
use tollgate_core::money::Usd;
use tollgate_core::quota::Enforcement;
use tollgate_core::time::Timestamp;
use tollgate_store::{Sql, TenantStore};

use crate::model::amounts::{self, Pico};
use crate::model::words::{Actual, Command, Estimate, Increase};
use crate::model::{CreditLeft, Expected, Model, Quota, Span};

/// An answer must say what the model says.
pub(crate) fn answer(command: &Command, answer: &Answer, expected: &Expected) -> Result<Value, String> {
    let body: Value = if answer.body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&answer.body).map_err(|error| format!("an answer is not JSON: {error}"))?
    };
    let wrong = if answer.status == expected.status {
        difference("$", &body, &expected.body)
    } else {
        Some(format!("status {}, expected {} {}", answer.status, expected.status, expected.body))
    };
    match wrong {
        None => Ok(body),
        Some(wrong) => Err(format!("{wrong}\n  in the answer {} {body}\n  to {command:?}", answer.status)),
    }
}

/// Where `actual` lacks something of `expected`: objects may have more, arrays have the same length.
fn difference(path: &str, actual: &Value, expected: &Value) -> Option<String> {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected.iter().find_map(|(name, value)| {
            let found = actual.get(name).unwrap_or(&Value::Null);
            if found == value { None } else { difference(&format!("{path}.{name}"), found, value) }
        }),
        (Value::Array(actual), Value::Array(expected)) if actual.len() == expected.len() => {
            let mut pairs = actual.iter().zip(expected).enumerate();
            pairs.find_map(|(at, (actual, expected))| difference(&format!("{path}[{at}]"), actual, expected))
        }
        _ if actual == expected => None,
        _ => Some(format!("{path}: expected {expected}, got {actual}")),
    }
}

/// The ledger in memory must be what the model says, and keep within the limits.
pub(crate) fn state(ledger: &Ledger, model: &Model, clock: i64) -> Result<(), String> {
    let at = crate::world::timestamp(clock);
    let now = ledger.now(at);
    if now.millis() != model.now(clock) {
        return Err(format!("the ledger's time is {now}, the model's {}", model.now(clock)));
    }
    let version = ledger.prices().of(OverridesScope::Tenant).map_or(0, |overrides| overrides.version);
    if version != model.overrides_version() {
        return Err(format!("version {version} of the overrides is in force, expected {}", model.overrides_version()));
    }
    let mut views = ledger.quotas(now);
    for (id, quota) in model.quotas() {
        let view = views.next().ok_or_else(|| format!("there is no quota {id}"))?;
        counter(&view, id, quota, quota.definition.span(now.millis()), model, now.millis())?;
        funds(&view, id, quota, model, now.millis())?;
    }
    if let Some(view) = views.next() {
        return Err(format!("there is a quota {} too many", view.id));
    }
    if ledger.open_holds() != model.open_holds() {
        return Err(format!("{} holds are open, expected {}", ledger.open_holds(), model.open_holds()));
    }
    if ledger.next_deadline().map(Timestamp::millis) != model.next_deadline() {
        return Err(format!("the next deadline is {:?}, expected {:?}", ledger.next_deadline(), model.next_deadline()));
    }
    for (id, expected) in model.reservations() {
        if expected.state != crate::model::State::Held {
            continue;
        }
        let found = id.parse().ok().and_then(|id| ledger.reservation(&id));
        let Some(found) = found.filter(|found| found.is_open()) else { return Err(format!("{id} does not hold")) };
        if found.held.usd.picos() != expected.held.usd || found.expires_at.millis() != expected.expires_at {
            return Err(format!("{id} holds {} until {}, expected {expected:?}", found.held.usd, found.expires_at));
        }
        let metered = found.metered.as_ref().map(|metered| metered.spent.usd.picos());
        if metered != expected.metered.map(|metered| metered.usd) {
            return Err(format!("{id} is metered at {metered:?}, expected {expected:?}"));
        }
        // Also where its period is over.
        for view in ledger.quotas_of(found, now) {
            let Some(quota) = model.quotas().get(view.id.as_str()) else {
                return Err(format!("{id} counts on {}", view.id));
            };
            let span = match quota.definition.span(now.millis()) {
                Span::Period(_) => Span::Period(view.window.start.millis()),
                rolling @ Span::From(_) => rolling,
            };
            counter(&view, view.id.as_str(), quota, span, model, now.millis())?;
        }
    }
    Ok(())
}

fn counter(view: &QuotaView<'_>, id: &str, quota: &Quota, span: Span, model: &Model, now: i64) -> Result<(), String> {
    let start = view.window.start.millis();
    let is_there = match span {
        Span::Period(period) => start == period,
        // The window starts after the last instant that has left it.
        Span::From(first) => start == (first - 1).max(0),
    };
    if view.id.as_str() != id || !is_there {
        return Err(format!("quota {} from {}, expected {id} in {span:?}", view.id, view.window.start));
    }
    let (spent, held) = (view.spent.picos(), view.held.picos());
    let expected = (model.spent(quota, span), model.held(quota, span));
    if (spent, held) != expected {
        let text = |(spent, held)| format!("{} spent and {} held", amounts::text(spent), amounts::text(held));
        return Err(format!("{id} has {}, expected {}", text((spent, held)), text(expected)));
    }
    let warned: BTreeSet<Pico> = view.warned.iter().map(|fraction| fraction.picos() / (amounts::ONE / 1000)).collect();
    if warned != model.warned(quota, span) {
        return Err(format!("{id} has warned of {warned:?}, expected {:?}", model.warned(quota, span)));
    }
    let limit = model.limit(quota, span, now);
    if view.limit.picos() != limit {
        return Err(format!("{id} allows {}, expected {}", view.limit, amounts::text(limit)));
    }
    // Invariant 1, of what the ledger itself says.
    let most = limit + model.overruns(quota, span);
    if view.quota.enforcement == Enforcement::Block && spent + held > most {
        return Err(format!("{id} uses {}, and may use {}", amounts::text(spent + held), amounts::text(most)));
    }
    Ok(())
}

/// The credits and increases of a quota must be those of the model.
fn funds(view: &QuotaView<'_>, id: &str, quota: &Quota, model: &Model, now: i64) -> Result<(), String> {
    let at = crate::world::timestamp(now);
    let credits = view.funds.iter().flat_map(|(funds, _)| funds.credits(at)).map(|state| CreditLeft {
        id: state.credit.id.to_string(),
        amount: state.amount.picos(),
        remaining: state.remaining(at).picos(),
        ends: state.expires_at.map(Timestamp::millis),
    });
    let (credits, expected) = (credits.collect::<Vec<_>>(), model.credits(quota, now));
    if credits != expected {
        return Err(format!("{id} has the credits {credits:?}, expected {expected:?}"));
    }
    let increases = view.funds.iter().flat_map(|(funds, _)| funds.increases(at)).map(|increase| Increase {
        id: increase.id.to_string(),
        amount: increase.amount.picos(),
        until: increase.until.millis(),
    });
    let (increases, expected) =
        (increases.collect::<Vec<_>>(), model.increases(quota, now).cloned().collect::<Vec<_>>());
    if increases != expected {
        return Err(format!("{id} has the increases {increases:?}, expected {expected:?}"));
    }
    Ok(())
}

/// Invariant 6, of what the ledger itself answers: within the bounds that were declared, no charge exceeds its hold.
pub(crate) fn within_bounds(model: &Model, command: &Command, body: &Value) -> Result<(), String> {
    let Command::Settle { id, actual } = command else { return Ok(()) };
    let Some(reservation) = model.reservations().get(id) else { return Ok(()) };
    if body.get("replayed").is_some() {
        // It may have been adjusted since, by prices that nobody knew then.
        return Ok(());
    }
    let is_within = match (reservation.estimate, actual) {
        (Some(Estimate::Tokens { input, output }), Actual::Usage { input: plain, cached, output: answer }) => {
            plain + cached <= input && *answer <= output
        }
        (Some(Estimate::Seconds(most)), Actual::Seconds(seconds)) => *seconds <= most,
        _ => false,
    };
    let overrun = body.get("overrun").and_then(Value::as_str);
    if is_within && overrun.is_some_and(|overrun| overrun != "0") {
        return Err(format!("{command:?} was within its bounds and cost {overrun:?} more than was held"));
    }
    Ok(())
}

/// Memory that was lost must be what is read back.
pub(crate) fn same(lost: &Ledger, found: &Ledger) -> Result<(), String> {
    match lost.differences(found).first() {
        None => Ok(()),
        Some(first) => Err(format!("what was read back differs from what was lost: {first:?}")),
    }
}

/// The audit must find nothing.
pub(crate) fn audit<S: Sql>(store: &TenantStore<S>) -> Result<(), String> {
    match store.audit() {
        Ok(report) if report.as_ref().is_none_or(|report| report.clean) => Ok(()),
        Ok(report) => Err(format!("the audit finds {report:?}")),
        Err(error) => Err(format!("the audit fails: {error}")),
    }
}

/// The entries that are not among those that were exported before, by the cursor that everybody else uses.
pub(crate) fn export<S: Sql>(
    store: &mut TenantStore<S>,
    catalog: &Catalog,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<(), String> {
    loop {
        let after = entries.last().map_or(0, |entry| entry.seq);
        let query = Asked::History(HistoryQuery::Entries { after, limit: api::MAX_ENTRIES });
        let answers = store.execute(catalog, now, &[query]).map_err(|error| error.to_string())?;
        let answer = answers.first().filter(|answer| answer.status == 200).ok_or("the entries are not told")?;
        let page: Page =
            serde_json::from_str(&answer.body).map_err(|error| format!("entries cannot be read: {error}"))?;
        entries.extend(page.entries);
        if page.next.is_none() {
            return Ok(());
        }
    }
}

#[derive(Deserialize)]
struct Page {
    entries: Vec<Entry>,
    next: Option<u64>,
}

/// Invariants 2 and 3, of the entries themselves.
pub(crate) fn history(entries: &[Entry], model: &Model) -> Result<(), String> {
    let mut folded = Ledger::new();
    let mut ends: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut crossings = Vec::new();
    let mut last = Timestamp::default();
    for (number, entry) in (1_u64..).zip(entries) {
        if entry.seq != number {
            return Err(format!("entry {number} has the number {}", entry.seq));
        }
        if entry.at < last && !matches!(entry.event, Event::ClockSetBack { from } if from == last) {
            return Err(format!("time runs backwards at entry {number}"));
        }
        last = entry.at;
        folded.evolve(entry);
        let (id, kind) = match &entry.event {
            Event::Settled(charged) => (&charged.id, "settled"),
            Event::Expired(charged) => (&charged.id, "expired"),
            Event::SettledLate { charged, .. } => (&charged.id, "settled late"),
            Event::Recorded { charged, .. } => (&charged.id, "recorded"),
            Event::Released { id, .. } => (id, "released"),
            Event::ThresholdCrossed { quota_id, period_start, threshold, .. } => {
                let thousandths = threshold.picos() / (amounts::ONE / 1000);
                crossings.push(format!("{quota_id} {thousandths} {}", period_start.millis()));
                continue;
            }
            _ => continue,
        };
        ends.entry(id.as_str()).or_default().push(kind);
    }
    for (id, kinds) in &ends {
        if kinds.len() > 1 && kinds != &["expired", "settled late"] {
            return Err(format!("{id} ended more than once: {kinds:?}"));
        }
    }
    let open = model.reservations().keys().filter(|id| !ends.contains_key(id.as_str())).count();
    if open > 0 || ends.len() != model.reservations().len() {
        return Err(format!("{} reservations have ended, expected {}", ends.len(), model.reservations().len()));
    }
    let mut expected = model.crossings().to_vec();
    crossings.sort();
    expected.sort();
    if crossings != expected {
        return Err(format!("thresholds were crossed: {crossings:?}\n  expected {expected:?}"));
    }
    let end = entries.last().map_or(0, |entry| entry.at.millis());
    state(&folded, model, end).map_err(|wrong| format!("the fold of all entries: {wrong}"))
}

/// What was acknowledged once must be so in the end. `told` is the reservation as the store tells it then.
pub(crate) fn is_borne_out(command: &Command, acknowledged: &Value, told: &Value, model: &Model) -> Result<(), String> {
    if told.get("code").and_then(Value::as_str) == Some("archived") {
        // The exported entries say how it ended, and are checked as a whole.
        return Ok(());
    }
    let same = |name: &str| told.get(name) == acknowledged.get(name);
    let state = told.get("state").and_then(Value::as_str).unwrap_or_default();
    let charged = |body: &Value| body.get("charge").and_then(|charge| charge.get("usd")).cloned();
    let is_adjusted = told.get("adjustments").is_some();
    let same_charge = || is_adjusted || charged(told) == charged(acknowledged);
    let expires_at = |body: &Value| body.get("expiresAt").and_then(Value::as_str).map(str::to_owned);
    let metered = |body: &Value| body.get("metered")?.get("usd")?.as_str()?.parse::<Usd>().ok();
    let is_so = match command {
        Command::Reserve { .. } => same("createdAt") && same("id"),
        // A deadline of a wrong clock does come nearer.
        Command::Extend { .. } => expires_at(told) >= expires_at(acknowledged) || model.steps_back() > 0,
        Command::Meter { .. } => metered(told) >= metered(acknowledged),
        Command::Settle { .. } => same("state") && same_charge(),
        Command::Release { .. } => state == "released",
        Command::Record { .. } => state == "recorded" && same_charge(),
        Command::Refund { .. } => told["refunds"].as_array().is_some_and(|all| all.contains(&acknowledged["refund"])),
        _ => true,
    };
    if is_so {
        Ok(())
    } else {
        Err(format!("{command:?} was acknowledged with {acknowledged}, and now there is {told}"))
    }
}
