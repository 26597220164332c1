"""Plain PyTorch, the common row-by-row LSTM: an image is a sequence of 28 rows, two layers of width 50, the last state is read."""

from __future__ import annotations

from plain_pytorch import main
from torch import Tensor, nn


class RowLSTM(nn.Module):
    """(B, 1, 28, 28) -> (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 50, num_layers=2, batch_first=True)
        self.out = nn.Linear(50, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 10) of images (B, 1, 28, 28)."""
        states, _ = self.lstm(image.squeeze(1))
        return self.out(states[:, -1])


if __name__ == "__main__":
    main(RowLSTM)
