"""Deepening: further layers that change nothing at first, and what is copied into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from modelwright.core.errors import InputError
from modelwright.nn.mode import evaluating


def places(old: int, new: int) -> list[tuple[int, bool]]:
    """For each of `new` layers the old one that it is or follows, and whether it is that one: further layers lie evenly between.

    Raises:
        InputError: there are fewer new layers than old ones.
    """
    if new < old:
        raise InputError(f"{old} layers can't be carried over into {new}", expected="a network that is nowhere shallower")
    source = [number * old // new for number in range(new)]
    return [(layer, number == 0 or source[number - 1] != layer) for number, layer in enumerate(source)]


def carry(new: nn.Module, old: nn.Module) -> None:
    """Copy all tensors of a layer into its like."""
    new.load_state_dict(old.state_dict())


def borrow(new: nn.Module, old: nn.Module) -> None:
    """Copy those tensors of a layer that fit; a further layer that begins like its neighbor learns faster (see LOG.md)."""
    into = new.state_dict()
    for name, tensor in old.state_dict().items():
        if name in into and into[name].shape == tensor.shape:
            into[name].copy_(tensor)


def silence(tensors: Iterable[Tensor | None]) -> None:
    """Set to zero what a branch gives, by its last weights, so that gradients reach these at once and the others a step later."""
    for tensor in tensors:
        if tensor is not None:
            tensor.zero_()


def silence_output(branch: Any) -> None:
    """The same of a branch whose last map is its `output`, a linear map or a tensor."""
    output = branch.output
    silence([output] if isinstance(output, Tensor) else output.parameters())


def check_identity(activation: str, norm: str) -> None:
    """See that a plain layer can pass on what comes in.

    Raises:
        InputError: it can't.
    """
    if activation != "relu":
        raise InputError(
            f"a layer with {activation} can't pass on what comes in, so that a deeper network would not give the same outputs",
            expected="activation: relu, which leaves alone what went through it before",
            remedy="Grow the width alone",
        )
    if norm not in ("none", "batch"):
        raise InputError(
            f"a layer with a {norm} norm can't pass on what comes in, so that a deeper network would not give the same outputs",
            expected="norm: none or batch, or residual: true",
            remedy="Grow the width alone",
        )


def pass_on(parts: Iterable[nn.Module]) -> list[nn.Module]:
    """Make a linear map or convolution an identity (Chen et al. 2016, section 2.3), and the batch norm behind it as good as one.

    Returns:
        The batch norms, which are exact identities in evaluation until they are calibrated.
    """
    norms = []
    for part in parts:
        if isinstance(part, nn.Linear):
            nn.init.eye_(part.weight)
        elif isinstance(part, nn.Conv2d):
            nn.init.dirac_(part.weight)
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.reset_parameters()
            part.weight.fill_((1 + part.eps) ** 0.5)
            norms.append(part)
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
            part.bias.zero_()
    return norms


@torch.no_grad()
def calibrate(network: nn.Module, norms: Sequence[nn.Module], batches: Iterable[dict[str, Tensor]]) -> None:
    """Set the mean and variance of batch norms that change nothing, and weight and bias that undo them, so that training changes nothing either.

    Args:
        network: that holds the norms.
        norms: as `pass_on` gives them.
        batches: inputs of training examples.
    """
    sums: dict[nn.Module, list[Tensor]] = {norm: [torch.zeros((), dtype=torch.float64)] * 3 for norm in norms}

    def see(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        x = given[0].transpose(0, 1).flatten(1).double()
        new = (torch.tensor(x.shape[1], dtype=torch.float64), x.sum(1), x.square().sum(1))
        sums[norm] = [total + part.cpu() for total, part in zip(sums[norm], new, strict=True)]

    hooks = [norm.register_forward_pre_hook(see) for norm in norms]
    try:
        with evaluating(network):
            for inputs in batches:
                network(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for norm, (count, total, squares) in sums.items():
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert count > 0, "calibrating takes examples"
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
        norm.bias.copy_(mean)
