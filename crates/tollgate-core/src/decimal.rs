//! Decimal text: what is taken from outside, and how it is written.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// The parts of a plain decimal number: digits, at most one point with digits on both sides, at most one leading minus. No exponent,
/// underscore, plus sign or space, which another reader might take differently.
pub(crate) struct Plain<'a> {
    /// The digits before the point.
    pub(crate) whole: &'a str,
    /// The digits after it; empty where there is none.
    pub(crate) fraction: &'a str,
}

/// Takes a plain decimal number apart. None where the text is anything else.
pub(crate) fn plain(text: &str) -> Option<Plain<'_>> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, fraction)) if !all_digits(fraction) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    all_digits(whole).then_some(Plain { whole, fraction })
}

/// A decimal number as text, without zeros at the end of its fraction. Money, amounts and quantities are written many times in every answer, and the formatting
/// machinery takes ten times as long.
pub(crate) struct Text {
    bytes: [u8; Self::LENGTH],
    from: usize,
}

impl Text {
    /// 29 digits of 96 bits, or a zero and 28 decimals; a point and a sign.
    const LENGTH: usize = 32;

    pub(crate) fn of(value: Decimal) -> Self {
        let mut text = Self { bytes: [b'0'; Self::LENGTH], from: Self::LENGTH };
        let mut digits = Digits { rest: value.mantissa().unsigned_abs(), group: 0, in_group: 0 };
        for _ in 0..value.scale() {
            let digit = digits.next();
            if digit != b'0' || text.from < Self::LENGTH {
                text.put(digit);
            }
        }
        if text.from < Self::LENGTH {
            text.put(b'.');
        }
        loop {
            text.put(digits.next());
            if digits.are_zero() {
                break;
            }
        }
        if value.is_sign_negative() && !value.is_zero() {
            text.put(b'-');
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        self.bytes.get(self.from..).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default()
    }

    /// Puts a character before those that there are.
    fn put(&mut self, character: u8) {
        self.from = self.from.saturating_sub(1);
        if let Some(place) = self.bytes.get_mut(self.from) {
            *place = character;
        }
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The digits of a number from the last one. They are split off in groups, because dividing 96 bits is slow and dividing 32 is not.
struct Digits {
    rest: u128,
    group: u32,
    in_group: u8,
}

impl Digits {
    const GROUP: u32 = 1_000_000_000;

    fn next(&mut self) -> u8 {
        if self.in_group == 0 {
            self.group = match u64::try_from(self.rest) {
                Ok(rest) => {
                    self.rest = (rest / u64::from(Self::GROUP)).into();
                    u32::try_from(rest % u64::from(Self::GROUP)).unwrap_or(0)
                }
                Err(_) => {
                    let group = self.rest % u128::from(Self::GROUP);
                    self.rest /= u128::from(Self::GROUP);
                    u32::try_from(group).unwrap_or(0)
                }
            };
            self.in_group = 9;
        }
        self.in_group -= 1;
        let digit = u8::try_from(self.group % 10).unwrap_or(0);
        self.group /= 10;
        b'0' + digit
    }

    const fn are_zero(&self) -> bool {
        self.rest == 0 && self.group == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_what_the_library_writes(bits in any::<i128>(), shift in 32_u32..128, scale in 0_u32..=28) {
            let value = Decimal::from_i128_with_scale(bits >> shift, scale);
            let text = Text::of(value);
            prop_assert_eq!(text.as_str(), value.normalize().to_string());
        }
    }

    #[test]
    fn the_longest_and_the_shortest() {
        for value in
            [Decimal::ZERO, Decimal::MAX, Decimal::MIN, Decimal::new(-1, 28), Decimal::new(0, 5), Decimal::new(-10, 1)]
        {
            assert_eq!(Text::of(value).as_str(), value.normalize().to_string());
        }
        let mut longest = Decimal::MIN;
        for scale in 0..=28 {
            assert!(longest.set_scale(scale).is_ok());
            assert_eq!(Text::of(longest).as_str(), longest.normalize().to_string());
        }
    }
}
