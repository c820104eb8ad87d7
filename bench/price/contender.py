"""Prices usages in Python when it is asked to, over standard input and output; crates/xtask/src/bench/contender.rs is the other end.

python3 contender.py USAGES LIBRARY
"""

import json
import sys
import time


def genai_prices():
    from genai_prices import Usage, calc_price

    def request(usage):
        return Usage(input_tokens=usage["prompt"], cache_read_tokens=usage["cached"], output_tokens=usage["output"]), usage["model"], usage["provider"]

    return request, lambda asked: calc_price(asked[0], asked[1], provider_id=asked[2]).total_price


def litellm():
    from litellm import cost_per_token
    from litellm.types.utils import PromptTokensDetailsWrapper, Usage

    providers = {"google": "gemini"}

    def request(usage):
        details = PromptTokensDetailsWrapper(cached_tokens=usage["cached"])
        counts = {"prompt_tokens": usage["prompt"], "completion_tokens": usage["output"], "total_tokens": usage["prompt"] + usage["output"]}
        return Usage(**counts, prompt_tokens_details=details), usage["model"], providers.get(usage["provider"], usage["provider"])

    def price(asked):
        return sum(cost_per_token(model=asked[1], custom_llm_provider=asked[2], usage_object=asked[0]))

    return request, price


def main():
    usages = json.load(open(sys.argv[1], encoding="utf-8"))
    request, price = {"genai-prices": genai_prices, "litellm": litellm}[sys.argv[2]]()
    requests = [request(usage) for usage in usages]

    def run(milliseconds):
        """The median of short blocks: whatever else the machine does in between falls into few of them."""
        blocks, begun = [], time.perf_counter_ns()
        deadline = begun + milliseconds * 1_000_000
        while begun < deadline:
            for asked in requests:
                price(asked)
            ended = time.perf_counter_ns()
            blocks.append((ended - begun) / len(requests))
            begun = ended
        return sorted(blocks)[len(blocks) // 2]

    print(json.dumps({"prices": [str(price(asked)) for asked in requests], "version": sys.version.split()[0]}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"nanoseconds": run(json.loads(line)["milliseconds"])}), flush=True)


main()
