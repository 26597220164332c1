"""The report: what was found in the data, counted, and what was set aside, with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from modelwright.core.run import write_atomic
from modelwright.data.examples import Reject


class Report(BaseModel):
    """Counts of everything that was found, and the examples in quarantine."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    source: str
    """Name of the source that read the data."""
    examples: int = 0
    """Examples read, before any was set aside."""
    splits: dict[str, int] = {}
    """Examples of each split, after cleaning."""
    given: tuple[str, ...] = ()
    """The splits that the data came with; the others were made."""
    missing: dict[str, int] = {}
    """Missing values by column, of the columns that have some; those below included."""
    infinite: dict[str, int] = {}
    """Infinite numbers by column; taken as missing."""
    unreadable: dict[str, int] = {}
    """Values of number columns that are no numbers, by column; taken as missing."""
    rejected: dict[str, int] = {}
    """Examples in quarantine, by kind of reason: unreadable, no target, unseen label, duplicate, leak."""
    duplicates: dict[str, int] = {}
    """Examples that repeat an earlier one of the same split, by split; whether they were kept is told by `rejected` and `notes`."""
    leaks: dict[str, int] = {}
    """Examples that stand in a later split too, by pair of splits: `train in test`."""
    conflicts: int = 0
    """Examples whose inputs stand elsewhere with another target; kept."""
    notes: list[str] = []
    """What the user should know, a clause each."""
    quarantine: list[Reject] = Field(default=[], exclude=True, repr=False)
    """The examples that were set aside."""

    def set_aside(self, kind: str, rejects: list[Reject]) -> None:
        """Put examples into quarantine and count them."""
        if rejects:
            self.rejected = {**self.rejected, kind: self.rejected.get(kind, 0) + len(rejects)}
            self.quarantine = [*self.quarantine, *rejects]

    def note(self, *notes: str) -> None:
        """Add what the user should know."""
        self.notes = [*self.notes, *notes]

    def to_dict(self) -> dict[str, Any]:
        """All counts and notes as JSON values; the quarantine is counted by `rejected` and written by `write_quarantine`."""
        return self.model_dump(mode="json")


def write_quarantine(report: Report, path: Path) -> None:
    """Write one JSON row `{"origin", "reason"}` for each example in quarantine.

    Raises:
        InputError: the disk is full or not writable.
    """
    rows = (json.dumps({"origin": reject.origin, "reason": reject.reason}, ensure_ascii=False) for reject in report.quarantine)
    write_atomic(path, "".join(f"{row}\n" for row in rows))
