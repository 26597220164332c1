"""Counts: parameters by role and FLOPs of one example, exact and without allocating anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Count:
    """What a network is made of.

    Attributes:
        parameters: number of trainable parameters by role (`stem`, `backbone`, `head`).
        flops: floating-point operations of the forward pass of one example (of a text: of one window, attention and head included); a
            multiply and an add are two. Attention counts as if it were full, in a causal network too (Chowdhery et al. 2022, appendix B);
            with a window as what is computed, which is done in chunks of queries and somewhat more than the window.
        tokens: of one example that is a text; 1 for other inputs.
    """

    parameters: dict[str, int]
    flops: int
    tokens: int = 1

    @property
    def total_parameters(self) -> int:
        """All parameters together."""
        return sum(self.parameters.values())

    @property
    def training_flops(self) -> int:
        """Forward and backward of one example: three times the forward (Kaplan et al. 2020, section 2.1)."""
        return 3 * self.flops

    @property
    def flops_per_token(self) -> float:
        """Of the forward pass, on average over the window."""
        return self.flops / self.tokens

    @property
    def training_flops_per_token(self) -> float:
        """Forward and backward, on average over the window."""
        return self.training_flops / self.tokens


def outputs_bytes(network: nn.Module, inputs: dict[str, Tensor]) -> int:
    """Bytes of what all innermost modules give for a batch, on the meta device: about what the backward pass needs of the forward pass."""
    seen = 0

    def add(module: nn.Module, args: object, output: object) -> None:
        nonlocal seen
        seen += sum(tensor.numel() * tensor.element_size() for tensor in tree_iter(output) if isinstance(tensor, Tensor))

    hooks = [module.register_forward_hook(add) for module in network.modules() if not list(module.children())]
    with torch.no_grad(), _MomentsAtOnce():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return seen


def count(network: nn.Module, inputs: dict[str, Tensor]) -> Count:
    """Count a network that lies on the meta device.

    Args:
        network: with the children `stem`, `backbone` and `head`.
        inputs: a batch of two or more examples on the meta device.
    """
    parameters = {role: sum(p.numel() for p in part.parameters()) for role, part in network.named_children()}
    first = next(iter(inputs.values()))
    # Elsewhere whole layers (recurrent ones, attention) are one kernel, which the counter doesn't know; here they are products of matrices.
    assert first.is_meta, "only on the meta device everything is counted"
    size = len(first)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, _MomentsAtOnce():
        network(inputs)
    return Count(parameters, round(counter.get_total_flops() / size), inputs["tokens"].shape[1] if "tokens" in inputs else 1)


class _MomentsAtOnce(TorchFunctionMode):
    """Recurrent layers as one product a weight over all moments: as many operations as moment by moment, which takes seconds for long sequences."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Third come the weights, or of a packed sequence, which is left alone, the state.
        if func not in (torch.lstm, torch.gru, torch.rnn_tanh) or not isinstance(args[2], list):
            return func(*args, **(kwargs or {}))
        x, before, weights = args[:3]
        for weight in weights:
            if weight.dim() == 2:
                _ = x.new_empty(*x.shape[:-1], weight.shape[1]) @ weight.T
        after = before if isinstance(before, tuple | list) else (before,)
        bidirectional = args[7]
        return (x.new_empty(*x.shape[:-1], (2 if bidirectional else 1) * after[0].shape[-1]), *after)
