"""Advice: what would fit, or be faster, than what was asked for; every piece of it but compiling, which is dear to trace, is planned before it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from modelwright.core.errors import InputError
from modelwright.core.units import format_bytes, format_count
from modelwright.planning.layout import Layout
from modelwright.planning.machine import slow_in_bfloat16
from modelwright.workflows.outlook import Outlook

ROOM = 0.7
"""Share of the memory below which a larger batch is looked at."""
WORTH = 1.05
"""Gain in speed that is worth a word."""
JOINED = 0.67
"""Share of what only moves memory that compiling saves, at most: of three operations in a row one is left."""
REMEDIES = 3
"""Of what doesn't fit."""


@dataclass(frozen=True)
class Advice:
    """One thing to change.

    Attributes:
        change: settings, as `--set` and the options take them.
        text: what it does.
        memory: bytes of a device then.
        speed: examples a second then, as a multiple of now.
        cost: of an example then, as a multiple of now.
    """

    change: str
    text: str
    memory: int
    speed: float
    cost: float

    def to_json(self) -> dict[str, Any]:
        """As an object."""
        return {"change": self.change, "text": self.text, "memory_bytes": self.memory, "speed": self.speed, "cost": self.cost}


def _advice(now: Outlook, then: Outlook, change: str, text: str) -> Advice:
    return Advice(
        change, text, then.memory.needed, then.samples_per_second / now.samples_per_second, then.device_seconds / now.device_seconds
    )


def improvements(now: Outlook, largest: int) -> list[Advice]:
    """What would be faster, of a plan that fits; the best first.

    Args:
        now: the plan.
        largest: the most examples a device that fit.
    """
    found: list[Advice] = []
    training = now.subject.recipe.training
    if training.activation_checkpointing and (not now.dear or now.memory.needed < 0.5 * now.machine.limit):
        then = now.with_training(activation_checkpointing=False)
        if then.fits:
            found.append(_advice(now, then, "training.activation_checkpointing=false", "checkpointing doesn't pay: all fits without it"))
    if training.precision == "float32" and now.machine.peak("bfloat16") > now.machine.peak("float32"):
        then = now.with_training(precision="bfloat16")
        found.append(_advice(now, then, "training.precision=bfloat16", "computing in bfloat16"))
    used = now.memory.needed / now.machine.limit
    if used < ROOM:
        batch = _round(largest)
        if batch > now.share:
            then = now.with_training(accumulation=1).with_batch(batch)
            text = f"you use {used:.0%} of the memory: batch {then.subject.batch_size:,} would fit"
            found.append(_advice(now, then, f"training.batch_size={then.subject.batch_size}", text))
    found += [*_compiled(now), *_cheaper(now)]
    return sorted((advice for advice in found if advice.speed >= WORTH or advice.cost < 1 / WORTH), key=lambda advice: -advice.speed)


def _compiled(now: Outlook) -> Iterator[Advice]:
    """Compiling, as far as it can help: it saves most of what only moves memory."""
    if now.subject.recipe.training.compile is not True:
        share = now.machine.moving_share(now.step)
        text = f"compiling may pay: {share:.0%} of the time goes to operations that it can join"
        speed = 1 / (1 - JOINED * share)
        yield Advice("training.compile=true", text, now.memory.needed, speed, 1 / speed)


def _cheaper(now: Outlook) -> Iterator[Advice]:
    """Fewer devices, where an example then costs clearly less."""
    number = now.layout.devices // 2
    best = now
    while number >= 1:
        for layout in {Layout(data=number), Layout(sharded=number)}:
            if now.subject.batch_size % number == 0:
                then = now.nearly(layout)
                if then.fits and then.device_seconds < best.device_seconds / WORTH:
                    best = then
        number //= 2
    if best is not now:
        best = now.with_layout(best.layout)
        if best.fits:
            devices = best.layout.devices
            how = "sharded" if best.layout.sharded > 1 else "data"
            yield _advice(now, best, f"--devices {devices} --layout {how}", f"{devices} devices cost less")


def _round(batch: int) -> int:
    """Down to a number as people choose it: of three binary digits, or a multiple of 8."""
    if batch < 8:
        return batch
    return batch // 8 * 8 if batch < 64 else batch >> (batch.bit_length() - 3) << (batch.bit_length() - 3)


def remedies(now: Outlook) -> list[Advice]:
    """What makes a plan fit that doesn't, the fastest first, at most three.

    Raises:
        InputError: nothing does; the message names the part that is too large.
    """
    found: list[Advice] = []
    for attempt in (_slices, _checkpointing, _bfloat16, _more_devices, _smaller_model, _both):
        found += [advice for advice in _tried(attempt, now) if advice.memory <= now.machine.limit]
        if len(found) >= REMEDIES and now.dear:
            break
    if not found:
        part = now.memory.largest
        raise InputError(
            f"this can never fit: the {part} alone take {format_bytes(now.memory.parts[part])} of the {format_bytes(now.machine.limit)} that "
            f"{now.machine.name} has, and no smaller batch, recomputation or sharding over {now.layout.devices} devices helps",
            remedy="Take a smaller model, a larger device, or more of them with --devices",
        )
    return sorted(found, key=lambda advice: -advice.speed)[:REMEDIES]


def _tried(attempt: Callable[[Outlook], Iterator[Advice]], now: Outlook) -> Iterator[Advice]:
    try:
        yield from attempt(now)
    except InputError:
        return


def _slices(now: Outlook) -> Iterator[Advice]:
    """The same batch in slices, or a smaller one."""
    largest = now.largest_batch()
    if largest < 1:
        return
    if largest >= now.share:
        return
    slices = -(-now.share // largest)
    then = now.with_training(accumulation=slices)
    while not then.fits and slices < now.share:
        slices = min(2 * slices, now.share)
        then = now.with_training(accumulation=slices)
    yield _advice(now, then, f"training.accumulation={slices}", f"the same batch in {slices} slices")
    then = now.with_training(accumulation=1).with_batch(largest)
    size = then.subject.batch_size
    yield _advice(now, then, f"training.batch_size={size}", f"a batch of {size:,}")


def _checkpointing(now: Outlook) -> Iterator[Advice]:
    if not now.subject.recipe.training.activation_checkpointing:
        then = now.with_training(activation_checkpointing=True)
        yield _advice(now, then, "training.activation_checkpointing=true", "activations computed twice rather than kept")


def _bfloat16(now: Outlook) -> Iterator[Advice]:
    if now.subject.recipe.training.precision == "float32" and not slow_in_bfloat16(now.machine):
        then = now.with_training(precision="bfloat16")
        yield _advice(now, then, "training.precision=bfloat16", "activations in bfloat16")


def _more_devices(now: Outlook) -> Iterator[Advice]:
    """Sharded over all devices, or over as few more as suffice."""
    if now.machine.kind == "cpu":
        return
    devices = now.layout.devices
    for number in (devices, 2 * devices, 4 * devices, 8 * devices):
        layout = Layout(sharded=number)
        if layout == now.layout or now.subject.batch_size % number:
            continue
        then = now.with_layout(layout)
        if then.fits:
            yield _advice(now, then, f"--devices {number} --layout sharded", f"fully sharded over {number} devices")
            return


def _smaller_model(now: Outlook) -> Iterator[Advice]:
    found = now.larger_model()
    if found is not None and found[0] < 1:
        then = found[1]
        before, after = (each.subject.recipe.model.model_dump(mode="json") for each in (now, then))
        change = " ".join(f"model.{key}={value}".replace(" ", "") for key, value in after.items() if value != before[key])
        yield _advice(now, then, change, f"a model of {format_count(then.subject.count.total_parameters)} parameters")


def _both(now: Outlook) -> Iterator[Advice]:
    """One example at a time, activations recomputed, in bfloat16 unless that is slow, sharded: the least that there is."""
    settings: dict[str, object] = {"accumulation": now.share}
    if not slow_in_bfloat16(now.machine):
        settings = {"precision": "bfloat16", **settings}
    then = now.with_training(**settings)
    with suppress(InputError):
        again = now.with_training(**settings, activation_checkpointing=True)
        if again.memory.needed < then.memory.needed:
            settings, then = {**settings, "activation_checkpointing": True}, again
    change = " ".join(f"training.{key}={str(value).lower()}" for key, value in settings.items())
    if now.machine.kind != "cpu" and now.layout.devices > 1:
        then = then.with_layout(Layout(sharded=now.layout.devices))
        change += " --layout sharded"
    yield _advice(now, then, change, "one example at a time, in as few bytes as possible, recomputed where that helps")
