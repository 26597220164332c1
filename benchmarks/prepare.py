"""How fast is text made into a corpus: `data prepare` against the tokenizer library alone, on the same text and with as many processes.

    python benchmarks/prepare.py                   # 1 GB, three runs each
    python benchmarks/prepare.py --megabytes 50 --runs 1

The text is real text repeated and perturbed: tinyshakespeare and WikiText-2 (from MODELWRIGHT_DATA) and the sources of Python's standard library,
cut into documents, in each of which some words are replaced by others of the same text; some documents come twice. It is written as JSON lines and
as plain text, half of each. The library's side has the text and the trained tokenizer in hand: it reads the documents and encodes them with
`encode_batch`, in batches of 1 MB, and keeps nothing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from result import Column, Result

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
DOCUMENT_CHARACTERS = 4_000
REPLACED = 0.3
"""Share of the words of a copy that are replaced: enough that most copies are no near-duplicates of each other."""
TWICE = 0.05
"""Share of the documents that come twice."""
LIBRARY = """
import json, sys, time
from multiprocessing import get_context
from pathlib import Path
from tokenizers import Tokenizer
def batches(path, number, count):
    batch, size = [], 0
    with open(path, encoding="utf-8") as file:
        for place, line in enumerate(file):
            if place % count == number:
                batch.append(json.loads(line)["text"] if path.endswith("jsonl") else line)
                size += len(batch[-1])
                if size > 1 << 20:
                    yield batch
                    batch, size = [], 0
    yield batch
def work(arguments):
    paths, tokenizer, number, count = arguments
    backend, tokens = Tokenizer.from_file(tokenizer), 0
    for path in paths:
        for batch in batches(path, number, count):
            tokens += sum(len(one.ids) for one in backend.encode_batch(batch, add_special_tokens=False))
    return tokens
if __name__ == "__main__":
    *paths, tokenizer, count = sys.argv[1:]
    count = int(count)
    with get_context("spawn").Pool(count) as pool:
        began = time.perf_counter()
        tokens = sum(pool.map(work, [(paths, tokenizer, number, count) for number in range(count)]))
        print(json.dumps({"seconds": time.perf_counter() - began, "tokens": tokens}))
"""


def originals() -> list[str]:
    """The real documents."""
    texts = [(DATA / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")]
    texts.append(gzip.decompress((DATA / "wikitext-2" / "train.txt.gz").read_bytes()).decode())
    library = Path(os.__file__).parent
    skipped = {"site-packages", "test", "tests", "idle_test"}
    files = sorted(path for path in library.rglob("*.py") if not skipped & set(path.parts))
    texts.append("\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files))
    return [text[start : start + DOCUMENT_CHARACTERS] for text in texts for start in range(0, len(text), DOCUMENT_CHARACTERS)]


def documents(size: int) -> Iterator[str]:
    """Perturbed copies of the originals, `size` bytes of them or little more."""
    draw = random.Random(0)
    real = originals()
    written = 0
    while written < size:
        for original in real:
            words = original.split(" ")
            for _ in range(int(REPLACED * len(words))):
                words[draw.randrange(len(words))] = words[draw.randrange(len(words))]
            text = " ".join(words)
            for _ in range(2 if draw.random() < TWICE else 1):
                yield text
                written += len(text.encode())
            if written >= size:
                return


def write_texts(folder: Path, size: int) -> tuple[list[Path], int]:
    """The files, and the bytes of text in them."""
    paths = [folder / "half.jsonl", folder / "half.txt"]
    total = 0
    with paths[0].open("w", encoding="utf-8") as rows, paths[1].open("w", encoding="utf-8") as plain:
        for number, text in enumerate(documents(size)):
            total += len(text.encode())
            if number % 2:
                rows.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            else:
                plain.write(text + "\n<|next|>\n")
    return paths, total


class PeakMemory(threading.Thread):
    """Watches the resident memory of a process and of all that it started, ten times a second."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.process, self.peak, self.ended = process, 0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            self.peak = max(self.peak, sum(self._resident(number) for number in self._family()))

    def _family(self) -> list[int]:
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError):
                    continue
        family = [self.process]
        for number in family:
            family += [child for child, parent in parents.items() if parent == number]
        return family

    def _resident(self, number: int) -> int:
        try:
            # Memory shared by several processes (libraries, mapped files) counts for each of them its share.
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            return 0


def watched(command: list[str], environment: dict[str, str]) -> tuple[str, float, int]:
    """Standard output, wall seconds and peak memory of a command."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}) as process:
        memory = PeakMemory(process.pid)
        memory.start()
        assert process.stdout is not None
        output = process.stdout.read()
    memory.ended.set()
    if process.returncode:
        raise RuntimeError(f"{command} failed with {process.returncode}")
    return output, time.perf_counter() - began, memory.peak


def run_both(result: Result, paths: list[Path], size: int, processes: int, folder: Path) -> None:
    """One run of each contender."""
    output = folder / "corpus"
    command = [sys.executable, "-m", "modelwright.cli", "data", "prepare", *map(str, paths), "--output", str(output), "--tokenizer", "bpe"]
    command += ["--document-separator", "<|next|>", "--processes", str(processes), "--json", "--quiet"]
    told, seconds, peak = watched(command, {})
    answer: dict[str, Any] = json.loads(told)
    dropped = {name: row["documents"] for name, row in answer["report"]["dropped"].items()}
    print("modelwright", f"{size / 1e6 / seconds:.2f} MB/s, {peak / 1e9:.2f} GB", dropped, flush=True)
    shown = [part.replace(str(folder), "FOLDER") for part in command]
    result.add(
        "modelwright data prepare",
        {"megabytes_per_second": size / 1e6 / seconds, "seconds": seconds, "peak_gigabytes": peak / 1e9, **dropped},
        command=shown,
    )
    script = folder / "library.py"
    script.write_text(LIBRARY)
    command = [sys.executable, str(script), *map(str, paths), str(output / "tokenizer.json"), str(processes)]
    told, _, peak = watched(command, {"TOKENIZERS_PARALLELISM": "false"})
    seconds = json.loads(told)["seconds"]
    print("tokenizers", f"{size / 1e6 / seconds:.2f} MB/s, {peak / 1e9:.2f} GB", flush=True)
    result.add("tokenizers encode_batch", {"megabytes_per_second": size / 1e6 / seconds, "seconds": seconds, "peak_gigabytes": peak / 1e9})
    subprocess.run(["rm", "-r", str(output)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--write", action="store_true", help="write the page into results/")
    options = parser.parse_args()
    result = Result("prepare", f"How fast is {options.megabytes} MB of text made into a corpus, and with how much memory?")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths, size = write_texts(folder, options.megabytes * 1_000_000)
        print(f"{size / 1e6:.0f} MB written, peak of writing {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB", flush=True)
        for _ in range(options.runs):
            run_both(result, paths, size, options.processes, folder)
    if options.write:
        columns = [
            Column("MB/s", "megabytes_per_second", 2, less_is_better=False),
            Column("seconds", "seconds", 1),
            Column("peak memory of all processes, GB", "peak_gigabytes", 2),
        ]
        remarks = (
            f"{options.processes} processes on both sides. `data prepare` reads, normalizes, filters, finds exact and near duplicates, splits, trains a BPE "
            "tokenizer, encodes, looks for leaks and writes; the library only reads and encodes, with the tokenizer that was trained. Memory is the "
            "proportional set size of all processes together, sampled ten times a second."
        )
        print(result.write(columns, reference="tokenizers encode_batch", remarks=remarks))


if __name__ == "__main__":
    main()
