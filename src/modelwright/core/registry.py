"""Registries: named parts of one kind, found in their package, in installed plug-ins, or registered by hand."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BeforeValidator, SerializeAsAny

from modelwright.core.config import Config, validate
from modelwright.core.errors import InputError, unknown_name

T = TypeVar("T")
P = TypeVar("P")


class Registry(Generic[T]):
    """The parts of one kind, by name.

    A part joins by `@registry.register("name")` in a module of `package`, in a module named by an installed distribution's entry point of
    the group `modelwright.<package's last word>`, or anywhere in the user's own code. Modules are imported on the first look-up, not before.
    """

    by_hand: ClassVar[bool] = False
    """Whether a part of any kind was registered in the user's own code, which other processes don't run."""
    _discovering: ClassVar[int] = 0

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._parts: dict[str, T] = {}
        self._discovered = False

    def register(self, name: str) -> Callable[[P], P]:
        """Decorator: make the decorated part known as `name`.

        Raises:
            InputError: another part has that name.
        """

        def add(part: P) -> P:
            known = self._parts.get(name)
            if known is not None and _home(known) != _home(part):
                raise InputError(f"the {self.kind} {name!r} is registered already, by {known!r}")
            self._parts[name] = part  # type: ignore[assignment]
            if not (Registry._discovering or str(_home(part)[0]).startswith("modelwright.")):
                Registry.by_hand = True
            return part

        return add

    def _discover(self) -> None:
        if self._discovered:
            return
        # Set first, because a part may look up another one while it is imported; taken back if an import fails, so that it fails again.
        self._discovered = True
        Registry._discovering += 1
        try:
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
                importlib.import_module(module.name)
            for entry in entry_points(group=f"modelwright.{self.package.rpartition('.')[2]}"):
                entry.load()
        except BaseException:
            self._discovered = False
            raise
        finally:
            Registry._discovering -= 1

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


def _home(part: object) -> tuple[object, object]:
    """Where a part was defined: a reloaded module or a re-run notebook cell replaces its own part, and no one else's."""
    return getattr(part, "__module__", None), getattr(part, "__qualname__", part)


def component(registry: Registry[Any], key: str = "name", default: str | None = None) -> Any:
    """A recipe field that holds any registered configuration, chosen by its `key`.

    `{name: adamw, learning_rate: 0.001}`, the bare name `adamw`, or an instance are accepted. The registered parts are `Config` classes with a
    field called `key` whose default is the registered name. Settings without the key are those of the `default` part, if there is one.
    """

    def choose(value: Any) -> Any:
        if isinstance(value, str):
            value = {key: value}
        if isinstance(value, Config) and getattr(value, key, None) in registry:
            return value
        if not isinstance(value, dict):
            raise InputError(f"{value!r} is no {registry.kind}", expected=f"one of {', '.join(registry)}, with its settings")
        if default is not None:
            value = {key: default, **value}
        if key not in value:
            raise InputError(f"lacks the key {key!r}", expected=f"{key}: one of {', '.join(registry)}")
        return validate(registry[str(value[key])], value)

    return SerializeAsAny[Annotated[Config, BeforeValidator(choose)]]
