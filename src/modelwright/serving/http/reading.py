"""Reading a request: from bytes to settings that are right, or an error that says what is wrong; never more work than the body is long."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections.abc import Awaitable, Iterable
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.types import Receive

from modelwright.serving.http.errors import ApiError

Model = TypeVar("Model", bound=BaseModel)
Result = TypeVar("Result")

DEEPEST = 64
"""Levels of a JSON value: nothing that is asked for has more than a few, and some readers fail at a thousand."""


MOST_PARTS = 32_768
"""Objects and lists of a body: each empty one takes 3 bytes to send, and 60 and more to keep."""
HALVES = re.compile("[\ud800-\udfff]")


class Body(BaseModel):
    """A request's body: nothing unknown, no text in the place of a number, and no number that is none."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def wrong(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """The error for a wrong request."""
    return ApiError(400, message, param=param, code=code)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object that is a request's body.

    Raises:
        ApiError: it is something else.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"The content type is {kind or 'missing'}, and application/json is expected.", code="unsupported_media_type")
    return parse_object(await request.body())


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`.

    Raises:
        ApiError: it is something else.
    """
    if not body:
        raise wrong("The body is empty, and a JSON object is expected.")
    if body.count(b"{") + body.count(b"[") > MOST_PARTS:
        raise wrong(f"The body holds more than {MOST_PARTS:,} objects and lists.")
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise wrong(f"The body is no UTF-8 text (byte {error.start + 1}).") from None
    except json.JSONDecodeError as error:
        raise wrong(f"The body is no JSON ({error.msg} at character {error.pos + 1}).") from None
    except RecursionError:
        raise wrong("The body is nested too deep.") from None
    except ValueError as error:
        raise wrong(f"The body can't be read: {error}.") from None
    if not isinstance(value, dict):
        raise wrong("The body is no JSON object.")
    _check_depth(value)
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number that JSON knows")


def _check_depth(value: Any) -> None:
    """Refuse what is nested too deep, and halves of characters, which no text can hold.

    Raises:
        ApiError: there is such a thing.
    """
    level = [value]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.keys()
                inner += one.values()
            elif isinstance(one, list):
                inner += one
            elif isinstance(one, str) and not one.isascii() and HALVES.search(one):
                raise wrong("A text holds half of a surrogate pair, which is no character.")
        if not inner:
            return
        level = inner
    raise wrong("The body is nested too deep.")


def validated(model: type[Model], values: dict[str, Any]) -> Model:
    """The settings in `values`.

    Raises:
        ApiError: a field is unknown or wrong; tells of the first one.
    """
    known = [field.alias or name for name, field in model.model_fields.items()]
    check_names(values, known)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # Of a field that takes several types, the type is part of the place, and no name of a field.
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part.isidentifier())
        message = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise wrong(f"{place}: {message[:1].lower()}{message[1:]}." if place else f"{message}.", param=place or None) from None


def check_names(values: dict[str, Any], known: Iterable[str], where: str = "") -> None:
    """Whether all keys are known.

    Raises:
        ApiError: one is not; names the nearest.
    """
    known = list(known)
    names = set(known)
    unknown = next((key for key in values if key not in names), None)
    if unknown is None:
        return
    shown = unknown[:60]
    near = difflib.get_close_matches(shown.lower(), [name.lower() for name in known[:500]], n=1)
    hint = f" Did you mean {next(name for name in known if name.lower() == near[0])!r}?" if near else ""
    raise wrong(f"{where}{shown!r} is unknown.{hint}", param=shown, code="unknown_parameter")


class GoneError(Exception):
    """The client went away."""


async def unless_gone(receive: Receive, work: Awaitable[Result]) -> Result:
    """The result of `work`, which is given up when the client goes away.

    Raises:
        GoneError: it went away.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise GoneError
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
