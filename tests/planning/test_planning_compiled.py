"""Plans of compiled steps: the compiler's own decisions, but no kernel built."""

import shutil
import warnings

import pytest
import torch
from harness.steps import traced
from torch._inductor.async_compile import AsyncCompile
from torch._subclasses.fake_tensor import FakeTensorMode

from modelwright.core.config import validate
from modelwright.data.shape import parse_shape
from modelwright.planning.compiled import counted_kernels
from modelwright.planning.layout import Layout
from modelwright.planning.machine import COMPILER, Processor, Step
from modelwright.planning.trace import Recorder, bytes_by_part, total_bytes
from modelwright.training import rehearsal
from modelwright.workflows.here import rough_profile
from modelwright.workflows.plan import plan
from modelwright.workflows.recipe import Recipe
from modelwright.workflows.tracing import RoughPlan, Subject

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def compiled():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return traced("mlp", batch=64, compile=True)


def products(trace):
    return {name: sum(work.flops for kind, work in trace.work.items() if kind.phase == name) for name in ("forward", "backward")}


def test_compiling_joins_operations_and_keeps_products(compiled):
    eager = traced("mlp", batch=64)
    assert products(compiled) == products(eager)
    assert compiled.allocated < eager.allocated
    assert any(kind.name == "fused" for kind in compiled.work)
    assert sum(work.calls for work in compiled.work.values()) < sum(work.calls for work in eager.work.values())
    for part in ("parameters", "optimizer"):
        assert bytes_by_part(compiled.peak)[part] == bytes_by_part(eager.peak)[part]
    assert not any(kind.name == "empty_strided" for kind in compiled.work)


def test_what_a_checkpoint_draws_again_is_compiled_too():
    kept, again = (traced("decoder", compile=True, activation_checkpointing=checkpointing) for checkpointing in (False, True))
    assert bytes_by_part(again.peak)["activations"] < bytes_by_part(kept.peak)["activations"]
    assert products(again)["backward"] > products(kept)["backward"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler of C++")
def test_the_compiled_step_holds_the_blocks_that_were_planned(compiled, monkeypatch):
    guards = torch._C._dynamo.guards
    monkeypatch.setattr(guards, "_empty_strided_cpu", lambda size, stride, dtype: torch.empty_strided(size, stride, dtype=dtype))
    torch.compiler.reset()
    monkeypatch.setattr(rehearsal, "counted_kernels", lambda recorder: warnings.catch_warnings())
    seen = traced("mlp", batch=64, compile=True, values=True)
    assert seen.allocated == compiled.allocated
    assert {phase: total_bytes(blocks) for phase, blocks in seen.memory.items()} == {
        phase: total_bytes(blocks) for phase, blocks in compiled.memory.items()
    }
    torch.compiler.reset()


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a compiler of C++")
def test_no_counting_kernel_is_left_behind():
    def joined(x):
        return (x.sin() * 2 + 1).sum()

    recorder = Recorder()
    with counted_kernels(recorder), FakeTensorMode():
        fake = torch.empty(1000)
        torch.compile(joined)(fake)
        with recorder:
            torch.compile(joined)(fake)
    assert recorder.trace().work
    x = torch.linspace(0, 1, 1000)
    torch.testing.assert_close(torch.compile(joined)(x), joined(x))


def test_all_is_as_before_whatever_happens():
    kept = AsyncCompile.cpp_pybinding, torch._C._dynamo.guards._empty_strided_cpu
    with pytest.raises(KeyError), counted_kernels(Recorder()):
        raise KeyError
    assert (AsyncCompile.cpp_pybinding, torch._C._dynamo.guards._empty_strided_cpu) == kept


def test_no_compiler_of_c_is_asked(monkeypatch):
    from torch._inductor import cpu_vec_isa

    monkeypatch.setattr(cpu_vec_isa.VecISA, "__bool__", lambda self: pytest.fail("the compiler of C++ was asked"))
    assert traced("linear", compile=True).work


def test_copies_of_weights_are_known():
    blocks = bytes_by_part(traced("mlp", batch=56, precision="bfloat16", compile=True).memory["forward"])
    assert 0 < blocks["copies"] <= blocks["parameters"] / 2


def test_the_compiler_takes_memory_too():
    machine = Processor("here", 1e12, 1e8, rough_profile("here"))
    step = Step(traced("linear"), "float32", 25, 0, 1, 1, 1, 0)
    plain, compiled = (machine.memory(step._replace(compiled=each), Layout()).needed for each in (False, True))
    assert compiled - plain == pytest.approx(COMPILER)
    plain, compiled = (machine.seconds(step._replace(compiled=each), Layout()) for each in (False, True))
    assert compiled.low < plain.low, "its kernels are less well known"


def test_a_plan_of_a_compiled_training():
    arguments = {"settings": ["training.compile=true", "training.precision=float32", "training.batch_size=8"], "advise": False}
    here = plan("shape:table,numbers=4,classes=3", changes={"model.family": "linear"}, **arguments)
    assert not any("eager" in note for note in here.notes)
    there = plan("shape:table,numbers=4,classes=3", changes={"model.family": "linear"}, device="h100-80gb", **arguments)
    assert any("may join more" in note for note in there.notes)


def test_another_compiler_is_told_and_planned_as_eager(monkeypatch):
    values = {
        "data": {"path": "shape:table,numbers=4,classes=3"},
        "model": {"family": "mlp", "width": 16},
        "training": {"batch_size": 8, "precision": "float32", "compile": True, "memory_format": "contiguous"},
    }
    recipe = validate(Recipe, values)
    subject = Subject.of(recipe, parse_shape(recipe.data.path, None).schema, "cpu")
    monkeypatch.delattr(AsyncCompile, "cpp_pybinding")
    with pytest.warns(RoughPlan, match="has no cpp_pybinding.*eager"):
        trace = subject.trace(8)
    assert trace == subject.with_training(compile=False).trace(8)
    with pytest.warns(RoughPlan, match="has no cpp_pybinding"):
        assert subject.trace(8) == trace, "whoever asks again is told again"
