//! Addresses, as the runtime gives them: whole, with the path as the client wrote it.

use percent_encoding::percent_decode_str;

/// Why a target is refused: others could understand it as another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// There is none.
    #[error("must begin with /")]
    NotAbsolute,
    /// With its query it is longer than any that there is.
    #[error("has more than 8192 characters, with the query")]
    TooLong,
    /// A character that no path has.
    #[error("can have visible ASCII characters only, and no \\; everything else is percent-encoded")]
    Character,
    /// Two slashes in a row, or one at the end.
    #[error("has an empty segment")]
    EmptySegment,
    /// `.` or `..`, however they are written.
    #[error("has a segment of dots, which would be resolved away")]
    DotSegment,
    /// A slash, a backslash or a control character that is percent-encoded.
    #[error("has a percent-encoded slash, backslash or control character")]
    EncodedCharacter,
    /// A percent sign without two hexadecimal digits.
    #[error("has a percent sign without two hexadecimal digits")]
    BrokenEncoding,
}

/// The longest path with its query, in bytes: several times as long as the longest ids make one, percent-encoded.
const MAX_TARGET: usize = 8_192;

/// What is asked for: path and query, percent-encoded.
#[must_use]
pub fn target(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = after_scheme.find('/').and_then(|at| after_scheme.get(at..)).unwrap_or("/");
    target.split_once('#').map_or(target, |(before, _)| before)
}

/// The path, and the query without its question mark; empty where there is none.
#[must_use]
pub fn path_and_query(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Checks that path and query have one meaning, whoever reads them, and the path however often it is decoded.
///
/// # Errors
/// Why it has not.
pub fn check(target: &str) -> Result<(), BadPath> {
    if target.len() > MAX_TARGET {
        return Err(BadPath::TooLong);
    }
    let (path, _) = path_and_query(target);
    let Some(segments) = path.strip_prefix('/') else { return Err(BadPath::NotAbsolute) };
    if !target.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('\\') {
        return Err(BadPath::Character);
    }
    // The root is one empty segment.
    if segments.is_empty() {
        return Ok(());
    }
    segments.split('/').try_for_each(check_segment)
}

fn check_segment(segment: &str) -> Result<(), BadPath> {
    if segment.is_empty() {
        return Err(BadPath::EmptySegment);
    }
    if !is_well_encoded(segment) {
        return Err(BadPath::BrokenEncoding);
    }
    // Decoded as often as anybody could: each time it gets shorter, or stays as it is.
    let mut text = segment.to_owned();
    loop {
        if text == "." || text == ".." {
            return Err(BadPath::DotSegment);
        }
        if text.contains(|character: char| matches!(character, '/' | '\\') || character.is_control()) {
            return Err(BadPath::EncodedCharacter);
        }
        let decoded = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if decoded == text {
            return Ok(());
        }
        text = decoded;
    }
}

fn is_well_encoded(segment: &str) -> bool {
    let mut parts = segment.split('%');
    // What comes before the first percent sign.
    parts.next();
    parts.all(|part| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_addresses_apart() {
        for (url, path, query) in [
            ("http://127.0.0.1:8787/v1/policy", "/v1/policy", ""),
            ("https://x.example/v1/a%2Fb?c=d%20e&f", "/v1/a%2Fb", "c=d%20e&f"),
            ("https://x.example/?", "/", ""),
            ("https://x.example/a?b#c", "/a", "b"),
            ("https://x.example/a?b=http://y/z?w", "/a", "b=http://y/z?w"),
        ] {
            assert_eq!(path_and_query(target(url)), (path, query), "{url}");
        }
    }

    #[test]
    fn a_path_that_others_could_read_otherwise_is_refused() {
        use BadPath::{BrokenEncoding, Character, DotSegment, EmptySegment, EncodedCharacter, NotAbsolute};
        for (path, reason) in [
            ("", NotAbsolute),
            ("v1/policy", NotAbsolute),
            ("/v1/..\\audit", Character),
            ("/v1\\policy", Character),
            ("/v1/a b", Character),
            ("/v1/é", Character),
            ("/v1/a\tb", Character),
            ("/v1/a?b=\t", Character),
            ("/v1/a?b=é", Character),
            ("//v1/policy", EmptySegment),
            ("/v1//policy", EmptySegment),
            ("/v1/policy/", EmptySegment),
            ("/v1/./policy", DotSegment),
            ("/v1/../policy", DotSegment),
            ("/v1/%2e/policy", DotSegment),
            ("/v1/.%2E/policy", DotSegment),
            ("/v1/%2E%2e", DotSegment),
            ("/v1/%252e%252e/policy", DotSegment),
            ("/v1/%25252E", DotSegment),
            ("/v1/a%2Fb", EncodedCharacter),
            ("/v1/a%2fb", EncodedCharacter),
            ("/v1/a%5Cb", EncodedCharacter),
            ("/v1/%00", EncodedCharacter),
            ("/v1/a%0d%0a", EncodedCharacter),
            ("/v1/a%7f", EncodedCharacter),
            ("/v1/a%C2%85", EncodedCharacter),
            ("/v1/a%252Fb", EncodedCharacter),
            ("/v1/a%25252fb", EncodedCharacter),
            ("/v1/a%255c", EncodedCharacter),
            ("/v1/%2500", EncodedCharacter),
            ("/v1/%", BrokenEncoding),
            ("/v1/a%2", BrokenEncoding),
            ("/v1/%zz", BrokenEncoding),
            ("/v1/%%41", BrokenEncoding),
        ] {
            assert_eq!(check(path), Err(reason), "{path}");
        }
        let long = format!("/v1/a?{}", "b".repeat(MAX_TARGET - 6));
        assert_eq!((check(&long), check(&format!("{long}b"))), (Ok(()), Err(BadPath::TooLong)));
        for path in [
            "/",
            "/healthz",
            "/v1/a%40b",
            "/v1/a%20b",
            "/v1/%C3%A9",
            "/v1/%FF",
            "/v1/...",
            "/v1/a%25b",
            "/v1/a.b",
            "/v1/a?b=\\..//%2F%00",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }
}
