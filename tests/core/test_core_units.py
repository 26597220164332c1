"""Budgets as people write them, numbers as people read them."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.config import Config, validate
from modelwright.core.errors import InputError
from modelwright.core.units import UNITS, Budget, BudgetField, format_bytes, format_count, format_duration

units = st.sampled_from(sorted(set(UNITS.values())))
amounts = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("90s", 90, "seconds"),
        ("90 s", 90, "seconds"),
        ("1h30m", 5400, "seconds"),
        ("1h 30min 5sec", 5405, "seconds"),
        ("1.5d", 129_600, "seconds"),
        ("2 seconds", 2, "seconds"),
        ("90 seconds", 90, "seconds"),
        ("5 minutes", 300, "seconds"),
        ("1 minute", 60, "seconds"),
        ("2 Hours", 7200, "seconds"),
        ("1 day", 86_400, "seconds"),
        ("1 hour 30 minutes", 5400, "seconds"),
        ("1.5hrs", 5400, "seconds"),
        ("3 epochs", 3, "epochs"),
        ("1 epoch", 1, "epochs"),
        ("3epochs", 3, "epochs"),
        (" 500 Steps ", 500, "steps"),
        ("10k samples", 10_000, "samples"),
        ("10M tokens", 10_000_000, "tokens"),
        ("1e17 flops", 1e17, "flops"),
        ("2.5T flops", 2.5e12, "flops"),
    ],
)
def test_a_budget_is_read_as_people_write_it(text: str, amount: float, unit: str):
    assert Budget.parse(text) == Budget(amount, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "s",
        "-5s",
        "0s",
        "0 epochs",
        "nan s",
        "infs",
        "1e400s",
        "5 parsecs",
        "3 epochs 2",
        "90s!",
        "1h30",
        "10m samples",
        "--5s",
        "5M",
        "2 minutest",
        "0 hours",
    ],
)
def test_what_is_no_positive_amount_with_a_unit_is_refused(text: str):
    with pytest.raises(InputError):
        Budget.parse(text)


def test_a_misspelled_unit_is_recognized():
    with pytest.raises(InputError, match=r"Did you mean epochs\?$"):
        Budget.parse("3 epcohs")
    with pytest.raises(InputError, match=r"Did you mean minutes\?$"):
        Budget.parse("5 minuets")


@pytest.mark.parametrize("amount", [0, -1, math.nan, math.inf])
def test_a_budget_that_buys_nothing_is_refused(amount: float):
    with pytest.raises(InputError, match="buys nothing"):
        Budget(amount, "seconds")


def test_an_unknown_unit_is_refused():
    with pytest.raises(InputError, match="unknown budget unit 'hours'"):
        Budget(1, "hours")


@given(amounts, units)
def test_a_budget_survives_being_written(amount: float, unit: str):
    budget = Budget(amount, unit)
    assert Budget.parse(str(budget)) == budget
    assert Budget.parse(budget) is budget


@given(st.text(max_size=20))
def test_any_text_is_a_budget_or_an_input_error(text: str):
    with contextlib.suppress(InputError):
        assert Budget.parse(text).amount > 0


def test_only_seconds_have_seconds():
    assert Budget(90, "seconds").seconds == 90
    assert Budget(90, "steps").seconds is None


def test_a_budget_is_a_setting():
    class Settings(Config):
        budget: BudgetField

    settings = validate(Settings, {"budget": "1h30m"})
    assert settings.budget == Budget(5400, "seconds")
    assert settings.model_dump() == {"budget": "5400s"}
    assert validate(Settings, settings.model_dump()) == settings
    with pytest.raises(InputError, match=r"^budget: "):
        validate(Settings, {"budget": 90})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (812, "812"),
        (999.4, "999"),
        (999.6, "1.0k"),
        (74_123, "74k"),
        (1_234_567, "1.2M"),
        (9_960_000, "10M"),
        (3.4e12, "3.4T"),
        (-74_123, "-74k"),
    ],
)
def test_format_count(number: float, text: str):
    assert format_count(number) == text


@given(st.floats(min_value=1, max_value=1e17))
def test_a_count_is_short_and_near(number: float):
    text = format_count(number)
    multiple = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}.get(text[-1], 1)
    assert len(text) <= 5 or number >= 1e18
    assert float(text.rstrip("kMGTP")) * multiple == pytest.approx(number, rel=0.06, abs=0.51)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (312_000, "312 kB"), (1_500_000, "1.5 MB"), (999_999, "1.0 MB"), (2e12, "2.0 TB")]
)
def test_format_bytes(number: float, text: str):
    assert format_bytes(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (41, "41 s"),
        (99.4, "99 s"),
        (99.6, "1 min 40 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (12_000, "3 h 20 min"),
    ],
)
def test_format_duration(seconds: float, text: str):
    assert format_duration(seconds) == text
