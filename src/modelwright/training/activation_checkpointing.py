"""Activation checkpointing: blocks that compute once more in the backward pass what they would otherwise have to keep."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from modelwright.core.errors import InputError


def checkpoint_activations(network: nn.Module) -> None:
    """Have every block of the network keep nothing but its input for the backward pass, in place (Chen et al. 2016, arXiv:1604.06174).

    Blocks are the members of a list of modules named `blocks`, anywhere in the network. Values and gradients stay the same to the bit,
    dropout included; without gradients nothing changes. A second call changes nothing.

    Raises:
        InputError: the network has no blocks.
    """
    found = [blocks for name, blocks in network.named_modules() if name.split(".")[-1] == "blocks" and isinstance(blocks, nn.ModuleList)]
    if not found:
        raise InputError(
            "activation_checkpointing needs a network with blocks", remedy="Leave it out, or take the family transformer or hybrid"
        )
    for block in (block for blocks in found for block in blocks):
        block.__class__ = _recomputing(type(block))


@functools.cache
def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    """The class `kind` with another `forward`; a class and not a bound method, so that copies of a network are whole."""
    if getattr(kind, "recomputes", False):
        return kind

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        plain = functools.partial(kind.forward, self)
        if not torch.is_grad_enabled():
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, **kwargs)

    return type(kind.__name__, (kind,), {"forward": forward, "recomputes": True, "__module__": kind.__module__})
