"""Reproduction: the recipe, the versions, and what to type."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from modelwright.reporting.blocks import Block, Code, Fact, Facts, Text
from modelwright.reporting.section import SectionPart, sections
from modelwright.reporting.view import View


@sections.register("reproduction")
class Reproduction(SectionPart):
    """How to make it again."""

    name, title, order = "reproduction", "How to reproduce it", 100

    def applies(self, view: View) -> bool:
        """Whether the recipe is known."""
        return bool(view.recipe)

    def blocks(self, view: View) -> Sequence[Block]:
        """Commands, versions, recipe."""
        data = view.recipe.get("data")
        path = data.get("path") if isinstance(data, dict) else None
        # A plain name may be that of a set that comes with a library.
        where = f"; the data is looked for at {path} from there" if path and Path(path).name != path else ""
        blocks: list[Block] = [Code(_commands(view), f"In a shell, beside the run folder{where}")]
        versions = view.bundle.get("versions", {})
        facts = [Fact(name, str(version)) for name, version in versions.items()]
        digest = view.state.get("digest") or view.bundle.get("data_digest")
        if digest:
            facts.append(Fact("digest of the data", str(digest)))
        facts.append(Fact("seed", str(view.recipe.get("seed", 0))))
        blocks.append(Facts(facts))
        blocks.append(
            Text(
                "A budget of steps or epochs gives the same weights on the same machine and versions; a budget of seconds buys as many steps as the machine is fast.",
                "note",
            )
        )
        recipe = yaml.safe_dump(dict(view.recipe), sort_keys=False, allow_unicode=True)
        blocks.append(Code(recipe, "The complete recipe, every setting with its value", folded=True))
        return blocks


def _commands(view: View) -> str:
    run = shlex.quote(view.name)
    lines = [f"modelwright train {run}/recipe.yaml", f"modelwright evaluate {run}", f"modelwright report {run}"]
    data, training = view.recipe.get("data"), view.recipe.get("training")
    if view.trials and isinstance(data, dict) and isinstance(training, dict):
        lines.insert(
            0, f"modelwright build {shlex.quote(str(data.get('path', '')))} --budget {shlex.quote(str(training.get('budget', '')))}"
        )
    return "\n".join(lines)
