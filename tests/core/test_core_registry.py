"""Registries: a part is a file in the package, an installed plug-in's, or the user's own."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from modelwright.core import registry as registry_module
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry

PART = """
from {package}.kind import parts

@parts.register("{name}")
class Part:
    pass
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An importable package `house.rooms` with the parts `oak` and `elm`, each in a file of its own."""
    folder = tmp_path / "house" / "rooms"
    folder.mkdir(parents=True)
    (tmp_path / "house" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "kind.py").write_text("from modelwright.core.registry import Registry\nparts = Registry('part', 'house.rooms')\n")
    for name in ("oak", "elm"):
        (folder / f"{name}.py").write_text(PART.format(package="house.rooms", name=name))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "house"]:
        del sys.modules[name]


def parts() -> Registry[Any]:
    """The registry of the package above."""
    import house.rooms.kind  # type: ignore[import-not-found]

    return house.rooms.kind.parts


def test_parts_are_found_in_the_files_of_the_package_on_first_look(package: Path):
    found = parts()
    assert "house.rooms.oak" not in sys.modules
    assert list(found) == ["elm", "oak"]
    assert [name for name, _ in found.items()] == ["elm", "oak"]
    assert found["oak"].__module__ == "house.rooms.oak"
    assert "pine" not in found


def test_a_new_file_is_all_that_a_new_part_needs(package: Path):
    (package / "pine.py").write_text(PART.format(package="house.rooms", name="pine"))
    assert list(parts()) == ["elm", "oak", "pine"]


def test_a_part_registered_by_hand_stands_beside_the_others(package: Path):
    parts().register("mine")(dict)
    assert parts()["mine"] is dict
    assert list(parts()) == ["elm", "mine", "oak"]


def test_an_installed_plug_in_joins_by_an_entry_point(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "house" / "plugin.py").write_text(PART.format(package="house.rooms", name="plugged"))
    entry = EntryPoint("plugged", "house.plugin", "modelwright.rooms")
    monkeypatch.setattr(registry_module, "entry_points", lambda group: [entry] if group == "modelwright.rooms" else [])
    assert "plugged" in parts()


def test_an_unknown_name_is_refused_with_the_nearest(package: Path):
    with pytest.raises(InputError, match=r"unknown part 'oka'; expected one of elm, oak. Did you mean oak\?"):
        parts()["oka"]


def test_a_name_is_given_once(package: Path):
    _ = parts()["oak"]

    class Part:
        """Has the qualified name of the first, but another home."""

    with pytest.raises(InputError, match="'oak' is registered already"):
        parts().register("oak")(Part)


def test_a_part_defined_again_replaces_itself():
    registry: Registry[Any] = Registry("part", "modelwright.core")

    def define() -> type:
        @registry.register("again")
        class Part:
            pass

        return Part

    first, second = define(), define()
    assert first is not second
    assert registry["again"] is second


def test_a_part_that_fails_to_import_fails_every_time(package: Path):
    (package / "broken.py").write_text("raise ImportError('no such wood')")
    for _ in range(2):
        with pytest.raises(ImportError, match="no such wood"):
            list(parts())
