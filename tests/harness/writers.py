"""Tiny language models of every family that continues texts."""

import torch

from modelwright.core.schema import Feature, Schema
from modelwright.models.family import families
from modelwright.models.network import build_network

CONTEXT = 16
FAMILIES = {
    "rotary": {"family": "transformer", "depth": 2, "width": 16},
    "learned": {"family": "transformer", "depth": 2, "width": 16, "positions": "learned"},
    "sinusoidal": {"family": "transformer", "depth": 1, "width": 16, "positions": "sinusoidal"},
    "alibi": {"family": "transformer", "depth": 2, "width": 16, "positions": "alibi", "num_heads": 4, "num_kv_heads": 2},
    "window": {"family": "transformer", "depth": 2, "width": 16, "window": 5},
    "experts": {"family": "transformer", "depth": 1, "width": 16, "experts": 3},
    "lstm": {"family": "lstm", "width": 16},
    "gru": {"family": "gru", "width": 16},
    "hybrid": {"family": "hybrid", "width": 16},
    "rnn": {"family": "rnn", "width": 16},
}


def text_schema(tokenizer, context=CONTEXT):
    """The schema of a text in these tokens."""
    text = Feature(name="text", type="text", shape=(context,), vocabulary=tokenizer.size, tokenizer=tokenizer.to_json())
    return Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=tokenizer.size))


def family_config(name):
    """The settings of one of `FAMILIES`."""
    values = FAMILIES[name]
    return families[values["family"]].model_validate(values)


def language_model(name, tokenizer, context=CONTEXT, seed=0):
    """An untrained network whose scores are far enough apart that rounding decides nothing."""
    network = build_network(text_schema(tokenizer, context), family_config(name), tokenizer.size, seed=seed).eval()
    with torch.no_grad():
        network.output_weight().mul_(3.0 / network.output_weight().std() / 4)
    return network
