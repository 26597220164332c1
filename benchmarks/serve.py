"""How fast the server writes many texts at once, and what hostile requests do to it.

    python benchmarks/serve.py streams            # 8 streams at once against one after another, some minutes
    python benchmarks/serve.py hostile            # 10,000 hostile requests to each of three servers, some minutes
    python benchmarks/serve.py hostile 100000 text     # to one of them: text, image or table
    python benchmarks/serve.py streams hostile --quick

`streams`: a server process with a GPT-2 of 10.8 million random weights (6 layers of width 384, 6 heads, 65 characters) in a context of 256; each stream reads a
prompt of 32 tokens and adds 200, greedily. The contenders take turns with the same 8 prompts.

`hostile`: server processes with a small decoder, a model of images and one of a table, each with a key and room for 16 requests; 64 clients at once send what
`hostile.py` makes up, and after a warm-up the memory of the process is watched. At the end the server must still answer rightly, and nobody without the key
may have been told anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hostile import KEY, Sender, good
from result import Column, Result

from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.data.tokenizers.characters import CharactersConfig
from modelwright.models.cnn import CNNConfig
from modelwright.models.family import FamilyConfig
from modelwright.models.mlp import MLPConfig
from modelwright.models.network import build_network, choose_stem
from modelwright.models.transformer import TransformerConfig
from modelwright.nn.head import HeadConfig
from modelwright.serving.bundle import BundleConfig, save_bundle
from modelwright.tasks.task import choose_task

STREAMS, PROMPT, TOKENS = 8, 32, 200
ROUNDS = 5
ROOM, CLIENTS = 16, 64
WARM_UP = 0.1
"""Share of the requests after which the memory is read for the first time."""


def save(folder: Path, schema: Schema, family: FamilyConfig) -> int:
    """An untrained model as a bundle; gives its number of parameters."""
    task, head = choose_task(schema), HeadConfig.model_validate({})
    built, stem = task.build(schema), choose_stem(schema, family)
    network = build_network(schema, family, built.outputs, stem=stem, head=head, seed=0)
    config = BundleConfig(name="model", data=DataConfig(path="data"), data_schema=schema, task=task, stem=stem, model=family, head=head)
    save_bundle(folder / "model", config, network)
    return sum(parameter.numel() for parameter in network.parameters())


def decoder(folder: Path, *, width: int, depth: int, heads: int, context: int) -> int:
    """A GPT-2 of 64 characters and the separator."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n"
    tokenizer = CharactersConfig().train([letters])
    assert tokenizer.size == 65, tokenizer.size
    text = Feature(name="text", type="text", shape=(context,), vocabulary=65, tokenizer=tokenizer.to_json())
    target = Feature(name="next token", type="text", shape=(context,), vocabulary=65)
    shape = {"width": width, "depth": depth, "num_heads": heads, "feedforward_ratio": 4.0, "positions": "learned"}
    return save(folder, Schema(inputs=(text,), target=target), TransformerConfig.model_validate(shape))


@dataclass
class Process:
    """A running server: its port and its process."""

    port: int
    process: subprocess.Popen[str]

    @property
    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def server(folder: Path, *options: str) -> Iterator[Process]:
    """A server of the bundle, in a process of its own, until the block ends."""
    command = [sys.executable, "-m", "modelwright.cli", "serve", str(folder), "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "MODELWRIGHT_API_KEY": KEY}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=None, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield Process(int(process.stdout.readline().rsplit(":", 1)[1]), process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


async def stream(port: int, prompt: str, tokens: int) -> tuple[int, float]:
    """Read one stream to its end: tokens, and seconds to the first of them."""
    began, first, written = time.perf_counter(), 0.0, 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps(asked).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    async for line in reader:
        if line.startswith(b"data: {"):
            first = first or time.perf_counter() - began
            if b'"usage":{' in line:
                written = json.loads(line[6:])["usage"]["completion_tokens"]
    writer.close()
    assert written, "a stream without an end"
    return written, first


async def measure(port: int, prompts: list[str], tokens: int, *, at_once: bool) -> dict[str, float]:
    """All streams at once, or one after another: tokens a second of all together, and the time to a stream's first token."""
    began = time.perf_counter()
    if at_once:
        done = await asyncio.gather(*(stream(port, prompt, tokens) for prompt in prompts))
    else:
        done = [await stream(port, prompt, tokens) for prompt in prompts]
    seconds = time.perf_counter() - began
    return {
        "tokens_per_second": sum(written for written, _ in done) / seconds,
        "first_token_seconds": statistics.median(first for _, first in done),
    }


def streams(quick: bool) -> None:
    """8 at once against one after another."""
    result = Result("serve-10m", f"How fast does a server write {STREAMS} texts at once?")
    with tempfile.TemporaryDirectory() as place:
        parameters = decoder(Path(place), width=384, depth=6, heads=6, context=256)
        prompts = [("the lazy fox jumps over 1 quick dog " * 5)[number : number + PROMPT] for number in range(STREAMS)]
        for precision in ("float32",) if quick else ("float32", "bfloat16"):
            with server(Path(place), "--precision", precision) as running:
                asyncio.run(measure(running.port, prompts, 8, at_once=True))
                for _ in range(1 if quick else ROUNDS):
                    for name, at_once in (("one after another", False), (f"{STREAMS} at once", True)):
                        values = asyncio.run(measure(running.port, prompts, 32 if quick else TOKENS, at_once=at_once))
                        result.add(f"{name}, {precision}", {**values, "parameters": parameters}, command=[sys.executable, *sys.argv])
                        print(precision, name, {key: round(value, 3) for key, value in values.items()}, flush=True)
    if not quick:
        remarks = (
            f"Through HTTP, as server-sent events; {parameters:,} parameters, {PROMPT} tokens of prompt and {TOKENS} new ones a text, read and written "
            "greedily; tokens per second of all texts together, their prompts' time counted and tokens not."
        )
        columns = [
            Column("tokens per second", "tokens_per_second", 1, less_is_better=False),
            Column("first token, s", "first_token_seconds", 3),
        ]
        print(result.write(columns, reference="one after another, float32", remarks=remarks))


def targets(place: Path) -> dict[str, Path]:
    """A small model of each kind."""
    folders = {kind: place / kind for kind in ("text", "image", "table")}
    for folder in folders.values():
        folder.mkdir()
    decoder(folders["text"], width=64, depth=2, heads=2, context=128)
    label = Feature(name="label", type="category", values=("a", "b", "c"))
    pixels = Feature(name="image", type="image", shape=(1, 28, 28), mean=(0.1,), scale=(0.3,))
    save(folders["image"], Schema(inputs=(pixels,), target=label), CNNConfig.model_validate({"channels": (8, 16)}))
    age = Feature(name="age", type="number", mean=(38.0,), scale=(13.0,), has_missing=True)
    job = Feature(name="job", type="category", values=("clerk", "nurse"))
    save(folders["table"], Schema(inputs=(age, job), target=label), MLPConfig.model_validate({"width": 32}))
    return folders


def attack(kind: str, folder: Path, count: int) -> dict[str, Any]:
    """Send `count` hostile requests to a server of this kind of model, at four times the load that it takes."""
    options = (
        "--requests",
        str(ROOM),
        "--queue",
        str(ROOM),
        "--rows",
        "8",
        "--body-bytes",
        str(1 << 20),
        "--max-tokens",
        "64",
        "--header-seconds",
        "2",
        "--body-seconds",
        "3",
    )
    with server(folder, *options) as running:

        async def send(numbers: range) -> list[Any]:
            sender, room = Sender(kind, running.port), asyncio.Semaphore(CLIENTS)

            async def one(number: int) -> Any:
                async with room:
                    return await sender.send(number)

            return await asyncio.gather(*(one(number) for number in numbers))

        warm_up = round(WARM_UP * count)
        answers = asyncio.run(send(range(warm_up)))
        before = running.memory
        began = time.perf_counter()
        memories, tenth = [before], max(1, count // 10)
        for start in range(warm_up, warm_up + count, tenth):
            answers += asyncio.run(send(range(start, min(start + tenth, warm_up + count))))
            memories.append(running.memory)
        seconds = time.perf_counter() - began
        alive = running.process.poll() is None
        rightly = alive and asyncio.run(good(kind, running.port))
        leaked = [answer for answer in answers if answer.leaked]
        failed = [answer for answer in answers if answer.status >= 500 and answer.status not in (503, 504)]
        for answer in (leaked + failed)[:5]:
            print(kind, answer, flush=True)
        statuses = Counter(answer.status for answer in answers)
    return {
        "requests": count,
        "deaths": int(not alive or running.process.returncode != 0),
        "unauthorized": len(leaked),
        "server_errors": len(failed),
        "answers_rightly_afterwards": int(rightly),
        "memory_mb": [round(memory / 1e6, 1) for memory in memories],
        "growth_percent": 100 * (memories[-1] / before - 1),
        "requests_per_second": count / seconds,
        "refused_busy": statuses[429] + statuses[503],
        "statuses": {str(status): number for status, number in sorted(statuses.items())},
    }


def hostile(count: int, quick: bool, kinds: list[str]) -> None:
    """Hostile requests to a server of each kind, or of some."""
    result = Result("serve-hostile", f"What do {count:,} hostile requests do to a server?")
    with tempfile.TemporaryDirectory() as place:
        for kind, folder in targets(Path(place)).items():
            if kinds and kind not in kinds:
                continue
            values = attack(kind, folder, count)
            result.add(kind, values, command=[sys.executable, *sys.argv])
            print(kind, json.dumps(values), flush=True)
    if not quick:
        remarks = (
            f"{CLIENTS} clients at once against a server with room for {ROOM} requests: malformed, huge, slow, out of range, without the key, broken off "
            "(see `hostile.py`). Memory is the process's resident set after a tenth as many requests, and at the end. 0 stands for a connection that was closed."
        )
        columns = [
            Column("requests", "requests", 0),
            Column("process deaths", "deaths", 0),
            Column("unauthorized answers", "unauthorized", 0),
            Column("server errors", "server_errors", 0),
            Column("memory growth, %", "growth_percent", 2),
            Column("requests per second", "requests_per_second", 0),
        ]
        print(result.write(columns, remarks=remarks))


def main() -> None:
    """Run what is asked for."""
    words = [word for word in sys.argv[1:] if word != "--quick"]
    quick = "--quick" in sys.argv
    numbers = [int(word) for word in words if word.isdigit()]
    if "streams" in words or not words:
        streams(quick)
    if "hostile" in words or not words:
        kinds = [word for word in words if word in ("text", "image", "table")]
        hostile(numbers[0] if numbers else 1000 if quick else 10_000, quick, kinds)


if __name__ == "__main__":
    main()
