"""Preparation as a whole: what goes in, what comes out, and that neither processes nor kills change it."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from modelwright.core.errors import InputError, ModelwrightError, RunInterrupted
from modelwright.data.corpus import parts
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.pool import Pool
from modelwright.data.corpus.prepare import prepare

SMALL = {"part_bytes": 20_000, "piece_bytes": 4_000, "tokenizer": {"name": "bytes"}}
WORDS = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
]


def config(**settings):
    return CorpusConfig(**{**SMALL, **settings})


def prose(seed, words=120):
    """Random words in lines: no two seeds give similar texts."""
    random = np.random.default_rng(seed)
    chosen = [f"{WORDS[a]}{b}" for a, b in zip(random.integers(0, len(WORDS), words), random.integers(0, 50, words), strict=True)]
    return "\n".join(" ".join(chosen[start : start + 12]) for start in range(0, words, 12))


def write_lines(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def documents(corpus, split="train"):
    """The texts of a split, in order."""
    store = corpus.splits[split]
    tokens = store.windows(np.array([0]), store.tokens)[0]
    places = np.flatnonzero(tokens == store.separator)
    assert places[0] == 0
    assert len(places) == store.documents
    texts = [corpus.tokenizer.decode(part[1:]) for part in np.split(tokens, places[1:])]
    assert sum(len(text.encode()) for text in texts) == store.bytes
    return texts


def everything(corpus):
    return [text for split in corpus.splits for text in documents(corpus, split)]


def run_python(code, *arguments):
    """Run a program that finds this package."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=environment)


@pytest.fixture
def folder(tmp_path):
    """A folder of all kinds of files: 100 documents, and a long one."""
    import pyarrow
    import pyarrow.parquet
    import zstandard

    base = tmp_path / "texts"
    (base / "deep").mkdir(parents=True)
    texts = [prose(seed) for seed in range(100)]
    for number, text in enumerate(texts[:20]):
        (base / f"{number:02d}.txt").write_text(text)
    write_lines(base / "rows.jsonl", texts[20:60])
    rows = write_lines(tmp_path / "rows", texts[60:70]).read_bytes()
    (base / "deep" / "a.jsonl.gz").write_bytes(gzip.compress(rows))
    (base / "deep" / "b.txt.zst").write_bytes(zstandard.compress(texts[70].encode()))
    pyarrow.parquet.write_table(pyarrow.table({"text": texts[71:100], "n": list(range(29))}), base / "deep" / "c.parquet", row_group_size=7)
    (base / "long.md").write_text(prose(1000, 12_000))
    return base


def test_everything_that_goes_in_comes_out(folder, tmp_path):
    corpus = prepare([folder], tmp_path / "out", config(), processes=1)
    assert sorted(everything(corpus)) == sorted([prose(seed) for seed in range(100)] + [prose(1000, 12_000)])
    assert corpus.report["read"]["documents"] == 101
    assert corpus.report["set_aside"] == corpus.report["dropped"] == {}
    assert not (tmp_path / "out.partial").exists()


def test_the_output_is_the_same_with_any_number_of_processes(folder, tmp_path):
    for processes in (1, 2, 3):
        prepare(
            [folder],
            tmp_path / str(processes),
            config(shard_tokens=10_000, tokenizer={"name": "bpe", "vocabulary_size": 300}),
            processes=processes,
        )
    assert len(contents(tmp_path / "1")) > 10
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")


KILLED = """
import os, signal, sys
from pathlib import Path
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.pool import Pool
from modelwright.data.corpus.prepare import prepare
stage, after = sys.argv[3], int(sys.argv[4])
calls = 0
def report(name, done, total):
    global calls
    calls += name == stage
    if name == stage and calls >= after:
        os.kill(os.getpid(), signal.SIGKILL)
prepare([Path(sys.argv[1])], Path(sys.argv[2]), CorpusConfig(**eval(sys.argv[5])), processes=int(sys.argv[6]), report=report)
"""


@pytest.mark.parametrize(
    ("stage", "after", "processes"), [("read", 3, 1), ("read", 2, 2), ("compare", 1, 1), ("encode", 2, 1), ("write", 2, 1)]
)
def test_a_killed_preparation_goes_on_and_gives_the_same_bytes(folder, tmp_path, stage, after, processes):
    whole = prepare([folder], tmp_path / "whole", config(), processes=1)
    done = run_python(KILLED, folder, tmp_path / "out", stage, after, repr(SMALL), processes)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out").exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "out.partial").rglob("*.npy") if not path.parent.name.startswith(".")}
    with pytest.raises(InputError, match="interrupted preparation"):
        prepare([folder], tmp_path / "out", config())
    seen = []

    def report(name, done, total):
        if not seen:
            seen.extend(path for path, changed in finished.items() if path.stat().st_mtime_ns != changed)
            seen.append(name)

    resumed = prepare([folder], tmp_path / "out", config(), processes=2, resume=True, report=report)
    assert seen == ["read"], "a finished part was made again"
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert resumed.digest == whole.digest


def test_processes_end_when_the_one_that_started_them_is_killed():
    script = """
        import os, signal
        from modelwright.data.corpus import pool
        print(*(pool.start().pid for _ in range(2)), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    numbers = [int(text) for text in run_python(textwrap.dedent(script)).stdout.split()]
    assert len(numbers) == 2
    until = time.monotonic() + 60
    while any(b"serve" in commands(number) for number in numbers):
        assert time.monotonic() < until
        time.sleep(0.05)


def die(task, progress):
    """Work that ends its process, as a lack of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(task, progress):
    raise ValueError(f"no {task}")


def refuse(task, progress):
    raise InputError("no such thing", where="a file", remedy="Give another")


def test_failures_of_processes_arrive():
    for work, error, said in (
        (die, ModelwrightError, "--resume"),
        (fail, RuntimeError, "ValueError.*no 0"),
        (refuse, InputError, "a file: no such thing. Give another"),
    ):
        with Pool(2) as pool, pytest.raises(error, match=said):
            list(pool.map(work, list(range(5)), lambda number: None))


def report_much(task, progress):
    for _ in range(3):
        progress(1)
    return task


class Unreadable:
    """Something that can be sent and not be received."""

    def __reduce__(self):
        return int, ("no number",)


def answer_nonsense(task, progress):
    return Unreadable()


FAILING = """
import pickle
import pytest
from modelwright.core.errors import ModelwrightError
from test_data_corpus_prepare import Pool, answer_nonsense, report_much

def no_bar(number):
    raise LookupError("no bar")

with Pool(2) as pool, pytest.raises(LookupError, match="no bar"):
    list(pool.map(report_much, list(range(6)), no_bar))
with Pool(2) as pool, pytest.raises(ModelwrightError, match="ended before its time"):
    list(pool.map(answer_nonsense, list(range(6)), print))
with Pool(2) as pool, pytest.raises((AttributeError, TypeError, pickle.PicklingError), match="pickle"):
    list(pool.map(report_much, [lambda: 0] * 6, print))
"""


@pytest.mark.timeout(60)
def test_a_failure_on_this_side_leaves_no_thread_waiting():
    done = run_python(FAILING)
    assert done.returncode == 0, done.stderr


def test_processes_import_nothing_from_the_folder_they_are_in(tmp_path):
    (tmp_path / "queue.py").write_text("open('executed', 'w')")
    script = """
        import os, sys
        from modelwright.data.corpus import pool
        os.chdir(sys.argv[1])
        sys.path.insert(0, "")
        process = pool.start()
        process.communicate(b"")
        sys.exit(process.returncode)
    """
    done = run_python(textwrap.dedent(script), tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["queue.py"]


def test_one_process_that_prepares_twice_into_one_place_forgets_the_first(tmp_path):
    text = tmp_path / "a.txt"
    settings = config(tokenizer={"name": "characters"}, validation=0.1, test=0.1, filters="none")
    for content in ("abc\n" * 500, "xyzuv\n" * 500):
        text.write_text(content)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        corpus = prepare([text], tmp_path / "out", settings, processes=1)
        assert "".join(everything(corpus)) == content
        # Of 13 words there is one sequence or another in both splits.
        assert corpus.report["leaks"]["splits"]["test"]["found"] == corpus.report["leaks"]["splits"]["test"]["sequences"] > 0


def test_what_a_preparation_makes_is_no_input_of_another(folder, tmp_path):
    first = prepare([folder], folder / "corpora" / "one", config(), processes=1)

    def report(stage, done, total):
        if stage == "encode":
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        prepare([folder], folder / "two", config(), processes=1, report=report)
    second = prepare([folder], folder / "two", config(), processes=1, resume=True)
    assert second.digest == first.digest
    assert second.report["files"] == first.report["files"]
    assert prepare([folder], folder / "two", config(), resume=True).digest == second.digest


def test_many_short_documents_take_several_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MOST_RECORDS", 64)
    texts = [f"text {number}" for number in range(300)]
    seen = []

    def count(stage, done, total):
        seen.append(len(list((tmp_path / "out.partial" / "read").rglob("*.text"))))

    path = write_lines(tmp_path / "rows.jsonl", texts)
    corpus = prepare([path], tmp_path / "out", config(part_bytes=10**6, near_duplicates=0), processes=1, report=count)
    assert max(seen) == 5
    assert sorted(everything(corpus)) == sorted(texts)


def test_what_is_set_aside_is_counted_where_it_is_not_listed(tmp_path, monkeypatch):
    assert parts.MOST_ASIDE <= 1000
    monkeypatch.setattr(parts, "MOST_ASIDE", 10)
    path = tmp_path / "rows.jsonl"
    path.write_text('{"body": 1}\n' * 40)
    with pytest.raises(InputError, match=r"no document; rows.jsonl line 1: has no column 'text', only body \(and 39 more\)"):
        prepare([path], tmp_path / "out", config(part_bytes=10**6), processes=1)
    path.write_text('{"body": 1}\n' * 40 + json.dumps({"text": prose(1)}))
    corpus = prepare([path], tmp_path / "out", config(part_bytes=10**6), processes=1)
    assert corpus.report["set_aside"] == {"no text": 40}
    assert len((corpus.path / "dropped.jsonl").read_text().splitlines()) == 10


def commands(number):
    """The command line of a process, empty if it is gone."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return b""


def test_an_interrupt_says_how_to_go_on(folder, tmp_path):
    def report(stage, done, total):
        if stage == "encode":
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="--resume"):
        prepare([folder], tmp_path / "out", config(), processes=1, report=report)
    prepare([folder], tmp_path / "out", config(), processes=1, resume=True)


def test_a_resumed_preparation_must_be_the_same(folder, tmp_path):
    def report(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(RunInterrupted):
        prepare([folder], tmp_path / "out", config(), processes=1, report=report)
    with pytest.raises(InputError, match=r"other settings \(seed\)"):
        prepare([folder], tmp_path / "out", config(seed=3), resume=True)
    (folder / "new.txt").write_text("something new")
    with pytest.raises(InputError, match="other inputs"):
        prepare([folder], tmp_path / "out", config(), resume=True)
    (folder / "new.txt").unlink()
    (tmp_path / "out.partial" / "state.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        prepare([folder], tmp_path / "out", config(), resume=True)


def test_a_finished_corpus_is_opened_by_resume_and_never_overwritten(folder, tmp_path):
    made = prepare([folder], tmp_path / "out", config())
    assert prepare([folder], tmp_path / "out", config(), resume=True).digest == made.digest
    with pytest.raises(InputError, match="other settings"):
        prepare([folder], tmp_path / "out", config(seed=5), resume=True)
    with pytest.raises(InputError, match="finished corpus of other inputs"):
        prepare([folder / "rows.jsonl"], tmp_path / "out", config(), resume=True)
    with pytest.raises(InputError, match="exists already"):
        prepare([folder], tmp_path / "out", config())


def test_foreign_folders_are_refused(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    for resume in (False, True):
        with pytest.raises(InputError, match="exists already"):
            prepare([folder], tmp_path / "out", config(), resume=resume)
    assert contents(tmp_path / "out") == {"thesis.txt": b"dear"}
    (tmp_path / "other.partial").mkdir()
    (tmp_path / "other.partial" / "thesis.txt").write_text("dear")
    with pytest.raises(InputError, match="no work folder"):
        prepare([folder], tmp_path / "other", config(), resume=True)


def test_two_preparations_of_one_corpus_are_refused(folder, tmp_path):
    def report(stage, done, total):
        with pytest.raises(InputError, match="another process"):
            prepare([folder], tmp_path / "out", config(), resume=True)

    prepare([folder], tmp_path / "out", config(), processes=1, report=report)


@pytest.mark.parametrize("content", [None, b"", b"  \n \n", b"\x00\x01\x02" * 100])
def test_an_empty_corpus_is_an_error_and_leaves_nothing(tmp_path, content):
    source = tmp_path / "in"
    source.mkdir()
    if content is not None:
        (source / "a.txt").write_bytes(content)
    with pytest.raises(InputError):
        prepare([source], tmp_path / "out", config())
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_missing_inputs_name_the_nearest(folder, tmp_path):
    with pytest.raises(InputError, match=r"Did you mean .*texts"):
        prepare([tmp_path / "text"], tmp_path / "out", config())


def test_a_document_longer_than_a_shard_goes_on_in_the_next(tmp_path):
    text = prose(5, 3_000)
    (tmp_path / "one.txt").write_text(text)
    corpus = prepare([tmp_path / "one.txt"], tmp_path / "out", config(shard_tokens=5_000, validation=0, test=0))
    assert len(list((tmp_path / "out").glob("train-*.bin"))) > 3
    assert documents(corpus) == [text]
    assert list(corpus.splits) == ["train"]


def test_pieces_of_a_document_give_the_tokens_of_the_whole(tmp_path):
    text = "\n\n".join(prose(seed, 40) + "  \n\t tail é" for seed in range(100))
    (tmp_path / "one.txt").write_text(text)
    settings = {"validation": 0, "test": 0, "tokenizer": {"name": "bpe", "vocabulary_size": 400}}
    whole = prepare([tmp_path / "one.txt"], tmp_path / "whole", config(**settings, piece_bytes=10**6, part_bytes=10**7))
    cut = prepare([tmp_path / "one.txt"], tmp_path / "cut", config(**settings, piece_bytes=300, part_bytes=2_000), processes=2)
    assert len(text) > 20_000
    assert whole.splits["train"].digest == cut.splits["train"].digest


CAPPED = """
import resource, sys
from pathlib import Path
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.pool import Pool
from modelwright.data.corpus.prepare import prepare
# Libraries first: the limit is on what the work itself takes.
import numpy, tokenizers, rensa
from modelwright.data.tokenizer import Tokenizer
Tokenizer.from_json(CorpusConfig(tokenizer={"name": "bytes"}).tokenizer.train([]).to_json())
def used():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
limit = used() + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    Path(sys.argv[1]).read_bytes()
except MemoryError:
    pass
else:
    sys.exit("the cap doesn't hold")
config = CorpusConfig(tokenizer={"name": "bytes"}, largest_split=100_000, part_bytes=1 << 20, piece_bytes=1 << 16)
corpus = prepare([Path(sys.argv[1])], Path(sys.argv[2]), config, processes=1)
print(sum(store.bytes for store in corpus.splits.values()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits on memory are those of Linux")
@pytest.mark.parametrize("kind", ["txt", "txt.gz", "jsonl"])
def test_an_input_larger_than_memory(tmp_path, kind):
    cap = 32 << 20
    lines = [prose(seed, 12) for seed in range(5_000)]
    random = np.random.default_rng(0)
    source = tmp_path / f"large.{kind}"
    size = 0
    packed = gzip.GzipFile(source, "wb", compresslevel=1) if kind == "txt.gz" else source.open("wb")
    with packed as file:
        while size < 1.1 * cap:
            text = "\n".join(lines[place] for place in random.integers(0, len(lines), 500))
            file.write((json.dumps({"text": text}) + "\n" if kind == "jsonl" else text + "\n").encode())
            size += len(text)
    # What is packed would fit into memory; what it holds would not.
    code = CAPPED.replace(
        "Path(sys.argv[1]).read_bytes()",
        "import gzip; gzip.open(sys.argv[1]).read()" if kind == "txt.gz" else "Path(sys.argv[1]).read_bytes()",
    )
    done = run_python(code, source, tmp_path / "out", cap)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) >= size
