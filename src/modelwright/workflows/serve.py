"""`serve`: a model behind HTTP, for programs and for people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from modelwright.core.config import validate
from modelwright.core.errors import InputError, import_extra
from modelwright.serving.bundle import load_bundle
from modelwright.serving.precision import Precision
from modelwright.training.machine import processor_quota
from modelwright.workflows.card import card_of
from modelwright.workflows.reporter import Reporter

if TYPE_CHECKING:
    from modelwright.serving.http.app import Service

API_KEY = "MODELWRIGHT_API_KEY"
"""The environment variable that holds the key where the command line doesn't, which others on the machine can read."""
PORT = 8000


@dataclass(frozen=True, slots=True)
class Served:
    """What was served.

    Attributes:
        url: where.
        model: its name.
    """

    url: str
    model: str

    def to_json(self) -> dict[str, Any]:
        """`url` and `model`."""
        return {"url": self.url, "model": self.model}


def serve(
    run: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    api_key: str | None = None,
    precision: str = "float32",
    limits: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    ready: Callable[[Served], object] = lambda served: None,
) -> Served:
    """Serve the model of a run until the process is told to stop (Ctrl-C or SIGTERM).

    Args:
        run: a run folder or a bundle.
        host: the name or address to listen at.
        port: where; 0 takes any free one.
        api_key: what every request must show; None takes that of the environment variable `MODELWRIGHT_API_KEY`, if there is one.
        precision: the number format of a language model's weights: auto, float32, float16, bfloat16 or int8.
        limits: of `Limits`; those that are None are left alone.
        reporter: whom to tell.
        ready: called when the server listens.

    Raises:
        InputError: there is no model, its number format is wrong, the place to listen at is taken, or others could reach the server without a key.
    """
    from modelwright.serving.http.process import Server, bind, steady_heap

    reporter = reporter or Reporter()
    if not 0 <= port <= 65_535:
        raise InputError(f"there is no port {port}", expected="0 to 65,535")
    service = make_service(run, host=host, api_key=api_key, precision=precision, limits=limits)
    steady_heap()
    try:
        bound = bind(host, port)
        name = f"[{host.strip('[]')}]" if ":" in host else host
        url = f"http://{name}:{bound.getsockname()[1]}"
        served = Served(url, service.name)
        reporter.say("serving", f"{service.name} at {url}")
        reporter.say("", f"page {url}/   interface {url}/v1   {'key needed' if service.access.api_key else 'this machine only'}")
        reporter.say("", "Ctrl-C ends it")
        ready(served)
        Server(service, bound).run_until_stopped()
    finally:
        service.close()
    reporter.say("stopped", url)
    return served


def make_service(
    run: Path | str,
    *,
    host: str = "127.0.0.1",
    api_key: str | None = None,
    precision: str = "float32",
    limits: Mapping[str, Any] | None = None,
) -> Service:
    """The model of a run behind an ASGI application (`service.asgi`), for other servers to run; arguments as `serve` has them.

    Raises:
        InputError: see `serve`.
    """
    for module, package in (("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("prometheus_client", "prometheus-client")):
        import_extra(module, package, "serve")
    from modelwright.serving.http.app import Access, Service
    from modelwright.serving.http.chat import ChatTemplate
    from modelwright.serving.http.guard import is_loopback
    from modelwright.serving.http.limits import Limits

    settings = validate(Limits, {key: value for key, value in (limits or {}).items() if value is not None})
    key = _checked(os.environ.get(API_KEY) if api_key is None else api_key)
    if key is None and not is_loopback(host):
        raise InputError(
            f"at {host or 'every address'} others can reach the server",
            expected="a key that they must show",
            remedy=f"Give --api-key KEY, or set {API_KEY}; or leave --host out to listen on this machine only",
        )
    allowed = processor_quota()
    if allowed is not None and allowed < torch.get_num_threads():
        torch.set_num_threads(allowed)
    run, bundle = Path(run), load_bundle(run)
    if torch.cuda.is_available():
        bundle.network.to("cuda")
    causal = bundle.config.data_schema.causal
    if precision != "float32" and not causal:
        known = precision in get_args(Precision)
        told = (
            f"precision {precision} is for language models, and this one predicts in float32"
            if known
            else f"unknown precision {precision!r}"
        )
        raise InputError(told, expected="float32", remedy="Leave out --precision")
    template = ChatTemplate.beside(run, run / "model") if causal else None
    card = card_of(run, bundle)
    access = Access(host, key)
    return Service(bundle, card, access=access, limits=settings, template=template, precision=precision)


def _checked(key: str | None) -> str | None:
    """The key, if one is given.

    Raises:
        InputError: it can't be sent in a header.
    """
    if key is None:
        return None
    if not key or not all("!" <= character <= "~" for character in key):
        raise InputError("the API key is empty or has characters that a header can't hold", expected="printable ASCII without spaces")
    return key
