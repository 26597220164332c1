"""A source reads one form of data into examples. A new one is a new file below `data/sources/`, or any registered class."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from modelwright.core.errors import InputError, closest
from modelwright.core.registry import Registry
from modelwright.data.config import DataConfig
from modelwright.data.examples import Examples
from modelwright.data.shape import PREFIX

SPLIT_WORDS: dict[str, str] = {
    "train": "train", "training": "train",
    "valid": "validation", "validation": "validation", "val": "validation", "dev": "validation", "eval": "validation",
    "test": "test", "testing": "test", "t10k": "test",
}  # fmt: skip
"""The words by which files and folders are recognized as a split."""


class Source(Protocol):
    """Reads one form of data.

    Attributes:
        accepts: the form in a few words, for error messages.
        names: names of the sets that it carries itself; empty for a source that reads files.
    """

    accepts: str
    names: tuple[str, ...]

    def recognizes(self, argument: str) -> float:
        """How sure it is that `argument` is of its form: 0 not at all, 1 entirely."""
        ...

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Read everything that `argument` names.

        Raises:
            InputError: nothing can be read; single bad rows and files become rejects instead.
        """
        ...


sources: Registry[type[Source]] = Registry("source", "modelwright.data.sources")


def find_source(argument: str, name: str | None = None) -> tuple[str, Source]:
    """The source called `name`, or else the one that is surest to recognize `argument`; with its name.

    Raises:
        InputError: the argument is empty or missing, no source recognizes it, or several are equally sure.
    """
    if not argument.strip():
        raise InputError("no data is named", expected="a file, a folder or the name of a set", remedy="Give one, for example digits")
    if argument.startswith(PREFIX):
        raise InputError(
            "only the shape of data is known, which nothing can be learnt from", where=argument, remedy="Name data, or use plan"
        )
    if name is not None:
        return name, sources[name]()
    known = [(part_name, part()) for part_name, part in sources.items()]
    ranked = sorted(
        ((source.recognizes(argument), part_name, source) for part_name, source in known), key=lambda row: row[:2], reverse=True
    )
    best = [row for row in ranked if row[0] == ranked[0][0]] if ranked and ranked[0][0] > 0 else []
    if len(best) == 1:
        return best[0][1], best[0][2]
    if best:
        forms = " and ".join(row[1] for row in sorted(best, key=lambda row: row[1]))
        raise InputError(
            f"{argument!r} can be read in several ways ({forms})", remedy="Say which by source, or name a path exactly, as ./name does"
        )
    raise _not_recognized(argument, [source for _, source in known])


def _not_recognized(argument: str, known: list[Source]) -> InputError:
    path = Path(argument)
    accepted = "; ".join(source.accepts for source in known)
    if not path.exists():
        near = closest(argument, [name for source in known for name in source.names] + _neighbors(path))
        return InputError(
            "does not exist, and is no set that is carried along" if path.name == argument else "does not exist",
            where=argument,
            expected=None if near else accepted,
            remedy=f"Did you mean {near}?" if near else None,
        )
    if path.is_dir() and not any(path.iterdir()):
        return InputError("the folder is empty", where=argument, expected=accepted)
    if path.is_file() and path.stat().st_size == 0:
        return InputError("the file is empty", where=argument)
    return InputError("holds nothing that can be read", where=argument, expected=accepted)


def _neighbors(path: Path) -> list[str]:
    """The paths that lie beside a missing one."""
    if not path.parent.is_dir():
        return []
    return [str(path.parent / other.name) if path.parent != Path() else other.name for other in path.parent.iterdir()]
