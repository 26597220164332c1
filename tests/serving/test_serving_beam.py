"""Beam search: what `transformers` finds with the same network, and on a tiny vocabulary what there is to find at all."""

import itertools

import pytest
import torch
from harness.writers import language_model

from modelwright.core.errors import InputError
from modelwright.serving.beam import beam_search
from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.serving.reader import CachedReader, PlainReader

END = 10


class Borrowed:
    """A network of `transformers`, as one of ours that reads without a cache."""

    def __init__(self, model):
        self.model, self.head = model, self

    def new_cache(self, rows, capacity):
        return None

    def output_weight(self):
        return self.model.get_output_embeddings().weight

    def hidden(self, inputs, cache=None):
        return self.model.transformer(inputs["tokens"]).last_hidden_state

    def project(self, hidden, table):
        return hidden @ table.T


@pytest.fixture(scope="module")
def gpt2():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {"vocab_size": 23, "n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.7}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, bos_token_id=END, eos_token_id=END, pad_token_id=END)).eval()


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [2, 5])
@pytest.mark.parametrize("repetition", [1.0, 1.4])
def test_the_same_texts_and_scores_as_transformers(gpt2, beams, penalty, repetition):
    for prompt in ([3, 1, 4], [1, 5], [9, 2, 6, 5]):
        theirs = gpt2.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            num_beams=beams,
            num_return_sequences=beams,
            do_sample=False,
            max_new_tokens=12,
            length_penalty=penalty,
            repetition_penalty=repetition,
            return_dict_in_generate=True,
            output_scores=True,
        )
        with torch.inference_mode():
            ours = beam_search(
                PlainReader(Borrowed(gpt2), [prompt], context=None),  # type: ignore[arg-type]
                beams=beams,
                max_tokens=12,
                length_penalty=penalty,
                repetition_penalty=repetition,
                ends=lambda tokens: tokens[-1] == END,
            )
        for beam, sequence, score in zip(ours, theirs.sequences.tolist(), theirs.sequences_scores.tolist(), strict=True):
            assert list(beam.tokens) == sequence[len(prompt) : len(prompt) + len(beam.tokens)]
            assert set(sequence[len(prompt) + len(beam.tokens) :]) <= {END}
            assert beam.score == pytest.approx(score, abs=1e-4)


def test_enough_beams_find_the_likeliest_text(characters):
    network = language_model("gru", characters)
    tokens = [1, 2]
    texts = [(a, b) for a, b in itertools.product(range(characters.size), repeat=2)]
    with torch.inference_mode():
        logprobs = network({"tokens": torch.tensor([[*tokens, *text] for text in texts])}).log_softmax(-1)
        totals = [float(row[1, a] + row[2, b]) for row, (a, b) in zip(logprobs, texts, strict=True)]
        reader = CachedReader(network, [tokens], context=None, new_tokens=3)
        found = beam_search(reader, beams=characters.size, max_tokens=2, length_penalty=0.0, ends=lambda tokens: False)
    best = sorted(zip(totals, texts, strict=True), reverse=True)[:5]
    assert [beam.tokens for beam in found[:5]] == [text for _, text in best]
    assert [beam.score for beam in found[:5]] == pytest.approx([total for total, _ in best], abs=1e-4)
    assert sum(found[0].logprobs) == pytest.approx(found[0].score, abs=1e-4)


def test_log_probabilities_are_the_networks_own_whatever_is_penalized(characters):
    network = language_model("gru", characters)
    with torch.inference_mode():
        reader = CachedReader(network, [[1, 2]], context=None, new_tokens=9)
        best = beam_search(reader, beams=3, max_tokens=8, repetition_penalty=1.5, ends=lambda tokens: False)[0]
        scores = network({"tokens": torch.tensor([[1, 2, *best.tokens]])})[0].log_softmax(1)
    expected = [float(scores[1 + place, token]) for place, token in enumerate(best.tokens)]
    assert list(best.logprobs) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["rotary", "learned", "window", "lstm"])
def test_with_a_cache_and_without_the_same_is_found(name, characters):
    generator = Generator(language_model(name, characters), characters)
    config = GenerationConfig(max_tokens=25, beams=3, logprobs=True)
    cached = generator.generate(["abc", "hello wor", ""], config)
    plain = generator.generate(["abc", "hello wor", ""], config, use_cache=False)
    assert [one.tokens for one in cached] == [one.tokens for one in plain]
    assert list(generator.stream("abc", config)) == [cached[0].text]


def test_a_stop_string_ends_a_beam(characters):
    generator = Generator(language_model("lstm", characters), characters)
    letters = tuple(characters.decode([number]) for number in range(28))
    texts = generator.generate(["abc", "de", "fgh", "x"], GenerationConfig(max_tokens=12, beams=3, stop=letters))
    assert {text.text for text in texts} == {""}
    stopped = [text for text in texts if text.finish_reason == "stop"]
    assert stopped
    assert {len(text.tokens) for text in stopped} == {1}


def test_one_beam_more_than_one_samples_nothing():
    with pytest.raises(InputError, match="temperature"):
        GenerationConfig().replace(beams=2, temperature=0.5)
