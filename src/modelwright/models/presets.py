"""Presets: shapes of published Transformers, as rows of numbers."""

from __future__ import annotations

from typing import Any

from modelwright.core.errors import unknown_name

_STYLES: dict[str, dict[str, Any]] = {
    # Radford et al. 2019, section 2.3; GELU by its formula with tanh, as in the released code.
    "gpt2": {"positions": "learned", "norm": "layer", "activation": "gelu_tanh", "bias": True, "qk_norm": False, "embedding_scale": 1.0},
    # Touvron et al. 2023 (LLaMA), section 2.2.
    "llama": {"positions": "rotary", "norm": "rms", "activation": "swiglu", "bias": False, "qk_norm": False, "embedding_scale": 1.0},
}

_COLUMNS = ("depth", "width", "num_heads", "num_kv_heads", "feedforward_ratio", "norm_epsilon", "rotary_base")

_ROWS: dict[str, tuple[float | None, ...]] = {
    # Radford et al. 2019, table 2; heads are 64 wide.
    "gpt2-124m": (12, 768, 12, None, 4, 1e-5, 1e4),
    "gpt2-350m": (24, 1024, 16, None, 4, 1e-5, 1e4),
    "gpt2-774m": (36, 1280, 20, None, 4, 1e-5, 1e4),
    "gpt2-1.5b": (48, 1600, 25, None, 4, 1e-5, 1e4),
    # Our own, of the same style; parameters of the blocks, without the tokens.
    "llama-1m": (5, 128, 4, None, 2.75, 1e-5, 1e4),
    "llama-3m": (6, 192, 6, None, 2.75, 1e-5, 1e4),
    "llama-10m": (6, 384, 6, None, 2.6875, 1e-5, 1e4),
    "llama-25m": (8, 512, 8, None, 2.6875, 1e-5, 1e4),
    "llama-85m": (12, 768, 12, None, 2.6875, 1e-5, 1e4),
    "llama-300m": (24, 1024, 16, None, 2.6875, 1e-5, 1e4),
    # Zhang et al. 2024 (TinyLlama), table 1.
    "llama-1.1b": (22, 2048, 32, 4, 2.75, 1e-5, 1e4),
    # The published configurations of Llama 3.2.
    "llama-1.2b": (16, 2048, 32, 8, 4, 1e-5, 5e5),
    "llama-3.2b": (28, 3072, 24, 8, 8 / 3, 1e-5, 5e5),
    # Touvron et al. 2023 (Llama 2), table 1, and the published configurations.
    "llama-7b": (32, 4096, 32, None, 2.6875, 1e-5, 1e4),
    "llama-13b": (40, 5120, 40, None, 2.7, 1e-5, 1e4),
    "llama-70b": (80, 8192, 64, 8, 3.5, 1e-5, 1e4),
    # Grattafiori et al. 2024 (The Llama 3 Herd of Models), table 3.
    "llama-8b": (32, 4096, 32, 8, 3.5, 1e-5, 5e5),
}

PRESETS: dict[str, dict[str, Any]] = {
    name: {**dict(zip(_COLUMNS, row, strict=True)), **_STYLES[name.partition("-")[0]]} for name, row in _ROWS.items()
}
"""Settings of the family `transformer` by name."""


def preset(name: str) -> dict[str, Any]:
    """The settings called `name`.

    Raises:
        InputError: there are none; the message lists those there are and the nearest one.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
