"""Instructions: lines of Python that put an export to work, for the README that lies beside it."""

from __future__ import annotations

from modelwright.core.errors import InputError
from modelwright.core.schema import Schema
from modelwright.data.tokenizer import Tokenizer

_BEGINNINGS = ("Once upon a time", "once upon a time", "The", "the", "a", "1")


def given(schema: Schema) -> list[str]:
    """Lines that make an example's raw inputs, `given`, of numpy arrays by name."""
    if schema.kind == "text":
        return [
            "from tokenizers import Tokenizer",
            f'tokens = Tokenizer.from_file("tokenizer.json").encode({beginning(schema)!r}, add_special_tokens=False).ids',
            'given = {"tokens": np.array([tokens])}',
        ]
    if schema.kind == "image":
        return [f'given = {{"image": np.zeros({(1, *schema.image.shape)}, np.uint8)}}  # pixels 0 to 255']
    parts = []
    if schema.numbers:
        parts.append(f'"numbers": np.array([[{", ".join(f"{column.mean[0]:.4g}" for column in schema.numbers)}]], np.float64)')
    if schema.categories:
        parts.append(f'"categories": np.array([[{", ".join("1" for _ in schema.categories)}]])')
    return [f"given = {{{', '.join(parts)}}}"]


def answer(schema: Schema) -> str:
    """The line that prints what the `outputs` say."""
    if schema.causal:
        return 'print(int(outputs["logits"][0, -1].argmax()))  # the likeliest next token'
    if schema.classes:
        return f'print({list(schema.classes)!r}[int(outputs["probabilities"][0].argmax())])'
    return f'print(float(outputs["value"][0]))  # {schema.target.name}'


def beginning(schema: Schema) -> str:
    """A text that the schema's tokenizer can encode."""
    tokenizer = Tokenizer.from_json(schema.text.tokenizer)
    for text in _BEGINNINGS:
        try:
            if tokenizer.decode(tokenizer.encode(text)) == text:
                return text
        except InputError:
            continue
    return tokenizer.decode([number for number in range(tokenizer.size) if number != tokenizer.separator][:1])
