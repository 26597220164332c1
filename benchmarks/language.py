"""What the language models must show, against the script that people start from: `transformers` GPT-2 in a plain loop.

    python benchmarks/language.py shakespeare    # by character: time to the loss of the common small recipe, and the best loss in that time
    python benchmarks/language.py quick          # the quick recipe alone
    python benchmarks/language.py speed          # training tokens a second at 10M and at 124M parameters
    python benchmarks/language.py hour           # the best loss on tinyshakespeare within 60 minutes
    python benchmarks/language.py wikitext       # WikiText-2 by word, an LSTM, within 60 minutes
    python benchmarks/language.py stdlib         # build stdlib --budget 3m: bits per byte, its forecast, its budget

Needs MODELWRIGHT_DATA, the folder that holds tinyshakespeare/ and wikitext-2/, but for `speed` and `stdlib`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from result import Column, Result, run_modelwright

DATA = Path(os.environ.get("MODELWRIGHT_DATA", "data"))
TEXT = DATA / "tinyshakespeare" / "input.txt"
SEEDS = 3
PEER = [sys.executable, "benchmarks/peers/transformers_gpt2.py"]
OWN = [sys.executable, "benchmarks/peers/modelwright_step.py"]
SHAPES = {
    "10M": ["--layers", "6", "--width", "384", "--heads", "6", "--batch", "16", "--vocabulary", "65", "--steps", "12"],
    "124M": ["--layers", "12", "--width", "768", "--heads", "12", "--batch", "4", "--vocabulary", "50257", "--steps", "5"],
}
LOSS = Column("validation loss", "validation_loss", 4, is_score=True)
SECONDS = Column("training seconds", "training_seconds", 1)
WALL = Column("seconds from command to end", "wall_seconds", 1)


def modelwright(result: Result, contender: str, *arguments: str) -> dict[str, Any]:
    """Run a command of Modelwright in a folder that is thrown away; keep its losses, times and forecasts."""
    answer, values, command = run_modelwright(*arguments)
    splits = answer["evaluation"]["splits"]
    values |= {f"{split}_{metric}": estimate["value"] for split, metrics in splits.items() for metric, estimate in metrics.items()}
    values |= {f"{name}_bits_per_byte": row["bits_per_byte"]["value"] for name, row in answer["evaluation"]["baselines"].items()}
    print(contender, {key: value for key, value in values.items() if "bits" in key or "loss" in key or "seconds" in key}, flush=True)
    return result.add(contender, values, command=command)


def shakespeare() -> None:
    """The small recipe's 2,000 steps; our quick recipe in the seconds that it needs to get there; and our best within the baseline's time."""
    result = Result(
        "shakespeare", "tinyshakespeare by character: how soon is the common small recipe's loss reached, and what in its time?"
    )
    for seed in range(SEEDS):
        run = result.run("transformers, 2,000 steps", [*PEER, "train", "--data", str(TEXT), "--seed", str(seed)])
        seconds = run["values"]["training_seconds"]
        print("peer", run["values"]["validation_loss"], seconds, flush=True)
        options = ("--data", str(TEXT), "--seed", str(seed))
        modelwright(result, "modelwright, shakespeare-quick", "train", "shakespeare-quick", *options)
        modelwright(result, "modelwright, shakespeare", "train", "shakespeare", *options, "--budget", f"{seconds:.0f}s")
    remarks = (
        "Both sides are judged on every character of the last tenth of the text but its first, in windows of their own context that overlap by half. Seconds of "
        "the plain script are those of its training steps alone; the budget of `shakespeare` is as many seconds, and holds everything from the command "
        "to the end of judging."
    )
    print(result.write([LOSS, SECONDS, WALL], reference="transformers, 2,000 steps", remarks=remarks))


def quick() -> None:
    """The quick recipe alone."""
    result = Result("shakespeare-quick", "tinyshakespeare by character: how soon does the quick recipe reach 1.88?")
    for seed in range(SEEDS):
        modelwright(result, "modelwright, shakespeare-quick", "train", "shakespeare-quick", "--data", str(TEXT), "--seed", str(seed))
    print(result.write([LOSS, SECONDS, WALL]))


def speed() -> None:
    """Tokens per second of training steps of the same shape in bfloat16, twice as fast as float32 on either side; compiled or not."""
    for size, shape in SHAPES.items():
        result = Result(
            f"training-speed-{size.lower()}", f"How fast are training steps of a language model of GPT-2's shape, {size} parameters?"
        )
        for seed in range(SEEDS):
            for compiled in (False, True):
                options = [*shape, "--context", "256", "--precision", "bfloat16", *(["--compile"] if compiled else []), "--seed", str(seed)]
                for name, command in (("transformers", [*PEER, "speed"]), ("modelwright", OWN)):
                    contender = f"{name}, bfloat16{', compiled' if compiled else ''}"
                    run = result.run(contender, [*command, *options])
                    print(contender, run["values"]["tokens_per_second"], flush=True)
        best = max(
            (run for run in result.runs if run["contender"].startswith("transformers")), key=lambda run: run["values"]["tokens_per_second"]
        )
        tokens = Column("tokens per second", "tokens_per_second", 0, less_is_better=False)
        print(result.write([tokens], reference=best["contender"], remarks="The reference is the best setting of the plain script."))


def hour() -> None:
    """The best loss within an hour."""
    result = Result("shakespeare-hour", "tinyshakespeare by character: which validation loss within 60 minutes?")
    for seed in range(SEEDS):
        modelwright(result, "modelwright", "train", "shakespeare-hour", "--data", str(TEXT), "--seed", str(seed))
    print(result.write([LOSS, SECONDS, WALL]))


def wikitext() -> None:
    """An LSTM by word."""
    result = Result(
        "wikitext-2-lstm", "WikiText-2 by word: which test perplexity does an LSTM of at most 10M parameters reach within 60 minutes?"
    )
    with tempfile.TemporaryDirectory() as folder:
        corpus = f"{folder}/wikitext-2-words"
        # Every word and line break of the files counts, as in all published figures.
        as_it_is = ["--filters", "none", "--set", "normalization=none", "--set", "exact_duplicates=false", "--set", "near_duplicates=0"]
        prepare = [sys.executable, "-m", "modelwright.cli", "data", "prepare", str(DATA / "wikitext-2"), "--output", corpus]
        subprocess.run([*prepare, "--tokenizer", "words", *as_it_is, "--quiet"], check=True)
        for seed in range(SEEDS):
            modelwright(result, "modelwright", "train", "wikitext-2-lstm", "--data", corpus, "--seed", str(seed))
    columns = [Column(f"{split} perplexity", f"{split}_perplexity", 1, is_score=True) for split in ("validation", "test")]
    print(result.write([*columns, SECONDS, WALL]))


def stdlib() -> None:
    """The main job on text."""
    result = Result(
        "build-stdlib", "What does `modelwright build stdlib --budget 3m` reach, does it keep its budget, does its forecast hold?"
    )
    for seed in range(SEEDS):
        modelwright(result, "build, 3m", "build", "stdlib", "--budget", "3m", "--seed", str(seed))
    held = sum(run["values"]["forecast_held"] for run in result.runs)
    families = ", ".join(str(run["values"]["family"]) for run in result.runs)
    remarks = f"The measured bits per byte were inside the forecast's 95 % interval in {held:.0f} of {SEEDS} seeds. Winners: {families}."
    bits = Column("test bits per byte", "test_bits_per_byte", 3, is_score=True)
    forecast = [
        Column("forecast", "forecast_forecast", 3),
        Column("its low end", "forecast_low", 3),
        Column("its high end", "forecast_high", 3),
    ]
    print(result.write([bits, *forecast, Column("bigram", "bigram_bits_per_byte", 3), WALL], remarks=remarks))


def main() -> None:
    """Run the part that is asked for."""
    parts = {"shakespeare": shakespeare, "quick": quick, "speed": speed, "hour": hour, "wikitext": wikitext, "stdlib": stdlib}
    for part in sys.argv[1:] or parts:
        parts[part]()


if __name__ == "__main__":
    main()
