"""Recurrent layers in a graph: each one operation, for any length, rather than a loop that is unrolled while it is traced.

PyTorch takes its recurrent operations apart when it exports, step by step, which fixes the length. Here they are traced as an operation of our own,
which nothing takes apart, and then replaced: in a PyTorch program by PyTorch's operations, in an ONNX graph by ONNX's.

B batch, T time, D width of the input, H width of a direction's state, S directions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modelwright.nn.recurrent import Cell, RecurrentLayer

_ATEN = {"rnn": torch.ops.aten.rnn_tanh.input, "gru": torch.ops.aten.gru.input, "lstm": torch.ops.aten.lstm.input}

_ONNX_GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
"""Where PyTorch keeps ONNX's gates: z, r, h among r, z, n; and i, o, f, c among i, f, g, o."""


@torch.library.custom_op("modelwright_export::recurrence", mutates_args=())
def _recurrence(x_BTD: Tensor, state_SBH: Tensor, weights: list[Tensor], cell: str, bidirectional: bool) -> tuple[Tensor, Tensor]:
    """A layer from `state_SBH`, of an LSTM taken twice -> outputs (B, T, S*H) and the final states (S, B, H)."""
    return _ATEN[cell](*_arguments(x_BTD, state_SBH, weights, cell, bidirectional))[:2]


def _arguments(x: Any, state: Any, weights: Any, cell: str, bidirectional: bool) -> tuple[Any, ...]:
    """Those of PyTorch's operation: of one layer with biases, in evaluation, the batch first."""
    return x, [state, state] if cell == "lstm" else state, weights, True, 1, 0.0, False, bidirectional, True


@_recurrence.register_fake
def _(x_BTD: Tensor, state_SBH: Tensor, weights: list[Tensor], cell: str, bidirectional: bool) -> tuple[Tensor, Tensor]:
    out = x_BTD.new_empty(x_BTD.shape[0], x_BTD.shape[1], state_SBH.shape[0] * state_SBH.shape[2])
    return out, torch.empty_like(state_SBH)


class TracedRecurrence(nn.Module):
    """In the place of one of PyTorch's recurrent layers of one layer with biases: the same, as one operation.

    Args:
        rnn: the layer.
    """

    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        assert rnn.num_layers == 1, rnn
        assert rnn.bias, rnn
        self.bidirectional, self.hidden_size = rnn.bidirectional, rnn.hidden_size
        self.cell: Cell = "lstm" if isinstance(rnn, nn.LSTM) else "gru" if isinstance(rnn, nn.GRU) else "rnn"
        self.weights = nn.ParameterList(dict(rnn.named_parameters()).values())

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> outputs (B, T, S*H) and final states (S, B, H)."""
        state_SBH = x_BTD.new_zeros(2 if self.bidirectional else 1, x_BTD.shape[0], self.hidden_size)
        return _recurrence(x_BTD, state_SBH, list(self.weights), self.cell, self.bidirectional)


def traceable(module: nn.Module) -> nn.Module:
    """A copy of `module` whose recurrent layers can be traced for any length; the tensors are shared."""
    copied = copy.deepcopy(module, {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())})
    for layer in copied.modules():
        if isinstance(layer, RecurrentLayer):
            layer.rnn = TracedRecurrence(layer.rnn)  # type: ignore[assignment]
    return copied


def restore(graph: torch.fx.Graph) -> None:
    """Put PyTorch's recurrent operations into a traced graph, so that it runs without this package."""
    for node in graph.nodes:
        if node.target is torch.ops.modelwright_export.recurrence.default:
            cell = node.args[3]
            node.target, node.args = _ATEN[cell], _arguments(*node.args)
            if cell == "lstm":
                node.meta["val"] = (*node.meta["val"], node.meta["val"][1])


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """How the exporter writes a traced recurrence: as ONNX's operators RNN, GRU and LSTM."""
    from onnxscript import opset18

    op: Any = opset18

    def gates(weight: Any, cell: str, hidden: int) -> Any:
        """The rows of a weight in ONNX's order of gates."""
        rows = [gate * hidden + row for gate in _ONNX_GATES[cell] for row in range(hidden)]
        return op.Gather(weight, op.Constant(value_ints=rows), axis=0)

    def recurrence(x: Any, state: Any, weights: Any, cell: str, bidirectional: bool) -> Any:
        hidden = weights[1].shape[1]
        each = [[gates(weight, cell, hidden) for weight in weights[start : start + 4]] for start in range(0, len(weights), 4)]
        first = op.Constant(value_ints=[0])
        w, r = (op.Concat(*(op.Unsqueeze(part[place], first) for part in each), axis=0) for place in (0, 1))
        b = op.Concat(*(op.Unsqueeze(op.Concat(part[2], part[3], axis=0), first) for part in each), axis=0)
        how: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if bidirectional else "forward"}
        time_first = op.Transpose(x, perm=[1, 0, 2])
        if cell == "lstm":
            out, final, _ = op.LSTM(time_first, w, r, b, **how)
        elif cell == "gru":
            out, final = op.GRU(time_first, w, r, b, linear_before_reset=1, **how)
        else:
            out, final = op.RNN(time_first, w, r, b, **how)
        # (T, S, B, H) -> (B, T, S*H)
        return op.Reshape(op.Transpose(out, perm=[2, 0, 1, 3]), op.Constant(value_ints=[0, 0, -1])), final

    return {torch.ops.modelwright_export.recurrence.default: recurrence}
