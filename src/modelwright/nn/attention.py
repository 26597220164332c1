"""Attention: self-attention over a sequence, by many heads that may share keys and values, onward only or both ways.

B batch, T time of the queries, S time of the keys, D width, H query heads, K width of a head, C queries that are taken together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelwright.core.device import device_kind
from modelwright.nn.cache import State, write_many, write_one
from modelwright.nn.dropout import drop
from modelwright.nn.initialization import ending_branch, with_role
from modelwright.nn.normalization import SequenceNorm, sequence_norm
from modelwright.nn.positions import rotate
from modelwright.nn.sight import EVERYTHING, Sight

_SHORT = 512
"""Keys up to which all scores of a query are cheap to keep."""
_SHORT_CAUSAL = 2048
"""The same where half of the scores are never computed."""
_CHUNK = 128
"""Queries that are taken together where order or a window leaves much to skip: enough to fill a product of matrices."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Scaled dot-product attention; Vaswani et al. 2017, equation 1.

    Args:
        query: (B, H, T, K).
        key: (B, H', S, K), H' a divisor of H; heads in a row share keys and values (Ainslie et al. 2023, GQA).
        value: (B, H', S, K).
        mask: broadcast to (B, H, T, S): True where a key may be attended to, at least one for each query, or numbers added to the scores.
        causal: the queries are the last T of the S positions, and each attends to none after itself.
        window: how many positions a query of a causal layer attends to, itself included; None is all.
        dropout: probability that a weight is dropped.

    Returns:
        (B, H, T, K).
    """
    time, seen = query.shape[2], key.shape[2]
    if torch.compiler.is_exporting():
        return _for_any_length(query, key, value, mask, causal=causal, window=window)
    plain = _plain_is_faster(query, seen, causal=causal, window=window)
    kernel = _plain if plain else _fused
    if not causal:
        return kernel(query, key, value, mask, dropout)
    if window is not None and window >= seen:
        window = None
    if not plain and window is None and mask is None and time == seen:
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, enable_gqa=_shared(query, key))
    chunk = time
    if window is not None:
        chunk = max(_CHUNK, window)
    elif plain:
        chunk = _CHUNK
    if plain:
        # Or every chunk would make its own copy.
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    parts = []
    # Parts of a split come back as one in the backward pass, where a slice would fill all that it leaves out with zeros.
    for number, some in enumerate(query.split(chunk, dim=2)):
        first, last = number * chunk, number * chunk + some.shape[2]
        stop = seen - time + last
        begin = 0 if window is None else max(0, seen - time + first - window + 1)
        visible = _in_order(mask, first, last, begin, stop, seen - time, window, query.device)
        keys, values = (key, value) if stop - begin == seen else (key[:, :, begin:stop], value[:, :, begin:stop])
        parts.append(kernel(some, keys, values, visible, dropout))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _for_any_length(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool, window: int | None) -> Tensor:
    """The same in one product with one mask, so that a graph which is traced at one length holds for all."""
    if causal and (mask is not None or window is not None):
        time, seen = query.shape[2], key.shape[2]
        mask = _in_order(mask, 0, time, 0, seen, seen - time, window, query.device)
    elif causal:
        return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=_shared(query, key))
    return _fused(query, key, value, mask, 0.0)


def _plain_is_faster(query: Tensor, seen: int, *, causal: bool, window: int | None) -> bool:
    """In half precision the fused kernel's backward pass on a CPU takes 2 to 6 times as long as plain products of matrices (PyTorch 2.13)."""
    if device_kind(query) != "cpu" or query.dtype not in (torch.bfloat16, torch.float16) or not torch.is_grad_enabled():
        return False
    return min(seen, (window or seen) + _CHUNK) <= _SHORT_CAUSAL if causal else seen <= _SHORT


def _shared(query: Tensor, key: Tensor) -> bool:
    return query.shape[1] != key.shape[1]


def _in_order(
    mask: Tensor | None, first: int, last: int, begin: int, stop: int, before: int, window: int | None, device: torch.device
) -> Tensor:
    """The mask of queries `first`..`last` and keys `begin`..`stop`, with the order; the first query of all is the key `before`."""
    query_C1 = torch.arange(before + first, before + last, device=device)[:, None]
    key_S = torch.arange(begin, stop, device=device)
    allowed_CS = key_S <= query_C1
    if window is not None:
        allowed_CS &= key_S > query_C1 - window
    if mask is None:
        return allowed_CS
    mask = mask[..., begin:stop] if mask.shape[-2] == 1 else mask[..., first:last, begin:stop]
    return mask & allowed_CS if mask.dtype == torch.bool else mask.masked_fill(~allowed_CS, -torch.inf)


def _fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.to(query.dtype)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, enable_gqa=_shared(query, key))


def _plain(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """With the queries of all heads that share keys below each other, and one product for each of these, so that no key is copied."""
    groups, chunk = query.shape[1] // key.shape[1], query.shape[2]
    rows, scale = (key.shape[0], key.shape[1], groups, chunk), query.shape[-1] ** -0.5
    query = query.unflatten(1, rows[1:3]).reshape(-1, groups * chunk, query.shape[-1])
    key, value = key.flatten(0, 1), value.flatten(0, 1)
    if mask is not None and mask.dtype == torch.bool:
        # Adding is several times as fast as filling, backward too.
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, -torch.inf)
    if mask is not None and mask.dim() == 2:
        score = torch.baddbmm(mask.to(query.dtype).repeat(groups, 1), query, key.transpose(1, 2), alpha=scale)
    else:
        score = torch.bmm(query * scale, key.transpose(1, 2))
        if mask is not None:
            score = (score.view(*rows, -1).flatten(1, 2) + mask.to(score.dtype)).view_as(score)
    weight = score.softmax(-1).to(value.dtype)
    if dropout:
        weight = drop(weight, dropout)
    return torch.bmm(weight, value).view(*rows, -1).flatten(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2), with one projection for queries, keys and values.

    Args:
        width: D of input and output, a multiple of `num_heads`.
        num_heads: H.
        num_kv_heads: heads of keys and values, a divisor of H: fewer are shared by neighbors, one by all; None is H.
        causal: a position attends to none after itself.
        window: how many positions it attends to, itself included, if `causal`; None is all.
        qk_norm: the norm of queries and keys, by head, before they are turned (Henry et al. 2020; Dehghani et al. 2023, section 2), or None.
        bias: whether the projections have one.
        epsilon: of those norms.
        dropout: probability that an attention weight is dropped in training.
        output_scale: factor on the initial weights of the output projection.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        num_kv_heads: int | None = None,
        causal: bool = False,
        window: int | None = None,
        qk_norm: SequenceNorm | None = None,
        bias: bool = True,
        epsilon: float = 1e-5,
        dropout: float = 0.0,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        num_kv_heads = num_kv_heads or num_heads
        assert width % num_heads == num_heads % num_kv_heads == 0, (width, num_heads, num_kv_heads)
        assert causal or window is None, "a window looks back"
        self.num_heads, self.num_kv_heads, self.head_width = num_heads, num_kv_heads, width // num_heads
        self.causal, self.window, self.dropout = causal, window, dropout
        self.project = nn.Linear(width, (num_heads + 2 * num_kv_heads) * self.head_width, bias=bias)
        norms = [sequence_norm(qk_norm, self.head_width, epsilon=epsilon, bias=bias) if qk_norm else None for _ in range(2)]
        self.query_norm, self.key_norm = norms
        self.output = ending_branch(with_role(nn.Linear(width, width, bias=bias), "linear", scale=output_scale))

    def forward(self, x_BTD: Tensor, sight: Sight = EVERYTHING, state: State | None = None) -> Tensor:
        """(B, T, D) -> (B, T, D).

        Args:
            x_BTD: T positions, which follow those in `state`.
            sight: of this pass.
            state: the ring buffer of this layer in a cache, which is written.
        """
        query, key, value = self._heads(x_BTD, sight)
        if state is None:
            dropout = self.dropout if self.training else 0.0
            attended = attend(query, key, value, sight.mask, causal=self.causal, window=self.window, dropout=dropout)
        else:
            assert self.causal, "only a causal layer goes on from what it has read"
            attended = self._onward(query, key, value, sight, state).to(x_BTD.dtype)
        return self.output(attended.transpose(1, 2).flatten(2))

    def _heads(self, x_BTD: Tensor, sight: Sight) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, K), keys and values (B, H', T, K)."""
        x_BTHK = self.project(x_BTD).view(x_BTD.shape[0], x_BTD.shape[1], -1, self.head_width)
        heads = (self.num_heads, self.num_kv_heads)
        if self.query_norm is None and self.key_norm is None and sight.turn is None:
            query, key, value = x_BTHK.split((*heads, self.num_kv_heads), dim=2)
        else:
            both, value = x_BTHK.split((sum(heads), self.num_kv_heads), dim=2)
            if self.query_norm is not None and self.key_norm is not None:
                query, key = both.split(heads, dim=2)
                both = torch.cat((self.query_norm(query), self.key_norm(key)), dim=2)
            query, key = (both if sight.turn is None else rotate(both, sight.turn)).split(heads, dim=2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def _onward(self, query: Tensor, key: Tensor, value: Tensor, sight: Sight, state: State) -> Tensor:
        """Attend to what the ring holds and to what is new, in the ring's type."""
        query = query.to(state[0].dtype)
        if query.shape[2] > 1:
            assert sight.start is not None
            keys, values = write_many(state, key, value, sight.start)
            return attend(query, keys, values, sight.mask, causal=True, window=self.window)
        write_one(state, key, value, sight.start, sight.lengths)
        # The queries of one token that share keys are rows of one product; what they see needs no order.
        query, mask = query.reshape(len(query), self.num_kv_heads, -1, self.head_width), sight.mask
        if mask is not None and mask.shape[1] > 1:
            mask = mask.unflatten(1, (self.num_kv_heads, -1)).squeeze(3)
        return _fused(query, state[0][:, :, : sight.reach], state[1][:, :, : sight.reach], mask, 0.0).flatten(1, 2).unsqueeze(2)
