"""The subject of an export: a trained model, and everything that says what it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from modelwright.core.schema import Schema
from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import StemConfig
from modelwright.tasks.task import Task, TaskConfig


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained model.

    Attributes:
        name: of the run.
        schema: what goes in and comes out, fitted.
        stem: settings of the stem.
        family: settings of the backbone.
        head: settings of the head.
        learns: settings of the task.
        task: what it has learnt.
        network: in evaluation mode, on the CPU.
    """

    name: str
    schema: Schema
    stem: StemConfig
    family: FamilyConfig
    head: HeadConfig
    learns: TaskConfig
    task: Task
    network: Network

    @property
    def settled(self) -> FamilyConfig:
        """The backbone's settings, with what depends on the data decided."""
        return self.family.on(self.stem, self.schema)

    def with_network(self, network: Network) -> Subject:
        """The same with another network in it."""
        return replace(self, network=network)

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        return sum(parameter.numel() for parameter in self.network.parameters())
