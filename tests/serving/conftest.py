"""Tokenizers for tiny language models."""

import pytest


@pytest.fixture(scope="session")
def characters():
    """A tokenizer of letters, without a character for what it doesn't know."""
    pytest.importorskip("tokenizers")
    from modelwright.data.tokenizers.characters import CharactersConfig

    return CharactersConfig().train(["abcdefghijklmnop qrstuvwxyz\n"])


@pytest.fixture(scope="session")
def bytewise():
    """The tokenizer of bytes."""
    pytest.importorskip("tokenizers")
    from modelwright.data.tokenizers.bytes import BytesConfig

    return BytesConfig().train([])
