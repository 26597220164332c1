"""What PyTorch doesn't tell of its CPU kernels: FLOPs, and the memory that they keep to themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

_RECURRENT_SCRATCH = {4: 16, 2: 5}
"""Bytes a state that oneDNN's LSTM takes beside in its backward pass, by the bytes of a number; as measured."""


def recurrent_workspace(x_TBI: Tensor, weight_state: Tensor) -> tuple[int, int, int]:
    """Bytes that oneDNN's LSTM layer keeps for its backward pass: gates, states, and gradients of states in float32, rows padded to 64 bytes.

    Args:
        x_TBI: what goes in, time first.
        weight_state: (4 H, H), from state to gates.

    Returns:
        All of them; those that the forward pass writes to: gates and cells, in bfloat16 a copy of what goes in; those that are written to in
        the backward pass: gradients of states too, with the kernel's own memory for gradients of gates.
    """
    time, batch, inputs = x_TBI.shape
    width, item = weight_state.shape[1], x_TBI.element_size()

    def padded(values: int, item: int) -> int:
        step = 64 // item
        rounded = -(-values // step) * step
        return item * (rounded + step if rounded % 256 == 0 else rounded)

    largest = max(inputs, width)
    each = padded(4 * width, item) + padded(width, item)
    states = 2 * padded(largest, item) + 4 * padded(largest, 4) + (2 * item + 8) * width
    forward = time * (padded(4 * width, item) + item * width + (item * inputs if item == 2 else 0))
    backward = (time + 1) * 4 * padded(largest, 4) + time * _RECURRENT_SCRATCH[item] * width
    return batch * (time * each + (time + 1) * states), batch * forward, batch * (forward + backward)


def _recurrent_flops(x: Tensor, weight_input: Tensor, weight_state: Tensor, *_: Any) -> int:
    """Of oneDNN's layer: two products of matrices at every moment."""
    moments = x.shape[0] * x.shape[1]
    return 2 * moments * (weight_input.numel() + weight_state.numel())


def _recurrent_backward_flops(*args: Any) -> int:
    return 2 * _recurrent_flops(*args)


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """Two products for each query, whether order leaves half of them out or not."""
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward_flops(grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any) -> int:
    """Five products: the scores once more, and the gradients of values, weights, queries and keys."""
    return sdpa_backward_flop_count(grad.shape, query.shape, key.shape, value.shape)


FLOPS: dict[str, Callable[..., int]] = {
    "mkldnn_rnn_layer": _recurrent_flops,
    "mkldnn_rnn_layer_backward": _recurrent_backward_flops,
    "_scaled_dot_product_flash_attention_for_cpu": _attention_flops,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward_flops,
}
"""Of kernels that PyTorch's registry of formulas doesn't know, by name."""
