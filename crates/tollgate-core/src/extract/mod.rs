//! Usage out of a provider's own answer, in pools that never overlap.
//!
//! Every provider counts differently: OpenAI's prompt tokens include the cached ones, Anthropic's input tokens do not,
//! Gemini's candidates exclude the thoughts, Groq puts the usage of a stream into a field of its own. An app that
//! passes the answer on as it came never has to know.
//!
//! Three rules hold for every format:
//! - **Absent is not zero.** A total that the price needs and that is not there is an error; an explicit zero is a zero.
//!   Absent *breakdowns* (no cached tokens mentioned) leave everything in the ordinary pool, which is the dearer one.
//! - **A contradiction is an error**, named by its JSON path: parts above their total, totals that do not add up,
//!   cumulative counts that fall, numbers that are negative, fractional or text.
//! - **A cut stream is never free.** A stream without any usage is [`ExtractError::MissingUsage`]. A stream that stops
//!   between its first and its final usage gives what is known, a lower bound, with [`Extracted::complete`] false; the
//!   caller must not charge less than what it would charge for a hold that expired.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::meter::{Meter, Quantity, Usage};

mod ai_sdk;
mod anthropic;
mod bedrock;
mod chat_rules;
mod cohere;
mod gemini;
mod openai_chat;
mod openai_responses;
mod pools;
mod read;

use chat_rules::Rules;
use read::Node;

/// The wire format of a provider's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI Chat Completions, and what imitates it faithfully.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Chat Completions of Azure OpenAI.
    AzureChat,
    /// Responses of Azure OpenAI.
    AzureResponses,
    /// Anthropic Messages, wherever it is served.
    AnthropicMessages,
    /// Gemini `generateContent` and `streamGenerateContent` of the Gemini API.
    GeminiGenerateContent,
    /// The same of Vertex AI.
    VertexGenerateContent,
    /// Amazon Bedrock `Converse` and `ConverseStream`.
    BedrockConverse,
    /// Groq Chat Completions.
    GroqChat,
    /// Mistral Chat Completions.
    MistralChat,
    /// xAI Chat Completions.
    XaiChat,
    /// DeepSeek Chat Completions.
    DeepseekChat,
    /// Cohere Chat, version 2.
    CohereChat,
    /// OpenRouter Chat Completions.
    OpenrouterChat,
    /// Together Chat Completions.
    TogetherChat,
    /// Fireworks Chat Completions.
    FireworksChat,
    /// The usage objects of the AI SDK.
    AiSdkUsage,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 17] = [
        Self::OpenaiChat,
        Self::OpenaiResponses,
        Self::AzureChat,
        Self::AzureResponses,
        Self::AnthropicMessages,
        Self::GeminiGenerateContent,
        Self::VertexGenerateContent,
        Self::BedrockConverse,
        Self::GroqChat,
        Self::MistralChat,
        Self::XaiChat,
        Self::DeepseekChat,
        Self::CohereChat,
        Self::OpenrouterChat,
        Self::TogetherChat,
        Self::FireworksChat,
        Self::AiSdkUsage,
    ];

    /// The format's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenaiChat => "openai.chat",
            Self::OpenaiResponses => "openai.responses",
            Self::AzureChat => "azure.chat",
            Self::AzureResponses => "azure.responses",
            Self::AnthropicMessages => "anthropic.messages",
            Self::GeminiGenerateContent => "gemini.generate_content",
            Self::VertexGenerateContent => "vertex.generate_content",
            Self::BedrockConverse => "bedrock.converse",
            Self::GroqChat => "groq.chat",
            Self::MistralChat => "mistral.chat",
            Self::XaiChat => "xai.chat",
            Self::DeepseekChat => "deepseek.chat",
            Self::CohereChat => "cohere.chat",
            Self::OpenrouterChat => "openrouter.chat",
            Self::TogetherChat => "together.chat",
            Self::FireworksChat => "fireworks.chat",
            Self::AiSdkUsage => "ai-sdk.usage",
        }
    }

    /// What the format is for, in one line, as docs/usage-extraction.md has it.
    #[must_use]
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::OpenaiChat => "OpenAI Chat Completions, and what imitates it faithfully",
            Self::OpenaiResponses => "OpenAI Responses",
            Self::AzureChat => "Azure OpenAI Chat Completions; the caller names the deployment's model",
            Self::AzureResponses => "Azure OpenAI Responses; the caller names the deployment's model",
            Self::AnthropicMessages => "Anthropic Messages, of Anthropic, of Bedrock's InvokeModel or of Vertex AI",
            Self::GeminiGenerateContent => "Gemini API, generateContent and streamGenerateContent",
            Self::VertexGenerateContent => "Vertex AI, generateContent and streamGenerateContent",
            Self::BedrockConverse => "Amazon Bedrock, Converse and ConverseStream; the caller names the model",
            Self::GroqChat => "Groq Chat Completions",
            Self::MistralChat => "Mistral Chat Completions, and its fill-in-the-middle and agents completions",
            Self::XaiChat => "xAI Chat Completions",
            Self::DeepseekChat => "DeepSeek Chat Completions",
            Self::CohereChat => "Cohere Chat, version 2; the caller names the model",
            Self::OpenrouterChat => "OpenRouter Chat Completions, whichever provider answers",
            Self::TogetherChat => "Together Chat Completions",
            Self::FireworksChat => "Fireworks Chat Completions",
            Self::AiSdkUsage => "AI SDK usage objects of versions 2, 3 and 4, finish parts and results that carry one",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a [`Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown payload format `{0}`, expected one of {names}", names = Format::ALL.map(Format::name).join(", "))]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl de::Visitor<'_> for Name {
            type Value = Format;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a payload format")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Format, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// What a provider's answer says that it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extracted {
    /// Quantities per meter; no token is in two pools.
    pub usage: Usage,
    /// The model that answered, as the provider named it.
    pub model: Option<String>,
    /// The service tier that the provider says it used (`default`, `flex`, `priority`, `batch`, `fast`, `ON_DEMAND`,
    /// …), as the provider named it.
    pub service_tier: Option<String>,
    /// Whether this is the final usage. False only for a stream that was cut between its first and its final usage:
    /// then `usage` is what is known, a lower bound.
    pub complete: bool,
}

/// Why a provider's answer gives no usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The answer has no usage at all: an error answer, a stream that was cut or that was not asked for its usage
    /// (OpenAI: `stream_options.include_usage`). Settle by another count, or let the hold's expiry policy charge.
    #[error("{field}: the answer carries no usage")]
    MissingUsage {
        /// Where it would be.
        field: String,
    },
    /// There is usage, but a count that the price needs is not in it.
    #[error("{field}: missing")]
    MissingField {
        /// Where it would be.
        field: String,
    },
    /// A count is not a whole number from 0 to [`Quantity::MAX`].
    #[error("{field}: {problem}")]
    NotACount {
        /// Where it is.
        field: String,
        /// What it is instead.
        problem: CountProblem,
    },
    /// Something is of another JSON type than the format says. The payload may be of another format.
    #[error("{field}: expected {expected}")]
    WrongType {
        /// Where it is.
        field: String,
        /// What the format has there.
        expected: &'static str,
    },
    /// Two numbers of the answer cannot both be true.
    #[error("{field}: {detail}")]
    Contradiction {
        /// The one of them that is named.
        field: String,
        /// Which other one, and how they disagree.
        detail: String,
    },
    /// The answer bills tokens of a second model, which one charge cannot hold. Settle in USD, or record the second
    /// model's usage by itself.
    #[error("{field}: bills tokens of another model, `{model}`")]
    SecondModel {
        /// Where it is.
        field: String,
        /// The second model.
        model: String,
    },
    /// The answer bills something in a unit that no meter counts. Settle in USD.
    #[error("{field}: billed in a unit that no meter counts")]
    NoMeter {
        /// Where it is.
        field: String,
    },
}

impl ExtractError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::MissingUsage { .. } => "missing_usage",
            Self::MissingField { .. } => "missing_field",
            Self::NotACount { .. } => "not_a_count",
            Self::WrongType { .. } => "wrong_type",
            Self::Contradiction { .. } => "contradiction",
            Self::SecondModel { .. } => "second_model",
            Self::NoMeter { .. } => "no_meter",
        }
    }

    /// The JSON path of the field that the error is about, such as `$.usage.prompt_tokens` or `$[3].usage`.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::MissingUsage { field }
            | Self::MissingField { field }
            | Self::NotACount { field, .. }
            | Self::WrongType { field, .. }
            | Self::Contradiction { field, .. }
            | Self::SecondModel { field, .. }
            | Self::NoMeter { field } => field,
        }
    }
}

/// What a count is instead of a whole number from 0 to [`Quantity::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountProblem {
    /// Text, a list and the like.
    #[error("expected a number")]
    NotANumber,
    /// Below zero.
    #[error("a count cannot be negative")]
    Negative,
    /// With decimals.
    #[error("a count must be a whole number")]
    Fractional,
    /// Above [`Quantity::MAX`].
    #[error("a count can be 1000000000000 at most")]
    TooLarge,
}

/// Reads the usage out of a provider's answer: an object is a whole answer, an array the stream's events in order (the
/// parsed JSON of each `data:` line, `[DONE]` left out).
///
/// # Errors
/// See [`ExtractError`]; nothing is guessed.
pub fn extract(format: Format, body: &Value) -> Result<Extracted, ExtractError> {
    let root = Node::root(body);
    match body {
        Value::Object(_) => match Reader::of(format) {
            Reader::Chat(rules) => openai_chat::whole(root, rules),
            Reader::Responses(rules) => openai_responses::whole(root, rules),
            Reader::Anthropic => anthropic::whole(root),
            Reader::Gemini => gemini::whole(root),
            Reader::Bedrock => bedrock::whole(root),
            Reader::Cohere => cohere::whole(root),
            Reader::AiSdk => ai_sdk::whole(root),
        },
        Value::Array(events) => match Reader::of(format) {
            Reader::Chat(rules) => openai_chat::stream(root, events, rules),
            Reader::Responses(rules) => openai_responses::stream(root, events, rules),
            Reader::Anthropic => anthropic::stream(root, events),
            Reader::Gemini => gemini::stream(root, events),
            Reader::Bedrock => bedrock::stream(root, events),
            Reader::Cohere => cohere::stream(root, events),
            Reader::AiSdk => ai_sdk::stream(root, events),
        },
        _ => Err(root.wrong_type("the answer, an object, or the stream's events, an array")),
    }
}

/// What reads a format. Several formats share one, some with rules of their own.
enum Reader {
    Chat(&'static Rules),
    Responses(&'static Rules),
    Anthropic,
    Gemini,
    Bedrock,
    Cohere,
    AiSdk,
}

impl Reader {
    const fn of(format: Format) -> Self {
        match format {
            Format::OpenaiChat | Format::TogetherChat | Format::FireworksChat => Self::Chat(&chat_rules::OPENAI),
            Format::AzureChat => Self::Chat(&chat_rules::AZURE),
            Format::GroqChat => Self::Chat(&chat_rules::GROQ),
            Format::MistralChat => Self::Chat(&chat_rules::MISTRAL),
            Format::XaiChat => Self::Chat(&chat_rules::XAI),
            Format::DeepseekChat => Self::Chat(&chat_rules::DEEPSEEK),
            Format::OpenrouterChat => Self::Chat(&chat_rules::OPENROUTER),
            Format::OpenaiResponses => Self::Responses(&chat_rules::OPENAI),
            Format::AzureResponses => Self::Responses(&chat_rules::AZURE),
            Format::AnthropicMessages => Self::Anthropic,
            Format::GeminiGenerateContent | Format::VertexGenerateContent => Self::Gemini,
            Format::BedrockConverse => Self::Bedrock,
            Format::CohereChat => Self::Cohere,
            Format::AiSdkUsage => Self::AiSdk,
        }
    }
}

/// Adds a count to a meter.
fn add(usage: &mut Usage, meter: Meter, count: u64, at: Node<'_, '_>) -> Result<(), ExtractError> {
    Quantity::from_count(count)
        .and_then(|quantity| usage.add(meter, quantity))
        .map_err(|_| at.not_a_count(CountProblem::TooLarge))
}

/// Adds a count to each of several meters.
fn add_each(usage: &mut Usage, counts: &[(Meter, u64)], at: Node<'_, '_>) -> Result<(), ExtractError> {
    counts.iter().try_for_each(|(meter, count)| add(usage, *meter, *count, at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use serde_json::json;

    #[test]
    fn names_round_trip() {
        for format in Format::ALL {
            assert_eq!(format.name().parse::<Format>().unwrap(), format);
            let text = serde_json::to_string(&format).unwrap();
            assert_eq!(serde_json::from_str::<Format>(&text).unwrap(), format);
        }
        assert!("openai".parse::<Format>().is_err());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for format in Format::ALL {
            for body in [json!(null), json!("usage"), json!(12), json!(true)] {
                let error = extract(format, &body).unwrap_err();
                assert_eq!((error.code(), error.field()), ("wrong_type", "$"), "{format}");
            }
            for body in [json!({}), json!([])] {
                assert_eq!(extract(format, &body).unwrap_err().code(), "missing_usage", "{format}");
            }
            let error = extract(format, &json!([{}, "[DONE]"])).unwrap_err();
            assert_eq!((error.code(), error.field()), ("wrong_type", "$[1]"), "{format}");
        }
    }
}
