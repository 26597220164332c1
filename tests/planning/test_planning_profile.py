"""The profile: what kernels cost is found again, and told of others."""

import pytest

from modelwright.planning.profile import Profile, Sample
from modelwright.planning.trace import Operation, Trace, Work


def cost(flops, moved):
    return 3e-6 + flops / 1e11 + moved / 1e10


def profile_of(samples, **more):
    given = {"machine": "m", "threads": 1, "overhead": 1e-6, "peaks": {"float32": 1e11, "bfloat16": 4e11}}
    return Profile(**given, bandwidth=1e10, loading=1e9, when="2026-11-22", samples=samples, **more)


SIZES = [(10**a, 10**b) for a in (4, 6, 8) for b in (3, 5, 7)]
SAMPLES = [Sample("mm", "float32", flops, moved / 2, moved / 2, cost(flops, moved)) for flops, moved in SIZES]
SAMPLES += [Sample("add", "float32", 0, moved, moved, cost(0, 2 * moved)) for moved in (1e3, 1e5, 1e7)]


@pytest.mark.parametrize(("flops", "moved"), [(3e5, 3e4), (5e7, 2e6), (1e9, 1e8), (1e3, 100.0)])
def test_a_linear_cost_is_found_again(flops, moved):
    kind = Operation("mm", "forward", "float32", ())
    told = profile_of(SAMPLES).call_seconds(kind, Work(1, flops, moved / 2, moved / 2))
    assert told == pytest.approx(cost(flops, moved), rel=0.05)


def test_kernels_near_to_measured_ones_share_their_deviations():
    slow = [Sample("mm", "float32", 1e6, 5e4, 5e4, 3 * cost(1e6, 1e5)) for _ in range(5)]
    told = profile_of(SAMPLES + slow).call_seconds(Operation("mm", "forward", "float32", ()), Work(1, 1.1e6, 5e4, 5e4))
    assert told > 1.8 * cost(1.1e6, 1e5)


def test_kernels_that_were_never_measured():
    profile = profile_of(SAMPLES)
    assert profile.call_seconds(Operation("sub", "forward", "float32", ()), Work(1, 0, 1e5, 1e5)) == pytest.approx(cost(0, 2e5), rel=0.05)
    told = profile.call_seconds(Operation("bmm", "forward", "bfloat16", ()), Work(1, 4e11, 0, 0))
    assert told == pytest.approx(1.0), "the peak of its format"
    assert profile_of([]).call_seconds(Operation("sub", "forward", "float32", ()), Work(1, 0, 1e10, 0)) == pytest.approx(1.0)


def test_a_step_is_the_sum_of_its_calls():
    trace = Trace({Operation("add", "forward", "float32", ()): Work(10, 0, 1e6, 1e6), Operation("mm", "backward", "float32", ()): Work(0)})
    assert profile_of(SAMPLES).step_seconds(trace) == pytest.approx(10 * (1e-6 + cost(0, 2e5)), rel=0.05)
