"""How attention is widened: by more heads, by wider ones, or both.

D width, H query heads, G heads of keys and values, K width of a head.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.growth.channels import Channels, Sharing, fill
from modelwright.growth.widen import widen, widen_map
from modelwright.nn.attention import Attention


@widen.register
def _attention(new: Attention, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    """Queries are what reads keys: shared among their repeats, zero where a key is fresh, and larger, as a wider head divides scores by more."""
    assert isinstance(old, Attention)
    heads, keys = _heads(old, new, share)
    inside = Channels.spread(old.head_width, new.head_width)
    compared = _planes(old.head_width, new.head_width) if share.rotary else inside
    larger = math.sqrt(new.head_width / old.head_width)
    # A norm sees all channels of a head, so that each has to be repeated; that of queries then says what of them counts.
    normed = Channels.of(compared.index, compared.old)
    seen = compared if old.query_norm is None else normed
    if old.query_norm is not None and old.key_norm is not None and new.query_norm is not None and new.key_norm is not None:
        widen(new.key_norm, old.key_norm, normed, share)
        widen(new.query_norm, old.query_norm, normed, share)
        for name, parameter in old.query_norm.named_parameters():
            new.query_norm.get_parameter(name).copy_(larger * share(parameter, compared, dim=0))

    def rows(tensor: Tensor) -> Tensor:
        """Those of queries, keys and values of the wider layer, of a weight (.., D) or a bias."""
        query, key, value = (
            part.unflatten(0, (-1, old.head_width))
            for part in tensor.split([number * old.head_width for number in (old.num_heads, old.num_kv_heads, old.num_kv_heads)])
        )
        query = larger * share(query, compared, dim=1) if old.query_norm is None else query[:, normed.index]
        parts = (query[heads.index], key[keys.index][:, seen.index], value[keys.index][:, inside.index])
        return torch.cat([part.flatten(0, 1) for part in parts])

    live = torch.cat([_both(heads, Channels.same(new.head_width)), _both(keys, seen), _both(keys, inside)])
    fill(new.project.weight, share(rows(old.project.weight), incoming), live)
    if old.project.bias is not None:
        fill(new.project.bias, rows(old.project.bias), live)
    place = heads.index[:, None] * old.head_width + inside.index
    attended = Channels.of(place.flatten(), old.num_heads * old.head_width, _both(heads, inside))
    return widen_map(new.output, old.output, attended, share, Channels.spread(old.output.out_features, new.output.out_features))


def _both(heads: Channels, inside: Channels) -> Tensor:
    """Which channels of all heads are live: those inside of live heads."""
    return (heads.live[:, None] & inside.live).flatten()


def _heads(old: Attention, new: Attention, share: Sharing) -> tuple[Channels, Channels]:
    """The heads of queries, and those of keys and values: new ones read what the old ones read that they come from.

    Raises:
        InputError: fewer heads would share keys.
    """
    group, wider_group = old.num_heads // old.num_kv_heads, new.num_heads // new.num_kv_heads
    if any(share.slopes) and old.num_heads != new.num_heads:
        return _heads_by_slope(*share.slopes, group, wider_group)
    keys, within = Channels.spread(old.num_kv_heads, new.num_kv_heads), Channels.spread(group, wider_group)
    queries = (keys.index[:, None] * group + within.index).flatten()
    return Channels.of(queries, old.num_heads, _both(keys, within)), keys


def _heads_by_slope(old: tuple[float, ...], new: tuple[float, ...], group: int, wider_group: int) -> tuple[Channels, Channels]:
    """With ALiBi a head stays where its slope is; heads with slopes of their own are fresh.

    Raises:
        InputError: a slope of the old network isn't there, or heads part that share keys.
    """
    apart = (torch.tensor(new, dtype=torch.float64).log2()[:, None] - torch.tensor(old, dtype=torch.float64).log2()).abs()
    nearest = apart.min(dim=1)
    queries = Channels.of(nearest.indices, len(old), nearest.values < 1e-9)
    live, read = queries.live.view(-1, wider_group), (queries.index // group).view(-1, wider_group)
    first = live.long().argmax(dim=1, keepdim=True)
    keys = Channels.of(read.gather(1, first)[:, 0], len(old) // group, live.any(dim=1))
    if live.sum() < len(old) or not (read == keys.index[:, None])[live].all():
        raise InputError(
            f"the slopes (ALiBi) of {len(old)} heads are not among those of {len(new)}, or heads part that share keys",
            remedy="Choose another width",
        )
    return queries, keys


def _planes(old: int, new: int) -> Channels:
    """The channels of a turned head, two for each plane: of a head c times as wide every c-th wavelength is an old one, and the others are fresh.

    Raises:
        InputError: the head is not a whole number of times as wide.
    """
    if new % old:
        raise InputError(
            f"heads {old} wide can't become {new} wide: rotary positions would turn them at other speeds",
            expected="heads a whole number of times as wide, or more heads of the same width",
        )
    plane = torch.arange(new // 2)
    index = plane * old // new
    return Channels.of(torch.cat((index, index + old // 2)), old, (plane % (new // old) == 0).repeat(2))
