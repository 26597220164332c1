"""Sampling: each rule equals that of `transformers`; draws have the right frequencies, and a row's don't depend on its neighbors."""

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.serving.sampling import (
    GenerationConfig,
    Sampler,
    apply_repetition_penalty,
    apply_temperature,
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    restricted,
    seen_tokens,
)

SCORES = 3 * torch.randn(5, 97, generator=torch.Generator().manual_seed(0))
HISTORY = torch.randint(97, (5, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def peers():
    return pytest.importorskip("transformers.generation.logits_process")


@pytest.mark.parametrize("temperature", [0.3, 0.8, 2.0])
def test_temperature(peers, temperature):
    ours, theirs = apply_temperature(SCORES, temperature), peers.TemperatureLogitsWarper(temperature)(HISTORY, SCORES)
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1))


@pytest.mark.parametrize("temperature", [1e-30, 1e-45, 1e-320])
def test_a_tiny_temperature_is_greedy(temperature):
    barred = SCORES.masked_fill(SCORES < 0, -torch.inf)
    probability = apply_temperature(barred, temperature).softmax(1)
    assert torch.equal(probability, torch.nn.functional.one_hot(SCORES.argmax(1), 97).float())


@pytest.mark.parametrize("k", [1, 5, 96, 97, 500])
def test_top_k(peers, k):
    assert torch.equal(keep_top_k(SCORES, k), peers.TopKLogitsWarper(k)(HISTORY, SCORES))


@pytest.mark.parametrize("p", [0.01, 0.3, 0.9, 0.999])
def test_top_p(peers, p):
    assert torch.equal(keep_top_p(SCORES, p), peers.TopPLogitsWarper(p)(HISTORY, SCORES))


def test_top_p_of_a_flat_and_large_vocabulary_sorts_all_of_it(peers):
    flat = 0.1 * torch.randn(2, 5000, generator=torch.Generator().manual_seed(2))
    assert torch.equal(keep_top_p(flat, 0.95), peers.TopPLogitsWarper(0.95)(HISTORY[:2], flat))


def test_top_p_keeps_no_more_of_equal_tokens_than_are_needed():
    kept = keep_top_p(torch.zeros(2, 10), 0.35).isfinite()
    assert kept.sum(1).tolist() == [4, 4]


@pytest.mark.parametrize("p", [0.01, 0.2, 1.0])
def test_min_p(peers, p):
    assert torch.equal(keep_min_p(SCORES, p), peers.MinPLogitsWarper(p)(HISTORY, SCORES))


@pytest.mark.parametrize("penalty", [0.7, 1.3])
def test_repetition_penalty(peers, penalty):
    ours = apply_repetition_penalty(SCORES, seen_tokens(HISTORY.tolist(), 97), penalty)
    torch.testing.assert_close(ours, peers.RepetitionPenaltyLogitsProcessor(penalty)(HISTORY, SCORES.clone()))


def test_all_together_in_the_same_order(peers):
    config = GenerationConfig(temperature=0.7, top_k=20, top_p=0.8, min_p=0.05)
    theirs = SCORES
    for rule in (peers.TemperatureLogitsWarper(0.7), peers.TopKLogitsWarper(20), peers.TopPLogitsWarper(0.8), peers.MinPLogitsWarper(0.05)):
        theirs = rule(HISTORY, theirs)
    ours = restricted(SCORES, config)
    assert torch.equal(ours.isfinite(), theirs.isfinite())
    torch.testing.assert_close(ours.softmax(1), theirs.softmax(1))


@given(arrays.arrays(np.float32, (2, 17), elements=st.floats(-20, 20, width=32)), st.floats(0.01, 1), st.integers(1, 20))
@settings(max_examples=50, deadline=None)
def test_the_likeliest_token_always_stays(scores, p, k):
    scores = torch.from_numpy(scores)
    for kept in (keep_top_p(scores, p), keep_min_p(scores, p), keep_top_k(scores, k)):
        assert torch.equal(kept.amax(1), scores.amax(1))
        assert ((kept == scores) | (kept == -torch.inf)).all()


def test_draws_follow_the_probabilities():
    scores = torch.tensor([[0.0, 1.0, -torch.inf, 2.0, -1.0]])
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = draw(scores.expand(len(uniform), -1), uniform)
    frequency = torch.bincount(drawn, minlength=5) / len(uniform)
    torch.testing.assert_close(frequency, scores.softmax(1)[0], atol=0.01, rtol=0)


def test_the_ends_of_the_interval_draw_what_can_come():
    scores = torch.full((2, 6), -torch.inf)
    scores[:, 2:4] = 0
    assert draw(scores, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [2, 3]


def test_greedy_takes_the_likeliest():
    for config in (GenerationConfig(temperature=0), GenerationConfig(top_k=1)):
        assert torch.equal(Sampler(config, HISTORY.tolist(), range(5))(SCORES), SCORES.argmax(1))


def test_a_rows_draws_depend_on_seed_and_number_alone():
    config = GenerationConfig(seed=3, temperature=2.0)
    together = Sampler(config, HISTORY.tolist(), range(5))
    alone = Sampler(config, HISTORY[3:4].tolist(), [3])
    many = [(together(SCORES), alone(SCORES[3:4])) for _ in range(150)]
    assert all(rows[3] == row[0] for rows, row in many)
    assert len({int(row[0]) for _, row in many}) > 1
    other = Sampler(config.replace(seed=4), HISTORY[3:4].tolist(), [3])
    assert [int(other(SCORES[3:4])) for _ in range(20)] != [int(row[0]) for _, row in many[:20]]


def test_rows_that_leave_take_nothing_with_them():
    config = GenerationConfig(seed=3, repetition_penalty=1.5)
    whole, thinned = (Sampler(config, HISTORY.tolist(), range(5)) for _ in range(2))
    for _ in range(3):
        assert torch.equal(whole(SCORES), thinned(SCORES))
    thinned.select([4, 1])
    for _ in range(80):
        assert whole(SCORES)[[4, 1]].tolist() == thinned(SCORES[[4, 1]]).tolist()


def test_what_was_generated_is_penalized_too():
    sampler = Sampler(GenerationConfig(temperature=0, repetition_penalty=100.0), [[0]], [0])
    scores = torch.tensor([[9.0, 8.0, 7.0, 6.0]])
    assert [int(sampler(scores)) for _ in range(3)] == [1, 2, 3]


def test_a_penalty_makes_calls_no_closer():
    """A strong one spreads the scores, and what rounding can do to them grows no more than each of them does."""

    def calls(penalty, history, scores):
        sampler = Sampler(GenerationConfig(temperature=0, repetition_penalty=penalty), [history], [0])
        return sampler.close_calls(torch.tensor([scores]), 2e-5)

    assert calls(1.0, [0], [5.0, 4.99999, 1.0]) == [0]
    assert calls(1.0, [0], [5.0, 4.99, 1.0]) == []
    assert calls(100.0, [2], [5.0, 4.99, -9.0]) == [], "a penalized token that isn't among the best has no say"
    assert calls(100.0, [0, 1, 2], [-5.0, -4.99999, -9.0]) == [0], "rounding is magnified with the scores"
    assert calls(100.0, [0, 1, 2], [-5.0, -4.99, -9.0]) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"temperature": -1}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 1.5}, "top_p"),
        ({"min_p": -0.1}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ("a", "")}, "stop: an empty stop string"),
        ({"beams": 3, "top_k": 5}, "beam search samples nothing"),
        ({"top_q": 5}, "Did you mean top_"),
    ],
)
def test_wrong_settings(values, expected):
    with pytest.raises(InputError, match=expected):
        validate(GenerationConfig, values)
