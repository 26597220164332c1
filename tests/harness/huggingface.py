"""Weights of our networks, given to the models of `transformers`, so that both can be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from modelwright.models.network import Network
from modelwright.models.transformer import TransformerConfig


def vary(network: Network) -> None:
    """Give every bias and every scale of a norm a random value, so that none is compared at 0 or 1."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.empty_like(parameter).normal_(0, 0.3, generator=random))


def gpt2(network: Network, config: TransformerConfig, *, vocabulary: int, context: int) -> Any:
    """A GPT-2 of `transformers` with the weights of `network`, whose head is tied."""
    from transformers import GPT2Config, GPT2LMHeadModel

    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=vocabulary,
            n_positions=context,
            n_embd=config.width,
            n_layer=config.depth,
            n_head=config.num_heads,
            layer_norm_epsilon=config.norm_epsilon,
        )
    ).eval()
    ours = network.state_dict()
    state: dict[str, Tensor] = {
        "transformer.wte.weight": ours["stem.table"],
        "lm_head.weight": ours["stem.table"],
        "transformer.wpe.weight": ours["backbone.positions.table"],
        "transformer.ln_f.weight": ours["backbone.norm.weight"],
        "transformer.ln_f.bias": ours["backbone.norm.bias"],
    }
    parts = {
        "ln_1": "attention_norm",
        "attn.c_attn": "attention.project",
        "attn.c_proj": "attention.output",
        "ln_2": "feedforward_norm",
        "mlp.c_fc": "feedforward.expand",
        "mlp.c_proj": "feedforward.output",
    }
    for block in range(config.depth):
        for name, part in parts.items():
            weight = ours[f"backbone.blocks.{block}.{part}.weight"]
            # Their Conv1D keeps its weight the other way round.
            state[f"transformer.h.{block}.{name}.weight"] = weight.T if weight.ndim == 2 else weight
            state[f"transformer.h.{block}.{name}.bias"] = ours[f"backbone.blocks.{block}.{part}.bias"]
    theirs.load_state_dict(state, strict=True)
    return theirs


def llama(network: Network, config: TransformerConfig, *, vocabulary: int, context: int, tied: bool) -> Any:
    """A Llama of `transformers`, or a Mistral if there is a window, with the weights of `network`."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    settings = {
        "vocab_size": vocabulary,
        "hidden_size": config.width,
        "intermediate_size": round(config.width * config.feedforward_ratio),
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "max_position_embeddings": context,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rotary_base,
        "tie_word_embeddings": tied,
    }
    if config.window is None:
        theirs: Any = LlamaForCausalLM(LlamaConfig(**settings))
    else:
        theirs = MistralForCausalLM(MistralConfig(**settings, sliding_window=config.window))
    ours = network.state_dict()
    state = {
        "model.embed_tokens.weight": ours["stem.table"],
        "lm_head.weight": network.output_weight(),
        "model.norm.weight": ours["backbone.norm.weight"],
    }
    for block in range(config.depth):
        state |= _llama_block(ours, f"backbone.blocks.{block}.", f"model.layers.{block}.", config)
    theirs.load_state_dict(state, strict=True)
    return theirs.eval()


def _llama_block(ours: dict[str, Tensor], from_: str, to: str, config: TransformerConfig) -> dict[str, Tensor]:
    head = config.width // config.num_heads
    shared = (config.num_kv_heads or config.num_heads) * head
    query, key, value = ours[f"{from_}attention.project.weight"].split([config.width, shared, shared])
    gate, up = ours[f"{from_}feedforward.expand.weight"].chunk(2)
    return {
        f"{to}input_layernorm.weight": ours[f"{from_}attention_norm.weight"],
        f"{to}self_attn.q_proj.weight": query,
        f"{to}self_attn.k_proj.weight": key,
        f"{to}self_attn.v_proj.weight": value,
        f"{to}self_attn.o_proj.weight": ours[f"{from_}attention.output.weight"],
        f"{to}post_attention_layernorm.weight": ours[f"{from_}feedforward_norm.weight"],
        f"{to}mlp.gate_proj.weight": gate,
        f"{to}mlp.up_proj.weight": up,
        f"{to}mlp.down_proj.weight": ours[f"{from_}feedforward.output.weight"],
    }
