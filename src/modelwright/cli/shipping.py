"""The verbs that take a model elsewhere: export."""

from __future__ import annotations

from pathlib import Path

from modelwright.cli.arguments import DataOptions, Printing, answer, app, changes_of, reporter_of


@app.command
def export(
    run: Path,
    /,
    *,
    to: str,
    output: Path | None = None,
    data: str | None = None,
    split: str = "validation",
    examples: int | None = None,
    tolerance: float = 1e-4,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Write a run's model for another runtime, load it there, and prove on held-out examples that it does the same.

    **Examples**

    - `modelwright export runs/digits --to onnx`
    - `modelwright export runs/churn --to torch --output churn-program`
    - `modelwright export runs/shakespeare --to huggingface --output shakespeare`
    - `modelwright export runs/churn/model --to safetensors --data customers-2026.csv --json`

    Parameters
    ----------
    run
        A run folder, or with --data a bundle.
    to
        The target: torch (a .pt2 program), onnx, safetensors (weights and configuration), or huggingface (text decoders, for transformers).
    output
        The folder to make; exports/TARGET in the run if not said.
    data
        Labelled data to compare on, in the form that the run was trained on; the run's own validation split if not said.
    split
        Which split of that data, where it has several: train, validation, test or all.
    examples
        How many examples to compare on, at most; of a text, windows. 1000, or 32 windows, if not said.
    tolerance
        The largest difference that is let pass, as a share of the largest value of an output, or of 1 if that is less.
    """
    from modelwright.workflows.export import export as work

    made = work(
        run, to, output=output, data=data, split=split, examples=examples, tolerance=tolerance, changes=changes_of(options),
        reporter=reporter_of(printing),
    )  # fmt: skip
    answer(printing, made)
