"""Recurrent layers: stacked and bidirectional RNN, GRU and LSTM over sequences of uneven lengths, packed documents, and on from a cache.

B batch, T time, D width of a layer's output: twice the width of a direction if there are two.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils._pytree import tree_map

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.device import CPU_KNOWS_BFLOAT16, device_kind
from modelwright.nn.cache import Cache, State, state_dtype
from modelwright.nn.dropout import Dropout, LockedDropout, drop
from modelwright.nn.pooling import last_in_time, lengths, max_over_time, mean_over_time

Cell = Literal["rnn", "gru", "lstm"]
RecurrentPooling = Literal["last", "mean", "max", "none"]

_LAYERS: dict[Cell, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentLayer(nn.Module):
    """One recurrent layer.

    Args:
        cell: `rnn` (tanh), `gru` or `lstm`.
        width_in: of the sequence that comes in.
        width: of each direction's state.
        bidirectional: a second direction reads from the end.
        weight_dropout: probability in training that a recurrent weight is dropped (DropConnect; Merity et al. 2018, section 2).
    """

    def __init__(self, cell: Cell, width_in: int, width: int, *, bidirectional: bool = False, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.rnn = _LAYERS[cell](width_in, width, batch_first=True, bidirectional=bidirectional)
        self.weight_dropout = weight_dropout

    def new_state(self, rows: int) -> State:
        """The state (rows, D) before the first token; an LSTM has two."""
        _, device = state_dtype(self)
        return tuple(torch.zeros(rows, self.rnn.hidden_size, device=device) for _ in range(2 if isinstance(self.rnn, nn.LSTM) else 1))

    def forward(
        self, x_BTD: Tensor, mask_BT: Tensor | None = None, documents_BT: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sequence (B, T, D') -> all outputs (B, T, D), and the last one of each direction (B, D).

        Args:
            x_BTD: the sequence.
            mask_BT: True where a position is real; these come first.
            documents_BT: each document starts from an empty state.
            state: goes on from there, and is written there; with neither mask nor documents.
        """
        if documents_BT is not None:
            assert state is None, "documents are packed in training, and a cache reads one"
            assert not self.rnn.bidirectional, "documents are read in one direction"
            out_BTD = self._read_documents(x_BTD, documents_BT)
            return out_BTD, last_in_time(out_BTD, mask_BT)
        if mask_BT is None:
            out_BTD, final = self._run(x_BTD, state, self._recurrent_weights())
        elif not self.rnn.bidirectional:
            # What follows the last real position can't reach it, so nothing needs to be packed, which is slow.
            out_BTD, _ = self._run(x_BTD, None, self._recurrent_weights())
            return out_BTD, last_in_time(out_BTD, mask_BT)
        else:
            packed = pack_padded_sequence(x_BTD, lengths(mask_BT).cpu(), batch_first=True, enforce_sorted=False)
            packed, final = self._run(packed, None, self._recurrent_weights())
            out_BTD, _ = pad_packed_sequence(packed, batch_first=True, total_length=x_BTD.shape[1])
        final_states = final if isinstance(final, tuple) else (final,)
        if state is not None:
            for kept, new in zip(state, final_states, strict=True):
                kept.copy_(new[0])
        return out_BTD, torch.cat(tuple(final_states[0]), dim=-1)

    def _recurrent_weights(self) -> dict[str, Tensor] | None:
        """The recurrent weights with some dropped, in training; else None."""
        if not (self.training and self.weight_dropout):
            return None
        weights = {name: weight for name, weight in self.rnn.named_parameters() if name.startswith("weight_hh")}
        return {name: drop(weight, self.weight_dropout) for name, weight in weights.items()}

    def _run(self, x: Any, state: State | None, dropped: dict[str, Tensor] | None) -> tuple[Any, Any]:
        """PyTorch's layer, with other recurrent weights if there are."""
        arguments: tuple[Any, ...] = (x,)
        if state is not None:
            parts = [part[None].to(x.dtype) for part in state]
            arguments = (x, tuple(parts) if len(parts) > 1 else parts[0])
        if isinstance(self.rnn, nn.LSTM) and not CPU_KNOWS_BFLOAT16 and _in_bfloat16_on_cpu(x):
            return self._run_in_float32(arguments, dropped or {})
        if dropped is None:
            return self.rnn(*arguments)
        return torch.func.functional_call(self.rnn, dropped, arguments)

    def _run_in_float32(self, arguments: tuple[Any, ...], dropped: dict[str, Tensor]) -> tuple[Any, Any]:
        """The same in float32, and the outputs in bfloat16 again: this CPU has no LSTM in bfloat16."""
        weights = {name: weight.float() for name, weight in {**dict(self.rnn.named_parameters()), **dropped}.items()}
        with torch.autocast("cpu", enabled=False):
            outputs = torch.func.functional_call(self.rnn, weights, _cast(arguments, torch.float32))
        return _cast(outputs, torch.bfloat16)

    def _read_documents(self, x_BTD: Tensor, documents_BT: Tensor) -> Tensor:
        """Each document as a row of its own, and back."""
        first_BT = torch.ones_like(documents_BT, dtype=torch.bool)
        first_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
        first_N = first_BT.flatten()
        starts = first_N.nonzero()[:, 0]
        document_N = first_N.cumsum(0) - 1
        place_N = torch.arange(len(first_N), device=first_N.device) - starts[document_N]
        lengths_R = document_N.bincount()
        # A document is padded to the next power of two at most: one long one among many short ones would multiply all of them.
        class_R = lengths_R.float().log2().ceil().long()
        class_N = class_R[document_N]
        x_ND, out_ND = x_BTD.flatten(0, 1), None
        dropped = self._recurrent_weights()
        for number in class_R.unique().tolist():
            rows = (class_R == number).cumsum(0) - 1
            chosen = (class_N == number).nonzero()[:, 0]
            row, place = rows[document_N[chosen]], place_N[chosen]
            alone = x_ND.new_zeros(int(row[-1]) + 1, int(place.max()) + 1, x_ND.shape[1])
            read, _ = self._run(alone.index_put((row, place), x_ND[chosen]), None, dropped)
            if out_ND is None:
                out_ND = read.new_zeros(len(x_ND), read.shape[2])
            out_ND = out_ND.index_put((chosen,), read[row, place])
        assert out_ND is not None, "there is a document"
        return out_ND.unflatten(0, documents_BT.shape)


def _in_bfloat16_on_cpu(x: Tensor | PackedSequence) -> bool:
    data = x.data if isinstance(x, PackedSequence) else x
    if device_kind(data) != "cpu":
        return False
    return torch.bfloat16 == (torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else data.dtype)


def _cast(parts: Any, dtype: torch.dtype) -> Any:
    return tree_map(lambda part: part.to(dtype), parts, is_leaf=lambda part: isinstance(part, PackedSequence))


class Recurrent(nn.Module):
    """A stack of recurrent layers, as a backbone.

    Args:
        cell: `rnn` (tanh), `gru` or `lstm`.
        spec: the sequence that comes in.
        width: of each direction's state.
        depth: number of layers.
        bidirectional: a second direction of each layer reads from the end.
        dropout: probability in training, between layers.
        input_dropout: the same, of what comes in.
        output_dropout: the same, of what goes out.
        weight_dropout: probability in training that a recurrent weight is dropped.
        locked: a dropped channel is dropped at every moment.
        shortcuts_from: layer, counted from 0, from which on a layer adds to what it reads, in place of replacing it; None for none.
        pool: `last` gives the last layer's final state of each direction, `mean` and `max` go over time, `none` gives the sequence.
    """

    def __init__(
        self,
        cell: Cell,
        spec: FeatureSpec,
        width: int,
        depth: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        input_dropout: float = 0.0,
        output_dropout: float = 0.0,
        weight_dropout: float = 0.0,
        locked: bool = False,
        shortcuts_from: int | None = None,
        pool: RecurrentPooling = "last",
    ) -> None:
        super().__init__()
        assert spec.kind == "sequence", spec
        assert shortcuts_from is None or shortcuts_from > 0, "what comes in may be of another width"
        width_out = width * (2 if bidirectional else 1)
        self.layers = nn.ModuleList(
            RecurrentLayer(cell, width_out if number else spec.width, width, bidirectional=bidirectional, weight_dropout=weight_dropout)
            for number in range(depth)
        )
        kind = LockedDropout if locked else Dropout
        self.input_dropout, self.dropout = kind(input_dropout), kind(dropout)
        self.output_dropout = kind(output_dropout) if pool == "none" else Dropout(output_dropout)
        self.bidirectional, self.pool, self.shortcuts_from = bidirectional, pool, shortcuts_from
        self.gives = FeatureSpec("sequence", width_out, spec.size) if pool == "none" else FeatureSpec("vector", width_out)

    def new_cache(self, rows: int, capacity: int) -> Cache:
        """An empty cache for `rows` sequences; a state is as big after a token as after many."""
        return Cache(rows, capacity, [layer.new_state(rows) for layer in self.layers])  # type: ignore[operator]

    def forward(self, features: Features, cache: Cache | None = None) -> Features:
        """A sequence (B, T, D'), whose real positions come first -> a vector (B, D), or a sequence (B, T, D) if nothing is pooled."""
        x_BTD, mask_BT, documents_BT = features
        states = [None] * len(self.layers) if cache is None else cache.layers
        x_BTD, last_BD = self.input_dropout(x_BTD), x_BTD[:, -1]
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            out_BTD, final_BD = layer(self.dropout(x_BTD) if number else x_BTD, mask_BT, documents_BT, state)
            shortcut = self.shortcuts_from is not None and number >= self.shortcuts_from
            x_BTD, last_BD = (x_BTD + out_BTD, last_BD + final_BD) if shortcut else (out_BTD, final_BD)
        if cache is not None:
            cache.advance(x_BTD.shape[1])
        if self.pool == "none":
            return Features(self.output_dropout(x_BTD), mask_BT, documents_BT)
        if self.pool == "last":
            return Features(self.output_dropout(last_BD))
        return Features(self.output_dropout((mean_over_time if self.pool == "mean" else max_over_time)(x_BTD, mask_BT)))
