"""The program: the portable model as a graph of PyTorch's operations, for any batch, and of texts for any length up to the context."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from modelwright.core.errors import InputError
from modelwright.exporting.portable import Portable, example_inputs
from modelwright.exporting.recurrence import traceable
from modelwright.exporting.subject import Subject

LARGEST_BATCH = 1 << 20
"""Examples of a batch, at most: a bound keeps PyTorch from minding overflows."""


def trace(subject: Subject) -> torch.export.ExportedProgram:
    """The program of a model, whose recurrent layers still wait for `restore` or for the ONNX exporter.

    Raises:
        InputError: the network does what depends on the values that go through it.
    """
    module = traceable(Portable(subject)).eval()
    # A size of 1 would be taken for one that never changes.
    inputs = {name: torch.from_numpy(array) for name, array in example_inputs(subject.schema, 2).items()}
    with quietly(), torch.no_grad(), _traceable(subject):
        return torch.export.export(module, (), inputs, dynamic_shapes=dynamic_axes(subject))


def dynamic_axes(subject: Subject) -> dict[str, dict[int, Any]]:
    """By input, the dimensions that may differ, with their names and bounds."""
    schema, batch = subject.schema, torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    if schema.kind == "text" and schema.text.shape[0] > 1:
        return {"tokens": {0: batch, 1: torch.export.Dim("length", min=1, max=schema.text.shape[0])}}
    return {name: {0: batch} for name in example_inputs(schema, 1)}


@contextmanager
def _traceable(subject: Subject) -> Iterator[None]:
    """Turn whatever PyTorch raises while it traces into an error that says what can be done."""
    try:
        yield
    except Exception as error:  # a family from outside may do anything
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(
            f"the family {subject.family.family} can't be traced as a graph ({reason})", remedy="Choose another --to, such as safetensors"
        ) from error


@contextmanager
def quietly() -> Iterator[None]:
    """Within, exporters keep their warnings of their own parts to themselves."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
