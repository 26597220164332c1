"""Selection: which documents stay, and which split they go into.

Letters: R records (pieces), D documents, S segments.

All parts' records are looked at together, one column at a time; texts and signatures stay on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelwright.core.errors import InputError
from modelwright.data.corpus.assignment import TRAIN, by_content, by_place, wanted
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.duplicates import VALUES, digest_of, exact_leaders, near_leaders
from modelwright.data.corpus.filters import filters_of
from modelwright.data.corpus.inputs import InputFile
from modelwright.data.corpus.parts import RECORD, beside, load

SEGMENT = np.dtype([("part", "<i4"), ("offset", "<i8"), ("length", "<i8"), ("record", "<i8"), ("split", "u1"), ("begins", "?")])
"""Text that goes into a split: where its bytes lie, the record that they are of, and whether a document begins with it."""
KEPT, BROKEN, TOO_LONG, EXACT, NEAR = 0, 251, 252, 253, 254
"""Verdicts on a document; from 1 on: the number of the filter that drops it."""


class EmptyCorpusError(InputError):
    """The inputs hold nothing to train on, so that there is nothing to go on with either."""


@dataclass(frozen=True, slots=True)
class Documents:
    """All documents.

    Attributes:
        first: (D,) record that each begins with.
        sizes: (D,) bytes.
        digests: (D, 2) uint64.
        verdicts: (D,) uint8.
        given: (D,) int8: index of the split that its file's name speaks of, or -1.
        leaders: (D,) the document that each is a repeat of; itself for most.
    """

    first: np.ndarray
    sizes: np.ndarray
    digests: np.ndarray
    verdicts: np.ndarray
    given: np.ndarray
    leaders: np.ndarray


def read_records(parts: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """(R,) all records, and (P + 1,) where those of each part begin."""
    arrays = [load(beside(part, "records")) for part in parts]
    bounds = np.cumsum([0, *map(len, arrays)])
    return np.concatenate(arrays) if arrays else np.empty(0, dtype=RECORD), bounds


def judge(
    records: np.ndarray,
    bounds: np.ndarray,
    parts: Sequence[Path],
    files: Sequence[InputFile],
    config: CorpusConfig,
    report: Callable[[int, int], None],
) -> Documents:
    """Find the documents that stay: readable, not filtered out, and no repeats.

    Documents of a given validation or test split stay whatever they are: scores on them must compare with those of others. What repeats one of
    them leaves the training split.

    Raises:
        EmptyCorpusError: nothing is left.
    """
    documents = _gather(records, files, config)
    verdicts, leaders = documents.verdicts, documents.leaders
    kept = np.flatnonzero(verdicts == KEPT)
    # Given test and validation documents come first, so that repeats of them are the ones that go.
    rank = np.lexsort((kept, -documents.given[kept]))
    kept = kept[rank]
    if config.exact_duplicates:
        found = kept[exact_leaders(documents.digests[kept], np.arange(len(kept)))]
        _drop(kept, found, EXACT, documents)
        kept = kept[verdicts[kept] == KEPT]
    if config.near_duplicates:
        last = np.append(documents.first[1:], len(records)) - 1
        whole = kept[(last == documents.first)[kept] & (documents.sizes[kept] > 0)]
        found = whole[_near(documents.first[whole], bounds, parts, config, report)]
        _drop(whole, found, NEAR, documents)
    if not (verdicts == KEPT).any():
        dropped = f"all {len(verdicts):,} documents were dropped" if len(verdicts) else "there is no document in them"
        raise EmptyCorpusError(
            f"nothing is left to train on: {dropped}", where="the inputs", remedy="Look at the filters, or see data prepare --help"
        )
    assert (leaders >= 0).all()
    return documents


def _gather(records: np.ndarray, files: Sequence[InputFile], config: CorpusConfig) -> Documents:
    """The documents that the records are pieces of, with the verdicts of the filters."""
    first = np.flatnonzero(~records["continues"])
    assert not len(records) or first[0] == 0, "the first piece begins a document"
    verdicts = records["verdict"][first].copy()
    splits = np.array([file.split for file in files], dtype=np.int8)
    given = splits[records["file"][first]]
    if config.encoding_errors == "set_aside":
        verdicts[np.add.reduceat(records["broken"] > 0, first) > 0] = BROKEN
    characters = np.add.reduceat(records["characters"], first)
    if config.maximum_characters is not None:
        verdicts[(characters > config.maximum_characters) & (verdicts == KEPT)] = TOO_LONG
    verdicts[(given > TRAIN) & (verdicts != BROKEN)] = KEPT
    digests = records["digest"][first].copy()
    ends = np.append(first[1:], len(records))
    for document in np.flatnonzero(ends - first > 1):
        digests[document] = digest_of(records["digest"][first[document] : ends[document]].tobytes())
    sizes = np.add.reduceat(records["length"], first)
    return Documents(first, sizes, digests, verdicts, given, np.arange(len(first)))


def _drop(documents: np.ndarray, leaders: np.ndarray, verdict: int, every: Documents) -> None:
    """Drop the documents that have another one as their leader, but for those of given validation and test splits."""
    repeats = (documents != leaders) & (every.given[documents] <= TRAIN)
    every.verdicts[documents[repeats]] = verdict
    every.leaders[documents[repeats]] = leaders[repeats]


def _near(
    records: np.ndarray, bounds: np.ndarray, parts: Sequence[Path], config: CorpusConfig, report: Callable[[int, int], None]
) -> np.ndarray:
    """For each of the documents whose only `records` are given the place in them of the first one that it is similar to."""
    home = np.searchsorted(bounds, records, side="right") - 1
    row = records - bounds[home]
    order = np.argsort(home, kind="stable")
    cuts = np.flatnonzero(np.diff(home[order], prepend=-1))
    groups = [(parts[int(home[group[0]])], group) for group in np.split(order, cuts[1:])] if len(order) else []

    def keys(band: int) -> np.ndarray:
        found = np.empty(len(records), dtype=np.uint64)
        for part, group in groups:
            found[group] = load(beside(part, "bands"), mapped=True)[band][row[group]]
        return found

    def signatures(chosen: np.ndarray) -> np.ndarray:
        found = np.empty((len(chosen), VALUES), dtype=np.uint32)
        homes = home[chosen]
        for part in np.unique(homes):
            here = homes == part
            found[here] = load(beside(parts[part], "signatures"), mapped=True)[row[chosen[here]]]
        return found

    return near_leaders(len(records), keys, signatures, config.near_duplicates, report)


def assign(
    documents: Documents, records: np.ndarray, bounds: np.ndarray, parts: Sequence[Path], config: CorpusConfig
) -> tuple[np.ndarray, str]:
    """The (S,) segments of all splits, in the order of the inputs, and how the documents came into their splits.

    Raises:
        EmptyCorpusError: nothing is left to train on.
    """
    kept = np.flatnonzero(documents.verdicts == KEPT)
    splits = np.maximum(documents.given[kept], TRAIN)
    pool = np.flatnonzero(splits == TRAIN)
    sizes = documents.sizes[kept]
    sought = wanted(int(sizes[pool].sum()), splits, config)
    if not len(pool):
        raise EmptyCorpusError("nothing is left to train on", where="the inputs", remedy="Give files of the training split too")
    drawn = by_content(documents.digests[kept[pool]], sizes[pool], sought, config.seed)
    if drawn is not None:
        splits[pool] = drawn
    segments = _segments(kept, splits, documents, records, bounds)
    given = bool((documents.given[kept] > TRAIN).any())
    how = "by document" if sought else "as given" if given else "not at all"
    if drawn is None:
        segments = _cut(segments, sought, parts)
        how = "by position"
    if not {TRAIN, *sought} <= set(segments["split"].tolist()):
        raise EmptyCorpusError(f"{int(sizes.sum()):,} bytes of text are too few to be split", where="the inputs", expected="more text")
    return segments, f"as given, the rest {how}" if given and sought else how


def _segments(kept: np.ndarray, splits: np.ndarray, documents: Documents, records: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The segments of whole documents."""
    ends = np.append(documents.first[1:], len(records))[kept]
    numbers = ends - documents.first[kept]
    chosen = np.repeat(documents.first[kept] - (np.cumsum(numbers) - numbers), numbers) + np.arange(numbers.sum())
    segments = np.empty(len(chosen), dtype=SEGMENT)
    segments["part"] = np.searchsorted(bounds, chosen, side="right") - 1
    segments["record"] = chosen
    for field in ("offset", "length"):
        segments[field] = records[field][chosen]
    segments["split"] = np.repeat(splits, numbers)
    segments["begins"] = ~records["continues"][chosen]
    return segments


def _cut(segments: np.ndarray, sought: dict[int, int], parts: Sequence[Path]) -> np.ndarray:
    """The segments with those for training cut in the order of the inputs, so that what comes last is for validation and test."""
    pool = segments["split"] == TRAIN
    ends = np.cumsum(np.where(pool, segments["length"], 0))
    pieces = [segments[~pool]]
    begin = 0
    for split, end in by_place(int(ends[-1]), sought):
        end = _aligned(end, ends, segments, parts)
        lower = np.maximum(ends - segments["length"], begin)
        upper = np.minimum(ends, end)
        here = pool & (upper > lower)
        piece = segments[here]
        into = (lower - (ends - segments["length"]))[here]
        piece["offset"] += into
        piece["length"] = (upper - lower)[here]
        piece["split"] = split
        piece["begins"] &= into == 0
        piece["begins"][:1] = True
        pieces.append(piece)
        begin = end
    together = np.concatenate(pieces)
    return together[np.lexsort((together["offset"], together["part"]))]


def _aligned(end: int, ends: np.ndarray, segments: np.ndarray, parts: Sequence[Path]) -> int:
    """The place at or after `end` where a character begins."""
    row = int(np.searchsorted(ends, end, side="right"))
    if row == len(segments):
        return end
    segment = segments[row]
    into = end - int(ends[row] - segment["length"])
    with parts[segment["part"]].open("rb") as file:
        file.seek(int(segment["offset"]) + into)
        following = file.read(4)
    return end + next((step for step, byte in enumerate(following) if byte & 0xC0 != 0x80), len(following))


def reasons(config: CorpusConfig) -> dict[int, tuple[str, str]]:
    """Name of each verdict, and what it says."""
    named = {number: (rule.name, rule.says) for number, rule in enumerate(filters_of(config), 1)}
    return named | {
        BROKEN: ("broken text", f"bytes that are no {config.encoding or 'UTF-8'} text"),
        TOO_LONG: ("too long", f"more than {config.maximum_characters or 0:,} characters"),
        EXACT: ("exact duplicate", "repeats another document"),
        NEAR: ("near-duplicate", "nearly repeats another document"),
    }
