//! Parts of an address as the runtime gives it: absolute and normalized.

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
}
