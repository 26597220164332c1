"""The target `safetensors`: weights under documented names and the settings that make a network of them, for other programs to read."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import safetensors.torch

from modelwright.core.version import __version__
from modelwright.exporting.portable import Portable, run_module
from modelwright.exporting.subject import Subject
from modelwright.exporting.target import Runtime, Target, targets
from modelwright.models.family import families
from modelwright.models.network import Network, build_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems

WEIGHTS, CONFIG = "model.safetensors", "config.json"


@targets.register("safetensors")
class SafetensorsTarget(Target):
    """`model.safetensors` and `config.json`."""

    runtime = "safetensors, and the network built anew from its settings"
    packages: ClassVar[tuple[str, ...]] = ("torch", "safetensors")

    def write(self, subject: Subject, folder: Path) -> None:
        """Write both files; the header of the weights says what they are of."""
        weights = {name: tensor.detach().contiguous().clone() for name, tensor in subject.network.state_dict().items()}
        about = {"format": "pt", "modelwright": __version__, "name": subject.name, "family": subject.family.family}
        (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights, about))
        config = {
            "schema": subject.schema.replace(inputs=tuple(feature.replace(tokenizer="") for feature in subject.schema.inputs)).model_dump(
                mode="json"
            ),
            "stem": subject.stem.model_dump(mode="json"),
            "model": subject.family.model_dump(mode="json"),
            "head": subject.head.model_dump(mode="json"),
            "task": subject.learns.model_dump(mode="json"),
            "outputs": subject.network.outputs,
            "tensors": _tensors(subject.network),
        }
        (folder / CONFIG).write_text(json.dumps(config, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def load(self, subject: Subject, folder: Path) -> Runtime:
        """Build the network of `config.json`, fill it from `model.safetensors`, and run it."""
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        network = build_network(
            subject.schema,
            families[settings["model"]["family"]].model_validate(settings["model"]),
            settings["outputs"],
            stem=stems[settings["stem"]["name"]].model_validate(settings["stem"]),
            head=HeadConfig.model_validate(settings["head"]),
            seed=None,
        )
        network.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
        module = Portable(subject.with_network(network.eval()))
        return partial(run_module, module)

    def note(self, subject: Subject) -> str:
        """What the files hold, and what the bundle has beyond that."""
        return (
            "`config.json` has the settings of stem, backbone and head, and of each tensor its shape, its type and the kind of layer that it belongs "
            "to. Neither file holds anything that is executed. The bundle in the run, which `modelwright predict` reads, knows besides how data "
            "files were read, and has a digest for each tensor; here preprocessing and labels are plain numbers and names in `export.json`, "
            "with one digest for each file."
        )

    def usage(self, subject: Subject) -> list[str]:
        """Read weights and settings, and build the network."""
        return [
            "import json",
            "from safetensors.torch import load_file",
            f'config = json.load(open("{CONFIG}"))',
            f'weights = load_file("{WEIGHTS}")',
            'print(config["model"]["family"], sum(tensor.numel() for tensor in weights.values()))',
        ]


def _tensors(network: Network) -> dict[str, dict[str, Any]]:
    """Of each tensor its shape, its type, and the kind of layer that it is a part of."""
    modules, learnt = dict(network.named_modules()), {name for name, _ in network.named_parameters()}
    return {
        name: {
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "layer": type(modules[name.rpartition(".")[0]]).__name__,
            "learnt": name in learnt,
        }
        for name, tensor in network.state_dict().items()
    }
