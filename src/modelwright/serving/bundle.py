"""The bundle: a folder that is alone enough to predict. Weights, configuration, preprocessing and labels; nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import Field
from safetensors import SafetensorError
from torch import Tensor

from modelwright.core.config import Config, validate
from modelwright.core.errors import InputError
from modelwright.core.registry import component
from modelwright.core.run import Run, disk_errors, written_aside
from modelwright.core.schema import Schema
from modelwright.core.version import __version__
from modelwright.data.config import DataConfig
from modelwright.models.family import families
from modelwright.models.network import Network, build_network
from modelwright.nn.head import HeadConfig
from modelwright.nn.stem import stems
from modelwright.tasks.task import Task, tasks

FORMAT = 1
"""Version of the folder's layout; a bundle of another one is refused."""
TOKENIZER = "tokenizer.json"
"""The tokenizer of a language model, in the format of the `tokenizers` library."""


class BundleConfig(Config):
    """What `bundle.json` says."""

    format: int = FORMAT
    name: str
    data: DataConfig
    """How the training data was read; new data is read likewise."""
    data_schema: Schema
    """The fitted schema: preprocessing and labels. The tokenizer of a text lies beside, in `tokenizer.json`."""
    tokenizer_digest: str = ""
    """BLAKE2b digest of `tokenizer.json`; empty where there is none."""
    task: component(tasks)  # type: ignore[valid-type]
    stem: component(stems)  # type: ignore[valid-type]
    model: component(families, "family")  # type: ignore[valid-type]
    head: HeadConfig
    data_digest: str = ""
    """Digest of the data it was trained on."""
    versions: dict[str, str] = Field(default={})
    digests: dict[str, str] = Field(default={})
    """A BLAKE2b digest per tensor."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A loaded bundle."""

    config: BundleConfig
    network: Network
    task: Task


def save_bundle(path: Path, config: BundleConfig, network: torch.nn.Module) -> None:
    """Write the bundle folder, aside and then into place.

    Args:
        config: everything but versions and digests, which are filled in here.

    Raises:
        InputError: the disk is full or not writable.
    """
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.state_dict().items()}
    complete = config.replace(
        versions={"modelwright": __version__, "torch": torch.__version__, "python": platform.python_version()},
        digests={name: _digest(tensor) for name, tensor in weights.items()},
    )
    tokenizer = config.data_schema.text.tokenizer if config.data_schema.kind == "text" else ""
    if tokenizer:
        complete = complete.replace(data_schema=_with_tokenizer(config.data_schema, ""), tokenizer_digest=_text_digest(tokenizer))
    with disk_errors(path), written_aside(path) as folder:
        folder.mkdir()
        if tokenizer:
            (folder / TOKENIZER).write_bytes(tokenizer.encode())
        (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights))
        (folder / "bundle.json").write_text(json.dumps(complete.model_dump(mode="json"), indent=2), encoding="utf-8")


def load_bundle(path: Path | str) -> Bundle:
    """Read a bundle, from its folder or from the run folder around it.

    Raises:
        InputError: there is none, it is damaged or of another format, or it needs a part that is not installed.
    """
    path = Path(path)
    if (path / "model" / "bundle.json").is_file():
        path = path / "model"
    elif any((path / name).is_file() for name in ("recipe.yaml", "comparison.json")) and not (path / "model").exists():
        raise Run(path).lacks("model")
    values = _read_json(path / "bundle.json")
    if isinstance(found := values.get("format"), int) and found != FORMAT:
        raise InputError(f"bundle format {found}", where=path, expected=str(FORMAT), remedy="Use the version that wrote it")
    config = validate(BundleConfig, values, source=str(path / "bundle.json"))
    if config.tokenizer_digest:
        config = config.replace(data_schema=_with_tokenizer(config.data_schema, _read_tokenizer(path / TOKENIZER, config.tokenizer_digest)))
    try:
        weights = safetensors.torch.load_file(path / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise _damaged(path / "model.safetensors", str(error)) from None
    changed = [
        name for name in config.digests.keys() | weights.keys() if name not in weights or config.digests.get(name) != _digest(weights[name])
    ]
    if changed:
        raise _damaged(path / "model.safetensors", f"tensor {min(changed)} is not what was written")
    task = config.task.build(config.data_schema)
    network = build_network(config.data_schema, config.model, task.outputs, stem=config.stem, head=config.head, seed=None)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    return Bundle(config, network.eval(), task)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("holds no bundle", where=path.parent, expected="a run folder, or the model folder in it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(values, dict):
        raise _damaged(path, "it holds no object")
    return values


def _with_tokenizer(schema: Schema, tokenizer: str) -> Schema:
    """The schema of a text, with another tokenizer in it."""
    return schema.replace(inputs=(schema.text.replace(tokenizer=tokenizer), *schema.inputs[1:]))


def _read_tokenizer(path: Path, digest: str) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise InputError("is missing", where=path, remedy="Restore it, or train again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from None
    if _text_digest(text) != digest:
        raise _damaged(path, "it is not what was written")
    return text


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"is damaged ({reason})", where=path, remedy="Restore it, or train again")


def _digest(tensor: Tensor) -> str:
    data = tensor.detach().contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor
    return hashlib.blake2b(data.numpy().tobytes() + str((tensor.dtype, tuple(tensor.shape))).encode(), digest_size=16).hexdigest()
