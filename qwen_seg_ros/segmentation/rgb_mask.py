"""The object in a box from colour alone: GrabCut (Rother et al., SIGGRAPH 2004) that expects an ellipse. The fall-back."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage, RgbImage
from qwen_seg_ros.geometry.region import Region

CONTEXT_SHARE = 0.6  # colours of the background are learned in the box grown by this share
WORK_PX = 192  # longer side of the crop GrabCut sees: its time grows with the area, below 160 the edges blur
ROUNDS = 1  # more rounds forget the prior
MIN_BOX_PX = 8
MIN_SHARE, MAX_SHARE = 0.1, 0.97  # of the box: a smaller or larger result says that the colours do not part
SURE_SHARE = 0.65  # the middle of the ellipse, in its half axes, is the object


def mask_from_colour(rgb: RgbImage, box: Region) -> MaskImage | None:
    """bool, the shape of the box; None when the box is tiny or its colours do not tell an object from what is around."""
    if min(box.shape) < MIN_BOX_PX:
        return None
    height, width = rgb.shape[:2]
    window = box.grown(CONTEXT_SHARE, width, height)
    inner = box.within(window)
    scale = min(1.0, WORK_PX / max(window.shape))
    small = cv2.resize(rgb[window.rows_cols], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    guess = _prior(small.shape[:2], inner.box * scale)
    found = _cut(small, guess)
    mask = cv2.resize(found.astype(np.float32), window.shape[::-1], interpolation=cv2.INTER_LINEAR)[inner.rows_cols] > 0.5
    mask = _largest(mask)
    return mask if MIN_SHARE <= mask.mean() <= MAX_SHARE else None


def _prior(shape: tuple[int, ...], box: NDArray) -> NDArray[np.uint8]:
    """GrabCut's labels: outside the box background, its middle object, the ellipse in it probably object."""
    rows, cols = np.mgrid[: shape[0], : shape[1]] + 0.5
    x0, y0, x1, y1 = box
    radius = np.hypot((cols - (x0 + x1) / 2) / ((x1 - x0) / 2), (rows - (y0 + y1) / 2) / ((y1 - y0) / 2))
    guess = np.where(radius < 1, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    guess[radius < SURE_SHARE] = cv2.GC_FGD
    guess[(cols < x0) | (cols > x1) | (rows < y0) | (rows > y1)] = cv2.GC_BGD
    return np.asarray(guess, np.uint8)


def _cut(rgb: NDArray, guess: NDArray[np.uint8]) -> MaskImage:
    cv2.setRNGSeed(0)  # GrabCut's clusters start at random: same picture and box, same mask
    whole = (0, 0, 0, 0)  # not looked at when the labels are given
    cv2.grabCut(rgb, guess, whole, np.zeros((1, 65)), np.zeros((1, 65)), ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)


def _largest(mask: MaskImage) -> MaskImage:
    """The largest connected part."""
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if len(stats) < 2:
        return mask
    return numbers == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
