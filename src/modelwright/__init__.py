"""Modelwright turns data and a compute budget into the best model the budget can buy, and proves it.

The verbs of the command line are functions here, under the same names: `build`, `compare`, `describe`, `doctor`, `evaluate`, `export`,
`generate`, `grow`, `ladder`, `law`, `ledger`, `plan`, `predict`, `recipes`, `report`, `select`, `serve`, `train`, `transfer_apply`,
`transfer_check`, `watch`. They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from modelwright.core.version import __version__

if TYPE_CHECKING:
    from modelwright.workflows.build import build
    from modelwright.workflows.compare import compare
    from modelwright.workflows.describe import describe
    from modelwright.workflows.doctor import doctor
    from modelwright.workflows.evaluate import evaluate
    from modelwright.workflows.export import export
    from modelwright.workflows.generate import generate
    from modelwright.workflows.grow import grow
    from modelwright.workflows.ladder import ladder
    from modelwright.workflows.law import law
    from modelwright.workflows.ledger import ledger
    from modelwright.workflows.plan import plan
    from modelwright.workflows.predict import predict
    from modelwright.workflows.recipe import Recipe, load_recipe
    from modelwright.workflows.recipes import recipes
    from modelwright.workflows.report import report
    from modelwright.workflows.select import select
    from modelwright.workflows.serve import serve
    from modelwright.workflows.train import train
    from modelwright.workflows.transfer import transfer_check
    from modelwright.workflows.transferred import transfer_apply, transferred
    from modelwright.workflows.watch import watch

__all__ = [
    "Recipe",
    "__version__",
    "build",
    "compare",
    "describe",
    "doctor",
    "evaluate",
    "export",
    "generate",
    "grow",
    "ladder",
    "law",
    "ledger",
    "load_recipe",
    "plan",
    "predict",
    "recipes",
    "report",
    "select",
    "serve",
    "train",
    "transfer_apply",
    "transfer_check",
    "transferred",
    "watch",
]

_HOMES = {"transfer_apply": "transferred", "transfer_check": "transfer", "Recipe": "recipe", "load_recipe": "recipe"}
"""Files of `workflows/` that are not called like the name that they hold."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'modelwright' has no attribute {name!r}")
    value = getattr(import_module(f"modelwright.workflows.{_HOMES.get(name, name)}"), name)
    globals()[name] = value
    return value
