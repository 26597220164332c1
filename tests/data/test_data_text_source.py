"""Text as data: files, folders, corpora, mixtures and the standard library, up to the windows that are learnt from."""

import gzip
import json
import os
from pathlib import Path

import pytest
import torch

from modelwright.core.batch import IGNORED
from modelwright.core.errors import InputError
from modelwright.data import text as text_module
from modelwright.data.config import DataConfig
from modelwright.data.corpus.corpus import Corpus
from modelwright.data.dataset import load
from modelwright.data.loader import Loader
from modelwright.data.prediction import read_examples, read_stream
from modelwright.data.source import find_source
from modelwright.data.sources.stdlib import StandardLibrary
from modelwright.data.text import cache_folder, preparation_notes, read_text
from modelwright.data.token_split import TokenSplit
from modelwright.data.tokenizer import Tokenizer, tokenizers

pytest.importorskip("tokenizers")
DATA = os.environ.get("MODELWRIGHT_DATA")
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "as",
    "was",
    "with",
    "be",
    "by",
    "on",
    "not",
    "he",
    "his",
    "but",
    "at",
    "are",
    "this",
    "have",
    "from",
    "or",
    "had",
    "an",
    "they",
    "which",
    "one",
    "you",
    "were",
]


def prose(seed, lines=40):
    """Lines of chance words, no two texts alike."""
    random = torch.Generator().manual_seed(seed)
    picks = torch.randint(0, len(WORDS), (lines, 9), generator=random).tolist()
    return "".join(" ".join(WORDS[pick] for pick in row).capitalize() + ".\n" for row in picks)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELWRIGHT_CACHE", str(tmp_path / "cache"))


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return str(path)


def all_text(split, tokenizer):
    """The text of a split, from its evaluation."""
    first = next(iter(split.batches(1))).inputs["tokens"][0, 0]
    tokens = torch.cat([batch.target[batch.target != IGNORED] for batch in split.batches(64)])
    return tokenizer.decode([int(first), *tokens.tolist()])


def test_a_single_file_is_split_by_position(tmp_path):
    content = prose(0, 200)
    dataset = load(DataConfig(path=written(tmp_path / "play.txt", content), context=32), 0)
    assert list(dataset.splits) == ["train", "validation", "test"]
    assert all(isinstance(split, TokenSplit) for split in dataset.splits.values())
    tokenizer = Tokenizer.from_json(dataset.schema.text.tokenizer)
    assert tokenizer.kind == "characters"
    assert dataset.schema.text.vocabulary == len(set(content)) + 1 == tokenizer.size
    assert dataset.schema.causal
    texts = [all_text(split, tokenizer) for split in dataset.splits.values()]
    assert "".join(texts) == content
    for part, share in zip(texts, (0.8, 0.1, 0.1), strict=True):
        assert len(part) == pytest.approx(share * len(content), rel=0.05)
    assert dataset.report.splits == {name: split.tokens for name, split in dataset.splits.items()}
    assert sum(split.bytes for split in dataset.splits.values()) == len(content)
    assert any("characters" in note for note in dataset.report.notes)
    assert dataset.report.given == ()


@pytest.mark.parametrize(
    ("documents", "says"), [(1, "1 document of 3,000 bytes was read, and split as given"), (2, "2 documents of 3,000 bytes were read")]
)
def test_notes_count_documents(documents, says):
    assert preparation_notes({"read": {"documents": documents, "bytes": 3000}})[0].startswith(says)


def test_shares_of_zero_make_no_split(tmp_path):
    dataset = load(DataConfig(path=written(tmp_path / "a.txt", prose(0)), context=8, validation=0.0, test=0.0), 0)
    assert list(dataset.splits) == ["train"]


def test_named_files_are_the_splits(tmp_path):
    texts = {"train": prose(0, 400), "valid": prose(1, 20), "test": prose(2, 20)}
    for name, content in texts.items():
        written(tmp_path / "set" / f"{name}.txt.gz", content)
    written(tmp_path / "set" / "SOURCE.txt", "where it is from")
    dataset = load(DataConfig(path=str(tmp_path / "set"), context=16, tokenizer={"name": "words"}), 0)
    tokenizer = Tokenizer.from_json(dataset.schema.text.tokenizer)
    assert dataset.report.given == ("train", "validation", "test")
    for split, name in zip(dataset.splits.values(), texts, strict=True):
        assert all_text(split, tokenizer).split() == texts[name].split()


def test_documents_are_kept_whole(tmp_path):
    for number in range(30):
        written(tmp_path / "docs" / f"{number}.md", prose(number, 10))
    dataset = load(DataConfig(path=str(tmp_path / "docs"), context=16, tokenizer={"name": "bytes"}, packing="separate"), 0)
    documents = [
        text
        for split in dataset.splits.values()
        for text in [prose(n, 10) for n in range(30)]
        if text in all_text(split, Tokenizer.from_json(dataset.schema.text.tokenizer))
    ]
    assert len(documents) == 30
    assert sum(split.documents for split in dataset.splits.values()) == 30
    assert dataset.train.documents >= 20
    batch = Loader(dataset.train, 4, 0).batch(0)
    assert set(batch.inputs) == {"tokens", "documents"}


def test_what_was_prepared_is_used_again(tmp_path, monkeypatch):
    path = Path(written(tmp_path / "a.txt", prose(0)))
    config = DataConfig(path=str(path), context=8)
    first = load(config, 0)
    folders = list((tmp_path / "cache" / "corpora").iterdir())
    assert len(folders) == 1
    stamp = (folders[0] / "corpus.json").stat().st_mtime_ns
    assert load(config, 0).digest() == first.digest()
    assert (folders[0] / "corpus.json").stat().st_mtime_ns == stamp
    # Damaged, it is made anew; other settings or another text make another one.
    (folders[0] / "train-00000.bin").write_bytes(b"")
    assert load(config, 0).digest() == first.digest()
    assert load(config.replace(tokenizer={"name": "bytes"}), 0).digest() != first.digest()
    path.write_text(prose(1))
    assert load(config, 0).digest() != first.digest()
    assert load(config.replace(context=9), 0).digest() != load(config, 0).digest()
    assert len(list((tmp_path / "cache" / "corpora").iterdir())) == 3


def test_a_failed_preparation_leaves_nothing(tmp_path):
    path = written(tmp_path / "a.txt", "\0\1\2" * 100)
    with pytest.raises(InputError, match="binary"):
        load(DataConfig(path=path, source="text"), 0)
    assert list((tmp_path / "cache" / "corpora").iterdir()) == []
    monkey = written(tmp_path / "empty.txt", "")
    with pytest.raises(InputError, match="empty"):
        load(DataConfig(path=monkey, source="text"), 0)


def test_a_context_longer_than_the_text(tmp_path):
    path = written(tmp_path / "a.txt", prose(0, 20))
    with pytest.raises(
        InputError, match=r"context of 5,000 is longer than the training split of [\d,]+ tokens.*Set data.context to at most \d+"
    ):
        load(DataConfig(path=path, context=5000), 0)
    dataset = load(DataConfig(path=path, context=200), 0)
    assert dataset.train.gather(torch.tensor([0])).inputs["tokens"].shape == (1, 200)
    # A short validation split is one shorter window, and wholly scored.
    validation = dataset.splits["validation"]
    assert validation.tokens <= 200
    batches = list(validation.batches(8))
    assert sum(int((batch.target != IGNORED).sum()) for batch in batches) == validation.tokens - 1


def corpus_at(path, seed, tokenizer="bytes"):
    source = written(path.parent / f"{path.name}.txt", prose(seed, 60))
    made = load(DataConfig(path=source, context=8, tokenizer={"name": tokenizer}), 0)
    folder = max(cache_folder().joinpath("corpora").iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
    folder.rename(path)
    return made


def test_a_corpus_folder(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    assert find_source(str(tmp_path / "c"))[0] == "corpus"
    dataset = load(DataConfig(path=str(tmp_path / "c"), context=8), 0)
    assert dataset.digest() == made.digest()
    assert not cache_folder().joinpath("corpora").exists() or not list(cache_folder().joinpath("corpora").iterdir())


def test_a_mixture(tmp_path):
    corpus_at(tmp_path / "a", 0)
    corpus_at(tmp_path / "b", 1)
    (tmp_path / "both.yaml").write_text("corpora:\n  a: 3\n  b: 1\n")
    dataset = load(DataConfig(path=str(tmp_path / "both.yaml"), context=8), 0)
    first, second = (Corpus.open(tmp_path / name) for name in "ab")
    assert dataset.splits["validation"].tokens == first.splits["validation"].tokens + second.splits["validation"].tokens
    assert dataset.train._counts.tolist() == pytest.approx([0.75 * len(dataset.train), 0.25 * len(dataset.train)], abs=1)
    assert any("75.0%" in note for note in dataset.report.notes)
    for content, message in (
        ("corpora: {a: -1}", "the weight of a is -1"),
        ("corpora: {}", "at least 1 item"),
        ("corpora: {a: 1}\nweights: 2", "unknown key"),
        ("corpora: {a: 1, c: 1}", "is no corpus"),
    ):
        (tmp_path / "wrong.yaml").write_text(content)
        with pytest.raises(InputError, match=message):
            load(DataConfig(path=str(tmp_path / "wrong.yaml"), context=8), 0)
    corpus_at(tmp_path / "c", 2, "characters")
    (tmp_path / "wrong.yaml").write_text("corpora: {a: 1, c: 1}")
    with pytest.raises(InputError, match=r"prepared with another tokenizer than .*a\..*tokenizer.json"):
        load(DataConfig(path=str(tmp_path / "wrong.yaml"), context=8), 0)


def test_the_standard_library(monkeypatch):
    files = StandardLibrary().files("stdlib")
    names = {path.name for path in files}
    assert {"argparse.py", "dataclasses.py"} <= names
    assert not [path for path in files if {"test", "tests", "site-packages"} & set(path.parts[-4:-1])]
    monkeypatch.setattr(
        StandardLibrary,
        "files",
        lambda self, argument: [path for path in files if path.name in ("argparse.py", "dataclasses.py", "statistics.py")],
    )
    dataset = load(DataConfig(path="stdlib", context=16), 0)
    assert dataset.report.source == "stdlib"
    assert dataset.report.examples == 3


def test_tables_and_texts_are_told_apart(tmp_path):
    rows = "\n".join(f"{n},{n * 2},{'ab'[n % 2]}" for n in range(30))
    assert find_source(written(tmp_path / "rows.txt", rows))[0] == "delimited"
    assert find_source(written(tmp_path / "numbers.txt", "\n".join(f"{n} {n * n} 3" for n in range(30))))[0] == "delimited"
    assert find_source(written(tmp_path / "prose.txt", prose(0)))[0] == "text"
    assert find_source(written(tmp_path / "prose.txt.gz", prose(0)))[0] == "text"
    assert find_source(written(tmp_path / "rows.jsonl", json.dumps({"text": "a"})))[0] == "text"
    assert find_source(written(tmp_path / "code.py", "x = 1, 2\n"))[0] == "text"


def test_an_evaluation_of_new_text(tmp_path):
    dataset = load(DataConfig(path=written(tmp_path / "a.txt", prose(0, 400)), context=16), 0)
    tokenizer = Tokenizer.from_json(dataset.schema.text.tokenizer)
    split, notes, name = read_text(written(tmp_path / "new.txt", prose(5, 9)), dataset.schema, DataConfig(path="x"), split="test")
    assert all_text(split, tokenizer) == prose(5, 9)
    assert (split.context, notes, name) == (16, [], "data")
    for name in ("train", "test"):
        written(tmp_path / "more" / f"{name}.txt", prose(len(name), 9))
    (tmp_path / "more" / "test").mkdir()
    (tmp_path / "more" / "test" / "x.txt").write_bytes(b"\0\0")
    split, notes, name = read_text(str(tmp_path / "more"), dataset.schema, DataConfig(path="x"), split="test")
    assert all_text(split, tokenizer) == prose(4, 9)
    assert (len(notes), name) == (1, "test")
    assert read_text(str(tmp_path / "more"), dataset.schema, DataConfig(path="x"))[2] == "all"
    with pytest.raises(InputError, match="has no split 'validation'; expected one of train, test, all"):
        read_text(str(tmp_path / "more"), dataset.schema, DataConfig(path="x"), split="validation")
    with pytest.raises(InputError, match=r"'§' has no token"):
        read_text(written(tmp_path / "odd.txt", "the §"), dataset.schema, DataConfig(path="x"))
    with pytest.raises(InputError, match="holds no text"):
        read_text("digits", dataset.schema, DataConfig(path="x"))


def test_an_evaluation_of_a_corpus(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    split, _, name = read_text(str(tmp_path / "c"), made.schema, DataConfig(path="x"), split="test")
    assert (split.tokens, name) == (made.splits["test"].tokens, "test")
    everything, _, _ = read_text(str(tmp_path / "c"), made.schema, DataConfig(path="x"))
    assert everything.tokens == sum(part.tokens for part in made.splits.values())
    corpus_at(tmp_path / "other", 1, "characters")
    with pytest.raises(InputError, match=r"other: was prepared with another tokenizer than the model's"):
        read_text(str(tmp_path / "other"), made.schema, DataConfig(path="x"))


def test_an_evaluation_takes_the_named_source_where_none_is_surer(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    named = DataConfig(path="x", source="text")
    rows = written(tmp_path / "rows.txt", "1,2,3\n4,5,6\n" * 20)
    with pytest.raises(InputError, match="holds no text"):
        read_text(rows, made.schema, DataConfig(path="x"))
    assert read_text(rows, made.schema, named)[0].bytes == 240
    assert read_text(written(tmp_path / "notes", prose(1, 3)), made.schema, named)[0].bytes == len(prose(1, 3))
    assert read_text(str(tmp_path / "c"), made.schema, named)[2] == "all"
    with pytest.raises(InputError, match="holds no text"):
        read_text(rows, made.schema, DataConfig(path="x", source="stdlib"))


def test_an_evaluation_says_why_there_is_no_text(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    path = written(tmp_path / "rows.jsonl", json.dumps({"body": "a"}))
    with pytest.raises(
        InputError, match=r"holds no text that can be read \(rows.jsonl line 1: has no column 'text', only body\); expected text in"
    ):
        read_text(path, made.schema, DataConfig(path="x"))


def test_the_cache_notices_another_tokenizer_or_pipeline_and_is_swept(tmp_path, monkeypatch):
    folder = tmp_path / "made"
    written(folder / "tokenizer.json", tokenizers["bytes"]().train([]).to_json())
    config = DataConfig(path=written(tmp_path / "a.txt", prose(0)), context=8, tokenizer={"name": "file", "path": str(folder)})
    assert load(config, 0).schema.text.vocabulary == 257
    (folder / "tokenizer.json").write_text(tokenizers["characters"]().train([prose(0)]).to_json())
    assert load(config, 0).schema.text.vocabulary < 257
    corpora = tmp_path / "cache" / "corpora"
    assert len(list(corpora.iterdir())) == 2
    for name in (".old-x", ".new-x"):
        written(corpora / name / "part" / "file", "half")
    for path in (corpora / ".old-x", *(corpora / ".old-x").rglob("*")):
        os.utime(path, (1, 1))
    monkeypatch.setattr(text_module, "PIPELINE", text_module.PIPELINE + 1)
    load(config, 0)
    assert len([path for path in corpora.iterdir() if not path.name.startswith(".")]) == 3
    assert [path.name for path in corpora.glob(".*")] == [".new-x"]


def test_a_language_model_predicts_no_tables(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    with pytest.raises(InputError, match="modelwright generate"):
        read_examples("digits", made.schema, DataConfig(path="x"))
    with (tmp_path / "c.txt").open() as stream, pytest.raises(InputError, match="modelwright generate"):
        read_stream(stream, made.schema, DataConfig(path="x"))


def test_a_table_that_looks_like_prose_is_predicted(tmp_path):
    table = "x,y\n" + "\n".join(f"{n},{n % 7}" for n in torch.randperm(60).tolist())
    dataset = load(DataConfig(path=written(tmp_path / "t.csv", table)), 0)
    examples = read_examples(written(tmp_path / "new.txt", "x\n3\n4\n"), dataset.schema, DataConfig(path="x"))
    assert examples.columns["x"].tolist() == [3.0, 4.0]


def test_the_cache_lies_where_it_should(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MODELWRIGHT_CACHE")
    monkeypatch.setattr(text_module.Path, "home", lambda: tmp_path)
    assert cache_folder() == tmp_path / ".cache" / "modelwright"


def test_raw_text_makes_the_stores_that_a_corpus_has(tmp_path):
    made = corpus_at(tmp_path / "c", 0)
    part = made.splits["test"]
    path = written(tmp_path / "same.txt", all_text(part, tokenizers["bytes"]().train([])))
    held, notes, name = read_text(path, made.schema, DataConfig(path="x"))
    assert (held.tokens, held.bytes, held.documents) == (part.tokens, part.bytes, 1)
    assert (held.stores[0].digest, notes, name) == (part.stores[0].digest, [], "data")


@pytest.mark.skipif(not DATA, reason="needs MODELWRIGHT_DATA")
def test_tinyshakespeare():
    dataset = load(DataConfig(path=str(Path(DATA) / "tinyshakespeare" / "input.txt"), validation=0.1, test=0.0), 0)
    assert dataset.schema.text.vocabulary == 65 + 1
    # A separator each, and 111,540 characters in the common 90/10 split.
    assert dataset.report.splits == {"train": 1_003_855, "validation": 111_541}
