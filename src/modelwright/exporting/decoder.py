"""The decoder: our causal Transformer taken apart into the pieces that the layouts of other libraries are made of.

V vocabulary, T context, D width, H heads, H' heads of keys and values, K width of a head, I width inside, E experts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from modelwright.core.errors import InputError
from modelwright.exporting.subject import Subject
from modelwright.models.network import Network
from modelwright.models.transformer import Transformer, TransformerConfig

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Decoder:
    """A causal Transformer on the tokens of a text.

    Attributes:
        network: the whole of it.
        config: its settings, with what depends on the data decided.
        context: T.
    """

    network: Network
    config: TransformerConfig
    context: int

    @classmethod
    def of(cls, subject: Subject) -> Decoder:
        """The decoder of a model.

        Raises:
            InputError: it is none.
        """
        settled, head = subject.settled, subject.network.head
        others = "torch, onnx and safetensors hold every family"
        if not subject.schema.causal:
            found = f"the model predicts {subject.schema.target.name}, and transformers' folders are written for models that continue texts"
            raise InputError(found, remedy=f"Choose another --to: {others}")
        if not isinstance(settled, TransformerConfig):
            found = f"transformers has no layout for the family {subject.family.family}"
            raise InputError(found, expected="the family transformer", remedy=f"Choose another --to: {others}")
        for name, value in (("softcap", head.softcap), ("bias", head.bias)):
            if value is not None:
                raise InputError(f"no layout of transformers holds the setting head.{name}", remedy=f"Choose another --to: {others}")
        return cls(subject.network, settled, subject.schema.text.shape[0])

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.network.outputs

    @property
    def hidden(self) -> int:
        """I of a feed-forward layer, or of an expert."""
        ratio = self.config.expert_ratio if self.config.experts and self.config.expert_ratio else self.config.feedforward_ratio
        return round(self.config.width * ratio)

    @property
    def window(self) -> int | None:
        """Positions that one looks back at, if these are fewer than the context."""
        window = self.config.window
        return None if window is None or window >= self.context else window

    @property
    def traits(self) -> dict[str, Any]:
        """The settings that layouts differ in, by name."""
        config = self.config
        return {
            "positions": config.positions,
            "norm": config.norm,
            "activation": config.activation,
            "qk_norm": bool(config.qk_norm),
            "bias": config.bias,
            "window": self.window is not None,
            "experts": config.experts > 0,
        }

    @cached_property
    def state(self) -> Weights:
        """All tensors, by their names in the network."""
        return self.network.state_dict()

    @property
    def tied(self) -> bool:
        """Whether one table both looks tokens up and scores them, as it is."""
        backbone, head = self._backbone, self.network.head
        return bool(head.tied and backbone.scale == head.scale == 1 and backbone.project is None and head.projection is None)

    @cached_property
    def enters(self) -> Tensor:
        """(V, D): with what each token enters the blocks, a factor and a projection included."""
        backbone = self._backbone
        table = self.state["stem.table"] * backbone.scale
        return table if backbone.project is None else backbone.project(table).detach()

    @cached_property
    def leaves(self) -> Tensor:
        """(V, D): what the last state is multiplied with to score each token, a factor and a projection included."""
        table, projection = self.network.output_weight().detach() * float(self.network.head.scale), self.network.head.projection  # type: ignore[arg-type]
        return table if projection is None else table @ projection.weight.detach()  # type: ignore[union-attr, operator]

    @property
    def position_table(self) -> Tensor:
        """(T, D): what is added at each position; zeros if nothing is."""
        table = getattr(self._backbone.positions, "table", None)
        return torch.zeros(self.context, self.config.width) if table is None else table.detach()[: self.context]

    @property
    def _backbone(self) -> Transformer:
        backbone = self.network.backbone
        assert isinstance(backbone, Transformer), backbone
        return backbone

    def tensor(self, block: int | None, name: str) -> Weights:
        """`weight` of a part of a block, or of the backbone; and its `bias`, zeros if it has none."""
        prefix = f"backbone.{name}" if block is None else f"backbone.blocks.{block}.{name}"
        weight = self.state[f"{prefix}.weight"]
        bias = self.state.get(f"{prefix}.bias")
        return {"weight": weight, "bias": weight.new_zeros(len(weight)) if bias is None else bias}

    def heads(self, block: int) -> tuple[Weights, Weights, Weights]:
        """Weights ((H or H') * K, D) and biases of queries, keys and values."""
        width, head = self.config.width, self.config.width // self.config.num_heads
        shared = (self.config.num_kv_heads or self.config.num_heads) * head
        parts = {name: tensor.split([width, shared, shared]) for name, tensor in self.tensor(block, "attention.project").items()}
        query, key, value = ({name: split[place] for name, split in parts.items()} for place in range(3))
        return query, key, value

    def equal_heads(self, block: int) -> tuple[Weights, Weights, Weights]:
        """The same with H heads of each: those of keys and values that are shared, repeated."""
        query, *others = self.heads(block)
        head, groups = (
            self.config.width // self.config.num_heads,
            self.config.num_heads // (self.config.num_kv_heads or self.config.num_heads),
        )
        key, value = (
            {name: tensor.unflatten(0, (-1, head)).repeat_interleave(groups, dim=0).flatten(0, 1) for name, tensor in part.items()}
            for part in others
        )
        return query, key, value


def named(prefix: str, part: Weights, *, bias: bool = True) -> Weights:
    """A part's tensors under the names of another library."""
    return {f"{prefix}.{name}": tensor for name, tensor in part.items() if bias or name == "weight"}
