"""A checkpoint: everything that a run needs to go on, on disk, without code in it and with a digest of every part.

A checkpoint is a folder `step-00000500` of two files: `tensors.safetensors`, and `state.json` with all that is no tensor, the place of
every tensor in it, and a digest of each tensor and of itself.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from modelwright.core.run import disk_errors, written_aside

FORMAT = 1
KEEP = 2
"""How many checkpoints stay: the last one, and the one before in case that the last one is damaged."""
_NAME = re.compile(r"step-(\d{8,})")


class Checkpoint(NamedTuple):
    """A checkpoint that was read: the steps done by then, and the state (tensors on the CPU)."""

    step: int
    state: dict[str, Any]


class Damaged(Exception):
    """A checkpoint is incomplete or altered."""


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint below `folder`, and remove all but the last two.

    Args:
        state: nested dicts, lists and tuples of tensors, numbers, strings, booleans and None.

    Raises:
        InputError: the disk is full or not writable; the checkpoints of before are untouched.
    """
    tensors: dict[str, Tensor] = {}
    content = {"format": FORMAT, "step": step, "state": _pack(state, "", tensors)}
    content["digests"] = {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    path = folder / f"step-{step:08d}"
    with disk_errors(path), written_aside(path) as aside:
        aside.mkdir()
        # Not save_file: its errors are not OSErrors, so that a full disk could not be told from a bug.
        (aside / "tensors.safetensors").write_bytes(safetensors.torch.save(tensors))
        (aside / "state.json").write_text(json.dumps({**content, "digest": _digest(_canonical(content))}), encoding="utf-8")
    for old in _paths(folder)[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load(path: Path) -> Checkpoint:
    """Read one checkpoint and check all its digests.

    Raises:
        Damaged: something is missing or altered.
    """
    try:
        content = json.loads((path / "state.json").read_text(encoding="utf-8"))
        digest = content.pop("digest")
        if content["format"] != FORMAT or digest != _digest(_canonical(content)):
            raise Damaged("state.json is altered")
        tensors = safetensors.torch.load((path / "tensors.safetensors").read_bytes())
        altered = [name for name, expected in content["digests"].items() if tensor_digest(tensors[name]) != expected]
        if altered:
            raise Damaged(f"the tensor {altered[0]} is altered")
        return Checkpoint(content["step"], _unpack(content["state"], tensors))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise Damaged(f"{type(error).__name__}: {error}") from None


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint below `folder` that is whole; None without any. A damaged one is passed over with a warning."""
    for path in _paths(folder):
        try:
            return load(path)
        except Damaged as damage:
            warnings.warn(f"The checkpoint {path} is damaged ({damage}); going on with the one before.", stacklevel=2)
    return None


def tensor_digest(tensor: Tensor) -> str:
    """A digest of a tensor's type, shape and bytes."""
    content = hashlib.blake2b(f"{tensor.dtype} {tuple(tensor.shape)} ".encode(), digest_size=16)
    content.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _paths(folder: Path) -> list[Path]:
    """The checkpoints below a folder, newest first."""
    if not folder.is_dir():
        return []
    found = [(int(match.group(1)), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _canonical(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it; tensors go into `tensors` by their path, dicts become lists of pairs, as keys may be numbers."""
    if isinstance(value, Tensor):
        # A copy, so that tied weights, which share memory, can be written, and so that no layout but the plain one is.
        while path in tensors:  # keys may contain the separator themselves
            path += "'"
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(item, f"{path}/{key}".lstrip("/"), tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_pack(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{path}: a checkpoint can't hold a {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
