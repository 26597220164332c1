"""The page: a report's head, and the template that turns blocks into one HTML file that needs nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from modelwright.core.errors import import_extra
from modelwright.core.schema import Schema
from modelwright.core.units import format_bytes, format_count, format_duration
from modelwright.core.version import __version__
from modelwright.metrics.estimate import label
from modelwright.reporting.blocks import Fact, Page
from modelwright.reporting.quantities import bounds_text, metric_text
from modelwright.reporting.section import sections_of
from modelwright.reporting.view import View

FAMILY_NAMES = {
    "linear": "A linear model",
    "mlp": "A multilayer perceptron",
    "cnn": "A convolutional network",
    "rnn": "A recurrent network",
    "gru": "A GRU network",
    "lstm": "An LSTM network",
    "transformer": "A Transformer",
    "hybrid": "A hybrid of attention and recurrence",
}


def report_page(view: View) -> Page:
    """The report of a run."""
    warnings = [f"{problem[:1].upper()}{problem[1:]}." for problem in view.problems]
    if view.search:
        warnings.insert(0, "This is a search: what a run tells of its model comes with the training of what it recommends, recipe.yaml.")
    elif not view.finished and not any(problem.startswith("evaluation.json") for problem in view.problems):
        warnings.insert(0, "This run is not finished: what follows is what there is so far.")
    title = str(view.recipe.get("name") or view.name)
    return Page(
        title=title,
        subtitle=what_it_is(view),
        summary=str(view.evaluation.get("summary", "")),
        cards=cards(view),
        sections=sections_of(view),
        footer=f"Made by Modelwright {__version__} on {datetime.now(UTC):%Y-%m-%d} (UTC) from the run folder {view.name}. Intervals are of 95 % unless they say otherwise.",
        warnings=[*warnings, *view.notes],
    )


def what_it_is(view: View) -> str:
    """The model in a sentence."""
    who = FAMILY_NAMES.get(view.family, f"A network of the family {view.family}" if view.family else "A model")
    schema = view.schema
    return f"{who} {_does(schema)}." if schema is not None else f"{who}."


def _does(schema: Schema) -> str:
    if schema.causal:
        return f"that continues texts, one of {schema.target.vocabulary:,} tokens after the other"
    if schema.kind == "image":
        channels, height, width = schema.image.shape
        what = f"{'grey' if channels == 1 else 'color'} images of {height}×{width} pixels"
    else:
        what = f"rows of {len(schema.inputs)} columns"
    target = schema.target
    if target.type == "number":
        return f"that tells {target.name} from {what}"
    return (
        f"that tells {len(target.values)} classes of {target.name} apart in {what}"
        if schema.kind == "table"
        else f"that tells {len(target.values)} classes apart in {what}"
    )


def cards(view: View) -> list[Fact]:
    """The quantities on top: score, what it beats, what it cost."""
    found = []
    metric = view.primary
    score = view.estimate(view.judged, metric) if metric else None
    if score is not None:
        found.append(
            Fact(f"{view.judged} {label(metric)}", metric_text(metric, score.value), f"95 % interval {bounds_text(metric, score)}")
        )
        baseline = _best_baseline(view)
        if baseline is not None:
            found.append(Fact("best baseline", metric_text(metric, baseline[1]), baseline[0].replace("_", " ")))
        forecast = view.ledger.get(f"{view.judged} {metric}")
        if forecast is not None and forecast.forecast is not None and forecast.verdict:
            verdict = {"inside": "came true", "below": "fell below the interval", "above": "rose above the interval"}[forecast.verdict]
            found.append(Fact("forecast beforehand", metric_text(metric, forecast.forecast), verdict))
    measured = {name: entry.measured for name, entry in view.ledger.items() if entry.measured is not None}
    if (parameters := measured.get("parameters")) is not None:
        found.append(
            Fact("parameters", format_count(parameters), f"{format_bytes(view.bundle_bytes)} on disk" if view.bundle_bytes else "")
        )
    if (total := measured.get("total time")) is not None:
        training = measured.get("training time")
        found.append(Fact("time spent", format_duration(total), f"{format_duration(training)} of it training" if training else ""))
    return found


def _best_baseline(view: View) -> tuple[str, float] | None:
    metric = view.primary
    known = {name: values[metric]["value"] for name, values in view.evaluation.get("baselines", {}).items() if metric in values}
    if not known:
        return None
    name = (max if view.higher_is_better else min)(known, key=known.__getitem__)
    return name, known[name]


def render(page: Page) -> str:
    """The page as HTML: one file, without scripts, that asks for nothing.

    Raises:
        InputError: the template engine is not installed.
    """
    jinja2 = import_extra("jinja2", "jinja2", "report")
    markup = import_extra("markupsafe", "jinja2", "report").Markup
    folder = files("modelwright.reporting") / "templates"
    loader = jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8"))
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    style = markup((folder / "page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html").render(page=page, style=style, svg=markup, is_cell=_is_cell)


def _is_cell(value: Any) -> bool:
    return not isinstance(value, str)
