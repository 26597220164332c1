"""Every family that reads texts passes the shared check of language models; and what their parts add up to."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from harness.families import SCHEMAS, cases, inputs, small, text
from harness.texts import CHECKS, T, V, language_model, telling, text_cases, tokens
from torch import nn

from modelwright.core.errors import InputError
from modelwright.models.family import FamilyConfig, families
from modelwright.models.network import Network, build_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stems.embedding import EmbeddingConfig

FAMILIES = text_cases(dict(cases()))
VARIANTS = [
    small("lstm").replace(dropout=0.2, input_dropout=0.1, output_dropout=0.1, weight_dropout=0.2, depth=3),
    small("gru").replace(locked=False, depth=1),
    small("hybrid").replace(pattern=("gru", "convolution"), norm="rms", activation="swiglu", depth=4),
    small("hybrid").replace(pattern=("attention", "rnn"), positions="rotary", kernel=2, depth=2),
]


def test_all_families_for_texts_are_found():
    assert list(FAMILIES) == ["gru", "hybrid", "lstm", "rnn", "transformer"]
    assert {name for name, family in families.items() if "text" in family.suits} == {"gru", "hybrid", "lstm", "transformer"}


@pytest.mark.parametrize("check", list(CHECKS))
@pytest.mark.parametrize("name", list(FAMILIES))
def test_language_model(name: str, check: str):
    CHECKS[check](FAMILIES[name])


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"overfits"}))
@pytest.mark.parametrize("family", VARIANTS, ids=str)
def test_settings_other_than_the_defaults(family: FamilyConfig, check: str):
    CHECKS[check](family)


@pytest.mark.parametrize("check", ["causal", "cache", "documents", "hidden", "tied"])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_shortcuts_of_grown_layers(name: str, check: str):
    CHECKS[check](small(name).replace(depth=3, shortcuts_from=1))


# Parts


@torch.no_grad()
@pytest.mark.parametrize(("cell", "plain"), [("lstm", nn.LSTM), ("gru", nn.GRU), ("rnn", nn.RNN)])
def test_a_recurrent_language_model_is_pytorch_s_with_a_tied_linear_map(cell: str, plain: type[nn.RNNBase]):
    ours = language_model(families[cell](width=8, depth=2)).eval()
    theirs = plain(8, 8, 2, batch_first=True)
    for number, layer in enumerate(ours.backbone.layers):
        for name, weight in layer.rnn.state_dict().items():
            getattr(theirs, name.replace("_l0", f"_l{number}")).copy_(weight)
    table = ours.stem.table
    torch.testing.assert_close(ours({"tokens": tokens()}), theirs(table[tokens()])[0] @ table.T, atol=1e-6, rtol=1e-5)


def test_a_state_of_another_width_than_the_table_is_projected():
    network = build_network(text(V, T), small("lstm"), V, stem=EmbeddingConfig(width=6))
    assert network.stem.table.shape == (V, 6)
    assert network.head.projection.weight.shape == (6, 8)
    assert network.hidden({"tokens": tokens()}).shape == (3, T, 6)
    untied = build_network(text(V, T), small("lstm"), V, stem=EmbeddingConfig(width=6), head=HeadConfig(tied=False))
    assert untied.head.projection is None
    assert untied.output_weight().shape == (V, 8)


def test_the_embedding_drops_whole_tokens():
    network = build_network(text(V, T), small("lstm"), V, stem=EmbeddingConfig(dropout=0.5))
    torch.manual_seed(0)
    given = tokens(8)
    dropped = (network.train().stem({"tokens": given}).x == 0).all(-1)
    states = [dropped[given == token].unique().tolist() for token in range(V)]
    assert sorted(map(tuple, states))[0] == (False,)
    assert {tuple(state) for state in states} == {(False,), (True,)}
    plain = build_network(text(V, T), small("lstm"), V, stem=EmbeddingConfig(dropout=0.5, dropout_of="values"))
    assert not (plain.train().stem({"tokens": given}).x == 0).all(-1).any()
    assert torch.equal(plain.eval().stem({"tokens": given}).x, F.embedding(given, plain.stem.table))


def test_documents_reach_the_features():
    network = language_model(small("lstm"))
    documents = torch.zeros(3, T, dtype=torch.int64)
    assert network.stem({"tokens": tokens(), "documents": documents}).documents is documents
    assert network.stem({"tokens": tokens()}).documents is None


def test_a_token_beyond_the_vocabulary_is_an_error():
    with pytest.raises(IndexError):
        language_model(small("lstm"))({"tokens": torch.full((1, 3), V)})


@torch.no_grad()
def test_activations_of_a_language_model():
    network = telling(small("gru"))
    seen = network.activations({"tokens": tokens()}, ["stem", "backbone", "head"])
    assert seen["stem"].shape == seen["backbone"].shape == (3, T, 8)
    assert torch.equal(seen["head"], network({"tokens": tokens()}))


def test_a_text_can_be_told_a_class():
    for name in FAMILIES:
        network = build_network(SCHEMAS["words"], small(name), 3)
        assert network(inputs(SCHEMAS["words"])).shape == (5, 3)
        with pytest.raises(InputError, match="gives one answer for an example; expected a network that tells the next token"):
            network.new_cache(1, 4)
        assert not any(name.startswith("head.projection") for name in network.state_dict())


def test_the_width_of_the_embedding_is_the_family_s_or_its_own():
    for factor in (1, 2):
        assert language_model(small("lstm").scaled(width=factor)).stem.table.shape == (V, 8 * factor)
    assert EmbeddingConfig(width=3).sized(8).width == 3
    assert EmbeddingConfig().sized(8, 2.0) == EmbeddingConfig(width=8, size=2.0)
    with pytest.raises(InputError, match="the stem embedding has no width"):
        EmbeddingConfig().sized(None).build(text(V, T))


# What can not be


def refused(family: FamilyConfig, head: HeadConfig | None = None, *, schema: str = "text") -> str:
    with pytest.raises(InputError) as error:
        build_network(SCHEMAS[schema], family, V, head=head)
    return str(error.value)


def test_families_that_see_what_is_to_come_are_refused():
    assert "reads from the end too" in refused(small("lstm").replace(bidirectional=True))
    assert "pools (last)" in refused(small("gru").replace(pool="last"))
    assert "pools (mean)" in refused(small("hybrid").replace(pool="mean"))
    assert "family mlp doesn't fit a text" in refused(small("mlp"))
    assert "expected one of the families gru, hybrid, lstm, rnn, transformer" in refused(small("cnn"))


def test_a_family_that_does_not_say_how_is_refused():
    class Onward(FamilyConfig):
        """Consumes sequences, and says nothing of order."""

        consumes = ("sequence",)
        stems = ("embedding",)
        family: str = "onward"
        width: int = 4

    assert "the family onward can't tell the next token" in refused(Onward())


def test_heads_that_do_not_fit():
    assert "the head pools (mean)" in refused(small("lstm"), HeadConfig(pool="mean"))
    for setting in ({"tied": True}, {"softcap": 3.0}, {"bias": True}):
        message = refused(small("lstm"), HeadConfig(**setting), schema="words")
        assert f"the head's setting {next(iter(setting))} is for telling the next token" in message
    network = language_model(small("lstm"))
    with pytest.raises(InputError, match="the stem has no table of tokens"):
        HeadConfig(tied=True).build_token_head(network.backbone.gives, V, None)
    assert isinstance(network, Network)
