"""Summary: the report of a preparation, and samples of what it dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.data.corpus import leaks
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.inputs import SPLIT_NAMES, InputFile, SetAside
from modelwright.data.corpus.parts import MOST_ASIDE, aside_of, beside, load
from modelwright.data.corpus.selection import KEPT, Documents, reasons

SAMPLES = 20
"""Documents of each filter that are shown in `dropped.jsonl`."""
EXCERPT = 200
"""Characters of a shown document."""


@dataclass
class Summary:
    """What was found.

    Attributes:
        report: counts, for `corpus.json`.
        samples: rows of `dropped.jsonl`: `filter`, `origin`, `reason`, and `text` where there is one.
    """

    report: dict[str, Any]
    samples: list[dict[str, str]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)

    def tell_leaks(
        self,
        index: Path,
        segments: np.ndarray,
        encoded: Sequence[Path],
        parts: Sequence[Path],
        files: Sequence[InputFile],
        config: CorpusConfig,
    ) -> None:
        """Report what stands both in the training split and in another one."""
        hits = [tuple(row) for folder in encoded for row in load(folder / "hits.npy").tolist()]
        found = np.zeros(len(load(index / "hashes.npy")), dtype=bool)
        for folder in encoded:
            found[load(folder / "found.npy")] = True
        read = segment_reader(parts, segments)
        splits = segments["split"]
        self.report["leaks"] = {
            "words": config.leak_words,
            "splits": leaks.summarize(index, splits, SPLIT_NAMES, found),
            "samples": leaks.samples(index, splits, hits, read, origin_reader(parts, segments, files)),
        }


def segment_reader(parts: Sequence[Path], segments: np.ndarray) -> Callable[[int], bytes]:
    """A function that gives the text of a segment."""

    def read(number: int) -> bytes:
        segment = segments[number]
        with parts[segment["part"]].open("rb") as file:
            file.seek(int(segment["offset"]))
            return file.read(int(segment["length"]))

    return read


def origin_reader(parts: Sequence[Path], segments: np.ndarray, files: Sequence[InputFile]) -> Callable[[int], str]:
    """A function that tells where a segment stands in the inputs."""
    lengths = [len(load(beside(part, "records"), mapped=True)) for part in parts]
    bounds = np.cumsum([0, *lengths])

    def origin(number: int) -> str:
        segment = segments[number]
        row = int(segment["record"] - bounds[segment["part"]])
        record = load(beside(parts[segment["part"]], "records"), mapped=True)[row]
        return files[int(record["file"])].origin(int(record["row"]))

    return origin


def summarize(
    documents: Documents,
    records: np.ndarray,
    bounds: np.ndarray,
    parts: Sequence[Path],
    files: Sequence[InputFile],
    config: CorpusConfig,
    folders: Sequence[Path],
    aside: Sequence[SetAside],
    hidden: int,
    how: str,
) -> Summary:
    """Count what was read, set aside and dropped."""
    counts: dict[str, int] = {}
    listed = list(aside[:MOST_ASIDE])
    for what in aside:
        counts[what.reason] = counts.get(what.reason, 0) + 1
    for numbers, some in aside_of(folders):
        listed += some
        for reason, number in numbers.items():
            counts[reason] = counts.get(reason, 0) + number
    dropped = {}
    for verdict, (name, says) in reasons(config).items():
        here = documents.verdicts == verdict
        if here.any():
            dropped[name] = {"says": says, "documents": int(here.sum()), "bytes": int(documents.sizes[here].sum())}
    broken = records["broken"] > 0
    read = {"documents": len(documents.first), "bytes": int(documents.sizes.sum()), "characters": int(records["characters"].sum())}
    report = {
        "files": len(files),
        "hidden_files": hidden,
        "set_aside": counts,
        "read": read,
        "broken": {"documents": int(documents_with(broken, documents)), "characters": int(records["broken"].sum())},
        "dropped": dropped,
        "split": how,
    }
    samples = [{"filter": what.reason, "origin": what.origin, "reason": what.detail} for what in listed]
    return Summary(report, samples + _samples(documents, records, bounds, parts, files, config))


def documents_with(marked: np.ndarray, documents: Documents) -> int:
    """How many documents have a record that is `marked`."""
    return int((np.add.reduceat(marked, documents.first) > 0).sum()) if len(documents.first) else 0


def _samples(
    documents: Documents,
    records: np.ndarray,
    bounds: np.ndarray,
    parts: Sequence[Path],
    files: Sequence[InputFile],
    config: CorpusConfig,
) -> list[dict[str, str]]:
    """The first few documents that each filter dropped."""

    def origin(document: int) -> str:
        record = records[documents.first[document]]
        return files[int(record["file"])].origin(int(record["row"]))

    rows = []
    for verdict, (name, says) in reasons(config).items():
        for document in np.flatnonzero(documents.verdicts == verdict)[:SAMPLES].tolist():
            first = int(documents.first[document])
            part = int(np.searchsorted(bounds, first, side="right")) - 1
            with parts[part].open("rb") as file:
                file.seek(int(records["offset"][first]))
                content = file.read(min(int(records["length"][first]), 4 * EXCERPT))
            leader = int(documents.leaders[document])
            reason = says if leader == document else f"{says}: {origin(leader)}"
            text = content.decode("utf-8", "ignore")[:EXCERPT]
            rows.append({"filter": name, "origin": origin(document), "reason": reason, "text": text})
    assert KEPT not in reasons(config)
    return rows
