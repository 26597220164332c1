"""Tokenizers: what goes in comes out, the library agrees, and the same texts make the same tokenizer."""

import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import InputError
from modelwright.data.tokenizer import SEPARATOR, Tokenizer, byte_alphabet, tokenizers

library = pytest.importorskip("tokenizers")

TEXTS = [
    "The quick brown fox jumps over the lazy dog.\n\n  def f(x):\n\treturn x + 1\n",
    "Größe und Maß: 12,5 °C — naïve café 😀 日本語\n",
    "the the the there then than that this those these\n",
] * 3
TRAINED = {
    "bytes": tokenizers["bytes"]().train([]),
    "characters": tokenizers["characters"]().train(TEXTS),
    "words": tokenizers["words"]().train(TEXTS),
    "bpe": tokenizers["bpe"](vocabulary_size=300).train(TEXTS),
    "unigram": tokenizers["unigram"](vocabulary_size=290).train(TEXTS),
}
LOSSLESS = ["bytes", "bpe", "unigram"]
DATA = os.environ.get("MODELWRIGHT_DATA")

any_text = st.text(st.characters(codec="utf-8"), max_size=60)
known_text = st.text(st.sampled_from(sorted(set("".join(TEXTS)))), max_size=60)


def test_all_kinds_are_found():
    assert list(tokenizers) == ["bpe", "bytes", "characters", "file", "unigram", "words"]
    with pytest.raises(InputError, match=r"unknown tokenizer 'bpee'.*Did you mean bpe"):
        tokenizers["bpee"]


@pytest.mark.parametrize("name", LOSSLESS)
@given(text=any_text)
@settings(max_examples=60, deadline=None)
def test_every_text_comes_back(name, text):
    tokenizer = TRAINED[name]
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.byte_lengths()[tokens].sum() == len(text.encode())
    assert tokenizer.separator not in tokens
    decoder = tokenizer.decoder()
    assert "".join([*map(decoder.push, tokens.tolist()), decoder.finish()]) == text


@given(text=known_text)
@settings(max_examples=60, deadline=None)
def test_characters_come_back(text):
    tokenizer = TRAINED["characters"]
    tokens = tokenizer.encode(text)
    assert len(tokens) == len(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.byte_lengths()[tokens].sum() == len(text.encode())


@pytest.mark.parametrize("name", sorted(TRAINED))
@given(text=st.one_of(known_text, any_text))
@settings(max_examples=60, deadline=None)
def test_the_library_encodes_alike(name, text):
    """The fast ways of bytes, characters and words are those of the tokenizer.json that is kept."""
    tokenizer = TRAINED[name]
    reference = library.Tokenizer.from_str(tokenizer.to_json())
    try:
        expected = reference.encode(text, add_special_tokens=False).ids
    except Exception:
        with pytest.raises(InputError, match="has no token"):
            tokenizer.encode(text)
        return
    assert tokenizer.encode(text).tolist() == expected
    assert tokenizer.encode_batch([text, "the", text])[2].tolist() == expected


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_tokenizer_survives_being_written(name):
    tokenizer = TRAINED[name]
    for copy in (Tokenizer.from_json(tokenizer.to_json()), pickle.loads(pickle.dumps(tokenizer))):
        assert (copy.digest, copy.size, copy.separator, copy.kind) == (
            tokenizer.digest,
            tokenizer.size,
            tokenizer.separator,
            tokenizer.kind,
        )
        assert copy.encode(TEXTS[0]).tolist() == tokenizer.encode(TEXTS[0]).tolist()
    assert tokenizer.separator == tokenizer.size - 1
    assert tokenizer.kind == name
    assert tokenizer.encode(TEXTS[0]).dtype == tokenizer.dtype == np.uint16


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_training_is_a_function_of_the_texts(name):
    changes = {"vocabulary_size": TRAINED[name].size} if name in ("bpe", "unigram") else {}
    assert tokenizers[name](**changes).train(list(reversed(TEXTS))).digest == TRAINED[name].digest


@pytest.mark.parametrize("name", sorted(TRAINED))
def test_a_separator_that_is_spelled_out_is_text(name):
    text = f"{TEXTS[2]} {SEPARATOR} the"
    tokenizer = TRAINED[name] if name != "characters" else tokenizers[name]().train([text])
    assert tokenizer.separator not in tokenizer.encode(text)
    if name != "words":
        assert tokenizer.decode(tokenizer.encode(text)) == text
    trained = tokenizers[name]().train([text] * 5)
    assert trained.separator not in trained.encode(text)
    assert trained.decode([trained.separator]) == ""


def test_a_stream_holds_back_half_a_character():
    tokenizer = TRAINED["bytes"]
    decoder = tokenizer.decoder()
    assert [decoder.push(byte) for byte in "é€".encode()] == ["", "é", "", "", "€"]
    assert decoder.push(0xE2) == ""
    assert decoder.finish() == "�"
    assert tokenizer.decode([0x61, 0xFF, 0x62]) == "a�b"


def test_half_a_surrogate_pair_breaks_nothing():
    for name in LOSSLESS:
        assert TRAINED[name].decode(TRAINED[name].encode("a\ud800b")) == "a?b"
    with pytest.raises(InputError, match="no token"):
        TRAINED["characters"].encode("a\ud800")


def test_long_texts_are_cut_where_it_does_not_show(monkeypatch):
    text = "".join(TEXTS) * 3
    whole = {name: TRAINED[name].encode(text).tolist() for name in LOSSLESS}
    monkeypatch.setattr("modelwright.data.tokenizer.LARGEST_CUT", 50)
    for name in LOSSLESS:
        assert TRAINED[name].encode(text).tolist() == whole[name]
    assert TRAINED["bpe"].decode(TRAINED["bpe"].encode("x" * 1000)) == "x" * 1000


def test_characters():
    tokenizer = tokenizers["characters"]().train(["cab", "\n"])
    assert (tokenizer.size, tokenizer.separator) == (5, 4)
    assert tokenizer.encode("\nabc").tolist() == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"'d' has no token.*bytes or bpe"):
        tokenizer.encode("abcd")
    open_one = tokenizers["characters"](unknown=True).train(["cab"])
    assert open_one.encode("abcd").tolist() == [0, 1, 2, 3]
    assert open_one.byte_lengths() is None
    with pytest.raises(InputError, match="empty"):
        tokenizers["characters"]().train([""])


def test_words():
    tokenizer = tokenizers["words"](minimum_count=2).train(["b a b\nrare a b\n"])
    assert tokenizer.encode("a b\n\n new <unk>\x1cb").tolist() == [3, 2, 1, 1, 0, 0, 2]
    assert tokenizer.decode([3, 2, 1, 3]) == "a b \n a"
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.push, [3, 2, 1, 3])) == "a b \n a"
    assert tokenizer.byte_lengths() is None
    assert tokenizers["words"](vocabulary_size=3).train(["b a b a c b"]).size == 4


@pytest.mark.skipif(not DATA, reason="needs MODELWRIGHT_DATA")
def test_words_of_wikitext_2():
    """The counts that every published result on this set goes by."""
    folder = Path(DATA) / "wikitext-2"
    text = gzip.decompress((folder / "train.txt.gz").read_bytes()).decode()
    tokenizer = tokenizers["words"]().train([text])
    assert tokenizer.size - 1 == 33_278
    assert len(tokenizer.encode(text)) == 2_088_628
    assert (tokenizer.encode(text) == tokenizer.separator).sum() == 0


@pytest.mark.skipif(not DATA, reason="needs MODELWRIGHT_DATA")
def test_characters_of_tinyshakespeare():
    text = (Path(DATA) / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    tokenizer = tokenizers["characters"]().train([text])
    assert tokenizer.size == 65 + 1
    assert len(tokenizer.encode(text)) == 1_115_394


def test_bpe_and_unigram_shorten():
    text = "".join(TEXTS)
    for name in ("bpe", "unigram"):
        assert len(TRAINED[name].encode(text)) < 0.9 * len(text.encode())
        assert TRAINED[name].size == {"bpe": 300, "unigram": 290}[name]


def test_unigram_scores_are_those_of_the_likeliest_cut():
    """Of a text made of two words, the pieces are these words; and no piece is worse than its letters."""
    tokenizer = tokenizers["unigram"](vocabulary_size=260).train([" banana" * 50 + " mango" * 50])
    assert [tokenizer.decode([token]) for token in tokenizer.encode(" mango banana")] == [" mango", " banana"]


def make_file(tmp_path, backend):
    (tmp_path / "tokenizer.json").write_text(backend.to_str())
    return tokenizers["file"](path=str(tmp_path)).train([])


def metaspace():
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256)), ("▁", -2.0), ("▁hi", -3.0), ("é", -4.0)]
    backend = library.Tokenizer(library.models.Unigram(pieces, 0, True))
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme="never")
    backend.decoder = library.decoders.Sequence(
        [library.decoders.ByteFallback(), library.decoders.Metaspace(prepend_scheme="never"), library.decoders.Fuse()]
    )
    backend.add_special_tokens(["</s>"])
    return backend


def test_a_tokenizer_made_elsewhere(tmp_path):
    tokenizer = make_file(tmp_path, metaspace())
    # This model would read a spelled-out </s> as that token, so it can't separate documents.
    assert (tokenizer.separator, tokenizer.size) == (261, 262)
    text = " hi é x</s>\n"
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text.replace("</s>", "")
    assert tokenizer.byte_lengths()[tokens].sum() == len(text.encode()) - len("</s>")
    assert tokenizer.byte_lengths()[[1, 261]].tolist() == [0, 0]


def test_the_separator_of_a_file_is_kept(tmp_path):
    alphabet = {character: number for number, character in enumerate(byte_alphabet())}
    backend = library.Tokenizer(library.models.BPE(vocab={**alphabet, "</s>": 256}, merges=[]))
    backend.pre_tokenizer, backend.decoder = library.pre_tokenizers.ByteLevel(add_prefix_space=False), library.decoders.ByteLevel()
    backend.add_special_tokens(["</s>", "<pad>"])
    tokenizer = make_file(tmp_path, backend)
    assert (tokenizer.separator, tokenizer.size) == (256, 258)
    assert tokenizer.decode(tokenizer.encode("a</s>")) == "a</s>"
    assert tokenizer.byte_lengths()[-3:].tolist() == [1, 0, 0]


def test_limits_of_a_file_do_not_cut_texts(tmp_path):
    backend = metaspace()
    backend.enable_truncation(2)
    backend.enable_padding(length=64)
    assert len(make_file(tmp_path, backend).encode(" hi hi hi hi hi")) == 5


def test_a_file_without_a_separator_gets_one(tmp_path):
    backend = library.Tokenizer(library.models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = library.pre_tokenizers.Whitespace()
    tokenizer = make_file(tmp_path, backend)
    assert (tokenizer.separator, tokenizer.size) == (2, 3)
    assert tokenizer.encode("a b").tolist() == [1, 0]
    assert tokenizer.byte_lengths() is None
    assert Tokenizer.from_json(tokenizer.to_json()).separator == 2


def test_a_lower_casing_file_is_lossy(tmp_path):
    backend = library.Tokenizer(library.models.BPE(vocab={c: i for i, c in enumerate(byte_alphabet())}, merges=[]))
    backend.pre_tokenizer, backend.decoder = library.pre_tokenizers.ByteLevel(add_prefix_space=False), library.decoders.ByteLevel()
    assert make_file(tmp_path, backend).byte_lengths() is not None
    backend.normalizer = library.normalizers.Lowercase()
    assert make_file(tmp_path, backend).byte_lengths() is None


@pytest.mark.parametrize("kind", ["first", "always", "prepend", "bytes", "sequence"])
def test_bytes_are_not_told_where_a_blank_is_put_in_front(tmp_path, kind):
    backend = metaspace()
    assert make_file(tmp_path, backend).byte_lengths() is not None
    if kind in ("first", "always"):
        backend.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme=kind)
    elif kind == "prepend":
        backend.normalizer = library.normalizers.Prepend("▁")
    else:
        backend = library.Tokenizer(library.models.BPE(vocab={c: i for i, c in enumerate(byte_alphabet())}, merges=[]))
        cut = library.pre_tokenizers.ByteLevel(add_prefix_space=True)
        digits = library.pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = library.pre_tokenizers.Sequence([digits, cut]) if kind == "sequence" else cut
        backend.decoder = library.decoders.ByteLevel()
    assert len(make_file(tmp_path, backend).encode("hi")) > 0
    assert make_file(tmp_path, backend).byte_lengths() is None


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    backend = library.Tokenizer(library.models.WordLevel({"<unk>": 0, **{f"w{n}": n for n in range(1, 70_000)}}, unk_token="<unk>"))
    backend.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    tokenizer = make_file(tmp_path, backend)
    assert tokenizer.encode("w69999 w1").tolist() == [69_999, 1]
    assert tokenizer.dtype == np.uint32


def test_wrong_files(tmp_path):
    with pytest.raises(InputError, match=r"tokenizer.json: does not exist"):
        tokenizers["file"](path=str(tmp_path)).train([])
    for content in ("{}", "no json", json.dumps({"model": {"type": "BPE"}}), "[1]"):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(InputError, match="is no tokenizer"):
            tokenizers["file"](path=str(tmp_path)).train([])
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="can't be read"):
        tokenizers["file"](path=str(tmp_path / "tokenizer.json")).train([])
