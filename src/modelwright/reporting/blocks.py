"""Blocks: what a section of a report is made of. They hold plain text; the page's template alone makes HTML of them, and escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


class Block:
    """A part of a section; `kind` names its macro in the template."""

    kind: ClassVar[str]


@dataclass(frozen=True)
class Text(Block):
    """A paragraph.

    Attributes:
        text: what it says.
        tone: `plain`; `lead` for what matters most; `note` for an aside; `warning` for what is wrong.
    """

    kind: ClassVar[str] = "text"
    text: str
    tone: Literal["plain", "lead", "note", "warning"] = "plain"


@dataclass(frozen=True)
class Heading(Block):
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        shade: 0..1, how strongly its ground is coloured; None: not at all.
        tone: `good` or `bad` adds a mark that doesn't rest on color.
        strong: in bold.
    """

    text: str
    shade: float | None = None
    tone: Literal["", "good", "bad", "soft"] = ""
    strong: bool = False


@dataclass(frozen=True)
class Table(Block):
    """A table.

    Attributes:
        header: names of the columns.
        rows: of texts or `Cell`s, the first one naming the row.
        caption: what it shows; also what a screen reader says first.
        left: columns that are set flush left, beside the first; numbers are set flush right.
        folded: shown on demand only.
        square: a matrix, with narrow cells.
    """

    kind: ClassVar[str] = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    left: frozenset[int] = frozenset()
    folded: bool = False
    square: bool = False


@dataclass(frozen=True)
class Figure(Block):
    """A plot.

    Attributes:
        svg: its markup, as `drawing.Plot` gives it.
        caption: what is to be seen in it.
        table: the numbers, for those who read rather than look.
    """

    kind: ClassVar[str] = "figure"
    svg: str
    caption: str
    table: Table | None = None


@dataclass(frozen=True)
class Row(Block):
    """Blocks beside each other, where there is room."""

    kind: ClassVar[str] = "row"
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Fact:
    """A quantity: its name, its value, and in a few words what to make of it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Facts(Block):
    """Quantities, as a list of names and values."""

    kind: ClassVar[str] = "facts"
    facts: Sequence[Fact]


@dataclass(frozen=True)
class Picture:
    """An image of the data, by its data URL.

    Attributes:
        source: data URL.
        caption: below it.
        note: a second, quieter line.
        right: whether what is told of it was right; None where that is no question.
    """

    source: str
    caption: str
    note: str = ""
    right: bool | None = None


@dataclass(frozen=True)
class Pictures(Block):
    """Images of the data, in a grid."""

    kind: ClassVar[str] = "pictures"
    pictures: Sequence[Picture]
    caption: str = ""


@dataclass(frozen=True)
class Passage:
    """A piece of text, as it is.

    Attributes:
        label: what it is.
        pieces: text with a shade of 0..1.
    """

    label: str
    pieces: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Passages(Block):
    """Pieces of text."""

    kind: ClassVar[str] = "passages"
    passages: Sequence[Passage]
    caption: str = ""


@dataclass(frozen=True)
class Code(Block):
    """Something to type, or a file's content."""

    kind: ClassVar[str] = "code"
    text: str
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Mark:
    """A forecast beside its measurement.

    Attributes:
        name: of the quantity.
        forecast: as people read it.
        measured: likewise; empty if nothing was measured.
        verdict: `inside`, `below` or `above`; empty without both.
        low: of the interval, in 0..1 of the row's own axis.
        high: likewise.
        value: the forecast, likewise.
        seen: the measurement, likewise; None without one.
    """

    name: str
    forecast: str
    measured: str
    verdict: str
    low: float
    high: float
    value: float
    seen: float | None


@dataclass(frozen=True)
class Marks(Block):
    """Forecasts beside their measurements."""

    kind: ClassVar[str] = "marks"
    marks: Sequence[Mark]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A finished section: an anchor, a title, and what stands below it."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the window, and the first line.
        subtitle: what the thing is.
        summary: the sentence that matters most.
        cards: quantities on top.
        sections: in order.
        footer: how the page was made.
        warnings: what the reader must know before anything else.
    """

    title: str
    subtitle: str
    summary: str
    cards: Sequence[Fact]
    sections: Sequence[Section]
    footer: str
    warnings: Sequence[str] = ()
