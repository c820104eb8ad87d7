//! Reading a JSON document while remembering where one is, so that every complaint names its field.

use core::fmt::{self, Write as _};

use serde_json::Value;

use super::{CountProblem, ExtractError};
use crate::meter::Quantity;

/// A value and the way to it. The way is a chain of borrowed steps: it costs nothing until an error spells it out.
#[derive(Clone, Copy)]
pub(super) struct Node<'w, 'v> {
    value: &'v Value,
    way: Way<'w>,
}

/// An array, as a node to reach its elements from and the elements.
type List<'w, 'v> = (Node<'w, 'v>, &'v [Value]);

/// What stands for an object that is not there: it has no members.
static EMPTY: Value = Value::Null;

#[derive(Clone, Copy)]
enum Way<'a> {
    Root,
    Key(&'a Way<'a>, &'a str),
    Index(&'a Way<'a>, usize),
}

impl<'w, 'v> Node<'w, 'v> {
    pub(super) const fn root(value: &'v Value) -> Self {
        Self { value, way: Way::Root }
    }

    /// An object without members.
    pub(super) const fn nothing() -> Self {
        Self { value: &EMPTY, way: Way::Root }
    }

    /// The member, unless it is absent or null.
    fn get<'s>(&'s self, key: &'s str) -> Option<Node<'s, 'v>> {
        let value = self.value.get(key)?;
        (!value.is_null()).then_some(Node { value, way: Way::Key(&self.way, key) })
    }

    /// The element of an array, which has to be an object.
    pub(super) fn event<'s>(&'s self, index: usize, value: &'v Value) -> Result<Node<'s, 'v>, ExtractError> {
        let node = Node { value, way: Way::Index(&self.way, index) };
        node.must_be(value.is_object(), "an object")?;
        Ok(node)
    }

    /// The member, an object; none where it is absent or null.
    pub(super) fn object<'s>(&'s self, key: &'s str) -> Result<Option<Node<'s, 'v>>, ExtractError> {
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        node.must_be(node.value.is_object(), "an object")?;
        Ok(Some(node))
    }

    /// The member, an object; an empty one where it is absent or null.
    pub(super) fn object_or_empty<'s>(&'s self, key: &'s str) -> Result<Node<'s, 'v>, ExtractError> {
        Ok(self.object(key)?.unwrap_or(Node { value: &EMPTY, way: Way::Key(&self.way, key) }))
    }

    /// Whether there is a member of that name that is not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value.get(key).is_some_and(|value| !value.is_null())
    }

    /// Whether the member is an object.
    pub(super) fn has_object(&self, key: &str) -> bool {
        self.value.get(key).is_some_and(Value::is_object)
    }

    /// The member, an array, with a node to reach its elements from; none where it is absent or null.
    pub(super) fn array<'s>(&'s self, key: &'s str) -> Result<Option<List<'s, 'v>>, ExtractError> {
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        match node.value {
            Value::Array(items) => Ok(Some((node, items.as_slice()))),
            _ => Err(node.wrong_type("an array")),
        }
    }

    /// The member, text; none where it is absent or null.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'v str>, ExtractError> {
        match self.value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ExtractError::WrongType { field: self.path_of(key), expected: "a string" }),
        }
    }

    /// Whether the member is the given text.
    pub(super) fn is(&self, key: &str, text: &str) -> bool {
        self.value.get(key).and_then(Value::as_str) == Some(text)
    }

    /// The member, a count; none where it is absent or null.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, ExtractError> {
        let Some(node) = self.get(key) else {
            return Ok(None);
        };
        let Value::Number(number) = node.value else {
            return Err(node.not_a_count(CountProblem::NotANumber));
        };
        let count = match number.as_u64() {
            Some(count) => count,
            None if number.as_i64().is_some() => return Err(node.not_a_count(CountProblem::Negative)),
            None => whole(&number.to_string()).map_err(|problem| node.not_a_count(problem))?,
        };
        if count > Quantity::MAX {
            return Err(node.not_a_count(CountProblem::TooLarge));
        }
        Ok(Some(count))
    }

    /// The member, a count that has to be there.
    pub(super) fn need(&self, key: &str) -> Result<u64, ExtractError> {
        self.count(key)?.ok_or_else(|| self.missing(key))
    }

    /// The member, a count of a breakdown that may leave it out.
    pub(super) fn part(&self, key: &str) -> Result<u64, ExtractError> {
        Ok(self.count(key)?.unwrap_or(0))
    }

    pub(super) fn missing(&self, key: &str) -> ExtractError {
        ExtractError::MissingField { field: self.path_of(key) }
    }

    pub(super) fn missing_usage(&self, key: &str) -> ExtractError {
        ExtractError::MissingUsage { field: self.path_of(key) }
    }

    pub(super) fn contradiction(&self, key: &str, detail: String) -> ExtractError {
        ExtractError::Contradiction { field: self.path_of(key), detail }
    }

    pub(super) fn no_meter(&self, key: &str) -> ExtractError {
        ExtractError::NoMeter { field: self.path_of(key) }
    }

    pub(super) fn not_a_count(&self, problem: CountProblem) -> ExtractError {
        ExtractError::NotACount { field: self.path(), problem }
    }

    pub(super) fn wrong_type(&self, expected: &'static str) -> ExtractError {
        ExtractError::WrongType { field: self.path(), expected }
    }

    pub(super) fn path(&self) -> String {
        self.way.to_string()
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        Way::Key(&self.way, key).to_string()
    }

    fn must_be(&self, right: bool, expected: &'static str) -> Result<(), ExtractError> {
        if right { Ok(()) } else { Err(self.wrong_type(expected)) }
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_char('$'),
            Self::Key(parent, key) => write!(f, "{parent}.{key}"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// A number that JSON wrote with a point or an exponent, if it is whole all the same (`1200.0`). Read as text: the core
/// has no floats.
fn whole(text: &str) -> Result<u64, CountProblem> {
    if text.starts_with('-') {
        return Err(CountProblem::Negative);
    }
    if text.contains(['e', 'E']) {
        // serde_json writes an exponent for what is far above the largest count or far below one.
        let small = text.contains("e-") || text.contains("E-");
        return Err(if small { CountProblem::Fractional } else { CountProblem::TooLarge });
    }
    let digits = text.strip_suffix(".0").unwrap_or(text);
    if digits.contains('.') {
        return Err(CountProblem::Fractional);
    }
    digits.parse().map_err(|_| CountProblem::TooLarge)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_whole_and_bounded() {
        let count = |text: &str| {
            let body: Value = serde_json::from_str(&format!("{{\"n\":{text}}}")).unwrap();
            Node::root(&body).count("n")
        };
        assert_eq!(count("0"), Ok(Some(0)));
        assert_eq!(count("1200.0"), Ok(Some(1200)));
        assert_eq!(count("1.2e3"), Ok(Some(1200)));
        assert_eq!(count("null"), Ok(None));
        assert_eq!(count("1000000000000"), Ok(Some(1_000_000_000_000)));
        for (text, problem) in [
            ("-1", CountProblem::Negative),
            ("-0.5", CountProblem::Negative),
            ("-9223372036854775809", CountProblem::Negative),
            ("0.5", CountProblem::Fractional),
            ("1e-9", CountProblem::Fractional),
            ("1000000000001", CountProblem::TooLarge),
            ("1e30", CountProblem::TooLarge),
            ("18446744073709551616", CountProblem::TooLarge),
            ("\"12\"", CountProblem::NotANumber),
            ("[]", CountProblem::NotANumber),
            ("true", CountProblem::NotANumber),
        ] {
            let field = "$.n".to_owned();
            assert_eq!(count(text), Err(ExtractError::NotACount { field, problem }), "{text}");
        }
    }

    #[test]
    fn paths_name_keys_and_indexes() {
        let body = json!({ "a": [ {}, { "b": { "c": "x" } } ] });
        let root = Node::root(&body);
        let (list, items) = root.array("a").unwrap().unwrap();
        let second = list.event(1, items.get(1).unwrap()).unwrap();
        let inner = second.object("b").unwrap().unwrap();
        assert_eq!(inner.count("c").unwrap_err().field(), "$.a[1].b.c");
    }
}
