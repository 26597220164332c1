"""How fast texts are continued, against `transformers.generate` with its cache.

    python benchmarks/generation.py              # all of it, some minutes
    python benchmarks/generation.py 10M          # one size

Both sides have a GPT-2 of the same shape with random weights (10M: 6 layers of width 384, 6 heads, 65 characters, 10.8 million parameters; 124M: 12
layers of width 768, 12 heads, 50,257 tokens), read a prompt of 128 tokens and add 128 greedily, in a context of 256. They take turns, in processes of their own.
A CPU without kernels for bfloat16 is spared it: there a prompt takes minutes.
"""

from __future__ import annotations

import sys

import torch
from result import Column, Result

from modelwright.core.device import knows_bfloat16
from modelwright.serving.precision import formats

SHAPES = {
    "10M": ["--layers", "6", "--width", "384", "--heads", "6", "--vocabulary", "65"],
    "124M": ["--layers", "12", "--width", "768", "--heads", "12", "--vocabulary", "50257"],
}
ROUNDS = 3
"""Processes of each contender; each generates three times."""
SPEED = Column("tokens per second", "tokens_per_second", 1, less_is_better=False)
CONTENDERS = (
    ("transformers", "float32"),
    ("modelwright", "float32"),
    ("modelwright", "float16"),
    ("transformers", "bfloat16"),
    ("modelwright", "bfloat16"),
    ("modelwright", "int8"),
)


def compare(size: str, batch: int) -> None:
    """All contenders at one size and batch, taking turns."""
    result = Result(
        f"generation-{size.lower()}-batch-{batch}", f"How fast does GPT-2 {size} continue {batch} text{'s' if batch > 1 else ''} at once?"
    )
    cpu = torch.device("cpu")
    for _ in range(ROUNDS):
        for side, precision in CONTENDERS:
            if (precision == "bfloat16" and not knows_bfloat16(cpu)) or (side == "modelwright" and precision not in formats(cpu)):
                continue
            command = [
                sys.executable,
                f"benchmarks/peers/{side}_generate.py",
                *SHAPES[size],
                "--batch",
                str(batch),
                "--precision",
                precision,
                "--repetitions",
                "3",
            ]
            run = result.run(f"{side}, {precision}", command)
            print(size, batch, side, precision, [round(speed, 1) for speed in run["values"]["tokens_per_second"]], flush=True)
    remarks = (
        "Tokens per second of all rows together, the prompt's 128 tokens read in the same time and not counted. A run's value is the median of three "
        "repetitions after one that is not counted. float16 rounds the weights of the linear maps to 16 bits and computes in float32; int8 rounds them to 8 bits; the others compute the same on both sides."
    )
    print(result.write([SPEED], reference="transformers, float32", remarks=remarks))


def main() -> None:
    """Run the sizes that are asked for."""
    for size in sys.argv[1:] or SHAPES:
        for batch in (1, 8):
            compare(size, batch)


if __name__ == "__main__":
    main()
