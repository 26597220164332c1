"""Devices: what well-known accelerators can do, from their makers' tables; and the description of one's own.

Units: TFLOP/s, GB (10^9 bytes) and GB/s.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from modelwright.core.config import Config, read_yaml, validate
from modelwright.core.errors import InputError, closest

EFFICIENCY = 0.68
"""Share of the peak that products of matrices reach, where nothing better is known; fitted on published trainings on A100 (docs/decisions.md)."""


USABLE = 0.985
"""Share of an accelerator's memory that programs get."""


class Device(NamedTuple):
    """An accelerator; dense peaks.

    Attributes:
        chip: the words by which PyTorch names it.
        bfloat16: TFLOP/s with bfloat16 factors and sums in float32, without structured sparsity; None where it has no such units.
        float32: TFLOP/s in IEEE single precision, as PyTorch computes by default (no TF32).
        memory: GB as the maker says it.
        bandwidth: of its memory, GB/s.
        link: to the other devices of a node, GB/s in one direction: NVLink or the like, else PCIe.
        fabric: between nodes, GB/s in one direction for each device, as clusters of it are usually built; not of the maker's table.
        source: where the peaks come from.
        node: devices of a node.
        efficiency: share of the peak that products of matrices reach.
    """

    chip: str
    bfloat16: float | None
    float32: float
    memory: float
    bandwidth: float
    link: float
    fabric: float
    source: str
    node: int = 8
    efficiency: float = EFFICIENCY

    @property
    def usable(self) -> float:
        """Bytes of memory that programs get: makers mean 2^30 by GB, and PyTorch reports 1 to 2 % less."""
        return USABLE * 2**30 * self.memory

    def peak(self, precision: str) -> float:
        """FLOPs a second at most; without units for bfloat16 as in float32."""
        return 1e12 * (self.bfloat16 if precision == "bfloat16" and self.bfloat16 else self.float32)


DEVICES: dict[str, Device] = {
    "v100-16gb": Device("V100", None, 15.7, 16, 900, 150, 12.5, "NVIDIA V100 datasheet, SXM2"),
    "v100-32gb": Device("V100", None, 15.7, 32, 900, 150, 12.5, "NVIDIA V100 datasheet, SXM2"),
    "v100-pcie-16gb": Device("V100 PCIe", None, 14.0, 16, 900, 16, 12.5, "NVIDIA V100 datasheet, PCIe"),
    "v100-pcie-32gb": Device("V100 PCIe", None, 14.0, 32, 900, 16, 12.5, "NVIDIA V100 datasheet, PCIe"),
    "t4": Device("T4", None, 8.1, 16, 320, 16, 12.5, "NVIDIA T4 datasheet"),
    "a10": Device("A10", 125.0, 31.2, 24, 600, 32, 12.5, "NVIDIA A10 datasheet"),
    "a30": Device("A30", 165.0, 10.3, 24, 933, 32, 12.5, "NVIDIA A30 datasheet"),
    "a40": Device("A40", 149.7, 37.4, 48, 696, 32, 12.5, "NVIDIA A40 datasheet"),
    "a100-40gb": Device("A100", 312.0, 19.5, 40, 1555, 300, 25, "NVIDIA A100 datasheet"),
    "a100-80gb": Device("A100", 312.0, 19.5, 80, 2039, 300, 25, "NVIDIA A100 datasheet"),
    "l4": Device("L4", 121.0, 30.3, 24, 300, 32, 12.5, "NVIDIA L4 datasheet, half of the number with sparsity"),
    "l40": Device("L40", 181.05, 90.5, 48, 864, 32, 12.5, "NVIDIA L40 datasheet"),
    "l40s": Device("L40S", 362.05, 91.6, 48, 864, 32, 12.5, "NVIDIA L40S datasheet"),
    "rtx-3090": Device("RTX 3090", 71.0, 35.6, 24, 936, 32, 12.5, "NVIDIA GA102 whitepaper, appendix A"),
    "rtx-4090": Device("RTX 4090", 165.2, 82.6, 24, 1008, 32, 12.5, "NVIDIA Ada whitepaper, appendix A"),
    "rtx-5090": Device("RTX 5090", 209.5, 104.8, 32, 1792, 64, 12.5, "NVIDIA RTX Blackwell whitepaper, appendix A"),
    "h20": Device("H20", 148.0, 44.0, 96, 4000, 450, 50, "NVIDIA H20 datasheet"),
    "h100-80gb": Device("H100", 989.4, 66.9, 80, 3350, 450, 50, "NVIDIA H100 whitepaper, SXM5"),
    "h100-pcie-80gb": Device("H100 PCIe", 756.0, 51.2, 80, 2000, 64, 12.5, "NVIDIA H100 whitepaper, PCIe"),
    "h100-nvl-94gb": Device("H100 NVL", 835.0, 60.0, 94, 3900, 300, 50, "NVIDIA H100 NVL datasheet, half of the number with sparsity"),
    "h200-141gb": Device("H200", 989.4, 66.9, 141, 4800, 450, 50, "NVIDIA H200 datasheet, half of the number with sparsity"),
    "h200-nvl-141gb": Device("H200 NVL", 835.0, 60.0, 141, 4800, 450, 50, "NVIDIA H200 datasheet, NVL, half of the number with sparsity"),
    "gh200-96gb": Device("GH200", 989.4, 66.9, 96, 4000, 450, 50, "NVIDIA GH200 datasheet, half of the number with sparsity"),
    "gh200-144gb": Device("GH200", 989.4, 66.9, 144, 4900, 450, 50, "NVIDIA GH200 datasheet, half of the number with sparsity"),
    "b200-180gb": Device("B200", 2250.0, 75.0, 180, 8000, 900, 50, "NVIDIA HGX B200 datasheet, an eighth of eight GPUs"),
    "gb200-186gb": Device("GB200", 2500.0, 80.0, 186, 8000, 900, 50, "NVIDIA GB200 NVL72 datasheet, one of 72 GPUs"),
    "mi210-64gb": Device("MI210", 181.0, 45.3, 64, 1638, 32, 12.5, "AMD Instinct MI210 datasheet, float32 of matrices"),
    "mi300x-192gb": Device("MI300X", 1307.4, 163.4, 192, 5300, 448, 50, "AMD Instinct MI300X datasheet"),
    "mi325x-256gb": Device("MI325X", 1307.4, 163.4, 256, 6000, 448, 50, "AMD Instinct MI325X datasheet"),
    "mi355x-288gb": Device("MI355X", 2516.6, 157.3, 288, 8000, 538, 50, "AMD Instinct MI355X datasheet"),
}
"""By the names that a plan takes."""
VARIANTS = ("Ti", "D", "SUPER", "Laptop", "Max-Q", "NVL", "MIG")
"""Words after which a device is another one than that of a row without them: slower or faster, or a part of it."""


class _Own(Config):
    """A device as a file describes it."""

    name: str
    bfloat16: float | None = Field(default=None, gt=0)
    float32: float = Field(gt=0)
    memory: float = Field(gt=0)
    bandwidth: float = Field(gt=0)
    link: float = Field(default=32.0, gt=0)
    fabric: float = Field(default=12.5, gt=0)
    node: int = Field(default=8, ge=1)
    efficiency: float = Field(default=EFFICIENCY, gt=0, le=1)


def find_device(name: str) -> Device:
    """The device called `name`, such as `h100-80gb`; or the one that a YAML file of that name describes.

    Raises:
        InputError: there is none; the message lists what is known and how to describe one's own.
    """
    key = name.lower().replace("_", "-").replace(" ", "-")
    if key in DEVICES:
        return DEVICES[key]
    if name.endswith((".yaml", ".yml")):
        values, lines = read_yaml(Path(name))
        own = validate(_Own, values, source=name, lines=lines)
        numbers = own.model_dump(exclude={"name"})
        return Device(chip=own.name, source=name, **numbers)
    starting = [known for known in DEVICES if known.startswith(key + "-")]
    if len(starting) == 1:
        return DEVICES[starting[0]]
    near = " or ".join(starting) or closest(key, DEVICES)
    raise InputError(
        f"unknown device {name!r}",
        expected=f"cpu, one of {', '.join(DEVICES)}, or a YAML file with name, float32 and bfloat16 in TFLOP/s, memory in GB, bandwidth in GB/s "
        "and, where there are several, link and fabric in GB/s",
        remedy=f"Did you mean {near}?" if near else None,
    )


def device_of(name: str) -> Device | None:
    """The row of the device that PyTorch calls so, such as `NVIDIA A100-SXM4-80GB`; None where the name tells of a variant that no row is of."""
    fitting = [row for row in DEVICES.values() if _holds(name, row.chip)]
    variants = [word for word in VARIANTS if _holds(name, word)]
    size = re.search(r"(\d+) ?GB", name)
    gigabytes = float(size[1]) if size else 0.0
    found = max(fitting, key=lambda row: (len(row.chip), -abs(row.memory - gigabytes)), default=None)
    return found if found is not None and all(_holds(found.chip, word) for word in variants) else None


def _holds(name: str, words: str) -> bool:
    """Whether these words stand in a name, with blanks or hyphens between them."""
    return bool(re.search(rf"(?<![A-Za-z0-9]){re.sub('[ -]', '[ -]', words)}(?![A-Za-z0-9])", name, re.IGNORECASE))
