"""Predicting over HTTP: the request and the response follow from the schema of the task.

An example is an object with the schema's inputs: a number, an ISO date in its place where the training data had dates, or null where it is missing; the
name of a category; an image as the base64 text of a file.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from modelwright.core.errors import InputError, ModelwrightError, import_extra
from modelwright.core.schema import Feature, Schema, describe
from modelwright.data.examples import Examples
from modelwright.data.numbers import DATE, parse_date
from modelwright.data.prediction import conform, parse_json_rows
from modelwright.data.sources.image_folder import read_image
from modelwright.serving.batcher import Batcher
from modelwright.serving.engine import BusyError, ClosedError
from modelwright.serving.http.errors import ApiError, busy, json_response, shutting_down
from modelwright.serving.http.limits import Limits
from modelwright.serving.http.reading import GoneError, check_names, read_object, unless_gone, wrong
from modelwright.serving.predictor import Predictor

IMAGE_TYPES = ("image/png", "image/jpeg", "image/bmp", "image/gif", "image/webp")
LONGEST_TEXT = 4096
"""Characters of a category."""
DATA_URL = re.compile(r"data:image/[a-z+.-]+;base64,")


def request_schema(schema: Schema) -> dict[str, Any]:
    """The JSON schema of a request."""
    example = {
        "type": "object",
        "properties": {feature.name: _value_schema(feature) for feature in schema.inputs},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"type": "array", "minItems": 1, "items": example, "description": "The examples; the answers come in their order."},
            "model": {"type": "string", "description": "The model's name; may be left out."},
        },
        "additionalProperties": False,
    }


def _value_schema(feature: Feature) -> dict[str, Any]:
    if feature.type == "number":
        told = f"Around {feature.mean[0]:.4g}; null where it is missing; an ISO date counts as days since 1970."
        return {"type": ["number", "string", "null"], "pattern": f"^{DATE.pattern}$", "description": told}
    if feature.type == "category":
        known = {"description": "Others, and null, are taken as unknown.", "examples": list(feature.values[:50])}
        return {"type": ["string", "number", "boolean", "null"], **known}
    if feature.type == "image":
        return {
            "type": "string",
            "contentEncoding": "base64",
            "description": f"A PNG, JPEG, BMP, GIF or WebP file; read as {describe(feature)}.",
        }
    return {"type": "string", "description": describe(feature)}


def response_schema(schema: Schema) -> dict[str, Any]:
    """The JSON schema of a response."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    if schema.classes:
        answer = {
            "label": {"type": "string", "enum": list(schema.classes)},
            "confidence": share,
            "probabilities": {"type": "object", "properties": dict.fromkeys(schema.classes, share)},
        }
    else:
        answer = {"value": {"type": "number"}}
    return {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "predictions": {"type": "array", "items": {"type": "object", "required": [*answer], "properties": answer}},
            "notes": {"type": "array", "items": {"type": "string"}},
            "seconds": {"type": "number"},
        },
    }


class Predictions:
    """Answers requests for predictions.

    Args:
        name: of the model.
        predictor: what predicts, through the batcher.
        batcher: batches what is asked for at once.
        limits: how much a request may hold.

    Raises:
        InputError: the model reads images, and Pillow is not installed.
    """

    def __init__(self, name: str, predictor: Predictor, batcher: Batcher, limits: Limits) -> None:
        self._name, self._batcher, self._limits = name, batcher, limits
        self._schema, self._data = predictor.schema, predictor.data
        if self._schema.kind == "image":
            import_extra("PIL.Image", "pillow", "vision").init()
        # Reading images takes memory, so few are read at once.
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reader")

    async def predict(self, request: Request) -> Response:
        """Predict for the examples of a request: `{"inputs": [{...}, ...]}`, or the bytes of one image."""
        began = time.perf_counter()
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in IMAGE_TYPES and self._schema.kind == "image":
            rows: list[Any] = [{self._schema.image.name: await request.body()}]
        else:
            rows = self._rows(await read_object(request))
        try:
            async with asyncio.timeout(self._limits.request_seconds):
                examples, predicted = await unless_gone(request.receive, self._answer(rows))
        except TimeoutError:
            raise ApiError(504, f"The prediction took longer than {self._limits.request_seconds:g} s.", code="timeout") from None
        except GoneError:
            return Response(status_code=499)
        seconds = time.perf_counter() - began
        return json_response({"model": self._name, "predictions": predicted, "notes": list(examples.notes), "seconds": seconds})

    def close(self) -> None:
        """End the readers."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _rows(self, values: dict[str, Any]) -> list[dict[str, Any]]:
        """The examples of a request, each with known names and plain values.

        Raises:
            ApiError: it is something else.
        """
        check_names(values, ("inputs", "model"))
        if values.get("model") not in (None, self._name):
            raise ApiError(404, f"There is no such model; this server has {self._name!r}.", param="model", code="model_not_found")
        rows = values.get("inputs")
        if not isinstance(rows, list) or not rows:
            raise wrong("inputs: a list of one or more examples is expected.", param="inputs")
        if len(rows) > self._limits.examples:
            raise wrong(f"inputs: {len(rows):,} examples are too many for one request; {self._limits.examples:,} may be.", param="inputs")
        names = [feature.name for feature in self._schema.inputs]
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise wrong(f"inputs.{number}: an object is expected, with {', '.join(names[:5])}.", param=f"inputs.{number}")
            check_names(row, names, f"inputs.{number}: ")
            for feature in self._schema.inputs:
                if (value := row.get(feature.name)) is not None and (message := _fault(feature, value)):
                    raise wrong(f"inputs.{number}.{feature.name}: {message}.", param=f"inputs.{number}.{feature.name}")
        return rows

    async def _answer(self, rows: list[dict[str, Any]]) -> tuple[Examples, list[dict[str, Any]]]:
        loop = asyncio.get_running_loop()
        try:
            if self._schema.kind == "image":
                # One after the other, so that requests take turns, and one that is given up ends.
                read = [await loop.run_in_executor(self._readers, self._image, row, number) for number, row in enumerate(rows, 1)]
                examples = Examples.concat(read)
            else:
                examples = await loop.run_in_executor(self._readers, self._table, rows)
            return examples, await asyncio.wrap_future(self._batcher.submit(examples))
        except BusyError as error:
            raise busy(str(error)) from None
        except ClosedError:
            raise shutting_down() from None
        except InputError as error:
            raise ApiError(422, str(error), param="inputs", code="invalid_input") from None
        except ModelwrightError as error:
            raise ApiError(503, str(error), code="failed") from None

    def _table(self, rows: list[dict[str, Any]]) -> Examples:
        return conform(parse_json_rows(rows, "input", self._data), self._schema, "inputs")

    def _image(self, row: dict[str, Any], number: int) -> Examples:
        feature, where = self._schema.image, f"input number {number}"
        if feature.name not in row:
            raise InputError(f"has no {feature.name!r}", where=where, expected="an image file in base64")
        size = (feature.shape[1], feature.shape[2])
        read = read_image(_bytes(row[feature.name], where), where, size, most_pixels=self._limits.pixels)
        return conform(read, self._schema, where)


def _fault(feature: Feature, value: Any) -> str | None:
    """What is wrong with the value of an input, if something is."""
    if feature.type == "number":
        if isinstance(value, str):
            right = parse_date(value) is not None
        else:
            right = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
        return None if right else "a number of at most 1e300 or null is expected, or a date like 2026-11-22"
    if feature.type == "category":
        if isinstance(value, str):
            return None if len(value) <= LONGEST_TEXT else f"the text is longer than {LONGEST_TEXT:,} characters"
        return None if isinstance(value, int | float) and abs(value) <= 1e300 else "a text, a number or null is expected"
    return None if isinstance(value, str) else "a text is expected"


def _bytes(image: str | bytes | None, where: str) -> bytes:
    """The file in a base64 text, or in a data URL."""
    if isinstance(image, bytes):
        return image
    text = image or ""
    if match := DATA_URL.match(text):
        text = text[match.end() :]
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("is no base64 text", where=where, expected="an image file in base64") from None
    if not data:
        raise InputError("is empty", where=where, expected="an image file in base64")
    return data
