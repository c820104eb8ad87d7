//! Reads the compact form of the catalog that [`super::pack`] writes: the tables at once, a provider's names when the provider is first asked for, a
//! model's rate cards when that model is.

use core::ops::Range;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::name_hash::ByName;
use super::pack::{BITS, MAGIC, RUN, TOKEN_SCALES, UNIT_SCALES};
use super::{Adjustment, CatalogError, Change, Confidence, Mode, Model, Rate, RateCard, Rates, Schedule, Tier};
use crate::money::Usd;
use crate::ratio::Ratio;
use crate::time::Timestamp;

/// A packed catalog, of which what was asked for has been read.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Cow<'static, [u8]>,
    pub(super) version: Arc<str>,
    sources: Vec<String>,
    regions: Vec<String>,
    numbers: Vec<u64>,
    /// Where each run of bodies begins.
    runs: Vec<usize>,
    shelves: Vec<Shelf>,
    by_provider: ByName<usize>,
}

/// One provider's models.
#[derive(Debug)]
struct Shelf {
    provider: String,
    models: usize,
    first_body: usize,
    names: Range<usize>,
    dates: Range<usize>,
    index: OnceLock<Option<Index>>,
}

#[derive(Debug)]
struct Index {
    by_name: ByName<usize>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The id and the aliases.
    names: Vec<Box<str>>,
    dates_at: usize,
    /// The number of the first body that this model's cards introduce.
    next_body: usize,
    model: OnceLock<Option<Model>>,
}

impl Packed {
    /// Reads the tables.
    ///
    /// # Errors
    /// The bytes are not a packed catalog.
    pub(super) fn open(bytes: Cow<'static, [u8]>) -> Result<Self, CatalogError> {
        Self::tables(bytes).ok_or_else(|| CatalogError {
            place: "the compact form".to_owned(),
            message: "is not what `cargo xtask catalog update` writes".to_owned(),
        })
    }

    /// The model that a provider calls by exactly this name.
    pub(super) fn model(&self, provider: &str, model: &str) -> Option<&Model> {
        let shelf = self.shelves.get(*self.by_provider.get(provider)?)?;
        let index = self.index(shelf)?;
        self.entry(shelf, index.entries.get(*index.by_name.get(model)?)?)
    }

    /// Every provider, with how many models it has, in the order of the files.
    pub(super) fn providers(&self) -> impl Iterator<Item = (&str, usize)> {
        self.shelves.iter().map(|shelf| (shelf.provider.as_str(), shelf.models))
    }

    /// Every model, in the order of the files. None where the bytes are damaged.
    pub(super) fn all(&self) -> Option<Vec<Model>> {
        let mut all = Vec::new();
        for shelf in &self.shelves {
            for entry in &self.index(shelf)?.entries {
                all.push(self.entry(shelf, entry)?.clone());
            }
        }
        Some(all)
    }

    /// The compact form itself.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn tables(bytes: Cow<'static, [u8]>) -> Option<Self> {
        let mut reader = Reader { bytes: &bytes, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let version = reader.text()?.into();
        let sources = reader.texts()?;
        let regions = reader.texts()?;
        let numbers = reader.list(Reader::number)?;
        let bodies = reader.count()?;
        // Lengths, until all of them are known.
        let mut runs = (0..bodies.div_ceil(RUN)).map(|_| reader.count()).collect::<Option<Vec<_>>>()?;
        let mut at = reader.at;
        for run in &mut runs {
            let length = *run;
            *run = at;
            at = at.checked_add(length)?;
        }
        reader.at = at;
        let mut shelves = reader.list(|reader| {
            Some(Shelf {
                provider: reader.text()?.to_owned(),
                models: reader.count()?,
                first_body: reader.count()?,
                // These are lengths too.
                names: 0..reader.count()?,
                dates: 0..reader.count()?,
                index: OnceLock::new(),
            })
        })?;
        let mut at = reader.at;
        let place = |range: &mut Range<usize>, at: &mut usize| -> Option<()> {
            *range = *at..at.checked_add(range.end)?;
            *at = range.end;
            Some(())
        };
        for shelf in &mut shelves {
            place(&mut shelf.names, &mut at)?;
        }
        for shelf in &mut shelves {
            place(&mut shelf.dates, &mut at)?;
        }
        if at != bytes.len() {
            return None;
        }
        let by_provider = shelves.iter().enumerate().map(|(at, shelf)| (shelf.provider.as_str().into(), at)).collect();
        Some(Self { version, sources, regions, numbers, runs, shelves, by_provider, bytes })
    }

    fn index<'a>(&self, shelf: &'a Shelf) -> Option<&'a Index> {
        shelf.index.get_or_init(|| self.read_index(shelf)).as_ref()
    }

    fn read_index(&self, shelf: &Shelf) -> Option<Index> {
        let mut names = Reader { bytes: &self.bytes, at: shelf.names.start };
        let mut dates = Reader { bytes: &self.bytes, at: shelf.dates.start };
        let mut by_name = ByName::with_capacity_and_hasher(shelf.models.min(self.bytes.len()), Default::default());
        let mut entries: Vec<Entry> = Vec::with_capacity(shelf.models.min(self.bytes.len()));
        let mut previous = String::new();
        let mut next_body = shelf.first_body;
        for at in 0..shelf.models {
            let mut own = Vec::new();
            for _ in 0..=names.count()? {
                let shared = names.count()?;
                go_on(&mut previous, shared, names.text()?)?;
                own.push(previous.as_str().into());
                by_name.insert(previous.as_str().into(), at);
            }
            entries.push(Entry { names: own, dates_at: dates.at, next_body, model: OnceLock::new() });
            dates.count()?;
            dates.count()?;
            for _ in 0..dates.count()? {
                dates.number()?;
                if dates.count()? == 0 {
                    next_body += 1;
                }
            }
        }
        Some(Index { by_name, entries })
    }

    fn entry<'a>(&self, shelf: &Shelf, entry: &'a Entry) -> Option<&'a Model> {
        entry.model.get_or_init(|| self.read_model(shelf, entry)).as_ref()
    }

    fn read_model(&self, shelf: &Shelf, entry: &Entry) -> Option<Model> {
        let mut names = entry.names.iter().map(|name| name.clone().into_string());
        let model = names.next()?;
        let mut dates = Reader { bytes: &self.bytes, at: entry.dates_at };
        let tokens = |index: usize| self.numbers.get(index).map(|tokens| Some(*tokens).filter(|tokens| *tokens > 0));
        let context_window = tokens(dates.count()?)?;
        let max_output_tokens = tokens(dates.count()?)?;
        let mut next_body = entry.next_body;
        let mut day = 0_u64;
        let rate_cards = dates.list(|dates| {
            day = day.checked_add(dates.number()?)?;
            let body = match dates.count()? {
                0 => {
                    next_body += 1;
                    next_body - 1
                }
                back => next_body.checked_sub(back)?,
            };
            let from = Timestamp::from_millis(i64::try_from(day).ok()?.checked_mul(86_400_000)?).ok()?;
            let date = from.to_string();
            let id = format!("{}/{model}@{}", shelf.provider, date.get(..10)?);
            self.read_card(body, id, from)
        })?;
        if rate_cards.is_empty() {
            return None;
        }
        Some(Model {
            provider: shelf.provider.clone(),
            aliases: names.collect(),
            model,
            context_window,
            max_output_tokens,
            rate_cards,
        })
    }

    fn read_card(&self, body: usize, id: String, from: Timestamp) -> Option<RateCard> {
        let mut reader = Reader { bytes: &self.bytes, at: *self.runs.get(body / RUN)? };
        for _ in 0..body % RUN {
            self.card(&mut reader, "".into(), from)?;
        }
        self.card(&mut reader, id.into(), from)
    }

    fn card(&self, reader: &mut Reader<'_>, id: Arc<str>, from: Timestamp) -> Option<RateCard> {
        let head = reader.number()?;
        let source = self.sources.get(reader.count()?)?.clone();
        let base = reader.rates()?;
        let has = |bit: u64| head >> bit & 1 == 1;
        let tiers = if has(2) { self.tiers(reader)? } else { Vec::new() };
        let modes = if has(3) {
            reader.list(|reader| {
                let mode = match reader.number()? {
                    0 => Mode::Batch,
                    1 => Mode::Flex,
                    2 => Mode::Priority,
                    _ => return None,
                };
                Some((mode, self.adjustment(reader)?))
            })?
        } else {
            Vec::new()
        };
        let regions = if has(4) {
            reader.list(|reader| Some((self.regions.get(reader.count()?)?.clone(), self.adjustment(reader)?)))?
        } else {
            Vec::new()
        };
        let schedules = if has(5) { reader.list(Reader::schedule)? } else { Vec::new() };
        Some(RateCard { id, from, base, tiers, modes, regions, schedules, source, confidence: confidence(head & 3)? })
    }

    fn tiers(&self, reader: &mut Reader<'_>) -> Option<Vec<Tier>> {
        reader.list(|reader| Some(Tier { at_least: *self.numbers.get(reader.count()?)?, rates: reader.rates()? }))
    }

    fn adjustment(&self, reader: &mut Reader<'_>) -> Option<Adjustment> {
        let head = reader.number()?;
        let change = match head & 3 {
            0 => Change::Multiplier(Ratio::from_picos(reader.decimal(UNIT_SCALES, 0)?)),
            1 => Change::Rates { base: reader.rates()?, tiers: Vec::new() },
            _ => Change::Rates { base: reader.rates()?, tiers: self.tiers(reader)? },
        };
        let confidence = match head >> 2 {
            0 => None,
            level => Some(confidence(level - 1)?),
        };
        Some(Adjustment { change, confidence })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.count()?;
        core::str::from_utf8(self.take(length)?).ok()
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        (0..self.count()?).map(|_| one(self)).collect()
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        self.list(|reader| reader.text().map(str::to_owned))
    }

    /// A decimal, shifted by some digits to the right, in 10⁻¹².
    fn decimal(&mut self, scales: u64, shift: u32) -> Option<i128> {
        let value = self.number()?;
        let scale = u32::try_from(value % scales).ok()?;
        i128::from(value / scales).checked_mul(10_i128.checked_pow(12_u32.checked_sub(scale + shift)?)?)
    }

    fn rates(&mut self) -> Option<Rates> {
        let named = self.number()?;
        let mut rates = Rates::default();
        for (bit, meter) in (0_u64..).zip(BITS) {
            if named >> bit & 1 == 1 {
                let (scales, shift) = if meter.is_token() { (TOKEN_SCALES, 6) } else { (UNIT_SCALES, 0) };
                rates.set(meter, Rate::per_one(Usd::from_picos(self.decimal(scales, shift)?).within_range().ok()?));
            }
        }
        Some(rates)
    }

    fn schedule(&mut self) -> Option<Schedule> {
        let mut time = || i64::try_from(self.number()?).ok()?.checked_mul(60_000);
        let (from, to) = (time()?, time()?);
        let weekdays = u8::try_from(self.number()?).ok()?;
        let mut day = 0_u64;
        let except = self.list(|reader| {
            day = day.checked_add(reader.number()?)?;
            Some(day)
        })?;
        Some(Schedule { from, to, weekdays, except, rates: self.rates()? })
    }
}

const fn confidence(level: u64) -> Option<Confidence> {
    match level {
        0 => Some(Confidence::Confirmed),
        1 => Some(Confidence::Single),
        2 => Some(Confidence::Reported),
        _ => None,
    }
}

/// A name is written as how much of the one before it begins with, in bytes, and the rest.
fn go_on(name: &mut String, shared: usize, rest: &str) -> Option<()> {
    if !name.is_char_boundary(shared) {
        return None;
    }
    name.truncate(shared);
    name.push_str(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_begins_with_a_whole_part_of_the_one_before() {
        let mut name = "modèle".to_owned();
        assert_eq!(go_on(&mut name, 5, "e"), Some(()));
        assert_eq!(name, "modèe");
        for impossible in [4, 7, usize::MAX] {
            assert_eq!(go_on(&mut name, impossible, "x"), None, "{impossible}");
        }
        assert_eq!(name, "modèe");
    }
}
