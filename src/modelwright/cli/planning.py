"""The verbs that tell before spending: plan, and ledger, which tells afterwards how near that was."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from modelwright.cli.arguments import DataOptions, Printing, Settings, answer, app, changes_of, reporter_of


@app.command
def plan(
    recipe: str,
    /,
    *,
    device: str | None = None,
    devices: int = 1,
    layout: str | None = None,
    memory: str | None = None,
    efficiency: float | None = None,
    price: float | None = None,
    data: str | None = None,
    family: str | None = None,
    budget: str | None = None,
    advice: Annotated[bool, Parameter(negative="--no-advice")] = True,
    settings: Settings = None,
    options: DataOptions = DataOptions(),
    printing: Printing = Printing(),
) -> None:
    """Foretell memory, time and cost of a training, on this machine or another one, without allocating the model.

    **Examples**

    - `modelwright plan mnist-cnn --data path/to/mnist`
    - `modelwright plan stdlib --family transformer --set model.preset=gpt2-124m --device a100-80gb`
    - `modelwright plan shape:text,vocabulary=32000 --family transformer --set model.preset=llama-70b --set data.context=4096 --set training.batch_size=1024 --set training.activation_checkpointing=true --device h100-80gb --devices 64 --price 2.5`
    - `modelwright plan recipe.yaml --device my-gpu.yaml --json`

    Parameters
    ----------
    recipe
        A recipe file, a ready recipe's name, or data; for data that isn't there a shape, like `shape:image,height=224,width=224,classes=1000`.
    device
        A well-known accelerator, such as h100-80gb; a YAML file that describes one; or cpu, this machine. Where `train` would run if not said.
    devices
        How many there are.
    layout
        How they share the work: data, sharded, tensor, or several as in tensor=8,sharded=4. The fastest that fits if not said.
    memory
        Memory of a device that may be used, like 16GB; all of it if not said.
    efficiency
        Share of the peak that products of matrices reach on the device, where it is known.
    price
        Of a device's hour, in any currency.
    data
        The data, in place of the recipe's own.
    family
        The backbone: linear, mlp, cnn, rnn, gru, lstm, transformer or hybrid.
    budget
        How much may be spent: 90s, 5 epochs, 500 steps, 10B tokens.
    advice
        Look for what would fit, or be faster.
    settings
        Any setting of the recipe, as key=value; repeatable.
    """
    from modelwright.core.garbage import uncollected
    from modelwright.core.units import parse_bytes

    changes = changes_of(options)
    changes.update({"data.path": data, "model.family": family, "training.budget": budget})
    with uncollected():
        from modelwright.workflows.plan import plan as work

        made = work(
            recipe, device=device, devices=devices, layout=layout, memory=None if memory is None else parse_bytes(memory),
            efficiency=efficiency, price=price, settings=settings or (), changes=changes, advise=advice, reporter=reporter_of(printing),
        )  # fmt: skip
    answer(printing, made)


@app.command
def ledger(*, last: int = 20, printing: Printing = Printing()) -> None:
    """Show how near the forecasts of earlier runs on this machine came, by quantity.

    **Examples**

    - `modelwright ledger`
    - `modelwright ledger --last 50 --json`

    Parameters
    ----------
    last
        Forecasts of each quantity that are shown.
    """
    from modelwright.workflows.ledger import ledger as work

    answer(printing, work(last=last, reporter=reporter_of(printing)))
