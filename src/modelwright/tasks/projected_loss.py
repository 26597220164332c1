"""Projected cross-entropy: the loss of a large vocabulary, from hidden states, without ever holding the scores of all tokens at once.

Legend: N tokens, D width, V vocabulary, C tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from modelwright.core.batch import IGNORED
from modelwright.core.device import device_kind

CHUNK_SCORES = {"cpu": 2**25, "cuda": 2**28}
"""Scores that are held at once, in the format of the matrix products. More of them gain nothing in speed."""
BLOCK_SCORES = 2**18
"""Scores that a CPU turns into gradients at once, in float32: they fit into its cache (measured: 1.3x to 2x on that part)."""


def projected_cross_entropy(
    hidden: Tensor, weight: Tensor, target: Tensor, *, bias: Tensor | None = None, softcap: float | None = None, z_loss: float = 0.0
) -> Tensor:
    """The sum of the cross-entropies of `softmax(cap(hidden @ weight.T + bias))`, in float32 or wider, with exact gradients.

    The gradients are made together with the loss, chunk by chunk, so that the scores are computed once (as in Hsu et al. 2024, Liger Kernel,
    section 3.2). Matrix products are in the format of autocast where it is on, everything between them in float32.

    Args:
        hidden: (N, D).
        weight: (V, D); cast once.
        target: (N,) int64; `IGNORED` where nothing is scored.
        bias: (V,) or None.
        softcap: scores s become `softcap * tanh(s / softcap)`; None leaves them.
        z_loss: coefficient of the squared log of the softmax's denominator (Chowdhery et al. 2022, PaLM, section 5).
    """
    return _ProjectedCrossEntropy.apply(hidden, weight, bias, target, softcap, z_loss)  # type: ignore[return-value]


def cross_entropy(scores: Tensor, target: Tensor, z_loss: float = 0.0) -> Tensor:
    """The same sum from the scores (N, V) themselves, capped already: the faster way where the vocabulary is small."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    loss = F.cross_entropy(scores, target, ignore_index=IGNORED, reduction="sum")
    if z_loss:
        loss = loss + z_loss * (scores.logsumexp(1).square() * (target != IGNORED)).sum()
    return loss


class _ProjectedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, softcap: float | None, z_loss: float
    ) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
        weight_VD = weight.to(dtype)
        offset_V = None if bias is None else bias.to(dtype)
        count, limit = len(hidden), CHUNK_SCORES.get(device_kind(hidden), CHUNK_SCORES["cuda"])
        chunk = -(-count // max(1, -(-count * len(weight) // limit)))
        total = torch.zeros((), dtype=_wide(dtype), device=hidden.device)
        hidden_grad = torch.empty_like(hidden)
        weight_grad = bias_grad = None
        for start in range(0, count, chunk):
            part = slice(start, start + chunk)
            hidden_CD = hidden[part].to(dtype)
            scores_CV = F.linear(hidden_CD, weight_VD, offset_V)
            total += _differentiate(scores_CV, target[part], softcap, z_loss)
            hidden_grad[part] = scores_CV @ weight_VD
            weight_grad = _add(weight_grad, scores_CV.t() @ hidden_CD)
            if bias is not None:
                bias_grad = _add(bias_grad, scores_CV.sum(0, dtype=_wide(dtype)))
        ctx.save_for_backward(hidden_grad, weight_grad, bias_grad)
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden_grad, weight_grad, bias_grad = ctx.saved_tensors
        # In place: autograd itself refuses a second pass over tensors that were changed.
        grads = [grad.mul_(outer) for grad in (hidden_grad, weight_grad)]
        return (
            grads[0],
            grads[1].to(ctx.dtypes[0]),
            None if bias_grad is None else bias_grad.mul_(outer).to(ctx.dtypes[1]),
            None,
            None,
            None,
        )


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _add(total: Tensor | None, part: Tensor) -> Tensor:
    return part.to(_wide(part.dtype)) if total is None else total.add_(part)


def _differentiate(scores_CV: Tensor, target: Tensor, softcap: float | None, z_loss: float) -> Tensor:
    """Replace scores by the gradients of the loss by them, in place, and return the loss."""
    if device_kind(scores_CV) != "cpu" or torch.compiler.is_compiling():
        return _differentiate_block(scores_CV, target, softcap, z_loss)
    rows = max(1, BLOCK_SCORES // scores_CV.shape[1])
    blocks = zip(scores_CV.split(rows), target.split(rows), strict=True)
    return torch.stack([_differentiate_block(scores, part, softcap, z_loss) for scores, part in blocks]).sum()


def _differentiate_block(scores: Tensor, target: Tensor, softcap: float | None, z_loss: float) -> Tensor:
    s = scores.to(_wide(scores.dtype))
    if softcap is not None:
        s = softcap * torch.tanh(s / softcap)
    p = s.softmax(1)
    # The likeliest token's probability is 1/V at least, so that its logarithm is exact.
    log_z = s.amax(1) - p.amax(1).log()
    scored = (target != IGNORED).to(s.dtype)
    place = target.clamp(min=0)[:, None]
    loss = (scored * (log_z - s.gather(1, place)[:, 0] + z_loss * log_z.square())).sum()
    gradient = p.mul_((scored * (1 + 2 * z_loss * log_z))[:, None]).scatter_add_(1, place, -scored[:, None])
    if softcap is not None:
        gradient *= 1 - (s / softcap).square()
    scores.copy_(gradient)
    return loss
