"""A section of the report: a part that says whether it has something to tell of a run, and tells it in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from modelwright.core.registry import Registry
from modelwright.reporting.blocks import Block, Section
from modelwright.reporting.view import View


class SectionPart:
    """A kind of section; a subclass registered under its name is all that a new one needs."""

    name: ClassVar[str]
    """Of its anchor."""
    title: ClassVar[str]
    order: ClassVar[int]
    """Where it stands: sections are sorted by it."""

    def applies(self, view: View) -> bool:
        """Whether there is anything to tell."""
        raise NotImplementedError

    def blocks(self, view: View) -> Sequence[Block]:
        """What it tells."""
        raise NotImplementedError


sections: Registry[type[SectionPart]] = Registry("section", "modelwright.reporting.sections")


def sections_of(view: View) -> list[Section]:
    """The sections that have something to tell of a run, in order."""
    parts = sorted((part() for _, part in sections.items()), key=lambda part: part.order)
    made = ((part, list(part.blocks(view))) for part in parts if part.applies(view))
    return [Section(part.name, part.title, blocks) for part, blocks in made if blocks]
