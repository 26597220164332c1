"""Layouts: how they are read, what they divide, and what exchange costs."""

from collections import Counter

import pytest

from modelwright.core.errors import InputError
from modelwright.planning.devices import DEVICES, device_of, find_device
from modelwright.planning.forecast import accelerator_memory, accelerator_seconds, divide, with_exchange
from modelwright.planning.layout import Layout, exchange_seconds, likely_layouts, parse_layout
from modelwright.planning.trace import Operation, Trace, Work

A100 = DEVICES["a100-80gb"]


@pytest.mark.parametrize(
    ("text", "devices", "layout"),
    [
        ("data", 8, Layout(data=8)),
        ("sharded", 8, Layout(sharded=8)),
        ("tensor=4,sharded", 32, Layout(tensor=4, sharded=8)),
        ("tensor=2, data=2, sharded=2", 8, Layout(2, 2, 2)),
        ("data", 1, Layout()),
    ],
)
def test_layouts_are_read(text, devices, layout):
    assert parse_layout(text, devices) == layout
    assert layout.devices == devices


@pytest.mark.parametrize(
    ("text", "devices", "part"),
    [
        ("pipeline", 8, "unknown layout 'pipeline'; expected data, sharded, tensor"),
        ("tensor=x", 8, "can't read the layout 'tensor=x'"),
        ("tensor=3,sharded", 8, "8 devices can't be divided by 3"),
        ("tensor=2", 8, "for 2 devices, and there are 8"),
        ("tensor,sharded", 8, "each word once, and a number for all but one"),
        ("data=2,data=4", 8, "each word once"),
    ],
)
def test_layouts_that_are_none(text, devices, part):
    with pytest.raises(InputError, match=part):
        parse_layout(text, devices)


def test_likely_layouts_use_all_devices():
    for devices in (1, 2, 8, 16, 64):
        found = likely_layouts(devices, 8, tensor=True)
        assert {layout.devices for layout in found} == {devices}
        assert all(layout.tensor <= 8 for layout in found)
    assert all(layout.tensor == 1 for layout in likely_layouts(64, 8, tensor=False))


def trace_of(**parts):
    return Trace({}, {"forward": Counter(dict.fromkeys(parts.items(), 1))})


def test_what_each_layout_divides():
    trace = trace_of(parameters=800, gradients=800, optimizer=1600, activations=400, copies=400)
    given = {"stream": 1, "unit": 10, "item": 2}
    assert sum(divide(trace, Layout(data=8), **given).values()) == 4000, "copies of the model have all of it"
    sharded = divide(trace, Layout(sharded=8), **given)
    assert (sharded["parameters"], sharded["gradients"], sharded["optimizer"], sharded["activations"]) == (100, 100, 200, 400)
    assert sharded["copies"] == 0
    assert sharded["gathered"] == 2 * 10 * 2 + 4 * 10
    tensor = divide(trace, Layout(tensor=4), **given)
    assert (tensor["parameters"], tensor["activations"], tensor["copies"]) == (200, 100, 100)
    whole = divide(trace_of(activations=400), Layout(tensor=4), stream=100, unit=1, item=2)
    assert whole["activations"] == 400, "what goes from block to block is not divided"


def test_exchange_grows_with_what_is_exchanged_and_shrinks_with_the_link():
    given = {"parameters": 10**9, "gradient_bytes": 4 * 10**9, "item": 2, "micro_batches": 1, "stream_bytes": 10**7, "blocks": 10}
    assert exchange_seconds(Layout(), A100, **given) == (0, 0)
    inside, across = (exchange_seconds(Layout(sharded=n), A100, **given)[0] for n in (8, 16))
    assert across > 5 * inside, "nodes are joined by a slower net"
    # 3 x 2 GB, of which 7/8 come from others, at 0.8 x 300 GB/s.
    assert inside == pytest.approx(3 * 2e9 * 7 / 8 / (0.8 * 300e9))
    # A sum over all moves everything twice.
    assert exchange_seconds(Layout(data=8), A100, **given)[0] == pytest.approx(2 * 4e9 * 7 / 8 / (0.8 * 300e9))
    hidden, waited = exchange_seconds(Layout(tensor=2), A100, **given)
    assert hidden == 0
    assert waited == pytest.approx(10 * 4 * 2 * 0.5 * 1e7 / (0.8 * 300e9))
    assert with_exchange(1.0, hidden, waited, 10) == pytest.approx(1.0 + waited)
    assert with_exchange(1.0, inside, 0.0, 10) == pytest.approx(1.0 + inside / 10), "little of it shows behind much computing"
    assert with_exchange(0.01, inside, 0.0, 10) > inside, "much of it behind little"


def test_an_operation_takes_as_long_as_its_flops_or_its_bytes():
    product = Trace({Operation("mm", "forward", "bfloat16", ()): Work(1, 312e12, 1e6, 1e6)})
    assert accelerator_seconds(product, A100, Layout()) == pytest.approx(1 / A100.efficiency)
    assert accelerator_seconds(product, A100, Layout(tensor=2)) == pytest.approx(0.5 / A100.efficiency)
    copy = Trace({Operation("copy_", "forward", "bfloat16", ()): Work(1, 0, 2039e9, 0)})
    assert accelerator_seconds(copy, A100, Layout()) == pytest.approx(1 / 0.8)
    many = Trace({Operation("add", "forward", "float32", ()): Work(1_000_000, 0, 8, 8)})
    assert accelerator_seconds(many, A100, Layout()) > 1, "a million kernels must be launched"


def test_an_accelerator_needs_more_than_what_is_allocated():
    memory = accelerator_memory({"parameters": 10**9})
    assert 10**9 < memory.peak < memory.needed
    assert memory.largest == "parameters"


def test_devices_are_found_by_name(tmp_path):
    for called, gigabytes in (("NVIDIA A100-SXM4-80GB", 80), ("NVIDIA A100-SXM4-40GB", 40)):
        row = device_of(called)
        assert row is not None
        assert row.memory == gigabytes
    assert 84e9 < DEVICES["a100-80gb"].usable < 86e9
    assert find_device("H100_80GB").chip == "H100"
    assert find_device("t4") == DEVICES["t4"]
    with pytest.raises(InputError, match="Did you mean a100-40gb or a100-80gb"):
        find_device("a100")
    with pytest.raises(InputError, match=r"unknown device 'potato'; expected cpu, one of v100-16gb, .*a YAML file with name, float32"):
        find_device("potato")
    file = tmp_path / "own.yaml"
    file.write_text("{name: mine, float32: 20, bfloat16: 100, memory: 24, bandwidth: 900}")
    own = find_device(str(file))
    assert (own.chip, own.memory, own.peak("bfloat16")) == ("mine", 24, 100e12)
    file.write_text("{name: mine, float32: -1, memory: 24, bandwidth: 900}")
    with pytest.raises(InputError, match="float32"):
        find_device(str(file))
    found = device_of("NVIDIA H200")
    assert found is not None
    assert found.memory == 141
