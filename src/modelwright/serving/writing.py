"""The writing: one text in the making, token by token, that ends where it should and lets out only what is certain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from modelwright.data.tokenizer import Tokenizer

FinishReason = Literal["length", "stop", "end"]
"""As many tokens as were asked for; before a stop string; the network ended the document."""
BEFORE = 64
"""Tokens of a prompt that can decide how its text goes on; a decoder takes time in the square of those that make no character."""


class Writing:
    """A text in the making.

    Args:
        tokenizer: makes text of tokens.
        prompt: the tokens before the text, which decide whether it begins with a space.
        stop: strings that end the text, and are not part of it.
        max_tokens: the most tokens.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stop: Sequence[str], max_tokens: int) -> None:
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.finish_reason: FinishReason | None = None
        self._separator, self._stop, self._max_tokens = tokenizer.separator, stop, max_tokens
        self._decoder = tokenizer.decoder()
        for token in [token for token in prompt if token != self._separator][-BEFORE:]:
            self._decoder.push(token)
        self._certain: list[str] = []
        self._released = 0
        self._held = ""

    @property
    def last(self) -> int:
        """The last token."""
        return self.tokens[-1]

    def push(self, token: int, logprob: float | None = None) -> None:
        """The next token."""
        assert self.finish_reason is None, "the text has ended"
        if token == self._separator:
            self._finish("end")
            return
        self.tokens.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        self._held += self._decoder.push(token)
        if self._stop:
            self._look_for_stop()
        else:
            self._certain.append(self._held)
            self._held = ""
        if self.finish_reason is None and len(self.tokens) == self._max_tokens:
            self._finish("length")

    @property
    def text(self) -> str:
        """The text so far, without what may become a stop string, and without a last character of which bytes are missing."""
        return "".join(self._certain)

    def release(self) -> str:
        """What has become certain since the last call."""
        new = "".join(self._certain[self._released :])
        self._released = len(self._certain)
        return new

    def _look_for_stop(self) -> None:
        found = [place for string in self._stop if (place := self._held.find(string)) >= 0]
        if found:
            self._held = self._held[: min(found)]
            self._finish("stop")
            return
        longest = min(len(self._held), max(map(len, self._stop)) - 1)
        begun = next((n for n in range(longest, 0, -1) if any(string.startswith(self._held[-n:]) for string in self._stop)), 0)
        cut = len(self._held) - begun
        self._certain.append(self._held[:cut])
        self._held = self._held[cut:]

    def _finish(self, reason: FinishReason) -> None:
        self.finish_reason = reason
        self._certain.append(self._held)
        self._held = ""
