"""The engine: texts that come and go beside each other come out as if each were alone."""

import threading
import time

import pytest
import torch
from harness.families import small
from harness.texts import language_model

from modelwright.serving.engine import BusyError, ClosedError, Engine, Job
from modelwright.serving.generation import GenerationConfig, Generator
from modelwright.serving.precision import formats

CONTEXT = 24
FAMILIES = ["transformer", "lstm", "gru", "hybrid", "windowed", "alibi"]


def telling(name, vocabulary):
    family = {
        "windowed": lambda: small("transformer").replace(window=5),
        "alibi": lambda: small("transformer").replace(positions="alibi", num_kv_heads=1),
    }.get(name, lambda: small(name))()
    network = language_model(family, vocabulary=vocabulary, context=CONTEXT).eval()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(4 if key == "stem.table" else 1.5)
    return network


@pytest.fixture(scope="module", params=FAMILIES)
def generator(request, characters):
    return Generator(telling(request.param, characters.size), characters)


@pytest.fixture(params=["float32", "float16"])
def exact_decoder(request, characters):
    if request.param not in formats(torch.device("cpu")):
        pytest.skip("this CPU has no products with weights of 16 bits")
    return Generator(telling("transformer", characters.size), characters, precision=request.param)


@pytest.fixture(scope="module")
def decoder(characters):
    return Generator(telling("transformer", characters.size), characters)


@pytest.fixture
def engine(decoder):
    engine = Engine(decoder, rows=2, queue=3, longest=200)
    yield engine
    engine.close()


def job_of(generator, prompt, number=0, **settings):
    return Job(tuple(generator.encode(prompt)), GenerationConfig(**settings), number=number)


def wait(*jobs, seconds=60):
    end = time.monotonic() + seconds
    while not all(job.done for job in jobs):
        assert time.monotonic() < end, "the engine is stuck"
        time.sleep(0.001)
    return jobs


def text_of(job):
    return "".join(piece.text for piece in job.take())


REQUESTS = [
    ("hello", 0, {"temperature": 0, "max_tokens": 40}),
    ("a", 0, {"temperature": 0.9, "seed": 5, "max_tokens": 30}),
    ("a", 1, {"temperature": 0.9, "seed": 5, "max_tokens": 30}),
    ("", 0, {"temperature": 0, "max_tokens": 1}),
    ("the quick brown fox", 0, {"temperature": 1.3, "top_k": 7, "seed": 2, "max_tokens": 50}),
    ("zebra", 0, {"temperature": 0, "repetition_penalty": 1.4, "max_tokens": 33}),
    ("zebra", 3, {"temperature": 1.0, "top_p": 0.7, "min_p": 0.01, "seed": 9, "max_tokens": 21}),
    ("stop here", 0, {"temperature": 0.8, "seed": 1, "max_tokens": 60, "stop": ("e", "qu")}),
    ("hello", 0, {"temperature": 0, "repetition_penalty": 1.1, "max_tokens": 12}),
]


def test_texts_are_those_of_generate_whatever_they_are_batched_with(generator):
    """More texts than rows, of different lengths and settings, that arrive one after the other; some go beyond the context."""
    jobs = [job_of(generator, prompt, number, **settings) for prompt, number, settings in REQUESTS]
    engine = Engine(generator, rows=4, queue=20, longest=200)
    try:
        for job in jobs:
            engine.submit([job])
            time.sleep(0.002)
        wait(*jobs)
    finally:
        engine.close()
    for job, (prompt, number, settings) in zip(jobs, REQUESTS, strict=True):
        alone = generator.generate([prompt] * (number + 1), GenerationConfig(**settings))[number]
        pieces = job.take()
        assert job.error is None
        assert [chosen.token for piece in pieces for chosen in piece.tokens] == alone.tokens, (prompt, settings)
        assert ("".join(piece.text for piece in pieces), job.finish_reason) == (alone.text, alone.finish_reason)
    assert engine.rows_read > engine.steps, "texts were read side by side"


def test_a_close_call_is_decided_as_alone(exact_decoder, monkeypatch):
    """Where every choice counts as close, every token is read again alone, so a wrong reading in the batch can't matter."""
    monkeypatch.setattr("modelwright.serving.engine.ROUNDING", 1e9)
    jobs = [job_of(exact_decoder, prompt, temperature=0, max_tokens=15) for prompt in ("ab", "c", "def")]
    engine = Engine(exact_decoder, rows=3, queue=3, longest=200)
    seen = []
    real = engine._alone
    monkeypatch.setattr(engine, "_alone", lambda *arguments: seen.append(1) or real(*arguments))
    engine.submit(jobs)
    wait(*jobs)
    engine.close()
    assert len(seen) == 3 * 14
    for job, prompt in zip(jobs, ("ab", "c", "def"), strict=True):
        alone = exact_decoder.generate([prompt], GenerationConfig(temperature=0, max_tokens=15))[0]
        assert text_of(job) == alone.text


def test_equal_prompts_are_read_once(decoder):
    engine = Engine(decoder, rows=4, queue=8, longest=200)
    jobs = [job_of(decoder, "hello", number, temperature=1.0, seed=3, max_tokens=20) for number in range(4)]
    engine.submit(jobs)
    wait(*jobs)
    engine.close()
    assert engine.tokens_read == 5
    assert [text_of(job) for job in jobs] == [
        one.text for one in decoder.generate(["hello"] * 4, GenerationConfig(temperature=1.0, seed=3, max_tokens=20))
    ]


def test_logprobs_are_those_of_generate(decoder, engine):
    job = job_of(decoder, "hello", temperature=0, max_tokens=12, logprobs=True)
    job.likeliest = 3
    engine.submit([job])
    wait(job)
    chosen = [one for piece in job.take() for one in piece.tokens]
    alone = decoder.generate(["hello"], GenerationConfig(temperature=0, max_tokens=12, logprobs=True))[0]
    assert alone.logprobs is not None
    assert [one.logprob for one in chosen] == pytest.approx(alone.logprobs, abs=1e-5)
    assert all(len(one.likeliest) == 3 and one.likeliest[0] == (one.token, pytest.approx(one.logprob)) for one in chosen)


def test_the_queue_has_an_end_and_takes_all_or_none(decoder, engine):
    long = [job_of(decoder, "a", temperature=0, max_tokens=5000) for _ in range(2)]
    engine.submit(long)
    while engine.running < 2:
        time.sleep(0.001)
    engine.submit([job_of(decoder, "b", max_tokens=2) for _ in range(2)])
    with pytest.raises(BusyError, match="2 texts wait already, and 3 may"):
        engine.submit([job_of(decoder, "c", max_tokens=2) for _ in range(2)])
    assert engine.waiting == 2
    engine.cancel(long)


def test_who_leaves_makes_room_at_once(decoder, engine):
    long = [job_of(decoder, "a", temperature=0, max_tokens=1_000_000) for _ in range(2)]
    engine.submit(long)
    while engine.running < 2:
        time.sleep(0.001)
    short = job_of(decoder, "b", temperature=0, max_tokens=3)
    engine.submit([short])
    waiting = job_of(decoder, "c", temperature=0, max_tokens=3)
    engine.submit([waiting])
    engine.cancel([waiting])
    assert not short.done
    assert engine.waiting == 1
    engine.cancel(long[:1])
    wait(short)
    assert text_of(short) == decoder.generate(["b"], GenerationConfig(temperature=0, max_tokens=3))[0].text
    assert not waiting.pieces
    assert engine.running <= 2
    engine.cancel(long)


def test_a_failure_is_told_and_the_next_text_is_fine(decoder, engine, monkeypatch):
    from modelwright.serving.slots import Slots

    real, fail = Slots.read, threading.Event()
    fail.set()

    def read(self, tokens):
        if fail.is_set():
            fail.clear()
            raise RuntimeError("out of memory in /a/secret/place")
        return real(self, tokens)

    # The engine is warm when the first text is done.
    first = job_of(decoder, "a", temperature=0, max_tokens=1)
    engine.submit([first])
    wait(first)
    monkeypatch.setattr(Slots, "read", read)
    broken, good = (job_of(decoder, "a", temperature=0, max_tokens=4) for _ in range(2))
    engine.submit([broken])
    wait(broken)
    assert broken.error == "the text could not be continued (RuntimeError)"
    engine.submit([good])
    wait(good)
    assert (good.error, good.finish_reason) == (None, "length")


def test_where_no_row_fits_who_asks_is_told(decoder, monkeypatch):
    from modelwright.serving.slots import Slots

    real, fail = Slots.__init__, threading.Event()
    fail.set()

    def fails(self, *arguments, **settings):
        if fail.is_set():
            raise RuntimeError("not enough memory")
        real(self, *arguments, **settings)

    monkeypatch.setattr(Slots, "__init__", fails)
    engine = Engine(decoder, rows=2, queue=3, longest=200)
    broken, good = (job_of(decoder, "a", temperature=0, max_tokens=4) for _ in range(2))
    engine.submit([broken])
    wait(broken)
    assert broken.error == "the text could not be continued (RuntimeError)"
    fail.clear()
    engine.submit([good])
    wait(good)
    engine.close()
    assert (good.error, good.finish_reason) == (None, "length")


def test_a_closed_engine_tells_those_who_wait(decoder):
    engine = Engine(decoder, rows=1, queue=5, longest=200)
    jobs = [job_of(decoder, "a", temperature=0, max_tokens=1_000_000) for _ in range(3)]
    engine.submit(jobs)
    engine.close()
    assert {job.error for job in jobs} == {"The server is shutting down"}
    with pytest.raises(ClosedError):
        engine.submit([job_of(decoder, "a", max_tokens=1)])
