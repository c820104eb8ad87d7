//! What an answer must say, as a part of its JSON: objects may have more members, arrays have exactly as many elements.

use serde_json::{Value, json};

use super::amounts::{self, Amounts, Pico};
use super::calendar;
use super::funds::CreditLeft;
use super::words::{Command, Estimate, Increase};
use super::{Denial, Model, Quota, Reservation, Span, State, Verdict};

/// Status and part of the body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The status.
    pub status: u16,
    /// A part of the body.
    pub body: Value,
}

impl Model {
    /// The answer to a command that was carried out with this verdict, as things stand.
    #[must_use]
    pub fn answer(&self, clock: i64, command: &Command, verdict: &Verdict) -> Expected {
        let now = self.now(clock);
        let replayed = *verdict == Verdict::Replayed;
        let (status, body) = match verdict {
            Verdict::Refused(status, code) => (*status, json!({ "code": code })),
            Verdict::Denied(denial) => (429, json!({ "code": "quota_exceeded", "denial": denied(denial) })),
            Verdict::Full(full) => (429, json!({ "code": "too_many_holds", "holds": full.to_json() })),
            Verdict::ReleasedMany(released, remaining) => {
                (200, json!({ "released": released, "remaining": remaining }))
            }
            Verdict::Explained(Ok(())) => (200, json!({ "allowed": true })),
            Verdict::Explained(Err(denial)) => (200, json!({ "allowed": false, "denial": denied(denial) })),
            Verdict::Done | Verdict::Replayed | Verdict::Told => match command {
                Command::Onboard(_) | Command::ListQuotas => (200, json!({ "quotas": self.quotas_now(now) })),
                Command::PutQuota(id, _)
                | Command::ResetQuota(id)
                | Command::AddCredit(id, _)
                | Command::RevokeCredit(id, _)
                | Command::Increase(id, _)
                | Command::EndIncrease(id, _) => {
                    let quota = self.quotas.get(id).map(|quota| self.quota(id, quota, quota.definition.span(now), now));
                    (200, quota.unwrap_or_default())
                }
                Command::PutOverrides(_) => (200, json!({ "version": self.overrides_version })),
                Command::DeleteQuota(..) => (204, Value::Null),
                Command::Explain { .. } => (200, Value::Null),
                Command::Usage(report) => (200, self.report(report)),
                Command::GetReservation { id } => (200, self.told(id)),
                Command::ListHolds { user, touchpoint } => {
                    let open = self.open_holds_of(*user, *touchpoint, None);
                    let told: Vec<Value> = open.iter().map(|id| self.told(id)).collect();
                    (200, json!({ "reservations": told, "next": null }))
                }
                // Its verdict says it.
                Command::ReleaseHolds { .. } => (200, Value::Null),
                Command::Reserve { id, .. } => (201, self.held_reply(id, replayed, now)),
                Command::Extend { id, .. } => (200, self.held_reply(id, replayed, now)),
                Command::Meter { id, .. } => (200, self.metered_reply(id, replayed, now)),
                Command::Settle { id, .. } => (200, self.settled_reply(id, replayed, now)),
                Command::Release { id } => (200, self.released_reply(id, replayed, now)),
                Command::Record { id, .. } => (201, self.recorded_reply(id, replayed, now)),
                Command::Refund { id, .. } => (200, self.refunded_reply(id, command, replayed, now)),
            },
        };
        Expected { status, body }
    }

    fn quotas_now(&self, now: i64) -> Vec<Value> {
        self.quotas.iter().map(|(id, quota)| self.quota(id, quota, quota.definition.span(now), now)).collect()
    }

    fn quota(&self, id: &str, quota: &Quota, span: Span, now: i64) -> Value {
        let (spent, held) = (self.spent(quota, span), self.held(quota, span));
        let limit = self.limit(quota, span, now);
        let mut body = json!({
            "id": id,
            "unit": quota.definition.unit.name(),
            "limit": amounts::text(quota.definition.limit),
            "source": if quota.from_plan { "plan" } else { "custom" },
            "spent": amounts::text(spent),
            "held": amounts::text(held),
            "remaining": amounts::text((limit - spent - held).max(0)),
        });
        if limit != quota.definition.limit {
            body["effectiveLimit"] = amounts::text(limit).into();
        }
        let credits: Vec<Value> = self.credits(quota, now).iter().map(CreditLeft::to_json).collect();
        if !credits.is_empty() {
            body["credits"] = credits.into();
        }
        let increases: Vec<Value> = self.increases(quota, now).map(Increase::to_json).collect();
        if !increases.is_empty() {
            body["increases"] = increases.into();
        }
        if let Span::Period(start) = span {
            let end = quota.definition.around(start).1;
            body["periodStart"] = end.map(|_| calendar::text(start)).into();
            body["periodEnd"] = end.map(calendar::text).into();
        }
        body
    }

    /// The quotas that a reservation counts on and that still count it.
    fn quotas_of(&self, reservation: &Reservation, now: i64) -> Vec<Value> {
        let found = reservation.counted_on.iter().filter_map(|place| {
            let (id, quota) = self.quotas.iter().find(|(_, quota)| quota.identity == place.0)?;
            let span = self.span_of(quota, *place, now)?;
            Some((reservation_order(quota, id), self.quota(id, quota, span, now)))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, quota)| quota).collect()
    }

    fn held_reply(&self, id: &str, replayed: bool, now: i64) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let mut body = json!({
            "id": id,
            "state": reservation.state.name(),
            "held": held(&reservation.held),
            "createdAt": calendar::text(reservation.created_at),
            "expiresAt": calendar::text(reservation.expires_at),
            "quotas": self.quotas_of(reservation, now),
        });
        if reservation.granted
            && let Some(Estimate::Tokens { output, .. }) = reservation.estimate
            && reservation.extensions.is_empty()
        {
            body["granted"]["maxOutputTokens"] = output.into();
        }
        with(body, replayed, reservation)
    }

    fn metered_reply(&self, id: &str, replayed: bool, now: i64) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let above = reservation.metered.unwrap_or_default().usd - reservation.held.usd;
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "held": held(&reservation.held),
            "expiresAt": calendar::text(reservation.expires_at),
            "charge": { "usd": amounts::text(reservation.cost) },
            "overrun": amounts::text(above.max(0)),
            "quotas": self.quotas_of(reservation, now),
        });
        with(body, replayed, reservation)
    }

    fn settled_reply(&self, id: &str, replayed: bool, now: i64) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let left = reservation.held.usd - reservation.cost;
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "charge": { "usd": amounts::text(reservation.cost) },
            "released": amounts::text(left.max(0)),
            "overrun": amounts::text((-left).max(0)),
            "quotas": self.quotas_of(reservation, now),
        });
        with(body, replayed, reservation)
    }

    fn released_reply(&self, id: &str, replayed: bool, now: i64) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let left = reservation.held.usd - reservation.cost;
        let mut body = json!({
            "id": id,
            "state": reservation.state.name(),
            "released": amounts::text(left.max(0)),
            "quotas": self.quotas_of(reservation, now),
        });
        if let Some(metered) = reservation.metered {
            body["charge"] = json!({ "usd": amounts::text(metered.usd) });
        }
        with(body, replayed, reservation)
    }

    fn recorded_reply(&self, id: &str, replayed: bool, now: i64) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "charge": { "usd": amounts::text(reservation.cost) },
            "quotas": self.quotas_of(reservation, now),
        });
        with(body, replayed, reservation)
    }

    fn refunded_reply(&self, id: &str, command: &Command, replayed: bool, now: i64) -> Value {
        let mut body = self.recorded_reply(id, replayed, now);
        let known = self.reservations.get(id).into_iter().flat_map(|known| &known.refunds);
        for (earlier, usd) in known.filter(|(earlier, _)| earlier == command) {
            body["refund"] = refund(earlier, *usd);
        }
        body
    }

    fn told(&self, id: &str) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let mut body = json!({
            "id": id,
            "state": reservation.state.name(),
            "held": held(&reservation.held),
            "createdAt": calendar::text(reservation.created_at),
            "expiresAt": calendar::text(reservation.expires_at),
        });
        if let Some(metered) = reservation.metered {
            body["metered"] = held(&metered);
        }
        if reservation.metered.is_some() || !matches!(reservation.state, State::Held | State::Released) {
            body["charge"] = json!({ "usd": amounts::text(reservation.cost) });
        }
        if reservation.late {
            body["late"] = true.into();
        }
        if !reservation.refunds.is_empty() {
            body["refunds"] = reservation.refunds.iter().map(|(command, usd)| refund(command, *usd)).collect();
            body["left"] = amounts::text(reservation.charged.usd).into();
        }
        body
    }
}

fn refund(command: &Command, usd: Pico) -> Value {
    json!({ "id": command.part(), "usd": amounts::text(usd) })
}

/// The tenant's quotas come before a user's.
fn reservation_order<'a>(quota: &Quota, id: &'a str) -> (bool, &'a str) {
    (quota.definition.user.is_some(), id)
}

fn with(mut body: Value, replayed: bool, reservation: &Reservation) -> Value {
    if replayed {
        body["replayed"] = true.into();
    }
    if reservation.late {
        body["late"] = true.into();
    }
    if let Some(metered) = reservation.metered {
        body["metered"] = held(&metered);
    }
    if !reservation.refunds.is_empty() {
        body["left"] = amounts::text(reservation.charged.usd).into();
    }
    body
}

fn held(amounts: &Amounts) -> Value {
    let mut body = json!({ "usd": amounts::text(amounts.usd) });
    for (name, amount) in [("tokens", amounts.tokens), ("requests", amounts.requests), ("seconds", amounts.seconds)] {
        if amount != 0 {
            let whole: Pico = amount / amounts::ONE;
            body[name] = i64::try_from(whole).unwrap_or(i64::MAX).into();
        }
    }
    body
}

fn denied(denial: &Denial) -> Value {
    let quotas: Vec<Value> = denial
        .tight
        .iter()
        .map(|quota| {
            let mut body = json!({
                "id": quota.id,
                "limit": amounts::text(quota.limit),
                "spent": amounts::text(quota.spent),
                "held": amounts::text(quota.held),
                "remaining": amounts::text(quota.left()),
                "resetsAt": quota.resets_at.map(calendar::text),
            });
            if quota.effective != quota.limit {
                body["effectiveLimit"] = amounts::text(quota.effective).into();
            }
            body
        })
        .collect();
    let mut body = json!({ "quota": denial.tight.first().map(|quota| &quota.id), "quotas": quotas });
    if let Some(usd) = denial.usd {
        body["affordable"] = json!({ "usd": amounts::text(usd) });
    }
    body
}
