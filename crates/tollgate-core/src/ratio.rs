//! Plain factors: the fraction of a limit, the multiplier of a rate.

use core::str::FromStr;

use crate::amount::Amount;
use crate::decimal::{self, PICOS, Unreadable, decimal_text};

/// A number without a unit, exact to 12 decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(i128);

decimal_text!(Ratio, "a number as a decimal string, such as \"0.8\"");

impl Ratio {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One: all of a limit, the rate itself.
    pub const ONE: Self = Self(PICOS);
    /// The largest that is taken from outside.
    pub const MAX: u32 = 1_000_000_000;

    /// So many 10⁻¹².
    #[must_use]
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// The number in 10⁻¹².
    #[must_use]
    pub const fn picos(self) -> i128 {
        self.0
    }

    /// So many hundredths.
    #[must_use]
    pub const fn percent(hundredths: u32) -> Self {
        Self(hundredths as i128 * (PICOS / 100))
    }

    /// What part of another an amount is, to 6 decimals, halves away from zero. None of nothing.
    #[must_use]
    pub fn of(part: Amount, whole: Amount) -> Option<Self> {
        let millionths = decimal::div_rounded(part.picos().saturating_mul(1_000_000), whole.picos());
        (!whole.is_zero()).then_some(Self(millionths.saturating_mul(1_000_000)))
    }

    /// Whether an amount has reached this part of a limit, exactly.
    #[must_use]
    pub const fn is_reached(self, amount: Amount, limit: Amount) -> bool {
        if self.0 == PICOS {
            // All of it, as one threshold of most quotas is: 128 bits are not multiplied quickly.
            return amount.picos() >= limit.picos();
        }
        amount.picos().saturating_mul(PICOS) >= limit.picos().saturating_mul(self.0)
    }

    /// The product, rounded to 12 decimals, halves away from zero.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self(decimal::div_rounded(self.0.saturating_mul(other.0), PICOS))
    }
}

/// The text is not a plain decimal number of at most 12 decimals within ±[`Ratio::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a plain decimal number in a string, such as \"0.8\", with 12 decimals at most")]
pub struct InvalidRatio;

impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let picos = decimal::parse(text, 12).map_err(|_: Unreadable| InvalidRatio)?;
        if picos.unsigned_abs() > u128::from(Self::MAX) * PICOS.unsigned_abs() {
            return Err(InvalidRatio);
        }
        Ok(Self(picos))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn a_part_is_rounded_and_its_reaching_is_not() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert_eq!(Ratio::of(amount("1"), amount("3")).unwrap().to_string(), "0.333333");
        assert_eq!(Ratio::of(amount("2"), amount("3")).unwrap().to_string(), "0.666667");
        assert_eq!(Ratio::of(amount("2"), Amount::ZERO), None);
        let third: Ratio = "0.333333333333".parse().unwrap();
        assert!(third.is_reached(amount("0.333333333333"), amount("1")));
        assert!(!third.is_reached(amount("0.333333333332"), amount("1")));
        assert_eq!(Ratio::percent(80).to_string(), "0.8");
        assert_eq!(Ratio::percent(50).times("0.1".parse().unwrap()), "0.05".parse().unwrap());
    }
}
