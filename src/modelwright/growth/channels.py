"""Channels: which channel of the old network each channel of the wider one repeats, and how weights are shared among the repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from modelwright.core.errors import InputError

NOISE = 2.0
"""Deviation of what tells repeats apart, as a share of that of the weights it is added to: more learns faster, and leaves more to rounding (see LOG.md)."""


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of a wider network as repeats of those of the old one; Chen et al. 2016 (Net2Net), equation 1.

    Attributes:
        index: (new,) int64, the old channel that each new one repeats.
        old: number of old channels, each of which is repeated at least once.
        gain: (new,) float64, how many times as large as the old one a new channel is.
        live: (new,) bool, whether a channel is a repeat; the others are fresh, nothing reads them at first, and their index means nothing.
    """

    index: Tensor
    old: int
    gain: Tensor
    live: Tensor

    @classmethod
    def of(cls, index: Tensor, old: int, live: Tensor | None = None) -> Channels:
        """Repeats as `index` says, as large as the old channels; all of them live by default."""
        return cls(
            index, old, torch.ones(len(index), dtype=torch.float64), torch.ones(len(index), dtype=torch.bool) if live is None else live
        )

    @classmethod
    def spread(cls, old: int, new: int) -> Channels:
        """Each old channel as often as the others, or once more, its repeats beside each other.

        Raises:
            InputError: there are fewer new channels than old ones.
        """
        if new < old:
            raise InputError(f"{old} channels can't be carried over into {new}", expected="a network that is nowhere narrower")
        return cls.of(torch.arange(new) * old // new, old)

    @classmethod
    def same(cls, width: int) -> Channels:
        """Channels that stay what they are."""
        return cls.spread(width, width)

    @property
    def counts(self) -> Tensor:
        """(new,) float64, how many repeats a channel has, itself included."""
        return torch.bincount(self.index[self.live], minlength=self.old).double()[self.index]

    @property
    def even(self) -> bool:
        """Whether every old channel is repeated equally often."""
        return bool(self.live.all() and (self.counts * self.old == len(self.index)).all())

    @property
    def plain(self) -> bool:
        """Whether all are as large as the old ones."""
        return bool((self.gain == 1).all())

    def times(self, sections: int) -> Channels:
        """The same in each of several sections that lie behind each other, such as the gates of a recurrent layer."""
        index = torch.cat([self.index + section * self.old for section in range(sections)])
        return Channels(index, sections * self.old, self.gain.repeat(sections), self.live.repeat(sections))

    def enlarged(self, factor: Tensor | float) -> Channels:
        """The same, `factor` times as large."""
        return replace(self, gain=self.gain * factor)

    def positions(self, number: int, *, last: bool) -> Channels:
        """The same at each of a number of positions, flattened; the position goes fastest if it is `last`."""
        place, each = torch.arange(number), self.times(number)
        if not last:
            return each
        order = (place * len(self.index) + torch.arange(len(self.index))[:, None]).flatten()
        index = (self.index[:, None] * number + place).flatten()
        return Channels(index, each.old, each.gain[order], each.live[order])


@dataclass(frozen=True)
class Sharing:
    """How the weights that read a channel are shared among its repeats.

    Each repeat gets an even share and a random number; over the repeats of a channel these sum to zero, so that the outputs stay what they are and
    the repeats get different gradients (the freedom of Wang et al. 2024, LEMON, section 4; Net2Net adds noise that changes the outputs).

    Attributes:
        random: draws those numbers.
        noise: their deviation, as a share of that of the even shares.
        rotary: whether queries and keys are turned.
        slopes: of ALiBi, in the old network and in the new one; empty where there is none.
    """

    random: torch.Generator
    noise: float = NOISE
    rotary: bool = False
    slopes: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def __call__(self, weight: Tensor, channels: Channels, dim: int = 1) -> Tensor:
        """Weights that read the old channels -> those that read the new ones, along `dim`."""
        shape = [1] * weight.ndim
        shape[dim] = -1
        part, gain = ((channels.live / channels.counts).to(weight).view(shape), channels.gain.to(weight).view(shape))
        shared = weight.index_select(dim, channels.index) * part
        if self.noise and len(channels.index) > channels.old:
            shared = shared + self._apart(shared, channels, part, dim)
        return shared / gain

    def _apart(self, shared: Tensor, channels: Channels, part: Tensor, dim: int) -> Tensor:
        """Random numbers that sum to zero over the repeats of a channel, each of which has an even `part` of it."""
        draws = torch.empty(shared.shape, dtype=shared.dtype).normal_(generator=self.random)
        draws *= self.noise * shared.square().mean().sqrt() * (part > 0)
        shape = list(shared.shape)
        shape[dim] = channels.old
        sums = torch.zeros(shape, dtype=shared.dtype).index_add(dim, channels.index, draws)
        return draws - sums.index_select(dim, channels.index) * part


def fill(new: Tensor, rows: Tensor, live: Tensor, dim: int = 0) -> None:
    """Fill a wider tensor with rows that repeat old ones, but for those of fresh channels, which stay as they are."""
    shape = [1] * new.ndim
    shape[dim] = -1
    new.copy_(torch.where(live.view(shape), rows, new))
