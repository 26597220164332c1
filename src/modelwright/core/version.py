"""The version, as the installed distribution says it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("modelwright")
except PackageNotFoundError:
    __version__ = "0+source"
