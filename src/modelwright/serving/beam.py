"""Beam search: the likeliest text, looked for among several that are followed at once.

Letters: K beams, V vocabulary.

The rules are those of `transformers` with `early_stopping=False`: a text's score is its log-probability over its length (the separator counted)
to the power `length_penalty`; the search ends when the best running beam, at its present length, is no better than the worst of K finished ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from modelwright.serving.reader import Reader
from modelwright.serving.sampling import apply_repetition_penalty, seen_tokens


@dataclass(frozen=True, slots=True)
class Beam:
    """A text that was followed.

    Attributes:
        tokens: the new ones, a final separator included.
        logprobs: of each of them, as the network gives it.
        score: the sum of the log-probabilities, with the repetition penalty, over `len(tokens)` to the power of the length penalty.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    score: float


def beam_search(
    reader: Reader,
    *,
    beams: int,
    max_tokens: int,
    length_penalty: float = 1.0,
    repetition_penalty: float = 1.0,
    ends: Callable[[tuple[int, ...]], bool],
) -> list[Beam]:
    """The best continuations that beam search finds, at most `beams` of them, the best one first.

    Args:
        reader: of one row, not started.
        beams: K.
        max_tokens: the most new tokens.
        length_penalty: see `Beam`.
        repetition_penalty: of tokens seen in the prompt or the text, applied to log-probabilities.
        ends: whether a text of these new tokens is finished.
    """
    assert len(reader.histories) == 1, "one prompt at a time"
    prompt = list(reader.histories[0])
    running, finished = [Beam((), (), 0.0)], list[Beam]()
    scores_KV = reader.start()
    for length in range(1, max_tokens + 1):
        logprobs_KV = plain_KV = scores_KV.log_softmax(1)
        if repetition_penalty != 1:
            seen_KV = seen_tokens([[*prompt, *beam.tokens] for beam in running], scores_KV.shape[1], scores_KV.device)
            logprobs_KV = apply_repetition_penalty(logprobs_KV, seen_KV, repetition_penalty)
        candidates = _extend(running, logprobs_KV, plain_KV, 2 * beams)
        over = [length == max_tokens or ends(beam.tokens) for _, beam in candidates]
        best = [beam for (_, beam), ended in zip(candidates[:beams], over[:beams], strict=True) if ended]
        finished += [Beam(beam.tokens, beam.logprobs, beam.score / length**length_penalty) for beam in best]
        finished = sorted(finished, key=lambda beam: -beam.score)[:beams]
        kept = [candidate for candidate, ended in zip(candidates, over, strict=True) if not ended][:beams]
        if not kept or (len(finished) == beams and kept[0][1].score / length**length_penalty <= finished[-1].score):
            break
        parents, running = [parent for parent, _ in kept], [beam for _, beam in kept]
        reader.select(parents)
        scores_KV = reader.read([beam.tokens[-1] for beam in running])
    return finished


def _extend(running: list[Beam], logprobs_KV: Tensor, plain_KV: Tensor, count: int) -> list[tuple[int, Beam]]:
    """The `count` likeliest texts of one more token, with the number of the beam that each goes on from; here a score is a plain sum.

    Args:
        running: the beams that are gone on from.
        logprobs_KV: of each next token, as they count for the score.
        plain_KV: the same as the network gives them.
        count: how many.
    """
    totals_KV = logprobs_KV + torch.tensor([beam.score for beam in running], device=logprobs_KV.device)[:, None]
    values, places = totals_KV.flatten().topk(min(count, totals_KV.numel()))
    extended = []
    for total, place, logprob in zip(values.tolist(), places.tolist(), plain_KV.flatten()[places].tolist(), strict=True):
        parent, token = divmod(place, logprobs_KV.shape[1])
        beam = running[parent]
        extended.append((parent, Beam((*beam.tokens, token), (*beam.logprobs, logprob), total)))
    return extended
