"""Box-guided high-resolution pixel features.

Shapes: B images, N boxes, D memory width, H x W merged tokens, h x w mask cells. Boxes are normalised x0 y0 x1 y1 in 0..1.
"""

import math

import torch
from torch import Tensor, nn


def box_gate(boxes_N4: Tensor, height: int, width: int, growth: float, sharpness: float) -> Tensor:
    """Soft inside-the-box weight of every mask cell, (N, h, w).

    The box is grown by `growth` of its size; the gate is the product of four sigmoids on the borders in normalised coordinates.
    """
    x0, y0, x1, y1 = boxes_N4.float().unbind(-1)
    grow_x, grow_y = (x1 - x0) * growth / 2, (y1 - y0) * growth / 2
    x = (torch.arange(width, device=boxes_N4.device) + 0.5) / width
    y = (torch.arange(height, device=boxes_N4.device) + 0.5) / height

    def inside(cell: Tensor, low: Tensor, high: Tensor) -> Tensor:
        return torch.sigmoid(sharpness * (cell - low[:, None])) * torch.sigmoid(sharpness * (high[:, None] - cell))

    return inside(y, y0 - grow_y, y1 + grow_y)[:, :, None] * inside(x, x0 - grow_x, x1 + grow_x)[:, None, :]


class PixelShuffleUp(nn.Module):
    """Two PixelShuffle stages that bring the memory to the mask's grid: (B, D, H, W) -> (B, P, H*factor, W*factor)."""

    def __init__(self, width: int, channels: int, factor: int) -> None:
        super().__init__()
        first = 2 ** math.ceil(math.log2(factor) / 2)
        second = factor // first
        self.stages = nn.Sequential(
            nn.Conv2d(width, channels * first**2, 1),
            nn.PixelShuffle(first),
            nn.GroupNorm(8, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels * second**2, 3, padding=1),
            nn.PixelShuffle(second),
        )

    def forward(self, memory_BDHW: Tensor) -> Tensor:
        return self.stages(memory_BDHW)


class ImageStem(nn.Module):
    """Shallow CNN on the raw image (values -1..1), strides of two down to `stride`: (B, 3, Hpx, Wpx) -> (B, S, h, w)."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for _ in range(int(math.log2(stride))):
            layers += [nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.GroupNorm(8, channels), nn.GELU()]
            inputs = channels
        layers += [
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(8, channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 1),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        return self.layers(image_B3HW)
