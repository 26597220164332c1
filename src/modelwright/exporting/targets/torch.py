"""The target `torch`: a PyTorch program, which PyTorch runs without the package that made it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from modelwright.exporting.instructions import answer, given
from modelwright.exporting.portable import run_module
from modelwright.exporting.program import quietly, trace
from modelwright.exporting.recurrence import restore
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Runtime, Target, targets

FILE = "model.pt2"


@targets.register("torch")
class TorchTarget(Target):
    """An `ExportedProgram` in a `.pt2` file: a graph of PyTorch's own operations with its weights."""

    runtime = "PyTorch, by torch.export.load"

    def write(self, subject: Subject, folder: Path) -> None:
        """Write `model.pt2`."""
        program = trace(subject)
        restore(program.graph)
        with quietly():
            torch.export.save(program, folder / FILE)

    def load(self, subject: Subject, folder: Path) -> Runtime:
        """Read `model.pt2` as anybody would."""
        with quietly():
            module = torch.export.load(folder / FILE).module()
        return partial(run_module, module)

    def note(self, subject: Subject) -> str:
        """What PyTorch's reader does."""
        return (
            "PyTorch's reader of .pt2 files can unpickle parts of a file, and so run code that somebody hid there: load only files that you "
            "trust. This one holds plain tensors and a graph."
        )

    def usage(self, subject: Subject) -> list[str]:
        """Load, and call by the names of the inputs."""
        return [
            "import numpy as np, torch",
            *given(subject.schema),
            f'model = torch.export.load("{FILE}").module()',
            "outputs = model(**{name: torch.from_numpy(array) for name, array in given.items()})",
            answer(subject.schema),
        ]
