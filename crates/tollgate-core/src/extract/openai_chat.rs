//! OpenAI Chat Completions, and what imitates it with rules of its own ([`Rules`]).
//!
//! `prompt_tokens` includes `cached_tokens`, `cache_write_tokens` and `audio_tokens`; `completion_tokens` includes
//! `reasoning_tokens`, `audio_tokens` and both kinds of predicted tokens (rejected ones are billed as output).
//! A stream carries its usage in a last chunk without choices, and only when `stream_options.include_usage` was set.

use serde_json::Value;

use super::chat_rules::Rules;
use super::pools::{Modalities, Prompt, rest};
use super::read::Node;
use super::{ExtractError, Extracted, add, add_each};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>, rules: &Rules) -> Result<Extracted, ExtractError> {
    let usage = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    let model = answer.text("model")?;
    Ok(Extracted {
        usage: usage_of(usage, model, rules)?,
        model: model.filter(|_| rules.names_model).map(str::to_owned),
        service_tier: answer.text("service_tier")?.or(usage.text("service_tier")?).map(str::to_owned),
        complete: true,
    })
}

/// A stream of chunks. Where several carry usage (some servers count along), the last one counts.
pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value], rules: &Rules) -> Result<Extracted, ExtractError> {
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
        if let Some(usage) = usage_in(chunk, model, rules)? {
            let alone = choices.is_none_or(|(_, items)| items.is_empty());
            last = Some((usage, finished || alone));
        }
    }
    let (usage, complete) = last.ok_or_else(|| ExtractError::MissingUsage { field: root.path() })?;
    let model = model.filter(|_| rules.names_model);
    Ok(Extracted { usage, model: model.map(str::to_owned), service_tier: tier.map(str::to_owned), complete })
}

/// A chunk's usage, if it has any; the same one, if it has two.
fn usage_in(chunk: Node<'_, '_>, model: Option<&str>, rules: &Rules) -> Result<Option<Usage>, ExtractError> {
    let own = match rules.also_in {
        None => None,
        Some(key) => match chunk.object(key)? {
            None => None,
            Some(object) => match object.object("usage")? {
                None => None,
                Some(usage) => Some(usage_of(usage, model, rules)?),
            },
        },
    };
    let common = match chunk.object("usage")? {
        None => None,
        Some(usage) => Some(usage_of(usage, model, rules)?),
    };
    match (own, common) {
        (Some(own), Some(common)) if own != common => {
            let detail = format!("differs from the usage in the same chunk's `{}`", rules.also_in.unwrap_or_default());
            Err(chunk.contradiction("usage", detail))
        }
        (own, common) => Ok(own.or(common)),
    }
}

/// The pools of a usage object.
fn usage_of(at: Node<'_, '_>, model: Option<&str>, rules: &Rules) -> Result<Usage, ExtractError> {
    for place in rules.unmetered {
        if place.count(at)?.is_some_and(|count| count > 0) {
            return Err(ExtractError::NoMeter { field: place.path(at) });
        }
    }
    let prompt = at.need("prompt_tokens")?;
    let completion = at.need("completion_tokens")?;
    let beside = match at.object(COMPLETION_DETAILS)? {
        Some(details) if rules.reasoning_beside => details.part("reasoning_tokens")?,
        _ => 0,
    };
    check_total(at, prompt + completion + beside)?;

    let mut usage = Usage::new();
    add_prompt(&mut usage, at, prompt, ["prompt_tokens", "prompt_tokens_details"], rules)?;
    add_completion(&mut usage, at, completion + beside, ["completion_tokens", COMPLETION_DETAILS])?;
    let mut searches = u64::from(model.is_some_and(searches_always));
    for place in rules.searches {
        searches = searches.max(place.count(at)?.unwrap_or(0));
    }
    add(&mut usage, Meter::WebSearch, searches, at)?;
    Ok(usage)
}

const COMPLETION_DETAILS: &str = "completion_tokens_details";

/// The sum has to be the total, where the answer gives one.
pub(super) fn check_total(at: Node<'_, '_>, sum: u64) -> Result<(), ExtractError> {
    match at.count("total_tokens")? {
        Some(total) if total != sum => {
            Err(at.contradiction("total_tokens", format!("a total of {total} for parts of {sum}")))
        }
        _ => Ok(()),
    }
}

/// Adds the pools of an OpenAI prompt; Responses has the same with other names (of the total and of its details).
pub(super) fn add_prompt(
    usage: &mut Usage,
    at: Node<'_, '_>,
    total: u64,
    [total_name, details_name]: [&str; 2],
    rules: &Rules,
) -> Result<(), ExtractError> {
    let details = at.object_or_empty(details_name)?;
    let cached = cached(at, details, total, total_name, rules)?;
    let written = details.part("cache_write_tokens")?;
    let audio = details.part("audio_tokens")?;
    let image = details.part("image_tokens")?;
    let video = details.part("video_tokens")?;
    rest(details, "audio_tokens", total, total_name, audio)?;
    rest(details, "image_tokens", total, total_name, audio + image)?;
    let text = rest(details, "video_tokens", total, total_name, audio + image + video)?;
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
        all: Modalities { text, image, video, audio },
        cached_key: "cached_tokens",
        cached,
        cached_by,
        written_key: "cache_write_tokens",
        written,
    }
    .add_to(usage)
}

/// The tokens read from the cache, on which all places that count them agree.
fn cached(
    at: Node<'_, '_>,
    details: Node<'_, '_>,
    total: u64,
    total_name: &str,
    rules: &Rules,
) -> Result<u64, ExtractError> {
    let mut cached = details.count("cached_tokens")?;
    for place in rules.cached {
        let Some(count) = place.count(at)? else {
            continue;
        };
        let detail = match cached {
            Some(other) if other != count => format!("{count} cached tokens here, {other} elsewhere"),
            _ if count > total => format!("{count} cached tokens in `{total_name}` of {total}"),
            _ => {
                cached = Some(count);
                continue;
            }
        };
        return Err(ExtractError::Contradiction { field: place.path(at), detail });
    }
    let Some(key) = rules.missed else {
        return Ok(cached.unwrap_or(0));
    };
    match (at.count(key)?, cached) {
        (Some(missed), cached) => {
            let hit = rest(at, key, total, total_name, missed)?;
            match cached {
                Some(cached) if cached != hit => {
                    Err(at.contradiction(key, format!("{missed} beside {cached} cached ones in a prompt of {total}")))
                }
                _ => Ok(hit),
            }
        }
        (None, cached) => Ok(cached.unwrap_or(0)),
    }
}

/// Adds the pools of an OpenAI completion; Responses has the same with other names (of the total and of its details).
pub(super) fn add_completion(
    usage: &mut Usage,
    at: Node<'_, '_>,
    total: u64,
    [total_name, details_name]: [&str; 2],
) -> Result<(), ExtractError> {
    let details = at.object_or_empty(details_name)?;
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

    add_each(
        usage,
        &[
            (Meter::Output, text),
            (Meter::Reasoning, reasoning),
            (Meter::OutputAudio, audio),
            (Meter::OutputImage, image),
        ],
        details,
    )
}

/// The search models of Chat Completions run one web search per call and bill it, without counting it in `usage`.
fn searches_always(model: &str) -> bool {
    model.contains("-search-preview") || model.contains("-search-api")
}

/// Azure's first chunk has an empty model.
fn named(model: Option<&str>) -> Option<&str> {
    model.filter(|name| !name.is_empty())
}
