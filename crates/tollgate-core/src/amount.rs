//! Amounts of whatever a quota counts.

use core::fmt;
use core::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal;
use crate::meter::Quantity;
use crate::money::Usd;

/// An amount of what a quota counts: dollars, tokens, calls, seconds. Which one it is, the quota's unit says. Exact to 12 decimals; may be
/// negative, as corrections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(Decimal);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// One.
    pub const ONE: Self = Self(Decimal::ONE);

    /// The number itself.
    #[must_use]
    pub const fn value(self) -> Decimal {
        self.0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.0 < Decimal::ZERO
    }

    /// The sum. Saturates at 7.9 × 10²⁸, far beyond any sum of amounts that were taken from outside.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference. Saturates as [`Amount::plus`] does.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount, or nothing where it is below zero.
    #[must_use]
    pub fn or_zero(self) -> Self {
        self.max(Self::ZERO)
    }

    /// The amount as money, where it is an amount of dollars.
    #[must_use]
    pub const fn as_usd(self) -> Usd {
        Usd::computed(self.0)
    }
}

impl From<Usd> for Amount {
    fn from(usd: Usd) -> Self {
        Self(usd.value())
    }
}

impl From<Quantity> for Amount {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.value())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(decimal::Text::of(self.0).as_str())
    }
}

/// The text is not a plain decimal number of up to 28 digits before and 12 after the point. What a limit may be is for its unit to say;
/// a sum that was stored must be read back, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a plain decimal number in a string, such as \"12.50\"")]
pub struct InvalidAmount;

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = decimal::plain(text).ok_or(InvalidAmount)?;
        if plain.whole.len() > 28 || plain.fraction.trim_end_matches('0').len() > Usd::SCALE as usize {
            return Err(InvalidAmount);
        }
        Decimal::from_str(text).map(Self).map_err(|_| InvalidAmount)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(decimal::Text::of(self.0).as_str())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount as a decimal string, such as \"12.50\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_sum_reads_back() {
        // Anybody may record 10¹² tokens, any number of times: a sum that could be stored and not be read would end the ledger.
        let mut sum = Amount::from(Quantity::from_count(Quantity::MAX).unwrap());
        for _ in 0..50 {
            sum = sum.plus(sum);
            let json = serde_json::to_string(&sum).unwrap();
            assert_eq!(serde_json::from_str::<Amount>(&json).unwrap(), sum, "{json}");
        }
        for bad in ["", "1e3", "+1", "1_000", "0.0000000000001"] {
            assert_eq!(bad.parse::<Amount>(), Err(InvalidAmount), "{bad}");
        }
    }
}
