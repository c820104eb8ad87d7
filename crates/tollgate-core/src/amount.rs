//! Amounts of whatever a quota counts.

use core::str::FromStr;

use crate::decimal::{self, PICOS, decimal_text, exact_sums};
use crate::meter::Quantity;
use crate::money::Usd;

/// An amount of what a quota counts: dollars, tokens, calls, seconds. Which one it is, the quota's unit says. Exact to 12 decimals; may be
/// negative, as corrections are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i128);

exact_sums!(Amount);
decimal_text!(Amount, "an amount as a decimal string, such as \"12.50\"");

impl Amount {
    /// One.
    pub const ONE: Self = Self(PICOS);

    /// So many 10⁻¹².
    #[must_use]
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// The amount without its decimals. None below zero, or beyond 1.8 × 10¹⁹.
    #[must_use]
    pub fn whole(self) -> Option<u64> {
        u64::try_from(self.0.div_euclid(PICOS)).ok()
    }

    /// Whether it has so many decimals at most, zeros at the end not counted.
    #[must_use]
    pub const fn has_decimals_up_to(self, decimals: u32) -> bool {
        let unit = 10_i128.saturating_pow(Usd::SCALE.saturating_sub(decimals));
        matches!(self.0.checked_rem(unit), Some(0))
    }

    /// The amount as money, where it is an amount of dollars.
    #[must_use]
    pub const fn as_usd(self) -> Usd {
        Usd::from_picos(self.0)
    }
}

impl From<Usd> for Amount {
    fn from(usd: Usd) -> Self {
        Self(usd.picos())
    }
}

impl From<Quantity> for Amount {
    fn from(quantity: Quantity) -> Self {
        Self(i128::from(quantity.micros()) * (PICOS / Quantity::MICROS_PER_ONE as i128))
    }
}

/// The text is not a plain decimal number of at most 12 decimals within ±1.7 × 10²⁶. What a limit may be is for its unit to say;
/// a sum that was stored must be read back, however large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a plain decimal number in a string, such as \"12.50\"")]
pub struct InvalidAmount;

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decimal::parse(text, Usd::SCALE as usize).map(Self).map_err(|_| InvalidAmount)
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
