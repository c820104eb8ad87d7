//! Replays tests/conformance/extract against the native core, and checks by property that pools sum to the provider's
//! totals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tollgate_core::api::parse_price;
use tollgate_core::catalog::{Catalog, NoRates};
use tollgate_core::extract::{Format, extract};
use tollgate_core::meter::{Meter, MeterKind, Usage};
use tollgate_core::time::Timestamp;

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
    let catalog = Catalog::builtin().unwrap();
    let mut used = BTreeSet::new();
    let mut cases = 0;
    let mut prices: BTreeMap<&str, usize> = BTreeMap::new();
    let mut from_catalog = 0;
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
            if let Some(price) = case.get("price") {
                *prices.entry(format.name()).or_default() += 1;
                match check_price(catalog, price, &expect["usage"]) {
                    Ok(in_catalog) => from_catalog += usize::from(in_catalog),
                    Err(failure) => failures.push(format!("{name}\n  {failure}")),
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 260, "only {cases} cases were found");
    for format in Format::ALL {
        let count = prices.get(format.name()).copied().unwrap_or(0);
        assert!(count >= 2, "{format} has {count} prices");
    }
    assert!(from_catalog >= 20, "only {from_catalog} prices were compared with the catalog's");

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

/// Whether the hand-computed price is right: its arithmetic holds and covers the whole usage, and the catalog, where it
/// has the model (which is the answer), charges the same.
fn check_price(catalog: &Catalog, price: &Value, usage: &Value) -> Result<bool, String> {
    let [provider, model, at, usd, arithmetic] =
        ["provider", "model", "at", "usd", "arithmetic"].map(|key| price[key].as_str().expect(key));
    check_arithmetic(arithmetic, usd.parse().unwrap(), usage)?;
    let time: Timestamp = at.parse().unwrap();
    match catalog.rate_card(provider, model, time) {
        Err(NoRates::UnknownModel { .. }) => return Ok(false),
        Err(other) => return Err(format!("{provider}/{model} at {at}: {other}")),
        Ok(_) => {}
    }
    let request = json!({ "provider": provider, "model": model, "at": at, "usage": usage });
    let charge = parse_price(&request.to_string(), None)
        .and_then(|request| request.price(catalog))
        .map_err(|problem| format!("{request}: {problem:?}"))?;
    if json!(charge.usd) == price["usd"] { Ok(true) } else { Err(format!("expected {usd}, got {}", charge.usd)) }
}

/// `quantity × rate = amount; …; sum total`, with a rate that may be by the million.
fn check_arithmetic(arithmetic: &str, usd: Decimal, usage: &Value) -> Result<(), String> {
    let number = |text: &str| text.parse::<Decimal>().unwrap_or_else(|_| panic!("{text} in {arithmetic}"));
    let (terms, sum) = arithmetic.split_once("; sum ").expect("a sum");
    let mut quantities = Vec::new();
    let mut total = Decimal::ZERO;
    for term in terms.split("; ") {
        let (product, amount) = term.split_once(" = ").expect("an amount");
        let (quantity, rate) = product.split_once(" × ").expect("a product");
        let quantity = number(quantity);
        let rate = match rate.strip_suffix("/1e6") {
            Some(per_million) => number(per_million) / Decimal::from(1_000_000),
            None => number(rate),
        };
        if quantity * rate != number(amount) {
            return Err(format!("wrong: {term}"));
        }
        quantities.push(quantity);
        total += number(amount);
    }
    let mut pools: Vec<Decimal> =
        usage.as_object().unwrap().values().map(|quantity| number(&quantity.to_string())).collect();
    pools.sort();
    quantities.sort();
    if total != number(sum) || total != usd || pools != quantities {
        return Err(format!("{usd} USD for {usage}, but: {arithmetic}"));
    }
    Ok(())
}

/// The list of formats that people read is the list that there is.
#[test]
fn every_format_is_documented() {
    let page = fs::read_to_string(tests_folder().join("../docs/usage-extraction.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> =
        Format::ALL.iter().map(|format| format!("| `{format}` | {} |", format.purpose())).collect();
    let documented: Vec<&str> = rows.into_iter().take(expected.len()).collect();
    assert_eq!(documented, expected);

    let api = fs::read_to_string(tests_folder().join("../docs/http-api.md")).unwrap();
    let types = fs::read_to_string(tests_folder().join("../pkg/src/types.ts")).unwrap();
    for format in Format::ALL {
        assert!(api.contains(&format!("`{format}`")), "{format} in http-api.md");
        assert!(types.contains(&format!("| \"{format}\"")), "{format} in types.ts");
    }
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

    #[test]
    fn pools_of_what_imitates_openai_sum_to_the_totals(
        fresh in tokens(), read in tokens(), text in tokens(), reasoning in tokens(), searches in 0..20u64, streamed in any::<bool>(),
    ) {
        let (prompt, completion) = (fresh + read, text + reasoning);
        let pools = [(Meter::Input, fresh), (Meter::CacheRead, read), (Meter::Output, text), (Meter::Reasoning, reasoning)];
        let details = json!({ "reasoning_tokens": reasoning });
        let total = prompt + completion;
        let within = json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
            "prompt_tokens_details": { "cached_tokens": read }, "completion_tokens_details": details });
        let with = |more: Value| {
            let mut usage = within.clone();
            usage.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            usage
        };
        for (format, body, searched) in [
            (Format::AzureChat, within.clone(), 0),
            (Format::TogetherChat, within.clone(), 0),
            (Format::FireworksChat, within.clone(), 0),
            (Format::MistralChat, with(json!({ "num_cached_tokens": read, "prompt_token_details": { "cached_tokens": read } })), 0),
            (Format::MistralChat, with(json!({ "num_cached_tokens": read, "prompt_tokens_details": null })), 0),
            (Format::DeepseekChat, with(json!({ "prompt_cache_hit_tokens": read, "prompt_cache_miss_tokens": fresh })), 0),
            (Format::DeepseekChat, with(json!({ "prompt_tokens_details": null, "prompt_cache_miss_tokens": fresh })), 0),
            (Format::OpenrouterChat, with(json!({ "server_tool_use": { "web_search_requests": searches } })), searches),
            (Format::XaiChat, with(json!({ "completion_tokens": text,
                "server_side_tool_usage_details": { "web_search_calls": searches } })), searches),
        ] {
            let body = if streamed {
                json!([{ "choices": [{ "finish_reason": "stop" }] }, { "choices": [], "usage": body }])
            } else {
                json!({ "usage": body })
            };
            let found = extract(format, &body).unwrap();
            prop_assert!(found.complete);
            prop_assert_eq!(sums(&found.usage), (prompt, completion), "{}", format);
            let expected = usage(&pools).with(Meter::WebSearch, searched).unwrap();
            prop_assert_eq!(&found.usage, &expected, "{}", format);
        }
    }

    #[test]
    fn bedrock_and_ai_sdk_pools_sum_to_the_totals(
        fresh in tokens(), read in tokens(), minutes5 in tokens(), hour1 in tokens(), text in tokens(), reasoning in tokens(),
        streamed in any::<bool>(), with_cache in any::<bool>(), leave_out in 0..4usize,
    ) {
        let (written, output) = (minutes5 + hour1, text + reasoning);
        let prompt = fresh + read + written;
        let input = [(Meter::Input, fresh), (Meter::CacheRead, read), (Meter::CacheWrite5m, minutes5), (Meter::CacheWrite1h, hour1)];
        let lifetimes = json!([{ "ttl": "1h", "inputTokens": hour1 }, { "ttl": "5m", "inputTokens": minutes5 }]);
        let bedrock = json!({ "inputTokens": fresh, "outputTokens": output, "cacheReadInputTokens": read,
            "cacheWriteInputTokens": written, "cacheDetails": lifetimes,
            "totalTokens": if with_cache { prompt + output } else { fresh + output } });
        let body = if streamed {
            json!([{ "messageStop": { "stopReason": "end_turn" } }, { "metadata": { "usage": bedrock } }])
        } else {
            json!({ "usage": bedrock })
        };
        let found = extract(Format::BedrockConverse, &body).unwrap();
        prop_assert_eq!(sums(&found.usage), (prompt, output));
        prop_assert_eq!(found.usage, usage(&[input.as_slice(), &[(Meter::Output, output)]].concat()));

        // Any one part of the prompt follows from the others; so does the whole.
        let anthropic = json!({ "cache_creation": { "ephemeral_5m_input_tokens": minutes5, "ephemeral_1h_input_tokens": hour1 } });
        let mut parts = json!({ "total": prompt, "noCache": fresh, "cacheRead": read, "cacheWrite": written });
        parts.as_object_mut().unwrap().remove(["total", "noCache", "cacheRead", "cacheWrite"][leave_out]);
        for raw in [anthropic, bedrock] {
            let body = json!({ "type": "finish", "usage": { "inputTokens": parts, "raw": raw,
                "outputTokens": { "total": output, "text": text, "reasoning": reasoning } } });
            let body = if streamed { json!([{ "type": "stream-start" }, body]) } else { body };
            let found = extract(Format::AiSdkUsage, &body).unwrap();
            prop_assert!(found.complete);
            let answer = [(Meter::Output, text), (Meter::Reasoning, reasoning)];
            prop_assert_eq!(found.usage, usage(&[input.as_slice(), &answer].concat()));
        }
    }

    #[test]
    fn flat_ai_sdk_and_cohere_pools_sum_to_the_totals(
        fresh in tokens(), cached in tokens(), written in tokens(), text in tokens(), reasoning in 1..5_000u64, added in tokens(),
        beside in any::<bool>(),
    ) {
        let (prompt, output) = (fresh + cached, text + reasoning);
        let answer = [(Meter::Output, text), (Meter::Reasoning, reasoning)];
        let stated = if beside { text } else { output };
        let flat = |input: u64| json!({ "inputTokens": input, "cachedInputTokens": cached, "outputTokens": stated,
            "reasoningTokens": reasoning, "totalTokens": input + output });
        let read = [(Meter::Input, fresh), (Meter::CacheRead, cached)];
        let found = extract(Format::AiSdkUsage, &flat(prompt)).unwrap();
        prop_assert_eq!(found.usage, usage(&[read, answer].concat()));

        let metadata = json!({ "anthropic": { "cacheCreationInputTokens": written } });
        let found = extract(Format::AiSdkUsage, &json!({ "usage": flat(fresh), "providerMetadata": metadata })).unwrap();
        prop_assert_eq!(found.usage, usage(&[&read[..], &answer, &[(Meter::CacheWrite5m, written)]].concat()));

        let cohere = json!({ "usage": { "cached_tokens": cached, "billed_units": { "input_tokens": prompt, "output_tokens": output },
            "tokens": { "input_tokens": prompt + added, "output_tokens": output + added } } });
        let found = extract(Format::CohereChat, &cohere).unwrap();
        prop_assert_eq!(found.usage, usage(&[&read[..], &[(Meter::Output, output)]].concat()));
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
        let chat = json!({ "usage": { "prompt_tokens": input, "completion_tokens": output, "total_tokens": total,
            "num_cached_tokens": cached, "prompt_cache_miss_tokens": written,
            "completion_tokens_details": { "reasoning_tokens": reasoning } } });
        for format in [Format::MistralChat, Format::DeepseekChat, Format::OpenrouterChat, Format::TogetherChat] {
            if let Ok(found) = extract(format, &chat) {
                prop_assert_eq!(sums(&found.usage), (number(&input), number(&output)));
            }
        }
        if let Ok(found) = extract(Format::XaiChat, &chat) {
            prop_assert_eq!(sums(&found.usage), (number(&input), number(&output) + part(&reasoning)));
        }
        let bedrock = json!({ "usage": { "inputTokens": input, "outputTokens": output, "totalTokens": total,
            "cacheReadInputTokens": cached, "cacheWriteInputTokens": written } });
        if let Ok(found) = extract(Format::BedrockConverse, &bedrock) {
            prop_assert_eq!(sums(&found.usage), (number(&input) + part(&cached) + part(&written), number(&output)));
        }
        let cohere = json!({ "usage": { "billed_units": { "input_tokens": input, "output_tokens": output },
            "tokens": { "input_tokens": total }, "cached_tokens": cached } });
        if let Ok(found) = extract(Format::CohereChat, &cohere) {
            prop_assert_eq!(sums(&found.usage), (number(&input), number(&output)));
        }
        let nested = json!({ "inputTokens": { "total": input, "cacheRead": cached, "cacheWrite": written, "noCache": total },
            "outputTokens": { "total": output, "reasoning": reasoning } });
        if let Ok(found) = extract(Format::AiSdkUsage, &nested) {
            let prompt = if input.is_null() { number(&total) + number(&cached) + number(&written) } else { number(&input) };
            prop_assert_eq!(sums(&found.usage), (prompt, number(&output)));
        }
        let flat = json!({ "inputTokens": input, "cachedInputTokens": cached, "outputTokens": output, "totalTokens": total,
            "reasoningTokens": reasoning });
        if let Ok(found) = extract(Format::AiSdkUsage, &flat) {
            let (prompt, answer) = sums(&found.usage);
            let beside = number(&output) + part(&reasoning);
            prop_assert_eq!(prompt, number(&input));
            prop_assert!(answer == number(&output) || answer == beside);
            prop_assert!(total.is_null() || number(&total) == prompt + answer);
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
