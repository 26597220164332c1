"""What stays of a corpus and where it goes: duplicates, filters, splits and leaks."""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.data.corpus.assignment import TEST, TRAIN, VALIDATION, by_content, by_place
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.duplicates import VALUES, band_keys, bands, exact_leaders, near_leaders, signatures_of
from modelwright.data.corpus.filters import DEFAULT, GOPHER, Document
from modelwright.data.corpus.prepare import prepare
from modelwright.data.corpus.shingles import sequences_of, words_of
from modelwright.data.corpus.vocabulary import evenly

WORDS = [f"{a}{b}" for a in ("time", "year", "people", "way", "day", "man", "thing", "child", "world", "school") for b in range(60)]


def prose(seed, words=200):
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def changed(text, number, seed=0):
    """The text with some words replaced."""
    words = text.split()
    for place in np.random.default_rng(seed).choice(len(words), number, replace=False):
        words[place] = f"new{place}"
    return " ".join(words)


def config(**settings):
    return CorpusConfig(**{"tokenizer": {"name": "bytes"}, "validation": 0, "test": 0, **settings})


def corpus_of(texts, folder, **settings):
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return prepare([folder / "rows.jsonl"], folder / "out", config(**settings), processes=1)


def documents(corpus, split="train"):
    store = corpus.splits[split]
    tokens = store.windows(np.array([0]), store.tokens)[0]
    places = np.flatnonzero(tokens == store.separator)
    return [corpus.tokenizer.decode(part[1:]) for part in np.split(tokens, places[1:])]


def dropped(corpus):
    return {name: row["documents"] for name, row in corpus.report["dropped"].items()}


def rows_of_dropped(corpus):
    return [json.loads(line) for line in (corpus.path / "dropped.jsonl").read_text().splitlines()]


# Shingles


def words_by_hand(text):
    return re.findall(rb"[0-9a-z\x80-\xff]+", text.lower())


@given(st.lists(st.text("ab CdÄ.\n", max_size=30), min_size=1, max_size=6), st.integers(1, 4))
def test_sequences_are_equal_exactly_where_words_are(texts, length):
    contents = [text.encode() for text in texts]
    hashes, bounds, _ = sequences_of(words_of(contents), length, short=False)
    by_hand = []
    for content in contents:
        words = words_by_hand(content)
        by_hand.append([tuple(words[start : start + length]) for start in range(len(words) - length + 1)])
    assert np.diff(bounds).tolist() == list(map(len, by_hand))
    known = {}
    for number, sequence in zip(hashes.tolist(), (one for many in by_hand for one in many), strict=True):
        assert known.setdefault(sequence, number) == number
    assert len(set(known.values())) == len(known)


def test_scripts_without_blanks_are_cut_at_characters():
    assert np.diff(words_of(["我喜欢读书".encode(), b"I like to read", "été".encode()]).bounds).tolist() == [5, 4, 1]


def test_a_word_has_the_same_hash_wherever_it_stands():
    words = words_of([b"one two", b"x" * 5000 + b" TWO.", b"!two"])
    assert words.hashes[1] == words.hashes[3] == words.hashes[4]
    assert words.hashes[0] != words.hashes[1]


# Duplicates


def test_signatures_estimate_the_similarity():
    text = prose(1, 2000)
    for number in (20, 100, 400):
        other = changed(text, number)
        sets = [{tuple(words[start : start + 5]) for start in range(len(words) - 4)} for words in (text.split(), other.split())]
        exact = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        signatures = signatures_of([text.encode(), other.encode()], 5)
        assert (signatures[0] == signatures[1]).mean() == pytest.approx(exact, abs=4 * 0.5 / VALUES**0.5)


def test_bands_find_what_is_at_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9, 1.0):
        number, length = bands(threshold)
        assert number * length <= VALUES
        assert 1 - (1 - threshold**length) ** number >= 0.99
    assert bands(0.9)[1] > bands(0.6)[1]


def test_near_leaders_are_the_earliest_of_their_clusters():
    texts = []
    for cluster in range(30):
        text = prose(cluster, 400)
        texts += [text, changed(text, 3, 1), prose(1000 + cluster, 400), changed(text, 3, 2)]
    signatures = signatures_of([text.encode() for text in texts], 5)
    keys = band_keys(signatures, 0.8)
    leaders = near_leaders(len(texts), lambda band: keys[band], lambda rows: signatures[rows], 0.8, lambda done, total: None)
    expected = [number if number % 4 in (0, 2) else number - number % 4 for number in range(len(texts))]
    assert leaders.tolist() == expected


@given(st.lists(st.integers(0, 5), max_size=40))
def test_exact_leaders_are_the_first(numbers):
    digests = np.array([[number, 7] for number in numbers], dtype=np.uint64).reshape(-1, 2)
    leaders = exact_leaders(digests, np.arange(len(numbers)))
    assert leaders.tolist() == [numbers.index(number) for number in numbers]


def test_planted_duplicates_are_counted_and_the_earliest_stays(tmp_path):
    texts = [prose(seed) for seed in range(40)]
    exact = [texts[3], texts[3] + "\r\n", texts[7]]
    near = [changed(texts[5], 2), changed(texts[9], 3), changed(texts[9], 2, 8)]
    corpus = corpus_of([*texts, texts[3] + "\n", *exact, *near], tmp_path)
    # The line end makes one that is equal to none but in its words.
    assert dropped(corpus) == {"exact duplicate": 3, "near-duplicate": 4}
    assert documents(corpus) == texts
    rows = rows_of_dropped(corpus)
    assert {"filter": "exact duplicate", "origin": "rows.jsonl line 44"}.items() <= rows[2].items()
    assert rows[2]["reason"].endswith(": rows.jsonl line 8")
    assert all(row["text"] for row in rows)


def test_duplicates_can_be_kept(tmp_path):
    texts = [prose(1), prose(1), changed(prose(1), 1)]
    assert len(documents(corpus_of(texts, tmp_path / "a", exact_duplicates=False, near_duplicates=0))) == 3
    assert len(documents(corpus_of(texts, tmp_path / "b", near_duplicates=0))) == 2


def test_a_long_document_is_a_duplicate_only_of_an_equal_one(tmp_path):
    long = "\n".join(prose(seed, 20) for seed in range(100))
    texts = [long, long, changed(long, 1), prose(5)]
    corpus = corpus_of(texts, tmp_path, piece_bytes=2000)
    assert dropped(corpus) == {"exact duplicate": 1}


# Filters


def verdict(filters, text):
    document = Document(text, text.encode())
    return next((rule.name for rule in filters if rule.drops(document)), None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("blank", " \n\t "),
        ("garbled", "\ufffd" * 30 + "abc"),
        ("symbols", "=-+ " * 300 + "few"),
        ("repetitive", "spam spam\n" * 100),
    ],
)
def test_default_filters_take_away_what_is_no_text(name, text):
    assert verdict(DEFAULT, text) == name


ENGLISH = (
    "The history of the town begins with a small harbor that was built on the northern shore. Traders from the islands came to "
    "exchange salt and wool, and they have left letters about storms, prices and the people whom they met there. A second wall "
    "was raised after the great fire, which destroyed most of the wooden houses; of those that remain, two stand near the bridge."
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("word count", "The cat sat with the dog."),
        ("mean word length", "the of " * 3 + " ".join(f"extraordinarily{word}" for word in WORDS[:100])),
        ("symbols per word", ENGLISH + " # " * 20),
        ("bullet points", "\n".join(f"- the point of {word} and its kin" for word in WORDS[:40])),
        (
            "ellipses",
            "\n".join(f"the {word} with much to {other}..." for word, other in zip(WORDS[:40], WORDS[40:80], strict=True)),
        ),
        ("ellipses", "\n".join(f"the {word} with much to {other}\u2026" for word, other in zip(WORDS[:40], WORDS[40:80], strict=True))),
        ("words without letters", ENGLISH + " " + " ".join(str(number * 7919) for number in range(100))),
        ("stop words", " ".join(WORDS[:100])),
        ("repeated lines", "\n".join([ENGLISH.replace(". ", ".\n")] * 2)),
        ("repeated paragraphs", "\n\n".join(f"{ENGLISH}" for _ in range(3))),
    ],
)
def test_gopher_rules(name, text):
    rules = {rule.name: rule for rule in GOPHER}
    assert rules[name].drops(Document(text, text.encode()))
    assert not rules[name].drops(Document(ENGLISH, ENGLISH.encode()))


def test_gopher_counts_sequences():
    rules = {rule.name: rule for rule in GOPHER}
    text = " ".join(f"once more {word}" for word in WORDS[:40])
    assert rules["frequent 2 words"].drops(Document(text, text.encode()))
    words = " ".join(WORDS[:60])
    assert rules["repeated 10 words"].drops(Document(f"{words} between {words}", b""))
    assert not rules["repeated 10 words"].drops(Document(f"{words} {' '.join(WORDS[60:120])}", b""))
    assert verdict(GOPHER, ENGLISH) is None


def test_source_code_passes_the_default_filters():
    files = sorted(Path(os.__file__).parent.glob("*.py")) + sorted((Path(os.__file__).parent / "encodings").glob("*.py"))
    assert len(files) > 200
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    assert [file.name for file, text in zip(files, texts, strict=True) if text.strip() and verdict(DEFAULT, text)] == []


def test_what_filters_drop_is_counted_and_shown(tmp_path):
    texts = [prose(1), "spam spam\n" * 100, "", "x" * 50, prose(2)]
    corpus = corpus_of(texts, tmp_path, minimum_characters=60, maximum_characters=100_000)
    assert dropped(corpus) == {"blank": 1, "repetitive": 1, "too short": 1}
    assert [row["origin"] for row in rows_of_dropped(corpus)] == ["rows.jsonl line 3", "rows.jsonl line 2", "rows.jsonl line 4"]
    with pytest.raises(InputError, match="all 5 documents were dropped"):
        corpus_of(texts, tmp_path / "none", maximum_characters=1, minimum_characters=0)


# Splits


def draws(number, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 2**63, (number, 2)).astype(np.uint64), random.integers(500, 1500, number)


def test_splits_by_content_have_their_sizes_and_stay_under_reordering():
    digests, sizes = draws(2000)
    sought = {TEST: 60_000, VALIDATION: 100_000}
    splits = by_content(digests, sizes, sought, 0)
    assert splits is not None
    for split, size in sought.items():
        assert sizes[splits == split].sum() == pytest.approx(size, rel=0.02)
    order = np.random.default_rng(1).permutation(2000)
    again = by_content(digests[order], sizes[order], sought, 0)
    assert np.array_equal(again, splits[order])
    other = by_content(digests, sizes, sought, 1)
    assert not np.array_equal(other, splits)


def test_splits_by_content_are_refused_where_documents_are_too_large():
    digests, sizes = draws(3)
    assert by_content(digests, sizes, {TEST: 50, VALIDATION: 50}, 0) is None
    assert by_content(digests[:1], sizes[:1], {TEST: 500}, 0) is None


def test_splits_by_place():
    assert by_place(100, {TEST: 5, VALIDATION: 10}) == [(TRAIN, 85), (VALIDATION, 95), (TEST, 100)]
    assert by_place(100, {VALIDATION: 10}) == [(TRAIN, 90), (VALIDATION, 100)]


@pytest.mark.parametrize("piece", [16, 100, 10**6])
def test_a_single_document_is_split_by_position(tmp_path, piece):
    text = "".join(f"é line {number}\n" for number in range(900))
    (tmp_path / "one.txt").write_text(text)
    corpus = prepare([tmp_path / "one.txt"], tmp_path / "out", config(validation=0.1, test=0.05, piece_bytes=piece), processes=1)
    parts = [documents(corpus, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert "".join(part[0] for part in parts) == text
    size = len(text.encode())
    assert [len(part[0].encode()) for part in parts] == pytest.approx([0.85 * size, 0.1 * size, 0.05 * size], abs=3)
    assert corpus.report["split"] == "by position"


def test_many_documents_are_split_by_document_and_none_is_in_two(tmp_path):
    texts = [prose(seed) for seed in range(100)]
    corpus = corpus_of(texts, tmp_path, validation=0.1, test=0.1)
    parts = {split: documents(corpus, split) for split in corpus.splits}
    assert sorted(text for part in parts.values() for text in part) == sorted(texts)
    assert [len(part) for part in parts.values()] == pytest.approx([80, 10, 10], abs=2)
    assert corpus.report["split"] == "by document"


def test_drawn_splits_are_no_larger_than_wanted(tmp_path):
    corpus = corpus_of([prose(seed, 50) for seed in range(100)], tmp_path, validation=0.4, test=0.4, largest_split=3_000)
    assert corpus.splits["test"].bytes == pytest.approx(3_000, rel=0.2)


def test_given_splits_are_kept_and_repeats_of_them_leave_the_training_split(tmp_path):
    source = tmp_path / "data"
    source.mkdir()
    texts = [prose(seed) for seed in range(30)]
    split = {
        "train": [*texts[:10], texts[20], changed(texts[25], 2)],
        "valid": [*texts[20:25], "", texts[20]],
        "test": [*texts[25:30], texts[20]],
    }
    for name, some in split.items():
        rows = "".join(json.dumps({"text": text}) + "\n" for text in some)
        (source / f"wiki.{name}.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (source / "README.md").write_text("about the data")
    corpus = prepare([source], tmp_path / "out", config(validation=0.5, test=0.5 - 1e-9), processes=1)
    assert documents(corpus) == texts[:10]
    assert documents(corpus, "validation") == split["valid"]
    assert documents(corpus, "test") == split["test"]
    assert dropped(corpus) == {"exact duplicate": 1, "near-duplicate": 1}
    assert corpus.report["set_aside"] == {"no split": 1}
    assert corpus.report["split"] == "as given"


def test_text_too_short_to_be_split_is_an_error(tmp_path):
    with pytest.raises(InputError, match="too few to be split"):
        corpus_of(["ab"], tmp_path, validation=0.4, test=0.4)


@pytest.mark.parametrize("text", ["你好世界吗", "é", "ab", "我" * 7])
def test_tiny_texts_are_split_or_refused(tmp_path, text):
    for share in (0.05, 0.2):
        said = ""
        try:
            corpus = corpus_of([text], tmp_path / str(share), validation=share, test=share)
        except InputError as error:
            said = str(error)
        else:
            assert "".join(documents(corpus, split)[0] for split in ("train", "validation", "test")) == text
        assert not said or "too few to be split" in said


def test_what_is_not_split_is_not_called_given(tmp_path):
    corpus = corpus_of([prose(1), prose(2)], tmp_path)
    assert list(corpus.splits) == ["train"]
    assert corpus.report["split"] == "not at all"


@pytest.mark.parametrize("form", ["folders", "files"])
def test_folders_and_files_that_are_named_one_by_one_are_splits(tmp_path, form):
    texts = {"train": [prose(1), prose(2)], "test": [prose(3)]}
    for name, some in texts.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for number, text in enumerate(some):
            (tmp_path / "data" / name / f"{number}.txt").write_text(text)
    inputs = [tmp_path / "data" / name / ("*.txt" if form == "files" else "") for name in texts]
    corpus = prepare(inputs, tmp_path / "out", config(), processes=1)
    assert corpus.report["split"] == "as given"
    assert {split: documents(corpus, split) for split in corpus.splits} == texts
    # The name of a single folder has nothing to do with splits.
    one = prepare([tmp_path / "data" / "train"], tmp_path / "one", config(validation=0.4), processes=1)
    assert one.report["split"] == "by document"


def test_documents_without_words_are_like_no_other(tmp_path):
    texts = ["!!! ???", "--- ***", "... ;;; :::", prose(1)]
    assert signatures_of([texts[0].encode()], 5).max() == 0
    corpus = corpus_of(texts, tmp_path, filters="none")
    assert documents(corpus) == texts
    assert dropped(corpus) == {}


def test_names_of_splits_may_mean_nothing(tmp_path):
    source = tmp_path / "code"
    source.mkdir()
    for number, name in enumerate(["train", "test", "other", "model", "more"]):
        (source / f"{name}.py").write_text(prose(number, 400 if number > 1 else 100))
    corpus = prepare([source], tmp_path / "out", config(), processes=1)
    assert len(documents(corpus)) == 5


# Leaks


def test_leaks_are_counted_and_shown(tmp_path):
    shared = prose(77, 40)
    texts = {
        "train": [f"{prose(1)} {shared} {prose(2)}", prose(3)],
        "test": [f"{prose(4)} {shared} {prose(5)}", prose(6)],
        "valid": [prose(7)],
    }
    for name, some in texts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in some))
    corpus = prepare([tmp_path / f"{name}.jsonl" for name in texts], tmp_path / "out", config(), processes=1)
    leaks = corpus.report["leaks"]
    assert leaks["splits"]["test"] == {"sequences": 440 - 12 + 200 - 12, "found": 40 - 12, "texts": 2, "texts_touched": 1, "texts_half": 0}
    assert leaks["splits"]["validation"]["found"] == 0
    assert leaks["samples"][0]["text"] in shared + " "
    assert leaks["samples"][0]["training"] == "train.jsonl line 1"
    assert leaks["samples"][0]["other"] == "test.jsonl line 1"


# The tokenizer's sample


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=200), st.integers(1000, 20_000))
def test_a_sample_is_drawn_evenly(sizes, most):
    sizes = np.array(sizes)
    chosen = evenly(sizes, most)
    assert (np.diff(chosen) > 0).all()
    if sizes.sum() <= most:
        assert len(chosen) == len(sizes)
    else:
        assert sizes[chosen].sum() == pytest.approx(most, abs=1000)
        half = len(sizes) // 2
        share = sizes[chosen[chosen < half]].sum()
        assert share == pytest.approx(most * sizes[:half].sum() / sizes.sum(), abs=1000)


def test_the_tokenizer_sees_the_training_split_only(tmp_path):
    texts = {"train": prose(1).replace("time", "zzqzz"), "test": prose(2).replace("year", "qwxqw") * 3}
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
    corpus = prepare(
        [tmp_path / f"{name}.txt" for name in texts],
        tmp_path / "out",
        config(tokenizer={"name": "bpe", "vocabulary_size": 500}),
        processes=1,
    )
    assert "zzqzz" in corpus.tokenizer.to_json()
    assert "qwx" not in corpus.tokenizer.to_json()


def test_the_tokenizer_is_chosen_by_size(tmp_path):
    small = corpus_of([prose(1)], tmp_path / "a", tokenizer=None)
    assert small.report["tokenizer"]["name"] == "characters"
    many = "".join(chr(0x4E00 + number) for number in range(400))
    assert corpus_of([many], tmp_path / "b", tokenizer=None).report["tokenizer"]["name"] == "bpe"
