"""Reading: every form of text, in pieces, and what can't be read."""

import errno
import gzip
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.data.corpus.config import CorpusConfig
from modelwright.data.corpus.inputs import SetAside, examine, find_files, plan
from modelwright.data.corpus.normalization import normalize
from modelwright.data.corpus.reading import Piece, cut_before, read_span
from modelwright.data.corpus.streams import UnreadableError, reading_errors


def read(paths, **options):
    """(documents, things set aside) of some files; pieces put together."""
    config = CorpusConfig(**options)
    files, aside = examine(find_files(paths)[0], config)
    documents = []
    for spans in plan(files, config.part_bytes):
        for span in spans:
            for found in read_span(span, files[span.file], config):
                if isinstance(found, SetAside):
                    aside.append(found)
                elif found.continues:
                    documents[-1] += found.text
                else:
                    documents.append(found.text)
    return documents, aside


def pieces(path, **options):
    config = CorpusConfig(**options)
    files, _ = examine(find_files([path])[0], config)
    found = [one for spans in plan(files, config.part_bytes) for span in spans for one in read_span(span, files[0], config)]
    assert all(isinstance(one, Piece) for one in found)
    return found


TEXT = st.text(st.sampled_from("ab é\n\r\t我 .-"), max_size=300)


@settings(max_examples=60)
@given(text=TEXT, piece=st.integers(16, 40), part=st.integers(1, 100))
def test_a_file_is_one_document_however_it_is_cut(tmp_path_factory, text, piece, part):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes(text.encode())
    documents, aside = read([path], piece_bytes=piece, part_bytes=part)
    assert documents == ([text] if text else [])
    assert [one.reason for one in aside] == ([] if text else ["empty file"])


@settings(max_examples=60)
@given(
    texts=st.lists(st.text(st.sampled_from("ab é\n我 "), max_size=150), min_size=1, max_size=12),
    piece=st.integers(16, 40),
    part=st.integers(1, 100),
)
def test_documents_between_separators(tmp_path_factory, texts, piece, part):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes("<|end|>\n".join(texts).encode())
    documents, _ = read([path], piece_bytes=piece, part_bytes=part, document_separator="<|end|>")
    assert [text.strip("\n") for text in documents] == [text.strip("\n") for text in texts if text.strip()]


@settings(max_examples=60)
@given(
    texts=st.lists(st.text(st.sampled_from("ab é我 "), min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=12),
    part=st.integers(1, 100),
)
def test_documents_between_blank_lines(tmp_path_factory, texts, part):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_bytes("\n \t\n\n".join(texts).encode())
    documents, _ = read([path], piece_bytes=20, part_bytes=part, document_separator="blank-line")
    assert documents == texts


@settings(max_examples=60)
@given(texts=st.lists(TEXT, min_size=1, max_size=12), piece=st.integers(16, 40), part=st.integers(1, 200), ascii_only=st.booleans())
def test_json_lines(tmp_path_factory, texts, piece, part, ascii_only):
    path = tmp_path_factory.mktemp("text") / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in texts), encoding="utf-8")
    documents, aside = read([path], piece_bytes=piece, part_bytes=part)
    assert documents == texts
    assert aside == []


@pytest.mark.parametrize("part", [1, 500, 10**6])
def test_parquet(tmp_path, part):
    import pyarrow
    import pyarrow.parquet

    texts = [f"document {number} é" * 5 for number in range(50)]
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"body": [*texts, None], "n": list(range(51))}), path, row_group_size=8)
    documents, aside = read([path], part_bytes=part, text_column="body")
    assert documents == texts
    assert [(one.reason, one.origin) for one in aside] == [("no text", "a.parquet row 51")]
    assert "has no column 'text', only body, n" in read([path])[1][0].detail


def test_packed_parquet_and_several_frames(tmp_path):
    import pyarrow
    import pyarrow.parquet
    import zstandard

    plain = tmp_path / "plain"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", "two"]}), plain)
    (tmp_path / "a.parquet.zst").write_bytes(zstandard.compress(plain.read_bytes()))
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "c.txt.zst").write_bytes(zstandard.compress(b"three ") + zstandard.compress(b"four"))
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"five ") + gzip.compress(b"six"))
    assert read([tmp_path / name for name in ("a.parquet.zst", "b.parquet.gz", "c.txt.zst", "d.txt.gz")]) == (
        ["one", "two", "one", "two", "three four", "five six"],
        [],
    )


def test_pieces_are_short_and_cut_where_no_token_goes_across(tmp_path):
    text = "\n\n".join("word " * 12 + " \t end" for _ in range(50))
    (tmp_path / "a.txt").write_text(text)
    found = pieces(tmp_path / "a.txt", piece_bytes=100, part_bytes=1000)
    assert "".join(piece.text for piece in found) == text
    assert all(len(piece.text) <= 100 for piece in found)
    assert [piece.continues for piece in found] == [False] + [True] * (len(found) - 1)
    for one, other in itertools.pairwise(found):
        assert not one.text[-1].isspace()
        assert other.text[0] in "\n "


@given(st.text("a\n \r我é", min_size=2, max_size=60), st.integers(4, 30))
def test_cuts_leave_characters_and_line_ends_whole(text, size):
    content = text.encode()
    if len(content) <= size:
        return
    cut = cut_before(content, size)
    assert 1 <= cut <= size
    assert content[:cut].decode() + content[cut:].decode() == text


def test_broken_text_is_counted_and_replaced(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"good \xff\xfe bad \xc3( and a real one: \xef\xbf\xbd")
    piece = pieces(tmp_path / "a.txt")[0]
    assert piece.broken == 3
    assert piece.text == "good \ufffd\ufffd bad \ufffd( and a real one: \ufffd"
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "caf\xe9"}\n{"text": "\\ud800 half, \\ud83d\\ude00 whole"}\n')
    found = pieces(tmp_path / "b.jsonl")
    assert [piece.text for piece in found] == ["caf\ufffd", "\ufffd half, \U0001f600 whole"]
    assert [piece.broken for piece in found] == [1, 1]


def test_binary_files_and_others_that_are_no_text_are_set_aside(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "b.txt").write_bytes(b"")
    (tmp_path / "c.json").write_text('[{"text": "a"}]')
    (tmp_path / "d.parquet").write_text("no parquet")
    (tmp_path / "e.txt").write_text("text")
    (tmp_path / "f.parquet").write_bytes(b"PAR1" + b"x" * 50)
    (tmp_path / "g.txt.gz").write_bytes(gzip.compress(b"abc" * 50_000)[:-20])
    (tmp_path / "h.txt.zst").write_bytes(b"\x28\xb5\x2f\xfdgarbage of some length")
    (tmp_path / ".hidden").write_text("not seen")
    (tmp_path / "out.gz").write_bytes(gzip.compress(b"\0" * 100))
    documents, aside = read([tmp_path])
    assert documents[0] == "text"
    reasons = {one.origin.split("/")[1]: one.reason for one in aside}
    assert reasons == {
        "a.bin": "binary file", "b.txt": "empty file", "c.json": "unreadable file", "d.parquet": "unreadable file",
        "f.parquet": "unreadable file", "g.txt.gz": "unreadable file", "h.txt.zst": "unreadable file", "out.gz": "binary file",
    }  # fmt: skip
    assert find_files([tmp_path])[1] == 1


def test_a_truncated_file_is_told_and_keeps_its_beginning(tmp_path):
    import zstandard

    lines = "".join(f"{number * 7919 % 10007} {number * 104729 % 99991}\n" for number in range(60_000)).encode()
    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(b"first\n") + zstandard.compress(lines)[:-9])
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"first\n") + gzip.compress(lines)[:-20])
    skippable = b"\x50\x2a\x4d\x18\x05\0\0\0hello"
    (tmp_path / "c.txt.zst").write_bytes(zstandard.compress(b"one ") + skippable + zstandard.compress(lines) + skippable)
    for name in ("a.txt.zst", "b.txt.gz"):
        documents, aside = read([tmp_path / name], piece_bytes=1000)
        assert len(documents) == 1
        assert len(documents[0]) > len(lines) / 4
        assert (b"first\n" + lines).startswith(documents[0].encode())
        assert [(one.reason, one.detail) for one in aside] == [
            ("unreadable file", "the compressed file is truncated; what came before is kept")
        ]
    assert read([tmp_path / "c.txt.zst"]) == (["one " + lines.decode()], [])


def test_binary_files_are_none_in_a_single_byte_encoding_either(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "b.txt").write_bytes("caf\u00e9".encode("latin-1"))
    documents, aside = read([tmp_path], encoding="latin-1")
    assert documents == ["caf\u00e9"]
    assert [one.reason for one in aside] == ["binary file"]
    (tmp_path / "a.bin").unlink()
    (tmp_path / "b.txt").write_bytes("caf\u00e9".encode("utf-32-le"))
    assert read([tmp_path], encoding="utf-32-le")[0] == ["caf\u00e9"]


@pytest.mark.parametrize(
    ("typed", "meant"), [(r"\n", "\n"), (r"\n---\n", "\n---\n"), (r"\t", "\t"), (r"\newpage", r"\newpage"), ("<|x|>", "<|x|>")]
)
def test_separators_may_be_typed_as_escapes(tmp_path, typed, meant):
    (tmp_path / "a.txt").write_text(f"one{meant}two")
    assert read([tmp_path / "a.txt"], document_separator=typed)[0] == ["one", "two"]
    assert CorpusConfig(document_separator=typed).document_separator == meant


def test_bad_rows_are_set_aside_one_by_one(tmp_path):
    rows = [
        '{"text": "good"}',
        '{"text": ',
        '{"body": "x"}',
        '{"text": 3}',
        '{"text": null}',
        "",
        '"bare"',
        "[" * 100_000,
        '{"text": "last"}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    documents, aside = read([tmp_path / "a.jsonl"])
    assert documents == ["good", "bare", "last"]
    assert [(one.reason, one.origin) for one in aside] == [
        ("bad row", "a.jsonl line 2"), ("no text", "a.jsonl line 3"), ("no text", "a.jsonl line 4"), ("no text", "a.jsonl line 5"),
        ("bad row", "a.jsonl line 8"),
    ]  # fmt: skip
    assert "only body" in aside[1].detail


def test_other_encodings(tmp_path):
    (tmp_path / "a.txt").write_bytes("naïve café\n".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("naïve 我\n".encode("utf-16"))
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbfmarked")
    assert read([tmp_path / "a.txt"], encoding="latin-1")[0] == ["naïve café\n"]
    assert read([tmp_path / "b.txt"])[0] == ["naïve 我\n"]
    assert read([tmp_path / "c.txt"])[0] == ["marked"]
    with pytest.raises(InputError, match="unknown encoding"):
        validate(CorpusConfig, {"encoding": "latin-99"})


def test_a_file_named_twice_is_read_once_and_globs_are_matched(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text("two")
    monkeypatch.chdir(tmp_path)
    assert read([Path("*.txt"), tmp_path / "a.txt", tmp_path])[0] == ["one", "two"]
    with pytest.raises(InputError, match="does not exist"):
        find_files([Path("*.md")])


def test_plans_depend_on_the_files_alone_and_cover_them(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02d}.txt").write_text("line\n" * (10 * number + 1))
    config = CorpusConfig()
    files, _ = examine(find_files([tmp_path])[0], config)
    tasks = plan(files, 400)
    assert tasks == plan(files, 400)
    assert sum(span.bytes for task in tasks for span in task) == sum(file.size for file in files)
    assert all(sum(span.bytes for span in task) <= 400 for task in tasks)
    assert max(len(task) for task in tasks) > 1


@given(st.text(max_size=80))
def test_normalization_is_done_once_for_all(text):
    once = normalize(text, "nfc")
    assert normalize(once, "nfc") == once
    assert normalize(text, "none") == text
    assert "\r" not in once


def test_normal_forms():
    assert normalize("e\u0301 ﬁ\r\nx\ry\x00\x07\ufeff\t\f\n", "nfc") == "é ﬁ\nx\ny\t\f\n"
    assert normalize("ﬁ", "nfkc") == "fi"


def test_only_faults_of_a_file_set_it_aside():
    with pytest.raises(UnreadableError), reading_errors():
        raise OSError(errno.EIO, "no luck")
    for number in (errno.ENOSPC, errno.EPIPE, errno.EMFILE, errno.ENOMEM):
        with pytest.raises(OSError, match="trouble") as raised, reading_errors():
            raise OSError(number, "trouble")
        assert not isinstance(raised.value, InputError)
