"""Tables as text: delimiters, headers, quotes, bad rows, encodings."""

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.config import validate
from modelwright.core.errors import InputError
from modelwright.data import files
from modelwright.data.config import DataConfig
from modelwright.data.files import decode, read_bytes, split_of
from modelwright.data.numbers import parse_number
from modelwright.data.table import infer_delimiter, parse_table

CONFIG = DataConfig(path="t.csv")


def table(text, **settings):
    return parse_table(text, "t.csv", CONFIG.replace(**settings))


def test_header_and_missing_values():
    examples = table("age,job\n31, clerk \n?,NA\n44,cook\n")
    assert {name: column.tolist() for name, column in examples.columns.items()} == {
        "age": ["31", None, "44"],
        "job": ["clerk", None, "cook"],
    }
    assert examples.origins[2] == "t.csv line 4"


def test_no_header():
    examples = table("31, clerk, yes\n44, cook, no\n20, cook, no\n")
    assert list(examples.columns) == ["column_1", "column_2", "column_3"]
    assert len(examples) == 3


def test_text_only_header_is_told_from_values_that_come_again():
    assert list(table("color,shape\nred,round\nblue,flat\nred,flat\n").columns) == ["color", "shape"]
    assert list(table("red,round\nblue,flat\nred,flat\n").columns) == ["column_1", "column_2"]


def test_header_is_overridable_and_told_by_a_name_that_the_user_gives():
    assert len(table("a,b\nc,d\na,d\n", header=True)) == 2
    assert len(table("x,y\n1,2\n", header=False)) == 2
    assert list(table("a,b\na,d\na,d\n", target="b").columns) == ["a", "b"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_delimiter(delimiter):
    text = "\n".join(delimiter.join(row) for row in [("a b", "c", "d"), ("1,5", "x y", "2"), ("2,5", "z w", "3")]).replace("1,5", "1.5")
    text = text.replace("2,5", "2.5")
    examples = table(text)
    assert list(examples.columns) == ["a b", "c", "d"]
    assert examples.columns["c"].tolist() == ["x y", "z w"]


def test_decimal_commas_beside_semicolons():
    text = "x;y;z\n" + "".join(f"{n},5;-0,{n};a, b\n" for n in range(5))
    examples = table(text)
    assert examples.columns["x"].tolist() == [f"{n}.5" for n in range(5)]
    assert examples.columns["y"][3] == "-0.3"
    assert examples.columns["z"][0] == "a, b"


def test_white_space_of_any_width_parts_columns():
    examples = table("  1.0   2.0  a\n 10.0  20.0  b\n")
    assert examples.columns["column_2"].tolist() == ["2.0", "20.0"]


@given(st.lists(st.lists(st.text('ab,;"\n \u00e9', max_size=6), min_size=3, max_size=3), min_size=2, max_size=8))
def test_what_csv_writes_is_read_back(rows):
    import csv
    import io

    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["one", "two", "three"], *rows])
    examples = parse_table(stream.getvalue(), "t.csv", CONFIG.replace(delimiter=",", header=True, missing_values=()))
    found = list(zip(*(column.tolist() for column in examples.columns.values()), strict=True))
    assert found == [tuple(cell.strip() for cell in row) for row in rows]


def test_quotes_with_delimiters_and_line_ends_and_crlf():
    examples = table('name,note\r\nx,"a, b"\r\ny,"two\r\nlines"\r\nz,"say ""hi"""\r\n\r\n')
    assert examples.columns["note"].tolist() == ["a, b", "two\r\nlines", 'say "hi"']
    assert [examples.origins[i] for i in range(3)] == ["t.csv line 2", "t.csv line 3", "t.csv line 5"]


def test_ragged_rows_go_into_quarantine_with_line_and_reason():
    examples = table("a,b\n1,2\n3\n4,5\n6,7,8\n9,10\n")
    assert examples.columns["a"].tolist() == ["1", "4", "9"]
    assert [(reject.origin, reject.reason) for reject in examples.rejects] == [
        ("t.csv line 3", "has 1 field where the others have 2"),
        ("t.csv line 5", "has 3 fields where the others have 2"),
    ]


def test_mostly_ragged_rows_are_an_error():
    with pytest.raises(InputError, match="rows don't have"):
        table("a,b\n1,2\n1\n1,2,3\n1,2,3,4\n1,2,3,4,5\n1,2,3,4,5,6\n")


def test_an_unclosed_quote_is_named():
    rows = "".join(f"{n},text {n}\n" for n in range(20))
    with pytest.raises(InputError, match=r"line 22: a quote is opened"):
        table("id,text\n" + rows + '99,"never closed\n' + "".join(f"{n},a\n" for n in range(5)).replace(",", ";"))


@pytest.mark.parametrize("text", ["", "\n\n", "a,b\n"])
def test_no_rows(text):
    with pytest.raises(InputError):
        table(text)


def test_repeated_and_empty_names_are_made_unique():
    examples = table(",a,a\n1,2,3\n4,5,6\n", header=True)
    assert list(examples.columns) == ["column_1", "a", "a_3"]
    assert "second column called 'a'" in examples.notes[0]


def test_infer_delimiter_prefers_the_even_one():
    assert infer_delimiter("a;b, c;d\n1;2,3;4\n") == ";"
    assert infer_delimiter("10:30,a b\n11:30,c d\n") == ","


def test_wrong_encoding_names_line_byte_and_remedy():
    with pytest.raises(InputError, match=r"t.csv line 2, byte 9: the byte 0xe9 .* latin-1"):
        decode("a,b\n1,caf\u00e9\n".encode("latin-1"), None, "t.csv")
    assert decode("caf\u00e9".encode("latin-1"), "latin-1", "t") == "caf\u00e9"
    with pytest.raises(InputError, match="unknown encoding"):
        decode(b"a", "no-such", "t")
    with pytest.raises(InputError, match="binary"):
        decode(b"a\0b", None, "t")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_marks_of_encodings(encoding):
    assert decode("\u00e4,b".encode(encoding), None, "t") == "\u00e4,b"


def test_gzip_whole_and_truncated(tmp_path):
    packed = gzip.compress(b"a,b\n1,2\n" * 100)
    (tmp_path / "t.csv").write_bytes(packed)
    assert read_bytes(tmp_path / "t.csv").startswith(b"a,b")
    (tmp_path / "t.csv").write_bytes(packed[:-12])
    with pytest.raises(InputError, match="truncated"):
        read_bytes(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(packed[:10] + b"\xff\xff" + packed[12:])
    with pytest.raises(InputError, match=r"damaged|truncated"):
        read_bytes(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        read_bytes(tmp_path / "t.csv")


def test_names_of_splits():
    assert [split_of(name) for name in ("adult-train.csv.gz", "val.csv", "t10k-images", "dev.tsv", "contest.csv", "latest.csv")] == [
        "train", "validation", "test", "validation", None, None,
    ]  # fmt: skip


def test_numbers():
    assert [parse_number(text) for text in ("1.5", " 2", "1e3", "x", "1_000", "")] == [1.5, 2, 1000, None, None, None]
    assert parse_number("1970-01-02") == 1
    assert parse_number("1970-01-01T12:00:00Z") == 0.5
    assert parse_number("1970-13-01") is None


@pytest.mark.parametrize("delimiter", ["\\t", "tab", "Tab", "\t"])
def test_a_tab_can_be_typed(delimiter):
    assert DataConfig(path="t", delimiter=delimiter).delimiter == "\t"


@pytest.mark.parametrize("delimiter", ["::", "comma", "", "\n", '"'])
def test_what_can_not_separate_fields_is_refused(delimiter):
    with pytest.raises(InputError, match=r"can't separate fields.*expected one character.*the word tab"):
        validate(DataConfig, {"path": "t", "delimiter": delimiter})


@pytest.mark.parametrize("delimiter", [",", " "])
def test_line_breaks_of_unicode_end_no_line(delimiter):
    rows = "".join(f"{n}{delimiter}a\u2028b\x0c\r\n" for n in range(6)) if delimiter == "," else "1 a\x0cb\r2 b c\r\n3 c d\n\n"
    examples = table(rows, header=False, delimiter=delimiter)
    assert not examples.rejects
    assert [examples.origins[index] for index in range(3)] == ["t.csv line 1", "t.csv line 2", "t.csv line 3"]


def test_a_gzip_file_made_to_fill_memory_is_refused(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_bytes(gzip.compress(b"0" * 5_000_000))
    assert len(read_bytes(tmp_path / "t.csv")) == 5_000_000
    monkeypatch.setattr(files, "ANY_INFLATION", 1_000_000)
    monkeypatch.setattr(files, "MAX_INFLATION", 100)
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        read_bytes(tmp_path / "t.csv")
