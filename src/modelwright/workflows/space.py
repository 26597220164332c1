"""A family's search space: its own recipe, and what of it is worth a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelwright.core.space import Dimension, Interval, Value, dimensions, with_setting
from modelwright.models.family import FamilyConfig
from modelwright.workflows.recipe import Recipe

SEARCHED_PARTS = ("model", "task", "stem", "head", "training")
"""Parts of a recipe that a search may change."""


@dataclass(frozen=True)
class Space:
    """What a search may make of a family's own recipe.

    Attributes:
        recipe: the own one, complete.
        dimensions: by dotted key of the recipe; `width` and `depth`, as factors, are the dials of the family.
        own: what the recipe says, by the same keys.
    """

    recipe: Recipe
    dimensions: dict[str, Dimension]
    own: dict[str, Value]

    @classmethod
    def of(cls, recipe: Recipe, given: Mapping[str, Any], *, dials: bool = True) -> Space:
        """The space around a recipe.

        Args:
            recipe: complete, as the family is compared.
            given: the user's settings, nested as in a recipe: what is set there stays.
            dials: whether the family's size may change.
        """
        turned = {name: dial for name, dial in recipe.model.dials.items() if dials and _turns(recipe.model, name, dial, given.get("model"))}
        space: dict[str, Dimension] = dict(turned)
        own: dict[str, Value] = dict.fromkeys(turned, 1.0)
        for key, value, dimension in dimensions(recipe):
            if key.partition(".")[0] in SEARCHED_PARTS and not _is_given(given, key):
                space[key], own[key] = dimension, value
        return cls(recipe, space, own)

    @property
    def family(self) -> str:
        """The family's name."""
        return self.recipe.model.family

    def at(self, settings: Mapping[str, Value]) -> Recipe:
        """The recipe with those settings, by the keys of `dimensions`.

        Raises:
            InputError: they don't go together.
        """
        recipe = self.recipe
        dials = {key: settings[key] for key in self.recipe.model.dials if key in settings}
        if dials:
            recipe = recipe.replace(model=recipe.model.scaled(**dials))
        for key, value in settings.items():
            if key not in dials and value != self.own[key]:
                recipe = with_setting(recipe, key, value)
        return recipe

    def wider(self, settings: Mapping[str, Value], factor: float = 2.0) -> dict[str, Value] | None:
        """The settings of a wider network, as far as the space goes; None if it is that wide already."""
        dial = self.dimensions.get("width")
        if not isinstance(dial, Interval):
            return None
        width = min(factor * float(settings["width"]), dial.high)
        wide = {**settings, "width": width}
        return None if self.at(wide).model == self.at(settings).model else wide


def _turns(model: FamilyConfig, name: str, dial: Interval, given: Any) -> bool:
    """Whether a dial changes the family, and the user has set nothing of what it changes."""
    turned = model.scaled(**{name: dial.high})
    changed = {key for key, value in turned if value != getattr(model, key)}
    if not isinstance(given, Mapping) or given.get("family", model.family) != model.family:
        return bool(changed)
    plain, asked = type(model)(family=model.family), type(model).model_validate({**given, "family": model.family})
    fixed = {key for key in changed if key in given or getattr(asked, key) != getattr(plain, key)}
    return bool(changed) and not fixed


def _is_given(given: Any, key: str) -> bool:
    """Whether nested settings say something about a dotted key."""
    for part in key.split("."):
        if isinstance(given, Mapping) and part in given:
            given = given[part]
        elif isinstance(given, list | tuple) and part.isdigit() and int(part) < len(given):
            given = given[int(part)]
        else:
            return False
    return True
