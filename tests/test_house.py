"""The shape of the house, held: floors, budgets of length, docstrings, legends, late imports, and a complete lock."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "modelwright"

FEWEST_SOURCE_FILES = 100
FEWEST_TEST_FILES = 30
MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 70
MOST_LINES_OF_TRAINER = 300
MOST_LINES_OF_LOOP = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the package, by its path below it."""
    return {str(path.relative_to(PACKAGE)): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def texts() -> Iterator[tuple[str, str]]:
    """Every text file that is a part of the project, by its path."""
    paths = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in ("src", "tests", "docs", "benchmarks", ".ci"):
        paths += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in paths:
        if "__pycache__" in path.parts or any(part.endswith(".egg-info") for part in path.parts):
            continue
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def functions(module: ast.Module) -> Iterator[Function]:
    """Every function and method of a module, at any depth."""
    return (node for node in ast.walk(module) if isinstance(node, Function))


def length(node: Function) -> int:
    """Lines of a function, with its docstring and without its decorators."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


# Floors


def floors() -> dict[str, int]:
    """The floor of every room, as the table in the architecture says; the package's own front door stands above all."""
    table = re.findall(r"^\| (\d) \| (.*?) \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.MULTILINE)
    rooms = {room: int(floor) for floor, names in table for room in re.findall(r"`(\w+)(?:/|\.py)`", names)}
    assert len(rooms) >= 12
    return rooms | {"__init__": max(rooms.values()) + 1}


def room_of(path: str) -> str:
    """The room of a module: its folder, or its name if it stands alone."""
    return Path(path).parts[0].removesuffix(".py")


def imported(path: str) -> Iterator[tuple[int, str]]:
    """(line, room) of every import from this package, wherever it stands in the module: in functions and behind conditions too."""
    here = ("modelwright", *Path(path).with_suffix("").parts)
    for node in ast.walk(sources()[path]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "modelwright" else [module]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "modelwright":
                room = parts[1] if len(parts) > 1 else "__init__"
                yield node.lineno, room if room in floors() else "__init__"


def test_imports_go_down_the_table_only():
    floor = floors()
    found, wrong = 0, []
    for path in sources():
        for line, room in imported(path):
            found += 1
            if room != room_of(path) and floor[room] >= floor[room_of(path)]:
                wrong.append(f"{path}:{line} imports {room}")
    assert found > 3 * FEWEST_SOURCE_FILES
    assert wrong == []


def test_every_room_is_in_the_table_and_the_table_has_only_rooms():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    alone = {path.stem for path in PACKAGE.glob("*.py")}
    assert rooms | alone == set(floors())


def test_the_check_of_floors_sees_imports_in_functions_and_relative_ones(monkeypatch: pytest.MonkeyPatch):
    module = ast.parse(
        "def f():\n    from modelwright.cli import main\n    from ..training import loop\n    from modelwright import build\n"
    )
    monkeypatch.setitem(sources(), "nn/wrong.py", module)
    assert list(imported("nn/wrong.py")) == [(2, "cli"), (3, "training"), (4, "__init__")]


# Files and functions


def test_all_files_are_seen():
    assert len(sources()) >= FEWEST_SOURCE_FILES
    assert len(list((ROOT / "tests").rglob("test_*.py"))) >= FEWEST_TEST_FILES


def test_no_file_is_named_after_nothing():
    assert [
        path for path in sources() if Path(path).stem.strip("_") in {"utils", "util", "helpers", "helper", "common", "misc", "tools"}
    ] == []


def test_test_files_have_names_of_their_own():
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []


def test_files_stay_short():
    lengths = {path: len((PACKAGE / path).read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES_OF_A_FILE} == {}


def test_functions_fit_a_screen():
    long = {f"{path}:{node.lineno} {node.name}": length(node) for path, module in sources().items() for node in functions(module)}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_there_is_one_training_loop_and_it_stays_readable():
    trainer = "training/trainer.py"
    assert len((PACKAGE / trainer).read_text(encoding="utf-8").splitlines()) < MOST_LINES_OF_TRAINER
    found = {node.name: node for node in functions(sources()[trainer]) if node.name in {"fit", "_loop"}}
    assert set(found) == {"fit", "_loop"}
    assert {name: length(node) for name, node in found.items() if length(node) >= MOST_LINES_OF_LOOP} == {}
    assert "while" in (ast.get_docstring(found["_loop"]) or ""), "the loop's docstring is its pseudo-code"
    endless = [node for node in ast.walk(sources()[trainer]) if isinstance(node, ast.While)]
    assert len(endless) == 1


def test_gradients_are_asked_for_in_training_only():
    calls = {
        path
        for path, module in sources().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "backward"
    }
    assert calls
    assert {room_of(path) for path in calls} == {"training"}


# Words


def public(module: ast.Module) -> Iterator[ast.ClassDef | Function]:
    """The public classes and functions of a module, and the public methods of those classes."""
    for node in module.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (inner for inner in node.body if isinstance(inner, Function) and not inner.name.startswith("_"))


def test_every_public_thing_says_what_it_is():
    found, silent = 0, []
    for path, module in sources().items():
        if not ast.get_docstring(module):
            silent.append(path)
        for node in public(module):
            found += 1
            if not ast.get_docstring(node):
                silent.append(f"{path}:{node.lineno} {node.name}")
    assert found > 3 * FEWEST_SOURCE_FILES
    assert silent == []


def test_tensor_code_has_a_legend_of_its_letters():
    checked, without = 0, []
    for path, module in sources().items():
        if room_of(path) in {"nn", "models"} and any(node.name == "forward" for node in functions(module)):
            checked += 1
            if not re.search(r"\bB\W{1,4}batch\b", ast.get_docstring(module) or ""):
                without.append(path)
    assert checked >= 10
    assert without == []


def test_work_left_over_is_not_left_in_the_code():
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
    assert [
        f"{path}: {line.strip()}" for path, text in texts() if path.startswith("src") for line in text.splitlines() if marks.search(line)
    ] == []


# Start-up


def test_the_command_line_answers_help_without_heavy_imports():
    code = (
        "import sys; from modelwright.cli import main; sys.argv = ['modelwright', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('heavy:', sorted({'torch', 'sklearn', 'pandas', 'PIL', 'tensorboard', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT / "src", timeout=120)
    assert done.returncode == 0, done.stderr
    assert "heavy: []" in done.stdout
    assert all(verb in done.stdout for verb in ("build", "train", "evaluate", "predict", "data", "recipes", "doctor"))


# What is shipped


def test_nothing_names_a_machine_or_a_registry():
    place = re.compile(r"""(?:^|[\s"'`(=:])/(?:work|root|home|opt|Users|tmp)/\w""", re.MULTILINE)
    host = re.compile(r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|extra-index-url\s+\S+://", re.IGNORECASE)
    found, wrong = 0, []
    for path, text in texts():
        found += 1
        wrong += [f"{path}: {match.group().strip()}" for pattern in (place, host) for match in pattern.finditer(text)]
    assert found > FEWEST_SOURCE_FILES + FEWEST_TEST_FILES
    assert wrong == []


def pins() -> dict[str, str]:
    """Name and version of every line of the lock."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if not line.startswith("#"))}


def project() -> dict:
    """The table `project` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_lock_pins_one_plain_version_of_everything():
    lock = pins()
    assert lock["torch"] == "2.13.0"
    assert [f"{name}=={version}" for name, version in lock.items() if not re.fullmatch(r"[\w.]+", version)] == []
    assert [name for name in lock if name.startswith("nvidia") or name in {"triton", "torchvision", "torchaudio"}] == []


def test_the_lock_is_complete():
    extras = project()["optional-dependencies"]
    waiting = [Requirement(text) for text in [*project()["dependencies"], *(text for extra in extras.values() for text in extra)]]
    needed: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name == "modelwright" or name in needed:
            continue
        needed.add(name)
        try:
            below = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        choices = [{"extra": extra} for extra in ("", *requirement.extras)]
        waiting += [inner for inner in map(Requirement, below) if inner.marker is None or any(map(inner.marker.evaluate, choices))]
    # The parts of a CUDA build are pinned by torch itself, exactly.
    cuda = {name for name in needed if name.startswith(("nvidia", "cuda")) or name == "triton"}
    assert len(needed) > 40
    assert needed - cuda <= set(pins())


def test_the_change_log_tells_of_this_version():
    assert f"## [{project()['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
