"""The layouts `gpt_neox` and `persimmon`: rotary positions, layer norms, a nonlinearity without a gate; the latter norms queries and keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch

from modelwright.exporting.decoder import Decoder, Weights, named
from modelwright.exporting.layout import ACTIVATIONS, Layout, layouts

_STYLE = {
    "positions": {"rotary"},
    "norm": {"layer"},
    "activation": ACTIVATIONS,
    "bias": {True, False},
    "window": {False},
    "experts": {False},
}


@layouts.register("gpt_neox")
class GPTNeoXLayout(Layout):
    """Black et al. 2022, with its residual branches one after the other."""

    model_type = "gpt_neox"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {**_STYLE, "qk_norm": {False}}
    names: ClassVar[dict[str, str]] = {
        "enters": "gpt_neox.embed_in",
        "leaves": "lm_head",
        "norm": "gpt_neox.final_layer_norm",
        "block": "gpt_neox.layers",
        "attention": "attention",
    }

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `GPTNeoXConfig`."""
        return {**self.shape(decoder), "use_parallel_residual": False, "attention_bias": True}

    def shape(self, decoder: Decoder) -> dict[str, Any]:
        """What both layouts share."""
        config = decoder.config
        return {
            "hidden_size": config.width,
            "intermediate_size": decoder.hidden,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.num_heads,
            "hidden_act": ACTIVATIONS[config.activation],
            "max_position_embeddings": decoder.context,
            "layer_norm_eps": config.norm_epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rotary_base, "partial_rotary_factor": 1.0},
            "hidden_dropout": config.dropout,
            "attention_dropout": config.attention_dropout,
        }

    def weights(self, decoder: Decoder) -> Weights:
        """Those of the model with a head for language."""
        names = self.names
        weights = {
            f"{names['enters']}.weight": decoder.enters,
            f"{names['leaves']}.weight": decoder.leaves,
            **named(names["norm"], decoder.tensor(None, "norm")),
        }
        for block in range(decoder.config.depth):
            prefix, attention = f"{names['block']}.{block}", f"{names['block']}.{block}.{names['attention']}"
            weights |= {
                **named(f"{prefix}.input_layernorm", decoder.tensor(block, "attention_norm")),
                **named(f"{prefix}.post_attention_layernorm", decoder.tensor(block, "feedforward_norm")),
                **named(f"{attention}.query_key_value", _by_head(decoder, block)),
                **named(f"{attention}.dense", decoder.tensor(block, "attention.output")),
                **named(f"{prefix}.mlp.dense_h_to_4h", decoder.tensor(block, "feedforward.expand")),
                **named(f"{prefix}.mlp.dense_4h_to_h", decoder.tensor(block, "feedforward.output")),
            }
            if decoder.config.qk_norm:
                for name in ("query", "key"):
                    weights |= named(f"{attention}.{name[0]}_layernorm", decoder.tensor(block, f"attention.{name}_norm"))
        return weights


@layouts.register("persimmon")
class PersimmonLayout(GPTNeoXLayout):
    """Elsen et al. 2023 (Persimmon-8B): queries and keys are normed, as those of our own decoder are if nothing else is said."""

    model_type = "persimmon"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {**_STYLE, "qk_norm": {True}}
    names: ClassVar[dict[str, str]] = {
        "enters": "model.embed_tokens",
        "leaves": "lm_head",
        "norm": "model.final_layernorm",
        "block": "model.layers",
        "attention": "self_attn",
    }

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `PersimmonConfig`."""
        return {**self.shape(decoder), "qk_layernorm": True}


def _by_head(decoder: Decoder, block: int) -> Weights:
    """Queries, keys and values of the first head, then those of the second, and so on."""
    head = decoder.config.width // decoder.config.num_heads
    parts = decoder.equal_heads(block)
    return {name: torch.stack([part[name].unflatten(0, (-1, head)) for part in parts], dim=1).flatten(0, 2) for name in ("weight", "bias")}
