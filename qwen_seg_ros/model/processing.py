"""Image <-> patches: Qwen3-VL's resize and patch order, and the exact inverse of the resize for boxes and masks."""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import RgbImage

MAX_ASPECT = 200  # as in transformers' smart_resize
MAX_SQUEEZE = 0.05  # natural logarithm of how far a picture may be squeezed rather than given a border


@dataclass(frozen=True)
class ImageProcessor:
    """patch_size and merge_size in pixels / patches; min_pixels..max_pixels bounds the area of the resized image.

    fixed_size: height and width of every resized image, for a model that was trained on one size only: what is too wide or too
    high for it gets a plain border below or on the right. Boxes and masks of the model are then those of the picture with its
    border (`canvas`), whose pixels are the picture's own.
    """

    patch_size: int = 16
    merge_size: int = 2
    temporal_patch_size: int = 2
    min_pixels: int = 65_536
    max_pixels: int = 16_777_216
    fixed_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.fixed_size is not None and any(side < 1 or side % self.token_px for side in self.fixed_size):
            raise InvalidInputError(f"fixed_size must be multiples of {self.token_px} pixels, got {self.fixed_size}")

    @property
    def token_px(self) -> int:
        return self.patch_size * self.merge_size

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Height and width the image is resized to: multiples of `token_px`, area in bounds, aspect kept as far as possible."""
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise InvalidInputError(f"image must not be longer than {MAX_ASPECT} times its width, got {width}x{height}")
        if self.fixed_size is not None:
            return self.fixed_size
        unit = self.token_px
        new_h, new_w = max(unit, round(height / unit) * unit), max(unit, round(width / unit) * unit)
        if new_h * new_w > self.max_pixels:
            scale = math.sqrt(height * width / self.max_pixels)
            new_h, new_w = (max(unit, math.floor(v / scale / unit) * unit) for v in (height, width))
        elif new_h * new_w < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (height * width))
            new_h, new_w = (math.ceil(v * scale / unit) * unit for v in (height, width))
        return new_h, new_w

    def halved(self, height: int, width: int) -> "ImageProcessor | None":
        """One that shows such a picture with at most half of the pixels; None where there is none: for a model of one size, and
        for a picture that is small already."""
        rows, cols = self.size_for(height, width)
        if self.fixed_size is not None or rows * cols // 2 < self.min_pixels:
            return None
        return replace(self, max_pixels=rows * cols // 2)

    def canvas(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a picture with its border: as given, unless its shape is far from that of `fixed_size`."""
        if self.fixed_size is None:
            return height, width
        aspect = self.fixed_size[1] / self.fixed_size[0]
        if abs(math.log(width / height / aspect)) <= MAX_SQUEEZE:
            return height, width
        return max(height, round(width / aspect)), max(width, round(height * aspect))

    def resize(self, rgb: RgbImage) -> RgbImage:
        """uint8 (H, W, 3) -> uint8 `canvas`, resized to `size_for`; area averaging when shrinking, cubic when growing."""
        height, width = self.size_for(*rgb.shape[:2])
        below, right = (full - side for full, side in zip(self.canvas(*rgb.shape[:2]), rgb.shape, strict=False))
        if below or right:  # in the picture's mean colour, as what comes in at the border while training
            plain = cv2.mean(rgb)[:3]
            rgb = np.asarray(cv2.copyMakeBorder(rgb, 0, below, 0, right, cv2.BORDER_CONSTANT, value=plain), np.uint8)
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
