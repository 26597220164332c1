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
        raise _explain(config, error, source, lines or {}) from None


def _explain(config: type[Config], error: ValidationError, source: str, lines: Mapping[str, int]) -> InputError:
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"] if not str(part).startswith(("function-", "tagged-", "is-instance"))]
    path = ".".join(keys)
    line = next((lines[p] for n in range(len(keys), 0, -1) if (p := ".".join(keys[:n])) in lines), None)
    where = f"{source} line {line}" if source and line else source or None
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        near = cause.remedy
        return InputError(f"{path}: {cause.found}" if path else cause.found, where=where, expected=cause.expected, remedy=near)
    if first["type"] == "extra_forbidden":
        parent = ".".join(keys[:-1]) or "the recipe"
        known = _known_keys(config, keys[:-1])
        near = closest(keys[-1], known)
        return InputError(
            f"{keys[-1]}: unknown key in {parent}",
            where=where,
            expected=None if near else f"one of {', '.join(known)}" if known else None,
            remedy=f"Did you mean {near}?" if near else None,
        )
    found = first["msg"].removeprefix("Value error, ")
    value = first.get("input")
    shown = f" (found {value!r})" if isinstance(value, str | int | float | bool) else ""
    return InputError(f"{path}: {found[:1].lower()}{found[1:]}{shown}" if path else found, where=where)


def _known_keys(config: type[Config], path: list[str]) -> list[str]:
    """The field names of the configuration that lies at `path` below `config`."""
    for key in path:
        field = config.model_fields.get(key)
        annotations = [field.annotation, *get_args(field.annotation)] if field else []
        nested = [a for a in annotations if isinstance(a, type) and issubclass(a, Config)]
        if not nested:
            return []
        config = nested[0]
    return sorted(config.model_fields)


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The mapping in a YAML file, and the line of every dotted key.

    Raises:
        InputError: the file can't be read, is no YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't be read ({error})", where=path) from None
    except yaml.YAMLError as error:
        raise InputError(f"is no valid YAML ({' '.join(str(error).split())})", where=path) from None
    if not isinstance(values, dict):
        raise InputError("holds no settings", where=path, expected="a mapping of keys to values")
    lines: dict[str, int] = {}
    _collect_lines(node, "", lines)
    return values, lines


def _collect_lines(node: yaml.Node | None, prefix: str, lines: dict[str, int]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = f"{prefix}{key.value}"
            lines[path] = key.start_mark.line + 1
            _collect_lines(value, f"{path}.", lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[f"{prefix}{index}"] = value.start_mark.line + 1
            _collect_lines(value, f"{prefix}{index}.", lines)
