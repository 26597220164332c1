"""The layout `gpt2`: positions that are added, layer norms, a nonlinearity without a gate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import torch

from modelwright.exporting.decoder import Decoder, Weights, named
from modelwright.exporting.layout import ACTIVATIONS, Layout, layouts

_PARTS = {
    "ln_1": "attention_norm",
    "attn.c_proj": "attention.output",
    "ln_2": "feedforward_norm",
    "mlp.c_fc": "feedforward.expand",
    "mlp.c_proj": "feedforward.output",
}


@layouts.register("gpt2")
class GPT2Layout(Layout):
    """Radford et al. 2019."""

    model_type = "gpt2"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {
        "positions": {"learned", "sinusoidal", "none"},
        "norm": {"layer"},
        "activation": ACTIVATIONS,
        "qk_norm": {False},
        "bias": {True, False},
        "window": {False},
        "experts": {False},
    }

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `GPT2Config`."""
        config = decoder.config
        return {
            "n_positions": decoder.context,
            "n_embd": config.width,
            "n_inner": decoder.hidden,
            "n_layer": config.depth,
            "n_head": config.num_heads,
            "activation_function": ACTIVATIONS[config.activation],
            "layer_norm_epsilon": config.norm_epsilon,
            "resid_pdrop": config.dropout,
            "embd_pdrop": config.dropout,
            "attn_pdrop": config.attention_dropout,
        }

    def weights(self, decoder: Decoder) -> Weights:
        """Those of a `GPT2LMHeadModel`, whose `Conv1D` keeps a weight the other way round."""
        weights = {
            "transformer.wte.weight": decoder.enters,
            "transformer.wpe.weight": decoder.position_table,
            "lm_head.weight": decoder.leaves,
            **named("transformer.ln_f", decoder.tensor(None, "norm")),
        }
        for block in range(decoder.config.depth):
            parts = {name: decoder.tensor(block, part) for name, part in _PARTS.items()}
            heads = decoder.equal_heads(block)
            parts["attn.c_attn"] = {name: torch.cat([part[name] for part in heads]) for name in ("weight", "bias")}
            for name, part in parts.items():
                turned = {key: tensor.T.contiguous() if tensor.ndim == 2 else tensor for key, tensor in part.items()}
                weights |= named(f"transformer.h.{block}.{name}", turned)
        return weights
