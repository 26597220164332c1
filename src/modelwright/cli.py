"""The command line: reads arguments, calls one workflow, prints what it gives. Heavy imports wait until a verb needs them."""

from __future__ import annotations

import time

STARTED = time.monotonic()
"""When the command began: a budget in seconds counts from here."""

import json  # noqa: E402
import sys  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Annotated, Any  # noqa: E402

from cyclopts import App, CycloptsError, Parameter  # noqa: E402
from rich.console import Console  # noqa: E402

from modelwright.core.errors import InputError, ModelwrightError, RunInterrupted  # noqa: E402
from modelwright.core.version import __version__  # noqa: E402

app = App(
    name="modelwright",
    version=f"modelwright {__version__}",
    help="Turn data and a compute budget into the best model the budget can buy: forecast before, proof after.",
    help_format="markdown",
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
data_app = App(
    name="data", help="Look at data before spending anything on it.", result_action="return_value", suppress_keyboard_interrupt=False
)
app.command(data_app)


@Parameter(name="*")
@dataclass(frozen=True)
class Printing:
    """How a verb answers."""

    json: bool = False
    """Print one JSON object on standard output; progress goes to standard error."""
    quiet: bool = False
    """Print the result only, neither stages nor progress."""


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """How the data is to be understood, where inference is not wanted."""

    target: str | None = None
    """The column to predict."""
    type: Annotated[list[str], Parameter(consume_multiple=False)] = field(default_factory=list)
    """What a column is, as `column=number` or `column=category`; repeatable."""
    header: Annotated[bool | None, Parameter(negative="--no-header")] = None
    """Whether the first line of a table names the columns; inferred if not said."""
    delimiter: str | None = None
    """What separates columns, `tab` for a tab; inferred if not said."""
    encoding: str | None = None
    """The text encoding of a table; UTF-8 if not said."""

    def changes(self) -> dict[str, Any]:
        """The recipe settings that were given."""
        types = {}
        for text in self.type:
            column, equals, name = text.rpartition("=")
            if not equals:
                raise InputError(f"can't read --type {text!r}", expected="column=number or column=category")
            types[column] = name
        given = {"target": self.target, "header": self.header, "delimiter": self.delimiter, "encoding": self.encoding}
        return {f"data.{key}": value for key, value in {**given, "types": types or None}.items() if value is not None}


Settings = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=False)]


@app.command
def build(
    data: str | None = None,
    /,
    *,
    budget: str | None = None,
    family: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    output: Path | None = None,
    seed: int | None = None,
    settings: Settings = None,
    resume: Path | None = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """From data and a budget to a proven model: compare families, forecast, train the winner, prove it on the test split.

    **Examples**

    - `modelwright build digits --budget 90s`
    - `modelwright build customers.csv --target churn --budget 5m --output runs/churn`
    - `modelwright build photos/ --budget 1h --family cnn --family transformer`
    - `modelwright build --resume runs/churn`

    Parameters
    ----------
    data
        A CSV or TSV file, a folder of images by class, MNIST-style IDX files, an .npz file, or a set that scikit-learn carries (digits, iris, ...).
    budget
        How much may be spent, all included: 90s, 5m, 2h.
    family
        Compare only these families; repeatable.
    output
        The run folder to make; runs/DATE-NAME if not said.
    seed
        Decides splits, weights and order.
    settings
        Any setting of the recipe, as key=value; repeatable.
    resume
        Go on with an interrupted build, in its folder.
    """
    from modelwright.workflows.build import build as work

    reporter = _reporter(printing)
    changes = _changes(options, seed=seed)
    result = work(
        data, budget=budget, families=family, output=output, settings=settings or (), changes=changes, resume=resume,
        reporter=reporter, started=STARTED,
    )  # fmt: skip
    _answer(printing, result)


@app.command
def train(
    recipe: str | None = None,
    /,
    *,
    data: str | None = None,
    family: str | None = None,
    budget: str | None = None,
    output: Path | None = None,
    seed: int | None = None,
    settings: Settings = None,
    resume: Path | None = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Train one network as a recipe says, judge it, and write a run folder.

    **Examples**

    - `modelwright train mnist-cnn --data path/to/mnist`
    - `modelwright train digits --family lstm --budget 20s`
    - `modelwright train recipe.yaml --set training.batch_size=64 --set training.optimizer.learning_rate=0.002`
    - `modelwright train --resume runs/2026-11-21-digits-lstm`

    Parameters
    ----------
    recipe
        A recipe file, a ready recipe's name (see `modelwright recipes`), or data.
    data
        The data, in place of the recipe's own.
    family
        The backbone: linear, mlp, cnn, rnn, gru, lstm or transformer.
    budget
        How much may be spent: 90s, 5 epochs, 500 steps, 10k samples, 1e15 flops.
    output
        The run folder to make; runs/DATE-NAME if not said.
    seed
        Decides splits, weights and order.
    settings
        Any setting of the recipe, as key=value; repeatable.
    resume
        Go on with an interrupted run, in its folder.
    """
    from modelwright.workflows.train import train as work

    reporter = _reporter(printing)
    changes = _changes(options, seed=seed)
    changes.update({"data.path": data, "model.family": family, "training.budget": budget})
    result = work(recipe, output=output, settings=settings or (), changes=changes, resume=resume, reporter=reporter, started=STARTED)
    _answer(printing, result)


@app.command
def evaluate(
    run: Path,
    data: str | None = None,
    /,
    *,
    split: str = "test",
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Show how good a run's model is, or measure it on other labelled data.

    **Examples**

    - `modelwright evaluate runs/2026-11-21-digits-cnn`
    - `modelwright evaluate runs/churn customers-2026.csv --json`

    Parameters
    ----------
    run
        A run folder.
    data
        Labelled data in the form that the run was trained on; the run's own evaluation if not said.
    split
        Which split of that data, where it has several: train, validation, test or all.
    """
    from modelwright.workflows.evaluate import evaluate as work

    reporter = _reporter(printing)
    _answer(printing, work(run, data, split=split, changes=_changes(options), reporter=reporter))


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

    reporter = _reporter(printing)
    _answer(printing, work(run, inputs or ["-"], probabilities=probabilities, output=output, reporter=reporter))


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
        Number format of the weights: float32, bfloat16, int8 (linear maps rounded to 8 bits), or auto, the faster of the first two.
    """
    from modelwright.workflows.generate import generate as work

    reporter = _reporter(printing)
    settings = vars(options)
    result = work(run, prompt or (), prompt_file=prompt_file, samples=samples, precision=precision, settings=settings, reporter=reporter)
    _answer(printing, result)


@data_app.command
def describe(data: str, /, *, options: DataOptions = DataOptions(), seed: int = 0, printing: Printing = Printing()) -> None:
    """Read data and say what it is: schema, splits, and what is wrong with it.

    **Examples**

    - `modelwright data describe customers.csv`
    - `modelwright data describe customers.csv --target churn --type zip=category --json`
    - `modelwright data describe photos/`

    Parameters
    ----------
    data
        As for `build`.
    seed
        Decides splits that are made.
    """
    from modelwright.workflows.describe import describe as work

    reporter = _reporter(printing)
    _answer(printing, work(data, seed=seed, changes=_changes(options), reporter=reporter))


@data_app.command
def prepare(
    inputs: list[str],
    /,
    *,
    output: Path,
    tokenizer: str | None = None,
    vocabulary_size: int | None = None,
    document_separator: str | None = None,
    text_column: str | None = None,
    filters: str | None = None,
    validation: float | None = None,
    test: float | None = None,
    seed: int | None = None,
    config: Path | None = None,
    settings: Settings = None,
    processes: int | None = None,
    resume: bool = False,
    printing: Printing = Printing(),
) -> None:
    """Make a corpus of text: normalized, without repeats, filtered, split, checked for leaks, tokenized, and written as shards.

    **Examples**

    - `modelwright data prepare books/ --output corpora/books`
    - `modelwright data prepare "dump/*.jsonl.zst" --text-column body --filters gopher --output corpora/web`
    - `modelwright data prepare stories.txt --document-separator "<|endoftext|>" --tokenizer bpe --vocabulary-size 16384 --output corpora/stories`
    - `modelwright data prepare books/ --output corpora/books --resume`

    Parameters
    ----------
    inputs
        Files, folders or globs: plain text, JSON lines, Parquet; each also packed by gzip or zstd.
    output
        The corpus folder to make.
    tokenizer
        bytes, characters, words, bpe, unigram, or the path of a tokenizer.json; chosen by the size of the text if not said.
    vocabulary_size
        Most tokens of a tokenizer that is trained.
    document_separator
        What stands between the documents of a plain text file: `blank-line`, or a text; a file is a document if not said.
    text_column
        The column of JSON lines and Parquet files that holds the text; `text` if not said.
    filters
        What to drop: none, default (what is no text at all), or gopher (rules for English prose).
    validation
        Share of the text for the validation split; 0.05 and at most 10 MB if not said.
    test
        Share of the text for the test split; as for validation.
    seed
        Decides which documents go into which split.
    config
        A YAML file with all settings, as the `config` in a corpus.json.
    settings
        Any setting, as key=value; repeatable.
    processes
        How many work at once; the corpus is the same with any number.
    resume
        Go on with an interrupted preparation.
    """
    from modelwright.workflows.prepare import prepare as work
    from modelwright.workflows.prepare import settings_of

    changes = settings_of(tokenizer, vocabulary_size)
    changes |= {"document_separator": document_separator, "text_column": text_column, "filters": filters}
    changes |= {"validation": validation, "test": test, "seed": seed}
    reporter, resuming = _reporter(printing), {"processes": processes, "resume": resume}
    _answer(printing, work(inputs, output, config=config, settings=settings or (), changes=changes, **resuming, reporter=reporter))


@app.command
def recipes(name: str | None = None, /, *, printing: Printing = Printing()) -> None:
    """List the recipes that come with the package, or print one.

    **Examples**

    - `modelwright recipes`
    - `modelwright recipes mnist-cnn > my-recipe.yaml`

    Parameters
    ----------
    name
        The recipe to print.
    """
    from modelwright.workflows.recipes import recipes as work

    reporter = _reporter(printing)
    _answer(printing, work(name, reporter=reporter))


@app.command
def doctor(*, printing: Printing = Printing()) -> None:
    """Look at this machine: versions, cores, memory, what number formats are fast, which extras are there.

    **Examples**

    - `modelwright doctor`
    - `modelwright doctor --json`
    """
    from modelwright.workflows.doctor import doctor as work

    reporter = _reporter(printing)
    _answer(printing, work(reporter=reporter))


def _reporter(printing: Printing) -> Any:
    from modelwright.workflows.reporter import Reporter

    return Reporter(Console(stderr=printing.json), quiet=printing.quiet)


def _changes(options: DataOptions, **more: Any) -> dict[str, Any]:
    return {**options.changes(), **{key: value for key, value in more.items() if value is not None}}


def _answer(printing: Printing, result: Any) -> None:
    if printing.json:
        print(json.dumps(result.to_json(), allow_nan=False))


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong input, 130 interrupted and saved.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments, exit_on_error=False, print_error=False)
        return 0
    except CycloptsError as error:
        return _fail(arguments, " ".join(str(error).split()), 2)
    except ModelwrightError as error:
        return _fail(arguments, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(arguments, "Interrupted.", RunInterrupted.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def _fail(arguments: list[str], message: str, code: int) -> int:
    if "--json" in arguments:
        print(json.dumps({"error": message, "exit_code": code}))
    Console(stderr=True, soft_wrap=True).print(f"modelwright: {message}", markup=False, highlight=False)
    return code


if __name__ == "__main__":
    sys.exit(main())
