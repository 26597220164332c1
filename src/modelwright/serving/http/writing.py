"""Writing over HTTP: from the settings of a request to jobs of the engine, and what these write, as it comes."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

from pydantic import Field, field_validator

from modelwright.core.errors import InputError
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.normalization import normalize
from modelwright.serving.engine import BusyError, Chosen, ClosedError, Engine, Job
from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.serving.http.errors import ApiError, busy, shutting_down
from modelwright.serving.http.limits import Limits
from modelwright.serving.http.metrics import Metrics
from modelwright.serving.http.reading import Body, wrong
from modelwright.serving.writing import FinishReason

PAUSE = 0.02
"""Seconds between two events of a stream, at least: what comes in between goes into one, as many small ones would slow the network down."""
LARGEST_SEED = 2**63 - 1
LONGEST_TOKEN = 64
"""Characters of a token, nearly always fewer: a prompt of more than as many for each token that may be is refused before the work of encoding it."""
MOST_STOPS, LONGEST_STOP = 16, 256
FINISHED: dict[FinishReason, str] = {"length": "length", "stop": "stop", "end": "stop"}
"""The names of the interface for why a text ended."""

Text = Annotated[str, Field(max_length=1 << 20)]
_ANYTHING = object()
NEUTRAL: dict[str, Any] = {
    "user": _ANYTHING,
    "metadata": _ANYTHING,
    "store": _ANYTHING,
    "service_tier": _ANYTHING,
    "safety_identifier": _ANYTHING,
    "prompt_cache_key": _ANYTHING,
    "prompt_cache_retention": _ANYTHING,
    "parallel_tool_calls": _ANYTHING,
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
}
"""Fields of the interface that say nothing about the text, or nothing with these values; null says nothing everywhere."""


class StreamOptions(Body):
    """How a stream goes."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Settings(Body):
    """What requests for completions and for chats have in common; `top_k`, `min_p` and `repetition_penalty` are more than the interface knows."""

    model: Text | None = None
    max_tokens: int | None = Field(None, gt=0)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, gt=0, le=1 << 31)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, ge=0.01, le=100)
    n: int | None = Field(None, gt=0)
    seed: int | None = Field(None, ge=-LARGEST_SEED, le=LARGEST_SEED)
    stop: str | Annotated[list[str], Field(max_length=MOST_STOPS, fail_fast=True)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stop")
    @classmethod
    def _check_stop(cls, stop: str | list[str] | None) -> list[str] | None:
        strings = [stop] if isinstance(stop, str) else stop
        if strings and not all(0 < len(string) <= LONGEST_STOP for string in strings):
            raise ValueError(f"each stop string has 1 to {LONGEST_STOP} characters")
        return strings


def drop_neutral(values: dict[str, Any], own: Sequence[str]) -> dict[str, Any]:
    """The fields that say something.

    Raises:
        ApiError: one asks for what this server doesn't do.
    """
    kept = {}
    for name, value in values.items():
        allowed = NEUTRAL.get(name)
        if name in own or allowed is None:
            kept[name] = value
        elif value is not None and allowed is not _ANYTHING and value not in allowed:
            raise wrong(f"{name}: this server has no such thing; leave it out.", param=name, code="unsupported_parameter")
    return kept


class Author:
    """Puts texts to the engine.

    Args:
        name: of the model.
        generator: encodes the prompts, and continues them through the engine.
        limits: how much a request may ask for.
        metrics: what is counted.
    """

    def __init__(self, name: str, generator: Generator, limits: Limits, metrics: Metrics) -> None:
        self.name, self.generator, self.limits = name, generator, limits
        self.tokenizer = generator.tokenizer
        self._metrics = metrics
        self._most_prompt_tokens = min(generator.limit or limits.prompt_tokens, limits.prompt_tokens)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrivals: dict[Job, asyncio.Event] = {}
        longest = limits.prompt_tokens + limits.max_tokens
        self.engine = Engine(generator, rows=limits.rows, queue=limits.queue, longest=longest, notify=self._notify)

    def check_model(self, name: str | None) -> None:
        """Whether a request means this model.

        Raises:
            ApiError: it means another one.
        """
        if name is not None and name != self.name:
            raise ApiError(404, f"There is no model {name[:100]!r}; this server has {self.name!r}.", param="model", code="model_not_found")

    def encode(self, text: str, where: str) -> tuple[int, ...]:
        """The tokens of a prompt, normalized as `generate` does.

        Raises:
            ApiError: it is too long, or can't be encoded.
        """
        if len(text) > LONGEST_TOKEN * self._most_prompt_tokens:
            message = f"{where}: the prompt has {len(text):,} characters, and {self._most_prompt_tokens:,} tokens may be."
            raise wrong(message, param=where, code="context_length_exceeded")
        try:
            return self.check_prompt(self.generator.encode(normalize(text, CorpusConfig().normalization)), where)
        except InputError as error:
            raise wrong(f"{where}: {error}", param=where, code="context_length_exceeded" if "tokens" in str(error) else None) from None

    def check_prompt(self, tokens: Sequence[int], where: str) -> tuple[int, ...]:
        """The tokens of a prompt, if these are tokens and not too many.

        Raises:
            ApiError: they are not.
        """
        limit = self._most_prompt_tokens
        if len(tokens) > limit:
            message = f"{where}: the prompt has {len(tokens):,} tokens, and {limit:,} may be."
            raise wrong(message, param=where, code="context_length_exceeded")
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.tokenizer.size:
            raise wrong(f"{where}: the tokens of this model are 0 to {self.tokenizer.size - 1:,}.", param=where)
        return tuple(tokens) or (self.tokenizer.separator,)

    def jobs(
        self, prompts: Sequence[tuple[int, ...]], settings: Settings, *, default_tokens: int, logprobs: int | None, stop: Sequence[str] = ()
    ) -> list[Job]:
        """The jobs of a request: `n` for each prompt, all of one after the other, numbered as `generate` numbers its texts.

        Args:
            prompts: the tokens of each.
            settings: of the request.
            default_tokens: how many to write where it doesn't say.
            logprobs: how many of the likeliest tokens to tell at each place; None tells no log-probabilities.
            stop: more strings to stop before.

        Raises:
            ApiError: too much is asked for.
        """
        wanted, choices = settings.max_tokens, settings.n or 1
        if wanted is not None and wanted > self.limits.max_tokens:
            raise wrong(f"max_tokens: {wanted:,} are too many; {self.limits.max_tokens:,} may be.", param="max_tokens")
        if choices * len(prompts) > self.limits.choices:
            raise wrong(f"n: {choices * len(prompts):,} texts are too many for one request; {self.limits.choices:,} may be.", param="n")
        values = {
            "max_tokens": wanted or min(default_tokens, self.limits.max_tokens),
            "temperature": 1.0 if settings.temperature is None else settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k,
            "min_p": settings.min_p,
            "repetition_penalty": settings.repetition_penalty or 1.0,
            "seed": secrets.randbelow(LARGEST_SEED) if settings.seed is None else settings.seed,
            "stop": (*(settings.stop or ()), *stop),
            "logprobs": logprobs is not None,
        }
        config = GenerationConfig.model_validate(values)
        return [
            Job(prompt, config, number=place * choices + copy, likeliest=logprobs or 0)
            for place, prompt in enumerate(prompts)
            for copy in range(choices)
        ]

    @asynccontextmanager
    async def at_work(self, jobs: Sequence[Job]) -> AsyncIterator[asyncio.Event]:
        """Jobs in the engine, until they are done or nobody wants them any more; the event tells that something has come.

        Raises:
            ApiError: there is no room for them.
        """
        self._loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._arrivals |= dict.fromkeys(jobs, arrived)
        try:
            self.engine.submit(jobs)
            yield arrived
        except BusyError as error:
            raise busy(str(error), seconds=2) from None
        except ClosedError:
            raise shutting_down() from None
        finally:
            self.engine.cancel(jobs)
            for job in jobs:
                self._arrivals.pop(job, None)

    async def follow(self, jobs: Sequence[Job], arrived: asyncio.Event) -> AsyncIterator[list[tuple[int, str, list[Chosen], str | None]]]:
        """What the jobs write, as it comes: (place, text, tokens, why it ended or None), several at a time.

        Raises:
            ApiError: a job failed, or took too long.
        """
        began, going = time.perf_counter(), set(range(len(jobs)))
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                first = True
                while going:
                    await arrived.wait()
                    arrived.clear()
                    news = []
                    for place in sorted(going):
                        job = jobs[place]
                        finished = FINISHED.get(job.finish_reason) if job.done and job.finish_reason is not None else None
                        pieces = job.take()
                        if job.error is not None:
                            raise ApiError(503, f"{job.error}.", code="failed")
                        if finished is not None:
                            going.discard(place)
                        if pieces or finished is not None:
                            tokens = [chosen for piece in pieces for chosen in piece.tokens]
                            news.append((place, "".join(piece.text for piece in pieces), tokens, finished))
                    if news:
                        if first:
                            self._metrics.first_token(time.perf_counter() - began)
                            first = False
                        yield news
                        await asyncio.sleep(PAUSE if going else 0)
        except TimeoutError:
            raise ApiError(504, f"The text took longer than {self.limits.request_seconds:g} s.", code="timeout") from None

    def _notify(self, jobs: Sequence[Job]) -> None:
        """Called by the engine, in its thread."""
        if self._loop is not None:
            # When the loop has ended nobody waits any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake, list(jobs))

    def _wake(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if job in self._arrivals:
                self._arrivals[job].set()
