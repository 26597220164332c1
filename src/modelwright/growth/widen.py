"""Widening: the rule of each kind of layer that carries its weights over into a wider one of its kind.

A rule gets the wider layer, the old one, the channels that come in, and the sharing; it fills the wider layer and returns the channels that go out. A
layer of a new kind gets its rule by `@widen.register`; one without tensors needs none.
"""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import nn

from modelwright.core.errors import InputError
from modelwright.growth.channels import Channels, Sharing, fill
from modelwright.nn.convolution import ResidualBlock
from modelwright.nn.experts import Experts
from modelwright.nn.feedforward import FeedForward, maps_in
from modelwright.nn.head import Head
from modelwright.nn.pooling import Pool
from modelwright.nn.positions import LearnedPositions, SinusoidalPositions
from modelwright.nn.recurrent import RecurrentLayer
from modelwright.nn.time_convolution import TimeConvolution


@singledispatch
def widen(new: nn.Module, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    """Fill `new` so that it computes what `old` does, on channels and to channels that are repeated.

    Args:
        new: a layer of the type of `old`, at least as wide, with the tensors of a fresh network.
        old: the trained layer.
        incoming: the channels that come in.
        share: how weights are shared among repeats.

    Returns:
        The channels that go out.

    Raises:
        InputError: the outputs can't stay the same, or nobody said how layers of this type are widened.
    """
    if not old.state_dict() and not new.state_dict():
        return incoming
    raise InputError(
        f"nobody said how a {type(new).__name__} is widened", remedy="Give it a rule by modelwright.growth.widen.widen.register"
    )


@widen.register
def _sequential(new: nn.Sequential, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, nn.Sequential)
    for wider, layer in zip(new, old, strict=True):
        incoming = widen(wider, layer, incoming, share)
    return incoming


def widen_map(new: nn.Module, old: nn.Module, incoming: Channels, share: Sharing, outgoing: Channels) -> Channels:
    """Widen a linear map or a convolution whose outputs are repeated as `outgoing` says."""
    fill(new.weight, share(old.weight[outgoing.index], incoming), outgoing.live)  # type: ignore[arg-type, index]
    if old.bias is not None:
        fill(new.bias, old.bias[outgoing.index], outgoing.live)  # type: ignore[arg-type, index]
    return outgoing


@widen.register
def _linear(new: nn.Linear, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, nn.Linear)
    return widen_map(new, old, incoming, share, Channels.spread(old.out_features, new.out_features))


def widen_projection(new: nn.Linear | None, old: nn.Linear | None, incoming: Channels, share: Sharing) -> Channels:
    """The same of a linear map that is left out, by None, where input and output are of one width.

    Raises:
        InputError: the old network has one and the new one doesn't.
    """
    if new is None and old is None:
        return incoming
    if new is None:
        raise InputError("the wider network has no projection where the old one has one", remedy="Choose another width")
    if old is None:
        old = nn.Linear(incoming.old, incoming.old, bias=new.bias is not None, device="meta").to_empty(device="cpu").to(new.weight)
        old.weight.copy_(torch.eye(incoming.old))
        if old.bias is not None:
            old.bias.zero_()
    return widen(new, old, incoming, share)


@widen.register
def _convolution(new: nn.Conv2d, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, nn.Conv2d)
    return widen_map(new, old, incoming, share, Channels.spread(old.out_channels, new.out_channels))


@widen.register(nn.BatchNorm1d)
@widen.register(nn.BatchNorm2d)
def _batch_norm(new: nn.Module, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    _check_plain(incoming)
    for name, tensor in old.state_dict().items():
        new.state_dict()[name].copy_(tensor if tensor.ndim == 0 else tensor[incoming.index])
    return incoming


@widen.register(nn.LayerNorm)
@widen.register(nn.RMSNorm)
def _norm(new: nn.Module, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    _check_plain(incoming)
    _check_even(incoming)
    for name, tensor in old.state_dict().items():
        new.state_dict()[name].copy_(tensor[incoming.index])
    return incoming


@widen.register
def _group_norm(new: nn.GroupNorm, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    """A group of the wider network must hold all channels of one old group, each equally often."""
    assert isinstance(old, nn.GroupNorm)
    _check_plain(incoming)
    size = incoming.old // old.num_groups
    for members in incoming.index.view(new.num_groups, -1):
        begin = int(members[0]) // size * size
        held = torch.bincount(members - begin, minlength=size) if members.min() >= begin else members.new_zeros(1)
        if len(held) != size or len(held.unique()) != 1:
            raise InputError(
                f"{incoming.old} channels in {old.num_groups} groups can't become {len(incoming.index)} in {new.num_groups}, as the norm of each "
                "group would change",
                remedy="Choose another width",
            )
    return _batch_norm(new, old, incoming, share)


def _check_plain(channels: Channels) -> None:
    assert channels.plain, "what enlarges channels is undone before a norm"


def _check_even(channels: Channels) -> None:
    """See that a norm over all channels stays what it is.

    Raises:
        InputError: it doesn't.
    """
    if not channels.even:
        raise InputError(
            f"{channels.old} channels can't become {len(channels.index)}: some would count more than others in the norm over all of them",
            expected="a width that is a whole multiple",
            remedy="Take a whole factor, like --width 2",
        )


@widen.register
def _feedforward(new: FeedForward, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, FeedForward)
    hidden = Channels.spread(old.output.in_features, new.output.in_features)
    widen_map(new.expand, old.expand, incoming, share, hidden.times(maps_in(old.inner)))
    return widen(new.output, old.output, hidden, share)


@widen.register
def _experts(new: Experts, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, Experts)
    widen(new.router, old.router, incoming, share)
    hidden = Channels.spread(old.output.shape[2], new.output.shape[2])
    outgoing = Channels.spread(old.output.shape[1], new.output.shape[1])
    rows = hidden.times(maps_in(old.inner))
    fill(new.expand, share(old.expand[:, rows.index], incoming, dim=2), rows.live, dim=1)
    new.output.copy_(share(old.output[:, outgoing.index], hidden, dim=2))
    return outgoing


@widen.register
def _residual_block(new: ResidualBlock, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, ResidualBlock)
    outgoing = widen(new.branch, old.branch, incoming, share)
    passed = widen(new.shortcut, old.shortcut, incoming, share)
    assert torch.equal(passed.index, outgoing.index), "what is added is repeated alike"
    return outgoing


@widen.register
def _recurrent_layer(new: RecurrentLayer, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, RecurrentLayer)
    state = Channels.spread(old.rnn.hidden_size, new.rnn.hidden_size)
    for name, parameter in old.rnn.named_parameters():
        rows = parameter[state.times(len(parameter) // state.old).index]
        read = incoming if name.startswith("weight_ih") else state
        new.rnn.get_parameter(name).copy_(share(rows, read) if parameter.ndim == 2 else rows)
    return state.times(2 if old.rnn.bidirectional else 1)


@widen.register
def _time_convolution(new: TimeConvolution, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    new.weight.copy_(old.weight[:, incoming.index])  # type: ignore[index]
    return incoming


@widen.register
def _learned_positions(new: LearnedPositions, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    new.table.copy_(old.table[:, incoming.index])  # type: ignore[index]
    return incoming


@widen.register
def _sinusoidal_positions(new: SinusoidalPositions, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, SinusoidalPositions)
    if new.table.shape != old.table.shape:
        raise InputError(
            "sinusoidal positions are other numbers in a wider network",
            expected="positions: rotary, learned, alibi or none",
            remedy="Grow the depth alone",
        )
    return incoming


@widen.register
def _pool(new: Pool, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, Pool)
    if old.how != "flatten" or old.kind == "vector":
        return incoming
    return incoming.positions(old.gives.width // incoming.old, last=old.kind == "grid")


@widen.register
def _head(new: Head, old: nn.Module, incoming: Channels, share: Sharing) -> Channels:
    assert isinstance(old, Head)
    return widen(new.linear, old.linear, widen(new.pool, old.pool, incoming, share), share)
