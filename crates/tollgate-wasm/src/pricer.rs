//! Prices without text: what a call is priced by is looked up once and has a number from then on, quantities are given as numbers, and only the sum comes back
//! as text. Everything else about the charge is the same each time, or is asked for as JSON when somebody looks at it.

use tollgate_core::catalog::{Catalog, Mode, Model, RateCard, Rating, Terms};
use tollgate_core::ids::Name;
use tollgate_core::meter::{Meter, Quantity, Usage};
use tollgate_core::price;
use wasm_bindgen::prelude::wasm_bindgen;

/// The longest sum: twenty-odd digits and a point.
const LONGEST: usize = 48;

/// Prices usages of models that it was told of.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Pricer {
    known: Vec<Known>,
    /// By meter, in the order of [`Meter::ALL`]. JavaScript writes here.
    quantities: Box<[f64; Meter::ALL.len()]>,
    /// The last sum. JavaScript reads here.
    sum: Box<[u8; LONGEST]>,
}

/// Everything that chooses rates besides the time and the prompt.
#[derive(Debug)]
struct Known {
    model: &'static Model,
    mode: Option<Mode>,
    region: Option<Name>,
}

#[wasm_bindgen]
impl Pricer {
    /// One that knows nothing yet.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Self {
        Self { known: Vec::new(), quantities: Box::new([0.0; Meter::ALL.len()]), sum: Box::new([0; LONGEST]) }
    }

    /// Where to write quantities: one number for each name in [`Pricer::meters`].
    #[wasm_bindgen(js_name = quantitiesAt)]
    #[must_use]
    pub fn quantities_at(&self) -> usize {
        self.quantities.as_ptr().addr()
    }

    /// Where to read the sum, in ASCII.
    #[wasm_bindgen(js_name = sumAt)]
    #[must_use]
    pub fn sum_at(&self) -> usize {
        self.sum.as_ptr().addr()
    }

    /// The names of the meters, with commas between them.
    #[must_use]
    pub fn meters(&self) -> String {
        Meter::ALL.map(Meter::name).join(",")
    }

    /// The number by which a model, in a mode and a region (empty where there is none), is called from now on. 0 where the price list has no such thing.
    pub fn know(&mut self, provider: &str, model: &str, mode: &str, region: &str) -> u32 {
        self.learn(provider, model, mode, region).unwrap_or(0)
    }

    /// Prices the quantities at `at_ms`. The answer has the length of the sum in its lowest byte, then a byte with a bit for every flag, then the place of the
    /// rate card among those of its model. 0 where there is no price: asking for the charge says why.
    pub fn price(&mut self, number: u32, at_ms: f64) -> u32 {
        self.sum_up(number, at_ms).unwrap_or(0)
    }
}

impl Default for Pricer {
    fn default() -> Self {
        Self::new()
    }
}

impl Pricer {
    fn learn(&mut self, provider: &str, model: &str, mode: &str, region: &str) -> Option<u32> {
        let model = Catalog::builtin().ok()?.model(provider, model)?;
        let mode = match mode {
            "" => None,
            name => Some(Mode::ALL.into_iter().find(|mode| mode.to_string() == name)?),
        };
        let region = match region {
            "" => None,
            name => Some(name.parse().ok()?),
        };
        self.known.push(Known { model, mode, region });
        u32::try_from(self.known.len()).ok()
    }

    fn sum_up(&mut self, number: u32, at_ms: f64) -> Option<u32> {
        let known = self.known.get(usize::try_from(number).ok()?.checked_sub(1)?)?;
        let at = crate::at(at_ms).ok()?;
        let mut usage = Usage::new();
        for (meter, count) in Meter::ALL.into_iter().zip(*self.quantities) {
            if count != 0.0 {
                usage.add(meter, whole(count)?).ok()?;
            }
        }
        let catalog = Catalog::builtin().ok()?;
        let card = known.model.rate_card(at).ok()?;
        let terms = Terms { at, mode: known.mode, region: known.region.as_ref() };
        let charge = price::price(&Rating::of_card(catalog, card, terms), &usage).ok()?;
        let text = charge.usd.to_string();
        self.sum.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let flags: u32 = charge.flags.iter().map(|flag| 1 << (*flag as u32)).sum();
        let place = place_of(known.model, card)?;
        Some(u32::try_from(text.len()).ok()? | flags << 8 | place << 16)
    }
}

fn place_of(model: &Model, card: &RateCard) -> Option<u32> {
    u32::try_from(model.rate_cards().iter().position(|other| other.from == card.from)?).ok()
}

/// A count that JavaScript has as a number.
fn whole(count: f64) -> Option<Quantity> {
    let in_range = (0.0..=Quantity::MAX as f64).contains(&count) && count.trunc() == count;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number within the range of quantities"
    )]
    in_range.then_some(count as u64).and_then(|count| Quantity::from_count(count).ok())
}
