"""How attention is widened: by more heads, by wider ones, or both.

D width, H query heads, G heads of keys and values, K width of a head.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.growth.channels import Channels, Sharing
from modelwright.growth.widen import widen, widen_map
from modelwright.nn.attention import Attention


class Heads(NamedTuple):
    """Which old heads the new ones repeat.

    Attributes:
        queries: (H',) int64.
        keys: (G',) int64; a new head of keys is that of the new heads of queries that share it.
        live: (H',) whether a head's output counts; the others wait for training to use them.
    """

    queries: Tensor
    keys: Tensor
    live: Tensor


@widen.register
def _attention(new: Attention, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, Attention)
    heads = _heads(old, new, share)
    inside = Channels.spread(old.head_width, new.head_width)
    turned, live = _planes(old.head_width, new.head_width) if share.rotary else (inside, None)
    normed = old.query_norm is not None
    if normed:
        _widen_norms(new, old, turned, live, share)

    def rows(tensor: Tensor) -> Tensor:
        """The rows of queries, keys and values (.., D) of the wider layer, of a weight or a bias."""
        width = old.head_width
        query, key, value = (part.unflatten(0, (-1, width)) for part in tensor.split([n * width for n in (old.num_heads, *[old.num_kv_heads] * 2)]))
        query = query[:, turned.index] if normed else _answering(query, turned, live, share, dim=1)
        query, key, value = query[heads.queries], key[heads.keys][:, turned.index], value[heads.keys][:, inside.index]
        return torch.cat([part.flatten(0, 1) for part in (query, key, value)])

    new.project.weight.copy_(share(rows(old.project.weight), incoming))
    if old.project.bias is not None:
        new.project.bias.copy_(rows(old.project.bias))
    place = heads.queries[:, None] * old.head_width + inside.index
    attended = Channels.of(place.flatten(), old.num_heads * old.head_width)
    outgoing = Channels.spread(old.output.out_features, new.output.out_features)
    if heads.live.all():
        return widen_map(new.output, old.output, attended, share, outgoing)
    counts = heads.live.repeat_interleave(new.head_width)
    new.output.weight.copy_(_waiting(old.output.weight[outgoing.index], attended, counts, share))
    if old.output.bias is not None:
        new.output.bias.copy_(old.output.bias[outgoing.index])
    return outgoing


def _heads(old: Attention, new: Attention, share: Sharing) -> Heads:
    """New heads as repeats of old ones that read the same keys."""
    group, wider_group = old.num_heads // old.num_kv_heads, new.num_heads // new.num_kv_heads
    if any(share.slopes) and old.num_heads != new.num_heads:
        return _heads_by_slope(*share.slopes, group, wider_group)
    keys = Channels.spread(old.num_kv_heads, new.num_kv_heads).index
    queries = keys[:, None] * group + Channels.spread(group, wider_group).index
    return Heads(queries.flatten(), keys, torch.ones(new.num_heads, dtype=torch.bool))


def _heads_by_slope(old: tuple[float, ...], new: tuple[float, ...], group: int, wider_group: int) -> Heads:
    """With ALiBi a head is where its slope is; a head with a slope of its own starts as the nearest one, unheard.

    Raises:
        InputError: a slope of the old network isn't there, or heads that share keys came from heads that didn't.
    """
    distance = (torch.tensor(new, dtype=torch.float64).log2()[:, None] - torch.tensor(old, dtype=torch.float64).log2()).abs()
    nearest = distance.min(dim=1)
    live = nearest.values < 1e-9
    keys = (nearest.indices // group).view(-1, wider_group)
    kept = [int(row[on][0]) if on.any() else int(row[0]) for row, on in zip(keys, live.view(-1, wider_group), strict=True)]
    served = torch.tensor(kept).repeat_interleave(wider_group)
    if live.sum() < len(old) or not (served == nearest.indices // group)[live].all():
        raise InputError(
            f"the slopes (ALiBi) of {len(old)} heads are not among those of {len(new)}, or their shared keys part", remedy="Choose another width"
        )
    return Heads(nearest.indices, served[::wider_group], live)


def _planes(old: int, new: int) -> tuple[Channels, Tensor]:
    """Within a turned head: each plane where its wavelength is, and which of the new planes those are.

    Of a head c times as wide every c-th wavelength is an old one; its plane holds the old numbers, and the planes after it repeat them, unheard.

    Raises:
        InputError: the head is not a whole number of times as wide.
    """
    if new % old:
        raise InputError(
            f"heads {old} wide can't become {new} wide: rotary positions would turn them at other speeds",
            expected="heads a whole number of times as wide, or more heads of the same width",
        )
    plane = torch.arange(new // 2)
    index, live = plane * old // new, plane % (new // old) == 0
    return Channels.of(torch.cat((index, index + old // 2)), old), live.repeat(2)


def _answering(query: Tensor, inside: Channels, live: Tensor | None, share: Sharing, dim: int) -> Tensor:
    """Queries are what reads keys: shared among their repeats along `dim`, and larger, as scores are divided by the root of a wider head."""
    factor = math.sqrt(len(inside.index) / inside.old)
    return factor * (share(query, inside, dim) if live is None else _waiting(query, inside, live, share, dim))


def _waiting(weight: Tensor, channels: Channels, live: Tensor, share: Sharing, dim: int = 1) -> Tensor:
    """Weights that read live repeats, each channel's once, and don't yet read the others."""
    shape = [1] * weight.ndim
    shape[dim] = -1
    return weight.index_select(dim, channels.index) * live.to(weight).view(shape)


def _widen_norms(new: Attention, old: Attention, inside: Channels, live: Tensor | None, share: Sharing) -> None:
    """The norms of queries and keys, by head; that of queries shares and enlarges, as queries can't."""
    assert new.query_norm is not None
    assert new.key_norm is not None
    assert old.query_norm is not None
    assert old.key_norm is not None
    widen(new.key_norm, old.key_norm, inside, share)
    widen(new.query_norm, old.query_norm, inside, share)
    for name, parameter in old.query_norm.named_parameters():
        new.query_norm.get_parameter(name).copy_(_answering(parameter, inside, live, share, dim=0))
