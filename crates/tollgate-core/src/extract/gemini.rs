//! Gemini `generateContent` and `streamGenerateContent`.
//!
//! `promptTokenCount` includes `cachedContentTokenCount`; `toolUsePromptTokenCount` is beside it;
//! `candidatesTokenCount` excludes `thoughtsTokenCount`; `totalTokenCount` is the sum of the four. Each chunk of a
//! stream has the usage so far: the last one counts. Google leaves out counts that are zero, so an absent candidates
//! count is worked out from the total and is an error without one.

use serde_json::Value;

use super::pools::{Modalities, Prompt, rest};
use super::read::Node;
use super::{ExtractError, Extracted, add_each};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let at = answer.object("usageMetadata")?.ok_or_else(|| answer.missing_usage("usageMetadata"))?;
    let model = answer.text("modelVersion")?;
    let mut searches = Searches::default();
    searches.update(answer)?;
    Ok(Extracted {
        usage: usage_of(at, searches.billed(model))?,
        model: model.map(str::to_owned),
        service_tier: tier(at)?.map(str::to_owned),
        complete: true,
    })
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    let mut model: Option<&str> = None;
    let mut searches = Searches::default();
    let mut last: Option<(usize, &Value)> = None;
    let mut finished = false;
    let mut complete = false;
    for (index, value) in events.iter().enumerate() {
        let chunk = root.event(index, value)?;
        model = chunk.text("modelVersion")?.or(model);
        searches.update(chunk)?;
        finished |= is_last(chunk)?;
        if chunk.object("usageMetadata")?.is_some() {
            last = Some((index, value));
            complete = finished;
        }
    }
    let missing = || ExtractError::MissingUsage { field: root.path() };
    let (index, value) = last.ok_or_else(missing)?;
    let chunk = root.event(index, value)?;
    let at = chunk.object("usageMetadata")?.ok_or_else(missing)?;
    Ok(Extracted {
        usage: usage_of(at, searches.billed(model))?,
        model: model.map(str::to_owned),
        service_tier: tier(at)?.map(str::to_owned),
        complete,
    })
}

pub(super) fn usage_of(at: Node<'_, '_>, searches: u64) -> Result<Usage, ExtractError> {
    let prompt = at.need("promptTokenCount")?;
    let tool = at.part("toolUsePromptTokenCount")?;
    let thoughts = at.part("thoughtsTokenCount")?;
    let cached = at.part("cachedContentTokenCount")?;
    let candidates = candidates(at, prompt, tool, thoughts)?;

    let mut usage = Usage::new();
    rest(at, "cachedContentTokenCount", prompt, "promptTokenCount", cached)?;
    let cached_by = modalities(at, "cacheTokensDetails", cached, "cachedContentTokenCount")?;
    let all = match modalities(at, "promptTokensDetails", prompt, "promptTokenCount")? {
        Some(all) => all,
        // Without a list for the prompt, all that is known of it is what the cached part was.
        None => cached_by.map_or(text_only(prompt), |by| Modalities { text: by.text + (prompt - cached), ..by }),
    };
    Prompt {
        at,
        all,
        cached_key: "cachedContentTokenCount",
        cached,
        cached_by,
        written_key: "cachedContentTokenCount",
        written: 0,
    }
    .add_to(&mut usage)?;
    let fed = modalities(at, "toolUsePromptTokensDetails", tool, "toolUsePromptTokenCount")?.unwrap_or(text_only(tool));
    let out =
        modalities(at, "candidatesTokensDetails", candidates, "candidatesTokenCount")?.unwrap_or(text_only(candidates));
    add_each(
        &mut usage,
        &[
            (Meter::Input, fed.text),
            (Meter::InputImage, fed.image),
            (Meter::InputVideo, fed.video),
            (Meter::InputAudio, fed.audio),
            // No model answers in video here; what says so is billed as text.
            (Meter::Output, out.text + out.video),
            (Meter::OutputImage, out.image),
            (Meter::OutputAudio, out.audio),
            (Meter::Reasoning, thoughts),
            (Meter::WebSearch, searches),
        ],
        at,
    )?;
    Ok(usage)
}

/// The candidates' tokens, which have to agree with the total. The Gemini API has also given totals without the tool
/// use, so that is accepted.
fn candidates(at: Node<'_, '_>, prompt: u64, tool: u64, thoughts: u64) -> Result<u64, ExtractError> {
    let total = at.count("totalTokenCount")?;
    match (at.count("candidatesTokenCount")?, total) {
        (Some(candidates), Some(total)) => {
            let sum = prompt + candidates + thoughts;
            if total == sum + tool || total == sum {
                Ok(candidates)
            } else {
                let detail = format!("a total of {total} for parts of {}", sum + tool);
                Err(at.contradiction("totalTokenCount", detail))
            }
        }
        (Some(candidates), None) => Ok(candidates),
        (None, Some(total)) => total.checked_sub(prompt + tool + thoughts).ok_or_else(|| {
            let detail = format!("a total of {total} for parts of {}", prompt + tool + thoughts);
            at.contradiction("totalTokenCount", detail)
        }),
        (None, None) => Err(at.missing("candidatesTokenCount")),
    }
}

/// A total by modality; text is what the others leave. None where the answer has no such list.
fn modalities(at: Node<'_, '_>, key: &str, total: u64, total_name: &str) -> Result<Option<Modalities>, ExtractError> {
    let Some((list, items)) = at.array(key)? else {
        return Ok(None);
    };
    let mut found = Modalities::default();
    for (index, item) in items.iter().enumerate() {
        let entry = list.event(index, item)?;
        let count = entry.part("tokenCount")?;
        match entry.text("modality")? {
            Some("AUDIO") => found.audio += count,
            Some("IMAGE") => found.image += count,
            Some("VIDEO") => found.video += count,
            _ => found.text += count,
        }
        // Checked as it grows, so that no sum can overflow.
        rest(at, key, total, total_name, found.sum())?;
    }
    found.text += total - found.sum();
    Ok(Some(found))
}

const fn text_only(text: u64) -> Modalities {
    Modalities { text, image: 0, video: 0, audio: 0 }
}

fn tier<'v>(at: Node<'_, 'v>) -> Result<Option<&'v str>, ExtractError> {
    Ok(at.text("serviceTier")?.or(at.text("trafficType")?))
}

/// Whether the chunk ends its stream: a candidate says why it stopped, or the prompt was blocked.
fn is_last(chunk: Node<'_, '_>) -> Result<bool, ExtractError> {
    if let Some(feedback) = chunk.object("promptFeedback")?
        && feedback.text("blockReason")?.is_some()
    {
        return Ok(true);
    }
    let Some((list, items)) = chunk.array("candidates")? else {
        return Ok(false);
    };
    for (index, item) in items.iter().enumerate() {
        if list.event(index, item)?.text("finishReason")?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Google searches that grounded the answer. Chunks repeat the list, so the longest one counts.
#[derive(Default)]
struct Searches {
    queries: u64,
}

impl Searches {
    fn update(&mut self, chunk: Node<'_, '_>) -> Result<(), ExtractError> {
        let Some((list, items)) = chunk.array("candidates")? else {
            return Ok(());
        };
        let mut queries = 0;
        for (index, item) in items.iter().enumerate() {
            let candidate = list.event(index, item)?;
            let Some(grounding) = candidate.object("groundingMetadata")? else {
                continue;
            };
            for key in ["webSearchQueries", "imageSearchQueries"] {
                if let Some((_, searches)) = grounding.array(key)? {
                    // An empty query is not billed.
                    queries += searches.iter().map(|query| u64::from(query.as_str() != Some(""))).sum::<u64>();
                }
            }
        }
        self.queries = self.queries.max(queries);
        Ok(())
    }

    /// Up to Gemini 2.5 a grounded prompt is billed once; from Gemini 3 on, and where the model is not known, each query.
    fn billed(&self, model: Option<&str>) -> u64 {
        let per_prompt = model
            .and_then(|model| model.rsplit('/').next())
            .and_then(|model| model.strip_prefix("gemini-"))
            .is_some_and(|version| version.starts_with(['1', '2']) && version.get(1..2) == Some("."));
        if per_prompt { self.queries.min(1) } else { self.queries }
    }
}
