"""The bigram baseline: probabilities that sum to one and equal those counted by hand."""

from __future__ import annotations

import torch

from modelwright.evaluation.baselines.bigram import Bigram


def bigram(stream: list[int], vocabulary: int) -> Bigram:
    tokens = torch.tensor(stream)
    return Bigram(tokens[:-1] * vocabulary + tokens[1:], vocabulary)


def test_rows_sum_to_one_even_after_tokens_never_seen():
    predict = bigram([0, 1, 2, 1, 1, 0, 2, 2], 5)
    output = predict({"tokens": torch.tensor([[0, 1, 2, 3, 4]])})
    assert output.shape == (1, 5, 5)
    torch.testing.assert_close(output.exp().sum(-1), torch.ones(1, 5))


def test_counts_are_those_of_witten_and_bell():
    predict = bigram([0, 1, 0, 1, 0, 2], 3)
    # After 0: 1 twice, 2 once; two kinds in three occurrences. Singles (as second of a pair) with one added: 3, 3, 2 of 8.
    expected = torch.tensor([2 / 5 * 3 / 8, 2 / 5 * 3 / 8 + 2 / 5, 2 / 5 * 2 / 8 + 1 / 5])
    torch.testing.assert_close(predict({"tokens": torch.tensor([[0]])}).exp()[0, 0], expected)


def test_an_unseen_token_is_followed_by_what_is_frequent():
    predict = bigram([0, 0, 0, 0, 1], 3)
    torch.testing.assert_close(predict({"tokens": torch.tensor([[2]])}).exp()[0, 0], torch.tensor([4 / 7, 2 / 7, 1 / 7]))
