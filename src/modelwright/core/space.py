"""The search space: which settings are worth a search, and how far. A configuration says so beside the field, as the field's annotation.

    learning_rate: Annotated[float, Around(5)] = 1e-3        # from a fifth of what the recipe says to five times that
    dropout: Annotated[float, Between(0.0, 0.5)] = 0.2       # anywhere between

Nothing else is needed for a search to find them, in whatever part of a recipe they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from modelwright.core.config import Config

Value = float | int | str | bool
"""What a search can choose."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included; on a logarithmic scale, or whole ones, if so said."""

    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high and (not self.whole or value == int(value))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `values`."""

    values: tuple[Value, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.values


Dimension = Interval | Choice
"""What one setting may be in a search."""


@runtime_checkable
class Searched(Protocol):
    """The annotation of a field that is worth a search."""

    def around(self, own: Any) -> Dimension | None:
        """The dimension, where the recipe says `own`, which lies in it; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Between:
    """A number between two bounds, whatever the recipe says; bounds widen to take that in."""

    low: float
    high: float
    logarithmic: bool = False

    def around(self, own: Any) -> Dimension | None:
        """The interval; None where the recipe's own value can't be in it, as 0 on a logarithmic scale, or no number."""
        if not _is_number(own) or (self.logarithmic and own <= 0):
            return None
        return Interval(min(self.low, own), max(self.high, own), self.logarithmic, isinstance(own, int))


@dataclass(frozen=True, slots=True)
class Around:
    """A number up to `factor` times less or more than the recipe says; with `doubling`, whole ones, that one halved or doubled some times."""

    factor: float
    doubling: bool = False

    def around(self, own: Any) -> Dimension | None:
        """The interval or the choices; None if the recipe's own value is not positive."""
        if not _is_number(own) or own <= 0:
            return None
        if not self.doubling:
            low, high = own / self.factor, own * self.factor
            return Interval(max(1, round(low)), round(high), True, True) if isinstance(own, int) else Interval(low, high, True)
        less, more, times = [own], [], 2
        while times <= self.factor:
            less += [own // times] if own % times == 0 else []
            more.append(own * times)
            times *= 2
        return Choice((*reversed(less), *more))


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some values, or the recipe's own."""

    values: tuple[Value, ...]

    def around(self, own: Any) -> Dimension | None:
        """The choices."""
        return Choice(self.values if own in self.values else (own, *self.values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def dimensions(config: Config, prefix: str = "") -> Iterator[tuple[str, Any, Dimension]]:
    """(dotted key, own value, dimension) of every setting that is worth a search in a configuration and in those that it holds."""
    for name, field in type(config).model_fields.items():
        own, key = getattr(config, name), f"{prefix}{name}"
        for part, value in ((key, own),) if isinstance(own, Config) else _parts(key, own):
            yield from dimensions(value, f"{part}.")
        for mark in field.metadata:
            if isinstance(mark, Searched) and (found := mark.around(own)) is not None:
                yield key, own, found


def _parts(key: str, value: object) -> Iterator[tuple[str, Config]]:
    """The configurations in a tuple, with their keys."""
    if isinstance(value, tuple):
        yield from ((f"{key}.{index}", part) for index, part in enumerate(value) if isinstance(part, Config))


def with_setting(config: Any, key: str, value: Value) -> Any:
    """A copy of a configuration, or of a tuple of them, in which the dotted `key` has that value.

    Raises:
        InputError: the value is not valid there.
    """
    first, _, rest = key.partition(".")
    if isinstance(config, tuple):
        index = int(first)
        return (*config[:index], with_setting(config[index], rest, value), *config[index + 1 :])
    return config.replace(**{first: with_setting(getattr(config, first), rest, value) if rest else value})
