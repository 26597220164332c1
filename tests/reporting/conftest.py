"""A tiny finished run of each kind, made once for all tests of reports."""

import numpy as np
import pytest
from harness.reports import HOSTILE

from modelwright.cli import main


def _train(folder, data, family, *settings):
    output = folder / "run"
    arguments = ["train", str(data), "--family", family, "--budget", "24 steps", "--output", str(output), "--quiet"]
    assert main([*arguments, *(part for setting in settings for part in ("--set", setting))]) == 0
    return output


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Run folders by kind; class and column names are hostile, and the data lies beside each run."""
    random = np.random.default_rng(0)
    made = {}
    folder = tmp_path_factory.mktemp("image")
    labels = random.integers(0, 3, 240)
    images = (random.normal(60, 20, (240, 8, 8)) + 60 * labels[:, None, None]).clip(0, 255).astype(np.uint8)
    names = np.array([HOSTILE, "b & c", '"d"'])[labels]
    np.savez(folder / "data.npz", images=images, labels=names)
    made["image"] = _train(folder, folder / "data.npz", "cnn", "model.channels=[4,8]")
    folder = tmp_path_factory.mktemp("binary")
    numbers, colors = random.normal(size=(300, 2)), random.choice(["red", HOSTILE, "$x_1$"], 300)
    answers = np.where(numbers[:, 0] + (colors == "red") > 0.3, "yes", "no")
    rows = [
        f"{a:.3f},{'' if i % 9 == 0 else f'{b:.3f}'},{c},{y}" for i, ((a, b), c, y) in enumerate(zip(numbers, colors, answers, strict=True))
    ]
    (folder / "data.csv").write_text(f"first,<b>second</b>,{HOSTILE},answer\n" + "\n".join(rows) + "\n")
    made["binary"] = _train(folder, folder / "data.csv", "mlp", "model.width=8", "training.batch_size=32")
    folder = tmp_path_factory.mktemp("regression")
    rows = [f"{a:.3f},{b:.3f},{2 * a - b + 0.1 * e:.3f}" for a, b, e in random.normal(size=(300, 3))]
    (folder / "data.csv").write_text("a,b,goal & more\n" + "\n".join(rows) + "\n")
    made["regression"] = _train(folder, folder / "data.csv", "mlp", "model.width=8", "training.batch_size=32")
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("text")
    words = random.choice(["to be", "or not", "<i>that</i>", "is the question &", "whether"], 2500)
    (folder / "data.txt").write_text("\n".join(" ".join(words[i : i + 5]) for i in range(0, 2500, 5)))
    made["text"] = _train(folder, folder / "data.txt", "gru", "data.context=32", "model.width=8", "training.batch_size=4")
    return made


@pytest.fixture(scope="session")
def pages(runs, tmp_path_factory):
    """The report of each run, as text."""
    folder = tmp_path_factory.mktemp("pages")
    for kind, run in runs.items():
        assert main(["report", str(run), "--output", str(folder / f"{kind}.html"), "--quiet"]) == 0
    return {kind: folder / f"{kind}.html" for kind in runs}
