"""The box-guided mask decoder of Qwen3-VL-Seg (arXiv 2605.07141), about 17 M parameters on the 4B base.

Shapes: B images, N instances over the batch, D decoder width, T text width, V visual width, H x W merged image tokens,
h x w mask cells, P + S channels of F_pixel. `image_of_N` says which image each instance belongs to.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qwen_seg_ros.model.configuration import MaskDecoderConfig
from qwen_seg_ros.model.pixel_branch import ImageStem, PixelShuffleUp, box_gate
from qwen_seg_ros.model.spatial_adapter import SpatialAdapter

POOL_EPS = 1e-6


@dataclass(frozen=True)
class ImageFeatures:
    """Input of the decoder: levels L x (B, V, H, W), top (B, V, H, W), text (B, H, W, T), image (B, 3, Hpx, Wpx)."""

    levels: list[Tensor]
    top: Tensor
    text: Tensor
    image: Tensor


@dataclass(frozen=True)
class PixelMemory:
    """Computed once per image: memory (B, D, H, W), upsampled (B, P, h, w), stem (B, S, h, w)."""

    memory: Tensor
    upsampled: Tensor
    stem: Tensor


def fourier(values: Tensor, frequencies: int) -> Tensor:
    """(...,) -> (..., 2 * frequencies): sin and cos of geometrically spaced frequencies up to 2^8 half turns."""
    scale = math.pi * torch.logspace(0, 8, frequencies, base=2.0, device=values.device)
    angle = values.float()[..., None] * scale
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def box_features(boxes_N4: Tensor, frequencies: int) -> Tensor:
    """E_box = g(x1) ++ g(y1) ++ g(0.2 log w + 0.5) ++ g(0.2 log h + 0.5), (N, 8 * frequencies); boxes normalised 0..1."""
    x0, y0, x1, y1 = boxes_N4.float().unbind(-1)
    log_w = 0.2 * (x1 - x0).clamp(min=1e-3).log() + 0.5
    log_h = 0.2 * (y1 - y0).clamp(min=1e-3).log() + 0.5
    return torch.cat([fourier(v, frequencies) for v in (x0, y0, log_w, log_h)], dim=-1)


class QueryBlock(nn.Module):
    """One decoder layer: the query attends to the memory of its own image, then an MLP."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        d = config.hidden_size
        self.attention = nn.MultiheadAttention(d, config.num_heads, batch_first=True)
        self.norm1, self.norm2, self.norm_memory = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, config.ffn_size), nn.GELU(), nn.Linear(config.ffn_size, d))

    def forward(self, query_ND: Tensor, memory_NMD: Tensor) -> Tensor:
        memory = self.norm_memory(memory_NMD)
        attended, _ = self.attention(self.norm1(query_ND)[:, None], memory, memory, need_weights=False)
        query_ND = query_ND + attended[:, 0]
        return query_ND + self.mlp(self.norm2(query_ND))


class MaskDecoder(nn.Module):
    """Boxes and mask-token states -> mask logits in two passes and a predicted IoU."""

    def __init__(self, config: MaskDecoderConfig, visual_size: int, text_size: int, levels: int, token_px: int) -> None:
        super().__init__()
        self.config = config
        d, channels = config.hidden_size, config.pixel_channels + config.stem_channels
        self.adapter = SpatialAdapter(visual_size, text_size, levels, d, config.position_grid)
        self.box_mlp = nn.Sequential(nn.Linear(8 * config.fourier_frequencies, d), nn.GELU(), nn.Linear(d, d))
        self.segment_token = nn.Linear(text_size, d)
        self.query_norm = nn.LayerNorm(d)
        self.blocks = nn.ModuleList(QueryBlock(config) for _ in range(config.num_layers))
        self.up = PixelShuffleUp(d, config.pixel_channels, token_px // config.stem_stride)
        self.stem = ImageStem(config.stem_channels, config.stem_stride)
        self.kernel = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, channels + 1))
        self.target = nn.Linear(channels, d)
        self.refine_norm = nn.LayerNorm(d)
        self.iou = nn.Sequential(nn.Linear(d, d), nn.GELU(), nn.Linear(d, 1))

    def encode(self, features: ImageFeatures) -> PixelMemory:
        """The instruction-free part: once per image."""
        memory = self.adapter(features.levels, features.top, features.text)
        return PixelMemory(memory, self.up(memory), self.stem(features.image))

    def forward(
        self, pixels: PixelMemory, boxes_N4: Tensor, token_NT: Tensor, image_of_N: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """-> first-pass logits (N, h, w), final logits (N, h, w), IoU logits (N,)."""
        memory_NMD = pixels.memory.flatten(2).transpose(1, 2)[image_of_N]
        corners = box_features(boxes_N4, self.config.fourier_frequencies).to(token_NT.dtype)
        query = self.query_norm(self.box_mlp(corners) + self.segment_token(token_NT))
        for block in self.blocks:
            query = block(query, memory_NMD)
        gate_Nhw = self._gates(boxes_N4, image_of_N, *pixels.stem.shape[-2:]).to(pixels.stem.dtype)
        first = self._dynamic_mask(query, pixels, gate_Nhw, image_of_N)
        pooled = self._pool(first, pixels, gate_Nhw, image_of_N)
        query = self.refine_norm(query + self.target(pooled))
        return first, self._dynamic_mask(query, pixels, gate_Nhw, image_of_N), self.iou(query)[:, 0]

    def _gates(self, boxes_N4: Tensor, image_of_N: Tensor, height: int, width: int) -> Tensor:
        gates = box_gate(boxes_N4, height, width, self.config.box_growth, self.config.gate_sharpness)
        if self.config.gate == "own":
            return gates
        same = image_of_N[:, None] == image_of_N[None, :]
        return torch.stack([gates[row].amax(0) for row in same])

    def _dynamic_mask(self, query_ND: Tensor, pixels: PixelMemory, gate_Nhw: Tensor, image_of_N: Tensor) -> Tensor:
        """Psi(Q, F_up ++ M * F_cnn): the product with the gate is linear, so F_pixel is never copied per instance."""
        kernel = self.kernel(query_ND)
        up, stem, bias = kernel.split([self.config.pixel_channels, self.config.stem_channels, 1], dim=-1)
        coarse = torch.einsum("nc,nchw->nhw", up, pixels.upsampled[image_of_N])
        fine = torch.einsum("nc,nchw->nhw", stem, pixels.stem[image_of_N])
        scale = (self.config.pixel_channels + self.config.stem_channels) ** -0.5
        return ((coarse + gate_Nhw * fine) * scale + bias[:, :, None]).float()

    def _pool(self, logits_Nhw: Tensor, pixels: PixelMemory, gate_Nhw: Tensor, image_of_N: Tensor) -> Tensor:
        """Soft-mask average of F_pixel, (N, P + S)."""
        weight = logits_Nhw.sigmoid().to(gate_Nhw.dtype)
        total = weight.sum((1, 2))[:, None] + POOL_EPS
        up = torch.einsum("nhw,nchw->nc", weight, pixels.upsampled[image_of_N])
        stem = torch.einsum("nhw,nchw->nc", weight * gate_Nhw, pixels.stem[image_of_N])
        return torch.cat([up, stem], dim=-1) / total


def resize_masks(logits_Nhw: Tensor, height: int, width: int) -> Tensor:
    """Bilinear to the image's size, (N, height, width)."""
    return F.interpolate(logits_Nhw[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
