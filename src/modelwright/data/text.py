"""Text as data: the corpora that a source names, prepared where they aren't yet, and the splits of windows over them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.disk import disk_errors, written_aside
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.corpus import TOKENIZER, Corpus
from modelwright.data.corpus.inputs import SetAside, Span, examine, find_files
from modelwright.data.corpus.normalization import normalize
from modelwright.data.corpus.reading import check_readers, read_span
from modelwright.data.corpus.store import TokenStore
from modelwright.data.examples import SPLITS, Examples
from modelwright.data.report import Report
from modelwright.data.source import find_source, sources
from modelwright.data.token_split import TokenSplit
from modelwright.data.tokenizer import Tokenizer

CACHE_VARIABLE = "MODELWRIGHT_CACHE"
PIPELINE = 1
"""Counts the changes of what a preparation makes of the same files and settings: older corpora in the cache are not used again."""
LEFTOVER_SECONDS = 86_400.0
"""No preparation into the cache takes as long: what is older was left by one that was killed."""


@dataclass(frozen=True, slots=True)
class Corpora:
    """What a text source names.

    Attributes:
        corpora: one or several, all of one tokenizer.
        weights: shares of the corpora in training; None: as long as they are.
        notes: what the user should know about how they came about.
    """

    corpora: tuple[Corpus, ...]
    weights: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


class TextSource:
    """A source of text. It has no examples in memory but corpora on disk.

    Attributes:
        accepts: the form in a few words, for error messages.
        names: names of the sets that it carries itself.
    """

    accepts: str
    names: tuple[str, ...] = ()

    def recognizes(self, argument: str) -> float:
        """How sure it is that `argument` is of its form: 0 not at all, 1 entirely."""
        raise NotImplementedError

    def corpora(self, argument: str, config: DataConfig, seed: int) -> Corpora:
        """The corpora that `argument` names, prepared now if they aren't yet.

        Args:
            argument: what `recognizes` was sure of.
            config: how raw text is to be prepared.
            seed: of the splits that are made.

        Raises:
            InputError: nothing can be read.
        """
        raise NotImplementedError

    def files(self, argument: str) -> list[Path]:
        """The raw files that `argument` names; none if it names prepared corpora."""
        return []

    def read(self, argument: str, config: DataConfig) -> Examples:
        """Nothing: text has no columns.

        Raises:
            InputError: always.
        """
        raise InputError("holds text", where=argument, expected="examples like those that the model was trained on")


def load_text(name: str, source: TextSource, config: DataConfig, seed: int) -> tuple[Schema, dict[str, TokenSplit], Report]:
    """Schema, splits and report of the text that `config` names; the report's `splits` are counted in tokens, its `examples` in documents.

    Raises:
        InputError: nothing can be read, corpora are of several tokenizers, or the training split is shorter than a window.
    """
    found = source.corpora(config.path, config, seed)
    tokenizer = common_tokenizer(found.corpora)
    schema = text_schema(tokenizer, config.context)
    report = Report(source=name)
    splits: dict[str, TokenSplit] = {}
    for split in SPLITS:
        held = [number for number, corpus in enumerate(found.corpora) if split in corpus.splits]
        stores = [found.corpora[number].splits[split] for number in held]
        if split == "train":
            check_length(stores, [found.corpora[number].path for number in held], config)
        if stores:
            weights = [found.weights[number] for number in held] if found.weights and split == "train" else None
            splits[split] = TokenSplit(schema, stores, packing=config.packing, weights=weights)
    report.splits = {split: tokens.tokens for split, tokens in splits.items()}
    report.examples = sum(corpus.report.get("read", {}).get("documents", 0) for corpus in found.corpora)
    report.given = tuple(splits) if all("as given" in str(corpus.report.get("split")) for corpus in found.corpora) else ()
    report.note(*found.notes, *(note for corpus in found.corpora for note in preparation_notes(corpus.report)))
    name = "" if tokenizer.kind in ("bytes", "characters", "words") else " tokens"
    report.note(f"tokenizer: {tokenizer.size - 1:,} {tokenizer.kind}{name}, and the separator of documents")
    return schema, splits, report


def preparation_notes(report: Mapping[str, Any]) -> list[str]:
    """What a preparation read, set aside and dropped, a clause each."""
    notes = []
    if read := report.get("read"):
        many = read["documents"] != 1
        documents = f"{read['documents']:,} documents" if many else "1 document"
        notes.append(
            f"{documents} of {read['bytes']:,} bytes {'were' if many else 'was'} read, and split {report.get('split', 'as given')}"
        )
    notes += [f"set aside: {count:,} by the reason `{reason}`" for reason, count in report.get("set_aside", {}).items()]
    notes += [f"dropped: {row['documents']:,} by the filter `{name}` ({row['says']})" for name, row in report.get("dropped", {}).items()]
    broken = report.get("broken", {})
    if broken.get("documents"):
        notes.append(f"{broken['characters']:,} broken characters in {broken['documents']:,} documents were replaced")
    return notes


def text_schema(tokenizer: Tokenizer, context: int) -> Schema:
    """The schema of windows of `context` tokens, each with the next token as its target."""
    text = Feature(name="text", type="text", shape=(context,), vocabulary=tokenizer.size, tokenizer=tokenizer.to_json())
    return Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=tokenizer.size))


def common_tokenizer(corpora: Sequence[Corpus]) -> Tokenizer:
    """The tokenizer of all corpora.

    Raises:
        InputError: they are of several.
    """
    first = corpora[0]
    for other in corpora[1:]:
        if other.tokenizer.digest != first.tokenizer.digest:
            raise InputError(
                f"was prepared with another tokenizer than {first.path}",
                where=other.path,
                remedy=f"Prepare it with the tokenizer of the first one, {first.path / 'tokenizer.json'}",
            )
    return first.tokenizer


def check_length(stores: Sequence[TokenStore], paths: Sequence[Path], config: DataConfig) -> None:
    """See that there is at least one whole window to train on in every store.

    Raises:
        InputError: there is not.
    """
    if not stores:
        raise InputError("has no training split", where=config.path, remedy="Prepare the text again, without given splits")
    for store, path in zip(stores, paths, strict=True):
        if store.tokens <= config.context:
            most = store.tokens - 1
            raise InputError(
                f"a context of {config.context:,} is longer than the training split of {store.tokens:,} tokens",
                where=path if len(stores) > 1 else config.path,
                remedy=f"Set data.context to at most {most}" if most > 0 else "Give more text",
            )


def cache_folder() -> Path:
    """Where text that is prepared on the fly is kept: `$MODELWRIGHT_CACHE`, or `~/.cache/modelwright`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "modelwright")


def prepared(inputs: Sequence[Path], config: CorpusConfig) -> Corpus:
    """The corpus of some files, from the cache if it was made there before of the same files in the same way.

    Raises:
        InputError: nothing can be read, or the cache can't be written to.
    """
    from modelwright.data.corpus.prepare import prepare

    target = cache_folder() / "corpora" / _digest_of_files(inputs, config)
    _sweep(target.parent)
    if target.is_dir():
        try:
            return Corpus.open(target)
        except InputError:
            pass  # it was damaged there: it is made anew, in the place of the old one
    try:
        with disk_errors(target), written_aside(target) as made:
            prepare(list(inputs), made, config)
    except RunInterrupted:
        raise RunInterrupted("Interrupted while the text was prepared; nothing is kept.") from None
    return Corpus.open(target)


def _sweep(folder: Path) -> None:
    """Take away what killed preparations left half written in the cache."""
    for left in folder.glob(".*-*"):
        with suppress(OSError):
            newest = max(path.stat().st_mtime for path in (left, *left.glob("*"), *left.glob("*/*")))
            if time.time() - newest > LEFTOVER_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def _digest_of_files(inputs: Sequence[Path], config: CorpusConfig) -> str:
    """A digest of paths, sizes, times of the last change, settings, and the way in which all of this is prepared."""
    rows: list[object] = [PIPELINE, config.model_dump(mode="json")]
    for path, name in find_files(inputs)[0]:
        status = path.stat()
        rows.append((str(path), name, status.st_size, status.st_mtime_ns))
    tokenizer = getattr(config.tokenizer, "path", None)
    if tokenizer is not None:
        file = Path(tokenizer, TOKENIZER) if Path(tokenizer).is_dir() else Path(tokenizer)
        status = file.stat() if file.exists() else None
        rows.append(status and (status.st_size, status.st_mtime_ns))
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()


def read_text(argument: str, schema: Schema, config: DataConfig, *, split: str = "all") -> tuple[TokenSplit, list[str], str]:
    """The text that `argument` names, as windows for an evaluation with a fitted schema, notes on what was set aside, and the split's name.

    Raw text is encoded with the schema's tokenizer, unfiltered; a prepared corpus must have been made with it.

    Args:
        argument: a corpus, a mixture, the name of a set, or raw text.
        schema: of the model.
        config: how the training data was read.
        split: `train`, `validation` or `test` where the text has splits; `all`.

    Returns:
        the windows; the notes; `split`, or `data` if the text has no splits and all of it was taken.

    Raises:
        InputError: it is no text, has no such split, was prepared with another tokenizer, or holds a character that there is no token for.
    """
    source = _text_source(argument, config)
    tokenizer = Tokenizer.from_json(schema.text.tokenizer)
    files = source.files(argument)
    stores, notes = _prepared_stores(source, argument, config, tokenizer) if not files else _raw_stores(files, config, tokenizer)
    chosen = [store for name, found in stores.items() for store in found if split in ("all", name) or name == ""]
    if not chosen:
        raise InputError(f"has no split {split!r}", where=argument, expected=f"one of {', '.join(stores)}, all")
    return TokenSplit(schema, chosen, packing=config.packing), notes, "data" if "" in stores else split


def _text_source(argument: str, config: DataConfig) -> TextSource:
    """The source of text that recognizes `argument`; where none does, or another one is surer, the one that the configuration names.

    Raises:
        InputError: there is neither.
    """
    named = sources[config.source]() if config.source else None
    try:
        source = find_source(argument)[1]
    except InputError:
        if named is None:
            raise
        source = named
    if not isinstance(source, TextSource):
        source = named
    # A source of sets that it carries itself reads nothing else.
    if not isinstance(source, TextSource) or (source.names and argument not in source.names):
        raise InputError("holds no text", where=argument, expected="text, as the model was trained on")
    return source


def _prepared_stores(
    source: TextSource, argument: str, config: DataConfig, tokenizer: Tokenizer
) -> tuple[dict[str, list[TokenStore]], list[str]]:
    """The stores of prepared corpora by split."""
    found = source.corpora(argument, config, 0)
    for corpus in found.corpora:
        if corpus.tokenizer.digest != tokenizer.digest:
            raise InputError(
                "was prepared with another tokenizer than the model's",
                where=corpus.path,
                remedy="Give the raw text, or prepare it with the tokenizer.json of the run",
            )
    names = [name for name in SPLITS if any(name in corpus.splits for corpus in found.corpora)]
    return {name: [corpus.splits[name] for corpus in found.corpora if name in corpus.splits] for name in names}, []


def _raw_stores(paths: Sequence[Path], config: DataConfig, tokenizer: Tokenizer) -> tuple[dict[str, list[TokenStore]], list[str]]:
    """Stores in memory of raw files, by the split that their names speak of, or under an empty name if they speak of none."""
    settings = CorpusConfig(encoding=config.encoding)
    files, aside = examine(find_files(paths)[0], settings)
    check_readers(files)
    parts: dict[int, list[np.ndarray]] = {}
    sizes: Counter[int] = Counter()
    documents: Counter[int] = Counter()
    separator = np.array([tokenizer.separator], dtype=tokenizer.dtype)
    for number, file in enumerate(files):
        for found in read_span(Span(number), file, settings):
            if isinstance(found, SetAside):
                aside.append(found)
                continue
            text = normalize(found.text, settings.normalization)
            begin = [] if found.continues else [separator]
            parts.setdefault(file.split, []).extend([*begin, tokenizer.encode(text)])
            sizes[file.split] += len(text.encode())
            documents[file.split] += not found.continues
    if not documents:
        why = f" ({aside[0].origin}: {aside[0].detail})" if aside else ""
        raise InputError(
            f"holds no text that can be read{why}", where=paths[0], expected="text in UTF-8, or JSON lines or Parquet with a column `text`"
        )
    stores = {
        "" if split < 0 else SPLITS[split]: [
            TokenStore([np.concatenate(part)], tokenizer.separator, tokenizer.size, size=sizes[split], documents=documents[split])
        ]
        for split, part in sorted(parts.items())
    }
    return stores, [f"{one.origin}: {one.detail}" for one in aside]
