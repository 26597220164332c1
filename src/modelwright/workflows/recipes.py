"""`recipes`: the recipes that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from modelwright.core.errors import unknown_name
from modelwright.workflows.recipe import ready_recipes
from modelwright.workflows.reporter import Reporter


@dataclass(frozen=True, slots=True)
class ReadyRecipes:
    """Recipes by name: the comment on top of each, and its text."""

    headers: dict[str, str]
    texts: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """`{"recipes": {name: {"header", "text"}}}`."""
        return {"recipes": {name: {"header": self.headers[name], "text": self.texts[name]} for name in self.headers}}


def header(text: str) -> str:
    """The comment on top of a recipe, without its marks."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return "\n".join(lines)


def recipes(name: str | None = None, *, reporter: Reporter | None = None) -> ReadyRecipes:
    """List the ready recipes, or print the one called `name`.

    Raises:
        InputError: there is no recipe of that name.
    """
    reporter = reporter or Reporter()
    paths: dict[str, Path] = ready_recipes()
    if name is not None and name not in paths:
        raise unknown_name("recipe", name, paths)
    texts = {key: path.read_text(encoding="utf-8") for key, path in paths.items() if name in (None, key)}
    found = ReadyRecipes({key: header(text) for key, text in texts.items()}, texts)
    if name is not None:
        reporter.print_text(texts[name])
        return found
    table = Table("recipe", "what it is", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for key, text in found.headers.items():
        table.add_row(key, text.splitlines()[0] if text else "")
    reporter.show(table)
    return found
