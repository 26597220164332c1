"""Tracing: the step of a recipe, run on tensors without values, whole or told by two networks of fewer blocks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from modelwright.core.device import standing_for
from modelwright.core.garbage import uncollected
from modelwright.core.schema import Schema
from modelwright.data.shape import made_up_batch
from modelwright.models.network import assemble, choose_stem, meta_network
from modelwright.planning.count import Count, count, outputs_bytes
from modelwright.planning.trace import Blocks, Operation, Trace, Work, scaled_batch
from modelwright.tasks.task import Task, choose_task
from modelwright.training.rehearsal import rehearse
from modelwright.workflows.recipe import Recipe

SHALLOW = (1, 2)
"""Blocks of the two networks that stand for a deeper one."""
DEEP = 8
"""Blocks from which on they do."""
UNTRAINED = ("_task", "outputs", "count", "largest_unit", "_alike")
"""What of a subject is the same however it is trained."""
_traces: dict[str, Trace] = {}
"""Those of this process, which a search asks for again."""
_failures: dict[str, str] = {}
"""Why compiled ones couldn't be made, which would take as long again to find out."""


class RoughPlan(UserWarning):
    """A step could not be traced."""


def _with_inputs(blocks: Blocks, factor: float) -> Blocks:
    """The same blocks with more or fewer inputs."""
    return Counter({(part, round(size * factor) if part == "inputs" else size): number for (part, size), number in blocks.items()})


@dataclass(frozen=True)
class Subject:
    """What is planned: a recipe on data of a schema, without any `auto` that decides on a step.

    Attributes:
        recipe: with precision and memory layout resolved.
        schema: of its data.
        kind: `cpu` or `cuda`: whose kernels are used.
    """

    recipe: Recipe
    schema: Schema
    kind: str

    @classmethod
    def of(cls, recipe: Recipe, schema: Schema, kind: str) -> Subject:
        """Fill in what the recipe leaves open.

        Raises:
            InputError: a part doesn't fit the data or another part.
        """
        task = choose_task(schema, recipe.task)
        stem = recipe.stem or choose_stem(schema, recipe.model)
        optimizer = recipe.training.optimizer.resolved(torch.device(kind))
        training = recipe.training.replace(optimizer=optimizer, memory_format="contiguous")
        return cls(recipe.replace(task=task, stem=stem, training=training), schema, kind)

    def with_training(self, **settings: object) -> Subject:
        """The same with other settings of training."""
        other = replace(self, recipe=self.recipe.replace(training=self.recipe.training.replace(**settings)))
        # What the network alone decides is not worked out again.
        vars(other).update({name: value for name, value in vars(self).items() if name in UNTRAINED})
        return other

    def with_model(self, **settings: object) -> Subject:
        """The same with other settings of the family."""
        return replace(self, recipe=self.recipe.replace(model=self.recipe.model.replace(**settings)))

    @property
    def batch_size(self) -> int:
        """Examples of a step."""
        return self.recipe.training.batch_size

    @property
    def depth(self) -> int:
        """Blocks of the network, 1 for a family that has none."""
        return self.recipe.model.num_blocks

    @cached_property
    def outputs(self) -> int:
        """Numbers that the task asks of the network."""
        return self._task.outputs

    @cached_property
    def _task(self) -> Task:
        assert self.recipe.task is not None, "made by Subject.of"
        return self.recipe.task.build(self.schema)

    def meta(self) -> nn.Module:
        """The network on the meta device."""
        return self._build(meta_network)

    def _build(self, build: Callable[..., nn.Module]) -> nn.Module:
        recipe = self.recipe
        return build(self.schema, recipe.model, self.outputs, stem=recipe.stem, head=recipe.head)

    @cached_property
    def count(self) -> Count:
        """Parameters, and FLOPs of the forward pass; of a deep network told by two shallow ones."""
        if (shallow := self._shallow()) is None:
            return self._count()
        few, more = (each._count() for each in shallow)
        factor = (self.depth - SHALLOW[0]) / (SHALLOW[1] - SHALLOW[0])
        parameters = {
            role: round(few.parameters[role] + factor * (more.parameters[role] - few.parameters[role])) for role in few.parameters
        }
        return Count(parameters, round(few.flops + factor * (more.flops - few.flops)), few.tokens)

    def _count(self) -> Count:
        with torch.device("meta"):
            inputs = made_up_batch(self.schema, 2).inputs
        return count(self.meta(), inputs)

    @cached_property
    def largest_unit(self) -> int:
        """Parameters of the largest of: a block, the stem, the head."""
        network = (self._shallow() or [self])[0].meta()
        units = [module for name, module in network.named_modules() if name.split(".")[-1].isdecimal() and ".blocks." in f".{name}"]
        units += [part for name, part in network.named_children() if name != "backbone" or not units]
        return max(sum(parameter.numel() for parameter in unit.parameters()) for unit in units)

    def trace(self, batch_size: int | None = None, accumulation: int | None = None) -> Trace:
        """A step's trace.

        Args:
            batch_size: examples of the whole step; None is the recipe's.
            accumulation: slices that it is cut to, likewise.

        Raises:
            InputError: the batch can't be cut so.
        """
        size, slices = batch_size or self.batch_size, accumulation or self.recipe.training.accumulation
        slices = min(slices, size)
        if slices <= 2:
            return self._deep_trace(size, slices)
        # All slices from the second on are alike.
        part = -(-size // slices)
        one, two = self._deep_trace(part, 1), self._deep_trace(2 * part, 2)
        whole = scaled_batch(one.towards(two, slices - 1), size / (part * slices))
        # The whole batch lies on the device, of all else what two slices need.
        memory = {phase: _with_inputs(blocks, size / (2 * part)) for phase, blocks in two.memory.items()}
        return replace(whole, memory=memory)

    def _deep_trace(self, size: int, slices: int) -> Trace:
        shallow = self._shallow()
        if shallow is None:
            return self._trace(size, slices)
        few, more = (each._trace(size, slices) for each in shallow)
        return few.towards(more, (self.depth - SHALLOW[0]) / (SHALLOW[1] - SHALLOW[0]))

    def _shallow(self) -> list[Subject] | None:
        """Two shallower networks on whose line this one lies; None for a network with few blocks, or whose blocks are not alike."""
        if self.depth <= DEEP or getattr(self.recipe.model, "depth", None) is None:
            return None
        return [self.with_model(depth=blocks) for blocks in SHALLOW] if self._alike else None

    @cached_property
    def _alike(self) -> bool:
        few, more, all_ = (sum(p.numel() for p in self.with_model(depth=blocks).meta().parameters()) for blocks in (*SHALLOW, self.depth))
        return all_ - few == (more - few) * (self.depth - SHALLOW[0]) // (SHALLOW[1] - SHALLOW[0])

    def _trace(self, size: int, slices: int) -> Trace:
        key = self.schema.model_dump_json() + self.recipe.model_dump_json() + f"{self.kind} {size} {slices}"
        if key in _traces:
            return _traces[key]
        compiled = self.recipe.training.compile is True
        # Recurrent layers look at where documents end; without, all is one document, which is near enough.
        apart = self.schema.kind == "text" and self.recipe.data.packing == "separate"
        reason = _failures.get(key, "")
        for documents in () if reason else (True, False) if apart else (False,):
            try:
                return _traces.setdefault(key, self._traced(size, slices, documents))
            except Exception as error:
                # Another version's compiler may fail in any way.
                if not (compiled or isinstance(error, RuntimeError)):
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        if not compiled:
            return self._roughly(size, slices, reason)
        _failures[key] = reason
        warnings.warn(f"The compiled step can't be traced ({reason}); its plan is that of eager PyTorch.", RoughPlan, stacklevel=2)
        return self.with_training(compile=False)._trace(size, slices)

    def _traced(self, size: int, slices: int, documents: bool) -> Trace:
        config = self.recipe.training.replace(batch_size=size, accumulation=slices)
        with (
            warnings.catch_warnings(),
            uncollected(),
            standing_for(self.kind),
            FakeTensorMode(allow_non_fake_inputs=True),
            torch.device("cpu"),
        ):
            warnings.simplefilter("ignore")
            network = self._build(assemble)
            return rehearse(config, network, self._task, made_up_batch(self.schema, size, documents=documents))

    def _roughly(self, size: int, slices: int, reason: str) -> Trace:
        """What a step needs and does where it can't be traced, such as where a layer looks at values: from the forward pass on the meta device."""
        warnings.warn(f"The step can't be traced ({reason}); its plan is rough.", RoughPlan, stacklevel=2)
        with torch.device("meta"):
            batch = made_up_batch(self.schema, max(2, -(-size // slices)))
        network = self.meta()
        counted = count(network, batch.inputs)
        kept = outputs_bytes(network, batch.inputs) // (2 if self.recipe.training.precision == "bfloat16" else 1)
        weights = 4 * counted.total_parameters
        blocks: Blocks = Counter(
            {("parameters", weights): 1, ("gradients", weights): 1, ("optimizer", 2 * weights): 1, ("activations", kept): 1}
        )
        work = Work(1, size * counted.flops, size / batch.size * kept, size / batch.size * kept)
        named = {phase: Operation("network", phase, self.recipe.training.precision, ()) for phase in ("forward", "backward", "update")}
        steps = {named["forward"]: work, named["backward"]: work * 2, named["update"]: Work(1, 0, 4 * weights, 3 * weights)}
        return Trace(steps, {"backward": blocks}, 2.0 * kept)
