"""The ledger: what was said before a run, and beside it what was seen after."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modelwright.core.disk import write_atomic


class Entry(BaseModel):
    """One quantity: its forecast with an interval, and its measurement once there is one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quantity: str
    unit: str
    forecast: float | None = None
    low: float | None = None
    high: float | None = None
    measured: float | None = None
    when: str
    """UTC time of the last writing, ISO 8601."""

    @property
    def verdict(self) -> Literal["inside", "below", "above"] | None:
        """Where the measurement fell; None without both a measurement and an interval."""
        if self.measured is None or self.low is None or self.high is None:
            return None
        return "below" if self.measured < self.low else "above" if self.measured > self.high else "inside"


class Ledger:
    """The rows of `ledger.jsonl`: one line a quantity, appended when forecast and again when measured; the last line of a quantity counts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, Entry]:
        """The current entry of every quantity, in the order of first writing."""
        if not self.path.exists():
            return {}
        rows = (Entry.model_validate_json(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line)
        return {row.quantity: row for row in rows}

    def forecast(self, quantity: str, unit: str, value: float, low: float | None = None, high: float | None = None) -> Entry:
        """Write down a forecast, with the bounds of its interval."""
        return self._append(Entry(quantity=quantity, unit=unit, forecast=value, low=low, high=high, when=_now()))

    def measure(self, quantity: str, unit: str, value: float) -> Entry:
        """Write the measurement beside the forecast of that quantity, if there is one."""
        before = self.entries().get(quantity)
        entry = before or Entry(quantity=quantity, unit=unit, when=_now())
        return self._append(entry.model_copy(update={"measured": value, "when": _now()}))

    def _append(self, entry: Entry) -> Entry:
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        write_atomic(self.path, before + json.dumps(entry.model_dump()) + "\n")
        return entry


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
