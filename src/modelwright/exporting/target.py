"""The target of an export: the runtime that a model is written for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from modelwright.core.registry import Registry
from modelwright.exporting.portable import Arrays
from modelwright.exporting.subject import Subject

Runtime = Callable[[Arrays], Arrays]
"""A model at work in its runtime: raw inputs by name -> outputs by name, those of `Portable` or the first of them."""


class Target:
    """What a model can be written for; one registered under its name is all that a new target needs."""

    runtime: ClassVar[str]
    """What runs the export, in a few words."""
    packages: ClassVar[tuple[str, ...]] = ("torch",)
    """Distributions whose versions the export's record names."""

    def check(self, subject: Subject) -> None:
        """See that the target can hold the model, before anything is done.

        Raises:
            InputError: it can't, or a package is missing; says which setting stands against it and which targets do.
        """

    def write(self, subject: Subject, folder: Path) -> None:
        """Write the model into an empty `folder`."""
        raise NotImplementedError

    def load(self, subject: Subject, folder: Path) -> Runtime:
        """Read what `write` wrote, with what it is meant to be read with. The `subject` tells names and numbers only, never weights."""
        raise NotImplementedError

    def annotate(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Put the record of the export into the model's file too, where that has a place for it."""

    def note(self, subject: Subject) -> str:
        """What who loads the export should know."""
        return ""

    def front_matter(self, subject: Subject) -> str:
        """What stands above everything in the README, for programs that look there."""
        return ""

    def usage(self, subject: Subject) -> list[str]:
        """Lines of Python that load the export from its folder, and print what it makes of an example."""
        raise NotImplementedError


targets: Registry[type[Target]] = Registry("target", "modelwright.exporting.targets")
