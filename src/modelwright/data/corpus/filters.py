"""Filters: rules by which a document is dropped, each with a name of its own, and sets of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from modelwright.data.corpus.config import CorpusConfig

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))
"""At least two of them stand in English prose (Rae et al. 2021, section A1.1)."""
BULLETS = ("•", "‣", "●", "-", "*", "–")
PARAGRAPH = re.compile(r"\n\s*\n")
_COUNTED = np.zeros(256, dtype=bool)
_COUNTED[[value for value in range(256) if value >= 0x80 or chr(value).isalnum()]] = True


class Document:
    """A document as filters see it; what several of them need is computed once."""

    def __init__(self, text: str, content: bytes) -> None:
        self.text, self.content = text, content

    @cached_property
    def words(self) -> list[str]:
        """What stands between white space."""
        return self.text.split()

    @cached_property
    def lines(self) -> list[str]:
        """The lines that hold something visible."""
        return [line for line in self.text.split("\n") if line.strip()]

    @cached_property
    def paragraphs(self) -> list[str]:
        """What stands between blank lines."""
        return [part for part in PARAGRAPH.split(self.text.strip()) if part]


def repeated_share(parts: Sequence[str]) -> tuple[float, float]:
    """Share of the parts that repeat an earlier one, by number and by characters."""
    if not parts:
        return 0.0, 0.0
    counts = Counter(parts)
    characters = sum(map(len, parts))
    return 1 - len(counts) / len(parts), 1 - sum(map(len, counts)) / max(1, characters)


@dataclass(frozen=True, slots=True)
class Filter:
    """A rule.

    Attributes:
        name: how reports call it.
        says: what it drops, as a clause.
        drops: whether it drops a document.
    """

    name: str
    says: str
    drops: Callable[[Document], bool]


@dataclass(frozen=True, slots=True)
class TooShort:
    """Fewer than `least` characters."""

    least: int

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        return len(document.text) < self.least


def is_blank(document: Document) -> bool:
    """Nothing visible."""
    return not document.text.strip()


@dataclass(frozen=True, slots=True)
class Garbled:
    """More than `most` of the characters are replacements of broken ones."""

    most: float

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        return document.text.count("\ufffd") > self.most * len(document.text)


@dataclass(frozen=True, slots=True)
class Symbols:
    """Less than `least` of the bytes belong to letters and digits, in a document of at least `size` bytes."""

    least: float
    size: int

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        if len(document.content) < self.size:
            return False
        counts = np.bincount(np.frombuffer(document.content, dtype=np.uint8), minlength=256)
        return bool(counts[_COUNTED].sum() < self.least * len(document.content))


@dataclass(frozen=True, slots=True)
class RepeatedLines:
    """More than `by_number` of the lines, or `by_characters` of their characters, stand in lines that repeat an earlier one; of `least` lines."""

    by_number: float
    by_characters: float
    least: int = 2

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        if document.content.count(b"\n") + 1 < self.least or len(document.lines) < self.least:
            return False
        number, characters = repeated_share(document.lines)
        return number > self.by_number or characters > self.by_characters


@dataclass(frozen=True, slots=True)
class RepeatedParagraphs:
    """More than `by_number` of the paragraphs, or `by_characters` of their characters, repeat an earlier one."""

    by_number: float
    by_characters: float

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        number, characters = repeated_share(document.paragraphs)
        return number > self.by_number or characters > self.by_characters


@dataclass(frozen=True, slots=True)
class FrequentSequence:
    """The most frequent sequence of `words` words holds more than `most` of the characters of all words."""

    words: int
    most: float

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        words = document.words
        counts = Counter(zip(*(words[place:] for place in range(self.words)), strict=False))
        if not counts:
            return False
        sequence, number = max(counts.items(), key=lambda item: (item[1] * sum(map(len, item[0])), item[0]))
        return number > 1 and number * sum(map(len, sequence)) > self.most * sum(map(len, words))


@dataclass(frozen=True, slots=True)
class RepeatedSequences:
    """More than `most` of the characters of all words stand in sequences of `words` words that repeat an earlier one; each counts once."""

    words: int
    most: float

    def __call__(self, document: Document) -> bool:
        """Whether the document is dropped."""
        words = document.words
        seen: set[tuple[str, ...]] = set()
        repeated = np.zeros(len(words), dtype=bool)
        for place, sequence in enumerate(zip(*(words[begin:] for begin in range(self.words)), strict=False)):
            if sequence in seen:
                repeated[place : place + self.words] = True
            seen.add(sequence)
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        return bool(lengths[repeated].sum() > self.most * lengths.sum())


def _share(parts: Sequence[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, parts)) / len(parts) if parts else 0.0


def _mean_word_length(document: Document) -> float:
    return sum(map(len, document.words)) / max(1, len(document.words))


def _symbols_per_word(document: Document) -> float:
    ellipses = document.text.count("…") + document.text.count("...")
    return max(document.text.count("#"), ellipses) / max(1, len(document.words))


DEFAULT = (
    Filter("blank", "nothing visible in it", is_blank),
    Filter("garbled", "more than 20 % of the characters are broken", Garbled(0.2)),
    Filter("symbols", "less than 10 % of it are letters and digits", Symbols(0.1, 500)),
    Filter("repetitive", "more than 90 % of its lines repeat an earlier one", RepeatedLines(0.9, 1.0, 50)),
)
"""Takes away what is no text at all; source code, tables and verse stay."""

_MOST_FREQUENT = {2: 0.20, 3: 0.18, 4: 0.16}
_MOST_REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}

GOPHER = (
    *DEFAULT,
    Filter("word count", "fewer than 50 or more than 100,000 words", lambda document: not 50 <= len(document.words) <= 100_000),
    Filter("mean word length", "a mean word length outside 3 to 10", lambda document: not 3 <= _mean_word_length(document) <= 10),
    Filter("symbols per word", "more than one # or ellipsis for 10 words", lambda document: _symbols_per_word(document) > 0.1),
    Filter(
        "bullet points",
        "more than 90 % of the lines begin with a bullet point",
        lambda document: _share(document.lines, lambda line: line.lstrip().startswith(BULLETS)) > 0.9,
    ),
    Filter(
        "ellipses",
        "more than 30 % of the lines end with an ellipsis",
        lambda document: _share(document.lines, lambda line: line.rstrip().endswith(("…", "..."))) > 0.3,
    ),
    Filter(
        "words without letters",
        "less than 80 % of the words hold a letter",
        lambda document: _share(document.words, lambda word: any(map(str.isalpha, word))) < 0.8,
    ),
    Filter("stop words", "fewer than two common English words", lambda document: len(STOP_WORDS.intersection(document.words)) < 2),
    Filter("repeated lines", "more than 30 % of the lines, or 20 % of their characters, repeat an earlier one", RepeatedLines(0.3, 0.2)),
    Filter("repeated paragraphs", "more than 30 % of the paragraphs, or 20 % of their characters, repeat", RepeatedParagraphs(0.3, 0.2)),
    *(
        Filter(
            f"frequent {words} words", f"a sequence of {words} words holds more than {most:.0%} of the text", FrequentSequence(words, most)
        )
        for words, most in _MOST_FREQUENT.items()
    ),
    *(
        Filter(
            f"repeated {words} words",
            f"more than {most:.0%} of the text repeats sequences of {words} words",
            RepeatedSequences(words, most),
        )
        for words, most in _MOST_REPEATED.items()
    ),
)
"""Quality and repetition rules for English prose (Rae et al. 2021, arXiv:2112.11446, section A1.1 and table A1), after `DEFAULT`."""

SETS: dict[str, tuple[Filter, ...]] = {"none": (), "default": DEFAULT, "gopher": GOPHER}


def filters_of(config: CorpusConfig) -> list[Filter]:
    """The filters that a configuration asks for, in the order in which they are tried."""
    chosen = list(SETS[config.filters])
    if config.minimum_characters:
        chosen.append(Filter("too short", f"fewer than {config.minimum_characters:,} characters", TooShort(config.minimum_characters)))
    return chosen
