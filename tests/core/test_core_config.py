"""Settings: typed, frozen, without unknown keys; errors name the full path, the line and the nearest name."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.config import Config, read_yaml, validate
from modelwright.core.errors import InputError
from modelwright.core.registry import Registry, component

optimizers: Registry[type[Config]] = Registry("optimizer", "modelwright.core")


@optimizers.register("adamw")
class _AdamW(Config):
    name: str = "adamw"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)


@optimizers.register("wrapped")
class _Wrapped(Config):
    name: str = "wrapped"
    inner: component(optimizers) = "adamw"  # type: ignore[valid-type]


class _Training(Config):
    optimizer: component(optimizers) = "adamw"  # type: ignore[valid-type]
    size: int | tuple[int, int] = 3
    epochs: int | None = None


class _Recipe(Config):
    training: _Training = _Training()
    seed: int = 0


def read(text: str, folder: Path) -> _Recipe:
    """The recipe in `text`, read from a file."""
    path = folder / "recipe.yaml"
    path.write_text(text)
    values, lines = read_yaml(path)
    return validate(_Recipe, values, source="recipe.yaml", lines=lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nsed: 2", "recipe.yaml line 2: sed: unknown key in the recipe. Did you mean seed?"),
        ("training:\n  epocs: 3", "recipe.yaml line 2: epocs: unknown key in training. Did you mean epochs?"),
        ("training:\n  xyz: 3", "recipe.yaml line 2: xyz: unknown key in training; expected one of epochs, optimizer, size."),
        (
            "training:\n  optimizer:\n    name: adamw\n    learning_rat: 1",
            "recipe.yaml line 4: learning_rat: unknown key in training.optimizer. Did you mean learning_rate?",
        ),
        (
            "training:\n  optimizer:\n    name: wrapped\n    inner:\n      name: adamw\n      betas: [1, x]",
            "recipe.yaml line 6: training.optimizer.inner.betas.1: input should be a valid number, unable to parse string as a number (found 'x').",
        ),
        (
            "training:\n  optimizer: adamx",
            "recipe.yaml line 2: training.optimizer: unknown optimizer 'adamx'; expected one of adamw, wrapped. Did you mean adamw?",
        ),
        (
            "training:\n  optimizer: {lr: 3}",
            "recipe.yaml line 2: training.optimizer: lacks the key 'name'; expected name: one of adamw, wrapped.",
        ),
        (
            "training:\n  optimizer: 5",
            "recipe.yaml line 2: training.optimizer: 5 is no optimizer; expected one of adamw, wrapped, with its settings.",
        ),
        (
            "training:\n  size: x",
            "recipe.yaml line 2: training.size: input should be a valid integer, unable to parse string as an integer (found 'x').",
        ),
        ("seed:", "recipe.yaml line 1: seed: input should be a valid integer (found None)."),
        ("training: 3", "recipe.yaml line 1: training: input should be a valid dictionary or instance of _Training (found 3)."),
    ],
)
def test_a_wrong_setting_is_named_with_its_path_and_line(text: str, message: str, tmp_path: Path):
    with pytest.raises(InputError) as error:
        read(text, tmp_path)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no settings"),
        ("- 1\n- 2", "holds no settings"),
        ("a: [", "no valid YAML"),
        ("a: \x01", "no valid YAML"),
        ("a: !!python/object/apply:os.getcwd []", "no valid YAML"),
        ("seed: 1\ntraining:\n  size: 1\n  size: 2", r"recipe.yaml line 4: the key training.size stands twice"),
        ("on: 3", "recipe.yaml line 1: the key on is no text"),
        ("a: &a [*a]", "a value contains itself"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)), "more than 10000 settings"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(text: str, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message):
        read(text, tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="can't be read"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="can't be read"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("a: \xe9".encode("latin-1"))
    with pytest.raises(InputError, match="can't be read"):
        read_yaml(tmp_path / "latin.yaml")


def test_the_lines_of_all_keys_are_known(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("a: 1\nb:\n  c: [5,\n    6]\n")
    assert read_yaml(path) == ({"a": 1, "b": {"c": [5, 6]}}, {"a": 1, "b": 2, "b.c": 3, "b.c.0": 3, "b.c.1": 4})


@pytest.mark.parametrize(
    "value",
    ["adamw", {"name": "adamw"}, {"name": "adamw", "learning_rate": "1e-3"}, _AdamW()],
    ids=["name", "mapping", "settings", "instance"],
)
def test_a_component_is_chosen_by_name_mapping_or_instance(value: Any):
    assert validate(_Training, {"optimizer": value}).optimizer == _AdamW()


def test_a_component_of_another_kind_is_refused():
    with pytest.raises(InputError, match="is no optimizer"):
        validate(_Training, {"optimizer": _Training()})


def test_a_recipe_survives_being_written_with_all_settings_of_its_components():
    recipe = validate(_Recipe, {"training": {"optimizer": {"name": "wrapped", "inner": {"name": "adamw", "learning_rate": 0.5}}}})
    written = recipe.model_dump(mode="json")
    assert written["training"]["optimizer"]["inner"]["learning_rate"] == 0.5
    assert validate(_Recipe, written) == recipe


def test_settings_are_frozen_and_replaced_by_validated_copies():
    training = _Training()
    with pytest.raises(ValueError, match="frozen"):
        training.size = 5  # type: ignore[misc]
    assert training.replace(size=5).size == 5
    assert training.size == 3
    with pytest.raises(InputError, match=r"siz: unknown key in the recipe. Did you mean size\?"):
        training.replace(siz=5)
    with pytest.raises(InputError, match="epochs"):
        training.replace(epochs="many")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=5), s, max_size=3),
    )
)
def test_any_value_is_a_recipe_or_an_input_error(value: Any):
    with contextlib.suppress(InputError):
        validate(_Recipe, {"training": value})
