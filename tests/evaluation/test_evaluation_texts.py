"""Windows of texts, looked at token by token: losses by position, and typos in what was read."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from modelwright.core.batch import IGNORED
from modelwright.core.randomness import generator
from modelwright.core.schema import Feature, Schema
from modelwright.data.corpus.store import TokenStore
from modelwright.data.token_split import LARGEST_OUTPUT, TokenSplit, windows_at_once
from modelwright.evaluation.perturbations.typos import TyposConfig
from modelwright.evaluation.positions import Positions

V = 5


def schema(context, tokenizer="{}", vocabulary=V):
    text = Feature(name="text", type="text", shape=(context,), vocabulary=vocabulary, tokenizer=tokenizer)
    return Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=vocabulary))


def store(length, vocabulary=V):
    return TokenStore([(np.arange(length) % (vocabulary - 1)).astype(np.uint16)], vocabulary - 1, vocabulary, size=length, documents=1)


class Surer(nn.Module):
    """Gives the next token of 0, 1, 2, 3, 0, ... a score that grows with the position."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs):
        following = nn.functional.one_hot((inputs["tokens"] + 1) % (V - 1), V).float()
        return self.factor * following * torch.arange(inputs["tokens"].shape[1])[None, :, None]


def test_losses_by_position():
    found = Positions.of(Surer(), TokenSplit(schema(8), [store(81)]))
    assert found.losses.shape == (10, 8)
    assert found.tokens.shape == (10, 9)
    course = found.course()
    assert [(row["from"], row["to"]) for row in course] == [(1, 1), (2, 2), (3, 4), (5, 8)]
    assert course[0]["value"] == pytest.approx(math.log(V))
    assert course[1]["value"] == pytest.approx(math.log(V - 1 + math.e) - 1)
    assert [row["value"] for row in course] == sorted((row["value"] for row in course), reverse=True)


def test_windows_of_a_text_that_is_shorter_than_the_context_are_left_out_beside_longer_ones():
    split = TokenSplit(schema(8), [store(161), store(8)])
    found = Positions.of(Surer(), split)
    assert found.losses.shape[1] == 8
    assert 10 < len(found.losses) < len(split)
    assert Positions.of(Surer(), TokenSplit(schema(8), [store(5)])).losses.shape == (1, 4)


def test_windows_of_a_large_vocabulary_are_read_by_few_at_a_time():
    assert windows_at_once(schema(64), 16) == 16
    assert windows_at_once(schema(1024, vocabulary=32_000), 16) == LARGEST_OUTPUT // 32_000 // 1024 == 1
    assert windows_at_once(schema(4096, vocabulary=100_000), 16) == 1


@pytest.mark.parametrize("context", [1, 2, 3, 8])
@pytest.mark.parametrize("strength", [0.0, 0.2, 1.0])
def test_typos_stand_before_what_is_scored(context, strength):
    pytest.importorskip("tokenizers")
    from modelwright.data.tokenizers.characters import CharactersConfig

    tokenizer = CharactersConfig().train(["abcd"])
    split = TokenSplit(schema(context, tokenizer.to_json(), tokenizer.size), [store(200, tokenizer.size)])
    scored = max(1, (context + 1) // 4)
    number = 0
    for batch in TyposConfig().perturb(split, strength, generator(0, "typos")).batches(1024):
        assert batch.inputs["tokens"].shape == batch.target.shape
        assert batch.target.shape[1] >= 1
        clean = split.gather(torch.arange(number, number + len(batch.target))).target[:, -scored:]
        assert torch.equal(batch.target[:, -scored:], clean)
        assert (batch.target[:, :-scored] == IGNORED).all()
        number += len(batch.target)
    assert number == len(split)
