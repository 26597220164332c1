"""The ledger: what was said before, and beside it what was seen after."""

import errno
import json
from pathlib import Path

import pytest

from modelwright.core.errors import InputError
from modelwright.core.ledger import Entry, Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


def test_a_ledger_begins_empty(ledger: Ledger):
    assert ledger.entries() == {}
    assert not ledger.path.exists()


def test_a_measurement_stands_beside_its_forecast(ledger: Ledger):
    ledger.forecast("accuracy", "%", 98.6, 98.1, 99.0)
    ledger.forecast("time", "s", 41)
    assert ledger.entries()["accuracy"].measured is None
    ledger.measure("accuracy", "%", 98.9)
    entries = Ledger(ledger.path).entries()
    assert list(entries) == ["accuracy", "time"]
    entry = entries["accuracy"]
    assert (entry.forecast, entry.low, entry.high, entry.measured, entry.verdict) == (98.6, 98.1, 99.0, 98.9, "inside")


def test_what_was_never_forecast_can_be_measured(ledger: Ledger):
    entry = ledger.measure("memory", "MB", 210)
    assert (entry.forecast, entry.measured, entry.verdict) == (None, 210, None)


def test_the_forecast_is_never_changed_by_later_rows(ledger: Ledger):
    ledger.forecast("time", "s", 41, 35, 50)
    first = ledger.path.read_text()
    ledger.measure("time", "s", 60)
    assert ledger.path.read_text().startswith(first)


@pytest.mark.parametrize(("measured", "verdict"), [(97.9, "below"), (98.1, "inside"), (99.0, "inside"), (99.1, "above"), (None, None)])
def test_the_verdict_says_where_a_measurement_fell(measured: float | None, verdict: str | None):
    entry = Entry(quantity="accuracy", unit="%", forecast=98.6, low=98.1, high=99.0, measured=measured, when="2026-11-21T00:00:00+00:00")
    assert entry.verdict == verdict


def test_a_row_has_the_promised_keys(ledger: Ledger):
    ledger.forecast("accuracy", "%", 98.6, 98.1, 99.0)
    row = json.loads(ledger.path.read_text())
    assert set(row) == {"quantity", "unit", "forecast", "low", "high", "measured", "when"}
    assert row["when"].endswith("+00:00")


def test_a_full_disk_loses_no_row(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    ledger.forecast("time", "s", 41)

    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="the disk is full"):
        ledger.measure("time", "s", 60)
    assert ledger.entries()["time"].measured is None
