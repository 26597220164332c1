"""The target `onnx`: a graph that ONNX Runtime and its like run, in many languages and without PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from modelwright.core.errors import import_extra
from modelwright.exporting.instructions import answer, given
from modelwright.exporting.portable import Arrays, describe_outputs, example_inputs
from modelwright.exporting.program import dynamic_axes, quietly, trace
from modelwright.exporting.recurrence import onnx_translations
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Runtime, Target, targets

FILE = "model.onnx"
OPSET = 20
"""Of the operators; what ONNX Runtime 1.17 and later know."""
_FOLDED = {"Gather", "Unsqueeze", "Concat"}
"""Operators that put weights of recurrent layers into ONNX's order: done once, rather than each time that the graph is loaded."""


@targets.register("onnx")
class ONNXTarget(Target):
    """A `.onnx` file, checked by `onnx.checker`."""

    runtime = "ONNX Runtime"
    packages: ClassVar[tuple[str, ...]] = ("torch", "onnx", "onnxscript", "onnxruntime")

    def check(self, subject: Subject) -> None:
        """See that the packages are there.

        Raises:
            InputError: one is missing.
        """
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_extra(package, package, "export")

    def write(self, subject: Subject, folder: Path) -> None:
        """Write `model.onnx`."""
        import onnx
        from onnxscript.optimizer import fold_constants, remove_unused_nodes

        program = trace(subject)
        names = [output["name"] for output in describe_outputs(subject)]
        with quietly():
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(example_inputs(subject.schema, 1)),
                output_names=names,
                dynamic_shapes=dynamic_axes(subject),
                custom_translation_table=onnx_translations(),
                verbose=False,
            )
            assert made is not None, "a program is given, not a file"
            fold_constants(made.model, should_fold=lambda node: node.op_type in _FOLDED)
            remove_unused_nodes(made.model)
            made.save(folder / FILE)
            onnx.checker.check_model(str(folder / FILE), full_check=True)

    def load(self, subject: Subject, folder: Path) -> Runtime:
        """Read `model.onnx` into ONNX Runtime."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(folder / FILE, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]

        def run(inputs: Arrays) -> Arrays:
            return {name: np.asarray(value) for name, value in zip(names, session.run(names, inputs), strict=True)}

        return run

    def annotate(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Put the record into the file's metadata, a JSON value a key."""
        import onnx

        # Weights that lie beside stay there.
        model = onnx.load(folder / FILE, load_external_data=False)
        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in record.items()})
        onnx.save(model, folder / FILE)
        onnx.checker.check_model(str(folder / FILE))

    def note(self, subject: Subject) -> str:
        """What the file holds."""
        return (
            "The file holds a graph of operators and numbers, nothing else that is executed, and `export.json` in its metadata. Weights above 2 GB "
            "lie beside it in `model.onnx.data`."
        )

    def usage(self, subject: Subject) -> list[str]:
        """Load, and run by the names of inputs and outputs."""
        return [
            "import numpy as np, onnxruntime",
            *given(subject.schema),
            f'session = onnxruntime.InferenceSession("{FILE}")',
            "outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, given)))",
            answer(subject.schema),
        ]
