"""Bundles and services of tiny models, for tests of the server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.families import image, small

from modelwright.core.schema import Feature, Schema
from modelwright.data.config import DataConfig
from modelwright.models.family import FamilyConfig
from modelwright.models.network import build_network, choose_stem
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems
from modelwright.serving.bundle import Bundle, BundleConfig
from modelwright.tasks.task import choose_task
from modelwright.workflows.card import card_of

HOME = "http://127.0.0.1"


def bundle_of(schema: Schema, family: FamilyConfig, name: str = "tiny") -> Bundle:
    """An untrained model for data like `schema`."""
    task = choose_task(schema)
    stem = stems["embedding"].model_validate({}) if schema.causal else choose_stem(schema, family)
    built = task.build(schema)
    head = HeadConfig.model_validate({})
    config = BundleConfig(name=name, data=DataConfig(path="data"), data_schema=schema, task=task, stem=stem, model=family, head=head)
    network = build_network(schema, family, built.outputs, stem=stem, head=head, seed=1)
    return Bundle(config, network.eval(), built)


def table_bundle(*, regression: bool = False) -> Bundle:
    """A model of a table with awkward names, for two classes or a number."""
    columns = (
        Feature(name="age", type="number", mean=(38.5,), scale=(13.0,), has_missing=True),
        Feature(name="hours per week", type="number", mean=(40.0,), scale=(12.0,)),
        Feature(name="<b>job</b>", type="category", values=("clerk", "<script>alert(1)</script>", "nurse")),
    )
    number = Feature(name="price", type="number", mean=(100.0,), scale=(20.0,))
    target = number if regression else Feature(name="income", type="category", values=("low", "high"))
    return bundle_of(Schema(inputs=columns, target=target), small("mlp"))


def image_bundle(channels: int = 1) -> Bundle:
    """A model of small images with three classes."""
    return bundle_of(image(channels, 8, 8), small("cnn"))


def text_bundle(tokenizer: Any, context: int = 48) -> Bundle:
    """A decoder."""
    text = Feature(name="text", type="text", shape=(context,), vocabulary=tokenizer.size, tokenizer=tokenizer.to_json())
    return bundle_of(
        Schema(inputs=(text,), target=Feature(name="next token", type="text", shape=(context,), vocabulary=tokenizer.size)),
        small("transformer"),
    )


def service_of(bundle: Bundle, **settings: Any) -> Any:
    """The bundle behind an ASGI application."""
    from modelwright.serving.http.app import Access, Service
    from modelwright.serving.http.limits import Limits

    limits = settings.pop("limits", {})
    access = Access(settings.pop("host", "127.0.0.1"), settings.pop("api_key", None))
    return Service(bundle, card_of(Path("nowhere"), bundle), access=access, limits=Limits.model_validate(limits), **settings)


@contextmanager
def running(service: Any) -> Iterator[str]:
    """The service behind a real socket, in a thread; gives its URL."""
    from modelwright.serving.http.process import Server, bind

    bound = bind("127.0.0.1", 0)
    server = Server(service, bound)
    thread = threading.Thread(target=server.run_until_stopped, daemon=True)
    thread.start()
    try:
        yield f"{HOME}:{bound.getsockname()[1]}"
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive(), "the server doesn't end"
