"""The engine: continues many texts at once; new ones join between two tokens, and finished ones leave (continuous batching).

Letters: B batch (rows in use), V vocabulary.

The idea is that of Yu et al. 2022 (Orca), section 3: schedule by iteration, not by request. A text comes out as if it were alone: each has random
numbers of its own, and where rounding, which differs between batches, could decide between two tokens of a greedy text, the text is read again by
itself (`_alone`). A sampled text can differ from the one of `Generator.generate` only where a random number falls within rounding of the border between
two tokens.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from modelwright.core.errors import ModelwrightError
from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.serving.precision import Prepared
from modelwright.serving.reader import CachedReader
from modelwright.serving.sampling import Sampler
from modelwright.serving.slots import Slots
from modelwright.serving.writing import FinishReason, Writing

ROUNDING = 2e-5
"""Two scores that are closer, as a share of the largest one's size, may change places between batches (float32; 1e-6 was seen)."""
PROMPT_TOKENS = 2048
"""Tokens of new prompts that are read between two tokens of the others, at most, but for one prompt."""


class BusyError(ModelwrightError):
    """The queue is full."""


class ClosedError(ModelwrightError):
    """The engine takes no more texts."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A token that was chosen.

    Attributes:
        token: its number.
        logprob: its log-probability as the network gives it; None if not asked for.
        likeliest: the likeliest tokens there, with their log-probabilities.
    """

    token: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """What has become certain of a text, and the tokens chosen since the last piece; the separator that ends a text is not among them."""

    text: str
    tokens: tuple[Chosen, ...]


@dataclass(eq=False)
class Job:
    """A text to be continued.

    Attributes:
        prompt: its tokens, at least one.
        config: how to continue it; beam search is not for the engine.
        number: decides its random numbers, together with the seed.
        likeliest: how many of the likeliest tokens to tell at each place.
        pieces: what was written and not yet taken; the engine appends, who asked takes from the left.
        finish_reason: set after the last piece.
        error: what went wrong, if something did.
    """

    prompt: tuple[int, ...]
    config: GenerationConfig
    number: int = 0
    likeliest: int = 0
    pieces: deque[Piece] = field(default_factory=deque)
    finish_reason: FinishReason | None = None
    error: str | None = None
    cancelled: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return self.finish_reason is not None or self.error is not None or self.cancelled

    def take(self) -> list[Piece]:
        """The pieces that have come since the last call."""
        taken = []
        while self.pieces:
            taken.append(self.pieces.popleft())
        return taken


@dataclass(eq=False, slots=True)
class _Running:
    """A job in a row, the text that it has become, and tokens not yet told of."""

    job: Job
    writing: Writing
    untold: list[Chosen] = field(default_factory=list)


class Engine:
    """Continues texts in a thread of its own.

    Args:
        generator: whose network does it; nobody else may use it meanwhile.
        rows: the most texts at once.
        queue: the most texts that wait.
        longest: the most tokens of a text, its prompt included.
        notify: told from the engine's thread of the jobs that have something new.
    """

    def __init__(
        self, generator: Generator, *, rows: int, queue: int, longest: int, notify: Callable[[Sequence[Job]], object] = lambda jobs: None
    ) -> None:
        self.rows, self.queue = rows, queue
        self._generator, self._longest, self._notify = generator, longest, notify
        self._waiting: deque[Job] = deque()
        self._running: list[_Running] = []
        self._changed = threading.Condition()
        self._closed = False
        self.steps, self.rows_read, self.tokens_written, self.tokens_read = 0, 0, 0, 0
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many texts are being continued."""
        return len(self._running)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Put jobs at the end of the queue, all or none.

        Raises:
            BusyError: there is no room for them.
            ClosedError: the engine was closed.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("The server is shutting down")
            room = self.queue + max(0, self.rows - len(self._running)) - len(self._waiting)
            if len(jobs) > room:
                raise BusyError(f"{len(self._waiting):,} texts wait already, and {self.queue:,} may")
            self._waiting.extend(jobs)
            self._changed.notify()

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these any more: they leave the queue, or at the next token their row."""
        with self._changed:
            for job in jobs:
                job.cancelled = job.cancelled or not job.done
            self._waiting = deque(job for job in self._waiting if not job.cancelled)
            self._changed.notify()

    def close(self) -> None:
        """Take no more jobs, and give up those that are left; returns when the thread has ended."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    # In the engine's thread

    def _work(self) -> None:
        torch.set_flush_denormal(True)
        with self._generator.inference(self.rows) as prepared, torch.inference_mode():
            while not self._closed:
                try:
                    slots, sampler = self._new_slots(prepared), Sampler()
                    while self._await_work():
                        self._admit(slots, sampler)
                        if self._running:
                            self._step(prepared, slots, sampler)
                except Exception as error:  # memory may run out; those who asked are told, and the next are served
                    running, self._running = self._running, []
                    self._fail([one.job for one in running] or self._all_waiting(), error)
                    if not running:
                        # Not even the rows could be had; that is tried again for the next who asks.
                        self._await_work()
        self._fail([*(running.job for running in self._running), *self._waiting], ClosedError("The server is shutting down"))
        self._running, self._waiting = [], deque()

    def _new_slots(self, prepared: Prepared) -> Slots:
        """Empty rows, which have been filled once where memory suffices; where it doesn't it may do so for some of them."""
        slots = Slots(self._generator, prepared, rows=self.rows, longest=self._longest)
        try:
            slots.warm_up()
        except RuntimeError:
            return Slots(self._generator, prepared, rows=self.rows, longest=self._longest)
        return slots

    def _await_work(self) -> bool:
        """Wait for something to do; False when the engine is closed."""
        with self._changed:
            while not (self._waiting or self._running or self._closed):
                self._changed.wait()
        return not self._closed

    def _all_waiting(self) -> list[Job]:
        """The jobs that wait, taken from the queue."""
        with self._changed:
            jobs = list(self._waiting)
            self._waiting.clear()
        return jobs

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            if not job.done:
                job.error = (
                    str(error) if isinstance(error, ModelwrightError) else f"the text could not be continued ({type(error).__name__})"
                )
        self._notify(jobs)

    def _admit(self, slots: Slots, sampler: Sampler) -> None:
        """Drop who has gone, and read the prompts of the next ones, equal ones in a row once."""
        self._leave([place for place, running in enumerate(self._running) if running.job.cancelled], slots, sampler)
        read = 0
        while slots.free and (not read or read < PROMPT_TOKENS):
            jobs = self._next_alike(slots.free)
            if not jobs:
                return
            read += len(jobs[0].prompt)
            before = len(slots)
            try:
                scores_1V = slots.add(jobs[0].prompt, len(jobs))
            except Exception as error:  # a prompt that memory doesn't suffice for is not the others' trouble
                self._fail(jobs, error)
                continue
            self.tokens_read += len(jobs[0].prompt)
            newcomers = [_Running(job, self._generator.writing(job.prompt, job.config)) for job in jobs]
            chooser = Sampler()
            for job in jobs:
                chooser.add(job.config, job.prompt, job.number)
            self._running += newcomers
            sampler.extend(chooser)
            self._write(newcomers, chooser, scores_1V.expand(len(jobs), -1))
            self._leave([before + n for n, one in enumerate(newcomers) if one.writing.finish_reason is not None], slots, sampler)

    def _next_alike(self, most: int) -> list[Job]:
        """The next jobs of one prompt."""
        with self._changed:
            alike: list[Job] = []
            while self._waiting and len(alike) < most and (not alike or self._waiting[0].prompt == alike[0].prompt):
                alike.append(self._waiting.popleft())
            return alike

    def _step(self, prepared: Prepared, slots: Slots, sampler: Sampler) -> None:
        """One more token of every text."""
        scores_BV = slots.read([running.writing.last for running in self._running])
        if prepared.exact:
            for row in sampler.close_calls(scores_BV, ROUNDING):
                scores_BV[row] = self._alone(prepared, self._running[row])
        self.steps += 1
        self.rows_read += len(self._running)
        self._write(self._running, sampler, scores_BV)
        self._leave([row for row, one in enumerate(self._running) if one.writing.finish_reason is not None], slots, sampler)

    def _alone(self, prepared: Prepared, running: _Running) -> Tensor:
        """The scores (V,) of a text's next token, when it is read as `Generator.generate` does with nothing beside it."""
        job = running.job
        reader = CachedReader(
            prepared.network, [job.prompt], context=self._generator.limit, new_tokens=job.config.max_tokens, scores=prepared.scores
        )
        scores_1V = reader.start()
        for token in running.writing.tokens:
            scores_1V = reader.read([token])
        return scores_1V[0]

    def _write(self, rows: Sequence[_Running], sampler: Sampler, scores_BV: Tensor) -> None:
        """Choose a token of each row, and let out what has become certain."""
        tokens_B = sampler(scores_BV)
        tokens = tokens_B.tolist()
        details = _details(rows, scores_BV, tokens_B)
        new: list[Job] = []
        for place, (running, token) in enumerate(zip(rows, tokens, strict=True)):
            writing, job = running.writing, running.job
            known = len(writing.tokens)
            writing.push(token)
            if len(writing.tokens) > known:
                running.untold.append(details.get(place) or Chosen(token))
            text = writing.release()
            if text or writing.finish_reason is not None:
                job.pieces.append(Piece(text, tuple(running.untold)))
                running.untold.clear()
                new.append(job)
            job.finish_reason = writing.finish_reason
        self.tokens_written += len(tokens)
        if new:
            self._notify(new)

    def _leave(self, rows: Sequence[int], slots: Slots, sampler: Sampler) -> None:
        """These rows are free again; the last ones move into their place."""
        for row in sorted(rows, reverse=True):
            slots.remove(row)
            sampler.remove(row)
            last = self._running.pop()
            if row < len(self._running):
                self._running[row] = last


def _details(rows: Sequence[_Running], scores_BV: Tensor, tokens_B: Tensor) -> dict[int, Chosen]:
    """What is to be told of the tokens of those rows that asked for log-probabilities, by place."""
    asked = [place for place, running in enumerate(rows) if running.job.config.logprobs]
    if not asked:
        return {}
    index = torch.tensor(asked, device=scores_BV.device)
    logprobs_NV, tokens_N = scores_BV[index].log_softmax(1), tokens_B[index]
    of_chosen = logprobs_NV.gather(1, tokens_N[:, None])[:, 0].tolist()
    most = max(rows[place].job.likeliest for place in asked)
    values, numbers = logprobs_NV.topk(min(max(most, 1), logprobs_NV.shape[1]))
    details = {}
    for place, token, logprob, value, number in zip(asked, tokens_N.tolist(), of_chosen, values.tolist(), numbers.tolist(), strict=True):
        details[place] = Chosen(token, logprob, tuple(islice(zip(number, value, strict=True), rows[place].job.likeliest)))
    return details
