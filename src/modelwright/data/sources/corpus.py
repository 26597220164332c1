"""Corpus folders, as `data prepare` makes them."""

from __future__ import annotations

from pathlib import Path

from modelwright.data.config import DataConfig
from modelwright.data.corpus.corpus import Corpus, is_corpus
from modelwright.data.source import sources
from modelwright.data.text import Corpora, TextSource


@sources.register("corpus")
class CorpusFolder(TextSource):
    """Opens a prepared corpus; its own splits and tokenizer are kept."""

    accepts = "a corpus folder made by `data prepare`"

    def recognizes(self, argument: str) -> float:
        """Sure of a folder with a description of a corpus."""
        return float(is_corpus(Path(argument)))

    def corpora(self, argument: str, config: DataConfig, seed: int) -> Corpora:
        """The one corpus.

        Raises:
            InputError: it is damaged, or empty.
        """
        return Corpora((Corpus.open(argument),))
