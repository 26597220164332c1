"""Generation: a trained network continues texts.

Letters: B batch (rows), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from modelwright.core.errors import InputError
from modelwright.data.tokenizer import Tokenizer
from modelwright.models.network import Network
from modelwright.nn.mode import evaluating
from modelwright.serving.beam import Beam, beam_search
from modelwright.serving.bundle import Bundle, load_bundle
from modelwright.serving.precision import FixedPrecision, Precision, Prepared, check_precision, fastest, prepare
from modelwright.serving.reader import CachedReader, PlainReader, Reader
from modelwright.serving.sampling import GenerationConfig, Sampler
from modelwright.serving.writing import FinishReason, Writing

__all__ = ["Generation", "GenerationConfig", "Generator"]


@dataclass(frozen=True, slots=True)
class Generation:
    """A continued text.

    Attributes:
        prompt: what it continues.
        text: what was added, without the stop string.
        tokens: what the network gave, the tokens of a stop string included, the separator not.
        finish_reason: `length`, `stop` or `end`.
        logprobs: the log-probability of each token, if asked for.
    """

    prompt: str
    text: str
    tokens: list[int]
    finish_reason: FinishReason
    logprobs: list[float] | None = None


class Generator:
    """Continues texts with a network.

    Args:
        model: a bundle, or a network that tells the next token; a network in training stays so.
        tokenizer: its tokenizer; None takes the bundle's.
        precision: the number format of the weights, one of `Precision`.

    Raises:
        InputError: the model doesn't tell the next token of a text, the tokenizer has other tokens, or the number format is none for its device.
    """

    def __init__(self, model: Bundle | Network, tokenizer: Tokenizer | None = None, *, precision: str = "float32") -> None:
        if isinstance(model, Bundle):
            schema = model.config.data_schema
            if not schema.causal:
                raise InputError(
                    f"the model predicts {schema.target.name!r}, and continues no text", remedy="Use modelwright predict, or train on text"
                )
            own = Tokenizer.from_json(schema.text.tokenizer)
            if tokenizer is not None and tokenizer.digest != own.digest:
                raise InputError("the tokenizer is not that of the bundle", remedy="Leave it out: the bundle holds its own")
            tokenizer = own
        if tokenizer is None:
            raise InputError("a network alone knows no tokenizer", remedy="Give the tokenizer that it was trained with")
        self.network = model.network if isinstance(model, Bundle) else model
        if tokenizer.size != self.network.outputs:
            raise InputError(
                f"the tokenizer has {tokenizer.size:,} tokens, and the network {self.network.outputs:,}",
                expected="the tokenizer that the network was trained with",
            )
        self.tokenizer = tokenizer
        self.context: int = self.network.stem.gives.size[0]
        self._precision: Precision = check_precision(precision, self.network.output_weight().device)
        self._prepared: dict[FixedPrecision, Prepared] = {}
        self._chosen: dict[int, FixedPrecision] = {}

    @classmethod
    def load(cls, path: Path | str, *, precision: str = "float32") -> Generator:
        """The generator of a run folder or a bundle.

        Raises:
            InputError: there is no good bundle of a language model there.
        """
        bundle = load_bundle(path)
        if torch.cuda.is_available():
            bundle.network.to("cuda")
        return cls(bundle, precision=precision)

    def generate(self, prompts: Sequence[str], config: GenerationConfig, *, use_cache: bool = True) -> list[Generation]:
        """Continue each prompt; all are read side by side. Where nothing is random, or with the same seed, the same comes again.

        Args:
            prompts: texts; an empty one begins a document. The random numbers of each depend on the seed and on its place here.
            config: how to continue.
            use_cache: keep what was read; otherwise everything is read anew for each token, which is slow and gives the same.

        Raises:
            InputError: a prompt is longer than the context of a network that has one, or can't be encoded.
        """
        tokens = [self.encode(prompt) for prompt in prompts]
        if not prompts:
            return []
        with self.inference(len(prompts) * config.beams) as prepared:
            if config.beams > 1:
                searched = [self._search(prepared, row, config, use_cache) for row in tokens]
                return [self._of_beam(prompt, row, beam, config) for prompt, row, beam in zip(prompts, tokens, searched, strict=True)]
            writings = [self.writing(row, config) for row in tokens]
            for _ in self._write(prepared, tokens, writings, config, use_cache):
                pass
        return [_generation(prompt, writing, config) for prompt, writing in zip(prompts, writings, strict=True)]

    def stream(self, prompt: str, config: GenerationConfig) -> Iterator[str]:
        """Continue a prompt, piece by piece as it becomes certain; together the pieces are the text of `generate`.

        A piece never ends within a character, and never holds what may become a stop string. Beam search gives its text in one piece.

        Raises:
            InputError: see `generate`.
        """
        if config.beams > 1:
            yield self.generate([prompt], config)[0].text
            return
        tokens = self.encode(prompt)
        yield from self._pieces(tokens, self.writing(tokens, config), config)

    def follow(self, prompt: str, config: GenerationConfig, show: Callable[[str], object]) -> Generation:
        """Continue a prompt, and `show` each piece as `stream` gives it.

        Raises:
            InputError: see `generate`.
        """
        if config.beams > 1:
            generation = self.generate([prompt], config)[0]
            show(generation.text)
            return generation
        tokens = self.encode(prompt)
        writing = self.writing(tokens, config)
        for piece in self._pieces(tokens, writing, config):
            show(piece)
        return _generation(prompt, writing, config)

    def _pieces(self, tokens: list[int], writing: Writing, config: GenerationConfig) -> Iterator[str]:
        with self.inference(1) as prepared:
            for _ in self._write(prepared, [tokens], [writing], config, True):
                if piece := writing.release():
                    yield piece

    def writing(self, prompt: Sequence[int], config: GenerationConfig) -> Writing:
        """The text that continues these tokens, empty yet."""
        return Writing(self.tokenizer, prompt, config.stop, config.max_tokens)

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a prompt, the separator for an empty one.

        Raises:
            InputError: it is longer than the context of a network that has one, or can't be encoded.
        """
        tokens = self.tokenizer.encode(prompt).tolist() or [self.tokenizer.separator]
        if self.limit is not None and len(tokens) > self.limit:
            raise InputError(
                f"the prompt has {len(tokens):,} tokens, and the network reads {self.limit:,} at once", remedy="Give the end of it only"
            )
        return tokens

    @cached_property
    def limit(self) -> int | None:
        """How far back the network sees; None if what it keeps is of one size however much it has read."""
        try:
            small, large = (self.network.new_cache(1, capacity) for capacity in (self.context, 2 * self.context))
        except InputError:
            return self.context
        sizes = [[[part.shape for part in state] for state in cache.layers] for cache in (small, large)]
        return None if sizes[0] == sizes[1] else self.context

    @contextmanager
    def inference(self, rows: int) -> Iterator[Prepared]:
        """The network in the number format chosen for so many rows, out of training for a while."""
        if self.network.training:
            # The weights will change, and a copy of what they are now would not.
            self._prepared.clear()
        keep = not self.network.training
        with evaluating(self.network):
            prepared = None
            precision = self._chosen.get(rows) if self._precision == "auto" else self._precision
            if precision is None:
                precision, prepared = fastest(self.network, rows)
                self._chosen[rows] = precision
            prepared = self._prepared.get(precision) or prepared or prepare(self.network, precision)
            if keep and prepared.network is not self.network:
                self._prepared[precision] = prepared
            yield prepared

    def _reader(self, prepared: Prepared, histories: list[list[int]], new_tokens: int, use_cache: bool) -> Reader:
        if not use_cache:
            return PlainReader(prepared.network, histories, context=self.limit, scores=prepared.scores)
        return CachedReader(prepared.network, histories, context=self.limit, new_tokens=new_tokens, scores=prepared.scores)

    @torch.inference_mode()
    def _write(
        self, prepared: Prepared, prompts: list[list[int]], writings: list[Writing], config: GenerationConfig, use_cache: bool
    ) -> Iterator[None]:
        """Write all texts side by side, a token of each between two yields; those that have ended leave."""
        reader = self._reader(prepared, prompts, config.max_tokens, use_cache)
        sampler = Sampler(config, prompts, range(len(prompts)))
        scores_BV = reader.start()
        while True:
            tokens_B = sampler(scores_BV)
            tokens = tokens_B.tolist()
            logprobs = _logprobs(scores_BV, tokens_B) if config.logprobs else [None] * len(tokens)
            for writing, token, logprob in zip(writings, tokens, logprobs, strict=True):
                writing.push(token, logprob)
            yield
            going = [row for row, writing in enumerate(writings) if writing.finish_reason is None]
            if not going:
                return
            if len(going) < len(writings):
                writings, tokens = [writings[row] for row in going], [tokens[row] for row in going]
                reader.select(going)
                sampler.select(going)
            scores_BV = reader.read(tokens)

    @torch.inference_mode()
    def _search(self, prepared: Prepared, prompt: list[int], config: GenerationConfig, use_cache: bool) -> Beam:
        """The best text that beam search finds."""

        def ends(tokens: tuple[int, ...]) -> bool:
            return tokens[-1] == self.tokenizer.separator or bool(
                config.stop and self._replay(prompt, tokens, config).finish_reason == "stop"
            )

        return beam_search(
            self._reader(prepared, [prompt], config.max_tokens, use_cache),
            beams=config.beams,
            max_tokens=config.max_tokens,
            length_penalty=config.length_penalty,
            repetition_penalty=config.repetition_penalty,
            ends=ends,
        )[0]

    def _replay(self, prompt: list[int], tokens: Sequence[int], config: GenerationConfig, logprobs: Sequence[float] = ()) -> Writing:
        """The writing of tokens that are known."""
        writing = self.writing(prompt, config)
        for place, token in enumerate(tokens):
            writing.push(token, logprobs[place] if logprobs else None)
        return writing

    def _of_beam(self, prompt: str, tokens: list[int], beam: Beam, config: GenerationConfig) -> Generation:
        return _generation(prompt, self._replay(tokens, beam.tokens, config, beam.logprobs), config)


def _logprobs(scores_BV: Tensor, tokens_B: Tensor) -> list[float]:
    return scores_BV.log_softmax(1).gather(1, tokens_B[:, None])[:, 0].tolist()


def _generation(prompt: str, writing: Writing, config: GenerationConfig) -> Generation:
    assert writing.finish_reason is not None, "the text goes on"
    return Generation(prompt, writing.text, writing.tokens, writing.finish_reason, writing.logprobs if config.logprobs else None)
