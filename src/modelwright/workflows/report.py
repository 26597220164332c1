"""`report`: a run as one page that explains itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from modelwright.core.errors import ModelwrightError, import_extra
from modelwright.core.run import Run, write_atomic
from modelwright.core.units import format_bytes
from modelwright.data.dataset import load
from modelwright.reporting.page import render, report_page
from modelwright.reporting.view import read_view
from modelwright.serving.bundle import load_bundle
from modelwright.training.machine import prepare_machine
from modelwright.workflows.findings import affordable_examples, find
from modelwright.workflows.job import Job, device
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.reporter import Reporter

DRAWING_SECONDS = 3.0
"""For importing the plotting library, drawing and writing, as seen on machines of 2026."""
DRAWING_IMPORTS = 3.0
"""Drawing and writing take about so many times as long as the import; on a slow or busy machine both do."""
LOOKING_SHARE = 0.03
"""Share of a budget of seconds that may go into looking at examples, slices and robustness."""
LARGEST_SHARE = 0.1
"""Share of a budget of seconds that a report may take at all; a shorter run gets one when it is asked for."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A report that was written.

    Attributes:
        path: of the page.
        size: bytes.
        sections: their titles.
        notes: what could not be told, and why.
    """

    path: Path
    size: int
    sections: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {"path": str(self.path), "size": self.size, "sections": list(self.sections), "notes": list(self.notes)}


def report(run: Path | str, *, output: Path | str | None = None, reporter: Reporter | None = None) -> Reported:
    """Write the report of a run, finished or not.

    What needs the data or the model is found anew; where they are gone, what an earlier report found is shown, and the page says so.

    Args:
        run: a run folder.
        output: the file to write; `report.html` in the run folder if not said.
        reporter: whom to tell.

    Raises:
        InputError: there is no such run, the file can't be written, or a package is missing.
    """
    reporter = reporter or Reporter()
    prepare_machine()
    opened = Run.open(run)
    _need_packages()
    findings, notes = _look(opened, reporter)
    if findings is not None:
        opened.write_json(opened.findings, findings)
    written = _write(opened, Path(output) if output is not None else opened.report, findings, notes)
    for note in written.notes:
        reporter.say("note", note)
    reporter.say("report", f"{written.path} {format_bytes(written.size)} · {len(written.sections)} sections")
    return written


def report_seconds(budget: float) -> float:
    """What to keep of a budget of seconds for the report of a build; nothing where it would be too large a share."""
    needed = DRAWING_SECONDS + LOOKING_SHARE * budget
    return needed if needed <= LARGEST_SHARE * budget else 0.0


def report_in_time(run: Run, job: Job, network: nn.Module, reporter: Reporter, started: float, *, each: float) -> None:
    """Write the report of a build that has just been proven, within what is left of its budget; never fails the build.

    Args:
        run: whose folder it goes into.
        job: with the data at hand.
        network: the finished one.
        reporter: whom to tell.
        started: `time.monotonic()` from which the budget counts.
        each: seconds that the network takes for an example, of many at a time.
    """
    later = f"write it with: modelwright report {run.path}"
    budget = job.training.budget.seconds or float("inf")
    end = started + budget
    if time.monotonic() + DRAWING_SECONDS > end:
        reporter.say("report", f"no time is left for it; {later}")
        return
    try:
        drawing = max(DRAWING_SECONDS, DRAWING_IMPORTS * _need_packages())
        began = time.monotonic()
        looking = min(end - began - drawing, LOOKING_SHARE * budget)
        findings, notes = None, (f"There was no time to look at examples; for a report with them, {later}",)
        if examples := affordable_examples(job, looking, each):
            findings, notes = find(job, network, examples=examples, deadline=began + looking), ()
            run.write_json(run.findings, findings)
        if time.monotonic() + drawing > end + 1:
            reporter.say("report", f"no time is left to draw it; {later}")
            return
        written = _write(run, run.report, findings, notes)
    except ModelwrightError as error:
        reporter.say("report", f"{error} Then {later}")
        return
    except Exception as error:  # a section or a perturbation from outside may do anything, and the model is proven
        reporter.say("report", f"it can't be written ({type(error).__name__}: {error}); {later}")
        return
    reporter.say("report", f"{written.path} {format_bytes(written.size)}")


def _need_packages() -> float:
    """Import what draws, and tell how long that took.

    Raises:
        InputError: it is not installed.
    """
    began = time.monotonic()
    import_extra("jinja2", "jinja2", "report")
    import_extra("matplotlib.backends.backend_svg", "matplotlib", "report")
    return time.monotonic() - began


def _look(run: Run, reporter: Reporter) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """The findings of a run whose data and model are there; else why there are none."""
    if run.standings.is_file():
        return None, ()
    try:
        recipe = load_recipe(run.recipe)
        bundle = load_bundle(run.bundle)
        reporter.say("look", f"at {recipe.data.path} and the model")
        dataset = load(recipe.data, recipe.seed)
    except ModelwrightError as error:
        return None, (_away(run, str(error)),)
    if dataset.digest() != bundle.config.data_digest:
        return None, (_away(run, "The data is no longer what the model was trained on."),)
    job = Job.make(recipe, dataset)
    return find(job, bundle.network.to(device())), ()


def _away(run: Run, why: str) -> str:
    if run.findings.is_file():
        return f"{why} Examples, slices and robustness are those that an earlier report found."
    if not run.evaluation.is_file():
        return f"Examples, slices and robustness come with the finished model. ({why})"
    return f"{why} So there are no examples, slices, robustness and latency here."


def _write(run: Run, path: Path, findings: dict[str, Any] | None, notes: tuple[str, ...]) -> Reported:
    page = report_page(read_view(run, findings, notes))
    html = render(page)
    write_atomic(path, html)
    return Reported(path, len(html.encode()), tuple(section.title for section in page.sections), (*page.warnings,))
