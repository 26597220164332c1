"""Every family that reads texts passes the shared check of language models."""

from __future__ import annotations

import pytest
from harness.families import cases, small
from harness.texts import CHECKS, text_cases

from modelwright.core.errors import InputError
from modelwright.models.family import families
from modelwright.models.network import build_network

FAMILIES = text_cases(dict(cases()))


def test_all_families_for_texts_are_found():
    assert list(FAMILIES) == ["gru", "hybrid", "lstm", "rnn", "transformer"]
    assert {name for name, family in families.items() if "text" in family.suits} == {"gru", "hybrid", "lstm", "transformer"}


@pytest.mark.parametrize("check", list(CHECKS))
@pytest.mark.parametrize("name", list(FAMILIES))
def test_language_model(name: str, check: str):
    CHECKS[check](FAMILIES[name])
