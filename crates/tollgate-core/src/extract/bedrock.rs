//! Amazon Bedrock `Converse` and `ConverseStream`, whichever model answered.
//!
//! `inputTokens` excludes what was read from a cache and what was written to one; `outputTokens` includes the thinking
//! and does not break it out. `totalTokens` is their sum, with or without the cache's part. A stream carries its usage
//! in the last event, `metadata`. An answer does not name its model.

use serde_json::Value;

use super::read::Node;
use super::{ExtractError, Extracted, add_each};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let at = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    let tier = match answer.object("serviceTier")? {
        Some(tier) => tier.text("type")?,
        None => None,
    };
    Ok(Extracted { usage: usage_of(at)?, model: None, service_tier: tier.map(str::to_owned), complete: true })
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    for (index, value) in events.iter().enumerate() {
        let event = root.event(index, value)?;
        if let Some(metadata) = event.object("metadata")? {
            return whole(metadata);
        }
        // The event's own payload: its name is a header of the frame.
        if event.has_object("usage") {
            return whole(event);
        }
    }
    Err(ExtractError::MissingUsage { field: root.path() })
}

fn usage_of(at: Node<'_, '_>) -> Result<Usage, ExtractError> {
    let input = at.need("inputTokens")?;
    let output = at.need("outputTokens")?;
    let read = at.part("cacheReadInputTokens")?;
    let (minutes5, hour1) = written(at)?;
    let sum = input + output;
    match at.count("totalTokens")? {
        Some(total) if total != sum && total != sum + read + minutes5 + hour1 => {
            let detail = format!("a total of {total} for parts of {}", sum + read + minutes5 + hour1);
            return Err(at.contradiction("totalTokens", detail));
        }
        _ => {}
    }
    let mut usage = Usage::new();
    add_each(
        &mut usage,
        &[
            (Meter::Input, input),
            (Meter::CacheRead, read),
            (Meter::CacheWrite5m, minutes5),
            (Meter::CacheWrite1h, hour1),
            (Meter::Output, output),
        ],
        at,
    )?;
    Ok(usage)
}

/// What was written to a cache for five minutes, and for an hour. What lives for neither is taken for the dearer.
pub(super) fn written(at: Node<'_, '_>) -> Result<(u64, u64), ExtractError> {
    let total = at.count("cacheWriteInputTokens")?;
    let (list, items) = match at.array("cacheDetails")? {
        Some((list, items)) if !items.is_empty() => (list, items),
        _ => return Ok((total.unwrap_or(0), 0)),
    };
    let (mut minutes5, mut hour1) = (0, 0);
    for (index, item) in items.iter().enumerate() {
        let entry = list.event(index, item)?;
        let count = entry.need("inputTokens")?;
        if entry.is("ttl", "5m") {
            minutes5 += count;
        } else {
            hour1 += count;
        }
    }
    match total {
        Some(total) if total != minutes5 + hour1 => {
            let detail = format!("{} tokens in all, `cacheWriteInputTokens` says {total}", minutes5 + hour1);
            Err(at.contradiction("cacheDetails", detail))
        }
        _ => Ok((minutes5, hour1)),
    }
}
