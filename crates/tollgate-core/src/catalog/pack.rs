//! Writes the compact form of the catalog: what [`super::unpack`] reads.
//!
//! The layout is made for two things: it compresses well, and one model can be read without reading the others. Integers are LEB128, texts have
//! their length in front.
//!
//! - `TGC1`, the version, and three tables: sources, regions, and numbers (context windows, tier boundaries) from frequent to rare.
//! - The bodies of the rate cards: everything but their dates. Equal bodies are stored once. The lengths of runs of [`RUN`] bodies come first, so that
//!   a body is found without reading all before it.
//! - The providers' names, each with its number of models, the number of the first body that its cards introduce, and the lengths of its two streams.
//! - The first stream of every provider: for each model its id and aliases, each as the length shared with the name before it and the rest.
//! - The second stream of every provider: for each model context window, longest answer, and its cards: days since the card before, and the body:
//!   0 for the next new one, otherwise how far back.

use std::collections::{BTreeMap, HashMap};

use super::{Adjustment, Change, Confidence, Mode, Model, RateCard, Rates, Schedule, Tier};
use crate::meter::Meter;

/// What a packed catalog begins with.
pub(super) const MAGIC: &[u8] = b"TGC1";
/// How many bodies share one entry in the list of lengths.
pub(super) const RUN: usize = 16;
/// A rate is mantissa × this + its decimals: 0 to 6 for tokens (per million), 0 to 12 for everything else.
pub(super) const TOKEN_SCALES: u64 = 7;
pub(super) const UNIT_SCALES: u64 = 13;
/// The order of the bits that say which meters a list of rates has: frequent ones first.
pub(super) const BITS: [Meter; 17] = [
    Meter::Input,
    Meter::Output,
    Meter::CacheRead,
    Meter::CacheWrite5m,
    Meter::CacheWrite1h,
    Meter::InputAudio,
    Meter::WebSearch,
    Meter::CacheReadAudio,
    Meter::InputImage,
    Meter::OutputImage,
    Meter::OutputAudio,
    Meter::Reasoning,
    Meter::InputVideo,
    Meter::Request,
    Meter::VcpuSecond,
    Meter::GibSecond,
    Meter::SandboxSecond,
];

/// Writes models, which are grouped by provider, in their compact form.
pub(super) fn pack(version: &str, models: &[Model]) -> Vec<u8> {
    let cards = || models.iter().flat_map(|model| &model.rate_cards);
    let tables = Tables {
        sources: frequent_first(cards().map(|card| card.source.clone())),
        regions: frequent_first(cards().flat_map(|card| card.regions.iter().map(|(region, _)| region.clone()))),
        numbers: frequent_first(models.iter().flat_map(|model| {
            let own = [model.context_window.unwrap_or(0), model.max_output_tokens.unwrap_or(0)];
            own.into_iter().chain(model.rate_cards.iter().flat_map(RateCard::all_thresholds))
        })),
    };
    let mut bodies = Bodies::default();
    let mut directory = Writer::default();
    let mut names = Vec::new();
    let mut dates = Vec::new();
    let providers: Vec<&[Model]> = models.chunk_by(|one, next| one.provider == next.provider).collect();
    directory.count(providers.len());
    for models in providers {
        directory.text(models.first().map_or("", |model| &model.provider));
        directory.count(models.len());
        directory.count(bodies.ends.len());
        let (mut own_names, mut own_dates) = (Writer::default(), Writer::default());
        let mut previous = "";
        for model in models {
            own_names.count(model.aliases.len());
            for name in core::iter::once(&model.model).chain(&model.aliases) {
                own_names.name(previous, name);
                previous = name;
            }
            own_dates.index(&tables.numbers, &model.context_window.unwrap_or(0));
            own_dates.index(&tables.numbers, &model.max_output_tokens.unwrap_or(0));
            own_dates.count(model.rate_cards.len());
            let mut before = 0;
            for card in &model.rate_cards {
                let days = u64::try_from(card.from.millis() / 86_400_000).unwrap_or(0);
                own_dates.number(days - before);
                before = days;
                own_dates.count(bodies.refer_to(tables.body(card)));
            }
        }
        directory.count(own_names.0.len());
        directory.count(own_dates.0.len());
        names.extend(own_names.0);
        dates.extend(own_dates.0);
    }

    let mut all = Writer(MAGIC.to_vec());
    all.text(version);
    all.texts(&tables.sources);
    all.texts(&tables.regions);
    all.count(tables.numbers.len());
    for number in &tables.numbers {
        all.number(*number);
    }
    bodies.write(&mut all);
    for part in [directory.0, names, dates] {
        all.0.extend(part);
    }
    all.0
}

struct Tables {
    sources: Vec<String>,
    regions: Vec<String>,
    numbers: Vec<u64>,
}

impl Tables {
    fn body(&self, card: &RateCard) -> Vec<u8> {
        let mut body = Writer::default();
        let has = |yes: bool, bit: u64| u64::from(yes) << bit;
        body.number(
            confidence(card.confidence)
                | has(!card.tiers.is_empty(), 2)
                | has(!card.modes.is_empty(), 3)
                | has(!card.regions.is_empty(), 4)
                | has(!card.schedules.is_empty(), 5),
        );
        body.index(&self.sources, &card.source);
        body.rates(&card.base);
        if !card.tiers.is_empty() {
            self.tiers(&mut body, &card.tiers);
        }
        if !card.modes.is_empty() {
            body.count(card.modes.len());
            for (mode, adjustment) in &card.modes {
                body.number(match mode {
                    Mode::Batch => 0,
                    Mode::Flex => 1,
                    Mode::Priority => 2,
                });
                self.adjustment(&mut body, adjustment);
            }
        }
        if !card.regions.is_empty() {
            body.count(card.regions.len());
            for (region, adjustment) in &card.regions {
                body.index(&self.regions, region);
                self.adjustment(&mut body, adjustment);
            }
        }
        if !card.schedules.is_empty() {
            body.count(card.schedules.len());
            for schedule in &card.schedules {
                body.schedule(schedule);
            }
        }
        body.0
    }

    fn tiers(&self, body: &mut Writer, tiers: &[Tier]) {
        body.count(tiers.len());
        for tier in tiers {
            body.index(&self.numbers, &tier.at_least);
            body.rates(&tier.rates);
        }
    }

    fn adjustment(&self, body: &mut Writer, adjustment: &Adjustment) {
        let sure = adjustment.confidence.map_or(0, |level| 1 + confidence(level));
        match &adjustment.change {
            Change::Multiplier(by) => {
                body.number(sure << 2);
                body.decimal(by.picos(), UNIT_SCALES);
            }
            Change::Rates { base, tiers } if tiers.is_empty() => {
                body.number(sure << 2 | 1);
                body.rates(base);
            }
            Change::Rates { base, tiers } => {
                body.number(sure << 2 | 2);
                body.rates(base);
                self.tiers(body, tiers);
            }
        }
    }
}

/// The distinct bodies so far, in the order in which they were first referred to.
#[derive(Default)]
struct Bodies {
    known: HashMap<Vec<u8>, usize>,
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Bodies {
    fn refer_to(&mut self, body: Vec<u8>) -> usize {
        let next = self.ends.len();
        if let Some(known) = self.known.get(&body) {
            return next - known;
        }
        self.bytes.extend(&body);
        self.ends.push(self.bytes.len());
        self.known.insert(body, next);
        0
    }

    fn write(&self, all: &mut Writer) {
        all.count(self.ends.len());
        let mut start = 0;
        for run in self.ends.chunks(RUN) {
            let end = run.last().copied().unwrap_or(start);
            all.count(end - start);
            start = end;
        }
        all.0.extend(&self.bytes);
    }
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                return self.0.push(low);
            }
            self.0.push(low | 0x80);
        }
    }

    fn count(&mut self, value: usize) {
        self.number(u64::try_from(value).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    /// A name, given the one before it.
    fn name(&mut self, previous: &str, name: &str) {
        let shared = previous.chars().zip(name.chars()).take_while(|(one, other)| one == other);
        let shared = shared.map(|(char, _)| char.len_utf8()).sum();
        self.count(shared);
        self.text(name.get(shared..).unwrap_or_default());
    }

    fn index<T: PartialEq>(&mut self, table: &[T], value: &T) {
        self.count(table.iter().position(|known| known == value).unwrap_or(usize::MAX));
    }

    /// A number of 10⁻¹², without the zeros at its end.
    fn decimal(&mut self, picos: i128, scales: u64) {
        let mut mantissa = u64::try_from(picos).unwrap_or(u64::MAX);
        let mut scale = 12;
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        self.number(mantissa.saturating_mul(scales).saturating_add(scale));
    }

    fn rates(&mut self, rates: &Rates) {
        let named = || (0_u64..).zip(BITS).filter_map(|(bit, meter)| Some((bit, meter, rates.get(meter)?)));
        self.number(named().map(|(bit, ..)| 1 << bit).sum());
        for (_, meter, rate) in named() {
            if meter.is_token() {
                self.decimal(rate.usd().picos().saturating_mul(1_000_000), TOKEN_SCALES);
            } else {
                self.decimal(rate.usd().picos(), UNIT_SCALES);
            }
        }
    }

    fn schedule(&mut self, schedule: &Schedule) {
        for time in [schedule.from, schedule.to] {
            self.number(u64::try_from(time / 60_000).unwrap_or(0));
        }
        self.number(schedule.weekdays.into());
        self.count(schedule.except.len());
        let mut before = 0;
        for day in &schedule.except {
            self.number(day - before);
            before = *day;
        }
        self.rates(&schedule.rates);
    }
}

const fn confidence(level: Confidence) -> u64 {
    match level {
        Confidence::Confirmed => 0,
        Confidence::Single => 1,
        Confidence::Reported => 2,
    }
}

/// The distinct values, the most frequent first, so that most of them take one byte.
fn frequent_first<T: Ord + Clone>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut table: Vec<(T, usize)> = counts.into_iter().collect();
    table.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    table.into_iter().map(|(value, _)| value).collect()
}
