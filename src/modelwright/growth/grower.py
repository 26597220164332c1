"""The grower of a family: how its settings grow, and how its weights are carried over."""

from __future__ import annotations

from typing import Any

from torch import nn

from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.growth.channels import Channels, Sharing
from modelwright.models.family import FamilyConfig


class Grower:
    """How a family grows. One file of `growth/families/` registers one under the family's name."""

    def wider(self, config: Any, width: float) -> FamilyConfig:
        """The settings of the wider network."""
        return config.scaled(width=width)

    def deeper(self, config: Any, depth: float) -> FamilyConfig:
        """The settings of the deeper network.

        Raises:
            InputError: with these settings no layer can be put in that changes nothing.
        """
        return config.scaled(depth=depth)

    def widen(self, new: Any, old: Any, incoming: Channels, share: Sharing) -> Channels:
        """Carry a backbone's weights over into a wider one.

        Args:
            new: the wider backbone, to be filled.
            old: the trained one.
            incoming: the channels that the stem gives.
            share: how weights are shared among repeats.

        Returns:
            The channels that it gives.

        Raises:
            InputError: the outputs can't stay the same.
        """
        raise NotImplementedError

    def last_norm(self, new: Any) -> nn.Module | None:
        """The norm of what a backbone gives, if it ends in one, so that this can be made larger or smaller."""
        return None

    def deepen(self, new: Any, old: Any, config: Any) -> list[nn.Module]:
        """Carry a backbone's weights over into a deeper one of the same width, whose further layers change nothing.

        Args:
            new: the deeper backbone, to be filled.
            old: the trained one.
            config: the settings of the old one.

        Returns:
            The batch norms that must see data to change nothing (see `calibrate`).
        """
        raise NotImplementedError


growers: Registry[type[Grower]] = Registry("grower", "modelwright.growth.families")


def grower_of(family: str) -> Grower:
    """The grower of a family.

    Raises:
        InputError: the family doesn't grow.
    """
    if family not in growers:
        raise InputError(f"the family {family} can't be grown", expected=f"a run of {', '.join(growers)}")
    return growers[family]()
