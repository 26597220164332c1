"""Errors as the OpenAI interface tells them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

LONGEST_MESSAGE = 500
TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: for people.
        param: the field that is wrong.
        code: for programs.
        headers: of the response.
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.headers = status, message, param, code, dict(headers or {})

    def to_json(self) -> dict[str, Any]:
        """The body of the response."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        message = self.message if len(self.message) <= LONGEST_MESSAGE else f"{self.message[: LONGEST_MESSAGE - 3]}..."
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The response."""
        return json_response(self.to_json(), self.status, self.headers)


def busy(message: str, seconds: float = 1) -> ApiError:
    """The error for a server that has enough to do; `seconds` later it may have less."""
    return ApiError(429, message, code="rate_limit_exceeded", headers={"Retry-After": str(max(1, round(seconds)))})


def shutting_down() -> ApiError:
    """The error for a server that takes nothing more."""
    return ApiError(503, "The server is shutting down.", code="shutting_down", headers={"Retry-After": "5", "Connection": "close"})


def json_text(value: Any) -> str:
    """JSON in ASCII, so that no text, however broken, can fail to be sent."""
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response of JSON."""
    return Response(json_text(value), status, dict(headers or {}), "application/json")
