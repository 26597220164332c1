"""The guard: what every request passes before anything is done for it, and every response on its way out.

It asks, in this order: is the server shutting down, is the request meant for this server (`Host`, against DNS rebinding), does it come from a page
of another site (`Origin`, `Sec-Fetch-Site`), has it the key, is there room for it, and is its body small enough and there in time.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import time
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelwright.serving.http.errors import ApiError, busy, shutting_down
from modelwright.serving.http.limits import Limits
from modelwright.serving.http.metrics import Metrics

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LARGEST_HEADERS = 16 << 10
"""Bytes of a request's headers and its path."""
LATE = 5
"""Seconds that an answer may take longer than a request, for the handler to tell so itself."""


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, which others can't reach."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Fenced:
    """Sends a response with the headers that keep browsers from doing harm, and remembers its status; 0 before there is one."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name for name, _ in message["headers"]}
            fence = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
            message = {**message, "headers": [*message["headers"], *(pair for pair in fence if pair[0] not in present)]}
        await self._send(message)


class Guard:
    """The outermost layer of the server.

    Args:
        app: what is guarded.
        limits: how much is taken on.
        metrics: what is counted.
        loopback: whether the server listens on this machine only; then only its own names are answered to.
        api_key: what every request must show, but for `public` ones; None asks for nothing.
        public: paths that hold nothing of the model, and may be read by anybody.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, metrics: Metrics, loopback: bool, api_key: str | None, public: Collection[str]
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._loopback, self._key, self._public = loopback, api_key.encode() if api_key else None, frozenset(public)
        self.draining = False
        self.active, self._body_bytes = 0, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, fenced = time.perf_counter(), _Fenced(send)
        try:
            async with asyncio.timeout(self._limits.request_seconds + self._limits.body_seconds + LATE):
                await self._serve(scope, receive, fenced)
        except TimeoutError:
            if not fenced.status:
                await _refuse(ApiError(504, "The answer took too long.", code="timeout"), scope, fenced)
        finally:
            self._metrics.answered(scope["path"], scope["method"], fenced.status or 499, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: _Fenced) -> None:
        counted = not self._is_public(scope)
        try:
            self._check(scope)
            if counted and self.active >= self._limits.requests:
                raise busy(f"{self.active:,} requests are being served already, and {self._limits.requests:,} may be.")
        except ApiError as error:
            # What is left of the body is not read, so the connection can't go on.
            error.headers.setdefault("Connection", "close")
            await _refuse(error, scope, send)
            return
        self.active += counted
        held = [0]
        try:
            if scope["method"] in ("POST", "PUT", "PATCH"):
                receive = await self._with_body(scope, receive, held)
            await self._app(scope, receive, send)
        except ApiError as error:
            if not send.status:
                await _refuse(error, scope, send)
        except ConnectionError:
            pass
        finally:
            self.active -= counted
            self._body_bytes -= held[0]

    def _check(self, scope: Scope) -> None:
        """Whether the request may be served at all.

        Raises:
            ApiError: it may not.
        """
        if self.draining and scope["path"] != "/health":
            raise shutting_down()
        if len(scope["path"]) + sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
            raise ApiError(431, f"The headers are larger than {LARGEST_HEADERS:,} bytes.", code="headers_too_large")
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        hosts = headers.get("host", [])
        if len(hosts) != 1:
            raise ApiError(400, "The request names no host.", code="bad_host")
        if self._loopback and not is_loopback(_host_name(hosts[0])):
            raise ApiError(403, "This server answers to localhost only.", code="bad_host")
        own = {f"{scheme}://{hosts[0].lower()}" for scheme in ("http", "https")}
        foreign = any(origin.lower() not in own for origin in headers.get("origin", []))
        elsewhere = any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", []))
        public = self._is_public(scope)
        if foreign or (elsewhere and not public):
            raise ApiError(403, "Pages of other sites can't use this server.", code="bad_origin")
        if self._key is not None and not public and not self._has_key(headers):
            raise ApiError(
                401, "The API key is missing or wrong.", code="invalid_api_key", headers={"WWW-Authenticate": 'Bearer realm="modelwright"'}
            )

    def _is_public(self, scope: Scope) -> bool:
        """Whether the request only reads what is public: one with a body takes memory, and nobody without the key may take any."""
        return scope["path"] in self._public and scope["method"] in ("GET", "HEAD")

    def _has_key(self, headers: dict[str, list[str]]) -> bool:
        assert self._key is not None
        given = headers.get("authorization", [])
        if len(given) != 1:
            return False
        scheme, _, key = given[0].partition(" ")
        same = hmac.compare_digest(key.strip().encode("latin-1"), self._key)
        return same and scheme.lower() == "bearer"

    async def _with_body(self, scope: Scope, receive: Receive, held: list[int]) -> Receive:
        """What gives the whole body at once, when it has been read; `held` is counted up by its bytes as they come."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                self._make_room(_declared(scope), 0)
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ConnectionError
                    chunk = message.get("body", b"")
                    self._make_room(len(body) + len(chunk), len(chunk))
                    held[0] += len(chunk)
                    self._body_bytes += len(chunk)
                    body += chunk
                    more = message.get("more_body", False)
        except TimeoutError:
            raise ApiError(
                408, f"The body was not there after {self._limits.body_seconds:g} s.", code="timeout", headers={"Connection": "close"}
            ) from None
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_whole() -> Message:
            return whole.pop() if whole else await receive()

        return receive_whole

    def _make_room(self, size: int, new: int) -> None:
        if size > self._limits.body_bytes:
            raise ApiError(
                413, f"The body is larger than {self._limits.body_bytes:,} bytes.", code="body_too_large", headers={"Connection": "close"}
            )
        if self._body_bytes + new > self._limits.bodies_bytes:
            error = busy("Too much is being sent to this server at once.")
            error.headers["Connection"] = "close"
            raise error


def _host_name(host: str) -> str:
    """A `Host` header without its port."""
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]


def _declared(scope: Scope) -> int:
    """The length of the body as its header says; 0 where it doesn't."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(length) if length.isdigit() else 0


async def _refuse(error: ApiError, scope: Scope, send: Send) -> None:
    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    await error.response()(scope, nothing, send)
