"""Columns of a table: the piecewise-linear code by hand and by gradient, and what each stem makes of a table."""

from __future__ import annotations

import torch
from harness.families import category, inputs, number, table
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.schema import Schema
from modelwright.nn.columns import CategoryEmbedding, ColumnLinear, NumberCode, PiecewiseLinear, embedding_width
from modelwright.nn.initialization import init_weights
from modelwright.nn.stem import Stem, StemConfig, stems

SCHEMA = table(
    number("age", edges=(-1.0, 0.0, 2.0), has_missing=True),
    category("job", 3),
    number("gain", edges=(0.0, 1.0)),
    number("flat"),
    category("sex", 2),
)
INPUTS = {
    "numbers": torch.tensor([[0.5, 3.0, 7.0], [-2.0, 0.25, 8.0]]),
    "missing": torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
    "categories": torch.tensor([[1, 2], [0, 1]]),
}


def built(config: StemConfig, schema: Schema = SCHEMA) -> Stem:
    stem = config.build(schema)
    init_weights(stem, 0)
    return stem


def test_piecewise_linear_by_hand():
    code = PiecewiseLinear([(-1.0, 0.0, 2.0), (0.0, 1.0), (), (5.0,)])
    x = torch.tensor([[0.5, 3.0, 7.0, 7.0], [-2.0, 0.25, 8.0, 8.0], [6.0, -1.0, 0.0, 0.0]])
    expected = [
        [[1.0, 0.25], [3.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
        [[-1.0, 0.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]],
        [[1.0, 3.0], [-1.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
    ]
    torch.testing.assert_close(code(x), torch.tensor(expected))
    assert not code.state_dict()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=2, max_size=8, unique=True).map(sorted), st.floats(-30, 30))
def test_the_code_tells_the_number_exactly(edges, x):
    code = PiecewiseLinear([[float(edge) for edge in edges]])(torch.tensor([[x]]))[0, 0]
    widths = torch.tensor(edges[1:]) - torch.tensor(edges[:-1])
    torch.testing.assert_close(edges[0] + (code * widths).sum(), torch.tensor(x), atol=1e-4, rtol=1e-4)
    assert (code[1:] >= 0).all()
    assert (code[:-1] <= 1).all()


def test_gradients_of_encoded_and_embedded_numbers():
    code, linear = PiecewiseLinear([(-1.0, 0.0, 2.0), (0.0, 1.0)]).double(), ColumnLinear(2, 2, 3, role="relu").double()
    init_weights(linear, 0)
    x = torch.tensor([[0.5, 3.0], [-2.0, 0.25]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w, b: torch.baddbmm(b, code(x).transpose(0, 1), w), (x, linear.weight, linear.bias))
    assert torch.autograd.gradcheck(lambda x: linear(code(x)), (x,))


def test_each_column_has_a_linear_map_of_its_own():
    linear = ColumnLinear(3, 4, 5, role="linear")
    init_weights(linear, 0)
    x = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for column in range(3):
        torch.testing.assert_close(linear(x)[:, column], x[:, column] @ linear.weight[column] + linear.bias[column])


def test_number_code_flags_only_columns_that_had_missing_values():
    code = NumberCode(SCHEMA.numbers, piecewise=True)
    expected = [
        [[0.5, 0.0, 1.0, 0.25], [3.0, 0.0, 3.0, 0.0], [7.0, 0.0, 0.0, 0.0]],
        [[-2.0, 1.0, -1.0, 0.0], [0.25, 0.0, 0.25, 0.0], [8.0, 0.0, 0.0, 0.0]],
    ]
    torch.testing.assert_close(code(INPUTS), torch.tensor(expected))
    assert code.real == [0, 1, 2, 3, 4, 6, 8]
    assert NumberCode(SCHEMA.numbers[1:], piecewise=False).parts == 1


def test_columns_stem_plain_and_piecewise():
    plain, piecewise = (built(stems["columns"].model_validate({"numbers": how})) for how in ("plain", "piecewise"))
    assert plain(INPUTS).x[:, :4].tolist() == [[0.5, 0.0, 3.0, 7.0], [-2.0, 1.0, 0.25, 8.0]]
    assert piecewise(INPUTS).x[0, :7].tolist() == [0.5, 0.0, 1.0, 0.25, 3.0, 3.0, 7.0]
    widths = embedding_width(3) + embedding_width(2)
    assert (plain.gives.width, piecewise.gives.width) == (4 + widths, 7 + widths)


def test_columns_stem_embeds_each_number_by_itself():
    stem = built(stems["columns"].model_validate({"width": 6, "category_width": 5}))
    assert stem.gives.width == 3 * 6 + 2 * 5
    first = stem(INPUTS).x
    changed = stem({**INPUTS, "numbers": INPUTS["numbers"] + torch.tensor([0.0, 0.5, 0.0])}).x
    assert (first[:, :18] >= 0).all()
    assert torch.equal(first[:, :6], changed[:, :6])
    assert not torch.equal(first[:, 6:12], changed[:, 6:12])
    assert torch.equal(first[:, 12:], changed[:, 12:])


def test_one_hot_stem():
    stem = built(stems["one_hot"].model_validate({}))
    assert stem(INPUTS).x.tolist() == [
        [0.5, 0.0, 3.0, 7.0, 0, 1, 0, 0, 0, 0, 1],
        [-2.0, 1.0, 0.25, 8.0, 1, 0, 0, 0, 0, 1, 0],
    ]
    assert stem.gives.width == 11
    assert not list(stem.parameters())


def test_tokens_stem_has_a_token_for_each_column():
    stem = built(stems["tokens"].model_validate({"width": 6}))
    tokens = stem(INPUTS).x
    assert tokens.shape == (2, 5, 6)
    assert stem.gives.size == (5,)
    other = stem({**INPUTS, "categories": torch.tensor([[1, 2], [3, 1]])}).x
    assert torch.equal(tokens[0], other[0])
    assert (tokens[1] != other[1]).any(-1).tolist() == [False, False, False, True, False]


def test_an_unseen_category_starts_in_the_middle_and_is_learned():
    embedding = CategoryEmbedding(SCHEMA.categories)
    init_weights(embedding, 0)
    unseen = embedding(torch.tensor([[0, 0]]))
    assert all((vector == 0).all() for vector in unseen)
    torch.cat(unseen, dim=1).sum().backward()
    assert all(
        (parameter.grad[0] == 1).all() and (parameter.grad[1:] == 0).all()
        for parameter in embedding.parameters()
        if parameter.grad is not None
    )


def test_embeddings_grow_slowly_with_the_number_of_categories():
    assert [embedding_width(count) for count in (2, 9, 42, 1_000, 100_000)] == [3, 6, 13, 64, 64]


def test_computed_tables_survive_the_meta_device():
    for name in ("columns", "one_hot", "tokens"):
        config = stems[name].model_validate({})
        direct = built(config)
        with torch.device("meta"):
            moved = config.build(SCHEMA)
        moved = moved.to_empty(device="cpu")
        for tensor in (*moved.buffers(), *moved.parameters()):
            tensor.data.fill_(0)
        init_weights(moved, 0)
        assert torch.equal(moved(inputs(SCHEMA)).x, direct(inputs(SCHEMA)).x), name
