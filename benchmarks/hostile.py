"""What hostile clients send: malformed, huge, slow, out of range, without the key, broken off. The same number makes the same request."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

KEY = "the-key-of-the-benchmark"
SECONDS = 60
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("/v1/completions", {"prompt": "abc", "max_tokens": 8, "temperature": 0}),
    "table": ("/v1/predict", {"inputs": [{"age": 30, "job": "nurse"}]}),
    "image": ("/v1/predict", {"inputs": [{"image": ""}]}),
}


@dataclass(frozen=True)
class Answer:
    """What came back: the status (0 where the connection was closed), and whether something was told to somebody without the key."""

    number: int
    what: str
    status: int
    leaked: bool
    text: str = ""


def png(width: int, height: int, rows: int | None = None) -> bytes:
    """A grey PNG that claims a size, and holds as many rows of zeros as it likes."""
    data = zlib.compress(b"\0" * ((width + 1) * (height if rows is None else rows)), 9)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


GOOD["image"][1]["inputs"][0]["image"] = base64.b64encode(png(28, 28)).decode()
BOMB = base64.b64encode(png(4900, 4900)).decode()
"""24 megapixels in 24 kB: as large as may be."""
LARGER_BOMB = base64.b64encode(png(50_000, 50_000, 500)).decode()

Made = tuple[bytes, bool]
"""The bytes of a request, and whether it has the key."""


def request(
    path: str, body: bytes, *, key: str | None = KEY, kind: str = "application/json", method: str = "POST", more: str = ""
) -> bytes:
    """The bytes of a request that is well-formed as far as HTTP goes."""
    shown = f"Authorization: Bearer {key}\r\n" if key is not None else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{shown}Content-Type: {kind}\r\n{more}Connection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def malformed(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """No JSON, or none that is expected."""
    text = json.dumps(values).encode()
    place = draw.randrange(len(text))
    depth = draw.choice([70, 2000, 100_000])
    bodies = [
        text[:place],
        text[:place] + draw.randbytes(8) + text[place:],
        draw.randbytes(draw.randrange(2000)),
        b"[" * depth + b"]" * depth,
        b'{"a":' * depth + b"1" + b"}" * depth,
        b'{"inputs": [{"age": NaN, "image": Infinity}], "prompt": "a", "temperature": -Infinity}',
        b'{"max_tokens": ' + b"9" * draw.choice([30, 5000]) + b"}",
        text.replace(b'"', b'"\\ud800', 3),
        b"\xff\xfe" + text.decode().encode("utf-16-le"),
        b"null",
        b"",
    ]
    kinds = ["application/json"] * 8 + [
        "text/plain",
        "multipart/form-data; boundary=a",
        "image/png",
        "application/x-www-form-urlencoded",
        "",
    ]
    return request(path, draw.choice(bodies), kind=draw.choice(kinds)), True


def out_of_range(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """The right form with values that can't be."""
    strange = [
        -1,
        0,
        10**9,
        10**30,
        1e308,
        -1e308,
        1e-300,
        "x",
        "x" * 10_000,
        [],
        {},
        [[]],
        True,
        None,
        [None] * 5000,
        {"a": {"b": []}},
        "\u0000",
        "🦊" * 100,
    ]
    names = [
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "n",
        "seed",
        "stop",
        "logprobs",
        "prompt",
        "model",
        "stream",
        "echo",
        "inputs",
        "unknown",
    ]
    changed = {**values, **{draw.choice(names): draw.choice(strange) for _ in range(draw.randrange(1, 4))}}
    if "inputs" in values and draw.random() < 0.7:
        row = {draw.choice(["age", "job", "image", "other"]): draw.choice([*strange, BOMB[:100], LARGER_BOMB, "!!"]) for _ in range(2)}
        changed = {"inputs": [row] * draw.choice([1, 1, 1, 3, 2000 if len(str(row)) < 500 else 5])}
    if path == "/v1/completions" and draw.random() < 0.3:
        path, changed = (
            "/v1/chat/completions",
            {"messages": draw.choice([*strange, [{"role": "user", "content": draw.choice(strange)}]]), "max_tokens": 4},
        )
    return request(path, json.dumps(changed).encode()), True


def huge(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """More than may be, or as much as may be."""
    size = draw.choice([900_000, 1_100_000, 3_000_000])
    bodies: list[Callable[[], bytes]] = [
        lambda: b'{"prompt": "' + b"a" * size + b'"}',
        lambda: b'{"inputs": [' + b'{"age": 1, "job": "clerk"},' * (size // 40) + b'{"age": 1}]}',
        lambda: b'{"inputs": [' + b"{}," * (size // 4) + b"{}]}",
        lambda: b'{"prompt": [' + b"1," * (size // 3) + b"1]}",
        lambda: b"{" + b",".join(b'"key%d":1' % n for n in range(size // 20)) + b"}",
        lambda: json.dumps({"inputs": [{"image": draw.choice([BOMB, LARGER_BOMB])}] * draw.choice([1, 2])}).encode(),
    ]
    if draw.random() < 0.3:
        return request(path, b"{}", more=f"X-Long: {'a' * draw.choice([10_000, 30_000, 200_000])}\r\n"), True
    return request(path, draw.choice(bodies)()), True


def without_key(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """Right requests of those who have no key, or nearly the right one."""
    key = draw.choice([None, "", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "\u00e9", " " + KEY[::-1]])
    if draw.random() < 0.4:
        path = draw.choice(
            ["/v1/card", "/v1/models", "/v1/models/model", "/metrics", "/openapi.json", "/v1/../v1/card", "//v1/card", "/v1/card/"]
        )
        return request(path, b"", key=key, method="GET"), False
    return request(path, json.dumps(values).encode(), key=key), False


def broken(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """No HTTP."""
    whole = request(path, json.dumps(values).encode(), key=None)
    flipped = bytearray(whole)
    for _ in range(draw.randrange(1, 20)):
        flipped[draw.randrange(len(flipped))] = draw.randrange(256)
    lines = [
        bytes(flipped),
        draw.randbytes(draw.randrange(1, 5000)),
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n".encode(),
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n".encode(),
        f"POST {path} HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{{}}".encode(),
    ]
    return draw.choice(lines), False


def valid(draw: random.Random, path: str, values: dict[str, Any]) -> Made:
    """A right request among the others; of a decoder as much as may be asked for."""
    if path == "/v1/completions":
        values = {**values, "max_tokens": 64, "n": draw.choice([1, 4]), "stream": draw.random() < 0.5, "logprobs": draw.choice([None, 5])}
    return request(path, json.dumps(values).encode()), True


KINDS: list[tuple[Callable[[random.Random, str, dict[str, Any]], Made], float]] = [
    (malformed, 0.25),
    (out_of_range, 0.25),
    (huge, 0.1),
    (without_key, 0.2),
    (broken, 0.1),
    (valid, 0.1),
]


class Sender:
    """Sends hostile requests.

    Args:
        kind: of the model: text, table or image.
        port: of the server.
    """

    def __init__(self, kind: str, port: int) -> None:
        self._path, self._values = GOOD[kind]
        self._port = port
        # That a server closes the connection of who sends too much is no news.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    async def send(self, number: int) -> Answer:
        """Send the request of this number, some slowly, some broken off in the middle or without waiting for the answer."""
        draw = random.Random(number)
        make = draw.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
        data, keyed = make(draw, self._path, self._values)
        manner = draw.choices(["whole", "slow", "broken off", "gone"], [0.9, 0.02, 0.05, 0.03])[0]
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._exchange(data, manner, draw)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            answer = b""
        status = int(answer[9:12]) if answer[:5] == b"HTTP/" and answer[9:12].isdigit() else 0
        told = (
            status == 200
            and not keyed
            and any(word in answer for word in (b"parameters", b"choices", b"predictions", b"modelwright_", b'"openapi"', b'"model"'))
        )
        return Answer(number, f"{make.__name__}, {manner}", status, told, answer[:300].decode("latin-1") if told or status == 500 else "")

    async def _exchange(self, data: bytes, manner: str, draw: random.Random) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            if manner == "slow":
                for start in range(0, min(len(data), 40)):
                    writer.write(data[start : start + 1])
                    await asyncio.sleep(0.05)
                writer.write(data[40:])
            elif manner == "broken off":
                writer.write(data[: draw.randrange(len(data) + 1)])
                await writer.drain()
                return b""
            else:
                writer.write(data)
            if writer.can_write_eof() and draw.random() < 0.2:
                writer.write_eof()
            if manner == "gone":
                await asyncio.sleep(0.01)
                return b""
            parts = []
            while part := await reader.read(1 << 16):
                parts.append(part)
            return b"".join(parts)
        finally:
            writer.transport.abort()


async def good(kind: str, port: int) -> bool:
    """Whether a right request is answered rightly."""
    path, values = GOOD[kind]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(path, json.dumps(values).encode()))
    answer = await reader.read()
    writer.close()
    return answer[9:12] == b"200" and (b"choices" in answer or b"predictions" in answer)
