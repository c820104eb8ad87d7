//! Amounts as plain integers: 10⁻¹² of a dollar, a token, a call or a second.

use core::ops::{Add, Sub};

/// 10⁻¹² of a unit.
pub type Pico = i128;

/// One whole unit.
pub const ONE: Pico = 1_000_000_000_000;

/// How much of each unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Dollars.
    pub usd: Pico,
    /// Tokens.
    pub tokens: Pico,
    /// Calls.
    pub requests: Pico,
    /// Seconds.
    pub seconds: Pico,
}

/// What a quota counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Dollars.
    Usd,
    /// Tokens.
    Tokens,
    /// Calls.
    Requests,
    /// Seconds.
    Seconds,
    /// Open reservations.
    Concurrent,
}

impl Unit {
    /// The unit's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
            Self::Requests => "requests",
            Self::Seconds => "seconds",
            Self::Concurrent => "concurrent",
        }
    }

    /// What is spent of the unit.
    #[must_use]
    pub const fn spent(self, amounts: &Amounts) -> Pico {
        match self {
            Self::Usd => amounts.usd,
            Self::Tokens => amounts.tokens,
            Self::Requests => amounts.requests,
            Self::Seconds => amounts.seconds,
            Self::Concurrent => 0,
        }
    }

    /// What is held of the unit.
    #[must_use]
    pub const fn held(self, amounts: &Amounts) -> Pico {
        match self {
            Self::Concurrent => ONE,
            _ => self.spent(amounts),
        }
    }

    /// What is still held of the unit where some of it was metered.
    #[must_use]
    pub fn resting(self, held: &Amounts, metered: Option<Amounts>) -> Pico {
        (self.held(held) - metered.map_or(0, |metered| self.spent(&metered))).max(0)
    }
}

impl Amounts {
    /// The greater of both, unit by unit.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            usd: self.usd.max(other.usd),
            tokens: self.tokens.max(other.tokens),
            requests: self.requests.max(other.requests),
            seconds: self.seconds.max(other.seconds),
        }
    }
}

impl Add for Amounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            usd: self.usd + other.usd,
            tokens: self.tokens + other.tokens,
            requests: self.requests + other.requests,
            seconds: self.seconds + other.seconds,
        }
    }
}

impl Sub for Amounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            usd: self.usd - other.usd,
            tokens: self.tokens - other.tokens,
            requests: self.requests - other.requests,
            seconds: self.seconds - other.seconds,
        }
    }
}

/// The shortest decimal text of an amount, as the wire has it.
#[must_use]
pub fn text(amount: Pico) -> String {
    let (sign, amount) = if amount < 0 { ("-", -amount) } else { ("", amount) };
    let whole = amount / ONE;
    let part = format!("{:012}", amount % ONE);
    let part = part.trim_end_matches('0');
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_shortest() {
        for (amount, expected) in [
            (0, "0"),
            (ONE, "1"),
            (ONE / 2, "0.5"),
            (1, "0.000000000001"),
            (-ONE - ONE / 4, "-1.25"),
            (100 * ONE, "100"),
        ] {
            assert_eq!(text(amount), expected);
        }
    }
}
