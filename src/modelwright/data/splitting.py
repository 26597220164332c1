"""Splitting: every example belongs to train, validation or test; given splits are kept, missing ones are drawn, stratified and seeded."""

from __future__ import annotations

import numpy as np

from modelwright.core.errors import InputError
from modelwright.core.randomness import derive
from modelwright.core.schema import FeatureType
from modelwright.data.config import DataConfig

MIN_EXAMPLES = 10
QUANTILE_BINS = 10


def strata_of(target: np.ndarray, kind: FeatureType) -> np.ndarray:
    """(N,) int64: the class of each example, or the quantile that its number falls into."""
    if kind == "category":
        codes: dict[object, int] = {}
        return np.array([codes.setdefault(value, len(codes)) for value in target.tolist()], dtype=np.int64)
    ranks = np.argsort(np.argsort(target, kind="stable"), kind="stable")
    bins = max(1, min(QUANTILE_BINS, len(target) // QUANTILE_BINS))
    return ranks * bins // len(target)


def assign(strata: np.ndarray, given: np.ndarray | None, config: DataConfig, seed: int) -> np.ndarray:
    """(N,) the name of each example's split.

    A missing split is drawn from the training one: `round(share * examples there)` of them, from each stratum its share, within 1, but never
    the last one of a stratum.

    Raises:
        InputError: there are too few examples, or none of them are for training.
    """
    split = np.full(len(strata), "train", dtype="<U10") if given is None else given.astype("<U10")
    pool = np.flatnonzero(split == "train")
    if len(pool) < MIN_EXAMPLES:
        raise InputError(f"only {len(pool)} examples are left to train on", expected=f"at least {MIN_EXAMPLES}", where=config.path)
    random = np.random.default_rng(derive(seed, "split"))
    counts = {name: round(getattr(config, name) * len(pool)) for name in ("test", "validation") if not (split == name).any()}
    total = len(pool)
    for name, count in counts.items():
        if getattr(config, name) and not count:
            raise InputError(f"{total} examples are too few for a {name} split of {getattr(config, name):g}", where=config.path)
        pool = np.flatnonzero(split == "train")
        chosen = draw(strata[pool], count, random)
        split[pool[chosen]] = name
    return split


def draw(strata: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Sorted positions of `count` examples: of each stratum its share by largest remainder, and never all of it."""
    _, codes, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    share = sizes * (count / max(1, len(strata)))
    limit = sizes - 1
    quota = np.minimum(np.floor(share).astype(np.int64), limit)
    # Equal remainders are ordered by chance, or else small classes of one name would always go first.
    order = np.lexsort((random.random(len(sizes)), -(share - quota)))
    left = count - int(quota.sum())
    while left > 0:
        open_strata = [stratum for stratum in order if quota[stratum] < limit[stratum]]
        if not open_strata:
            break
        for stratum in open_strata[:left]:
            quota[stratum] += 1
        left -= min(left, len(open_strata))
    shuffled = random.permutation(len(codes))
    by_stratum = shuffled[np.argsort(codes[shuffled], kind="stable")]
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(codes)) - np.repeat(starts, sizes)
    return np.sort(by_stratum[place < np.repeat(quota, sizes)])
