"""Which pixels of a mask carry depth that belongs to the object."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage, valid_depth
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.lifting.settings import LiftSettings

CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
SQUARE = np.ones((3, 3), np.uint8)
FAR = np.float32(1e6)


def object_pixels(mask: MaskImage, depth_m: NDArray, camera: Camera, settings: LiftSettings) -> MaskImage:
    """The pixels of `mask` (h, w) that are sound: measured, of one surface, and at the mask's edge a continuation of its inside.

    Masks are least sure at their edge, so the edge counts only with the depth's consent. Without it a plain erosion would
    shave several millimetres off every object.
    """
    sound = mask & valid_depth(depth_m)
    jump = jump_m(np.where(sound, depth_m, 0), camera, settings)
    sound &= ~flying(depth_m, sound, jump)
    margin = round(settings.mask_margin_px * camera.width / 640)
    core = _eroded(mask, margin, camera.width) & sound
    return _grown_along_depth(core, sound, depth_m, margin, jump)


def jump_m(depth_m: NDArray, camera: Camera, settings: LiftSettings) -> NDArray:
    """The step in depth that separates two surfaces, per pixel; large pixels see larger steps on one slope (four sides long)."""
    share = np.float32(max(settings.flying_jump_share, 4 / camera.fx))
    return np.maximum(np.float32(settings.flying_jump_m), share * depth_m)


def flying(depth_m: NDArray, among: MaskImage, jump: NDArray) -> MaskImage:
    """Pixels between two surfaces: the depth range in 3x3, counted over the pixels `among`, exceeds the jump and fewer than
    three neighbours are within it. The edge of a real surface has three: a thin rim in front of something far stays."""
    rows, cols = np.nonzero(among & (_range(depth_m, among) > jump))
    padded = np.pad(np.where(among, depth_m, FAR), 1, constant_values=FAR)
    around = np.stack([padded[rows + y, cols + x] for y in range(3) for x in range(3) if (y, x) != (1, 1)])
    alone = np.count_nonzero(np.abs(around - depth_m[rows, cols]) < jump[rows, cols], axis=0) < 3
    mixed = np.zeros_like(among)
    mixed[rows[alone], cols[alone]] = True
    return mixed


def _range(depth_m: NDArray, among: MaskImage) -> NDArray:
    """Largest less smallest depth in 3x3, over the pixels `among`."""
    return cv2.dilate(np.where(among, depth_m, -FAR), SQUARE) - cv2.erode(np.where(among, depth_m, FAR), SQUARE)


def _eroded(mask: MaskImage, margin: int, image_width: int) -> MaskImage:
    """The mask less its margin; a mask that is thin (12 px at 640) keeps all."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    if 2 * distance.max(initial=0) < 12 * image_width / 640:
        return mask
    return distance > margin


def _grown_along_depth(core: MaskImage, sound: MaskImage, depth_m: NDArray, steps: int, jump: NDArray) -> MaskImage:
    """`core` grown pixel by pixel into `sound` where the depth stays within a jump of a neighbour that is already in."""
    grown = core
    for _ in range(steps):
        highest = cv2.dilate(np.where(grown, depth_m, -FAR), CROSS)
        lowest = cv2.erode(np.where(grown, depth_m, FAR), CROSS)
        grown = grown | (sound & (depth_m < highest + jump) & (depth_m > lowest - jump))
    return grown


def smoothed(depth_m: NDArray, among: MaskImage, camera: Camera, settings: LiftSettings) -> NDArray[np.float32]:
    """Depth averaged over the pixels `among` in 3x3, not across jumps: a third of the noise.

    Points move along their rays only, so outlines stay where they are.
    """
    depth = np.where(among, depth_m, 0)
    total = cv2.blur(depth, (3, 3), borderType=cv2.BORDER_CONSTANT)
    share = cv2.blur(among.astype(np.float32), (3, 3), borderType=cv2.BORDER_CONSTANT)
    even = among & (_range(depth_m, among) < jump_m(depth, camera, settings))
    return np.divide(total, share, out=depth, where=even)
