"""Attention: multi-head self-attention over a sequence.

B batch, T time of the queries, S time of the keys, D width, H heads, K width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.nn.initialization import with_role
from modelwright.nn.positions import RotaryPositions

_SHORT = 512
"""Positions up to which all scores at once, T² for each head, are cheap to keep."""


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, *, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention; Vaswani et al. 2017, equation 1.

    Args:
        query: (B, H, T, K).
        key: (B, H, S, K).
        value: (B, H, S, K).
        mask: broadcast to (B, H, T, S); True where a key may be attended to, at least one for each query.
        dropout: probability that a weight is dropped.

    Returns:
        (B, H, T, K).
    """
    # In half precision the fused kernel's backward pass on a CPU takes 5 to 10 times as long as plain products of matrices (PyTorch 2.13).
    slow = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16) and torch.is_grad_enabled()
    if not slow or key.shape[2] > _SHORT:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    score_BHTS = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if mask is not None:
        score_BHTS = score_BHTS.masked_fill(~mask, -torch.inf)
    return F.dropout(score_BHTS.softmax(-1), dropout).to(value.dtype) @ value


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2), with one projection for queries, keys and values.

    Args:
        width: D of input and output, a multiple of `num_heads`.
        num_heads: H.
        dropout: probability that an attention weight is dropped in training.
        rotary: turns queries and keys by their position; shared between layers.
        output_scale: factor on the initial weights of the output projection.
    """

    def __init__(
        self, width: int, num_heads: int, *, dropout: float = 0.0, rotary: RotaryPositions | None = None, output_scale: float = 1.0
    ) -> None:
        super().__init__()
        assert width % num_heads == 0, (width, num_heads)
        self.num_heads, self.dropout = num_heads, dropout
        self.project = nn.Linear(width, 3 * width)
        self.output = with_role(nn.Linear(width, width), "linear", scale=output_scale)
        self.rotary = rotary

    def forward(self, x_BTD: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D); positions where `mask_BT` is False are not attended to."""
        query_BHTK, key_BHTK, value_BHTK = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.project(x_BTD).chunk(3, dim=-1)
        )
        if self.rotary is not None:
            query_BHTK, key_BHTK = self.rotary(query_BHTK), self.rotary(key_BHTK)
        attended_BHTK = attend(
            query_BHTK,
            key_BHTK,
            value_BHTK,
            None if mask_BT is None else mask_BT[:, None, None, :],
            dropout=self.dropout if self.training else 0.0,
        )
        return self.output(attended_BHTK.transpose(1, 2).flatten(2))
