"""The application: what is found where on the server of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from modelwright.core.version import __version__
from modelwright.serving.batcher import Batcher
from modelwright.serving.bundle import Bundle
from modelwright.serving.generation import Generator
from modelwright.serving.http.chat import ChatTemplate
from modelwright.serving.http.completions import ChatRequest, CompletionRequest, Completions
from modelwright.serving.http.errors import ApiError, json_response
from modelwright.serving.http.guard import Guard, is_loopback
from modelwright.serving.http.limits import Limits
from modelwright.serving.http.metrics import Metrics
from modelwright.serving.http.predictions import Predictions, request_schema, response_schema
from modelwright.serving.http.writing import Author
from modelwright.serving.predictor import Predictor

PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Access:
    """Who may use a server.

    Attributes:
        host: the name or address that it listens at.
        api_key: what every request must show; None asks for nothing, which is for this machine's own addresses only.
    """

    host: str = "127.0.0.1"
    api_key: str | None = None


class Service:
    """A model behind HTTP: an ASGI application, and what it needs to be started and stopped.

    Args:
        bundle: the model.
        card: what the page tells of it, as JSON values.
        access: who may use it.
        limits: how much is taken on.
        template: of chats; None is the plain one.
        precision: the number format of a language model's weights.
    """

    def __init__(
        self,
        bundle: Bundle,
        card: dict[str, Any],
        *,
        access: Access = Access(),
        limits: Limits | None = None,
        template: ChatTemplate | None = None,
        precision: str = "float32",
    ) -> None:
        self.limits = limits or Limits.model_validate({})
        self.access, self.name, self._card = access, bundle.config.name, card
        self._page = page_files()
        self.application = FastAPI(title=f"Modelwright: {self.name}", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
        self._schemas: dict[str, Any] = {}
        self._closers: list[Callable[[], object]] = []
        paths = ["/health", "/metrics", "/openapi.json", "/v1/card", "/v1/models", "/v1/predict", "/v1/completions", "/v1/chat/completions"]
        self._metrics = Metrics([*paths, *self._page])
        self._add_common()
        if bundle.config.data_schema.causal:
            self._add_texts(bundle, template or ChatTemplate(), precision)
        else:
            self._add_predictions(bundle)
        for path, (content, kind) in self._page.items():
            self.application.add_api_route(path, _constant(content, kind), methods=["GET"], include_in_schema=False)
        self._guard = Guard(
            self.application,
            limits=self.limits,
            metrics=self._metrics,
            loopback=is_loopback(access.host),
            api_key=access.api_key,
            public=[*self._page, "/health"],
        )
        self._metrics.watch("requests_active", "Requests in the server", lambda: self._guard.active)

    @property
    def asgi(self) -> Guard:
        """The application with its guard."""
        return self._guard

    @property
    def idle(self) -> bool:
        """Whether nothing is being served."""
        return self._guard.active == 0

    def drain(self) -> None:
        """Take nothing more; what is being served goes on."""
        self._guard.draining = True

    def close(self) -> None:
        """Give up what is left, and end the threads."""
        for close in self._closers:
            close()

    def _add_common(self) -> None:
        application = self.application

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, ApiError)
            return error.response()

        async def unknown(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            message = {404: "There is nothing here.", 405: "This can't be asked for like that."}.get(error.status_code, str(error.detail))
            return ApiError(error.status_code, message, headers=error.headers).response()

        async def failed(request: Request, error: Exception) -> Response:
            return ApiError(500, f"The server failed ({type(error).__name__}).").response()

        async def health() -> Response:
            status = "shutting down" if self._guard.draining else "ok"
            return json_response({"status": status}, 503 if self._guard.draining else 200)

        async def metrics() -> Response:
            return Response(self._metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")

        async def models() -> Response:
            return json_response({"object": "list", "data": [self._model()]})

        async def model(name: str) -> Response:
            if name != self.name:
                raise ApiError(404, f"There is no such model; this server has {self.name!r}.", param="model", code="model_not_found")
            return json_response(self._model())

        async def card() -> Response:
            return json_response(self._card)

        async def openapi() -> Response:
            described = application.openapi()
            described.setdefault("components", {}).setdefault("schemas", {}).update(self._schemas)
            return json_response(described)

        application.add_exception_handler(ApiError, refused)
        application.add_exception_handler(HTTPException, unknown)
        application.add_exception_handler(Exception, failed)
        for path, endpoint in (
            ("/health", health),
            ("/metrics", metrics),
            ("/v1/models", models),
            ("/v1/models/{name:path}", model),
            ("/v1/card", card),
            ("/openapi.json", openapi),
        ):
            application.add_api_route(path, endpoint, methods=["GET"], include_in_schema=path != "/openapi.json")

    def _model(self) -> dict[str, Any]:
        return {"id": self.name, "object": "model", "created": 0, "owned_by": "modelwright"}

    def _add_texts(self, bundle: Bundle, template: ChatTemplate, precision: str) -> None:
        self._card = {**self._card, "texts": {"template": not template.plain, "max_tokens": self.limits.max_tokens}}
        author = Author(self.name, Generator(bundle, precision=precision), self.limits, self._metrics)
        completions, engine = Completions(author, template), author.engine
        self._post("/v1/completions", completions.complete, self._schema_of(CompletionRequest), {"type": "object"})
        self._post("/v1/chat/completions", completions.chat, self._schema_of(ChatRequest), {"type": "object"})
        self._closers.append(engine.close)
        watch = self._metrics.watch
        watch("texts_running", "Texts being continued", lambda: engine.running)
        watch("texts_waiting", "Texts that wait for a row", lambda: engine.waiting)
        watch("tokens_written", "Tokens written", lambda: engine.tokens_written, counts=True)
        watch("tokens_read", "Tokens of prompts read", lambda: engine.tokens_read, counts=True)
        watch("steps", "Passes of the network over all running texts", lambda: engine.steps, counts=True)
        watch("rows_read", "Texts in these passes; over steps, the mean batch", lambda: engine.rows_read, counts=True)

    def _add_predictions(self, bundle: Bundle) -> None:
        schema, predictor = bundle.config.data_schema, Predictor(bundle)
        batcher = Batcher(predictor, rows=4 * self.limits.rows, queue=64 * self.limits.queue)
        predictions = Predictions(self.name, predictor, batcher, self.limits)
        self._post("/v1/predict", predictions.predict, request_schema(schema), response_schema(schema))
        self._closers += [predictions.close, batcher.close]
        watch = self._metrics.watch
        watch("examples_running", "Examples being predicted", lambda: batcher.running)
        watch("examples_waiting", "Examples that wait", lambda: batcher.waiting)
        watch("batches", "Batches predicted", lambda: batcher.batches, counts=True)
        watch("examples", "Examples predicted", lambda: batcher.rows_predicted, counts=True)

    def _schema_of(self, body: type[BaseModel]) -> dict[str, Any]:
        """The JSON schema of a body; its parts are kept where the description of the whole interface has them."""
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        self._schemas |= schema.pop("$defs", {})
        return schema

    def _post(self, path: str, endpoint: Callable[[Request], Any], asked: dict[str, Any], answered: dict[str, Any]) -> None:
        """An endpoint that reads its body itself, with the schemas of both sides told."""
        self.application.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            response_class=Response,
            openapi_extra={
                "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
                "responses": {"200": {"description": "The answer", "content": {"application/json": {"schema": answered}}}},
            },
        )


@cache
def page_files() -> dict[str, tuple[bytes, str]]:
    """The files of the page, by path: content and type."""
    found = {}
    for file in files("modelwright.serving.http").joinpath("page").iterdir():
        kind = PAGE_TYPES.get(Path(file.name).suffix)
        if kind is not None:
            found["/" if file.name == "index.html" else f"/{file.name}"] = (file.read_bytes(), kind)
    return found


def _constant(content: bytes, kind: str) -> Callable[[], Any]:
    async def endpoint() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return endpoint
