//! OpenAI Responses.
//!
//! The same totals as Chat Completions under other names. A stream's usage is in its last event: `response.completed`,
//! `response.incomplete` or `response.failed`; the earlier ones have `null`. Web searches are billed per `search`
//! action and counted by their output items; opening and reading pages is not billed.

use serde_json::Value;

use super::chat_rules::Rules;
use super::openai_chat::{add_completion, add_prompt, check_total};
use super::read::Node;
use super::{ExtractError, Extracted, add};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>, rules: &Rules) -> Result<Extracted, ExtractError> {
    let searches = searches_in(answer)?;
    response(answer, searches, rules)
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value], rules: &Rules) -> Result<Extracted, ExtractError> {
    let mut searches = 0;
    for (index, value) in events.iter().enumerate() {
        let event = root.event(index, value)?;
        if event.is("type", "response.output_item.done") {
            if let Some(item) = event.object("item")? {
                searches += u64::from(is_search(item)?);
            }
        } else if FINAL.iter().any(|name| event.is("type", name)) {
            let answer = event.object("response")?.ok_or_else(|| event.missing_usage("response"))?;
            // Some servers leave the output out of the last event, some the items out of the stream.
            searches = searches.max(searches_in(answer)?);
            return response(answer, searches, rules);
        }
    }
    Err(ExtractError::MissingUsage { field: root.path() })
}

const FINAL: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];

fn response(answer: Node<'_, '_>, searches: u64, rules: &Rules) -> Result<Extracted, ExtractError> {
    let at = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    let input = at.need("input_tokens")?;
    let output = at.need("output_tokens")?;
    check_total(at, input + output)?;

    let mut usage = Usage::new();
    add_prompt(&mut usage, at, input, ["input_tokens", "input_tokens_details"], rules)?;
    add_completion(&mut usage, at, output, ["output_tokens", "output_tokens_details"])?;
    add(&mut usage, Meter::WebSearch, searches, answer)?;
    Ok(Extracted {
        usage,
        model: answer.text("model")?.filter(|_| rules.names_model).map(str::to_owned),
        service_tier: answer.text("service_tier")?.map(str::to_owned),
        complete: true,
    })
}

fn searches_in(answer: Node<'_, '_>) -> Result<u64, ExtractError> {
    let Some((list, items)) = answer.array("output")? else {
        return Ok(0);
    };
    let mut searches = 0;
    for (index, item) in items.iter().enumerate() {
        searches += u64::from(is_search(list.event(index, item)?)?);
    }
    Ok(searches)
}

/// Whether the output item is a billed web search. One that failed is not; one that does not say what it did is.
fn is_search(item: Node<'_, '_>) -> Result<bool, ExtractError> {
    if !item.is("type", "web_search_call") || item.is("status", "failed") {
        return Ok(false);
    }
    Ok(item.object("action")?.is_none_or(|action| action.is("type", "search")))
}
