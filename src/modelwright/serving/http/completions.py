"""`/v1/completions` and `/v1/chat/completions`, as the OpenAI interface has them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from modelwright.serving.engine import Chosen, Job
from modelwright.serving.http.chat import ChatTemplate
from modelwright.serving.http.errors import json_response
from modelwright.serving.http.reading import Body, GoneError, read_object, unless_gone, validated, wrong
from modelwright.serving.http.stream import EventStream
from modelwright.serving.http.writing import Author, Settings, Text, drop_neutral

T = TypeVar("T")

COMPLETION_TOKENS = 16
"""New tokens of a completion where nothing is said, as the interface has it."""
CHAT_TOKENS = 200
"""The same of an answer in a chat."""

Prompts = Annotated[list[Text], Field(min_length=1, max_length=64, fail_fast=True)]
Tokens = Annotated[list[int], Field(min_length=1, max_length=1 << 16, fail_fast=True)]
Batches = Annotated[list[Tokens], Field(min_length=1, max_length=64, fail_fast=True)]


class CompletionRequest(Settings):
    """A request to continue one or more texts, given as such or as tokens."""

    prompt: Text | Tokens | Prompts | Batches | None = None
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=5)


class ContentPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class Message(Body):
    """A message of a chat, with what the official client sends back of an answer that has nothing there."""

    role: Annotated[str, Field(min_length=1, max_length=64)]
    content: Text | Annotated[list[ContentPart], Field(max_length=64, fail_fast=True)] | None = None
    name: Annotated[str, Field(max_length=64)] | None = None
    refusal: None = None
    annotations: None = None
    audio: None = None
    tool_calls: None = None
    function_call: None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content or ())


class ChatRequest(Settings):
    """A request to go on with a chat."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=256, fail_fast=True)]
    max_completion_tokens: int | None = Field(None, gt=0)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)


Choice = Callable[[int, str, list[Chosen], str | None], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Reply:
    """How an answer is put into words.

    Attributes:
        kind: its `object`; a stream's ends in `chunk` where the two differ.
        chunk_kind: that of a stream.
        choice: a choice of the whole answer, from its place, text, tokens and the reason of its end.
        delta: the same of a part of a stream.
        opening: what a stream begins with, for each choice.
        usage: how many tokens were read.
        prefix: text in front of what each choice says.
    """

    kind: str
    chunk_kind: str
    choice: Choice
    delta: Choice
    read: int
    opening: dict[str, Any] | None = None
    prefix: Sequence[str] = ()


class Completions:
    """Answers requests for texts.

    Args:
        author: puts them to the engine.
        template: makes a prompt of a chat.
    """

    def __init__(self, author: Author, template: ChatTemplate) -> None:
        self._author, self._template = author, template
        self._encoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="encoder")

    async def complete(self, request: Request) -> Response:
        """Continue texts."""
        values = drop_neutral(await read_object(request), list(CompletionRequest.model_fields))
        asked, author = validated(CompletionRequest, values), self._author
        author.check_model(asked.model)
        prompts = await self._aside(lambda: self._prompts(asked.prompt))
        jobs = author.jobs(prompts, asked, default_tokens=COMPLETION_TOKENS, logprobs=asked.logprobs)
        echoed = [author.tokenizer.decode(job.prompt) for job in jobs] if asked.echo else [""] * len(jobs)
        lengths = [len(text) for text in echoed]

        def choice(place: int, text: str, tokens: list[Chosen], finished: str | None) -> dict[str, Any]:
            told = None if asked.logprobs is None else self._flat_logprobs(tokens, lengths[place])
            lengths[place] += len(text)
            return {"index": place, "text": text, "logprobs": told, "finish_reason": finished}

        reply = Reply("text_completion", "text_completion", choice, choice, sum(map(len, prompts)), prefix=echoed)
        return await self._reply(request, jobs, asked, reply)

    async def chat(self, request: Request) -> Response:
        """Go on with a chat."""
        values = drop_neutral(await read_object(request), list(ChatRequest.model_fields))
        asked, author = validated(ChatRequest, values), self._author
        author.check_model(asked.model)
        if asked.max_completion_tokens is not None:
            asked = asked.model_copy(update={"max_tokens": asked.max_completion_tokens})
        messages = [{"role": one.role, "content": one.text} for one in asked.messages]
        prompt = await self._aside(lambda: author.encode(self._template.render(messages), "messages"))
        logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
        jobs = author.jobs([prompt], asked, default_tokens=CHAT_TOKENS, logprobs=logprobs, stop=self._template.stop)

        def told(tokens: list[Chosen]) -> dict[str, Any] | None:
            return None if logprobs is None else {"content": [self._logprob(chosen) for chosen in tokens], "refusal": None}

        def choice(place: int, text: str, tokens: list[Chosen], finished: str | None) -> dict[str, Any]:
            message = {"role": "assistant", "content": text, "refusal": None}
            return {"index": place, "message": message, "logprobs": told(tokens), "finish_reason": finished}

        def delta(place: int, text: str, tokens: list[Chosen], finished: str | None) -> dict[str, Any]:
            return {"index": place, "delta": {"content": text} if text else {}, "logprobs": told(tokens), "finish_reason": finished}

        reply = Reply("chat.completion", "chat.completion.chunk", choice, delta, len(prompt), {"role": "assistant", "content": ""})
        return await self._reply(request, jobs, asked, reply)

    async def _aside(self, encode: Callable[[], T]) -> T:
        """Encode prompts, one after the other, while other streams go on."""
        return await asyncio.get_running_loop().run_in_executor(self._encoder, encode)

    def _prompts(self, prompt: str | list[int] | list[str] | list[list[int]] | None) -> list[tuple[int, ...]]:
        """The tokens of each prompt of a request.

        Raises:
            ApiError: one is too long, or no text of this model.
        """
        if prompt is None or isinstance(prompt, str):
            return [self._author.encode(prompt or "", "prompt")]
        several = [prompt] if isinstance(prompt[0], int) else prompt
        if len(several) > self._author.limits.choices:
            raise wrong(f"prompt: {len(several):,} prompts are too many for one request.", param="prompt")
        return [
            self._author.encode(one, "prompt") if isinstance(one, str) else self._author.check_prompt(one, "prompt")  # type: ignore[arg-type]
            for one in several
        ]

    async def _reply(self, request: Request, jobs: list[Job], asked: Settings, reply: Reply) -> Response:
        """The answer, whole or as a stream."""
        prefix = "chatcmpl" if reply.opening else "cmpl"
        head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": self._author.name,
            "system_fingerprint": None,
        }
        if asked.stream:
            usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return EventStream(self._parts(jobs, {**head, "object": reply.chunk_kind}, reply, usage))
        try:
            return await unless_gone(request.receive, self._whole(jobs, {**head, "object": reply.kind}, reply))
        except GoneError:
            return Response(status_code=499)

    async def _whole(self, jobs: list[Job], head: dict[str, Any], reply: Reply) -> Response:
        texts, tokens = [[text] for text in reply.prefix] or [[] for _ in jobs], [[] for _ in jobs]
        reasons: list[str | None] = [None] * len(jobs)
        async with self._author.at_work(jobs) as arrived:
            async for news in self._author.follow(jobs, arrived):
                for place, text, chosen, finished in news:
                    texts[place].append(text)
                    tokens[place] += chosen
                    reasons[place] = finished
        choices = [reply.choice(place, "".join(texts[place]), tokens[place], reasons[place]) for place in range(len(jobs))]
        return json_response({**head, "choices": choices, "usage": _usage(reply.read, tokens)})

    async def _parts(self, jobs: list[Job], head: dict[str, Any], reply: Reply, usage: bool) -> AsyncIterator[dict[str, Any]]:
        tokens: list[list[Chosen]] = [[] for _ in jobs]
        more = {"usage": None} if usage else {}
        async with self._author.at_work(jobs) as arrived:
            begun = False
            async for news in self._author.follow(jobs, arrived):
                if not begun:
                    begun = True
                    for place in range(len(jobs)):
                        if reply.opening is not None:
                            opening = {"index": place, "delta": reply.opening, "logprobs": None, "finish_reason": None}
                            yield {**head, "choices": [opening], **more}
                        elif reply.prefix[place]:
                            echo = {"index": place, "text": reply.prefix[place], "logprobs": None, "finish_reason": None}
                            yield {**head, "choices": [echo], **more}
                for place, text, chosen, finished in news:
                    tokens[place] += chosen
                    yield {**head, "choices": [reply.delta(place, text, chosen, finished)], **more}
        if usage:
            yield {**head, "choices": [], "usage": _usage(reply.read, tokens)}

    def _token(self, token: int) -> str:
        return self._author.tokenizer.decode([token])

    def _logprob(self, chosen: Chosen) -> dict[str, Any]:
        likeliest = [self._spelled(token, logprob) for token, logprob in chosen.likeliest]
        return {**self._spelled(chosen.token, chosen.logprob or 0.0), "top_logprobs": likeliest}

    def _spelled(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._token(token)
        return {"token": text, "logprob": max(logprob, -1e9), "bytes": list(text.encode())}

    def _flat_logprobs(self, tokens: list[Chosen], offset: int) -> dict[str, Any]:
        """Log-probabilities as the older interface tells them; `text_offset` counts characters of what came before."""
        names = [self._token(chosen.token) for chosen in tokens]
        offsets = []
        for name in names:
            offsets.append(offset)
            offset += len(name)
        likeliest = [{self._token(token): max(logprob, -1e9) for token, logprob in chosen.likeliest} for chosen in tokens]
        logprobs = [max(chosen.logprob or 0.0, -1e9) for chosen in tokens]
        return {"tokens": names, "token_logprobs": logprobs, "top_logprobs": likeliest, "text_offset": offsets}


def _usage(read: int, tokens: Sequence[Sequence[Chosen]]) -> dict[str, int]:
    written = sum(map(len, tokens))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
