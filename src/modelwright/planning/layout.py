"""The layout: how a training is spread over several devices, what each of them then holds, and what they must tell each other.

Letters: n devices that share something, B batch, T time, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelwright.core.errors import InputError
from modelwright.planning.devices import Device

NAMES = ("data", "sharded", "tensor")
REACHED = 0.8
"""Share of a link's bandwidth that collective operations reach; as measured by NVIDIA's nccl-tests on machines of eight GPUs."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many ways each thing is divided; the product is the number of devices.

    Attributes:
        data: copies of the model, each with its share of the batch (Li et al. 2020, PyTorch distributed).
        sharded: devices that share one copy of parameters, gradients and optimizer state, and gather a block's parameters when they need them,
            each with its share of the batch (Rajbhandari et al. 2020, ZeRO stage 3; Zhao et al. 2023, FSDP).
        tensor: devices that share the products of matrices of each block (Shoeybi et al. 2019, Megatron-LM).
    """

    data: int = 1
    sharded: int = 1
    tensor: int = 1

    @property
    def devices(self) -> int:
        """All devices together."""
        return self.data * self.sharded * self.tensor

    @property
    def batches(self) -> int:
        """Into how many shares a batch is cut."""
        return self.data * self.sharded

    @property
    def holders(self) -> int:
        """Devices that share one set of parameters, gradients and optimizer state."""
        return self.sharded * self.tensor

    def __str__(self) -> str:
        return " · ".join(f"{name} {ways}" for name in NAMES if (ways := getattr(self, name)) > 1) or "one device"


def parse_layout(text: str, devices: int) -> Layout:
    """Read `data`, `sharded`, `tensor`, or several with their numbers, as in `tensor=8,sharded=4`.

    Raises:
        InputError: an unknown word, a number that is none, or numbers whose product is not that of the devices.
    """
    ways: dict[str, int] = {}
    open_name = None
    for part in text.split(","):
        name, equals, number = (word.strip() for word in part.partition("="))
        if name not in NAMES:
            raise InputError(f"unknown layout {name!r}", expected=f"{', '.join(NAMES)}, or several as in tensor=8,sharded=4")
        if equals and (not number.isdecimal() or int(number) < 1):
            raise InputError(f"can't read the layout {part.strip()!r}", expected="a whole number of devices, as in tensor=8")
        if name in ways or name == open_name or (not equals and open_name is not None):
            raise InputError(
                f"can't read the layout {text!r}", expected="each word once, and a number for all but one, as in tensor=8,sharded"
            )
        if equals:
            ways[name] = int(number)
        else:
            open_name = name
    given = Layout(**ways)
    if open_name is not None:
        if devices % given.devices:
            raise InputError(f"{devices} devices can't be divided by {given.devices}", where=f"layout {text}")
        ways[open_name] = devices // given.devices
    layout = Layout(**ways)
    if layout.devices != devices:
        raise InputError(
            f"the layout {text} is for {layout.devices} devices, and there are {devices}", remedy="Give --devices, or other numbers"
        )
    return layout


def likely_layouts(devices: int, node: int, tensor: bool) -> list[Layout]:
    """Those worth a look for that many devices, the simplest first.

    Args:
        devices: all of them.
        node: of one node; tensor parallel ones stay within.
        tensor: whether the network can be shared so.
    """
    if devices == 1:
        return [Layout()]
    found = [Layout(data=devices), Layout(sharded=devices)]
    if devices > node and devices % node == 0:
        found.append(Layout(data=devices // node, sharded=node))
    if tensor:
        found += [Layout(tensor=ways, sharded=devices // ways) for ways in (2, 4, 8) if ways <= min(devices, node) and devices % ways == 0]
    return found


def exchange_seconds(
    layout: Layout, device: Device, *, parameters: int, gradient_bytes: int, item: int, micro_batches: int, stream_bytes: int, blocks: int
) -> tuple[float, float]:
    """What a device spends on exchanging tensors in a step: what can be hidden behind computing, and what can't.

    Args:
        layout: the devices.
        device: one of them.
        parameters: of the whole model.
        gradient_bytes: of the whole model.
        item: bytes of a number in computing.
        micro_batches: forward and backward passes of a step.
        stream_bytes: of what goes from block to block, (B, T, D) of one micro-batch.
        blocks: of the model.
    """
    hidden = waited = 0.0
    if layout.tensor > 1:
        share = (layout.tensor - 1) / layout.tensor
        # Two sums over all in each pass of a block, as large as the stream; a sum moves everything twice.
        waited += micro_batches * blocks * 4 * 2 * share * stream_bytes / _speed(layout.tensor, device)
    if layout.sharded > 1:
        share = (layout.sharded - 1) / layout.sharded
        moved = 3 * parameters * item / layout.tensor
        hidden += micro_batches * moved * share / _speed(layout.sharded * layout.tensor, device)
    if layout.data > 1:
        share = (layout.data - 1) / layout.data
        hidden += 2 * share * gradient_bytes / layout.holders / _speed(layout.devices, device)
    return hidden, waited


def _speed(ways: int, device: Device) -> float:
    """Bytes a second between that many devices."""
    return REACHED * 1e9 * (device.link if ways <= device.node else device.fabric)
