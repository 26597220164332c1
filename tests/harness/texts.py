"""One shared check for every family that tells the next token of a text."""

from __future__ import annotations

import copy
import math

import safetensors.torch
import torch
import torch.nn.functional as F
from harness.families import Case, text
from torch import Tensor

from modelwright.models.family import FamilyConfig
from modelwright.models.network import Network, build_network, meta_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems

V, T, ROWS = 11, 12, 3


def language_model(
    family: FamilyConfig, *, vocabulary: int = V, context: int = T, head: HeadConfig | None = None, seed: int = 0
) -> Network:
    """The network of `family` for texts, on the stem `embedding`."""
    return build_network(text(vocabulary, context), family, vocabulary, stem=stems["embedding"].model_validate({}), head=head, seed=seed)


def telling(family: FamilyConfig) -> Network:
    """The same in evaluation, with weights so large that a wrong state shows."""
    network = language_model(family).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(4 if name == "stem.table" else 1.5)
    return network


def tokens(rows: int = ROWS, length: int = T, vocabulary: int = V) -> Tensor:
    """Random tokens (rows, length)."""
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(rows * length))


@torch.no_grad()
def check_causal(family: FamilyConfig) -> None:
    """What comes later changes nothing, and what came before does."""
    network, given = telling(family), tokens()
    scores = network({"tokens": given})
    for place in range(T):
        changed = given.clone()
        changed[:, place] = (changed[:, place] + 1) % V
        other = network({"tokens": changed})
        torch.testing.assert_close(other[:, :place], scores[:, :place], atol=1e-5, rtol=1e-5)
        assert (other[:, place] - scores[:, place]).abs().amax() > 1e-3
        if place + 1 < T:
            assert (other[:, place + 1] - scores[:, place + 1]).abs().amax() > 1e-4


@torch.no_grad()
def check_cache(family: FamilyConfig) -> None:
    """Reading on from a cache gives what reading anew gives: at once, in parts, and token by token with rows of uneven lengths."""
    network, given = telling(family), tokens()
    scores = network({"tokens": given})
    for parts in ((T,), (1,) * T, (5, 1, 1, 4, 1), (1, 7, 4)):
        cache = network.new_cache(ROWS, T)
        read = torch.cat([network({"tokens": part}, cache) for part in given.split(parts, dim=1)], dim=1)
        torch.testing.assert_close(read, scores, atol=1e-5, rtol=1e-5)
        assert cache.lengths.tolist() == [T] * ROWS
    cache, lengths = network.new_cache(ROWS, T), (2, 6, 1)
    for row, length in enumerate(lengths):
        read = network({"tokens": given[row : row + 1, :length]}, cache.row(row))
        torch.testing.assert_close(read[0], scores[row, :length], atol=1e-5, rtol=1e-5)
    assert cache.lengths.tolist() == list(lengths)
    order = torch.tensor([2, 0, 1, 0])
    cache = cache.select(order)
    for step in range(T - max(lengths)):
        places = torch.tensor(lengths)[order] + step
        read = network({"tokens": given[order, places][:, None]}, cache)
        torch.testing.assert_close(read[:, 0], scores[order, places], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def check_documents(family: FamilyConfig) -> None:
    """A document that is packed with others is read as it is alone."""
    network, given = telling(family), tokens()
    documents = torch.tensor([[0] * 12, [3] * 5 + [4] * 7, [7] + [8] * 3 + [9] + [2] * 7])
    packed = network({"tokens": given, "documents": documents})
    for row in range(ROWS):
        for document in documents[row].unique():
            places = documents[row] == document
            alone = network({"tokens": given[row, places][None]})
            torch.testing.assert_close(packed[row, places], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def check_hidden(family: FamilyConfig) -> None:
    """The scores are those of the hidden states and the table, tied or not, with an offset and a bound."""
    for head in (HeadConfig(), HeadConfig(tied=False), HeadConfig(softcap=0.5), HeadConfig(bias=True, softcap=2.0)):
        network = language_model(family, head=head).eval()
        if network.output_bias is not None:
            network.output_bias.copy_(torch.arange(V) / V)
        given = {"tokens": tokens()}
        scores, hidden, table = network(given), network.hidden(given), network.output_weight()
        assert torch.equal(network.head.project(hidden, table), scores)
        plain = F.linear(hidden, table, network.output_bias)
        torch.testing.assert_close(scores, plain if network.softcap is None else network.softcap * (plain / network.softcap).tanh())
        assert (table is network.stem.table) is bool(head.tied)
        assert network.softcap == head.softcap


def check_tied(family: FamilyConfig) -> None:
    """A tied table is one parameter, and stays one: on the meta device, allocated, copied, saved and loaded."""
    planned = meta_network(text(V, T), family, V)
    assert all(tensor.is_meta for tensor in (*planned.parameters(), *planned.buffers()))
    network = language_model(family)
    assert [name for name, shape in network.named_parameters() if shape.shape[0] == V] == ["stem.table"]
    weights = safetensors.torch.load(safetensors.torch.save(network.state_dict()))
    other = language_model(family, seed=1)
    other.load_state_dict(weights)
    for copied in (other, copy.deepcopy(network)):
        assert copied.output_weight() is copied.stem.table
        assert copied.output_weight() is not network.output_weight()
        with torch.no_grad():
            copied.stem.table[0] += 1
            assert not torch.equal(copied({"tokens": tokens()})[..., 0], network({"tokens": tokens()})[..., 0])


@torch.no_grad()
def check_first_loss(family: FamilyConfig) -> None:
    """Before any training it is as good as guessing."""
    for vocabulary in (50, 5000):
        network = language_model(family.replace(width=32), vocabulary=vocabulary, context=64).eval()
        given = tokens(4, 65, vocabulary)
        loss = F.cross_entropy(network({"tokens": given[:, :-1]}).flatten(0, 1), given[:, 1:].flatten())
        assert abs(loss.item() - math.log(vocabulary)) < 0.3


def check_overfits(family: FamilyConfig) -> None:
    """It learns a sequence that takes memory: the token after a 0 depends on those before it."""
    sequence = torch.tensor([0, 1, 0, 2, 0, 3] * 4)[None]
    network = language_model(family, context=23).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    loss = torch.tensor(math.inf)
    for _ in range(200):
        loss = F.cross_entropy(network({"tokens": sequence[:, :-1]})[0], sequence[0, 1:])
        if loss < 0.1:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


CHECKS = {
    check.__name__.removeprefix("check_"): check
    for check in (check_causal, check_cache, check_documents, check_hidden, check_tied, check_first_loss, check_overfits)
}


def text_cases(cases: dict[str, Case]) -> dict[str, FamilyConfig]:
    """Those of `cases` that tell the next token, by the family's name."""
    return {case.family.family: case.family for case in cases.values() if case.schema.causal}
