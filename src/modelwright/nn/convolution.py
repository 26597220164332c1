"""Convolution blocks: convolution, norm, activation and pooling over a grid, plain and residual.

B batch, C channels, H height, W width.
"""

from __future__ import annotations

from torch import Tensor, nn

from modelwright.nn.activation import MONOTONE, Activation, activation
from modelwright.nn.initialization import ending_branch, with_role
from modelwright.nn.normalization import GridNorm, grid_norm


def convolution(channels_in: int, channels: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> nn.Conv2d:
    """A convolution (B, C, H, W) -> (B, `channels`, H', W')."""
    return nn.Conv2d(channels_in, channels, kernel, stride, padding, bias=bias)


class ConvolutionBlock(nn.Sequential):
    """Convolution, norm, activation and, where `pool` > 1, max pooling; (B, C, H, W) -> (B, `channels`, H', W').

    The pooling comes before an activation that never falls, which gives the same numbers for a fraction of the work.

    Args:
        channels_in: C.
        channels: of the output.
        kernel: side of the kernel.
        padding: zeros around the grid, `kernel // 2` to keep its size.
        pool: side and stride of the max pooling, 1 for none.
        norm: `none`, `batch`, `layer` or `group`; a convolution has a bias only without one.
        activation_name: the nonlinearity.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 3,
        *,
        padding: int = 1,
        pool: int = 1,
        norm: GridNorm = "batch",
        activation_name: Activation = "relu",
    ) -> None:
        parts: list[nn.Module] = [
            with_role(convolution(channels_in, channels, kernel, padding=padding, bias=norm == "none"), activation_name)
        ]
        if norm != "none":
            parts.append(grid_norm(norm, channels))
        ending: list[nn.Module] = [activation(activation_name)]
        if pool > 1:
            ending.insert(0 if activation_name in MONOTONE else 1, nn.MaxPool2d(pool))
        super().__init__(*parts, *ending)


class ResidualBlock(nn.Module):
    """Two convolutions around which the input passes unchanged, or through a 1x1 convolution where the shape changes.

    He et al. 2016, Deep Residual Learning, figure 2 and option B.

    Args:
        channels_in: C.
        channels: of the output.
        kernel: side of the kernel, odd.
        stride: of the first convolution and of the shortcut.
        norm: `none`, `batch`, `layer` or `group`.
        activation_name: the nonlinearity.
        branch_scale: factor on the initial weights of the second convolution.
    """

    def __init__(
        self,
        channels_in: int,
        channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        norm: GridNorm = "batch",
        activation_name: Activation = "relu",
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__()
        bias, padding = norm == "none", kernel // 2
        second = convolution(channels, channels, kernel, padding=padding, bias=bias)
        self.branch = nn.Sequential(
            with_role(convolution(channels_in, channels, kernel, stride=stride, padding=padding, bias=bias), activation_name),
            grid_norm(norm, channels),
            activation(activation_name),
            with_role(second, "linear", scale=branch_scale),
            grid_norm(norm, channels),
        )
        ending_branch(second if norm == "none" else self.branch[-1])
        self.shortcut = (
            nn.Identity()
            if stride == 1 and channels_in == channels
            else nn.Sequential(convolution(channels_in, channels, 1, stride=stride, bias=bias), grid_norm(norm, channels))
        )
        self.activation = activation(activation_name)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, `channels`, ⌈H/stride⌉, ⌈W/stride⌉)."""
        return self.activation(self.shortcut(x_BCHW) + self.branch(x_BCHW))
