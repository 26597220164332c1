"""The report: every section of every kind of run, escaped, well-formed, alone, and whole where pieces are missing."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from harness.reports import HOSTILE, KINDS
from rich.console import Console

from modelwright.core.errors import InputError
from modelwright.core.run import Run
from modelwright.data.dataset import load
from modelwright.reporting.blocks import Text
from modelwright.reporting.charts import row_names
from modelwright.reporting.drawing import plot
from modelwright.reporting.page import render, report_page
from modelwright.reporting.section import sections
from modelwright.reporting.sections.mistakes import Mistakes
from modelwright.reporting.view import View, read_trials, read_view
from modelwright.serving.bundle import load_bundle
from modelwright.workflows.job import Job
from modelwright.workflows.recipe import load_recipe
from modelwright.workflows.report import report, report_in_time, report_seconds
from modelwright.workflows.reporter import Reporter

LARGEST = 3_000_000
CANT = "can’t be told"
VOID = {"meta", "link", "img", "br"}
COMMON = {"data", "training", "results", "generalization", "robustness", "cost", "reproduction", "forecasts"}
EXPECTED = {
    "image": COMMON | {"mistakes", "calibration"},
    "binary": COMMON | {"mistakes", "calibration"},
    "regression": COMMON | {"residuals", "mistakes"},
    "text": COMMON | {"language"},
}


class Reader(HTMLParser):
    """Reads a page, and sees that its elements are closed in order and its names are unique."""

    def __init__(self):
        super().__init__()
        self.open, self.names, self.sections, self.addresses, self.tags, self.text = [], [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.names += [values["id"]] if "id" in values else []
        self.sections += [values["id"]] if tag == "section" else []
        self.addresses += [value for name, value in attributes if name in ("src", "href", "action", "data")]
        if tag == "svg":
            assert values["role"] == "img"
            assert values["aria-label"]
        if tag == "img":
            assert values["alt"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path: Path) -> tuple[Reader, str]:
    html = path.read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader, html


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_has_every_section_that_suits_its_kind(pages, kind):
    reader, html = read(pages[kind])
    assert set(reader.sections) == EXPECTED[kind]
    assert len(html.encode()) < LARGEST
    assert CANT not in html
    assert len(reader.names) == len(set(reader.names))
    assert reader.tags.count("svg") >= 6


def test_every_section_is_seen_in_some_report(pages):
    seen = {name for page in pages.values() for name in read(page)[0].sections}
    assert len(list(sections)) >= 12
    assert {name for name, _ in sections.items()} - seen == {"families"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_asks_for_nothing_and_runs_nothing(pages, kind):
    reader, html = read(pages[kind])
    assert "script" not in reader.tags
    assert {"iframe", "object", "embed", "form"} & set(reader.tags) == set()
    assert [address for address in reader.addresses if not address.startswith(("#", "data:"))] == []
    assert "@import" not in html
    assert re.findall(r"url\((?!#)[^)]*\)", html) == []
    assert "http" not in re.sub(r"http-equiv", "", html)


@pytest.mark.parametrize("kind", ["image", "binary"])
def test_names_of_classes_and_columns_never_become_markup(pages, kind):
    reader, html = read(pages[kind])
    assert HOSTILE not in html
    assert HOSTILE in "".join(reader.text)
    assert "<b>second" not in html


def test_a_text_never_becomes_markup(pages):
    assert "<i>that" not in pages["text"].read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_colors_are_those_of_the_page(pages, kind):
    html = pages[kind].read_text()
    plots = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert plots
    assert all("var(--" in plot for plot in plots)
    assert [color for plot in plots for color in re.findall(r"(?:fill|stroke): (#\w+)", plot)] == []


def test_a_run_whose_data_is_gone_shows_what_was_found_before(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["binary"], run)
    recipe = (run / "recipe.yaml").read_text().replace("data.csv", "gone.csv")
    (run / "recipe.yaml").write_text(recipe)
    with_findings = report(run)
    assert any("an earlier report found" in note for note in with_findings.notes)
    assert "robustness" in read(with_findings.path)[0].sections
    (run / "findings.json").unlink()
    without = report(run)
    assert any("no examples, slices" in note for note in without.notes)
    assert "robustness" not in read(without.path)[0].sections
    assert "results" in read(without.path)[0].sections


def test_data_that_changed_is_not_looked_at(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["binary"], run)
    data = tmp_path / "data.csv"
    lines = Path(runs["binary"].parent / "data.csv").read_text().splitlines()
    data.write_text("\n".join(lines[:200]) + "\n")
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(runs["binary"].parent / "data.csv"), str(data)))
    assert any("no longer what the model was trained on" in note for note in report(run).notes)


@pytest.mark.parametrize(
    "missing", [("metrics.jsonl", "ledger.jsonl"), ("model", "findings.json"), ("evaluation.json", "run.json"), ("recipe.yaml",)]
)
def test_a_piece_that_is_missing_is_no_failure(runs, tmp_path, missing):
    run = tmp_path / "run"
    shutil.copytree(runs["regression"], run)
    (run / "comparison.json").write_text("{}")
    for piece in missing:
        shutil.rmtree(run / piece) if (run / piece).is_dir() else (run / piece).unlink()
    reader, html = read(report(run).path)
    assert len(reader.sections) >= 3
    assert CANT not in html


DAMAGED = ("metrics.jsonl", "ledger.jsonl", "run.json", "evaluation.json", "findings.json", "comparison.json", "recipe.yaml")


@pytest.fixture
def damaged(runs, tmp_path):
    """Gives a run in which some files have a content of their own."""

    def make(*names, content):
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(runs["binary"], run)
        for name in names:
            (run / name).write_bytes(content.encode("latin-1"))
        return read_view(Run(run))

    return make


@pytest.mark.parametrize("content", ["{", "[1, 2]", "3", "", "\x00\xff", '{"splits": 3}', '{"trials": [null, {"candidate": 1}]}'])
def test_a_damaged_file_is_told_not_raised(damaged, content):
    for name in DAMAGED:
        view = damaged(name, content=content)
        assert all(problem.endswith(")") for problem in view.problems)


def test_a_page_of_damaged_files_is_whole(damaged):
    page = report_page(damaged(*DAMAGED, content="["))
    assert len(page.warnings) > 3
    assert render(page)


def test_a_section_that_meets_nonsense_says_so_and_spares_the_others(damaged):
    nonsense = {"shown": 3, "worst": [1], "slices": [{}], "robustness": [{"points": [1, 2]}], "latency": [{}], "target": {"counts": 3}}
    html = render(report_page(damaged("findings.json", content=json.dumps(nonsense))))
    assert CANT in html
    assert 'id="results"' in html


def test_an_unfinished_run_says_so(runs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("metrics.jsonl", "run.json", "recipe.yaml"):
        shutil.copy(runs["image"] / name, run / name)
    reader, html = read(report(run).path)
    assert "not finished" in html
    assert {"training", "data", "reproduction"} <= set(reader.sections)


@pytest.mark.parametrize(("train", "says"), [((1.0, 0.97, 1.0), "intervals overlap"), ((1.0, 0.995, 1.0), "more than chance explains")])
def test_a_gap_is_more_than_chance_only_where_intervals_are_apart(train, says):
    estimates = {"train": train, "test": (0.93, 0.70, 0.988)}
    splits = {name: {"accuracy": dict(zip(("value", "low", "high"), numbers, strict=True))} for name, numbers in estimates.items()}
    blocks = sections["generalization"]().blocks(View("run", evaluation={"primary": "accuracy", "splits": splits}))
    assert says in next(block.text for block in blocks if isinstance(block, Text))


def test_trials_are_read_as_far_as_they_are_known():
    rows = [
        {"candidate": "cnn", "seconds": 2, "value": 0.5, "new": 1},
        {"candidate": "mlp"},
        7,
        {"candidate": "x", "seconds": "a", "value": 1},
    ]
    assert [trial.candidate for trial in read_trials({"trials": rows})] == ["cnn"]
    assert read_trials({}) == read_trials({"trials": 3}) == ()


def test_the_comparison_of_families_is_drawn(runs, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(runs["binary"], run)
    trials = [{"candidate": name, "seconds": s, "value": v} for name, s, v in (("mlp", 1.0, 0.7), ("mlp", 2.0, 0.8), (HOSTILE, 1.0, 0.6))]
    (run / "comparison.json").write_text(json.dumps({"trials": trials}))
    page = report_page(read_view(Run(run)))
    assert "families" in [section.name for section in page.sections]
    assert HOSTILE not in render(page)
    assert "went on with" not in render(page)


def test_trials_of_an_unfinished_regression_are_ranked_by_the_smaller_error(runs, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(runs["regression"] / "run.json", run / "run.json")
    trials = [{"candidate": name, "seconds": 1.0, "value": value} for name, value in (("mlp", 0.9), ("linear", 0.2))]
    (run / "comparison.json").write_text(json.dumps({"trials": trials}))
    families = next(section for section in report_page(read_view(Run(run))).sections if section.name == "families")
    table = families.blocks[-1].blocks[-1]
    assert [row[0].text for row in table.rows] == ["linear", "mlp"]


def test_a_report_takes_a_small_share_of_a_budget_or_none():
    assert report_seconds(10) == 0
    assert 0 < report_seconds(90) <= 9
    assert report_seconds(3600) < 0.05 * 3600


def finished(run, tmp_path):
    """A copy of a finished run, with the job and the network that a build has at hand."""
    shutil.copytree(run, tmp_path / "run")
    for name in ("report.html", "findings.json"):
        (tmp_path / "run" / name).unlink(missing_ok=True)
    recipe = load_recipe(run / "recipe.yaml").replace(training={"budget": "200s"})
    return Run(tmp_path / "run"), Job.make(recipe, load(recipe.data, recipe.seed)), load_bundle(run).network


def test_a_build_with_time_left_writes_its_report(runs, tmp_path):
    run, job, network = finished(runs["regression"], tmp_path)
    report_in_time(run, job, network, Reporter(), time.monotonic(), each=1e-5)
    assert "residuals" in read(run.report)[0].sections


def test_a_build_without_time_says_how_to_get_one(runs, tmp_path):
    run, job, network = finished(runs["regression"], tmp_path)
    console = Console(file=io.StringIO(), width=200)
    report_in_time(run, job, network, Reporter(console), time.monotonic() - 199, each=1e-5)
    assert not run.report.exists()
    assert f"modelwright report {run.path}" in console.file.getvalue()


def test_a_build_of_a_slow_network_has_a_report_without_examples(runs, tmp_path):
    run, job, network = finished(runs["regression"], tmp_path)
    report_in_time(run, job, network, Reporter(), time.monotonic(), each=10.0)
    reader, html = read(run.report)
    assert "results" in reader.sections
    assert "There was no time to look at examples" in html
    assert not run.findings.exists()


def test_a_build_outlives_a_report_that_fails(runs, tmp_path, monkeypatch):
    run, job, network = finished(runs["regression"], tmp_path)
    monkeypatch.setattr("modelwright.workflows.report.find", lambda *_, **__: 1 / 0)
    console = Console(file=io.StringIO(), width=200)
    report_in_time(run, job, network, Reporter(console), time.monotonic(), each=1e-5)
    assert "ZeroDivisionError" in console.file.getvalue()
    assert not run.report.exists()


def test_a_build_without_the_packages_says_how_to_get_them(runs, tmp_path, monkeypatch):
    run, job, network = finished(runs["regression"], tmp_path)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    console = Console(file=io.StringIO(), width=200)
    report_in_time(run, job, network, Reporter(console), time.monotonic(), each=1e-5)
    assert not run.report.exists()
    assert "pip install 'modelwright[report]'" in console.file.getvalue()
    with pytest.raises(InputError, match="pip install"):
        report(run.path)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        report(tmp_path)


def test_a_report_that_cant_be_written_leaves_nothing(runs, tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        report(runs["regression"], output=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_in_a_browser_there_is_no_error_and_no_request(pages):
    sync_api = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for kind, path in pages.items():
            for width, scheme in ((380, "dark"), (1440, "light")):
                page = opened.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                said, asked = [], []
                page.on("console", lambda message, said=said: said.append(message.text))
                page.on("pageerror", lambda error, said=said: said.append(str(error)))
                page.on("request", lambda request, asked=asked: asked.append(request.url))
                page.goto(path.as_uri())
                assert said == [], kind
                assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
                assert page.evaluate("document.documentElement.scrollWidth") <= width, kind
                page.close()
        opened.close()


def test_letters_that_the_plotting_library_lacks_are_drawn_by_the_page(recwarn):
    with plot("two bars") as drawn:
        drawn.axes.barh([0, 1], [1, 2])
        row_names(drawn.axes, ["猫", "कुत्ता"])
    assert "猫" in drawn.svg
    assert not recwarn.list


def test_the_hardest_images_of_a_regression_are_shown():
    worst = [{"image": "data:,", "target": "1.2", "predicted": "3.4", "loss": 4.84}]
    *_, pictures = Mistakes().blocks(View("run", findings={"worst": worst, "examples": 30}))
    assert pictures.pictures[0].right is None
    assert pictures.pictures[0].note == "4.84"
