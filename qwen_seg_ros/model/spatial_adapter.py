"""Multi-scale spatial feature injection: ViT levels and language-model states -> the decoder's memory.

Shapes: B images, L levels, C channels in, D decoder width, H x W merged image tokens.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LevelInjection(nn.Module):
    """X0 = Conv1x1(F); out = X0 + s * GELU(GroupNorm(DWConv(X0))), s starts at 1e-3 (near identity)."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels_in, channels, 1)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.GroupNorm(8, channels)
        self.scale = nn.Parameter(torch.full((1,), 1e-3))  # a vector: FSDP cannot shard a scalar

    def forward(self, feature_BCHW: Tensor) -> Tensor:
        x = self.project(feature_BCHW)
        return x + self.scale * F.gelu(self.norm(self.depthwise(x)))


class SpatialAdapter(nn.Module):
    """F_mem = W_mm T_mm + F_fuse + P_mem, kept as a map (B, D, H, W)."""

    def __init__(self, visual_size: int, text_size: int, levels: int, width: int, position_grid: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(LevelInjection(visual_size, width) for _ in range(levels))
        self.top = nn.Conv2d(visual_size, width, 1)
        self.fuse = nn.Sequential(nn.Conv2d(width * (levels + 1), width, 1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1))
        self.text = nn.Linear(text_size, width)
        self.position = nn.Parameter(torch.randn(1, width, position_grid, position_grid) * 0.02)

    def forward(self, levels_BCHW: list[Tensor], top_BCHW: Tensor, text_BHWC: Tensor) -> Tensor:
        maps = [inject(level) for inject, level in zip(self.levels, levels_BCHW, strict=True)]
        fused_BDHW = self.fuse(torch.cat([*maps, self.top(top_BCHW)], dim=1))
        return self.text(text_BHWC).permute(0, 3, 1, 2) + fused_BDHW + resampled(self.position, *fused_BDHW.shape[-2:])


def resampled(table_1DGG: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corners on corners, (1, D, height, width). As matrix products, because the gradient of torch's own
    interpolation is not the same twice on several CPU threads."""
    rows, cols = (_linear_weights(table_1DGG, n, size) for n, size in ((height, -2), (width, -1)))
    return rows @ table_1DGG @ cols.T


def _linear_weights(table: Tensor, places: int, dim: int) -> Tensor:
    cells = table.shape[dim]
    at = torch.linspace(0, cells - 1, places, device=table.device)
    return (1 - (at[:, None] - torch.arange(cells, device=table.device)).abs()).clamp(min=0).to(table.dtype)
