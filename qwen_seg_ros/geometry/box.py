"""Boxes: x0 y0 x1 y1, right and lower edge exclusive. The only place that turns the model's grid into pixels."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import BoxPx

GRID = 1000  # Qwen3-VL writes box corners as integers 0..1000, relative to the image


def grid_to_pixels(box_grid: NDArray, width: int, height: int) -> BoxPx:
    """Boxes (..., 4) on the 0..1000 grid -> pixels of a `width` x `height` image."""
    scale = np.array([width, height, width, height], np.float32) / GRID
    return (np.asarray(box_grid, np.float32) * scale).astype(np.float32, copy=False)


def pixels_to_grid(box_px: NDArray, width: int, height: int) -> NDArray[np.int64]:
    """Inverse of `grid_to_pixels`, rounded to the grid and clipped to it."""
    scale = GRID / np.array([width, height, width, height], np.float64)
    return np.clip(np.rint(np.asarray(box_px) * scale), 0, GRID).astype(np.int64)


def iou(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4) and (M, 4) -> (N, M); empty boxes give 0."""
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.prod(np.maximum(size, 0), axis=-1)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def area(box: NDArray) -> NDArray[np.float64]:
    """Area of boxes (..., 4); inverted boxes count as empty."""
    size = np.maximum(np.asarray(box, np.float64)[..., 2:] - np.asarray(box, np.float64)[..., :2], 0)
    return size[..., 0] * size[..., 1]


def grown(box: NDArray, share: float) -> NDArray[np.float64]:
    """Boxes (..., 4) grown about their centre by `share` of width and height in all."""
    box = np.asarray(box, np.float64)
    margin = (box[..., 2:] - box[..., :2]) * (share / 2)
    return np.concatenate([box[..., :2] - margin, box[..., 2:] + margin], axis=-1)
