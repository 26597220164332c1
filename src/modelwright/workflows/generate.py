"""`generate`: a trained language model continues texts."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.normalization import normalize
from modelwright.serving.generation import Generation, GenerationConfig, Generator
from modelwright.training.machine import prepare_machine
from modelwright.workflows.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Generated:
    """What was generated.

    Attributes:
        generations: in the order of the prompts, all samples of one after the other.
        seconds: that generating took, reading the prompts included and loading the model not.
    """

    generations: list[Generation]
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """New tokens of all texts together."""
        return sum(len(one.tokens) for one in self.generations) / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """`generations` (each with `prompt`, `text`, `tokens`, `finish_reason`), `seconds` and `tokens_per_second`."""
        rows = [
            {
                "prompt": one.prompt,
                "text": one.text,
                "tokens": one.tokens,
                "finish_reason": one.finish_reason,
                **({} if one.logprobs is None else {"logprobs": one.logprobs}),
            }
            for one in self.generations
        ]
        return {"generations": rows, "seconds": self.seconds, "tokens_per_second": self.tokens_per_second}


def generate(
    run: Path | str,
    prompts: Sequence[str] = (),
    *,
    prompt_file: Path | str | None = None,
    samples: int = 1,
    precision: str = "float32",
    settings: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
) -> Generated:
    """Continue texts with the language model of a run.

    Args:
        run: a run folder or a bundle.
        prompts: texts to continue, which are normalized as a corpus is; none begins a document.
        prompt_file: a text file whose whole content is one more prompt; `-` for standard input.
        samples: how many times to continue each prompt.
        precision: the number format of the weights: auto, float32, float16, bfloat16 or int8.
        settings: of `GenerationConfig`; those that are None are left alone.
        reporter: whom to tell; a single text is shown as it is made.

    Raises:
        InputError: there is no language model, a setting is wrong, or a prompt is too long.
    """
    reporter = reporter or Reporter()
    config = validate(GenerationConfig, {key: value for key, value in (settings or {}).items() if value is not None})
    if samples < 1:
        raise InputError(f"{samples} samples are nothing to make", expected="1 or more")
    if prompt_file is not None:
        prompts = [*prompts, _read(prompt_file)]
    # As `data prepare` does unless it is told otherwise: a line end of another kind would be a token never seen.
    prompts = [normalize(prompt, CorpusConfig().normalization) for prompt in prompts]
    repeated = [prompt for prompt in prompts or [""] for _ in range(samples)]
    prepare_machine()
    generator = Generator.load(run, precision=precision)
    began = time.perf_counter()
    if len(repeated) == 1 and reporter.visible:
        generations = [_shown_while_made(generator, repeated[0], config, reporter)]
    else:
        generations = generator.generate(repeated, config)
        _show(generations, reporter)
    result = Generated(generations, time.perf_counter() - began)
    count = sum(len(one.tokens) for one in generations)
    reporter.say("made", f"{count:,} tokens in {result.seconds:.1f} s, {result.tokens_per_second:,.0f} a second")
    return result


def _shown_while_made(generator: Generator, prompt: str, config: GenerationConfig, reporter: Reporter) -> Generation:
    """Show the prompt and what follows, piece by piece; a line is ended even if the user ends the text."""
    generator.encode(prompt)
    try:
        reporter.print_text(prompt)
        return generator.follow(prompt, config, reporter.print_text)
    finally:
        reporter.print_text("\n")


def _show(generations: Sequence[Generation], reporter: Reporter) -> None:
    for number, one in enumerate(generations):
        if len(generations) > 1:
            reporter.say(f"{number + 1}", f"of {len(generations)}")
        reporter.print_text(f"{one.prompt}{one.text}\n")


def _read(file: Path | str) -> str:
    """The text of a prompt file, without the line break at its end.

    Raises:
        InputError: it can't be read, or is no UTF-8 text.
    """
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else Path(file).read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise InputError(f"can't be read ({error.strerror or error})", where=file) from None
    except UnicodeDecodeError:
        raise InputError("is no UTF-8 text", where=file) from None
    return text.removesuffix("\n").removesuffix("\r")
