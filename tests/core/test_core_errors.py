"""Errors for people: one sentence each, and the name that was probably meant."""

import pytest

from modelwright.core.errors import DivergedError, InputError, ModelwrightError, RunInterrupted, closest, missing_extra, unknown_name


def test_the_parts_of_the_message_stand_in_order_and_end_as_sentences():
    error = InputError("3 rows have no target.", where="train.csv line 12", expected="a number", remedy="Choose another --target.")
    assert str(error) == "train.csv line 12: 3 rows have no target; expected a number. Choose another --target."
    assert str(InputError("a budget of 0 s buys nothing")) == "a budget of 0 s buys nothing."
    assert str(InputError("x", remedy="Did you mean y?")) == "x. Did you mean y?"


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("x"), 2), (ModelwrightError("x"), 1), (DivergedError("x"), 1), (RunInterrupted("x"), 130)]
)
def test_exit_codes(error: ModelwrightError, code: int):
    assert error.exit_code == code


def test_an_input_error_is_a_value_error():
    assert isinstance(InputError("x"), ValueError)


@pytest.mark.parametrize(("name", "near"), [("transfromer", "transformer"), ("MLP", "mlp"), ("Lstm", "lstm"), ("zzz", None), ("", None)])
def test_closest(name: str, near: str | None):
    assert closest(name, ["mlp", "cnn", "lstm", "transformer"]) == near


def test_closest_gives_the_name_as_it_is_written():
    assert closest("AGE", ["Age", "income"]) == "Age"


def test_unknown_name_lists_what_there_is():
    assert str(unknown_name("family", "cmn", ["mlp", "cnn"])) == "unknown family 'cmn'; expected one of cnn, mlp. Did you mean cnn?"
    assert str(unknown_name("family", "cmn", [])) == "unknown family 'cmn'."


def test_a_missing_extra_says_how_to_install_it():
    assert str(missing_extra("pandas", "tables")).endswith("pip install 'modelwright[tables]'.")
