"""Usages for the oracles: random, from a seed that is the model's own name, so that a new model changes no other's."""

import random

SEED = "tollgate oracle 1"
# Prompts from a few tokens to beyond every boundary of a tier.
LARGEST = 1_500_000


def generator(provider, model):
    return random.Random(f"{SEED} {provider} {model}")


def count(generator, largest=LARGEST):
    """Small and large numbers alike often."""
    return int(largest ** generator.random())


def usages(generator, extra, answers=True):
    """Four usages in our meters: text alone, with cached input, with written caches, and with everything else that has a price there. What embeds or classifies
    answers nothing."""
    text = lambda: {"input": count(generator), **({"output": count(generator, 100_000)} if answers else {})}
    cached = lambda: {**text(), "cache_read": count(generator)}
    written = lambda: {**cached(), "cache_write_5m": count(generator), "cache_write_1h": count(generator, 100_000)}
    every = {**cached(), **{meter: count(generator, largest) for meter, largest in extra}}
    return [text(), cached(), written(), every]
