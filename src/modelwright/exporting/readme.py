"""The README beside an export: what it is, how to load it, what goes in and comes out, and how it was proved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwright.exporting.comparison import Comparison
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Target


def readme(subject: Subject, target: Target, record: Mapping[str, Any], comparison: Comparison) -> str:
    """The page, in Markdown."""
    model = record["model"]
    parts = [
        target.front_matter(subject),
        f"# {subject.name}",
        f"A {model['family']} of {model['parameters']:,} parameters, made by Modelwright {record['versions']['modelwright']} and written for {target.runtime}. "
        + _task(subject),
        "## Use",
        "```python\n" + "\n".join(target.usage(subject)) + "\n```",
        target.note(subject),
        "## What goes in and comes out",
        _table(record["inputs"], record["outputs"]),
        "`export.json` has the details: labels, columns and their values, preprocessing, versions, digests of the files.",
        "## Proof",
        "Loaded again and compared with the original on {examples:,} real examples{source}, in batches of {sizes}{lengths}: the largest "
        "difference is {difference:.2g} (of values up to {largest:.3g}), {agreement:.2%} of the predictions agree, and {metric} is {exported:.6g} "
        "(original: {original:.6g}).".format(
            examples=comparison.examples,
            source=f" ({model['compared_on']})" if model.get("compared_on") else "",
            sizes=_listed(comparison.batch_sizes),
            lengths=f" and lengths of {_listed(comparison.lengths)}" if comparison.lengths else "",
            difference=comparison.difference,
            largest=next(iter(comparison.largest.values())),
            agreement=comparison.agreement,
            metric=comparison.metric.replace("_", " "),
            exported=comparison.exported,
            original=comparison.original,
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _task(subject: Subject) -> str:
    schema = subject.schema
    if schema.causal:
        return f"It tells the next token of a text, from up to {schema.text.shape[0]:,} tokens before it."
    asked = f"which of {len(schema.classes)} classes" if schema.classes else "the number"
    given = "an image" if schema.kind == "image" else "a text" if schema.kind == "text" else f"a row of {len(schema.inputs)} columns"
    return f"From {given} it predicts {asked} {schema.target.name} is."


def _table(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> str:
    rows = ["| name | type | shape | meaning |", "| --- | --- | --- | --- |"]
    for tensor in (*inputs, *outputs):
        rows.append(f"| `{tensor['name']}` | {tensor['dtype']} | {' x '.join(map(str, tensor['shape']))} | {tensor['meaning']} |")
    return "\n".join(rows)


def _listed(numbers: tuple[int, ...]) -> str:
    shown = [f"{number:,}" for number in sorted(numbers)]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
