"""A corpus: a folder of prepared text, with its tokenizer, its shards by split, and the report of how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelwright.core.disk import write_atomic
from modelwright.core.errors import InputError
from modelwright.data.corpus.store import TokenStore
from modelwright.data.tokenizer import Tokenizer

FORMAT = 1
DESCRIPTION = "corpus.json"
TOKENIZER = "tokenizer.json"
SPLITS = ("train", "validation", "test")
CHECKED_BYTES = 1 << 28
"""Shards of a corpus up to this size are compared with their digests whenever it is opened; a larger one's when asked for."""


class Corpus:
    """An open corpus.

    Attributes:
        path: its folder.
        tokenizer: of all splits.
        splits: a store for each split that has tokens.
        report: what `prepare` found and dropped.
        config: how it was prepared.
        inputs: a digest of the files that it was made of; empty if it is not known.
        digest: of tokenizer and tokens.
    """

    def __init__(self, path: Path, tokenizer: Tokenizer, splits: dict[str, TokenStore], description: Mapping[str, Any]) -> None:
        self.path, self.tokenizer, self.splits = path, tokenizer, splits
        self.report: dict[str, Any] = description["report"]
        self.config: dict[str, Any] = description["config"]
        self.inputs: str = description.get("inputs", "")
        self._entries = description["splits"]
        parts = [tokenizer.digest, *(f"{name} {store.digest}" for name, store in splits.items())]
        self.digest = hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()

    @classmethod
    def open(cls, path: Path | str, *, verify: bool | None = None) -> Corpus:
        """Open a corpus folder.

        Args:
            path: the folder.
            verify: whether all shards are compared with their digests; None: those of a small corpus.

        Raises:
            InputError: it is no corpus, of an unknown format, damaged, or empty.
        """
        path = Path(path)
        description = read_description(path)
        try:
            tokenizer = Tokenizer.from_json((path / TOKENIZER).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"can't be read ({error})", where=path / TOKENIZER, remedy="Prepare the corpus again") from None
        if tokenizer.digest != description["tokenizer"]:
            raise InputError(
                "is not the tokenizer that the corpus was made with", where=path / TOKENIZER, remedy="Prepare the corpus again"
            )
        try:
            splits = {
                name: TokenStore.open(path, description["splits"][name], tokenizer.size, tokenizer.separator)
                for name in SPLITS
                if name in description["splits"] and description["splits"][name]["tokens"]
            }
            corpus = cls(path, tokenizer, splits, description)
        except (KeyError, TypeError) as error:
            raise InputError(f"is damaged ({error!r})", where=path / DESCRIPTION, remedy="Prepare the corpus again") from None
        if not splits:
            raise InputError("the corpus is empty", where=path, remedy="See its report on what was dropped, and prepare it again")
        small = sum(store.tokens for store in splits.values()) * tokenizer.dtype.itemsize <= CHECKED_BYTES
        if small if verify is None else verify:
            corpus.verify()
        return corpus

    def verify(self) -> None:
        """Compare every shard with its digest.

        Raises:
            InputError: names the shard that is not what it was.
        """
        for entry in self._entries.values():
            for shard in entry["shards"]:
                path = self.path / shard["file"]
                if file_digest(path) != shard["digest"]:
                    raise InputError("the shard is damaged", where=path, remedy="Copy it again, or prepare the corpus again")


def file_digest(path: Path) -> str:
    """The digest of a shard's file, as `ShardWriter` writes it down."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def is_corpus(path: Path) -> bool:
    """Whether a folder looks like a corpus."""
    return (path / DESCRIPTION).is_file() and (path / TOKENIZER).is_file()


def read_description(path: Path) -> dict[str, Any]:
    """The content of `corpus.json`.

    Raises:
        InputError: it is missing, damaged or of another format.
    """
    file = path / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"is no corpus: it has no {DESCRIPTION}", where=path, remedy="Make one with: modelwright data prepare") from None
    except (OSError, ValueError) as error:
        raise InputError(f"is damaged ({error})", where=file, remedy="Prepare the corpus again") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else description
        raise InputError(f"is of the format {found!r}", where=file, expected=f"{FORMAT}", remedy="Prepare the corpus again")
    lacking = [key for key in ("config", "tokenizer", "report", "splits") if key not in description]
    if lacking:
        raise InputError(f"lacks {', '.join(lacking)}", where=file, remedy="Prepare the corpus again")
    return description


def write_description(
    folder: Path,
    tokenizer: Tokenizer,
    splits: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    report: Mapping[str, Any],
    inputs: str,
) -> None:
    """Write `tokenizer.json` and, as the last of all files, `corpus.json`.

    Args:
        folder: of the corpus, with all shards in it.
        tokenizer: that made the shards.
        splits: what `ShardWriter.close` gave, by split.
        config: how the corpus was prepared, as JSON values.
        report: what was found and dropped, as JSON values.
        inputs: a digest of the files that the corpus was made of.

    Raises:
        InputError: the disk is full or not writable.
    """
    write_atomic(folder / TOKENIZER, tokenizer.to_json())
    description = {
        "format": FORMAT,
        "config": dict(config),
        "inputs": inputs,
        "tokenizer": tokenizer.digest,
        "report": dict(report),
        "splits": {name: dict(splits[name]) for name in SPLITS if name in splits},
    }
    write_atomic(folder / DESCRIPTION, json.dumps(description, ensure_ascii=False, indent=1))
