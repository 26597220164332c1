"""A stream of server-sent events that ends when its client goes away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from modelwright.serving.http.errors import ApiError, json_text
from modelwright.serving.http.reading import GoneError, unless_gone


class EventStream(Response):
    """Sends each value as an event, and `[DONE]` at the end; an error after the first one becomes an event too.

    Args:
        values: what is sent, as JSON.
    """

    def __init__(self, values: AsyncIterator[Any]) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._values = values

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; raises `ApiError` if there is one before anything was sent."""
        with contextlib.suppress(GoneError):
            await unless_gone(receive, self._write(send))

    async def _write(self, send: Send) -> None:
        begun = False
        try:
            async for value in self._values:
                if not begun:
                    await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                    begun = True
                await send({"type": "http.response.body", "body": _event(value), "more_body": True})
        except ApiError as error:
            if not begun:
                raise
            await send({"type": "http.response.body", "body": _event(error.to_json()), "more_body": True})
        finally:
            await self._values.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})


def _event(value: Any) -> bytes:
    return f"data: {json_text(value)}\n\n".encode()
