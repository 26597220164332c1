"""One shared check for every family, on every stem that makes what it consumes, on every kind of data that the stem reads.

A new family needs a row in `SMALL` if its defaults are too big for a quick test, and is found by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modelwright.core.batch import Features, FeatureSpec
from modelwright.core.schema import Feature, Schema
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import Network, build_network, meta_network
from modelwright.nn.stem import StemConfig, stems

SMALL: dict[str, dict[str, Any]] = {
    "cnn": {"channels": (8, 8, 16)},
    "gru": {"width": 8},
    "hybrid": {"width": 16, "depth": 3},
    "linear": {},
    "lstm": {"width": 8},
    "mlp": {"width": 16},
    "rnn": {"width": 8},
    "transformer": {"width": 16, "depth": 2, "num_heads": 2},
}
OUTPUTS, BATCH = 3, 5


def image(channels: int, height: int, width: int) -> Schema:
    """The schema of an image with three classes."""
    pixels = Feature(name="image", type="image", shape=(channels, height, width), mean=(0.5,) * channels, scale=(0.3,) * channels)
    return Schema(inputs=(pixels,), target=_target())


def number(name: str, *, edges: tuple[float, ...] = (), has_missing: bool = False) -> Feature:
    """A number column."""
    return Feature(name=name, type="number", mean=(0.0,), scale=(1.0,), edges=edges, has_missing=has_missing)


def category(name: str, values: int) -> Feature:
    """A category column."""
    return Feature(name=name, type="category", values=tuple(map(str, range(values))))


def table(*columns: Feature) -> Schema:
    """The schema of a table with three classes."""
    return Schema(inputs=columns, target=_target())


def text(vocabulary: int, context: int, target: Feature | None = None) -> Schema:
    """The schema of a text, with a target for the whole of it, or with the next token at every position."""
    tokens = Feature(name="text", type="text", shape=(context,), vocabulary=vocabulary)
    return Schema(inputs=(tokens,), target=target or tokens.replace(name="next token"))


def _target() -> Feature:
    return Feature(name="target", type="category", values=("a", "b", "c"))


SCHEMAS: dict[str, Schema] = {
    "grey": image(1, 8, 8),
    "color": image(3, 10, 12),
    "mixed": table(
        number("age", edges=(-1.5, -0.5, 0.0, 1.5), has_missing=True),
        number("gain", edges=(-1.0, 2.0)),
        number("flat"),
        category("job", 4),
        category("sex", 2),
    ),
    "numbers": table(number("a", edges=(-1.0, 0.0, 1.0)), number("b")),
    "categories": table(category("a", 3), category("b", 9)),
    "words": text(11, 6, _target()),
    "text": text(11, 12),
}


def inputs(schema: Schema, size: int = BATCH) -> dict[str, Tensor]:
    """Random inputs of `size` examples."""
    random = torch.Generator().manual_seed(size)
    if schema.kind == "image":
        return {"image": torch.randn(size, *schema.image.shape, generator=random)}
    if schema.kind == "text":
        return {"tokens": torch.randint(schema.text.vocabulary, (size, *schema.text.shape), generator=random)}
    numbers = len(schema.numbers)
    limits = torch.tensor([len(feature.values) + 1 for feature in schema.categories])
    return {
        "numbers": torch.randn(size, numbers, generator=random),
        "missing": (torch.rand(size, numbers, generator=random) < 0.3).float(),
        "categories": (torch.rand(size, len(limits), generator=random) * limits).long(),
    }


class Case(NamedTuple):
    """A family on a stem on data."""

    family: FamilyConfig
    stem: StemConfig
    schema: Schema

    @property
    def outputs(self) -> int:
        """Numbers for an example, or for a position."""
        return self.schema.target.vocabulary if self.schema.causal else OUTPUTS

    def network(self, seed: int = 0) -> Network:
        """The case's network."""
        return build_network(self.schema, self.family, self.outputs, stem=self.stem, seed=seed)

    def inputs(self) -> dict[str, Tensor]:
        """Random inputs for it."""
        return inputs(self.schema)


def small(name: str) -> FamilyConfig:
    """The family called `name`, small."""
    return families[name].model_validate(SMALL.get(name, {}))


def cases() -> Iterator[tuple[str, Case]]:
    """Every family on every stem whose features it consumes, on every schema that the stem reads."""
    for name, family in families.items():
        for stem_name, stem in stems.items():
            for schema_name, schema in SCHEMAS.items():
                if stem.kind in family.consumes and stem.reads == schema.kind:
                    yield f"{name}-{stem_name}-{schema_name}", Case(small(name), stem.model_validate({}), schema)


def check_learns(case: Case) -> None:
    """Outputs have the right shape, the loss is finite, and it depends on every parameter."""
    network = case.network().train()
    output = network(case.inputs())
    assert output.shape == ((BATCH, *case.schema.text.shape, case.outputs) if case.schema.causal else (BATCH, OUTPUTS))
    output = output.flatten(0, -2)
    loss = torch.nn.functional.cross_entropy(output, torch.arange(len(output)) % case.outputs)
    assert loss.isfinite()
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def check_seeded(case: Case) -> None:
    """A seed decides every weight, and another one gives others."""
    torch.manual_seed(1)
    first = case.network(7).state_dict()
    torch.manual_seed(2)
    again, other = case.network(7).state_dict(), case.network(8).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    random = [name for name in first if first[name].is_floating_point() and first[name].std(correction=0) > 0]
    assert random
    assert all(not torch.equal(first[name], other[name]) for name in random if "bias" not in name)


@torch.no_grad()
def check_batch_independent(case: Case) -> None:
    """In evaluation an example's output doesn't depend on who else is in the batch."""
    network = case.network().eval()
    all_inputs = case.inputs()
    together = network(all_inputs)
    for row in range(BATCH):
        alone = network({name: tensor[row : row + 1] for name, tensor in all_inputs.items()})
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def check_restored(case: Case) -> None:
    """The state dictionary holds all that was learnt, and nothing that the configuration says already."""
    network, other = case.network(0).eval(), case.network(1).eval()
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(case.inputs()), network(case.inputs()), atol=0, rtol=0)


@torch.no_grad()
def check_bfloat16(case: Case) -> None:
    """Under bfloat16 autocast outputs are those of float32 within its eight bits, accumulated over the layers."""
    network = case.network().eval()
    exact = network(case.inputs())
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(case.inputs()).float()
    assert rough.isfinite().all()
    torch.testing.assert_close(rough, exact, atol=0.05 * max(1.0, exact.abs().max().item()), rtol=0.05)


def check_dials(case: Case) -> None:
    """More width or depth never means fewer parameters, and twice of it means more."""
    if case.family.family == "linear":
        assert case.family.scaled(width=2, depth=3) == case.family
        return
    for dial in ("width", "depth"):
        sizes = [_size(case, case.family.scaled(**{dial: factor})) for factor in (0.5, 0.8, 1, 1.3, 2, 4)]
        assert sizes == sorted(sizes), (dial, sizes)
        assert sizes[2] < sizes[4] < sizes[5], (dial, sizes)
    assert case.family.scaled() == case.family


def _size(case: Case, family: FamilyConfig) -> int:
    network = meta_network(case.schema, family, case.outputs, stem=case.stem)
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def check_mask(family: FamilyConfig) -> None:
    """What lies in the padding of a sequence changes nothing, and neither does its length."""
    width, time, lengths = 6, 7, (7, 4, 1, 5)
    spec = FeatureSpec("sequence", width, (time,))
    backbone = _filled(family.build(spec)).eval()
    mask = torch.arange(time) < torch.tensor(lengths)[:, None]
    x = torch.randn(len(lengths), time, width, generator=torch.Generator().manual_seed(0))
    first = backbone(Features(x, mask))
    noisy = backbone(Features(torch.where(mask[:, :, None], x, 1e3), mask))
    assert torch.equal(_real(first, mask), _real(noisy, mask))
    for row, length in enumerate(lengths):
        alone = backbone(Features(x[row : row + 1, :length])).x[0]
        shared = first.x[row] if alone.ndim == 1 else first.x[row, -time:][:length]
        torch.testing.assert_close(shared, alone if alone.ndim == 1 else alone[-length:], atol=1e-5, rtol=1e-4)


def _filled(backbone: torch.nn.Module) -> torch.nn.Module:
    from modelwright.nn.initialization import init_weights

    init_weights(backbone, 0)
    return backbone


def _real(features: Features, mask: Tensor) -> Tensor:
    return features.x[features.mask] if features.mask is not None else features.x


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (check_learns, check_seeded, check_batch_independent, check_restored, check_bfloat16, check_dials)
}
