//! Changes documents at random.

use fastrand::Rng;
use serde_json::{Value, json};

/// Texts that decoders have stumbled over before.
const PIECES: [&str; 28] = [
    "null",
    "true",
    "-1",
    "0",
    "-0",
    "1e400",
    "1e-400",
    "0.1",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999999999999999999999999",
    "0.0000000000001",
    "\"\"",
    "\"0\"",
    "\"-1\"",
    "\"1e5\"",
    "\"99999999999999999999999999999\"",
    "\"0.0000000000001\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"9998-12-31T23:59:59.999Z\"",
    "\"1970-01-01T00:00:00Z\"",
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[",
    "\u{feff}",
];

/// Changes bytes: a few at a time.
pub(super) fn bytes(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=input.len());
        let end = (at + rng.usize(..16)).min(input.len());
        match rng.u32(..7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << rng.u32(..8);
                }
            }
            1 => {
                input.drain(at..end);
            }
            2 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            3 => {
                let piece = PIECES[rng.usize(..PIECES.len())];
                input.splice(at..end, piece.bytes());
            }
            4 => {
                let byte = rng.u8(..);
                input.splice(at..at, [byte]);
            }
            5 => input.truncate(at),
            _ => {
                if let Some(other) = rng.choice(others) {
                    let from = rng.usize(..=other.len());
                    let to = (from + rng.usize(..200)).min(other.len());
                    input.splice(at..end, other[from..to].iter().copied());
                }
            }
        }
    }
}

/// Changes a tree: a few of its nodes become something else, go, or come from another tree.
pub(super) fn tree(value: &mut Value, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let nodes = count(value);
        let mut at = rng.usize(..nodes);
        let new = node(others, rng);
        if let Some(found) = nth(value, &mut at) {
            change(found, new, rng);
        }
    }
}

fn change(found: &mut Value, new: Value, rng: &mut Rng) {
    match found {
        Value::Object(members) if !members.is_empty() && rng.u32(..3) > 0 => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = &names[rng.usize(..names.len())];
            match rng.u32(..4) {
                0 => {
                    members.remove(name);
                }
                1 => {
                    members.insert(name.clone(), new);
                }
                2 => {
                    if let Some(member) = members.remove(name) {
                        members.insert(format!("{name}x"), member);
                    }
                }
                _ => {
                    let other = names[rng.usize(..names.len())].clone();
                    if let Some(member) = members.get(name).cloned() {
                        members.insert(other, member);
                    }
                }
            }
        }
        Value::Array(elements) if !elements.is_empty() && rng.u32(..3) > 0 => {
            let at = rng.usize(..elements.len());
            match rng.u32(..4) {
                0 => {
                    elements.remove(at);
                }
                1 => {
                    let copy = elements[at].clone();
                    elements.push(copy);
                }
                2 => elements.swap(at, 0),
                _ => elements[at] = new,
            }
        }
        Value::String(text) if rng.bool() => {
            let at = text.char_indices().map(|(at, _)| at).nth(rng.usize(..=text.len())).unwrap_or(text.len());
            match rng.u32(..4) {
                0 => text.truncate(at),
                1 => text.insert(at, rng.char(..)),
                2 => *text = text.repeat(rng.usize(2..40)),
                _ => text.insert_str(at, ["-", ".", "0", "e", "/", " ", "9"][rng.usize(..7)]),
            }
        }
        other => *other = new,
    }
}

/// Something to put into a tree.
fn node(others: &[Vec<u8>], rng: &mut Rng) -> Value {
    if rng.bool() {
        let piece = PIECES[rng.usize(..PIECES.len())];
        return serde_json::from_str(piece).unwrap_or_else(|_| json!(rng.u64(..)));
    }
    let other = rng.choice(others).and_then(|other| serde_json::from_slice::<Value>(other).ok());
    let Some(mut other) = other else { return json!(rng.i64(..)) };
    let mut at = rng.usize(..count(&other));
    nth(&mut other, &mut at).cloned().unwrap_or_default()
}

fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        Value::Array(elements) => 1 + elements.iter().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn nth<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, at)),
        Value::Array(elements) => elements.iter_mut().find_map(|element| nth(element, at)),
        _ => None,
    }
}
