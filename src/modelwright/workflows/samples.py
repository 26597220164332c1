"""Samples: what a language model writes, at every evaluation of its training and at its end."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from modelwright.core.config import validate
from modelwright.core.disk import disk_errors
from modelwright.data.token_split import TokenSplit
from modelwright.data.tokenizer import Tokenizer
from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.training.hook import Hook, StepInfo
from modelwright.workflows.job import Job

CHARACTERS = 400
"""A sample is about so long, or a little shorter than the context."""
TEMPERATURE, TOP_P = 0.8, 0.95
FEW_DOCUMENTS, PROMPT = 100, 8
"""Where there are fewer, a model hardly saw how one begins, and its samples go on from the first words of the training split."""


class Samples(Hook):
    """Lets a network in training write, and keeps what it wrote.

    Args:
        path: a file of JSON rows `{"step", "text"}`, one an evaluation.
        job: the job whose network it is; nothing is written for data that is no text.
    """

    def __init__(self, path: Path, job: Job) -> None:
        self._path, self._job = path, job
        self._text: str | None = None

    def __call__(self, network: nn.Module) -> None:
        """Have `network` write a sample, at the beginning of an evaluation."""
        if isinstance(self._job.dataset.train, TokenSplit):
            self._text = write(self._job, network)

    def on_evaluation(self, info: StepInfo) -> None:
        """Keep what was written."""
        if self._text is not None:
            with disk_errors(self._path), self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": info.step, "text": self._text}, ensure_ascii=False) + "\n")


def write(job: Job, network: nn.Module) -> str:
    """What a network of the job writes, from the recipe's seed."""
    text, train = job.dataset.schema.text, job.dataset.train
    assert isinstance(train, TokenSplit), "only a text can be continued"
    tokens = max(1, min(round(CHARACTERS * train.tokens / max(train.bytes, 1)), text.shape[0] - PROMPT - 1))
    config = validate(GenerationConfig, {"max_tokens": tokens, "temperature": TEMPERATURE, "top_p": TOP_P, "seed": job.recipe.seed})
    tokenizer = Tokenizer.from_json(text.tokenizer)
    first = train.gather(torch.zeros(1, dtype=torch.int64)).inputs["tokens"][0, 1 : 1 + PROMPT]
    prompt = "" if train.documents >= FEW_DOCUMENTS else tokenizer.decode(first.tolist())
    return prompt + Generator(network, tokenizer).generate([prompt], config)[0].text  # type: ignore[arg-type]
