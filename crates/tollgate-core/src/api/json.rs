//! Reads JSON into types, with errors that name the field.
//!
//! serde_json says at which byte it stopped; which field that is, is looked up only when something is wrong. (Tracking the path while
//! reading, as `serde_path_to_error` does, doubles the code of every type: it was a fifth of the WebAssembly module.)

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::problem::{Code, Problem};
use crate::objects::Object;

/// Reads a whole text.
///
/// # Errors
/// The field that is wrong; none where the text is not JSON at all.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Problem> {
    serde_json::from_str(json).map(|Object(value)| value).map_err(|error| explain(json, &error))
}

fn explain(json: &str, error: &serde_json::Error) -> Problem {
    let whole = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let mut message = whole.strip_suffix(&place).unwrap_or(&whole);
    if error.is_syntax() || error.is_eof() {
        if let Err(error) = serde_json::from_str::<IgnoredAny>(json) {
            return Problem::new(Code::InvalidRequest, format!("not valid JSON: {error}"));
        }
        // It is JSON all right, but not where one of a few words is expected.
        message = "not one of the values that there are";
    }
    let mut path = path_at(json, offset(json, error.line(), error.column()));
    if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        push_key(&mut path, field);
        return Problem::invalid(path, "missing");
    }
    // What only turns out once an object has been read is placed at the object.
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = unknown.filter(|field| !path.ends_with(field)) {
        push_key(&mut path, field);
    }
    if path.is_empty() {
        return Problem::new(Code::InvalidRequest, message);
    }
    Problem::invalid(path, message)
}

/// The byte that a line and column (both from 1, columns in bytes) lead up to.
fn offset(json: &str, line: usize, column: usize) -> usize {
    let start: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    start.saturating_add(column).min(json.len())
}

/// The path of the last token that begins before a byte, such as `estimate.meters[2]`.
fn path_at(json: &str, end: usize) -> String {
    let bytes = json.as_bytes();
    let mut containers: Vec<Container> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at).filter(|_| at < end) {
        match byte {
            b'{' => containers.push(Container::Object { key: None, in_key: true }),
            b'[' => containers.push(Container::Array { index: 0 }),
            b'}' | b']' => {
                containers.pop();
            }
            b',' => match containers.last_mut() {
                Some(Container::Object { in_key, .. }) => *in_key = true,
                Some(Container::Array { index }) => *index += 1,
                None => {}
            },
            b':' => {
                if let Some(Container::Object { in_key, .. }) = containers.last_mut() {
                    *in_key = false;
                }
            }
            b'"' => {
                let close = closing_quote(bytes, at + 1);
                if let Some(Container::Object { key, in_key: true }) = containers.last_mut() {
                    *key = json.get(at..=close).and_then(|text| serde_json::from_str(text).ok());
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    // White space and other tokens' insides leave the containers alone, so they stand where the last token left them.
    render(&containers)
}

enum Container {
    Object { key: Option<String>, in_key: bool },
    Array { index: usize },
}

fn closing_quote(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') | None => return at,
            Some(_) => at += 1,
        }
    }
}

/// The path of the member that each container is at; the innermost one has just been opened where it has no key yet.
fn render(containers: &[Container]) -> String {
    let mut path = String::new();
    for container in containers {
        match container {
            Container::Object { key: Some(key), .. } => push_key(&mut path, key),
            Container::Object { key: None, .. } => {}
            Container::Array { index } => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::objects::optional_object;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for their errors")]
    struct Outer {
        name: String,
        #[serde(default, deserialize_with = "optional_object")]
        inner: Option<Inner>,
        list: Option<Vec<Inner>>,
        word: Option<Word>,
        map: Option<BTreeMap<String, u8>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "read for their errors")]
    struct Inner {
        count: u64,
        #[serde(default)]
        text: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Word {
        Yes,
        No,
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        for (json, field) in [
            (r#"{"name":1}"#, "name"),
            (r#"{ "name" : null }"#, "name"),
            (r#"{}"#, "name"),
            (r#"{"inner":{"count":1}}"#, "name"),
            (r#"{"name":"x","extra":1}"#, "extra"),
            (r#"{"name":"x","extra.more":1}"#, "extra.more"),
            (r#"{"name":"x","name":"y"}"#, "name"),
            ("{\"name\":\"x\",\n \"inner\": {\"count\": \"many\"}}", "inner.count"),
            (r#"{"name":"x","inner":{"count":-1}}"#, "inner.count"),
            (r#"{"name":"x","inner":{"count":1.5}}"#, "inner.count"),
            (r#"{"name":"x","inner":{"count":99999999999999999999}}"#, "inner.count"),
            (r#"{"name":"x","inner":{}}"#, "inner.count"),
            (r#"{"name":"x","inner":{"text":"a"}}"#, "inner.count"),
            (r#"{"name":"x","inner":{"count":1,"typo":{"deep":[1,2]}}}"#, "inner.typo"),
            (r#"{"name":"x","inner":7}"#, "inner"),
            (r#"{"name":"x","inner":[]}"#, "inner"),
            (r#"{"name":"x","inner":[1,"a"]}"#, "inner"),
            (r#"{"name":"x","word":7}"#, "word"),
            (r#"{"name":"x","word":"maybe"}"#, "word"),
            (r#"{"name":"x","list":[{"count":1},{"count":"2"}]}"#, "list[1].count"),
            (r#"{"name":"x","list":[{"count":1},{"count":1},3]}"#, "list[2]"),
            (r#"{"name":"x","list":[3]}"#, "list[0]"),
            (r#"{"name":"x","list":{"a":1}}"#, "list"),
            (r#"{"name":"with \"quotes\", {braces} and \\","map":{"a\"b":300}}"#, "map.a\"b"),
        ] {
            let problem = read::<Outer>(json).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{json}: {}", problem.detail);
            assert!(!problem.detail.contains("column"), "{}", problem.detail);
        }
    }

    #[test]
    fn what_is_not_json_has_no_field() {
        for json in
            ["", "{", "{\"name\":\"x\"", "{\"name\":\"x\"} trailing", "nonsense", "{'name':1}", "{\"name\":\"\u{1}\"}"]
        {
            let problem = read::<Outer>(json).unwrap_err();
            assert_eq!(problem.field, None, "{json}");
            assert!(problem.detail.starts_with("not valid JSON"), "{}", problem.detail);
        }
        for json in ["7", "[\"x\"]", "null"] {
            assert_eq!(read::<Outer>(json).unwrap_err().field, None, "{json}");
        }
    }
}
