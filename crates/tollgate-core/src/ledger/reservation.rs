//! One reservation or record, from its opening to its end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::command::{Actual, ExtendRequest, HoldTerms, Reading, RecordMode};
use super::event::{Placement, Replaced};
use super::funds::Drawn;
use super::repeats::{self, Fingerprints};
use crate::amount::Amount;
use crate::bounds::{Amounts, Estimate, SandboxBounds};
use crate::call::Call;
use crate::catalog::ModelName;
use crate::fault::{self, Fault};
use crate::ids::{AdjustmentId, Name, Reason, RefundId, ReservationId};
use crate::money::Usd;
use crate::price::{Basis, Charge};
use crate::quota::Unit;
use crate::time::Timestamp;

/// A hold, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// Chosen by the caller.
    pub id: ReservationId,
    /// What is paid for.
    pub call: Arc<Call>,
    /// The model whose rates it has, where that is not what it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rated_as: Option<Arc<ModelName>>,
    /// What was asked first; a repeat must ask the same.
    pub opening: Opening,
    /// The estimate that was held, where the one that was asked for did not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Estimate>,
    /// The upper bound that is, or was last, held.
    pub held: Amounts,
    /// The part of it that the input alone can cost.
    pub input: Amounts,
    /// Where the rates come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// The quotas, with their periods, that it counts on.
    pub counted_on: Arc<[Placement]>,
    /// When it was opened: the instant that decides its periods and its rate card.
    pub created_at: Timestamp,
    /// When it ends unless extended.
    pub expires_at: Timestamp,
    /// The resources that it was last said to have, where it is for a sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxBounds>,
    /// The latest extensions, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtendRequest>,
    /// What is remembered of older ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_extensions: Option<Box<OlderExtensions>>,
    /// What it draws on credits. Once it has ended, those that it drew on and that got all back are there too: what becomes known of it
    /// later is drawn from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drawn: Vec<Drawn>,
    /// What was charged of it while it was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<Box<Metered>>,
    /// Its one end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// The entry that opened it, where no other has changed it before its end: then these two entries tell all of it, and whoever keeps the
    /// entries need not keep it a second time. A hint, and no part of the state: None where it is not known.
    #[serde(skip)]
    pub opened_by: Option<u64>,
}

/// The extensions before the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OlderExtensions {
    /// What they were.
    pub known: Fingerprints,
    /// The longest that one of them asked for, where any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u32>,
}

/// What a call has used so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metered {
    /// The entry that charged it.
    pub seq: u64,
    /// The entry of the first reading, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// The latest readings, oldest first; the last one is what was charged.
    pub readings: Vec<Reading>,
    /// What is remembered of older ones.
    #[serde(default, skip_serializing_if = "Fingerprints::is_empty")]
    pub older_readings: Fingerprints,
    /// The price so far.
    pub charge: Charge,
    /// It in every unit.
    pub spent: Amounts,
    /// The tokens of the prompt that were reported, where any were.
    #[serde(default)]
    pub input_tokens: u64,
    /// The tokens of the answer, likewise.
    #[serde(default)]
    pub output_tokens: u64,
}

/// How it was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// By a reserve.
    Reserve(HoldTerms),
    /// By a record, which also ended it.
    Record(RecordMode),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// In which way.
    pub state: EndState,
    /// When.
    pub at: Timestamp,
    /// The entry that ended it.
    pub seq: u64,
    /// What was reported, where anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<Actual>,
    /// What was charged. None for a release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charge: Option<Charge>,
    /// What counts of the charge in every unit: what it comes to, without what was refunded.
    pub spent: Amounts,
    /// Whether the actual came after expiry and corrected the ledger.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub late: bool,
    /// What has adjusted the charge since, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<AdjustmentId>,
    /// What was taken back of the charge, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refunds: Vec<Refund>,
    /// The entry that changed the charge last, where one has since the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
}

/// What was taken back of a charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    /// Chosen by the caller.
    pub id: RefundId,
    /// How much.
    pub usd: Usd,
    /// Whether it was asked for as all that was left.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub all: bool,
    /// Why.
    pub reason: Reason,
    /// Who said so.
    pub by: Name,
    /// When.
    pub at: Timestamp,
}

impl End {
    /// Whether something has corrected the charge since.
    #[must_use]
    pub const fn is_corrected(&self) -> bool {
        self.late || !self.adjustments.is_empty() || !self.refunds.is_empty()
    }

    /// Whether it expired and nobody has said what was used: its late settle may still come.
    #[must_use]
    pub const fn awaits_report(&self) -> bool {
        matches!(self.state, EndState::Expired) && !self.late
    }

    /// What counts of a charge of so much: a refund stays what it was, whatever the charge is corrected to, and takes back no more
    /// than there is.
    #[must_use]
    pub fn net(&self, charge: Usd) -> Usd {
        if fault::on(Fault::CorrectionForgetsRefunds) {
            return charge;
        }
        self.refunds.iter().fold(charge, |left, refund| left.minus(refund.usd)).or_zero()
    }
}

/// The ways to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndState {
    /// Replaced by the actual charge.
    Settled,
    /// Ended without a charge.
    Released,
    /// Ended unreported.
    Expired,
    /// Charged without a hold.
    Recorded,
}

impl Reservation {
    /// Whether it still holds money.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Whether an extension was made before: with the same content, or with another. None where it is new.
    pub(super) fn knows_extension(&self, request: &ExtendRequest) -> Option<bool> {
        let none = Fingerprints::default();
        let older = self.older_extensions.as_ref().map_or(&none, |older| &older.known);
        repeats::known(&self.extensions, older, request)
    }

    /// How many extensions it remembers.
    pub(super) fn known_extensions(&self) -> usize {
        self.extensions.len().saturating_add(self.older_extensions.as_ref().map_or(0, |older| older.known.len()))
    }

    pub(super) fn remember_extension(&mut self, request: &ExtendRequest, counted: bool) {
        let mut older = self.older_extensions.take().unwrap_or_default();
        let longest = self.longest_extension(older.ttl_seconds);
        repeats::remember(&mut self.extensions, &mut older.known, request.clone(), counted);
        if !older.known.is_empty() {
            older.ttl_seconds = longest;
            self.older_extensions = Some(older);
        }
    }

    /// The same of a reading.
    pub(super) fn knows_reading(&self, reading: &Reading) -> Option<bool> {
        self.metered.as_ref().and_then(|known| repeats::known(&known.readings, &known.older_readings, reading))
    }

    /// How many readings it remembers.
    pub(super) fn known_readings(&self) -> usize {
        self.metered.as_ref().map_or(0, |known| known.readings.len().saturating_add(known.older_readings.len()))
    }

    /// How many extensions and readings it remembers by their fingerprints.
    pub(super) fn fingerprints(&self) -> usize {
        let readings = self.metered.as_ref().map_or(0, |known| known.older_readings.len());
        readings.saturating_add(self.older_extensions.as_ref().map_or(0, |older| older.known.len()))
    }

    /// The longest that it was ever to last from the instant at which that was asked for.
    pub(super) fn longest_ttl(&self) -> u32 {
        let asked = match &self.opening {
            Opening::Reserve(terms) => terms.ttl_seconds,
            Opening::Record(_) => 0,
        };
        let older = self.older_extensions.as_ref().and_then(|older| older.ttl_seconds);
        self.longest_extension(older).map_or(asked, |longest| longest.max(asked))
    }

    fn longest_extension(&self, older: Option<u32>) -> Option<u32> {
        self.extensions.iter().map(|extension| extension.ttl_seconds).fold(older, Option::max)
    }

    /// What of a unit is still held while it is open: what was metered of it is spent.
    pub(super) fn resting(&self, unit: Unit) -> Amount {
        self.resting_of(unit, &self.held)
    }

    /// The same, if it held so much.
    pub(super) fn resting_of(&self, unit: Unit, held: &Amounts) -> Amount {
        unit.held(held).minus(self.metered_of(unit)).or_zero()
    }

    /// What of a unit was metered.
    pub(super) fn metered_of(&self, unit: Unit) -> Amount {
        self.metered.as_ref().map_or(Amount::ZERO, |metered| unit.spent(&metered.spent))
    }

    /// The entry that the amounts in force are from. None where that is not known, since it was not written down then; or where nothing
    /// was charged yet.
    pub(super) fn charged_by(&self) -> Option<u64> {
        let metered = self.metered.as_ref().map(|metered| metered.seq);
        let Some(end) = &self.end else { return metered };
        let is_as_ended = !end.late && end.adjustments.is_empty();
        end.changed.or(match end.state {
            // It charged nothing of its own.
            EndState::Released => metered,
            _ => is_as_ended.then_some(end.seq),
        })
    }

    /// What a charge of it replaces: what it was charged when it ended, or what was metered.
    pub(super) fn replaced(&self) -> Option<Replaced> {
        let metered = self.metered.as_ref().map(|metered| Replaced {
            seq: metered.seq,
            first: metered.first,
            amounts: metered.spent,
            input_tokens: metered.input_tokens,
            output_tokens: metered.output_tokens,
        });
        match &self.end {
            None => metered,
            Some(end) => Some(Replaced {
                seq: end.seq,
                first: metered.as_ref().map(Replaced::since),
                amounts: end.spent,
                ..metered.unwrap_or_default()
            }),
        }
    }

    /// The state's name on the wire.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match self.end.as_ref().map(|end| end.state) {
            None => "held",
            Some(EndState::Settled) => "settled",
            Some(EndState::Released) => "released",
            Some(EndState::Expired) => "expired",
            Some(EndState::Recorded) => "recorded",
        }
    }
}
