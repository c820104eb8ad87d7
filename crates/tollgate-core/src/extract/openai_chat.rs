//! OpenAI Chat Completions.
//!
//! `prompt_tokens` includes `cached_tokens`, `cache_write_tokens` and `audio_tokens`; `completion_tokens` includes
//! `reasoning_tokens`, `audio_tokens` and both kinds of predicted tokens (rejected ones are billed as output).
//! A stream carries its usage in a last chunk without choices, and only when `stream_options.include_usage` was set.

use serde_json::Value;

use super::pools::{Modalities, Prompt, rest};
use super::read::Node;
use super::{ExtractError, Extracted, add};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let usage = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    let model = answer.text("model")?;
    Ok(Extracted {
        usage: usage_of(usage, model)?,
        model: model.map(str::to_owned),
        service_tier: answer.text("service_tier")?.map(str::to_owned),
        complete: true,
    })
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    stream_with(root, events, |chunk, use_it| match chunk.object("usage")? {
        Some(usage) => use_it(usage).map(Some),
        None => Ok(None),
    })
}

/// Reads a chunk's usage, if it has any, with the given reader.
pub(super) type FindUsage = fn(
    Node<'_, '_>,
    &mut dyn FnMut(Node<'_, '_>) -> Result<Usage, ExtractError>,
) -> Result<Option<Usage>, ExtractError>;

/// A stream of chunks. Where several carry usage (some servers count along), the last one counts.
pub(super) fn stream_with<'v>(
    root: Node<'_, 'v>,
    events: &'v [Value],
    find: FindUsage,
) -> Result<Extracted, ExtractError> {
    let mut model: Option<&str> = None;
    let mut tier: Option<&str> = None;
    let mut finished = false;
    let mut last: Option<(Usage, bool)> = None;
    for (index, value) in events.iter().enumerate() {
        let chunk = root.event(index, value)?;
        model = model.or(named(chunk.text("model")?));
        tier = chunk.text("service_tier")?.or(tier);
        let choices = chunk.array("choices")?;
        if let Some((list, items)) = choices {
            for (at, item) in items.iter().enumerate() {
                finished |= list.event(at, item)?.text("finish_reason")?.is_some();
            }
        }
        if let Some(usage) = find(chunk, &mut |usage| usage_of(usage, model))? {
            let alone = choices.is_none_or(|(_, items)| items.is_empty());
            last = Some((usage, finished || alone));
        }
    }
    let (usage, complete) = last.ok_or_else(|| ExtractError::MissingUsage { field: root.path() })?;
    Ok(Extracted { usage, model: model.map(str::to_owned), service_tier: tier.map(str::to_owned), complete })
}

/// The pools of a usage object.
pub(super) fn usage_of(at: Node<'_, '_>, model: Option<&str>) -> Result<Usage, ExtractError> {
    let prompt = at.need("prompt_tokens")?;
    let completion = at.need("completion_tokens")?;
    check_total(at, prompt + completion)?;

    let mut usage = Usage::new();
    add_prompt(&mut usage, at, prompt, "prompt_tokens", "prompt_tokens_details")?;
    add_completion(&mut usage, at, completion, "completion_tokens", "completion_tokens_details")?;
    if model.is_some_and(searches_always) {
        add(&mut usage, Meter::WebSearch, 1, at)?;
    }
    Ok(usage)
}

/// The sum has to be the total, where the answer gives one.
pub(super) fn check_total(at: Node<'_, '_>, sum: u64) -> Result<(), ExtractError> {
    match at.count("total_tokens")? {
        Some(total) if total != sum => {
            Err(at.contradiction("total_tokens", format!("a total of {total} for parts of {sum}")))
        }
        _ => Ok(()),
    }
}

/// Adds the pools of an OpenAI prompt; Responses has the same with other names.
pub(super) fn add_prompt(
    usage: &mut Usage,
    at: Node<'_, '_>,
    total: u64,
    total_name: &str,
    details_name: &str,
) -> Result<(), ExtractError> {
    let details = at.object(details_name)?;
    let Some(details) = details else {
        return add(usage, Meter::Input, total, at);
    };
    let cached = details.part("cached_tokens")?;
    let written = details.part("cache_write_tokens")?;
    let audio = details.part("audio_tokens")?;
    let image = details.part("image_tokens")?;
    rest(details, "audio_tokens", total, total_name, audio)?;
    let text = rest(details, "image_tokens", total, total_name, audio + image)?;
    let cached_by = match details.object("cached_tokens_details")? {
        None => None,
        Some(by) => {
            let audio = by.part("audio_tokens")?;
            let image = by.part("image_tokens")?;
            let text = rest(by, "audio_tokens", cached, "cached_tokens", audio + image)?;
            Some(Modalities { text, image, video: 0, audio })
        }
    };
    Prompt {
        at: details,
        all: Modalities { text, image, video: 0, audio },
        cached_key: "cached_tokens",
        cached,
        cached_by,
        written_key: "cache_write_tokens",
        written,
    }
    .add_to(usage)
}

/// Adds the pools of an OpenAI completion; Responses has the same with other names.
pub(super) fn add_completion(
    usage: &mut Usage,
    at: Node<'_, '_>,
    total: u64,
    total_name: &str,
    details_name: &str,
) -> Result<(), ExtractError> {
    let details = at.object(details_name)?;
    let Some(details) = details else {
        return add(usage, Meter::Output, total, at);
    };
    let reasoning = details.part("reasoning_tokens")?;
    let audio = details.part("audio_tokens")?;
    let image = details.part("image_tokens")?;
    rest(details, "reasoning_tokens", total, total_name, reasoning)?;
    rest(details, "audio_tokens", total, total_name, reasoning + audio)?;
    let text = rest(details, "image_tokens", total, total_name, reasoning + audio + image)?;

    // Predicted tokens are part of the visible text and of the total; they have no rate of their own.
    let accepted = details.part("accepted_prediction_tokens")?;
    let rejected = details.part("rejected_prediction_tokens")?;
    rest(details, "accepted_prediction_tokens", total, total_name, accepted)?;
    rest(details, "rejected_prediction_tokens", total, total_name, accepted + rejected)?;

    add(usage, Meter::Output, text, details)?;
    add(usage, Meter::Reasoning, reasoning, details)?;
    add(usage, Meter::OutputAudio, audio, details)?;
    add(usage, Meter::OutputImage, image, details)
}

/// The search models of Chat Completions run one web search per call and bill it, without counting it in `usage`.
fn searches_always(model: &str) -> bool {
    model.contains("-search-preview") || model.contains("-search-api")
}

/// Azure's first chunk has an empty model.
fn named(model: Option<&str>) -> Option<&str> {
    model.filter(|name| !name.is_empty())
}
