//! Anthropic Messages.
//!
//! `input_tokens` excludes cache reads and writes; `output_tokens` includes the thinking. In a stream `message_start`
//! has the first counts and each `message_delta` the cumulative ones; a field that a delta leaves out keeps its value.
//! `iterations` break the same totals down, except for compactions and advisors, which are billed on top of them.

use serde_json::Value;

use super::pools::rest;
use super::read::Node;
use super::{ExtractError, Extracted, add};
use crate::meter::{Meter, Usage};

pub(super) fn whole(answer: Node<'_, '_>) -> Result<Extracted, ExtractError> {
    let at = answer.object("usage")?.ok_or_else(|| answer.missing_usage("usage"))?;
    let model = answer.text("model")?;
    let mut counts = Counts::default();
    counts.update(at, model, true)?;
    Ok(Extracted {
        usage: counts.usage(at)?,
        model: model.map(str::to_owned),
        service_tier: counts.tier,
        complete: true,
    })
}

pub(super) fn stream<'v>(root: Node<'_, 'v>, events: &'v [Value]) -> Result<Extracted, ExtractError> {
    let mut model: Option<&str> = None;
    let mut counts = Counts::default();
    let mut seen: Option<(usize, &Value)> = None;
    let mut complete = false;
    for (index, value) in events.iter().enumerate() {
        let event = root.event(index, value)?;
        if event.is("type", "message_start") {
            let Some(message) = event.object("message")? else {
                continue;
            };
            model = message.text("model")?.or(model);
            if let Some(at) = message.object("usage")? {
                counts.update(at, model, false)?;
                seen = Some((index, value));
            }
        } else if event.is("type", "message_delta") {
            if let Some(at) = event.object("usage")? {
                counts.update(at, model, true)?;
                seen = Some((index, value));
                let stopped = match event.object("delta")? {
                    Some(delta) => delta.text("stop_reason")?.is_some(),
                    None => false,
                };
                complete |= stopped;
            }
        } else if event.is("type", "message_stop") {
            complete |= counts.final_output;
        }
    }
    let (index, value) = seen.ok_or_else(|| ExtractError::MissingUsage { field: root.path() })?;
    let event = root.event(index, value)?;
    let message = event.object("message")?;
    let at = match &message {
        Some(message) => message.object("usage")?,
        None => event.object("usage")?,
    };
    let at = at.unwrap_or(event);
    Ok(Extracted { usage: counts.usage(at)?, model: model.map(str::to_owned), service_tier: counts.tier, complete })
}

/// The counts as known so far.
#[derive(Default)]
struct Counts {
    input: Option<u64>,
    read: Option<u64>,
    written: Option<Written>,
    output: Option<u64>,
    /// Whether `output` is from a `message_delta` or a whole answer, and not the running count of `message_start`.
    final_output: bool,
    thinking: u64,
    searches: Option<u64>,
    beside: Beside,
    tier: Option<String>,
}

/// Tokens written to caches, by lifetime.
#[derive(Clone, Copy, Default)]
struct Written {
    minutes5: u64,
    hour1: u64,
}

/// What is billed beside the totals.
#[derive(Clone, Copy, Default)]
struct Beside {
    input: u64,
    read: u64,
    written: Written,
    output: u64,
}

impl Counts {
    fn update(&mut self, at: Node<'_, '_>, model: Option<&str>, is_final: bool) -> Result<(), ExtractError> {
        grow(&mut self.input, at, "input_tokens")?;
        grow(&mut self.read, at, "cache_read_input_tokens")?;
        self.written = written(at, self.written)?.or(self.written);
        if is_final && !self.final_output {
            // What `message_start` counted was the output's beginning, nothing to compare with.
            self.output = None;
        }
        if grow(&mut self.output, at, "output_tokens")? {
            self.final_output = is_final;
        }
        if let Some(details) = at.object("output_tokens_details")? {
            self.thinking = details.part("thinking_tokens")?;
            let output = self.output.unwrap_or(0);
            rest(details, "thinking_tokens", output, "output_tokens", self.thinking)?;
        }
        if let Some(tools) = at.object("server_tool_use")? {
            grow(&mut self.searches, tools, "web_search_requests")?;
        }
        if let Some((list, items)) = at.array("iterations")? {
            let mut beside = Beside::default();
            for (index, item) in items.iter().enumerate() {
                beside.update(list.event(index, item)?, model)?;
            }
            self.beside = beside;
        }
        let tier = if at.is("speed", "fast") { Some("fast") } else { at.text("service_tier")? };
        if let Some(tier) = tier {
            self.tier = Some(tier.to_owned());
        }
        Ok(())
    }

    fn usage(&self, at: Node<'_, '_>) -> Result<Usage, ExtractError> {
        let input = self.input.ok_or_else(|| at.missing("input_tokens"))?;
        let output = self.output.ok_or_else(|| at.missing("output_tokens"))?;
        let written = self.written.unwrap_or_default();
        let text = rest(at, "output_tokens_details", output, "output_tokens", self.thinking)?;
        let mut usage = Usage::new();
        for (meter, count) in [
            (Meter::Input, input + self.beside.input),
            (Meter::CacheRead, self.read.unwrap_or(0) + self.beside.read),
            (Meter::CacheWrite5m, written.minutes5 + self.beside.written.minutes5),
            (Meter::CacheWrite1h, written.hour1 + self.beside.written.hour1),
            (Meter::Output, text + self.beside.output),
            (Meter::Reasoning, self.thinking),
            (Meter::WebSearch, self.searches.unwrap_or(0)),
        ] {
            add(&mut usage, meter, count, at)?;
        }
        Ok(usage)
    }
}

impl Beside {
    /// Adds an iteration that the totals leave out.
    fn update(&mut self, at: Node<'_, '_>, model: Option<&str>) -> Result<(), ExtractError> {
        if let Some(own) = at.text("model")?
            && model.is_some_and(|model| model != own)
        {
            return Err(ExtractError::SecondModel { field: at.path(), model: own.to_owned() });
        }
        if !at.is("type", "compaction") && !at.is("type", "advisor_message") {
            return Ok(());
        }
        let written = written(at, None)?.unwrap_or_default();
        self.input += at.need("input_tokens")?;
        self.read += at.part("cache_read_input_tokens")?;
        self.written.minutes5 += written.minutes5;
        self.written.hour1 += written.hour1;
        self.output += at.need("output_tokens")?;
        Ok(())
    }
}

/// Takes over a cumulative count, if it is there. Whether it was.
fn grow(known: &mut Option<u64>, at: Node<'_, '_>, key: &str) -> Result<bool, ExtractError> {
    let Some(now) = at.count(key)? else {
        return Ok(false);
    };
    match *known {
        Some(before) if now < before => {
            Err(at.contradiction(key, format!("a cumulative count fell from {before} to {now}")))
        }
        _ => {
            *known = Some(now);
            Ok(true)
        }
    }
}

/// Cache writes: the total, the breakdown by lifetime, or both. Deltas of a stream have the total alone.
fn written(at: Node<'_, '_>, before: Option<Written>) -> Result<Option<Written>, ExtractError> {
    let total = at.count("cache_creation_input_tokens")?;
    let Some(by) = at.object("cache_creation")? else {
        return total.map(|total| spread(at, total, before)).transpose();
    };
    let minutes5 = by.count("ephemeral_5m_input_tokens")?;
    let hour1 = by.count("ephemeral_1h_input_tokens")?;
    let part = |key: &str, known: u64, total: u64| rest(by, key, total, "cache_creation_input_tokens", known);
    let written = match (minutes5, hour1, total) {
        (Some(minutes5), Some(hour1), total) => {
            if let Some(total) = total.filter(|total| *total != minutes5 + hour1) {
                let detail = format!("lifetimes of {} in a total of {total}", minutes5 + hour1);
                return Err(at.contradiction("cache_creation", detail));
            }
            Written { minutes5, hour1 }
        }
        (Some(minutes5), None, Some(total)) => {
            Written { minutes5, hour1: part("ephemeral_5m_input_tokens", minutes5, total)? }
        }
        (None, Some(hour1), Some(total)) => {
            Written { minutes5: part("ephemeral_1h_input_tokens", hour1, total)?, hour1 }
        }
        (None, None, Some(total)) => return spread(at, total, before).map(Some),
        (Some(_), None, None) => return Err(by.missing("ephemeral_1h_input_tokens")),
        (None, Some(_), None) => return Err(by.missing("ephemeral_5m_input_tokens")),
        (None, None, None) => return Ok(None),
    };
    if let Some(before) = before
        && (written.minutes5 < before.minutes5 || written.hour1 < before.hour1)
    {
        return Err(at.contradiction("cache_creation", "a cumulative count fell".to_owned()));
    }
    Ok(Some(written))
}

/// A total without lifetimes. What is new goes to the dearer lifetime that the call is known to use; without any
/// breakdown to the default one, five minutes.
fn spread(at: Node<'_, '_>, total: u64, before: Option<Written>) -> Result<Written, ExtractError> {
    let before = before.unwrap_or_default();
    let known = before.minutes5 + before.hour1;
    let new = total.checked_sub(known).ok_or_else(|| {
        let detail = format!("a cumulative count fell from {known} to {total}");
        at.contradiction("cache_creation_input_tokens", detail)
    })?;
    Ok(if before.hour1 > 0 {
        Written { hour1: before.hour1 + new, ..before }
    } else {
        Written { minutes5: before.minutes5 + new, ..before }
    })
}
