"""Masks for a network that answers with boxes only: from depth, else from colour, else the box itself. Nothing is trained."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage, describe
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.segmentation.depth_mask import DepthMask, Surfaces, mask_from_depth, surfaces_around
from qwen_seg_ros.segmentation.rgb_mask import mask_from_colour

# Confidences were set on real pictures of tables (mOSD, even numbers) and one of a cluttered bin; benchmarks/box_to_mask.py
# prints what they promise and what comes on the other pictures.
COLOUR_CONFIDENCE = 0.5  # mean IoU .79 on tables, .42 in the bin: colour is asked where it is hard
BOX_CONFIDENCE = 0.4  # .68 and .52, and only where colour gave up
SUNKEN_PENALTY, MIN_TRUST = 8.0, 0.4


@dataclass(frozen=True, eq=False)
class BoxMask:
    """mask: empty only for a box without a pixel of the image; confidence: expected IoU with the object, 0..1;
    method: "depth", "colour" or "box" (the filled box)."""

    mask: CroppedMask
    confidence: float
    method: str


def masks_in_boxes(frame: Frame, boxes_px: NDArray) -> tuple[BoxMask, ...]:
    """One mask per box (N, 4), xyxy in pixels, in the same order; any box will do, also outside the image or of no size.

    Raises:
        InvalidInputError: when `boxes_px` is not of shape (N, 4).
    """
    boxes = np.asarray(boxes_px, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InvalidInputError(f"boxes_px must be numbers (N, 4) as x0 y0 x1 y1, got {describe(boxes_px)}")
    regions = [Region.of_box(box, frame.width, frame.height) for box in boxes]
    surfaces = surfaces_around(frame, [region for region in regions if not region.empty])
    return tuple(_mask_in_box(frame, surfaces, region) for region in regions)


def _mask_in_box(frame: Frame, surfaces: Surfaces | None, box: Region) -> BoxMask:
    if box.empty:
        return BoxMask(CroppedMask(np.zeros((0, 0), bool), 0, 0, frame.height, frame.width), 0.0, "box")
    seen = mask_from_depth(surfaces, box, frame.width, frame.height) if surfaces is not None else None
    if seen is not None:
        return BoxMask(_placed(frame, seen.region, seen.mask), _expected_iou(seen), "depth")
    coloured = mask_from_colour(frame.rgb, box)
    if coloured is not None:
        return BoxMask(_placed(frame, box, coloured), COLOUR_CONFIDENCE, "colour")
    return BoxMask(_placed(frame, box, np.ones(box.shape, bool)), BOX_CONFIDENCE, "box")


def _expected_iou(seen: DepthMask) -> float:
    """Outlines that differ from the box cost a little; a table that is none, as in a bin, costs more."""
    return (0.79 + 0.19 * seen.agreement) * max(MIN_TRUST, 1 - SUNKEN_PENALTY * seen.sunken)


def _placed(frame: Frame, region: Region, mask: MaskImage) -> CroppedMask:
    return CroppedMask.from_part(mask, region.x0, region.y0, frame.height, frame.width)
