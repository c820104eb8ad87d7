//! Money: exact US dollars.

use core::str::FromStr;

use crate::decimal::{self, PICOS, Unreadable, decimal_text, exact_sums};

/// An amount of US dollars, exact to [`Usd::SCALE`] decimals: a whole number of 10⁻¹² dollars. Never a binary floating-point number: it is
/// made from decimal text and travels as decimal text. May be negative, as corrections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

exact_sums!(Usd);
decimal_text!(Usd, "an amount of USD as a decimal string, such as \"12.50\"");

impl Usd {
    /// Decimals of a dollar: a millionth of a millionth, which the cheapest published token rates need.
    pub const SCALE: u32 = 12;
    /// The largest single amount that is taken from outside: a billion dollars. Sums of such amounts stay exact up to
    /// 1.7 × 10²⁶ dollars (127 bits less twelve decimals).
    pub const MAX: u64 = 1_000_000_000;

    /// An amount of 10⁻¹² dollars.
    #[must_use]
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// The amount, where it lies within ±[`Usd::MAX`].
    ///
    /// # Errors
    /// It does not.
    pub const fn within_range(self) -> Result<Self, InvalidUsd> {
        if self.0.unsigned_abs() > Self::MAX as u128 * PICOS.unsigned_abs() {
            return Err(InvalidUsd::TooLarge);
        }
        Ok(self)
    }

    /// The one place where money is rounded: to `decimals`, half away from zero. For display and for export to a column of fixed
    /// precision such as `numeric(12,6)`; never on the way into the ledger.
    #[must_use]
    pub fn rounded_for_export(self, decimals: u32) -> Self {
        let unit = 10_i128.saturating_pow(Self::SCALE.saturating_sub(decimals));
        Self(decimal::div_rounded(self.0, unit).saturating_mul(unit))
    }

    /// The amount in millionths of a dollar, rounded down (towards zero); for header fields that hold integers.
    #[must_use]
    pub fn micros(self) -> i64 {
        i64::try_from(self.0 / 1_000_000).unwrap_or(i64::MAX)
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
        match decimal::parse(text, Self::SCALE as usize) {
            Ok(picos) => Self(picos).within_range(),
            Err(Unreadable::NotPlain) => Err(InvalidUsd::NotANumber),
            Err(Unreadable::TooPrecise) => Err(InvalidUsd::TooPrecise),
            Err(Unreadable::TooLarge) => Err(InvalidUsd::TooLarge),
        }
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
        assert_eq!(Usd::from_picos(-12_500_000_000_000), usd("-12.5"));
    }

    proptest! {
        #[test]
        fn sums_are_exact_in_any_order(parts in prop::collection::vec(-1_000_000_000_000_000_000_i64..1_000_000_000_000_000_000, 0..50)) {
            let exact: i128 = parts.iter().map(|part| i128::from(*part)).sum();
            let amounts: Vec<Usd> = parts.iter().map(|part| Usd::from_picos((*part).into())).collect();
            let forward: Usd = amounts.iter().copied().sum();
            let backward: Usd = amounts.iter().rev().copied().sum();
            prop_assert_eq!(forward, backward);
            prop_assert_eq!(forward.picos(), exact);
        }

        #[test]
        fn text_round_trips(picos in -1_000_000_000_000_000_000_000_i128..=1_000_000_000_000_000_000_000) {
            let amount = Usd::from_picos(picos);
            prop_assert_eq!(amount.to_string().parse::<Usd>().unwrap(), amount);
        }
    }
}
