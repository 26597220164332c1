"""The layouts that grew from Llama: rotary positions, root-mean-square norms, SwiGLU; `llama`, `mistral`, `qwen3`, and with experts `mixtral` and `qwen3_moe`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from modelwright.exporting.decoder import Decoder, Weights, named
from modelwright.exporting.layout import Layout, layouts

_STYLE = {"positions": {"rotary"}, "norm": {"rms"}, "activation": {"swiglu"}}


@layouts.register("llama")
class LlamaLayout(Layout):
    """Touvron et al. 2023."""

    model_type = "llama"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {
        **_STYLE,
        "qk_norm": {False},
        "bias": {True, False},
        "window": {False},
        "experts": {False},
    }
    biased = ("attention_bias", "mlp_bias")
    """Settings that give the maps a bias."""

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `LlamaConfig`, which the other layouts share."""
        config = decoder.config
        return {
            "hidden_size": config.width,
            "intermediate_size": decoder.hidden,
            "num_hidden_layers": config.depth,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_kv_heads or config.num_heads,
            "head_dim": config.width // config.num_heads,
            "hidden_act": "silu",
            "max_position_embeddings": decoder.context,
            "rms_norm_eps": config.norm_epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rotary_base},
            "attention_dropout": config.attention_dropout,
            **dict.fromkeys(self.biased, config.bias),
        }

    def weights(self, decoder: Decoder) -> Weights:
        """Those of a `LlamaForCausalLM`."""
        weights = {
            "model.embed_tokens.weight": decoder.enters,
            "lm_head.weight": decoder.leaves,
            "model.norm.weight": decoder.tensor(None, "norm")["weight"],
        }
        for block in range(decoder.config.depth):
            weights |= {f"model.layers.{block}.{name}": tensor for name, tensor in self.block(decoder, block).items()}
        return weights

    def block(self, decoder: Decoder, block: int) -> Weights:
        """Those of one block."""
        bias = decoder.config.bias and bool(self.biased)
        query, key, value = decoder.heads(block)
        weights = {
            "input_layernorm.weight": decoder.tensor(block, "attention_norm")["weight"],
            "post_attention_layernorm.weight": decoder.tensor(block, "feedforward_norm")["weight"],
            **named("self_attn.q_proj", query, bias=bias),
            **named("self_attn.k_proj", key, bias=bias),
            **named("self_attn.v_proj", value, bias=bias),
            **named("self_attn.o_proj", decoder.tensor(block, "attention.output"), bias=bias),
            **self.feedforward(decoder, block, bias=bias),
        }
        if decoder.config.qk_norm:
            for name in ("query", "key"):
                weights[f"self_attn.{name[0]}_norm.weight"] = decoder.tensor(block, f"attention.{name}_norm")["weight"]
        return weights

    def feedforward(self, decoder: Decoder, block: int, *, bias: bool) -> Weights:
        """Those of one block's feed-forward layer; the gate is the first half of our first map."""
        halves = {name: tensor.chunk(2) for name, tensor in decoder.tensor(block, "feedforward.expand").items()}
        gate, up = ({name: half[place] for name, half in halves.items()} for place in range(2))
        return {
            **named("mlp.gate_proj", gate, bias=bias),
            **named("mlp.up_proj", up, bias=bias),
            **named("mlp.down_proj", decoder.tensor(block, "feedforward.output"), bias=bias),
        }


@layouts.register("mistral")
class MistralLayout(LlamaLayout):
    """Jiang et al. 2023: with a window, and without biases."""

    model_type = "mistral"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {**_STYLE, "qk_norm": {False}, "bias": {False}, "window": {True}, "experts": {False}}
    biased = ()

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `MistralConfig`."""
        return {**super().config(decoder), "sliding_window": decoder.window}


@layouts.register("qwen3")
class Qwen3Layout(LlamaLayout):
    """Yang et al. 2025: queries and keys are normed."""

    model_type = "qwen3"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {
        **_STYLE,
        "qk_norm": {True},
        "bias": {False},
        "window": {True, False},
        "experts": {False},
    }
    biased = ()

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `Qwen3Config`, with the window in every block."""
        window = decoder.window
        return {**super().config(decoder), "use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": 0}


class ExpertsLayout(LlamaLayout):
    """Feed-forward layers side by side, a few of which each token is sent to."""

    biased = ()

    def feedforward(self, decoder: Decoder, block: int, *, bias: bool) -> Weights:
        """Router and experts, which are laid out as ours."""
        prefix = f"backbone.blocks.{block}.feedforward"
        return {
            "mlp.gate.weight": decoder.state[f"{prefix}.router.weight"],
            "mlp.experts.gate_up_proj": decoder.state[f"{prefix}.expand"],
            "mlp.experts.down_proj": decoder.state[f"{prefix}.output"],
        }


@layouts.register("mixtral")
class MixtralLayout(ExpertsLayout):
    """Jiang et al. 2024. The weights of a token's experts sum to 1."""

    model_type = "mixtral"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {
        **_STYLE,
        "qk_norm": {False},
        "bias": {False},
        "window": {True, False},
        "experts": {True},
    }

    def misfits(self, decoder: Decoder) -> list[str]:
        """One expert alone would always weigh 1 here, and by its probability with us."""
        return super().misfits(decoder) + ["experts_per_token: 1"] * (decoder.config.experts_per_token == 1)

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `MixtralConfig`."""
        config = decoder.config
        return {
            **super().config(decoder),
            "num_local_experts": config.experts,
            "num_experts_per_tok": config.experts_per_token,
            "router_aux_loss_coef": config.balance,
            "sliding_window": decoder.window,
        }


@layouts.register("qwen3_moe")
class Qwen3MoeLayout(ExpertsLayout):
    """Yang et al. 2025: experts, and queries and keys are normed."""

    model_type = "qwen3_moe"
    holds: ClassVar[Mapping[str, Collection[Any]]] = {
        **_STYLE,
        "qk_norm": {True},
        "bias": {False},
        "window": {True, False},
        "experts": {True},
    }

    def config(self, decoder: Decoder) -> dict[str, Any]:
        """Those of a `Qwen3MoeConfig`; the window is that of every block."""
        config, window = decoder.config, decoder.window
        return {
            **super().config(decoder),
            "moe_intermediate_size": decoder.hidden,
            "num_experts": config.experts,
            "num_experts_per_tok": config.experts_per_token,
            "norm_topk_prob": config.experts_per_token > 1,
            "router_aux_loss_coef": config.balance,
            "use_sliding_window": window is not None,
            "sliding_window": window,
        }
