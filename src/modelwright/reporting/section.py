"""A section of the report: a part that says whether it has something to tell of a run, and tells it in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import ValidationError

from modelwright.core.errors import InputError
from modelwright.core.registry import Registry
from modelwright.reporting.blocks import Block, Section, Text
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
    made = ((part, _told(part, view)) for part in parts)
    return [Section(part.name, part.title, blocks) for part, blocks in made if blocks]


def _told(part: SectionPart, view: View) -> list[Block]:
    """What a section tells; of a run whose files hold something else than they should, that it can't."""
    try:
        return list(part.blocks(view)) if part.applies(view) else []
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValidationError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        return [Text(f"This part can’t be told: a file of the run holds something unexpected ({type(error).__name__}).", "warning")]
