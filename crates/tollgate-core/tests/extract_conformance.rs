//! Replays tests/conformance/extract against the native core, and checks by property that pools sum to the provider's
//! totals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::extract::{Format, extract};
use tollgate_core::meter::{Meter, MeterKind, Usage};

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The payloads of an event stream, as the HTML standard reads one: lines end in LF or CRLF, an event ends at an empty
/// line, its `data:` lines are joined, other fields are left alone.
fn events_of(stream: &str) -> Value {
    let mut events = Vec::new();
    let mut data: Vec<&str> = Vec::new();
    for line in stream.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        if let Some(text) = line.strip_prefix("data:") {
            data.push(text.strip_prefix(' ').unwrap_or(text));
        } else if line.is_empty() && !data.is_empty() {
            let text = data.join("\n");
            data.clear();
            if text != "[DONE]" {
                events.push(serde_json::from_str(&text).expect("an event's data is JSON"));
            }
        }
    }
    Value::Array(events)
}

fn body_of(case: &Value, used: &mut BTreeSet<String>) -> Value {
    let mut read = |file: &str| {
        used.insert(file.to_owned());
        fs::read_to_string(tests_folder().join("fixtures/providers").join(file)).expect(file)
    };
    if let Some(file) = case["bodyFile"].as_str() {
        serde_json::from_str(&read(file)).expect(file)
    } else if let Some(file) = case["sseFile"].as_str() {
        events_of(&read(file))
    } else {
        case.get("body").expect("a case has body, bodyFile or sseFile").clone()
    }
}

#[test]
fn conformance() {
    let mut used = BTreeSet::new();
    let mut cases = 0;
    let mut failures = Vec::new();
    for file in fs::read_dir(tests_folder().join("conformance/extract")).unwrap() {
        let path = file.unwrap().path();
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in document["cases"].as_array().unwrap() {
            cases += 1;
            let name = format!("{}: {}", case["format"].as_str().unwrap(), case["name"].as_str().unwrap());
            let format: Format = case["format"].as_str().unwrap().parse().unwrap();
            let expect = &case["expect"];
            let got = match extract(format, &body_of(case, &mut used)) {
                Ok(found) => {
                    let mut got = json!({ "usage": found.usage, "model": found.model, "complete": found.complete });
                    if expect.get("serviceTier").is_some() {
                        got["serviceTier"] = json!(found.service_tier);
                    }
                    got
                }
                Err(error) => json!({ "error": error.code(), "field": error.field() }),
            };
            if &got != expect {
                failures.push(format!("{name}\n  expected {expect}\n  got      {got}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(cases > 100, "only {cases} cases were found");

    // A fixture that no case reads proves nothing.
    let mut unused = Vec::new();
    for format in Format::ALL {
        let folder = tests_folder().join("fixtures/providers").join(format.name());
        let files: Vec<_> = fs::read_dir(folder).unwrap().collect();
        assert!(files.len() >= 5, "{format} has {} fixtures", files.len());
        for file in files {
            let name = format!("{format}/{}", file.unwrap().file_name().to_str().unwrap());
            if !used.contains(&name) {
                unused.push(name);
            }
        }
    }
    assert!(unused.is_empty(), "no case reads {unused:?}");
}

fn tokens() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), 0..2_000u64, 0..2_000_000u64]
}

fn usage(pools: &[(Meter, u64)]) -> Usage {
    pools.iter().fold(Usage::new(), |usage, (meter, count)| usage.with(*meter, *count).unwrap())
}

fn sums(usage: &Usage) -> (u64, u64) {
    let sum = |kind| usage.sum(kind).to_string().parse().unwrap();
    (sum(MeterKind::InputTokens), sum(MeterKind::OutputTokens))
}

/// Any JSON that could stand where a count stands.
fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        12 => (0..40u64).prop_map(Value::from),
        3 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => (0..5_000u64).prop_map(Value::from),
        1 => "[a-z0-9]{0,8}".prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!({})),
        1 => Just(json!([{ "tokenCount": 5, "modality": "AUDIO" }])),
    ]
}

proptest! {
    #[test]
    fn openai_pools_sum_to_the_totals(
        fresh in tokens(), read in tokens(), written in tokens(), text in tokens(), reasoning in tokens(), audio in tokens(),
        streamed in any::<bool>(),
    ) {
        let (prompt, completion) = (fresh + read + written, text + reasoning + audio);
        let prompt_details = json!({ "cached_tokens": read, "cache_write_tokens": written });
        let completion_details = json!({ "reasoning_tokens": reasoning, "audio_tokens": audio });
        let expected = usage(&[
            (Meter::Input, fresh), (Meter::CacheRead, read), (Meter::CacheWrite5m, written),
            (Meter::Output, text), (Meter::Reasoning, reasoning), (Meter::OutputAudio, audio),
        ]);
        let chat = json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "prompt_tokens_details": prompt_details, "completion_tokens_details": completion_details });
        let responses = json!({ "input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion,
            "input_tokens_details": prompt_details, "output_tokens_details": completion_details });
        let bodies = if streamed {
            let end = json!({ "choices": [{ "finish_reason": "stop" }] });
            [
                (Format::OpenaiChat, json!([end, { "choices": [], "usage": chat }])),
                (Format::GroqChat, json!([{ "choices": [{ "finish_reason": "stop" }], "x_groq": { "usage": chat } }])),
                (Format::OpenaiResponses, json!([{ "type": "response.completed", "response": { "usage": responses } }])),
            ]
        } else {
            [
                (Format::OpenaiChat, json!({ "usage": chat })),
                (Format::GroqChat, json!({ "usage": chat })),
                (Format::OpenaiResponses, json!({ "usage": responses })),
            ]
        };
        for (format, body) in bodies {
            let found = extract(format, &body).unwrap();
            prop_assert!(found.complete);
            prop_assert_eq!(sums(&found.usage), (prompt, completion));
            prop_assert_eq!(&found.usage, &expected);
        }
    }

    #[test]
    fn anthropic_pools_sum_to_the_totals(
        input in tokens(), read in tokens(), minutes5 in tokens(), hour1 in tokens(), text in tokens(), thinking in tokens(),
        searches in 0..20u64, first in tokens(),
    ) {
        let output = text + thinking;
        let last = json!({ "input_tokens": input, "cache_read_input_tokens": read,
            "cache_creation_input_tokens": minutes5 + hour1,
            "cache_creation": { "ephemeral_5m_input_tokens": minutes5, "ephemeral_1h_input_tokens": hour1 },
            "output_tokens": output, "output_tokens_details": { "thinking_tokens": thinking },
            "server_tool_use": { "web_search_requests": searches } });
        let start = json!({ "input_tokens": input.min(first), "cache_read_input_tokens": read.min(first), "output_tokens": 1 });
        let streamed = json!([
            { "type": "message_start", "message": { "usage": start } },
            { "type": "ping" },
            { "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": last },
        ]);
        let expected = usage(&[
            (Meter::Input, input), (Meter::CacheRead, read), (Meter::CacheWrite5m, minutes5), (Meter::CacheWrite1h, hour1),
            (Meter::Output, text), (Meter::Reasoning, thinking), (Meter::WebSearch, searches),
        ]);
        for body in [json!({ "usage": last }), streamed] {
            let found = extract(Format::AnthropicMessages, &body).unwrap();
            prop_assert!(found.complete);
            prop_assert_eq!(sums(&found.usage), (input + read + minutes5 + hour1, output));
            prop_assert_eq!(&found.usage, &expected);
        }
    }

    #[test]
    fn gemini_pools_sum_to_the_totals(
        text in tokens(), audio in tokens(), image in tokens(), cached_text in tokens(), cached_audio in tokens(),
        tool in tokens(), out in tokens(), thoughts in tokens(), with_total in any::<bool>(), streamed in any::<bool>(),
    ) {
        let cached = cached_text + cached_audio;
        let prompt = text + audio + image + cached;
        let mut last = json!({ "promptTokenCount": prompt, "cachedContentTokenCount": cached, "candidatesTokenCount": out,
            "thoughtsTokenCount": thoughts, "toolUsePromptTokenCount": tool,
            "promptTokensDetails": [
                { "modality": "TEXT", "tokenCount": text + cached_text },
                { "modality": "AUDIO", "tokenCount": audio + cached_audio },
                { "modality": "IMAGE", "tokenCount": image },
            ],
            "cacheTokensDetails": [{ "modality": "AUDIO", "tokenCount": cached_audio }, { "modality": "TEXT", "tokenCount": cached_text }] });
        if with_total {
            last["totalTokenCount"] = json!(prompt + tool + out + thoughts);
            // The total says the same as the count that Google leaves out when it is zero.
            if out == 0 {
                last.as_object_mut().unwrap().remove("candidatesTokenCount");
            }
        }
        let body = if streamed {
            json!([
                { "candidates": [{ "index": 0 }], "usageMetadata": { "promptTokenCount": 1, "totalTokenCount": 1 } },
                { "candidates": [{ "finishReason": "STOP" }], "usageMetadata": last },
            ])
        } else {
            json!({ "usageMetadata": last })
        };
        let found = extract(Format::GeminiGenerateContent, &body).unwrap();
        prop_assert!(found.complete);
        prop_assert_eq!(sums(&found.usage), (prompt + tool, out + thoughts));
        prop_assert_eq!(found.usage, usage(&[
            (Meter::Input, text + tool), (Meter::CacheRead, cached_text), (Meter::CacheReadAudio, cached_audio),
            (Meter::InputAudio, audio), (Meter::InputImage, image), (Meter::Output, out), (Meter::Reasoning, thoughts),
        ]));
    }

    /// Whatever stands in the fields, the answer is an error or sums to the totals that the payload gives.
    #[test]
    fn nothing_is_guessed(
        input in anything(), output in anything(), cached in anything(), written in anything(), reasoning in anything(), total in anything(),
    ) {
        let openai = json!({ "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
            "prompt_tokens_details": { "cached_tokens": cached, "cache_write_tokens": written },
            "completion_tokens_details": { "reasoning_tokens": reasoning } } });
        let responses = json!({ "usage": { "input_tokens": input, "output_tokens": output, "total_tokens": total,
            "input_tokens_details": { "cached_tokens": cached, "cache_write_tokens": written },
            "output_tokens_details": { "reasoning_tokens": reasoning } } });
        for (format, body) in [(Format::OpenaiChat, openai), (Format::OpenaiResponses, responses)] {
            if let Ok(found) = extract(format, &body) {
                prop_assert_eq!(sums(&found.usage), (number(&input), number(&output)));
            }
        }
        let anthropic = json!({ "usage": { "input_tokens": input, "output_tokens": output,
            "cache_read_input_tokens": cached, "cache_creation_input_tokens": written, "iterations": total,
            "output_tokens_details": { "thinking_tokens": reasoning } } });
        if let Ok(found) = extract(Format::AnthropicMessages, &anthropic) {
            let prompt = number(&input) + part(&cached) + part(&written);
            prop_assert_eq!(sums(&found.usage), (prompt, number(&output)));
        }
        let gemini = json!({ "usageMetadata": { "promptTokenCount": input, "candidatesTokenCount": output, "totalTokenCount": total,
            "cachedContentTokenCount": cached, "thoughtsTokenCount": reasoning, "promptTokensDetails": written } });
        if let Ok(found) = extract(Format::GeminiGenerateContent, &gemini) {
            let out = if output.is_null() { number(&total) - number(&input) } else { number(&output) + part(&reasoning) };
            prop_assert_eq!(sums(&found.usage), (number(&input), out));
        }
    }
}

/// A count that was accepted.
fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| format!("{}", value.as_f64()?).parse().ok()).unwrap()
}

fn part(value: &Value) -> u64 {
    if value.is_null() { 0 } else { number(value) }
}
