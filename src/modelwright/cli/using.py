"""The verbs that put a model to work: predict, generate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import Printing, answer, app, reporter_of
from modelwright.core.errors import InputError


@app.command
def predict(
    run: Path,
    inputs: Annotated[list[str] | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    probabilities: bool = False,
    output: Path | None = None,
    printing: Printing = Printing(),
) -> None:
    """Predict for image files, tables, or rows from standard input.

    **Examples**

    - `modelwright predict runs/digits seven.png three.png`
    - `modelwright predict runs/churn new-customers.csv --output predictions.csv`
    - `cat rows.csv | modelwright predict runs/churn - --probabilities --json`

    Parameters
    ----------
    run
        A run folder, or a bundle.
    inputs
        Files, folders, a table, or - for standard input.
    probabilities
        Give the probability of every class.
    output
        Write the predictions to this CSV file.
    """
    for argument in inputs or ():
        if argument.startswith("-") and argument != "-":
            raise InputError(
                f"unknown option {argument}", expected="files, or - for standard input", remedy="See modelwright predict --help"
            )
    from modelwright.workflows.predict import predict as work

    reporter = reporter_of(printing)
    answer(printing, work(run, inputs or ["-"], probabilities=probabilities, output=output, reporter=reporter))


@Parameter(name="*")
@dataclass(frozen=True)
class GenerationOptions:
    """How a text is continued, where the default is not wanted."""

    max_tokens: int | None = None
    """New tokens of a text, at most; 200 if not said."""
    temperature: float | None = None
    """Below 1, likely tokens come more often; 0 always takes the likeliest; 0.8 if not said."""
    top_k: int | None = None
    """Sample among this many of the likeliest tokens."""
    top_p: float | None = None
    """Sample among the fewest tokens that together have this probability."""
    min_p: float | None = None
    """Sample among tokens of at least this share of the likeliest one's probability."""
    repetition_penalty: float | None = None
    """Above 1, tokens that stood before come less often."""
    beams: int | None = None
    """Search for the likeliest text, following that many at once."""
    length_penalty: float | None = None
    """Of beam search: above 0 prefers long texts; 1 if not said."""
    stop: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=False, allow_leading_hyphen=True)] = None
    """End a text before this string; repeatable."""
    seed: int | None = None
    """Decides what is sampled; 0 if not said."""


@app.command
def generate(
    run: Path,
    /,
    *,
    prompt: Annotated[list[str] | None, Parameter(consume_multiple=False, allow_leading_hyphen=True)] = None,
    prompt_file: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    samples: int = 1,
    precision: str = "float32",
    options: GenerationOptions = GenerationOptions(),
    printing: Printing = Printing(),
) -> None:
    """Continue texts with the language model of a run.

    **Examples**

    - `modelwright generate runs/shakespeare --prompt "ROMEO:" --max-tokens 300`
    - `modelwright generate runs/stdlib --prompt-file start.py --temperature 0 --stop "def "`
    - `modelwright generate runs/shakespeare --samples 4 --top-p 0.9 --seed 7 --json`
    - `modelwright generate runs/shakespeare --prompt "To be" --beams 4`

    Parameters
    ----------
    run
        A run folder, or a bundle.
    prompt
        A text to continue; repeatable. Without any, a document is begun.
    prompt_file
        A file whose content is a text to continue, - for standard input.
    samples
        How many times to continue each prompt.
    precision
        Number format of the weights: float32, float16 (x86 CPUs: linear maps in half the bytes, computed in float32), bfloat16, int8 (linear maps rounded to 8 bits), or auto, the fastest of the first three.
    """
    from modelwright.workflows.generate import generate as work

    reporter = reporter_of(printing)
    settings = vars(options)
    result = work(run, prompt or (), prompt_file=prompt_file, samples=samples, precision=precision, settings=settings, reporter=reporter)
    answer(printing, result)
