//! In what the providers that imitate OpenAI Chat Completions differ from it, as data for its one reader.

use super::ExtractError;
use super::read::Node;

/// The differences of one provider. [`OPENAI`] has none.
pub(super) struct Rules {
    /// Whether `reasoning_tokens` are beside `completion_tokens`, and the total the sum of three.
    pub(super) reasoning_beside: bool,
    /// Where else the tokens read from the cache are counted. Every place that has the count has to agree.
    pub(super) cached: &'static [Place],
    /// The count that makes up the prompt together with the tokens read from the cache.
    pub(super) missed: Option<&'static str>,
    /// Where web searches are counted; the same ones, where there are several places.
    pub(super) searches: &'static [Place],
    /// What is billed in units that no meter counts, and refused unless it is zero.
    pub(super) unmetered: &'static [Place],
    /// The object of a stream's chunk that has a `usage` of its own.
    pub(super) also_in: Option<&'static str>,
    /// Whether `model` names a model, and not a deployment that the customer named.
    pub(super) names_model: bool,
}

/// A count in a usage object: directly, or in one of its objects.
#[derive(Clone, Copy)]
pub(super) struct Place {
    object: Option<&'static str>,
    key: &'static str,
}

impl Place {
    const fn at(key: &'static str) -> Self {
        Self { object: None, key }
    }

    const fn of(object: &'static str, key: &'static str) -> Self {
        Self { object: Some(object), key }
    }

    /// The count; none where it is absent or null.
    pub(super) fn count(self, usage: Node<'_, '_>) -> Result<Option<u64>, ExtractError> {
        match self.object {
            None => usage.count(self.key),
            Some(key) => usage.object_or_empty(key)?.count(self.key),
        }
    }

    /// Its JSON path.
    pub(super) fn path(self, usage: Node<'_, '_>) -> String {
        match self.object {
            None => usage.path_of(self.key),
            Some(key) => format!("{}.{}", usage.path_of(key), self.key),
        }
    }
}

/// OpenAI, and whoever counts as it does: Together, Fireworks.
pub(super) const OPENAI: Rules = Rules {
    reasoning_beside: false,
    cached: &[],
    missed: None,
    searches: &[],
    unmetered: &[],
    also_in: None,
    names_model: true,
};

/// Azure OpenAI: a deployment has the name that its owner gave it.
pub(super) const AZURE: Rules = Rules { names_model: false, ..OPENAI };

/// Groq: a stream's last chunk has its usage in `x_groq.usage`. (In a whole answer `x_groq.usage` is something else,
/// hardware cache statistics, and `usage` is where OpenAI has it.)
pub(super) const GROQ: Rules = Rules { also_in: Some("x_groq"), ..OPENAI };

/// Mistral: up to three spellings of the cached tokens; audio is billed by the second and is not in the tokens.
pub(super) const MISTRAL: Rules = Rules {
    cached: &[Place::at("num_cached_tokens"), Place::of("prompt_token_details", "cached_tokens")],
    unmetered: &[Place::at("prompt_audio_seconds")],
    ..OPENAI
};

/// xAI: the reasoning is beside the completion. Live search was billed by the source, server-side tools are by the call,
/// and only web searches have a meter.
pub(super) const XAI: Rules = Rules {
    reasoning_beside: true,
    searches: &[Place::of(XAI_TOOLS, "web_search_calls")],
    unmetered: &[
        Place::at("num_sources_used"),
        Place::of(XAI_TOOLS, "x_search_calls"),
        Place::of(XAI_TOOLS, "code_interpreter_calls"),
        Place::of(XAI_TOOLS, "file_search_calls"),
        Place::of(XAI_TOOLS, "document_search_calls"),
    ],
    ..OPENAI
};
const XAI_TOOLS: &str = "server_side_tool_usage_details";

/// DeepSeek: what the cache had and what it had not make up the prompt.
pub(super) const DEEPSEEK: Rules =
    Rules { cached: &[Place::at("prompt_cache_hit_tokens")], missed: Some("prompt_cache_miss_tokens"), ..OPENAI };

/// OpenRouter: OpenAI's counts of whichever provider answered, and the searches that OpenRouter ran.
pub(super) const OPENROUTER: Rules = Rules {
    searches: &[
        Place::of("server_tool_use", "web_search_requests"),
        Place::of("server_tool_use_details", "web_search_requests"),
    ],
    ..OPENAI
};
