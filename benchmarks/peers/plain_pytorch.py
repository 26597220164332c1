"""The plain PyTorch script for MNIST that people start from: Dataset, DataLoader, a loop over batches. The peer of our speed figures.

Its data set does for every image what torchvision's `MNIST`, `ToTensor` and `Normalize` do, step by step (torchvision itself is not needed): an
array becomes a picture, the picture a float tensor in 0..1, and that is normalized. Everything else is as in the examples of PyTorch: eager,
float32, shuffled by the loader, two worker processes, Adam.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


class MNIST(Dataset[tuple[Tensor, int]]):
    """The images and labels of one split, prepared one by one.

    Args:
        folder: holds the four IDX files, gzipped or not.
        split: `train` or `t10k`.
        examples: use only that many.
    """

    def __init__(self, folder: Path, split: str, examples: int | None = None) -> None:
        self.images = torch.from_numpy(read_idx(folder, f"{split}-images-idx3-ubyte")[:examples])
        self.labels = torch.from_numpy(read_idx(folder, f"{split}-labels-idx1-ubyte")[:examples]).long()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.images[index].numpy())
        return normalize(to_tensor(picture)), int(self.labels[index])


def read_idx(folder: Path, name: str) -> np.ndarray:
    """The array of bytes in an IDX file, gzipped or not."""
    path = folder / f"{name}.gz"
    content = gzip.decompress(path.read_bytes()) if path.exists() else (folder / name).read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def to_tensor(picture: Image.Image) -> Tensor:
    """(1, H, W) float32 in 0..1, as `torchvision.transforms.ToTensor`."""
    array = torch.from_numpy(np.array(picture, np.uint8, copy=True))
    return array.view(picture.height, picture.width, 1).permute(2, 0, 1).contiguous().to(torch.get_default_dtype()).div(255)


def normalize(image: Tensor, mean: float = 0.1307, std: float = 0.3081) -> Tensor:
    """As `torchvision.transforms.Normalize`."""
    return image.clone().sub_(torch.as_tensor([mean]).view(-1, 1, 1)).div_(torch.as_tensor([std]).view(-1, 1, 1))


def train(network: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    """One epoch."""
    network.train()
    for image, label in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(image), label)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(network: nn.Module, loader: DataLoader) -> float:
    """Share of right answers."""
    network.eval()
    return sum((network(image).argmax(1) == label).sum().item() for image, label in loader) / len(loader.dataset)  # type: ignore[arg-type]


def main(build: Callable[[], nn.Module]) -> None:
    """Train what `build` makes, and print one JSON object with the seconds of every epoch and the test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("MODELWRIGHT_DATA", "data")) / "mnist", help="folder of the IDX files"
    )
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, help="threads of the training process; PyTorch's own choice if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, help="use only that many of each split")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    torch.manual_seed(arguments.seed)
    training = DataLoader(
        MNIST(arguments.data, "train", arguments.examples), batch_size=arguments.batch_size, shuffle=True, num_workers=arguments.workers
    )
    test = DataLoader(MNIST(arguments.data, "t10k", arguments.examples), batch_size=1000, num_workers=arguments.workers)
    network = build()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    seconds, scores = [], []
    for _ in range(arguments.epochs):
        began = time.perf_counter()
        train(network, training, optimizer)
        seconds.append(time.perf_counter() - began)
        scores.append(accuracy(network, test))
    row = {
        "seconds_per_epoch": seconds,
        "test_accuracy": scores[-1],
        "test_accuracy_by_epoch": scores,
        "total_seconds": time.perf_counter() - started,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "batch_size": arguments.batch_size,
        "epochs": arguments.epochs,
        "workers": arguments.workers,
        "threads": torch.get_num_threads(),
        "seed": arguments.seed,
    }
    print(json.dumps(row))
