"""Prices random usages of every model that genai-prices knows, at an instant of each of its prices; one JSON object per line.

python3 ask_genai_prices.py TODAY FILE
"""

import json
import sys
from datetime import datetime, time, timedelta, timezone

from genai_prices import Usage, data

import cases

# What it prices besides tokens of text, and our meter: only asked for where the model has a price for it.
EXTRA = {
    "input_audio_mtok": ("input_audio", "input_audio_tokens"),
    "cache_audio_read_mtok": ("cache_read_audio", "cache_audio_read_tokens"),
    "output_audio_mtok": ("output_audio", "output_audio_tokens"),
    "output_image_mtok": ("output_image", "output_image_tokens"),
    "output_reasoning_mtok": ("reasoning", "output_reasoning_tokens"),
    "web_searches_kcount": ("web_search", "web_searches"),
}
# Its names of providers that we call otherwise.
PROVIDERS = {"x-ai": "xai", "aws": "bedrock"}
INPUT = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "input_audio", "cache_read_audio"]
OUTPUT = ["output", "reasoning", "output_audio", "output_image"]


def theirs(usage):
    """Its totals contain their parts, our pools do not."""
    of = lambda *meters: sum(usage.get(meter, 0) for meter in meters)
    counts = {
        "input_tokens": of(*INPUT),
        "output_tokens": of(*OUTPUT),
        "cache_read_tokens": of("cache_read", "cache_read_audio"),
        "cache_write_tokens": of("cache_write_5m", "cache_write_1h"),
        "cache_write_5m_tokens": of("cache_write_5m"),
        "cache_write_1h_tokens": of("cache_write_1h"),
        "input_audio_tokens": of("input_audio", "cache_read_audio"),
        "cache_audio_read_tokens": of("cache_read_audio"),
        "output_audio_tokens": of("output_audio"),
        "output_image_tokens": of("output_image"),
        "output_reasoning_tokens": of("reasoning"),
        "web_searches": of("web_search"),
    }
    return Usage(**{key: value for key, value in counts.items() if value})


def instants(generator, model, today):
    """One within each of the model's dated prices up to today, and one today."""
    starts = []
    for price in model.prices if isinstance(model.prices, list) else []:
        start = getattr(price.constraint, "start_date", None)
        if start is not None and start <= today:
            starts.append(start)
    found = []
    for start, end in zip(starts, starts[1:] + [today]):
        found.append(start + timedelta(days=generator.randrange(max((end - start).days, 1))))
    moment = lambda: time(generator.randrange(24), generator.randrange(60), generator.randrange(60))
    return [datetime.combine(day, moment(), timezone.utc) for day in [*found, today]]


def answers(today):
    for provider in data.providers:
        ours = PROVIDERS.get(provider.id, provider.id.replace("_", "-"))
        for model in provider.models:
            generator = cases.generator(provider.id, model.id)
            for at in instants(generator, model, today):
                prices = model.get_prices(at)
                priced = {key for key, value in vars(prices).items() if value is not None}
                extra = [(meter, 50 if meter == "web_search" else 50_000) for key, (meter, _) in EXTRA.items() if key in priced]
                for usage in cases.usages(generator, extra, answers="output_mtok" in priced):
                    if "requests_kcount" in priced:
                        usage["request"] = 1
                    line = {"provider": ours, "model": model.id, "at": at.isoformat().replace("+00:00", "Z"), "usage": usage}
                    try:
                        line["usd"] = format(model.calc_price(theirs(usage), provider, genai_request_timestamp=at).total_price.normalize(), "f")
                    except Exception as error:  # Whatever it says is its answer.
                        line["error"] = str(error)
                    yield line


def main():
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        for line in answers(datetime.fromisoformat(sys.argv[1]).date()):
            print(json.dumps(line), file=file)


main()
