"""Preparation: text files into a corpus folder, stage by stage, each of them resumable.

    read      inputs  -> parts: text normalized, judged by the filters, digested        (all processes)
    compare   records -> segments: what stays, and in which split                       (one process, arrays)
    learn     a sample of the training segments -> tokenizer                            (the tokenizer library)
    encode    parts, segments, tokenizer -> tokens, and sequences that leak              (all processes)
    write     tokens -> shards, report, samples                                         (one process, copying)

How the inputs are cut into tasks depends on the inputs alone, and results are taken in the order of the tasks: the corpus is the same with any
number of processes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from modelwright.core.disk import disk_errors, write_atomic, written_aside
from modelwright.core.errors import InputError, RunInterrupted
from modelwright.data.corpus import leaks, tokenization, vocabulary
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.corpus import Corpus, is_corpus, write_description
from modelwright.data.corpus.inputs import SPLIT_NAMES, InputFile, SetAside, available_processors, common_size, examine, find_files, plan
from modelwright.data.corpus.parts import PartTask, aside_of, load, make_parts, parts_in
from modelwright.data.corpus.pool import Pool
from modelwright.data.corpus.reading import check_readers
from modelwright.data.corpus.selection import EmptyCorpusError, assign, judge, read_records
from modelwright.data.corpus.shards import ShardWriter
from modelwright.data.corpus.state import begin, describe, digest_of_inputs, locked, sweep, work_folder
from modelwright.data.corpus.summary import Summary, summarize
from modelwright.data.corpus.tokenization import BATCH_BYTES, EncodeTask, batches, by_part, encode_part
from modelwright.data.tokenizer import Tokenizer

ReportProgress = Callable[[str, int, int], None]
"""Is told the stage (`read`, `compare`, `learn`, `encode`, `write`) and how much of how much of it is done."""
BYTES_WORTH_A_PROCESS = 1 << 24
"""Starting a process costs as much as the work on some megabytes."""


def prepare(
    inputs: Sequence[Path],
    output: Path,
    config: CorpusConfig,
    *,
    processes: int | None = None,
    report: ReportProgress | None = None,
    resume: bool = False,
) -> Corpus:
    """Make a corpus of text.

    Args:
        inputs: files, folders or globs, of plain text, JSON lines and Parquet, each also packed by gzip or zstd.
        output: the corpus folder to make; the work is done in `<output>.partial` beside it.
        config: how.
        processes: how many; None: one for each processor, as far as the text is worth it.
        report: is told of the progress.
        resume: go on where an interrupted preparation of the same inputs and settings stopped; without one, begin.

    Raises:
        InputError: nothing to read, nothing left, something in the way, or a full disk.
        RunInterrupted: Ctrl-C; what is done is kept for `resume`.
    """
    if processes is not None and processes < 1:
        raise InputError(f"{processes} processes do no work", expected="at least 1")
    output = Path(output)
    paths, hidden = find_files([Path(path) for path in inputs], (output, work_folder(output)))
    files, aside = examine(paths, config)
    state = describe(files, config)
    if resume and is_corpus(output):
        return _finished(output, state)
    check_readers(files)
    work = begin(output, state, resume=resume)
    number = processes or min(available_processors(), 1 + common_size(files) // BYTES_WORTH_A_PROCESS)
    job = Job(work, output, files, aside, hidden, config, digest_of_inputs(state), report or (lambda stage, done, total: None))
    try:
        with locked(work) as lock, Pool(number, lock) as pool, disk_errors(work):
            return job.run(pool)
    except KeyboardInterrupt:
        raise RunInterrupted(f"Interrupted. What is done lies in {work}; go on by the same command with --resume.") from None
    except EmptyCorpusError:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _finished(output: Path, state: dict[str, Any]) -> Corpus:
    """A corpus that is there already, if it was prepared of the same inputs in the same way.

    Raises:
        InputError: it was prepared in another way or of other inputs, or is damaged.
    """
    corpus = Corpus.open(output)
    if corpus.config != state["config"]:
        raise InputError("is a finished corpus with other settings", where=output, remedy="Choose another place with --output")
    if corpus.inputs != digest_of_inputs(state):
        raise InputError(
            "is a finished corpus of other inputs, or they have changed", where=output, remedy="Choose another place with --output"
        )
    shutil.rmtree(work_folder(output), ignore_errors=True)
    return corpus


@dataclass
class Job:
    """One preparation, in its work folder."""

    work: Path
    output: Path
    files: list[InputFile]
    aside: list[SetAside]
    hidden: int
    config: CorpusConfig
    inputs: str
    report: ReportProgress

    def run(self, pool: Pool) -> Corpus:
        """Do what isn't done yet.

        Raises:
            InputError: nothing to read, or nothing left.
        """
        parts, folders = self._read(pool)
        segments, summary = self._compare(parts, folders)
        tokenizer, told = self._learn(parts, segments)
        encoded = self._encode(pool, parts, segments)
        summary.report["tokenizer"] = told
        self._write(segments, encoded, parts, tokenizer, summary)
        return Corpus.open(self.output)

    def _read(self, pool: Pool) -> tuple[list[Path], list[Path]]:
        """The parts of the inputs, and the folders of them."""
        tasks = plan(self.files, self.config.part_bytes)
        sweep(self.work / "read")
        folders = [self.work / "read" / f"{number:06d}" for number in range(len(tasks))]
        # Tokenizers of the caller's own may be unknown in other processes, and aren't needed there.
        config = self.config.replace(tokenizer=None)
        work = [
            PartTask(folder, spans, {span.file: self.files[span.file] for span in spans}, config)
            for folder, spans in zip(folders, tasks, strict=True)
        ]
        self._over(pool, make_parts, work, "read", common_size(self.files))
        return parts_in(folders), folders

    def _over(self, pool: Pool, function: Callable[..., None], tasks: Sequence[Any], stage: str, total: int) -> None:
        done = 0

        def progress(number: int) -> None:
            nonlocal done
            done += number
            self.report(stage, min(done, total), total)

        for _ in pool.map(function, tasks, progress):
            pass

    def _compare(self, parts: list[Path], folders: list[Path]) -> tuple[np.ndarray, Summary]:
        """The segments of all splits, and the beginning of the report."""
        chosen = self.work / "chosen"
        if not chosen.exists():
            records, bounds = read_records(parts)
            if not len(records):
                raise _nothing(self.files, self.aside, folders)
            documents = judge(records, bounds, parts, self.files, self.config, lambda done, total: self.report("compare", done, total))
            segments, how = assign(documents, records, bounds, parts, self.config)
            summary = summarize(documents, records, bounds, parts, self.files, self.config, folders, self.aside, self.hidden, how)
            with written_aside(chosen) as aside:
                aside.mkdir()
                np.save(aside / "segments.npy", segments)
                (aside / "summary.json").write_text(json.dumps(summary.to_json(), ensure_ascii=False), encoding="utf-8")
        summary = Summary(**json.loads((chosen / "summary.json").read_text(encoding="utf-8")))
        return load(chosen / "segments.npy"), summary

    def _learn(self, parts: list[Path], segments: np.ndarray) -> tuple[Tokenizer, dict[str, Any]]:
        """The tokenizer, and what to tell about it."""
        folder = self.work / "learned"
        if not folder.exists():
            tokenizer, told = vocabulary.train(segments, parts, self.config, lambda done, total: self.report("learn", done, total))
            with written_aside(folder) as aside:
                aside.mkdir()
                (aside / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
                (aside / "told.json").write_text(json.dumps(told), encoding="utf-8")
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
        return Tokenizer.from_json((folder / "tokenizer.json").read_text(encoding="utf-8")), told

    def _encode(self, pool: Pool, parts: list[Path], segments: np.ndarray) -> list[Path]:
        """The folders of tokens, one for each part."""
        index = self.work / "index"
        others = np.flatnonzero(segments["split"] != 0)
        leaks.write_index(index, self._texts(parts, segments, others), int(segments["length"][others].sum()), self.config.leak_words)
        sweep(self.work / "encode")
        tokenization.forget()
        bounds = np.searchsorted(segments["part"], np.arange(len(parts) + 1))
        most = min(BATCH_BYTES, self.config.piece_bytes)
        tasks = []
        for number, (part, start, stop) in enumerate(zip(parts, bounds.tolist(), bounds[1:].tolist(), strict=False)):
            folder, tokenizer = self.work / "encode" / f"{number:06d}", self.work / "learned" / "tokenizer.json"
            tasks.append(EncodeTask(folder, part, segments[start:stop], start, tokenizer, index, self.config.leak_words, most))
        self._over(pool, encode_part, tasks, "encode", int(segments["length"].sum()))
        return [task.folder for task in tasks]

    def _texts(self, parts: list[Path], segments: np.ndarray, numbers: np.ndarray) -> Iterator[tuple[list[int], list[bytes]]]:
        """The texts of the segments of some increasing `numbers`, a batch at a time."""
        for part, start, stop in by_part(segments["part"][numbers]):
            here = numbers[start:stop]
            for places, texts in batches(parts[part], segments[here], self.config.piece_bytes):
                yield here[places].tolist(), texts

    def _write(self, segments: np.ndarray, encoded: list[Path], parts: list[Path], tokenizer: Tokenizer, summary: Summary) -> None:
        """Write the corpus and put it into its place."""
        made = self.work / "corpus"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        entries = self._write_shards(made, segments, encoded, tokenizer)
        summary.tell_leaks(self.work / "index", segments, encoded, parts, self.files, self.config)
        rows = (json.dumps(row, ensure_ascii=False) for row in summary.samples)
        write_atomic(made / "dropped.jsonl", "".join(f"{row}\n" for row in rows).encode("utf-8", "backslashreplace"))
        write_description(made, tokenizer, entries, self.config.to_json(), summary.report, self.inputs)
        if self.output.exists():
            self.output.rmdir()
        made.rename(self.output)
        shutil.rmtree(self.work, ignore_errors=True)

    def _write_shards(self, folder: Path, segments: np.ndarray, encoded: list[Path], tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
        total = int(segments["length"].sum())
        writers = {
            split: ShardWriter(folder, SPLIT_NAMES[split], tokenizer.size, tokenizer.separator, shard_tokens=self.config.shard_tokens)
            for split in sorted(set(segments["split"].tolist()))
        }
        done = start = 0
        for part in encoded:
            counts = load(part / "counts.npy").tolist()
            tokens = np.fromfile(part / "tokens.bin", dtype=tokenizer.dtype)
            rows = segments[start : start + len(counts)]
            place = 0
            for count, split, size, begins in zip(
                counts, rows["split"].tolist(), rows["length"].tolist(), rows["begins"].tolist(), strict=True
            ):
                writer = writers[split]
                (writer.add if begins else writer.extend)(tokens[place : place + count], size)
                place += count
            start += len(counts)
            done += int(rows["length"].sum())
            self.report("write", done, total)
        return {SPLIT_NAMES[split]: writer.close() for split, writer in writers.items()}


def _nothing(files: Sequence[InputFile], aside: Sequence[SetAside], folders: Sequence[Path]) -> EmptyCorpusError:
    """The error for inputs that hold no document, with the first reason why."""
    found = list(aside_of(folders))
    first = next(chain(aside, *(listed for _, listed in found)), None)
    number = len(aside) + sum(sum(counts.values()) for counts, _ in found)
    why = f"; {first.origin}: {first.detail}" if first else ""
    more = f" (and {number - 1:,} more)" if number > 1 else ""
    return EmptyCorpusError(f"the inputs hold no document{why}{more}", expected="files of text", remedy="See data prepare --help")
