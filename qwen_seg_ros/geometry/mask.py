"""A mask is kept as its crop and the crop's place: cheap to copy, to publish and to compare."""

from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import BoxPx, MaskImage, frozen, require


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """The pixels of one object inside its tight bounding rectangle.

    crop: bool (h, w); x_px, y_px: column and row of its upper left pixel; height, width: size of the whole image.
    """

    crop: MaskImage
    x_px: int
    y_px: int
    height: int
    width: int

    def __post_init__(self) -> None:
        require(self.crop, "mask crop", (None, None), np.bool_)
        rows, cols = self.crop.shape
        inside = 0 <= self.x_px <= self.width - cols and 0 <= self.y_px <= self.height - rows
        if not inside:
            raise InvalidInputError(
                f"mask crop {cols}x{rows} at ({self.x_px}, {self.y_px}) does not lie inside the {self.width}x{self.height} image"
            )
        object.__setattr__(self, "crop", frozen(self.crop))

    @classmethod
    def from_full(cls, mask: MaskImage) -> "CroppedMask":
        """Crop a whole-image mask bool (H, W) to its pixels; an empty mask gives a 0x0 crop."""
        require(mask, "mask", (None, None), np.bool_)
        return cls.from_part(mask, 0, 0, *mask.shape)

    @classmethod
    def from_part(cls, mask: MaskImage, x_px: int, y_px: int, height: int, width: int) -> "CroppedMask":
        """The same of a mask bool (h, w) of the part of a height x width image that begins at this column and row."""
        require(mask, "mask", (None, None), np.bool_)
        cols = np.flatnonzero(mask.any(axis=0))
        rows = np.flatnonzero(mask.any(axis=1))
        if len(cols) == 0:
            return cls(np.zeros((0, 0), bool), x_px, y_px, height, width)
        x0, x1, y0, y1 = int(cols[0]), int(cols[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
        return cls(mask[y0:y1, x0:x1].copy(), x_px + x0, y_px + y0, height, width)

    @property
    def rows_cols(self) -> tuple[slice, slice]:
        """Index of the crop in any (H, W, ...) array of the image."""
        rows, cols = self.crop.shape
        return slice(self.y_px, self.y_px + rows), slice(self.x_px, self.x_px + cols)

    @property
    def box_px(self) -> BoxPx:
        """x0 y0 x1 y1, right and lower edge exclusive."""
        rows, cols = self.crop.shape
        return np.array([self.x_px, self.y_px, self.x_px + cols, self.y_px + rows], np.float32)

    @property
    def area_px(self) -> int:
        return int(np.count_nonzero(self.crop))

    def full(self) -> MaskImage:
        """The whole-image mask, bool (H, W)."""
        mask = np.zeros((self.height, self.width), bool)
        mask[self.rows_cols] = self.crop
        return mask


def mask_iou(first: MaskImage, second: MaskImage) -> float:
    """Intersection over union of two bool (H, W) masks; two empty masks give 1."""
    union = int(np.count_nonzero(first | second))
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def encode_rle(mask: MaskImage) -> list[int]:
    """Run lengths of a bool (H, W) mask in column-major order, first run = zeros (COCO's uncompressed RLE)."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[:1].any() else runs


def decode_rle(counts: list[int], height: int, width: int) -> MaskImage:
    """Inverse of `encode_rle`.

    Raises:
        InvalidInputError: when the runs are negative or do not add up to the image.
    """
    runs = np.asarray(counts, np.int64)
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise InvalidInputError(f"RLE runs must be >= 0 and add up to {height * width} ({width}x{height}), got {int(runs.sum())}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T.copy()
