//! What a step of a scenario comes to where it happens: steps speak in parts of what is there, commands in amounts and instants.

use crate::model::amounts::{ONE, Pico, Unit};
use crate::model::calendar::{Calendar, Period, Zone};
use crate::model::prices::{Dates, Document};
use crate::model::words::{
    Actual, Call, Command, Credit, Definition, Dimension, Estimate, Increase, Model as Priced, Naming, OnExpiry, Report,
};
use crate::model::{Model, Quota, Reservation, State};
use crate::scenario::{Admin, Asked, Fund, Lasting, Meant, Move, Pieces, Pricing, Reclaim};

/// What a client or meddler does about an id, in terms of what was estimated.
pub(crate) fn about(model: &Model, id: String, wanted: Move) -> Command {
    let known = model.reservations().get(&id);
    let plain = Call { model: Priced::Gpt4o, naming: Naming::Plain, user: None, touchpoint: None };
    let call = known.map_or(plain, |known| known.call);
    let estimate = known.and_then(|known| known.estimate).unwrap_or(Estimate::Tokens { input: 2_000, output: 700 });
    match wanted {
        Move::Settle(pieces) => Command::Settle { id, actual: used(call, estimate, pieces) },
        Move::SettleIncomplete(pieces) => Command::Settle { id, actual: incomplete(used(call, estimate, pieces)) },
        Move::Meter(reading, pieces) => {
            Command::Meter { id, reading: format!("m{reading}"), actual: used(call, estimate, pieces) }
        }
        Move::Release => Command::Release { id },
        Move::Extend(extension, ttl_seconds, hundredths) => {
            let estimate = hundredths.map(|hundredths| scaled(estimate, hundredths));
            Command::Extend { id, extension: format!("e{extension}"), ttl_seconds, estimate }
        }
        Move::Reserve(estimate) => {
            let estimate = match (call.model, estimate) {
                (Priced::Sandbox, Estimate::Tokens { .. }) | (_, Estimate::Seconds(_)) => Estimate::Usd(ONE / 10),
                _ => estimate,
            };
            let (ttl_seconds, on_expiry, shrink) = (600, OnExpiry::ChargeHold, false);
            Command::Reserve { id, call, estimate, ttl_seconds, on_expiry, shrink }
        }
        Move::Get => Command::GetReservation { id },
    }
}

/// More changes of a hold than are remembered whole, the first of them again, and another one under its id.
pub(crate) fn insisting(id: &str, meters: bool) -> Vec<Command> {
    let change = |number: u32, much: u32| {
        let id = id.to_owned();
        if meters {
            Command::Meter { id, reading: format!("i{number}"), actual: Actual::Usd(Pico::from(much) * (ONE / 10_000)) }
        } else {
            Command::Extend { id, extension: format!("i{number}"), ttl_seconds: Some(much), estimate: None }
        }
    };
    let numbers = (0..4).chain([0]).map(|number| change(number, number + 1));
    numbers.chain([change(0, 9)]).collect()
}

/// What the administrator takes back: every eighth time of an id that may have no charge. None where there is nothing.
pub(crate) fn refund(model: &Model, pick: u16, reclaim: Reclaim) -> Option<Command> {
    let Reclaim { number, hundredths, why } = reclaim;
    let is_charged = |(_, known): &(&String, &Reservation)| {
        pick.is_multiple_of(8) || (known.state != State::Held && known.charged.usd > 0)
    };
    let all: Vec<_> = model.reservations().iter().filter(is_charged).collect();
    let (id, known) = pick_of(all.into_iter(), pick / 8)?;
    let usd = hundredths.map(|hundredths| known.charged.usd * Pico::from(hundredths) / 100);
    Some(Command::Refund { id: id.clone(), refund: format!("f{number}"), usd, why })
}

/// What a call used that nobody has estimated.
pub(crate) fn used_without_estimate(call: Call, pieces: Pieces) -> Actual {
    let estimate = match call.model {
        Priced::Sandbox => Estimate::Seconds(60),
        _ => Estimate::Tokens { input: 3_000, output: 900 },
    };
    used(call, estimate, pieces)
}

/// Which open holds the administrator releases.
pub(crate) fn release(clock: i64, Meant { user, touchpoint, age }: Meant) -> Command {
    Command::ReleaseHolds { user, touchpoint, opened_before: age.map(|age| (clock - age).max(0)) }
}

/// What the administrator asks for.
pub(crate) fn change(model: &Model, clock: i64, change: &Admin) -> Option<Command> {
    let id = |number: &u8| format!("q-{number}");
    Some(match change {
        Admin::Put(number, definition) => Command::PutQuota(id(number), definition.clone()),
        Admin::Limit(number, tenths) => {
            let mut definition = model.quotas().get(&id(number))?.definition.clone();
            definition.limit = tenths_of_limit(&definition, *tenths);
            Command::PutQuota(id(number), definition)
        }
        Admin::Rollover(number, tenths) => {
            let mut definition = model.quotas().get(&id(number))?.definition.clone();
            definition.rollover = tenths.map(|tenths| tenths_of_limit(&definition, tenths));
            Command::PutQuota(id(number), definition)
        }
        Admin::Delete(number, forfeit) => Command::DeleteQuota(id(number), *forfeit),
        Admin::Reset(pick) if pick % 8 == 0 => Command::ResetQuota(format!("q-{}", pick / 8)),
        Admin::Reset(pick) => Command::ResetQuota(pick_of(model.quotas().keys(), u16::from(*pick / 8))?.clone()),
        Admin::Onboard(plan) => Command::Onboard(*plan),
        Admin::Prices(pricing) => Command::PutOverrides(document(clock, pricing)),
    })
}

/// The report that somebody asks for.
pub(crate) fn report(model: &Model, clock: i64, asked: &Asked) -> Report {
    let zone = [Zone::Utc, Zone::Kolkata, Zone::Kathmandu, Zone::NewYork][usize::from(asked.zone) % 4];
    let chosen = Dimension::ALL.into_iter().enumerate().filter(|(at, _)| asked.by >> at & 1 == 1);
    let by: Vec<Dimension> = chosen.map(|(_, by)| by).collect();
    let calendar = Calendar { zone, ..Calendar::default() };
    let around = |period: Period| period.around(calendar, model.now(clock));
    let (from, to) = match asked.window {
        0 => (None, None),
        1 => (Some(around(Period::Day).0), None),
        2 => (None, Some(around(Period::Day).0)),
        3 => (Some(around(Period::Month).0), around(Period::Month).1),
        4 => (Some(around(Period::Hour).0), None),
        _ => (None, Some(around(Period::Hour).0)),
    };
    let instant = |at: Option<i64>| at.filter(|at| *at >= 0);
    let limit = [None, Some(1), Some(2), Some(3), Some(7), Some(1_000)][usize::from(asked.limit) % 6];
    let report = Report { by, from: instant(from), to: instant(to), zone, limit, after: None };
    if asked.after > 8 || report.by.is_empty() {
        return report;
    }
    let group = pick_of(model.groups(&report).into_iter(), asked.after.into());
    Report { after: group.map(|(values, (usd, _))| (usd, values)), ..report }
}

fn document(clock: i64, pricing: &Pricing) -> Document {
    let dates = |(from, until): Lasting| {
        let instant = |after: i64| (clock + after).max(0);
        Dates { from: from.map(instant), until: until.map(instant) }
    };
    Document {
        own: pricing.own.map(|(model, input, output, lasting)| (model, input, output, dates(lasting))),
        alias: pricing.alias.map(dates),
        markups: pricing.markups.iter().map(|(marked, factor, lasting)| (*marked, *factor, dates(*lasting))).collect(),
    }
}

/// In tenths of what it is, or of a dollar or unit where that is nothing.
fn tenths_of_limit(definition: &Definition, tenths: Pico) -> Pico {
    let whole = if definition.limit == 0 { ONE } else { definition.limit };
    let amount = whole / 10 * tenths;
    if definition.unit == Unit::Usd { amount } else { amount / ONE * ONE }
}

/// What the administrator adds to a quota, or ends of that. None where there is no quota.
pub(crate) fn funding(model: &Model, clock: i64, fund: &Fund) -> Option<Command> {
    match *fund {
        Fund::Credit(pick, number, much, lasts, rolls) => {
            let (quota, known) = one_of_the_prepaid(model, pick)?;
            let amount = |much: u8| Pico::from(much) * usual(known.definition.unit);
            let ends = lasts.map(|lasts| clock + lasts);
            let rolls = rolls.zip(ends).map(|((most, longer), ends)| (amount(most), ends + longer));
            let credit = Credit { id: format!("c-{number}"), amount: amount(much), ends, rolls };
            Some(Command::AddCredit(quota, credit))
        }
        Fund::Revoke(pick, number) => {
            let (quota, known) = one_of_the_prepaid(model, pick)?;
            let left = model.credits(known, model.now(clock));
            let id = match usize::from(number).checked_rem(left.len()) {
                Some(at) if number > 0 => left[at].id.clone(),
                _ => format!("c-{number}"),
            };
            Some(Command::RevokeCredit(quota, id))
        }
        Fund::Increase(pick, number, much, lasts) => {
            let (quota, known) = pick_of(model.quotas().iter(), pick)?;
            let amount = Pico::from(much) * usual(known.definition.unit);
            let increase = Increase { id: format!("i-{number}"), amount, until: clock + lasts };
            Some(Command::Increase(quota.clone(), increase))
        }
        Fund::EndIncrease(pick, number) => {
            // One that has been raised, where there is one.
            let is_raised = |(_, known): &(&String, &Quota)| model.increases(known, model.now(clock)).next().is_some();
            let raised: Vec<(&String, &Quota)> = model.quotas().iter().filter(is_raised).collect();
            let raised = pick_of(raised.into_iter(), pick);
            let (quota, known) = raised.or_else(|| pick_of(model.quotas().iter(), pick))?;
            let in_force: Vec<&Increase> = model.increases(known, model.now(clock)).collect();
            let id = match usize::from(number).checked_rem(in_force.len()) {
                Some(at) if number > 0 => in_force[at].id.clone(),
                _ => format!("i-{number}"),
            };
            Some(Command::EndIncrease(quota.clone(), id))
        }
    }
}

/// A quota that can be credited, or where there is none, any.
fn one_of_the_prepaid(model: &Model, pick: u16) -> Option<(String, &Quota)> {
    let is_prepaid = |(_, quota): &(&String, &Quota)| {
        quota.definition.period == Period::Lifetime && quota.definition.unit != Unit::Concurrent
    };
    let prepaid: Vec<_> = model.quotas().iter().filter(is_prepaid).collect();
    let found = if prepaid.is_empty() || pick.is_multiple_of(16) {
        pick_of(model.quotas().iter(), pick / 16)
    } else {
        pick_of(prepaid.into_iter(), pick / 16)
    };
    found.map(|(id, quota)| (id.clone(), quota))
}

fn pick_of<T>(mut all: impl ExactSizeIterator<Item = T>, pick: u16) -> Option<T> {
    let at = usize::from(pick).checked_rem(all.len())?;
    all.nth(at)
}

/// What amounts are counted in: a fraction of what a call usually takes.
const fn usual(unit: Unit) -> Pico {
    match unit {
        Unit::Usd => ONE / 100,
        Unit::Tokens => 1_000 * ONE,
        Unit::Seconds => 20 * ONE,
        Unit::Requests | Unit::Concurrent => ONE,
    }
}

/// What a call used, in terms of what was estimated.
fn used(call: Call, estimate: Estimate, pieces: Pieces) -> Actual {
    let part = |whole: u32, hundredths: u8| whole * u32::from(hundredths) / 100;
    let amount = |usd: Pico| usd * Pico::from(pieces.output) / 100;
    match estimate {
        Estimate::Usd(usd) => Actual::Usd(amount(usd)),
        _ if pieces.as_usd => Actual::Usd(amount(ONE / 20)),
        Estimate::Tokens { input, output } => {
            let input = part(input, pieces.input);
            // What a plan says of unknown models says nothing of caches.
            let cached = if call.model == Priced::Unknown { 0 } else { part(input, pieces.cached) };
            Actual::Usage { input: input - cached, cached, output: part(output, pieces.output) }
        }
        Estimate::Seconds(seconds) => Actual::Seconds(part(seconds, pieces.output)),
    }
}

/// The same, where the answer broke off.
fn incomplete(actual: Actual) -> Actual {
    match actual {
        Actual::Usage { input, cached, output } => Actual::Incomplete { input: input + cached, output },
        other => other,
    }
}

fn scaled(estimate: Estimate, hundredths: u8) -> Estimate {
    let part = |whole: u32| whole * u32::from(hundredths) / 100;
    match estimate {
        Estimate::Usd(usd) => Estimate::Usd(usd * Pico::from(hundredths) / 100),
        Estimate::Tokens { input, output } => Estimate::Tokens { input: part(input), output: part(output) },
        Estimate::Seconds(seconds) => Estimate::Seconds(part(seconds)),
    }
}
