"""What an object looks like: which colours its mask holds, and how alike two such looks are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask

LIGHT_BINS, HUE_BINS = 16, 32
BLUR_SIGMA = 1.0  # in bins: small changes of light move colours to a neighbouring bin
EDGE = np.ones((3, 3), np.uint8)  # the border of a mask shows what is behind the object


@dataclass(frozen=True, eq=False)
class Look:
    """Shares of the mask's pixels by colour, both of sum 1. hues: (32, 32) over a and b of CIE Lab; lights: (16,) over L."""

    hues: NDArray[np.float32]
    lights: NDArray[np.float32]


def look_of(rgb: RgbImage, mask: CroppedMask) -> Look | None:
    """The colours under a mask, its border left out where that leaves something; None for an empty mask."""
    if mask.area_px == 0:
        return None
    inner = cv2.erode(mask.crop.astype(np.uint8), EDGE, borderValue=0)
    lab = cv2.cvtColor(np.ascontiguousarray(rgb[mask.rows_cols]), cv2.COLOR_RGB2LAB)
    chosen = inner if inner.any() else mask.crop.astype(np.uint8)
    return Look(_shares(lab, (1, 2), chosen, (HUE_BINS, HUE_BINS)), _shares(lab, (0,), chosen, (LIGHT_BINS,)))


def _shares(lab: NDArray, channels: tuple[int, ...], mask: NDArray, bins: tuple[int, ...]) -> NDArray[np.float32]:
    counts = cv2.calcHist([lab], channels, mask, bins, (0, 256) * len(bins))  # of one channel: a column
    blurred = cv2.GaussianBlur(counts, (5 if len(bins) == 2 else 1, 5), BLUR_SIGMA)
    return (blurred / blurred.sum()).reshape(bins)


def likeness(first: Look | None, second: Look | None) -> float:
    """0..1: Bhattacharyya coefficients of hues and of lights, multiplied; 0 where a look is unknown."""
    if first is None or second is None:
        return 0.0
    return float(np.sqrt(first.hues * second.hues).sum() * np.sqrt(first.lights * second.lights).sum())
