"""The base of every configuration: typed, frozen, without unknown keys; and errors that say where and what was meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from modelwright.core.errors import InputError, closest


class Config(BaseModel):
    """A frozen set of named settings; an unknown key or a wrong type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some settings changed.

        Raises:
            InputError: a key is unknown or a value is of a wrong type.
        """
        return validate(type(self), {**dict(self), **changes})


C = TypeVar("C", bound=Config)


def validate(config: type[C], values: Mapping[str, Any], *, source: str = "", lines: Mapping[str, int] | None = None) -> C:
    """Make a `config` of `values`.

    Args:
        values: nested mappings, as read from YAML.
        source: the file's name, for errors.
        lines: the line of every dotted key in that file.

    Raises:
        InputError: names the full path of the first wrong key, its line, and the nearest known key.
    """
    try:
        return config.model_validate(values)
    except ValidationError as error:
        raise _explain(config, error, values, source, lines or {}) from None


class _SettingError(InputError):
    """A wrong setting at `keys`, kept apart from what is wrong, so that an enclosing configuration can put its own path in front."""

    def __init__(
        self, problem: str, keys: tuple[str, ...], *, unknown: bool, where: str | None, expected: str | None, remedy: str | None
    ) -> None:
        self.problem, self.keys, self.unknown = problem, keys, unknown
        if unknown:
            found = f"{keys[-1]}: unknown key in {'.'.join(keys[:-1]) or 'the recipe'}"
        else:
            found = f"{'.'.join(keys)}: {problem}" if keys else problem
        super().__init__(found, where=where, expected=expected, remedy=remedy)


def _explain(config: type[Config], error: ValidationError, values: Any, source: str, lines: Mapping[str, int]) -> InputError:
    first = error.errors(include_url=False)[0]
    keys = _keys(first["loc"], values)
    unknown = first["type"] == "extra_forbidden"
    cause = first.get("ctx", {}).get("error")
    expected = remedy = None
    if isinstance(cause, _SettingError):
        keys, unknown = (*keys, *cause.keys), cause.unknown
        problem, expected, remedy = cause.problem, cause.expected, cause.remedy
    elif isinstance(cause, InputError):
        problem = cause.found if cause.where is None else f"{cause.where}: {cause.found}"
        expected, remedy = cause.expected, cause.remedy
    elif unknown:
        known = _known_keys(config, keys[:-1])
        near = closest(keys[-1], known)
        problem = "unknown key"
        expected = f"one of {', '.join(known)}" if known and not near else None
        remedy = f"Did you mean {near}?" if near else None
    else:
        message = first["msg"].removeprefix("Value error, ")
        value = first.get("input")
        shown = f" (found {value!r})" if value is None or isinstance(value, str | int | float | bool) else ""
        problem = f"{message[:1].lower()}{message[1:]}{shown}"
    where = next((f"{source} line {lines[p]}" for n in range(len(keys), 0, -1) if (p := ".".join(keys[:n])) in lines), source)
    return _SettingError(problem, keys, unknown=unknown, where=where or None, expected=expected, remedy=remedy)


def _keys(location: tuple[int | str, ...], values: Any) -> tuple[str, ...]:
    """The parts of pydantic's `location` that a person wrote: it also names the branches of unions and the validators."""
    keys: list[str] = []
    for part in location:
        try:
            values = getattr(values, str(part)) if isinstance(values, BaseModel) else values[part]
        except (AttributeError, LookupError, TypeError):
            if not (isinstance(values, Mapping) and part == location[-1]):
                continue
        keys.append(str(part))
    return tuple(keys)


def _known_keys(config: type[Config], path: tuple[str, ...]) -> list[str]:
    """The field names of the configuration that lies at `path` below `config`."""
    for key in path:
        field = config.model_fields.get(key)
        annotations = [field.annotation, *get_args(field.annotation)] if field else []
        nested = [a for a in annotations if isinstance(a, type) and issubclass(a, Config)]
        if not nested:
            return []
        config = nested[0]
    return sorted(config.model_fields)


_MOST_SETTINGS = 10_000
_KEY_TAGS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping in a YAML file, and the line of every dotted key.

    Raises:
        InputError: the file can't be read, is no YAML, holds no mapping, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = _lines(node, path)
        values = yaml.safe_load(text)
    except RecursionError:
        raise InputError("is nested too deep", where=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't be read ({error})", where=path) from None
    except yaml.YAMLError as error:
        raise InputError(f"is no valid YAML ({' '.join(str(error).split())})", where=path) from None
    if not isinstance(values, dict):
        raise InputError("holds no settings", where=path, expected="a mapping of keys to values")
    return values, lines


def _lines(root: yaml.Node | None, path: Path) -> dict[str, int]:
    """The line of every dotted key below `root`.

    Raises:
        InputError: a key stands twice or is no text, a value contains itself, or aliases multiply into too many settings.
    """
    lines: dict[str, int] = {}

    def collect(node: yaml.Node | None, prefix: str, above: frozenset[int]) -> None:
        here = f"{path} line {node.start_mark.line + 1}" if node else path
        if id(node) in above or len(lines) > _MOST_SETTINGS:
            raise InputError("a value contains itself" if id(node) in above else f"holds more than {_MOST_SETTINGS} settings", where=here)
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                name, line = f"{prefix}{key.value}", key.start_mark.line + 1
                if name in lines:
                    raise InputError(f"the key {name} stands twice", where=f"{path} line {line}", remedy="Keep one of them")
                if key.tag not in _KEY_TAGS:
                    raise InputError(f"the key {key.value} is no text", where=f"{path} line {line}", remedy="Put it into quotes")
                lines[name] = line
                collect(value, f"{name}.", above | {id(node)})
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[f"{prefix}{index}"] = value.start_mark.line + 1
                collect(value, f"{prefix}{index}.", above | {id(node)})

    collect(root, "", frozenset())
    return lines
