//! Money: exact US dollars.

use core::fmt;
use core::iter::Sum;
use core::str::FromStr;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal;

/// An amount of US dollars, exact to [`Usd::SCALE`] decimals. Never a binary floating-point number: it is made from decimal text
/// and travels as decimal text. May be negative, as corrections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(Decimal);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// Decimals of a dollar: a millionth of a millionth, which the cheapest published token rates need.
    pub const SCALE: u32 = 12;
    /// The largest single amount that is taken from outside: a billion dollars. Sums of such amounts stay exact up to
    /// 7.9 × 10¹⁶ dollars (96 bits less twelve decimals).
    pub const MAX: u64 = 1_000_000_000;

    /// An amount from a decimal number.
    ///
    /// # Errors
    /// The number lies beyond ±[`Usd::MAX`] or has more than [`Usd::SCALE`] decimals.
    pub fn new(value: Decimal) -> Result<Self, InvalidUsd> {
        if value.abs() > Decimal::from(Self::MAX) {
            return Err(InvalidUsd::TooLarge);
        }
        if value.scale() > Self::SCALE && value.normalize().scale() > Self::SCALE {
            return Err(InvalidUsd::TooPrecise);
        }
        Ok(Self(value))
    }

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

    /// The difference. Saturates as [`Usd::plus`] does.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount, or nothing where it is below zero.
    #[must_use]
    pub fn or_zero(self) -> Self {
        self.max(Self::ZERO)
    }

    /// The one place where money is rounded: to `decimals`, half away from zero. For display and for export to a column of fixed
    /// precision such as `numeric(12,6)`; never on the way into the ledger.
    #[must_use]
    pub fn rounded_for_export(self, decimals: u32) -> Self {
        Self(self.0.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero))
    }

    /// The amount in millionths of a dollar, rounded down (towards zero); for header fields that hold integers.
    #[must_use]
    pub fn micros(self) -> i64 {
        use rust_decimal::prelude::ToPrimitive;
        self.0.saturating_mul(Decimal::from(1_000_000)).trunc().to_i64().unwrap_or(i64::MAX)
    }

    /// The amount in 10⁻¹² dollars, exactly.
    #[must_use]
    pub fn picos(self) -> i128 {
        let scaled = self.0.normalize();
        let zeros = Self::SCALE.saturating_sub(scaled.scale());
        scaled.mantissa().saturating_mul(10_i128.saturating_pow(zeros))
    }

    /// An amount of 10⁻¹² dollars. None beyond 7.9 × 10¹⁶ dollars.
    #[must_use]
    pub fn from_picos(picos: i128) -> Option<Self> {
        Decimal::try_from_i128_with_scale(picos, Self::SCALE).ok().map(Self)
    }

    /// An amount that pricing computed: a product of a quantity and a rate that are both within their ranges.
    pub(crate) const fn computed(value: Decimal) -> Self {
        Self(value)
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(decimal::Text::of(self.0).as_str())
    }
}

/// Why a text or number is not a [`Usd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsd {
    /// Not a plain decimal number.
    #[error("an amount of USD is a plain decimal number in a string, such as \"12.50\"")]
    NotANumber,
    /// Beyond ±[`Usd::MAX`].
    #[error("an amount of USD can be 1000000000 at most")]
    TooLarge,
    /// More than [`Usd::SCALE`] decimals.
    #[error("an amount of USD can have 12 decimals at most")]
    TooPrecise,
    /// Below zero where only amounts from zero make sense.
    #[error("an amount of USD cannot be negative here")]
    Negative,
}

impl FromStr for Usd {
    type Err = InvalidUsd;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = decimal::plain(text).ok_or(InvalidUsd::NotANumber)?;
        if plain.whole.len() > 18 {
            return Err(InvalidUsd::TooLarge);
        }
        if plain.fraction.trim_end_matches('0').len() > Self::SCALE as usize {
            return Err(InvalidUsd::TooPrecise);
        }
        let value = Decimal::from_str(text).map_err(|_| InvalidUsd::NotANumber)?;
        Self::new(value)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(decimal::Text::of(self.0).as_str())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Usd;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of USD as a decimal string, such as \"12.50\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Usd, E> {
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
    use proptest::prelude::*;

    fn usd(text: &str) -> Usd {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_writes_plain_decimals() {
        for (text, shown) in [
            ("0", "0"),
            ("10.00", "10"),
            ("-0.5", "-0.5"),
            ("0.000000000001", "0.000000000001"),
            ("1000000000", "1000000000"),
            ("1.10000000000000000000", "1.1"),
            ("007.5", "7.5"),
        ] {
            assert_eq!(usd(text).to_string(), shown);
        }
        assert_eq!(serde_json::to_string(&usd("0.1950")).unwrap(), "\"0.195\"");
        assert_eq!(serde_json::from_str::<Usd>("\"0.195\"").unwrap(), usd("0.195"));
    }

    #[test]
    fn refuses_what_is_not_exact_money() {
        for text in ["", "-", ".5", "5.", "1e3", "1_000", "+1", " 1", "1,5", "NaN", "0x1", "1.2.3", "--1"] {
            assert_eq!(text.parse::<Usd>(), Err(InvalidUsd::NotANumber), "{text}");
        }
        assert_eq!("0.0000000000001".parse::<Usd>(), Err(InvalidUsd::TooPrecise));
        assert_eq!("1000000000.000000000001".parse::<Usd>(), Err(InvalidUsd::TooLarge));
        assert_eq!("99999999999999999999999999999999".parse::<Usd>(), Err(InvalidUsd::TooLarge));
        for json in ["1", "1.5", "null", "[]", "\"one\""] {
            assert!(serde_json::from_str::<Usd>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn rounds_half_away_from_zero_for_export_alone() {
        assert_eq!(usd("0.0000005").rounded_for_export(6), usd("0.000001"));
        assert_eq!(usd("-0.0000005").rounded_for_export(6), usd("-0.000001"));
        assert_eq!(usd("0.00000049").rounded_for_export(6), usd("0"));
        assert_eq!(usd("12.3456789").micros(), 12_345_678);
        assert_eq!(usd("-12.5").picos(), -12_500_000_000_000);
        assert_eq!(Usd::from_picos(-12_500_000_000_000), Some(usd("-12.5")));
    }

    proptest! {
        #[test]
        fn sums_are_exact_in_any_order(parts in prop::collection::vec(-1_000_000_000_000_000_000_i64..1_000_000_000_000_000_000, 0..50)) {
            let exact: i128 = parts.iter().map(|part| i128::from(*part)).sum();
            let amounts: Vec<Usd> = parts.iter().map(|part| Usd::computed(Decimal::new(*part, 12))).collect();
            let forward: Usd = amounts.iter().copied().sum();
            let backward: Usd = amounts.iter().rev().copied().sum();
            prop_assert_eq!(forward, backward);
            prop_assert_eq!(forward.value(), Decimal::from_i128_with_scale(exact, 12));
        }

        #[test]
        fn text_round_trips(mantissa in any::<i64>(), scale in 0_u32..=12) {
            if let Ok(amount) = Usd::new(Decimal::new(mantissa, scale)) {
                prop_assert_eq!(amount.to_string().parse::<Usd>().unwrap(), amount);
            }
        }
    }
}
