"""Windows of tokens: every token learnt from and scored as it should be."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.batch import IGNORED
from modelwright.core.errors import InputError
from modelwright.core.schema import Feature, Schema
from modelwright.data import loader
from modelwright.data.corpus.store import TokenStore
from modelwright.data.loader import Loader, shuffled
from modelwright.data.token_split import TokenSplit, shares

VOCABULARY = 10_000


def schema(context, vocabulary=VOCABULARY):
    text = Feature(name="text", type="text", shape=(context,), vocabulary=vocabulary, tokenizer="{}")
    return Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=vocabulary))


def store(length, first=0, separator=VOCABULARY - 1):
    """A store whose tokens are numbered from `first`."""
    return TokenStore([np.arange(first, first + length, dtype=np.uint16)], separator, VOCABULARY, size=length, documents=1)


@given(st.integers(2, 200), st.integers(1, 40), st.integers(1, 70), st.integers(1, 9))
@settings(max_examples=150, deadline=None)
def test_an_evaluation_scores_every_token_once_with_half_a_window_before_it(length, context, stride, batch_size):
    split = TokenSplit(schema(context), [store(length)], stride=min(stride, context))
    seen = []
    for number, batch in enumerate(split.batches(batch_size)):
        tokens, target = batch.inputs["tokens"], batch.target
        assert len(tokens) <= batch_size
        rows, columns = torch.nonzero(target != IGNORED, as_tuple=True)
        assert (target[rows, columns] == tokens[rows, columns] + 1).all(), "a target is the next token"
        seen += target[rows, columns].tolist()
        later = rows > 0 if number == 0 else torch.ones_like(rows, dtype=torch.bool)
        assert (columns[later] >= context - split.stride).all(), "context before every scored token"
    assert sorted(seen) == list(range(1, length))


def test_the_default_stride_is_half_a_window():
    split = TokenSplit(schema(8), [store(41)])
    batch = next(iter(split.batches(100)))
    assert batch.inputs["tokens"][:, 0].tolist() == [0, 4, 8, 12, 16, 20, 24, 28, 32]
    assert (batch.target != IGNORED).sum(1).tolist() == [8] + [4] * 8


@given(st.integers(2, 300), st.integers(1, 40), st.integers(0, 2**63 - 1))
@settings(max_examples=150, deadline=None)
def test_windows_follow_each_other(length, context, shift):
    split = TokenSplit(schema(context), [store(length)])
    size = min(context, length - 1)
    assert len(split) == max(1, (length - 1) // context)
    inputs, target = split.take(slice(None), shift)
    assert inputs["tokens"].shape == (len(split), size)
    assert inputs["tokens"].dtype == target.dtype == torch.int64
    assert torch.equal(target, inputs["tokens"] + 1)
    begins = inputs["tokens"][:, 0]
    assert begins[:-1].tolist() == [shift % context + number * size for number in range(len(split) - 1)]
    assert int(begins[-1]) <= length - 1 - size


def test_take_gather_and_slices_agree():
    split = TokenSplit(schema(4), [store(50)])
    index = torch.tensor([3, 0, 3])
    batch = split.gather(index)
    assert batch.inputs["tokens"][:, 0].tolist() == [12, 0, 12]
    assert torch.equal(split.take(slice(2, 4))[0]["tokens"], split.take(torch.tensor([2, 3]))[0]["tokens"])
    assert batch.inputs["tokens"].is_contiguous()
    assert list(batch.inputs) == ["tokens"]


def test_separate_documents():
    """Attention stays within a document, whose end is still to be foretold."""
    tokens = np.array([9, 1, 2, 9, 3, 9, 4, 5, 6], dtype=np.uint16)
    held = TokenStore([tokens], 9, 10, size=6, documents=3)
    split = TokenSplit(schema(8, 10), [held], packing="separate")
    batch = split.gather(torch.tensor([0]))
    assert batch.inputs["documents"].tolist() == [[1, 1, 1, 2, 2, 3, 3, 3]]
    assert batch.target.tolist() == [[1, 2, 9, 3, 9, 4, 5, 6]]
    evaluation = next(iter(split.batches(4)))
    assert evaluation.inputs["documents"].tolist() == [[1, 1, 1, 2, 2, 3, 3, 3]]
    assert (evaluation.target != IGNORED).all()


def test_an_epoch_begins_elsewhere_and_a_batch_is_a_function_of_seed_and_step():
    split = TokenSplit(schema(16), [store(1000)])
    forward = Loader(split, 8, 5)
    steps = range(3 * forward.steps_per_epoch)
    expected = [forward.batch(step) for step in steps]
    backward = Loader(TokenSplit(schema(16), [store(1000)]), 8, 5)
    for step in reversed(steps):
        assert torch.equal(backward.batch(step).inputs["tokens"], expected[step].inputs["tokens"])
        assert torch.equal(backward.batch(step).target, expected[step].target)
    shifts = []
    for epoch in range(3):
        batches = expected[epoch * forward.steps_per_epoch : (epoch + 1) * forward.steps_per_epoch]
        begins = sorted(torch.cat([batch.inputs["tokens"][:, 0] for batch in batches]).tolist())
        assert len(begins) == len(split)
        assert len({begin % 16 for begin in begins[:-1]}) == 1
        shifts.append(begins[0])
    assert len(set(shifts)) == 3
    assert all(0 <= shift < 16 for shift in shifts)
    assert not torch.equal(Loader(split, 8, 6).batch(0).inputs["tokens"], expected[0].inputs["tokens"])


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 1000, 4097])
def test_a_computed_order_is_a_permutation(count):
    places = torch.arange(count)
    order = shuffled(places, count, 3)
    assert sorted(order.tolist()) == places.tolist()
    assert torch.equal(shuffled(places[count // 2 :], count, 3), order[count // 2 :])
    if count > 100:
        other = shuffled(places, count, 4)
        assert (order == other).float().mean() < 0.02
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.1
        assert abs(np.corrcoef(order, places)[0, 1]) < 0.1


def test_a_large_epoch_needs_no_table(monkeypatch):
    split = TokenSplit(schema(4), [store(1000)])
    monkeypatch.setattr(loader, "MOST_ORDERED", 10)
    large = Loader(split, 7, 0)
    seen = torch.cat([large.index(step) for step in range(large.steps_per_epoch)])
    assert sorted(seen.tolist()) == list(range(len(split)))
    assert not len(large._order)
    assert not torch.equal(seen, torch.cat([large.index(large.steps_per_epoch + step) for step in range(large.steps_per_epoch)]))
    ranks = [Loader(split, 7, 0, rank=rank, world_size=2).index(3).tolist() for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == sorted(large.index(3).tolist())


def test_rows_of_an_evaluation_are_bounded_by_its_logits():
    split = TokenSplit(schema(1024, 50_000), [store(9000)])
    assert {batch.size for batch in split.batches(1024)} == {1}
    small = TokenSplit(schema(64, 256), [store(9000)])
    assert max(batch.size for batch in small.batches(10_000)) <= 2**25 // (64 * 256)
    tokens = [batch.size * 64 for batch in TokenSplit(schema(64, 256), [store(9000)], stride=8).batches(10_000)]
    assert max(tokens) == 2**14, "long windows would fill the memory with what lies between"
    assert max(batch.size for batch in small.batches(32)) == 32


def test_a_sample_is_evenly_spread_and_judged_like_the_whole():
    split = TokenSplit(schema(8), [store(4001)])
    part = split.sample(50)
    assert len(part) == 50
    begins = part.take(slice(None))[0]["tokens"][:, 0]
    assert begins[0] == 0
    assert begins[-1] == 8 * 499
    assert (begins.diff() - 81).abs().max() <= 8
    scored = sum(int((batch.target != IGNORED).sum()) for batch in part.batches(64))
    assert 380 <= scored <= 420
    for batch in part.batches(64):
        later = batch.inputs["tokens"][:, 0] > 0
        assert (batch.target[later, :4] == IGNORED).all()
    assert split.sample(500) is split
    assert len(part.sample(10)) == 10


def test_a_mixture_draws_by_weight():
    split = TokenSplit(schema(8), [store(801), store(1601, 2000), store(81, 5000)], weights=[1.0, 1.0, 2.0])
    total = 100 + 200 + 10
    assert len(split) == total
    counts = np.zeros(3)
    places = [set(), set(), set()]
    for epoch in range(12):
        batch = split.gather(torch.arange(total)) if epoch == 0 else None
        inputs, target = split.take(torch.arange(total), epoch * 977)
        assert torch.equal(target, inputs["tokens"] + 1)
        homes = np.digitize(inputs["tokens"][:, 0], [2000, 5000])
        counts += np.bincount(homes, minlength=3)
        for home in range(3):
            places[home].update(inputs["tokens"][homes == home].flatten().tolist())
        assert batch is None or torch.equal(batch.inputs["tokens"], split.take(slice(None))[0]["tokens"])
    np.testing.assert_allclose(counts / counts.sum(), [0.25, 0.25, 0.5], atol=0.005)
    assert len(places[1]) > 1590, "epochs that see a part of a corpus see another part each"
    assert len(places[2]) == 80
    seen = torch.cat([batch.target[batch.target != IGNORED] for batch in split.batches(16)])
    assert sorted(seen.tolist()) == sorted([*range(1, 801), *range(2001, 3601), *range(5001, 5081)])


def test_shares():
    assert shares(10, np.array([1.0, 1.0, 1.0])).tolist() == [4, 3, 3]
    assert shares(100, np.array([1e-9, 1.0])).tolist() == [1, 100]
    assert shares(7, np.array([0.25, 0.75])).sum() == 7


def test_a_digest_is_of_all_that_decides_the_windows():
    def digest(split):
        hashed = hashlib.blake2b()
        split.update_digest(hashed)
        return hashed.hexdigest()

    base = digest(TokenSplit(schema(8), [store(100)]))
    assert base == digest(TokenSplit(schema(8), [store(100)]))
    others = [
        TokenSplit(schema(9), [store(100)]),
        TokenSplit(schema(8), [store(101)]),
        TokenSplit(schema(8), [store(100)], packing="separate"),
        TokenSplit(schema(8), [store(100)], weights=[1.0]),
    ]
    assert len({base, *map(digest, others)}) == 5


def test_too_little_text():
    with pytest.raises(InputError, match="fewer than two tokens"):
        TokenSplit(schema(8), [store(1)])
    with pytest.raises(InputError, match="fewer than two tokens"):
        TokenSplit(schema(8), [])
