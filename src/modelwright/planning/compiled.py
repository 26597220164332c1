"""Compiled steps on tensors without values: PyTorch's compiler decides as ever what to fuse, keep and compute again, but kernels that count take
the place of those that it would build.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from modelwright.core.device import has_values
from modelwright.planning.trace import Recorder

_CHANGED = re.compile(r"\bin_out_ptr\d+")
"""What the compiler calls arguments of kernels that are read and written; they come first."""
_RANDOM = "normalized_rand_cpu"
"""By what its kernels draw at random."""


@contextmanager
def counted_kernels(recorder: Recorder) -> Iterator[None]:
    """Within, what `torch.compile` makes of a function tells a recorder what its kernels read and write; nothing is built or computed.

    The compiler's own program is run, so blocks of memory come, are used again and go as they will in training. What was compiled before is
    compiled anew afterwards, so that no kernel of this kind is ever called on values.

    Args:
        recorder: active while a compiled function is called, but for the first time, when it is compiled.
    """
    try:
        from torch._dynamo import config as tracing
        from torch._inductor import config as lowering
        from torch._inductor import cpp_builder, cpu_vec_isa
        from torch._inductor.async_compile import AsyncCompile
        from torch._inductor.utils import clear_caches
    except ImportError as error:
        raise NotImplementedError(f"this PyTorch compiles otherwise: {error}") from None

    def counting(_: AsyncCompile, types: list[str], source: str) -> Callable[..., None]:
        return _counting(recorder, types, len(set(_CHANGED.findall(source))), draws=_RANDOM in source)

    with ExitStack() as stack:
        for forget in (torch.compiler.reset, clear_caches):
            forget()
            stack.callback(forget)
        stack.enter_context(_replaced(AsyncCompile, "cpp_pybinding", counting))
        allocators = torch._C._dynamo.guards  # pyright: ignore[reportAttributeAccessIssue]
        stack.enter_context(_replaced(allocators, "_empty_strided_cpu", _empty))
        stack.enter_context(_replaced(allocators, "_reinterpret_tensor", torch.as_strided))
        # No compiler of C++ is asked what it is and what the processor knows; what is joined stays the same.
        stack.enter_context(_replaced(cpu_vec_isa, "valid_vec_isa_list", list))
        stack.enter_context(_replaced(cpp_builder, "is_gcc", lambda: True))
        stack.enter_context(lowering.patch({"fx_graph_cache": False}))
        stack.enter_context(tracing.patch({"automatic_dynamic_shapes": False}))
        yield


def _counting(recorder: Recorder, types: list[str], changed: int, *, draws: bool) -> Callable[..., None]:
    """A kernel that counts.

    Args:
        recorder: whom it tells.
        types: of its arguments in C++, by which it is known what it only reads.
        changed: of the first ones, which it both reads and writes.
        draws: whether it draws at random what dropout keeps, of which it writes masks.
    """

    def kernel(*arguments: Any) -> None:
        tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
        assert not any(map(has_values, tensors)), "a plan's kernel computes nothing"
        kinds = [kind for kind, argument in zip(types, arguments, strict=True) if isinstance(argument, Tensor)]
        only_read = [tensor for kind, tensor in zip(kinds, tensors, strict=True) if kind.startswith("const ")]
        written = [tensor for kind, tensor in zip(kinds, tensors, strict=True) if not kind.startswith("const ")]
        recorder.note_made("fused", [*written[:changed], *only_read], written)
        if draws and (masks := [tensor for tensor in written if tensor.dtype == torch.bool]):
            recorder.note_made("drawn", [], masks)

    return kernel


def _empty(size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty_strided(size, stride, dtype=dtype)


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within, `owner` has another attribute of that name."""
    if not hasattr(owner, name):
        raise NotImplementedError(f"this PyTorch compiles otherwise: it has no {name}")
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)
