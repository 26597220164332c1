"""Small models to export, examples to compare them on, and the cells of families, targets and data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from harness.families import OUTPUTS, SCHEMAS, inputs, small

from modelwright.core.batch import Batch
from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.data.text import text_schema
from modelwright.data.tokenizers.characters import CharactersConfig
from modelwright.exporting.subject import Subject
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import build_network, choose_stem
from modelwright.nn.head import HeadConfig
from modelwright.tasks.task import choose_task

CONTEXT = 12


@cache
def schemas() -> dict[str, Schema]:
    """An image, a table with everything, a table with a number to predict, and a text."""
    number = Feature(name="price", type="number", mean=(1e5,), scale=(2e4,))
    tokenizer = CharactersConfig().train(["abcdefghij klm\n"])
    return {
        "image": SCHEMAS["grey"],
        "table": SCHEMAS["mixed"],
        "number": Schema(inputs=SCHEMAS["numbers"].inputs, target=number),
        "text": text_schema(tokenizer, CONTEXT),
    }


def subject(family: str | FamilyConfig, data: str | Schema, *, head: HeadConfig | None = None) -> Subject:
    """A small model of a family, or one of given settings, for a schema or one of those above.

    Raises:
        InputError: the family can't read such data.
    """
    schema = schemas()[data] if isinstance(data, str) else data
    settings = small(family) if isinstance(family, str) else family
    learns, stem = choose_task(schema), choose_stem(schema, settings)
    task, head = learns.build(schema), head or HeadConfig()
    network = build_network(schema, settings, task.outputs, stem=stem, head=head).eval()
    return Subject(f"{settings.family} on {schema.kind}", schema, stem, settings, head, learns, task, network)


class Some:
    """A split of `size` made-up examples."""

    def __init__(self, schema: Schema, size: int = 9) -> None:
        self.schema, self.size = schema, size

    def __len__(self) -> int:
        return self.size

    def sample(self, size: int) -> Some:
        """Fewer of them."""
        return Some(self.schema, min(size, self.size))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All at once."""
        made = inputs(self.schema, self.size)
        if self.schema.kind == "image":
            pixels = torch.randint(256, made["image"].shape, generator=torch.Generator().manual_seed(0))
            made["image"] = (pixels / 255 - 0.5) / 0.3
        if "missing" in made:
            flagged = torch.tensor([feature.has_missing for feature in self.schema.numbers])
            made["missing"] = made["missing"] * flagged
            made["numbers"] = made["numbers"].masked_fill(made["missing"] > 0, 0)
        yield Batch(made, self._targets(made))

    def _targets(self, made: dict[str, Any]) -> torch.Tensor:
        if self.schema.causal:
            return made["tokens"].roll(-1, 1)
        return torch.linspace(-1, 1, self.size) if not self.schema.classes else torch.arange(self.size) % OUTPUTS


def cells() -> Iterator[tuple[str, str, Subject | str]]:
    """Every family on every kind of data: the model, or why there is none."""
    for family in families:
        for data in schemas():
            try:
                yield family, data, subject(family, data)
            except InputError as error:
                yield family, data, str(error)
