"""`data prepare` on the command line."""

import json

import numpy as np
import pytest

from modelwright.data.corpus.corpus import Corpus


@pytest.fixture
def rows(tmp_path):
    """60 short documents, two of which repeat one, and a bad line."""
    random = np.random.default_rng(0)
    texts = [" ".join(f"word{number}" for number in random.integers(0, 5000, 60)) for _ in range(60)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in [*texts, texts[0], texts[1] + " more"]) + "{bad\n")
    return path


def test_it_makes_a_corpus_and_says_what_it_found(command, rows, tmp_path):
    code, out, err = command("data", "prepare", rows, "--output", tmp_path / "out", "--text-column", "body", "--tokenizer", "bytes")
    assert code == 0, err
    for said in ("exact duplicate", "near-duplicate", "bad row", "257 tokens", "validation", "by document"):
        assert said in out
    assert max(map(len, out.splitlines())) <= 80
    assert set(Corpus.open(tmp_path / "out").splits) == {"train", "validation", "test"}


def test_it_answers_in_json(command, rows, tmp_path):
    code, out, _ = command(
        "data", "prepare", rows, "--output", tmp_path / "out", "--text-column", "body", "--tokenizer", "bpe", "--vocabulary-size", 300,
        "--set", "near_duplicates=0", "--validation", 0.2, "--test", 0, "--processes", 2, "--seed", 3, "--json",
    )  # fmt: skip
    assert code == 0
    answer = json.loads(out)
    corpus = Corpus.open(tmp_path / "out")
    assert answer["digest"] == corpus.digest
    assert answer["splits"]["train"]["tokens"] == corpus.splits["train"].tokens
    assert list(answer["splits"]) == ["train", "validation"]
    assert {name: row["documents"] for name, row in answer["report"]["dropped"].items()} == {"exact duplicate": 1}
    assert answer["config"]["tokenizer"] == {"name": "bpe", "vocabulary_size": 300, "minimum_count": 2}
    assert answer["config"]["seed"] == 3


def test_settings_may_come_from_a_file_and_a_corpus_can_give_its_tokenizer(command, rows, tmp_path):
    (tmp_path / "settings.yaml").write_text("text_column: body\ntokenizer: characters\nfilters: none\n")
    assert command("data", "prepare", rows, "--output", tmp_path / "one", "--config", tmp_path / "settings.yaml")[0] == 0
    code, _, err = command(
        "data", "prepare", rows, "--output", tmp_path / "two", "--text-column", "body", "--tokenizer", tmp_path / "one" / "tokenizer.json"
    )
    assert code == 0, err
    one, two = Corpus.open(tmp_path / "one"), Corpus.open(tmp_path / "two")
    assert one.tokenizer.digest == two.tokenizer.digest
    assert one.config["filters"] == "none"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.txt"], "does not exist"),
        (["ROWS", "--set", "tokenzer=bytes"], "Did you mean tokenizer?"),
        (["ROWS", "--tokenizer", "bite"], "unknown tokenizer 'bite'"),
        (["ROWS", "--filters", "strict"], "filters"),
        (["ROWS", "--validation", "0.6", "--test", "0.5"], "leave nothing to train on"),
        (["ROWS", "--vocabulary-size", "300"], "--tokenizer"),
        (["ROWS", "--document-separator", ""], "empty text"),
        (["ROWS", "--processes", "0"], "process"),
        (["ROWS"], "no column 'text'"),
    ],
)
def test_bad_input_is_one_clear_sentence(command, rows, tmp_path, arguments, said):
    arguments = [str(rows) if argument == "ROWS" else argument for argument in arguments]
    code, out, err = command("data", "prepare", *arguments, "--output", tmp_path / "out", "--json")
    assert code == 2
    answer = json.loads(out)
    assert answer["exit_code"] == 2
    assert said in answer["error"]
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]


def test_a_corpus_is_never_overwritten(command, rows, tmp_path):
    arguments = ("data", "prepare", rows, "--output", tmp_path / "out", "--text-column", "body")
    assert command(*arguments)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert command(*arguments)[0] == 2
    assert command(*arguments, "--resume")[0] == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
