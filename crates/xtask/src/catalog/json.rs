//! Writes the data files: what fits on a line stays on one, and names have a fixed order, so that a changed price is one changed line.

use serde_json::Value;

use super::card::METERS;

/// The longest line, in characters, that a list or object may take.
const WIDTH: usize = 128;

/// The order of names; others follow in the order of the alphabet.
const ORDER: [&str; 28] = [
    "provider",
    "model",
    "aliases",
    "contextWindow",
    "maxOutputTokens",
    "rateCards",
    "models",
    "from",
    "to",
    "above",
    "weekdays",
    "exceptDates",
    "multiplier",
    "perMillion",
    "perUnit",
    "tiers",
    "schedules",
    "modes",
    "regions",
    "source",
    "confidence",
    "class",
    "decision",
    "reason",
    "cases",
    "batch",
    "flex",
    "priority",
];

/// The text of a file.
pub fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, before: usize, text: &mut String) {
    let line = inline(value);
    let is_list_of_objects = value.as_array().is_some_and(|list| list.iter().any(Value::is_object));
    if depth > 1 && !is_list_of_objects && before + line.chars().count() + 2 * depth <= WIDTH || !is_container(value) {
        text.push_str(&line);
        return;
    }
    let indent = "  ".repeat(depth + 1);
    let (open, close) = if value.is_array() { ('[', ']') } else { ('{', '}') };
    text.push(open);
    let mut first = true;
    let mut one = |name: Option<&str>, member: &Value, text: &mut String| {
        text.push_str(if first { "\n" } else { ",\n" });
        first = false;
        text.push_str(&indent);
        let name = name.map_or(String::new(), |name| format!("{}: ", quoted(name)));
        text.push_str(&name);
        write(member, depth + 1, name.chars().count() + 1, text);
    };
    for member in value.as_array().into_iter().flatten() {
        one(None, member, text);
    }
    for (name, member) in members(value) {
        one(Some(name), member, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(_) => {
            let members: Vec<String> = members(value)
                .into_iter()
                .map(|(name, member)| format!("{}: {}", quoted(name), inline(member)))
                .collect();
            if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
        }
        other => other.to_string(),
    }
}

fn members(value: &Value) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = value.as_object().into_iter().flatten().collect();
    let rank = |name: &str| {
        let place = ORDER.iter().chain(&METERS).position(|known| *known == name);
        place.unwrap_or(usize::MAX)
    };
    members.sort_by_key(|(name, _)| rank(name));
    members
}

fn is_container(value: &Value) -> bool {
    value.as_array().is_some_and(|list| !list.is_empty()) || value.as_object().is_some_and(|object| !object.is_empty())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_and_keeps_its_order() {
        let value = serde_json::json!({ "models": [{ "rateCards": [{ "confidence": "single", "from": "2026-01-01",
            "perMillion": { "output": "2", "input": "1" } }], "model": "m" }], "provider": "p" });
        let text = pretty(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).ok().as_ref(), Some(&value));
        assert!(
            text.starts_with("{\n  \"provider\": \"p\",\n  \"models\": [\n    {\n      \"model\": \"m\","),
            "{text}"
        );
        assert!(text.contains("\"perMillion\": { \"input\": \"1\", \"output\": \"2\" }"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
    }
}
