"""The rehearsal: what is traced without values is what happens with them."""

import time

import pytest
import torch
from harness.steps import STEPS, traced
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from modelwright.core.device import CPU_KNOWS_BFLOAT16
from modelwright.planning.kernels import recurrent_workspace
from modelwright.planning.trace import bytes_by_part, total_bytes


def calls_of(trace):
    """Calls by kind, without those that depend on values or on how a kernel keeps its own memory."""
    skipped = (
        "_foreach_mul_",
        "mkldnn",
        "copy_",
        "new_empty_strided",
        "clone",
        "empty",
        "bincount",
        "_local_scalar_dense",
        "is_nonzero",
        "lift_fresh",
        "linalg_vector_norm",
    )
    return {
        (kind.name, kind.phase, kind.dtype, kind.shapes): work.calls
        for kind, work in trace.work.items()
        if not kind.name.startswith(skipped)
    }


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for name in STEPS if name != "experts"])
def test_the_same_operations_are_traced_without_values_as_with_them(name, precision):
    fake, real = traced(name, precision=precision), traced(name, precision=precision, values=True)
    assert calls_of(fake) == calls_of(real)
    assert fake.flops == real.flops


@pytest.mark.parametrize("name", ["decoder", "cnn", "encoder", "mlp", "columns"])
def test_as_much_memory_is_live_in_forward_and_backward_pass(name):
    fake, real = traced(name, 8), traced(name, 8, values=True)
    for phase in ("forward", "backward"):
        sizes = [sum(size for part, size in bytes_by_part(trace.memory[phase]).items() if part != "optimizer") for trace in (fake, real)]
        # The optimizer's state was there before the real one was watched.
        assert sizes[0] == pytest.approx(sizes[1], rel=0.02), phase


@pytest.mark.parametrize("name", STEPS)
def test_parts_that_are_known_exactly(name):
    trace = traced(name, ema=0.1)
    parts = bytes_by_part(trace.memory["update"])
    # Two moments of AdamW, and a counter for each parameter.
    assert 2 * parts["parameters"] <= parts["optimizer"] < 2 * parts["parameters"] + 1000
    assert parts["gradients"] == parts["parameters"]
    assert parts["average"] >= parts["parameters"]
    assert bytes_by_part(traced(name, optimizer={"name": "sgd", "momentum": 0.9}).memory["update"])["optimizer"] <= parts["parameters"]


def test_checkpointing_and_bfloat16_keep_fewer_activations():
    plain = bytes_by_part(traced("decoder", 32).peak)["activations"]
    short = bytes_by_part(traced("decoder", 32, precision="bfloat16").peak)["activations"]
    again = bytes_by_part(traced("decoder", 32, activation_checkpointing=True).peak)["activations"]
    assert again < 0.5 * plain
    assert short < 0.75 * plain
    assert traced("decoder", 32, activation_checkpointing=True).flops > traced("decoder", 32).flops


def test_accumulation_keeps_the_activations_of_one_slice():
    whole, sliced = traced("decoder", 32), traced("decoder", 32, accumulation=4)
    assert bytes_by_part(sliced.peak)["activations"] < 0.4 * bytes_by_part(whole.peak)["activations"]
    assert sliced.flops == pytest.approx(whole.flops, rel=1e-6)


def test_logits_are_told_apart_also_where_the_loss_makes_them_chunk_by_chunk(monkeypatch):
    monkeypatch.setitem(STEPS, "words", ("shape:text,vocabulary=4000", STEPS["decoder"][1]))
    for name in ("decoder", "words"):
        memory = traced(name, 8).memory
        assert max(bytes_by_part(blocks)["logits"] for blocks in memory.values()) > 4 * 8 * 16 * 50


def test_weights_in_the_format_of_autocast_are_told_apart():
    assert bytes_by_part(traced("decoder", precision="bfloat16").memory["forward"])["copies"] > 0
    assert bytes_by_part(traced("decoder").memory["forward"])["copies"] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sizes", [(20, 6, 32, 48), (7, 16, 40, 16), (12, 3, 130, 200)])
def test_the_memory_of_an_lstm_kernel(sizes, dtype):
    if dtype == torch.bfloat16 and not CPU_KNOWS_BFLOAT16:
        pytest.skip("this processor has no such kernel")
    time_, batch, inputs, width = sizes
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            if func is torch.ops.aten.mkldnn_rnn_layer.default:
                seen.append((out[3].numel() * out[3].element_size(), recurrent_workspace(args[0], args[2])[0]))
            return out

    layer = nn.LSTM(inputs, width)
    with Watch(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        layer(torch.randn(time_, batch, inputs))
    if not seen:
        pytest.skip("this machine has no such kernel")
    assert seen[0][1] == pytest.approx(seen[0][0], rel=0.06, abs=20_000)


def test_kernels_are_timed_on_request():
    trace = traced("mlp", values=True, clock=time.perf_counter)
    assert all(work.seconds > 0 for work in trace.work.values())
    assert sum(work.seconds for work in trace.work.values()) < 5
    assert total_bytes(trace.peak) > 0
    assert all(work.seconds == 0 for work in traced("mlp").work.values())


def test_a_deeper_network_lies_on_the_line_of_two_shallow_ones(monkeypatch):
    def at(depth):
        monkeypatch.setitem(STEPS, "deep", (STEPS["decoder"][0], {"family": "transformer", "width": 32, "depth": depth}))
        return traced("deep", precision="bfloat16")

    told, truth = at(1).towards(at(2), 8), at(9)
    assert told.flops == truth.flops
    assert calls_of(told) == pytest.approx(calls_of(truth))
    for phase, blocks in truth.memory.items():
        assert total_bytes(told.memory[phase]) == pytest.approx(total_bytes(blocks), rel=0.01)
    assert told.allocated == pytest.approx(truth.allocated, rel=0.01)
