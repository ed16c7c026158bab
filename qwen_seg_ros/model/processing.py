"""Image <-> patches: Qwen3-VL's resize and patch order, and the exact inverse of the resize for boxes and masks."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import RgbImage

MAX_ASPECT = 200  # as in transformers' smart_resize


@dataclass(frozen=True)
class ImageProcessor:
    """patch_size and merge_size in pixels / patches; min_pixels..max_pixels bounds the area of the resized image."""

    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 65_536
    max_pixels: int = 16_777_216

    @property
    def token_px(self) -> int:
        return self.patch_size * self.merge_size

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Height and width the image is resized to: multiples of `token_px`, area in bounds, aspect kept as far as possible."""
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise InvalidInputError(f"image must not be longer than {MAX_ASPECT} times its width, got {width}x{height}")
        unit = self.token_px
        new_h, new_w = max(unit, round(height / unit) * unit), max(unit, round(width / unit) * unit)
        if new_h * new_w > self.max_pixels:
            scale = math.sqrt(height * width / self.max_pixels)
            new_h, new_w = (max(unit, math.floor(v / scale / unit) * unit) for v in (height, width))
        elif new_h * new_w < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (height * width))
            new_h, new_w = (math.ceil(v * scale / unit) * unit for v in (height, width))
        return new_h, new_w

    def resize(self, rgb: RgbImage) -> RgbImage:
        """uint8 (H, W, 3) -> uint8 resized to `size_for`; area averaging when shrinking, cubic when growing."""
        height, width = self.size_for(*rgb.shape[:2])
        if (height, width) == rgb.shape[:2]:
            return rgb
        shrinking = height * width < rgb.shape[0] * rgb.shape[1]
        resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC)
        return resized.astype(np.uint8, copy=False)

    def normalise(self, images: list[RgbImage]) -> Tensor:
        """B images of one size -> float32 (B, 3, H, W), values -1..1."""
        batch = torch.from_numpy(np.stack(images))
        return batch.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0)

    def patches(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) -> pixel_values (patches, 3 * T * P * P) in Qwen3-VL's order and image_grid_thw (B, 3).

        Patches of one merge window stand next to each other; a still image is repeated over the temporal patch.
        """
        batch, _, height, width = image_B3HW.shape
        p, m, t = self.patch_size, self.merge_size, self.temporal_patch_size
        rows, cols = height // p, width // p
        x = image_B3HW.reshape(batch, 3, rows // m, m, p, cols // m, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        x = x.unsqueeze(6).expand(*x.shape[:6], t, *x.shape[6:])
        grid = torch.tensor([[1, rows, cols]] * batch)
        return x.reshape(batch * rows * cols, 3 * t * p * p), grid
