"""Errors that a person meets: what was found, where, what was expected, what to do."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class ModelwrightError(Exception):
    """A failure that the command line reports in one sentence, with `exit_code` and without a traceback."""

    exit_code = 1


class InputError(ModelwrightError, ValueError):
    """Wrong input: data, a recipe, an argument, or a place to write to.

    Args:
        found: what is wrong, as a clause that names the culprit.
        where: file, line, column or key.
        expected: what would have been right.
        remedy: what to do now.
    """

    exit_code = 2

    def __init__(self, found: str, *, where: object = None, expected: str | None = None, remedy: str | None = None) -> None:
        self.found, self.where, self.expected, self.remedy = found, where, expected, remedy
        message = f"{where}: {found}" if where is not None else found
        if expected:
            message = f"{message.rstrip('.')}; expected {expected}"
        super().__init__(" ".join(map(_sentence, (message, remedy) if remedy else (message,))))


def _sentence(text: str) -> str:
    return text if text.endswith(("?", "!")) else text.rstrip(".") + "."


class DivergedError(ModelwrightError):
    """The loss stopped being a finite number; the message names the step and the remedy."""


class RunInterrupted(ModelwrightError):
    """The user asked to stop; everything is saved and the message says how to go on."""

    exit_code = 130


def closest(name: str, known: Iterable[str]) -> str | None:
    """The name among `known` that is most likely meant by `name`, or None if nothing is near."""
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    return by_lower_case[near[0]] if near else None


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: object = None) -> InputError:
    """The error for a name that is not among the `known` ones of its kind, with the nearest one as remedy."""
    names = sorted(known)
    near = closest(name, names)
    return InputError(
        f"unknown {kind} {name!r}",
        where=where,
        expected=f"one of {', '.join(names)}" if names else None,
        remedy=f"Did you mean {near}?" if near else None,
    )


def import_extra(module: str, package: str, extra: str) -> Any:
    """Import a `module` of an optional `package`.

    Raises:
        InputError: it is not installed; says which `extra` brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing_extra(package, extra) from None


def missing_extra(package: str, extra: str) -> InputError:
    """The error for an optional `package` that is not installed."""
    return InputError(f"this needs the package {package}", remedy=f"Install it with: pip install 'modelwright[{extra}]'")
