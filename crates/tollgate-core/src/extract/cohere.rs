//! Cohere Chat, version 2.
//!
//! `billed_units` is what is billed; `tokens` counts what Cohere added to the prompt and the model's special tokens as
//! well, and stands in where nothing is said to be billed. `cached_tokens` is part of the prompt. A stream carries its
//! usage in the last event, `message-end`. An answer does not name its model.

use serde_json::Value;

use super::pools::rest;
use super::read::Node;
use super::{ExtractError, Extracted, add_each};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let at = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    Ok(Extracted { usage: usage_of(at)?, model: None, service_tier: None, complete: true })
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    for (index, value) in events.iter().enumerate() {
        let event = root.event(index, value)?;
        if event.is("type", "message-end") {
            return whole(event.object_or_empty("delta")?);
        }
    }
    Err(ExtractError::MissingUsage { field: root.path() })
}

fn usage_of(at: Node<'_, '_>) -> Result<Usage, ExtractError> {
    let tokens = at.object("tokens")?;
    let billed = at.object("billed_units")?;
    for key in ["search_units", "classifications"] {
        if let Some(billed) = billed
            && billed.part(key)? > 0
        {
            return Err(billed.no_meter(key));
        }
    }
    let counts = billed.or(tokens).ok_or_else(|| at.missing("billed_units"))?;
    let input = counts.need("input_tokens")?;
    let output = counts.need("output_tokens")?;
    let cached = at.part("cached_tokens")?;
    let prompt = match tokens {
        Some(tokens) => tokens.need("input_tokens")?,
        None => input,
    };
    rest(at, "cached_tokens", prompt, "input_tokens", cached)?;
    // The part of the prompt that is not billed may have been cached as well.
    let read = cached.min(input);
    let mut usage = Usage::new();
    add_each(&mut usage, &[(Meter::Input, input - read), (Meter::CacheRead, read), (Meter::Output, output)], at)?;
    Ok(usage)
}
