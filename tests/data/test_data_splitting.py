"""Splits: disjoint, complete, reproducible, stratified."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.data.config import DataConfig
from modelwright.data.splitting import assign, draw, strata_of

CONFIG = DataConfig(path="t")


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) >= 20),
    st.floats(0.05, 0.4),
    st.floats(0.05, 0.4),
    st.integers(0, 1000),
)
def test_made_splits(sizes, validation, test, seed):
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    config = CONFIG.replace(validation=validation, test=test)
    split = assign(strata, None, config, seed)
    assert set(split) <= {"train", "validation", "test"}
    assert (split == assign(strata, None, config, seed)).all()
    total = len(strata)
    for name, share in (("test", test), ("validation", validation)):
        chosen = split == name
        room = sum(size - 1 for size in sizes)
        if room >= round(test * total) + round(validation * total):
            assert chosen.sum() == round(share * total)
    for stratum in range(len(sizes)):
        assert (split[strata == stratum] == "train").any()


@given(st.lists(st.integers(8, 80), min_size=1, max_size=8), st.floats(0.05, 0.5), st.integers(0, 1000))
def test_each_stratum_gives_its_share_within_one(sizes, share, seed):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    count = round(share * len(strata))
    chosen = draw(strata, count, np.random.default_rng(seed))
    assert len(chosen) == len(set(chosen.tolist())) == count
    given_ = np.bincount(strata[chosen], minlength=len(sizes))
    assert (np.abs(given_ - np.array(sizes) * count / len(strata)) <= 1).all()


def test_another_seed_another_split():
    strata = np.zeros(100, dtype=int)
    assert (assign(strata, None, CONFIG, 0) != assign(strata, None, CONFIG, 1)).any()


def test_given_splits_are_kept():
    strata = np.arange(60) % 2
    given_ = np.array(["train"] * 40 + ["test"] * 20, dtype="<U10")
    split = assign(strata, given_, CONFIG, 0)
    assert ((split == "test") == (given_ == "test")).all()
    assert (split == "validation").sum() == 4
    given_[:5] = "validation"
    assert (assign(strata, given_, CONFIG, 0) == given_).all()


def test_numbers_are_stratified_by_quantile():
    target = np.random.default_rng(0).normal(size=1000) ** 3
    split = assign(strata_of(target, "number"), None, CONFIG, 0)
    for name in ("validation", "test"):
        assert np.quantile(target[split == name], [0.25, 0.5, 0.75]) == pytest.approx(np.quantile(target, [0.25, 0.5, 0.75]), abs=0.15)


def test_shares():
    assert set(assign(np.zeros(50, dtype=int), None, CONFIG.replace(validation=0, test=0), 0)) == {"train"}
    with pytest.raises(InputError, match="leave nothing to train on"):
        CONFIG.replace(validation=0.5, test=0.5)
    with pytest.raises(InputError, match="too few for a test split"):
        assign(np.zeros(12, dtype=int), None, CONFIG.replace(test=0.01), 0)
    with pytest.raises(InputError, match="only 9 examples"):
        assign(np.zeros(9, dtype=int), None, CONFIG, 0)
