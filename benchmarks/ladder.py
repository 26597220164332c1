"""Ladders against the trainings that they foretell: rungs of a tenth of the target's time, then the target.

    python benchmarks/ladder.py text            # also text-lstm, noisy-cnn, noisy-lstm, cnn, lstm, mnist-cnn, mnist-lstm; --seeds 3 --target 300
    python benchmarks/ladder.py page            # the page of all that were run
    python benchmarks/ladder.py again PAGE.json # what the law as it is now makes of the rungs of a page

`text` and `text-lstm` learn the bytes of Python's standard library; `noisy-cnn` and `noisy-lstm` read digits of MNIST in strong noise, so that no loss
comes near 0; `cnn` and `lstm` tell which character follows 16 others that they see as a picture, a classification whose loss can't fall to 0 either;
the others read MNIST. The target is trained whether the law is identified or not; each row says which.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from result import RESULTS, write_page

from modelwright.data.sources.idx import read_idx
from modelwright.planning.laws.law import find_law
from modelwright.planning.laws.points import Points
from modelwright.serving.bundle import load_bundle
from modelwright.workflows.job import Job, read
from modelwright.workflows.ladder import ladder
from modelwright.workflows.reporter import Reporter
from modelwright.workflows.rungs import Metric, judged_on
from modelwright.workflows.train import train

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
NEXT, SEEN = "next characters", 16
NOISY, NOISE = "noisy digits", 2.0
SUBJECTS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "text": ("stdlib", {"model.family": "transformer"}, ["data.tokenizer=bytes", "data.context=64", "training.batch_size=8"]),
    "text-lstm": ("stdlib", {"model.family": "lstm"}, ["data.tokenizer=bytes", "data.context=64", "training.batch_size=8"]),
    "noisy-cnn": (NOISY, {"model.family": "cnn"}, ["training.batch_size=32", "data.validation=0.01"]),
    "noisy-lstm": (NOISY, {"model.family": "lstm"}, ["training.batch_size=32", "data.validation=0.01"]),
    "cnn": (NEXT, {"model.family": "cnn"}, ["training.batch_size=32", "data.validation=0.02"]),
    "lstm": (NEXT, {"model.family": "lstm"}, ["training.batch_size=32", "data.validation=0.02"]),
    "mnist-cnn": (str(DATA / "mnist"), {"model.family": "cnn"}, ["training.batch_size=32"]),
    "mnist-lstm": (str(DATA / "mnist"), {"model.family": "lstm"}, ["training.batch_size=32"]),
}
KEPT = RESULTS.parent / "ladder-runs.jsonl"


def next_characters(folder: Path) -> str:
    """Tinyshakespeare as pictures: `SEEN` characters, a row of 8 bits each; the class is the character that follows. The last ones are the test
    split; those of the validation split are drawn among the others, which overlap with them.
    """
    codes = np.frombuffer((DATA / "tinyshakespeare" / "input.txt").read_bytes(), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(codes, SEEN + 1)
    images, cut = 255 * np.unpackbits(windows[:, :SEEN, None], axis=2), len(windows) - 10_000
    labels = windows[:, SEEN]
    np.savez(folder / "next.npz", x_train=images[:cut], y_train=labels[:cut], x_test=images[cut:], y_test=labels[cut:])
    return str(folder / "next.npz")


def noisy_digits(folder: Path) -> str:
    """A million of MNIST's training digits and 10,000 of its test digits, each drawn at random, with normal noise of `NOISE` times the strength of ink (white
    noise as of n-MNIST, Basu et al. 2017, but stronger).
    """
    random = np.random.default_rng(0)

    def drawn(split: str, files: str, count: int) -> dict[str, np.ndarray]:
        images, labels = (read_idx(DATA / "mnist" / f"{files}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
        chosen = random.integers(len(images), size=count)
        made = np.empty((count, *images.shape[1:]), np.uint8)
        for rows in np.array_split(np.arange(count), 100):
            seen = images[chosen[rows]] / 255 + NOISE * random.standard_normal((len(rows), *images.shape[1:]))
            # Three deviations on either side of ink and ground fill the range of a byte.
            made[rows] = np.clip(255 * (seen + 3 * NOISE) / (6 * NOISE + 1), 0, 255)
        return {f"x_{split}": made, f"y_{split}": labels[chosen]}

    np.savez(folder / "noisy.npz", **drawn("train", "train", 1_000_000), **drawn("test", "t10k", 10_000))
    return str(folder / "noisy.npz")


MADE = {NEXT: next_characters, NOISY: noisy_digits}


def one(subject: str, seed: int, target: float, share: float) -> dict[str, Any]:
    """A ladder and its target."""
    path, changes, settings = SUBJECTS[subject]
    reporter = Reporter()
    with tempfile.TemporaryDirectory() as folder:
        answer = ladder(
            MADE[path](Path(folder)) if path in MADE else path, budget=f"{share * target}s", target_budget=f"{target}s", output=Path(folder) / "ladder", reporter=reporter,
            settings=[*settings, f"seed={seed}", "baselines=false"], changes=changes,
        )  # fmt: skip
        best = answer.recommended
        outcome = train(best.recipe, output=Path(folder) / "target", reporter=reporter)
        job = Job.make(best.recipe, judged_on(read(best.recipe, reporter), answer.plan.judged))
        measured = Metric(answer.metric).measure(job, load_bundle(outcome.run.bundle).network)
    told = best.value
    return {
        "subject": subject, "seed": seed, "metric": answer.metric, "identified": answer.identified, "reason": answer.reason,
        "form": answer.law.fit.form.name, "ladder_seconds": answer.seconds, "target_seconds": outcome.details["training_seconds"],
        "rungs": [row.model_dump() for row in answer.results], "params": float(best.point["params"][0]), "data": float(best.point["data"][0]),
        "unique": float(best.point["unique"][0]), "compute": float(best.point["compute"][0]),
        "forecast": told.value, "low": told.low, "high": told.high, "measured": measured, "error": told.value / measured - 1,
        "inside": told.low <= measured <= told.high,
    }  # fmt: skip


def page() -> None:
    """All rows that were kept."""
    rows = [json.loads(line) for line in KEPT.read_text(encoding="utf-8").splitlines()]
    lines = [
        "| what | seed | rungs, s | target, s | metric | forecast (90 %) | measured | error | identified |",
        "| --- | ---: | ---: | ---: | --- | --- | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row['subject']} | {row['seed']} | {row['ladder_seconds']:.0f} | {row['target_seconds']:.0f} | {row['metric']} | {row['forecast']:.4g} "
        f"({row['low']:.4g}-{row['high']:.4g}) | {row['measured']:.4g} | {row['error']:+.1%}{'' if row['inside'] else ', outside'} "
        f"| {'yes' if row['identified'] else 'no: ' + row['reason']} |"
        for row in rows
    ]
    print("\n".join(lines))
    write_page("ladder", "How near do ladders come to the trainings that they foretell?", lines, rows)


def again(path: str) -> None:
    """Forecasts of the same targets by the law as it is now, through the rungs of a page."""
    for row in json.loads(Path(path).read_text(encoding="utf-8"))["runs"]:
        rungs = Points({axis: np.array([float(rung[axis]) for rung in row["rungs"]]) for axis in ("params", "data", "unique", "compute")})
        each = rungs["compute"] / rungs["data"]
        # Rows of 2026-11-23 and before lack the target's compute; operations for an example lie on a line over sizes.
        compute = row.get("compute") or np.polyval(np.polyfit(rungs["params"], each, 1), row["params"]) * row["data"]
        axes = {"params": row["params"], "data": row["data"], "unique": row.get("unique", row["data"]), "compute": compute}
        values = np.array([rung["value"] for rung in row["rungs"]])
        law = find_law(rungs, values, "loss", flops=float(np.median(each / rungs["params"])), seed=row["seed"])
        target = Points({axis: np.array([number]) for axis, number in axes.items()})
        told, low, high = (float(bound[0]) for bound in law.predict(target))
        print(
            f"{row['subject']} {row['seed']}: said {row['error']:+.1%}; now {told:.4g} ({low:.4g}-{high:.4g}), measured {row['measured']:.4g}, "
            f"{told / row['measured'] - 1:+.1%}, {law.objection(target) or 'identified'}"
        )


def main() -> None:
    """Run ladders, each in a process of its own, and keep what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*SUBJECTS, "page", "again"])
    parser.add_argument("path", nargs="?", help="of a page's raw runs, for again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=300.0)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    if given.what == "page":
        page()
    elif given.what == "again":
        if given.path is None:
            parser.error("again needs the path of a page's raw runs")
        again(given.path)
    elif given.seed is not None:
        print(json.dumps(one(given.what, given.seed, given.target, given.share)))
    else:
        for seed in range(given.seeds):
            settings = ["--seed", str(seed), "--target", str(given.target), "--share", str(given.share)]
            command = [sys.executable, __file__, given.what, *settings]
            line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip().splitlines()[-1]
            with KEPT.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            print({key: value for key, value in json.loads(line).items() if key != "rungs"}, flush=True)


if __name__ == "__main__":
    main()
