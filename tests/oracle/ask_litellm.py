"""Prices random usages of the first parties' chat models with LiteLLM's own cost function; one JSON object per line.

python3 ask_litellm.py TODAY FILE
"""

import json
import logging
import sys
from datetime import datetime, time, timezone

import litellm
from litellm import cost_per_token
from litellm._internal_context import pinned_billing_time
from litellm.types.utils import CacheCreationTokenDetails, CompletionTokensDetailsWrapper, PromptTokensDetailsWrapper, Usage

import cases

logging.disable(logging.CRITICAL)
# Its names of the first parties, and ours.
PROVIDERS = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "xai": "xai",
    "mistral": "mistral",
    "deepseek": "deepseek",
    "cohere_chat": "cohere",
    "moonshot": "moonshotai",
    "perplexity": "perplexity",
    "ai21": "ai21",
}
# Prices of its own that the plain ones do not cover.
EXTRA = {
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
}
INPUT = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio"]
OUTPUT = ["output", "reasoning", "output_audio"]


def theirs(usage):
    """Its totals contain their parts, our pools do not."""
    of = lambda *meters: sum(usage.get(meter, 0) for meter in meters)
    read, short, long = of("cache_read"), of("cache_write_5m"), of("cache_write_1h")
    prompt = {"cached_tokens": read, "text_tokens": of("input"), "audio_tokens": of("input_audio")}
    if short or long:
        prompt["cache_creation_tokens"] = short + long
        prompt["cache_creation_token_details"] = CacheCreationTokenDetails(ephemeral_5m_input_tokens=short, ephemeral_1h_input_tokens=long)
    answer = {"text_tokens": of("output"), "reasoning_tokens": of("reasoning"), "audio_tokens": of("output_audio")}
    counts = {"prompt_tokens": of(*INPUT), "completion_tokens": of(*OUTPUT), "total_tokens": of(*INPUT, *OUTPUT)}
    caches = {"cache_read_input_tokens": read, "cache_creation_input_tokens": short + long}
    return Usage(
        **counts,
        **{name: value for name, value in caches.items() if value},
        prompt_tokens_details=PromptTokensDetailsWrapper(**prompt),
        completion_tokens_details=CompletionTokensDetailsWrapper(**answer),
    )


def answers(today):
    for key, entry in litellm.model_cost.items():
        provider = entry.get("litellm_provider")
        if provider not in PROVIDERS or entry.get("mode") != "chat":
            continue
        model = key.removeprefix(f"{provider}/").removeprefix("cohere/")
        generator = cases.generator(provider, key)
        at = datetime.combine(today, time(generator.randrange(24), generator.randrange(60), generator.randrange(60)), timezone.utc)
        extra = [(meter, 50_000) for field, meter in EXTRA.items() if entry.get(field)]
        for usage in cases.usages(generator, extra):
            # DeepSeek's caches write themselves: what is written is fresh input, and it has zero for writes, which would come on top.
            if entry.get("cache_creation_input_token_cost") == 0:
                usage = {meter: quantity for meter, quantity in usage.items() if not meter.startswith("cache_write")}
            line = {"provider": PROVIDERS[provider], "model": model, "at": at.isoformat().replace("+00:00", "Z"), "usage": usage}
            try:
                # Peak hours are those of the usage, not of whoever runs this.
                with pinned_billing_time(at):
                    line["usd"] = format(sum(cost_per_token(model=key, custom_llm_provider=provider, usage_object=theirs(usage))), ".15g")
            except Exception as error:  # Whatever it says is its answer.
                line["error"] = str(error)[:200]
            yield line


def main():
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        for line in answers(datetime.fromisoformat(sys.argv[1]).date()):
            print(json.dumps(line), file=file)


main()
