"""`data prepare` as a verb: what its options stand for."""

import pytest

from modelwright.core.errors import InputError
from modelwright.workflows.prepare import settings_of


def test_the_name_of_a_kind_is_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("words", "mine"):
        (tmp_path / name).mkdir()
    assert settings_of("words", None) == {"tokenizer": {"name": "words"}}
    assert settings_of("mine", None) == {"tokenizer": {"name": "file", "path": "mine"}}
    assert settings_of("./words", None) == {"tokenizer": {"name": "file", "path": "./words"}}
    assert settings_of("bpe", 300) == {"tokenizer": {"name": "bpe", "vocabulary_size": 300}}
    with pytest.raises(InputError, match="needs a kind of tokenizer"):
        settings_of(None, 300)
