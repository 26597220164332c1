"""A small table and a short run, made once for all tests of the workflows."""

import numpy as np
import pytest

from modelwright.cli import main


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """300 rows of two numbers and a category; the class follows from them, but for some noise."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(300, 2))
    color = random.choice(["red", "green", "blue"], 300)
    label = np.where(numbers[:, 0] + (color == "red") + 0.3 * random.normal(size=300) > 0.3, "yes", "no")
    path = tmp_path_factory.mktemp("data") / "table.csv"
    rows = [f"{a:.4f},{b:.4f},{c},{y}" for (a, b), c, y in zip(numbers, color, label, strict=True)]
    path.write_text("first,second,color,answer\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def run(table, tmp_path_factory):
    """A finished run of an MLP on the table."""
    output = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", str(table), "--family", "mlp", "--budget", "60 steps", "--output", str(output), "--quiet"]) == 0
    return output


@pytest.fixture
def command(capsys):
    """Runs a command; gives its exit code, standard output and standard error."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
