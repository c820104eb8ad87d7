//! What decimal text is taken from outside.

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
