"""Registries: named parts of one kind, found in their package, in installed plug-ins, or registered by hand."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator, SerializeAsAny

from modelwright.core.config import Config, validate
from modelwright.core.errors import InputError, unknown_name

T = TypeVar("T")


class Registry(Generic[T]):
    """The parts of one kind, by name.

    A part joins by `@registry.register("name")` in a module of `package`, in a module named by an installed distribution's entry point of
    the group `modelwright.<package's last word>`, or anywhere in the user's own code. Modules are imported on the first look-up, not before.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._parts: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: make the decorated part known as `name`.

        Raises:
            InputError: another part has that name.
        """

        def add(part: T) -> T:
            known = self._parts.get(name)
            if known is not None and getattr(known, "__qualname__", known) != getattr(part, "__qualname__", part):
                raise InputError(f"the {self.kind} {name!r} is registered already, by {known!r}")
            self._parts[name] = part
            return part

        return add

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)
        for entry in entry_points(group=f"modelwright.{self.package.rpartition('.')[2]}"):
            entry.load()

    def __getitem__(self, name: str) -> T:
        """The part called `name`.

        Raises:
            InputError: there is none; the message lists those there are and the nearest one.
        """
        if name not in self._parts:
            self._discover()
        if name not in self._parts:
            raise unknown_name(self.kind, name, self._parts)
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._parts))

    def items(self) -> list[tuple[str, T]]:
        """Names and parts, sorted by name."""
        return [(name, self._parts[name]) for name in self]


def component(registry: Registry[Any], key: str = "name") -> Any:
    """A recipe field that holds any registered configuration, chosen by its `key`.

    `{name: adamw, learning_rate: 0.001}`, the bare name `adamw`, or an instance are accepted. The registered parts are `Config` classes with a
    field called `key` whose default is the registered name.
    """

    def choose(value: Any) -> Any:
        if isinstance(value, str):
            value = {key: value}
        if not isinstance(value, dict):
            return value
        if key not in value:
            raise InputError(f"lacks the key {key!r}", expected=f"{key}: one of {', '.join(registry)}")
        return validate(registry[str(value[key])], value)

    return SerializeAsAny[Annotated[Config, BeforeValidator(choose)]]
