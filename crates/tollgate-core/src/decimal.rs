//! Exact decimal numbers: whole numbers of a fixed small part, such as 10⁻¹², read from plain decimal text and written as such.
//!
//! Sums and comparisons are those of integers: exact, and as fast as the processor's own.

/// How many 10⁻¹² make one.
pub(crate) const PICOS: i128 = 1_000_000_000_000;

/// Why a text is not a number of so many decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not digits with at most one point between them and at most one leading minus. No exponent, underscore, plus sign or space, which
    /// another reader might take differently.
    NotPlain,
    /// Has more decimals, that are not zeros.
    TooPrecise,
    /// Beyond what fits.
    TooLarge,
}

/// Reads plain decimal text as a whole number of 10^−`scale`.
pub(crate) fn parse(text: &str, scale: usize) -> Result<i128, Unreadable> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, fraction)) if !all_digits(fraction) => return Err(Unreadable::NotPlain),
        Some(parts) => parts,
        None => (digits, ""),
    };
    if !all_digits(whole) {
        return Err(Unreadable::NotPlain);
    }
    let decimals = fraction.bytes().chain(core::iter::repeat(b'0')).take(scale);
    if fraction.bytes().skip(scale).any(|byte| byte != b'0') {
        return Err(Unreadable::TooPrecise);
    }
    let mut value = 0_i128;
    for byte in whole.bytes().chain(decimals) {
        let digit = i128::from(byte - b'0');
        value = value.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(Unreadable::TooLarge)?;
    }
    Ok(if digits.len() == text.len() { value } else { -value })
}

/// Digits are split off in groups of so many, because dividing 64 bits is slow in WebAssembly, and 32 is not.
const GROUP_DIGITS: u32 = 6;

/// 10⁰, 10¹, … and 5⁰, 5¹, …: working them out for every number takes longer than writing it, where overflow is checked.
const TENS: [u64; 19] = powers(10);
const FIVES: [u64; 19] = powers(5);

const fn powers<const COUNT: usize>(base: u64) -> [u64; COUNT] {
    let mut powers = [1; COUNT];
    let mut rest: &mut [u64] = &mut powers;
    while let [power, next, ..] = rest {
        *next = *power * base;
        (_, rest) = rest.split_at_mut(1);
    }
    powers
}

fn power(powers: &[u64; 19], exponent: u32) -> u64 {
    powers.get(exponent as usize).copied().unwrap_or(1)
}

/// A number as plain decimal text, with no more digits than it needs.
pub(crate) struct Text {
    /// Filled from the end.
    bytes: [u8; Self::SIZE],
    start: usize,
}

impl Text {
    /// 39 digits, a point, a minus, and a zero before the point.
    const SIZE: usize = 42;

    /// The text of a whole number of 10^−`scale`; `scale` is 18 at most.
    pub(crate) fn new(value: i128, scale: u32) -> Self {
        let mut text = Self { bytes: [0; Self::SIZE], start: Self::SIZE };
        let one = power(&TENS, scale);
        let magnitude = value.unsigned_abs();
        // 10ⁿ is 2ⁿ × 5ⁿ, and what is left after 2ⁿ nearly always fits 64 bits, whose division is much faster.
        let (mut whole, mut fraction) = match u64::try_from(magnitude >> scale) {
            Ok(shifted) => {
                let whole = shifted / power(&FIVES, scale);
                // Below 10ⁿ, so that its lower 64 bits are all of it.
                (u128::from(whole), (magnitude as u64).wrapping_sub(whole.wrapping_mul(one)))
            }
            Err(_) => {
                let one = u128::from(one);
                (magnitude / one, u64::try_from(magnitude % one).unwrap_or(0))
            }
        };
        let mut decimals = scale;
        while fraction != 0 {
            let digits = decimals.min(GROUP_DIGITS);
            let group = power(&TENS, digits);
            let rest = fraction / group;
            text.push_digits(fraction.wrapping_sub(rest.wrapping_mul(group)) as u32, digits, false);
            fraction = rest;
            decimals -= digits;
        }
        if text.start < Self::SIZE {
            // The zeros between the point and the first digit that is none.
            text.push_digits(0, decimals, true);
            text.push(b'.');
        }
        while whole > u128::from(u32::MAX) {
            let group = 10_u128.pow(GROUP_DIGITS);
            text.push_digits((whole % group) as u32, GROUP_DIGITS, true);
            whole /= group;
        }
        let mut whole = u32::try_from(whole).unwrap_or(u32::MAX);
        loop {
            text.push(b'0' + (whole % 10) as u8);
            whole /= 10;
            if whole == 0 {
                break;
            }
        }
        if value < 0 {
            text.push(b'-');
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(self.start..).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// So many digits of a number. Zeros that would be the last of all are left out unless they count.
    fn push_digits(&mut self, mut rest: u32, digits: u32, zeros_count: bool) {
        for _ in 0..digits {
            let digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            if zeros_count || digit != b'0' || self.start < Self::SIZE {
                self.push(digit);
            }
        }
    }

    fn push(&mut self, byte: u8) {
        self.start = self.start.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.start) {
            *place = byte;
        }
    }
}

/// The quotient, rounded to the nearest whole number, halves away from zero. Zero for a divisor of zero.
pub(crate) fn div_rounded(value: i128, divisor: i128) -> i128 {
    let Some(quotient) = value.checked_div(divisor) else { return 0 };
    // In WebAssembly a second division would take as long as the first.
    let rest = value - quotient * divisor;
    let half_or_more = rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs();
    if rest == 0 || !half_or_more {
        quotient
    } else if (value < 0) == (divisor < 0) {
        quotient + 1
    } else {
        quotient - 1
    }
}

/// What a number of 10⁻¹² in a type of its own can do.
macro_rules! exact_sums {
    ($name:ident) => {
        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);

            /// The number in 10⁻¹².
            #[must_use]
            pub const fn picos(self) -> i128 {
                self.0
            }

            /// Whether it is nothing.
            #[must_use]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// Whether it is below zero.
            #[must_use]
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }

            /// The sum. Saturates at 1.7 × 10²⁶, far beyond any sum of amounts that were taken from outside.
            #[must_use]
            pub const fn plus(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference. Saturates as the sum does.
            #[must_use]
            pub const fn minus(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }

            /// The number, or nothing where it is below zero.
            #[must_use]
            pub fn or_zero(self) -> Self {
                self.max(Self::ZERO)
            }
        }

        impl core::iter::Sum for $name {
            fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
                numbers.fold(Self::ZERO, Self::plus)
            }
        }
    };
}

/// Plain decimal text for a number of 10⁻¹² in a type of its own that has a `FromStr`.
macro_rules! decimal_text {
    ($name:ident, $expecting:literal) => {
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(crate::decimal::Text::new(self.0, 12).as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(crate::decimal::Text::new(self.0, 12).as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl serde::de::Visitor<'_> for Reader {
                    type Value = $name;
                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Reader)
            }
        }
    };
}

pub(crate) use {decimal_text, exact_sums};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use proptest::prelude::*;
    use rust_decimal::{Decimal, RoundingStrategy};

    use super::*;

    #[test]
    fn the_largest_numbers_have_a_text() {
        for (value, text) in [
            (i128::MAX, "170141183460469231731687303.715884105727"),
            (i128::MIN, "-170141183460469231731687303.715884105728"),
            (0, "0"),
            (-1, "-0.000000000001"),
            (PICOS, "1"),
            (5_000_000_000_000_000 * PICOS, "5000000000000000"),
            (PICOS * 4_294_967_296 * 100, "429496729600"),
            (PICOS + 1_000_000, "1.000001"),
            (100, "0.0000000001"),
        ] {
            assert_eq!(Text::new(value, 12).as_str(), text);
        }
        assert_eq!(parse("170141183460469231731687303.715884105728", 12), Err(Unreadable::TooLarge));
        assert_eq!(parse("-007.50", 12), Ok(-7_500_000_000_000));
    }

    // The standard decimal library of Rust says what is right.
    proptest! {
        #[test]
        fn text_is_what_a_decimal_library_writes(value in any::<i64>(), times in 1_i128..1_000_000_000, scale in 0_u32..=12) {
            let value = i128::from(value) * times;
            let text = Text::new(value, scale);
            prop_assert_eq!(text.as_str(), Decimal::from_i128_with_scale(value, scale).normalize().to_string());
            prop_assert_eq!(parse(text.as_str(), scale as usize), Ok(value));
        }

        #[test]
        fn text_is_read_as_by_a_decimal_library(text in "-?[0-9]{0,12}(\\.[0-9]{0,14})?") {
            let found = parse(&text, 12);
            match text.parse::<Decimal>().map(|number| number.normalize()) {
                Ok(number) if found != Err(Unreadable::NotPlain) => {
                    let exact = (number.scale() <= 12).then(|| number.mantissa() * 10_i128.pow(12 - number.scale()));
                    prop_assert_eq!(found, exact.ok_or(Unreadable::TooPrecise));
                }
                // Stricter than the library: digits on both sides of the point.
                _ => prop_assert_eq!(found, Err(Unreadable::NotPlain)),
            }
        }

        #[test]
        fn quotients_are_rounded_as_by_a_decimal_library(value in any::<i64>(), divisor in 1_i64..) {
            let exact = Decimal::from(value) / Decimal::from(divisor);
            // Only where the library's own quotient of 28 digits is not rounded to a half.
            prop_assume!((exact.fract().abs() - Decimal::new(5, 1)).abs() > Decimal::new(1, 9) || exact.scale() < 9);
            let rounded = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
            prop_assert_eq!(Decimal::from(div_rounded(value.into(), divisor.into())), rounded);
        }
    }
}
