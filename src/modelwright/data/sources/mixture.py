"""Mixtures of corpora: a YAML file `corpora: {path: weight}`."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field

from modelwright.core.config import Config, read_yaml, validate
from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.corpus.corpus import Corpus
from modelwright.data.source import sources
from modelwright.data.text import Corpora, TextSource, common_tokenizer


class MixtureConfig(Config):
    """What a mixture is made of."""

    corpora: dict[str, float] = Field(min_length=1)
    """Weight of each corpus folder, whose path starts from the folder of the file; a corpus of weight 2 is seen twice as much as one of 1."""


@sources.register("mixture")
class Mixture(TextSource):
    """Opens several corpora of one tokenizer, to be drawn from by weight; validation and test are all of theirs."""

    accepts = "a mixture of corpora (.yaml with `corpora: {path: weight}`)"

    def recognizes(self, argument: str) -> float:
        """Sure of a YAML file."""
        path = Path(argument)
        return float(path.is_file() and path.suffix.lower() in (".yaml", ".yml"))

    def corpora(self, argument: str, config: DataConfig, seed: int) -> Corpora:
        """All of them.

        Raises:
            InputError: the file is no mixture, a weight is not positive, or the corpora are of several tokenizers.
        """
        values, lines = read_yaml(Path(argument))
        weights = validate(MixtureConfig, values, source=argument, lines=lines).corpora
        for path, weight in weights.items():
            if not (math.isfinite(weight) and weight > 0):
                raise InputError(f"the weight of {path} is {weight:g}", where=argument, expected="a number above 0")
        corpora = tuple(Corpus.open(Path(argument).parent / path) for path in weights)
        common_tokenizer(corpora)
        total = sum(weights.values())
        notes = tuple(f"{path}: {weight / total:.1%} of the training windows" for path, weight in weights.items())
        return Corpora(corpora, tuple(weights.values()), notes)
