"""The verbs of data: describe, prepare."""

from __future__ import annotations

from pathlib import Path

from modelwright.cli.arguments import DataOptions, Printing, Settings, answer, changes_of, data_app, reporter_of


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

    reporter = reporter_of(printing)
    answer(printing, work(data, seed=seed, changes=changes_of(options), reporter=reporter))


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
    reporter, resuming = reporter_of(printing), {"processes": processes, "resume": resume}
    answer(printing, work(inputs, output, config=config, settings=settings or (), changes=changes, **resuming, reporter=reporter))
