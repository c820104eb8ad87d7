//! The usage objects of the AI SDK: what its middleware, its stream parts and its results carry.
//!
//! The version shows in the shape. A language model of version 3 or 4 reports `{ inputTokens: { total, noCache,
//! cacheRead, cacheWrite }, outputTokens: { total, text, reasoning } }`; results of version 6 and 7 have the same in
//! `inputTokenDetails` and `outputTokenDetails`; version 2 is flat. Any of these may be undefined, which is unknown.
//!
//! Version 2 passes the providers' counts on without evening them out: whether the cached tokens are within the input
//! shows only in the provider's metadata, whether the reasoning is within the output only in the total.

use serde_json::Value;

use super::pools::rest;
use super::read::Node;
use super::{CountProblem, ExtractError, Extracted, add, add_each, bedrock, gemini};
use crate::meter::{Meter, MeterKind, Usage};

/// A usage object, or what carries one: a finish part, the result of `doGenerate`, a step, a result with its steps.
pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let mut usage = Usage::new();
    match answer.array("steps")? {
        Some((list, items)) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                add_all(&mut usage, list.event(index, item)?)?;
            }
        }
        _ => add_all(&mut usage, answer)?,
    }
    Ok(Extracted { usage, model: model_of(answer)?.map(str::to_owned), service_tier: None, complete: true })
}

/// The parts of a stream: of one model call, which ends with `finish`, or of several steps, each with a `finish-step`.
pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    let mut usage = Usage::new();
    let mut model: Option<&str> = None;
    let mut stepped = false;
    let mut complete = false;
    for (index, value) in events.iter().enumerate() {
        let part = root.event(index, value)?;
        if part.is("type", "response-metadata") {
            model = part.text("modelId")?.or(model);
        } else if part.is("type", "finish-step") {
            model = model_of(part)?.or(model);
            add_all(&mut usage, part)?;
            stepped = true;
        } else if part.is("type", "finish") {
            // After steps it only repeats their sum.
            if !stepped {
                add_all(&mut usage, part)?;
            }
            complete = true;
        }
    }
    if !stepped && !complete {
        return Err(ExtractError::MissingUsage { field: root.path() });
    }
    Ok(Extracted { usage, model: model.map(str::to_owned), service_tier: None, complete })
}

fn model_of<'v>(part: Node<'_, 'v>) -> Result<Option<&'v str>, ExtractError> {
    part.object_or_empty("response")?.text("modelId")
}

/// Adds the usage that the object is or has.
fn add_all(usage: &mut Usage, part: Node<'_, '_>) -> Result<(), ExtractError> {
    if let Some(total) = part.object("totalUsage")? {
        // The metadata is the last step's alone.
        return add_usage(usage, total, Node::nothing());
    }
    let metadata = part.object_or_empty("providerMetadata")?;
    if let Some(at) = part.object("usage")? {
        return add_usage(usage, at, metadata);
    }
    if ["inputTokens", "outputTokens", "totalTokens"].into_iter().any(|key| part.has(key)) {
        return add_usage(usage, part, metadata);
    }
    Err(part.missing_usage("usage"))
}

fn add_usage(usage: &mut Usage, at: Node<'_, '_>, metadata: Node<'_, '_>) -> Result<(), ExtractError> {
    let raw = at.object_or_empty("raw")?;
    if at.has_object("inputTokens") || at.has_object("outputTokens") {
        let input = at.object_or_empty("inputTokens")?;
        let output = at.object_or_empty("outputTokens")?;
        let totals = [(input, "total"), (output, "total")];
        let parts = (input, ["noCache", "cacheRead", "cacheWrite"], output, ["text", "reasoning"]);
        add_parts(usage, totals, parts, raw)
    } else if at.has("inputTokenDetails") || at.has("outputTokenDetails") {
        let input = at.object_or_empty("inputTokenDetails")?;
        let output = at.object_or_empty("outputTokenDetails")?;
        let totals = [(at, "inputTokens"), (at, "outputTokens")];
        let input_keys = ["noCacheTokens", "cacheReadTokens", "cacheWriteTokens"];
        add_parts(usage, totals, (input, input_keys, output, ["textTokens", "reasoningTokens"]), raw)
    } else {
        add_flat(usage, at, metadata)
    }
}

/// Where a total is.
type Total<'w, 'v, 'k> = (Node<'w, 'v>, &'k str);

/// Adds a prompt and an answer, each a total with parts.
fn add_parts(
    usage: &mut Usage,
    totals: [Total<'_, '_, '_>; 2],
    (input, input_keys, output, output_keys): (Node<'_, '_>, [&str; 3], Node<'_, '_>, [&str; 2]),
    raw: Node<'_, '_>,
) -> Result<(), ExtractError> {
    // Gemini's own usage has what the totals leave out or do not tell apart: what tools fed in, audio, images.
    if raw.has("promptTokenCount") {
        return add_gemini(usage, totals, raw);
    }
    let [input_total, output_total] = totals;
    add_prompt(usage, input_total, input, input_keys, raw)?;
    add_answer(usage, output_total, output, output_keys)
}

fn add_gemini(usage: &mut Usage, totals: [Total<'_, '_, '_>; 2], raw: Node<'_, '_>) -> Result<(), ExtractError> {
    let own = gemini::usage_of(raw, 0)?;
    for ((at, key), kind) in totals.into_iter().zip([MeterKind::InputTokens, MeterKind::OutputTokens]) {
        let sum = own.sum(kind);
        if at.count(key)?.is_some_and(|total| total > sum) {
            return Err(at.contradiction(key, format!("more than the {sum} tokens of `raw`")));
        }
    }
    own.iter().try_for_each(|(meter, quantity)| {
        usage.add(meter, quantity).map_err(|_| raw.not_a_count(CountProblem::TooLarge))
    })
}

/// Adds a prompt: a total, and what of it was fresh, read from a cache and written to one.
fn add_prompt(
    usage: &mut Usage,
    (totals, total_key): Total<'_, '_, '_>,
    parts: Node<'_, '_>,
    [fresh_key, read_key, write_key]: [&str; 3],
    raw: Node<'_, '_>,
) -> Result<(), ExtractError> {
    let known = [parts.count(fresh_key)?, parts.count(read_key)?, parts.count(write_key)?];
    let total = match (totals.count(total_key)?, known) {
        (Some(total), _) => total,
        (None, [Some(fresh), Some(read), Some(write)]) => fresh + read + write,
        _ => return Err(totals.missing(total_key)),
    };
    let [stated, read, write] = known;
    let key = if write.is_some() { write_key } else { read_key };
    let uncached = rest(parts, key, total, total_key, read.unwrap_or(0) + write.unwrap_or(0))?;
    let (fresh, read, write) = match (stated, read, write) {
        (Some(fresh), read, write) if fresh != uncached => match (read, write) {
            // Some providers' `noCache` is what was not read from a cache, what was written to it included.
            (Some(read), Some(write)) if fresh == uncached + write => (uncached, read, write),
            (Some(read), None) if fresh < uncached => (fresh, read, uncached - fresh),
            (None, Some(write)) if fresh < uncached => (fresh, uncached - fresh, write),
            (None, None) if fresh < uncached => return Err(parts.missing(read_key)),
            _ => {
                let detail = format!("{fresh} uncached tokens where the others leave {uncached}");
                return Err(parts.contradiction(fresh_key, detail));
            }
        },
        (_, read, write) => (uncached, read.unwrap_or(0), write.unwrap_or(0)),
    };
    add_written(usage, parts, write_key, write, raw)?;
    add(usage, Meter::Input, fresh, totals)?;
    add(usage, Meter::CacheRead, read, totals)
}

/// Adds what was written to a cache, by its lifetime where the provider's own usage tells it, and the web searches that
/// only the provider's own usage has.
fn add_written(
    usage: &mut Usage,
    at: Node<'_, '_>,
    key: &str,
    written: u64,
    raw: Node<'_, '_>,
) -> Result<(), ExtractError> {
    let (_, bedrock) = bedrock::written(raw)?;
    let hour1 = raw.object_or_empty("cache_creation")?.part("ephemeral_1h_input_tokens")?.max(bedrock);
    let minutes5 = rest(at, key, written, key, hour1)?;
    let searches = raw.object_or_empty("server_tool_use")?.part("web_search_requests")?;
    add(usage, Meter::CacheWrite5m, minutes5, at)?;
    add(usage, Meter::CacheWrite1h, hour1, at)?;
    add(usage, Meter::WebSearch, searches, at)
}

/// Adds an answer: a total, and what of it was text and reasoning. What is neither counts as text.
fn add_answer(
    usage: &mut Usage,
    (totals, total_key): Total<'_, '_, '_>,
    parts: Node<'_, '_>,
    [text_key, reasoning_key]: [&str; 2],
) -> Result<(), ExtractError> {
    let text = parts.count(text_key)?;
    let reasoning = parts.count(reasoning_key)?;
    let total = match (totals.count(total_key)?, text, reasoning) {
        (Some(total), _, _) => total,
        (None, Some(text), Some(reasoning)) => text + reasoning,
        _ => return Err(totals.missing(total_key)),
    };
    let reasoning = reasoning.unwrap_or(0);
    let visible = rest(parts, reasoning_key, total, total_key, reasoning)?;
    rest(parts, text_key, visible, total_key, text.unwrap_or(0))?;
    add(usage, Meter::Output, visible, totals)?;
    add(usage, Meter::Reasoning, reasoning, totals)
}

/// Adds a usage of version 2.
fn add_flat(usage: &mut Usage, at: Node<'_, '_>, metadata: Node<'_, '_>) -> Result<(), ExtractError> {
    let input = at.need("inputTokens")?;
    let output = at.need("outputTokens")?;
    let cached = at.part("cachedInputTokens")?;
    let reasoning = at.part("reasoningTokens")?;

    // Anthropic and Bedrock have the cached tokens beside the input, and what was written only in their metadata.
    let fresh = if let Some(own) = metadata.object("anthropic")? {
        let raw = own.object_or_empty("usage")?;
        add_written(usage, own, "cacheCreationInputTokens", own.part("cacheCreationInputTokens")?, raw)?;
        input
    } else if let Some(own) = metadata.object("bedrock")? {
        let raw = own.object_or_empty("usage")?;
        add_written(usage, raw, "cacheWriteInputTokens", raw.part("cacheWriteInputTokens")?, raw)?;
        input
    } else {
        rest(at, "cachedInputTokens", input, "inputTokens", cached)?
    };

    let sum = input + output;
    let visible = match at.count("totalTokens")? {
        Some(total) if total == sum => rest(at, "reasoningTokens", output, "outputTokens", reasoning)?,
        Some(total) if total == sum + reasoning => output,
        Some(total) => {
            return Err(at.contradiction("totalTokens", format!("a total of {total} for parts of {sum}")));
        }
        None if reasoning == 0 => output,
        None => return Err(at.missing("totalTokens")),
    };
    add_each(
        usage,
        &[(Meter::Input, fresh), (Meter::CacheRead, cached), (Meter::Output, visible), (Meter::Reasoning, reasoning)],
        at,
    )
}
