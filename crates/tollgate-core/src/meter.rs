//! Meters and usage: what one call consumed, in pools that never overlap.
//!
//! Providers report totals that contain each other (OpenAI's prompt tokens include the cached ones, Anthropic's do
//! not). A [`Usage`] has one quantity per [`Meter`], and the meters exclude each other, so that adding up
//! quantity × rate can never count a token twice.

use core::fmt;
use core::str::FromStr;

use serde::de::{self, DeserializeSeed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decimal::{self, Unreadable};

/// One exclusive thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meter {
    /// Fresh text input tokens: neither read from nor written to a prompt cache.
    Input,
    /// Input tokens read from a prompt cache.
    CacheRead,
    /// Input tokens written to a prompt cache that lives for five minutes (or for the provider's only lifetime).
    CacheWrite5m,
    /// Input tokens written to a prompt cache that lives for one hour.
    CacheWrite1h,
    /// Visible text output tokens.
    Output,
    /// Output tokens that the model spent on thinking and that are billed but not shown.
    Reasoning,
    /// Fresh audio input tokens.
    InputAudio,
    /// Audio input tokens read from a prompt cache.
    CacheReadAudio,
    /// Audio output tokens.
    OutputAudio,
    /// Image input tokens, where they have a rate of their own.
    InputImage,
    /// Image output tokens.
    OutputImage,
    /// Video input tokens.
    InputVideo,
    /// Calls, where a call has a fee of its own.
    Request,
    /// Web searches that the provider ran.
    WebSearch,
    /// Seconds × virtual CPUs allocated to a sandbox.
    VcpuSecond,
    /// Seconds × GiB of memory allocated to a sandbox.
    GibSecond,
    /// Seconds a sandbox ran, where the tier has one price for the whole box.
    SandboxSecond,
}

impl Meter {
    /// Every meter, in the order in which charge lines are printed.
    pub const ALL: [Self; 17] = [
        Self::Input,
        Self::CacheRead,
        Self::CacheWrite5m,
        Self::CacheWrite1h,
        Self::InputAudio,
        Self::CacheReadAudio,
        Self::InputImage,
        Self::InputVideo,
        Self::Output,
        Self::Reasoning,
        Self::OutputAudio,
        Self::OutputImage,
        Self::Request,
        Self::WebSearch,
        Self::VcpuSecond,
        Self::GibSecond,
        Self::SandboxSecond,
    ];

    /// The meter's name in the catalog, on the wire and in usage objects.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CacheRead => "cache_read",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::InputAudio => "input_audio",
            Self::CacheReadAudio => "cache_read_audio",
            Self::OutputAudio => "output_audio",
            Self::InputImage => "input_image",
            Self::OutputImage => "output_image",
            Self::InputVideo => "input_video",
            Self::Request => "request",
            Self::WebSearch => "web_search",
            Self::VcpuSecond => "vcpu_second",
            Self::GibSecond => "gib_second",
            Self::SandboxSecond => "sandbox_second",
        }
    }

    /// What kind of thing the meter counts.
    #[must_use]
    pub const fn kind(self) -> MeterKind {
        match self {
            Self::Input
            | Self::CacheRead
            | Self::CacheWrite5m
            | Self::CacheWrite1h
            | Self::InputAudio
            | Self::CacheReadAudio
            | Self::InputImage
            | Self::InputVideo => MeterKind::InputTokens,
            Self::Output | Self::Reasoning | Self::OutputAudio | Self::OutputImage => MeterKind::OutputTokens,
            Self::Request | Self::WebSearch => MeterKind::Count,
            Self::VcpuSecond | Self::GibSecond | Self::SandboxSecond => MeterKind::Seconds,
        }
    }

    /// Whether the meter counts tokens. Token rates are published per million, all others per one.
    #[must_use]
    pub const fn is_token(self) -> bool {
        matches!(self.kind(), MeterKind::InputTokens | MeterKind::OutputTokens)
    }
}

/// The four kinds of [`Meter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterKind {
    /// Part of the prompt. All of these together choose the tier.
    InputTokens,
    /// Part of the answer.
    OutputTokens,
    /// Fees per event.
    Count,
    /// Resources × time.
    Seconds,
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a [`Meter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown meter `{0}`")]
pub struct UnknownMeter(pub String);

impl FromStr for Meter {
    type Err = UnknownMeter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|meter| meter.name() == text).ok_or_else(|| UnknownMeter(text.to_owned()))
    }
}

impl Serialize for Meter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Meter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl de::Visitor<'_> for Name {
            type Value = Meter;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a meter")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Meter, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// A quantity of one meter: tokens, calls or resource-seconds. From 0 to [`Quantity::MAX`], at most
/// [`Quantity::SCALE`] decimals: a whole number of millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(u64);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(Self::MICROS_PER_ONE);
    /// The largest quantity: 10¹², more than any provider's context by far, small enough that sums stay exact.
    pub const MAX: u64 = 1_000_000_000_000;
    /// The most decimals a quantity may have: half a GiB for a tenth of a second and the like.
    pub const SCALE: u32 = 6;
    /// How many millionths make one.
    pub const MICROS_PER_ONE: u64 = 1_000_000;

    /// A quantity of millionths.
    ///
    /// # Errors
    /// It is above [`Quantity::MAX`].
    pub const fn from_micros(micros: u64) -> Result<Self, InvalidQuantity> {
        if micros > Self::MAX * Self::MICROS_PER_ONE { Err(InvalidQuantity::TooLarge) } else { Ok(Self(micros)) }
    }

    /// A whole quantity, such as a token count.
    ///
    /// # Errors
    /// The count is above [`Quantity::MAX`].
    pub const fn from_count(count: u64) -> Result<Self, InvalidQuantity> {
        if count > Self::MAX { Err(InvalidQuantity::TooLarge) } else { Ok(Self(count * Self::MICROS_PER_ONE)) }
    }

    /// The quantity in millionths.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The quantity without its decimals.
    #[must_use]
    pub const fn whole(self) -> u64 {
        self.0 / Self::MICROS_PER_ONE
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it has no decimals.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.0.is_multiple_of(Self::MICROS_PER_ONE)
    }

    /// The product of two quantities, such as seconds × vCPUs; rounded up to [`Quantity::SCALE`] decimals.
    ///
    /// # Errors
    /// The product is above [`Quantity::MAX`].
    pub fn times(self, other: Self) -> Result<Self, InvalidQuantity> {
        let micros = (u128::from(self.0) * u128::from(other.0)).div_ceil(Self::MICROS_PER_ONE.into());
        u64::try_from(micros).map_err(|_| InvalidQuantity::TooLarge).and_then(Self::from_micros)
    }

    /// The sum of two quantities.
    ///
    /// # Errors
    /// The sum is not a quantity.
    pub const fn plus(self, other: Self) -> Result<Self, InvalidQuantity> {
        // Each is 10¹⁸ millionths at most, and so is nowhere near the end of 64 bits.
        Self::from_micros(self.0.saturating_add(other.0))
    }

    /// What it is more than another; nothing where it is not.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(decimal::Text::new(self.0.into(), Self::SCALE).as_str())
    }
}

/// Why a number is not a [`Quantity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuantity {
    /// Not a plain decimal number.
    #[error("a quantity is a plain decimal number")]
    NotANumber,
    /// Below zero.
    #[error("a quantity cannot be negative")]
    Negative,
    /// Above [`Quantity::MAX`].
    #[error("a quantity can be 1000000000000 at most")]
    TooLarge,
    /// More than [`Quantity::SCALE`] decimals.
    #[error("a quantity can have 6 decimals at most")]
    TooPrecise,
    /// A part of something that is counted whole.
    #[error("tokens and events are counted whole")]
    NotWhole,
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Whole quantities travel as JSON integers, which every reader holds exactly (10¹² < 2⁵³); others as text.
        if self.is_whole() {
            serializer.serialize_u64(self.whole())
        } else {
            serializer.serialize_str(decimal::Text::new(self.0.into(), Self::SCALE).as_str())
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        QuantityReader { whole: false }.deserialize(deserializer)
    }
}

/// Reads a quantity: a whole number, or a decimal string. Other JSON numbers are binary fractions to many a reader, and refused.
struct QuantityReader {
    whole: bool,
}

impl<'de> DeserializeSeed<'de> for QuantityReader {
    type Value = Quantity;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Quantity, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl de::Visitor<'_> for QuantityReader {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.whole { "a whole number" } else { "a whole number, or a decimal string such as \"150.5\"" })
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Quantity, E> {
        Quantity::from_count(count).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Quantity, E> {
        u64::try_from(count).map_err(|_| E::custom(InvalidQuantity::Negative)).and_then(|count| self.visit_u64(count))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
        let quantity: Quantity = text.parse().map_err(E::custom)?;
        if self.whole && !quantity.is_whole() {
            return Err(E::custom(InvalidQuantity::NotWhole));
        }
        Ok(quantity)
    }
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let micros = decimal::parse(text, Self::SCALE as usize).map_err(|problem| match problem {
            Unreadable::NotPlain => InvalidQuantity::NotANumber,
            Unreadable::TooPrecise => InvalidQuantity::TooPrecise,
            Unreadable::TooLarge => InvalidQuantity::TooLarge,
        })?;
        if micros < 0 {
            return Err(InvalidQuantity::Negative);
        }
        u64::try_from(micros).map_err(|_| InvalidQuantity::TooLarge).and_then(Self::from_micros)
    }
}

/// What one call consumed: a quantity for each meter that is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Ascending by meter, no meter twice, no zero.
    pools: Vec<(Meter, Quantity)>,
}

impl Usage {
    /// No usage at all.
    #[must_use]
    pub const fn new() -> Self {
        Self { pools: Vec::new() }
    }

    /// Adds to a meter.
    ///
    /// # Errors
    /// The sum is not a [`Quantity`], or a part of a token or of an event is given: only resource-seconds have parts.
    pub fn add(&mut self, meter: Meter, quantity: Quantity) -> Result<(), InvalidQuantity> {
        if quantity.is_zero() {
            return Ok(());
        }
        if meter.kind() != MeterKind::Seconds && !quantity.is_whole() {
            return Err(InvalidQuantity::NotWhole);
        }
        match self.pools.binary_search_by_key(&meter, |(meter, _)| *meter) {
            Ok(at) => {
                if let Some((_, pool)) = self.pools.get_mut(at) {
                    *pool = pool.plus(quantity)?;
                }
            }
            Err(at) => self.pools.insert(at, (meter, quantity)),
        }
        Ok(())
    }

    /// The usage with a count added to a meter; for chaining.
    ///
    /// # Errors
    /// The sum is not a [`Quantity`].
    pub fn with(mut self, meter: Meter, count: u64) -> Result<Self, InvalidQuantity> {
        self.add(meter, Quantity::from_count(count)?)?;
        Ok(self)
    }

    /// The quantity of a meter; zero where it was not used.
    #[must_use]
    pub fn of(&self, meter: Meter) -> Quantity {
        self.pools
            .binary_search_by_key(&meter, |(meter, _)| *meter)
            .ok()
            .and_then(|at| self.pools.get(at))
            .map_or(Quantity::ZERO, |(_, quantity)| *quantity)
    }

    /// The meters that are not zero, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Meter, Quantity)> + '_ {
        self.pools.iter().copied()
    }

    /// Whether nothing was used.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The sum over the meters of one kind, such as the whole prompt, in whole units: tokens and events have no parts.
    #[must_use]
    pub fn sum(&self, kind: MeterKind) -> u64 {
        // 10¹² each at most, and no more meters than there are.
        self.iter().filter(|(meter, _)| meter.kind() == kind).map(|(_, quantity)| quantity.whole()).sum()
    }
}

impl Serialize for Usage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Usage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pools;
        impl<'de> de::Visitor<'de> for Pools {
            type Value = Usage;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of meters and quantities, such as {\"input\": 1200, \"output\": 350}")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Usage, A::Error> {
                let mut usage = Usage::new();
                let mut seen: Vec<Meter> = Vec::new();
                while let Some(meter) = map.next_key::<Meter>()? {
                    let whole = meter.kind() != MeterKind::Seconds;
                    let quantity = map.next_value_seed(QuantityReader { whole })?;
                    if seen.contains(&meter) {
                        return Err(de::Error::custom(format_args!("meter `{meter}` is given twice")));
                    }
                    seen.push(meter);
                    usage.add(meter, quantity).map_err(de::Error::custom)?;
                }
                Ok(usage)
            }
        }
        deserializer.deserialize_map(Pools)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn names_round_trip_and_are_unique() {
        for meter in Meter::ALL {
            assert_eq!(meter.name().parse::<Meter>().unwrap(), meter);
        }
        let mut names: Vec<_> = Meter::ALL.map(Meter::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Meter::ALL.len());
    }

    #[test]
    fn usage_reads_and_writes_json() {
        let usage: Usage =
            serde_json::from_str(r#"{"output":350,"input":1100,"cache_read":100,"reasoning":0}"#).unwrap();
        assert_eq!(serde_json::to_string(&usage).unwrap(), r#"{"input":1100,"cache_read":100,"output":350}"#);
        assert_eq!(usage.sum(MeterKind::InputTokens), 1_200);
        let gib: Usage = serde_json::from_str(r#"{"gib_second":"150.5"}"#).unwrap();
        assert_eq!(serde_json::to_string(&gib).unwrap(), r#"{"gib_second":"150.5"}"#);
    }

    #[test]
    fn bad_usage_is_refused() {
        for bad in [
            r#"{"inptu":1}"#,
            r#"{"input":-1}"#,
            r#"{"input":1000000000001}"#,
            r#"{"input":"0.0000001"}"#,
            r#"{"input":1.5}"#,
            r#"{"input":"1_000"}"#,
            r#"{"input":1,"input":2}"#,
            r#"{"input":null}"#,
            "[]",
        ] {
            assert!(serde_json::from_str::<Usage>(bad).is_err(), "{bad}");
        }
    }
}
