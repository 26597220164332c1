"""Feed-forward layers: two linear maps with a nonlinearity between, at each position by itself.

B batch, T time, D width, I width inside.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.nn.dropout import Dropout
from modelwright.nn.initialization import ending_branch, with_role

Inner = Literal["relu", "gelu", "silu", "tanh", "gelu_tanh", "relu2", "swiglu"]
"""The nonlinearity inside: an activation; GELU by its formula with tanh, as GPT-2 has it; the square of ReLU (So et al. 2021, Primer, section
4); or a product with a gate (SwiGLU; Shazeer 2020, GLU Variants Improve Transformer, equation 6), for which the first map is twice as wide."""

_ROLES: dict[Inner, str] = {"relu": "relu", "gelu": "gelu", "silu": "silu", "tanh": "tanh", "gelu_tanh": "gelu"}


def maps_in(inner: Inner) -> int:
    """How many times the width inside the first map gives."""
    return 2 if inner == "swiglu" else 1


def role_in(inner: Inner) -> str:
    """The role of the first map in the table of initial weights."""
    return _ROLES.get(inner, "linear")


def bend(x: Tensor, inner: Inner) -> Tensor:
    """Apply the nonlinearity called `inner`: (..., I) -> (..., I), or (..., 2 I) -> (..., I) if it has a gate, which comes first."""
    if inner == "swiglu":
        gate, content = x.chunk(2, dim=-1)
        return F.silu(gate) * content
    if inner == "relu2":
        return F.relu(x).square()
    if inner == "gelu_tanh":
        return F.gelu(x, approximate="tanh")
    if inner == "tanh":
        return x.tanh()
    return F.gelu(x) if inner == "gelu" else F.relu(x) if inner == "relu" else F.silu(x)


class FeedForward(nn.Module):
    """Linear, nonlinearity, dropout, linear (Vaswani et al. 2017, section 3.3).

    Args:
        width: D of input and output.
        hidden: I, width between.
        inner: the nonlinearity.
        bias: whether the maps have one.
        dropout: probability that a hidden value is dropped in training.
        output_scale: factor on the initial weights of the second map.
    """

    def __init__(
        self, width: int, hidden: int, *, inner: Inner = "gelu", bias: bool = True, dropout: float = 0.0, output_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.expand = with_role(nn.Linear(width, maps_in(inner) * hidden, bias=bias), role_in(inner))
        self.inner: Inner = inner
        self.dropout = Dropout(dropout)
        self.output = ending_branch(with_role(nn.Linear(hidden, width, bias=bias), "linear", scale=output_scale))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.output(self.dropout(bend(self.expand(x), self.inner)))
