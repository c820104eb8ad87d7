//! What an answer must say, as a part of its JSON: objects may have more members, arrays have exactly as many elements.

use serde_json::{Value, json};

use super::amounts::{self, Amounts, Pico};
use super::calendar;
use super::words::{Command, Estimate};
use super::{Denial, Model, Quota, Reservation, State, Verdict};

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
            Verdict::Explained(Ok(())) => (200, json!({ "allowed": true })),
            Verdict::Explained(Err(denial)) => (200, json!({ "allowed": false, "denial": denied(denial) })),
            Verdict::Done | Verdict::Replayed | Verdict::Told => match command {
                Command::Onboard(_) | Command::ListQuotas => (200, json!({ "quotas": self.quotas_now(now) })),
                Command::PutQuota(id, _) | Command::ResetQuota(id) => {
                    let quota = self.quotas.get(id).map(|quota| self.quota(id, quota, now));
                    (200, quota.unwrap_or_default())
                }
                Command::DeleteQuota(_) => (204, Value::Null),
                Command::Explain { .. } => (200, Value::Null),
                Command::Usage => {
                    let (usd, calls) = self.total();
                    let calls = i64::try_from(calls).unwrap_or(i64::MAX);
                    (200, json!({ "total": { "usd": amounts::text(usd), "calls": calls } }))
                }
                Command::GetReservation { id } => (200, self.told(id)),
                Command::Reserve { id, .. } => (201, self.held_reply(id, replayed)),
                Command::Extend { id, .. } => (200, self.held_reply(id, replayed)),
                Command::Settle { id, .. } => (200, self.settled_reply(id, replayed)),
                Command::Release { id } => (200, self.released_reply(id, replayed)),
                Command::Record { id, .. } => (201, self.recorded_reply(id, replayed)),
            },
        };
        Expected { status, body }
    }

    fn quotas_now(&self, now: i64) -> Vec<Value> {
        self.quotas.iter().map(|(id, quota)| self.quota(id, quota, now)).collect()
    }

    fn quota(&self, id: &str, quota: &Quota, at: i64) -> Value {
        let (start, end) = quota.definition.period.around(at);
        let (spent, held) = (self.spent(quota, start), self.held(quota, start));
        let limit = quota.definition.limit;
        json!({
            "id": id,
            "unit": quota.definition.unit.name(),
            "limit": amounts::text(limit),
            "spent": amounts::text(spent),
            "held": amounts::text(held),
            "remaining": amounts::text((limit - spent - held).max(0)),
            "periodStart": end.map(|_| calendar::text(start)),
            "periodEnd": end.map(calendar::text),
        })
    }

    /// The quotas that a reservation counts on and that still count it.
    fn quotas_of(&self, reservation: &Reservation) -> Vec<Value> {
        let counting = reservation.counted_on.iter().filter(|place| !self.over.contains(place));
        let found = counting.filter_map(|(identity, period)| {
            let (id, quota) = self.quotas.iter().find(|(_, quota)| quota.identity == *identity)?;
            Some((reservation_order(quota, id), self.quota(id, quota, *period)))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(order, _)| *order);
        found.into_iter().map(|(_, quota)| quota).collect()
    }

    fn held_reply(&self, id: &str, replayed: bool) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let mut body = json!({
            "id": id,
            "state": reservation.state.name(),
            "held": held(&reservation.held),
            "createdAt": calendar::text(reservation.created_at),
            "expiresAt": calendar::text(reservation.expires_at),
            "quotas": self.quotas_of(reservation),
        });
        if reservation.granted
            && let Some(Estimate::Tokens { output, .. }) = reservation.estimate
            && reservation.extensions.is_empty()
        {
            body["granted"]["maxOutputTokens"] = output.into();
        }
        with(body, replayed, reservation)
    }

    fn settled_reply(&self, id: &str, replayed: bool) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let left = reservation.held.usd - reservation.charged.usd;
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "charge": { "usd": amounts::text(reservation.charged.usd) },
            "released": amounts::text(left.max(0)),
            "overrun": amounts::text((-left).max(0)),
            "quotas": self.quotas_of(reservation),
        });
        with(body, replayed, reservation)
    }

    fn released_reply(&self, id: &str, replayed: bool) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "released": amounts::text(reservation.held.usd),
            "quotas": self.quotas_of(reservation),
        });
        with(body, replayed, reservation)
    }

    fn recorded_reply(&self, id: &str, replayed: bool) -> Value {
        let Some(reservation) = self.reservations.get(id) else { return Value::Null };
        let body = json!({
            "id": id,
            "state": reservation.state.name(),
            "charge": { "usd": amounts::text(reservation.charged.usd) },
            "quotas": self.quotas_of(reservation),
        });
        with(body, replayed, reservation)
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
        if !matches!(reservation.state, State::Held | State::Released) {
            body["charge"] = json!({ "usd": amounts::text(reservation.charged.usd) });
        }
        if reservation.late {
            body["late"] = true.into();
        }
        body
    }
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
            json!({ "id": quota.id, "limit": amounts::text(quota.limit), "spent": amounts::text(quota.spent), "held": amounts::text(quota.held) })
        })
        .collect();
    let mut body = json!({ "quota": denial.tight.first().map(|quota| &quota.id), "quotas": quotas });
    if let Some(usd) = denial.usd {
        body["affordable"] = json!({ "usd": amounts::text(usd) });
    }
    body
}
