"""Corpora on disk: what is written is read, across shards, and damage is found."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.data.corpus.corpus import Corpus, is_corpus, write_description
from modelwright.data.corpus.shards import ShardWriter
from modelwright.data.corpus.store import TokenStore
from modelwright.data.tokenizer import tokenizers

pytest.importorskip("tokenizers")
BYTES = tokenizers["bytes"]().train([])


def write_corpus(folder, splits, tokenizer=BYTES, shard_tokens=100):
    """A corpus of documents by split."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for split, documents in splits.items():
        with ShardWriter(folder, split, tokenizer.size, tokenizer.separator, shard_tokens=shard_tokens) as writer:
            for document in documents:
                writer.add(tokenizer.encode(document), len(document.encode()))
            entries[split] = writer.close()
    write_description(folder, tokenizer, entries, {}, {}, "")
    return folder


def stream(documents, tokenizer=BYTES):
    return np.concatenate([part for text in documents for part in ([tokenizer.separator], tokenizer.encode(text))])


def store_of(documents):
    """A store in memory."""
    size = sum(len(text.encode()) for text in documents)
    return TokenStore([stream(documents)], BYTES.separator, BYTES.size, size=size, documents=len(documents))


DOCUMENTS = ["abc", "", "x" * 350, "é" * 49, "y" * 98, "z"]


def test_a_corpus_is_read_as_it_was_written(tmp_path):
    corpus = Corpus.open(write_corpus(tmp_path / "c", {"train": DOCUMENTS, "test": ["q"], "validation": []}))
    expected = stream(DOCUMENTS)
    train = corpus.splits["train"]
    assert list(corpus.splits) == ["train", "test"]
    assert (train.tokens, train.documents, train.bytes) == (len(expected), 6, sum(len(text.encode()) for text in DOCUMENTS))
    assert train.windows(np.array([0]), train.tokens)[0].tolist() == expected.tolist()
    assert corpus.tokenizer.digest == BYTES.digest
    assert is_corpus(tmp_path / "c")
    assert not is_corpus(tmp_path)
    shards = sorted((tmp_path / "c").glob("train-*.bin"))
    assert len(shards) == -(-len(expected) // 100)
    assert {shard.stat().st_size for shard in shards[:-1]} == {200}


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_windows_cross_shards(lengths, data):
    whole = np.random.default_rng(0).integers(0, 50, sum(lengths)).astype(np.uint16)
    store = TokenStore(np.split(whole, np.cumsum(lengths)[:-1]), 49, 50, size=0, documents=1)
    length = data.draw(st.integers(1, len(whole)))
    starts = data.draw(st.lists(st.integers(0, len(whole) - length), max_size=8))
    windows = store.windows(np.array(starts, dtype=np.int64), length)
    assert windows.dtype == np.int64
    assert windows.shape == (len(starts), length)
    for start, window in zip(starts, windows, strict=True):
        assert window.tolist() == whole[start : start + length].tolist()


def test_documents_are_told_apart():
    store = store_of(["ab", "", "c"])
    windows = store.windows(np.array([0, 1]), 5)
    assert windows.tolist() == [[256, 97, 98, 256, 256], [97, 98, 256, 256, 99]]
    assert store.document_ids(windows).tolist() == [[1, 1, 1, 2, 3], [0, 0, 1, 2, 2]]


def test_large_vocabularies_take_four_bytes(tmp_path):
    with ShardWriter(tmp_path, "train", 70_000, 69_999, shard_tokens=8) as writer:
        writer.add(np.array([66_000, 3, 69_998]), 9)
        writer.extend(np.arange(65_530, 65_540), 10)
        entry = writer.close()
    store = TokenStore.open(tmp_path, entry, 70_000, 69_999)
    assert store.windows(np.array([0]), 14)[0].tolist() == [69_999, 66_000, 3, 69_998, *range(65_530, 65_540)]
    assert (entry["documents"], entry["bytes"], len(entry["shards"])) == (1, 19, 2)
    assert (tmp_path / "train-00000.bin").stat().st_size == 32


def test_a_digest_is_of_the_tokens(tmp_path):
    one, two, other = (
        Corpus.open(write_corpus(tmp_path / name, {"train": texts})) for name, texts in (("a", ["x"]), ("b", ["x"]), ("c", ["y"]))
    )
    assert one.digest == two.digest != other.digest
    assert store_of(["x"]).digest != store_of(["y"]).digest


def test_damage_is_found(tmp_path):
    folder = write_corpus(tmp_path / "c", {"train": DOCUMENTS})
    shard = folder / "train-00001.bin"
    content = shard.read_bytes()
    shard.write_bytes(content[:-2])
    with pytest.raises(InputError, match=r"train-00001.bin: holds 198 bytes, not 200.*damaged"):
        Corpus.open(folder)
    shard.write_bytes(content[:50] + b"\0" + content[51:])
    with pytest.raises(InputError, match=r"train-00001.bin: the shard is damaged"):
        Corpus.open(folder)
    Corpus.open(folder, verify=False)
    shard.write_bytes(b"\xff" * len(content))
    with pytest.raises(InputError, match=r"holds the token 65,535 of 257: it is damaged"):
        Corpus.open(folder, verify=False).splits["train"].windows(np.array([0]), 300)
    shard.unlink()
    with pytest.raises(InputError, match="the shard can't be read"):
        Corpus.open(folder)


def test_wrong_corpora(tmp_path):
    with pytest.raises(InputError, match=r"is no corpus: it has no corpus.json.*data prepare"):
        Corpus.open(tmp_path)
    folder = write_corpus(tmp_path / "c", {"train": ["abc"]})
    description = json.loads((folder / "corpus.json").read_text())

    def altered(**changes):
        (folder / "corpus.json").write_text(json.dumps({**description, **changes}))
        return folder

    with pytest.raises(InputError, match=r"is of the format 2; expected 1"):
        Corpus.open(altered(format=2))
    with pytest.raises(InputError, match="the corpus is empty"):
        Corpus.open(altered(splits={}))
    with pytest.raises(InputError, match="not the tokenizer that the corpus was made with"):
        Corpus.open(altered(tokenizer="0"))
    with pytest.raises(InputError, match="is damaged"):
        Corpus.open(altered(splits={"train": {"tokens": 4}}))
    outside = {"file": "../c/train-00000.bin", "tokens": 4, "digest": ""}
    with pytest.raises(InputError, match="lies elsewhere"):
        Corpus.open(altered(splits={"train": {**description["splits"]["train"], "shards": [outside]}}))
    (folder / "corpus.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        Corpus.open(folder)
    (folder / "corpus.json").write_text("{}")
    with pytest.raises(InputError, match="is of the format None"):
        Corpus.open(folder)
    altered()
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="can't be read"):
        Corpus.open(folder)
