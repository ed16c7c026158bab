"""How the picture of an object moved from one frame to the next: sparse optical flow, checked by following it back."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.region import Region

Affine = NDArray[np.float64]  # (2, 3): pixel x y 1 of the earlier image -> pixel of the later one

STILL: Affine = np.eye(2, 3)
WINDOW_PX, LEVELS = (21, 21), 3
REACH_PX = 64  # how far an object may move from frame to frame
CORNERS = 80  # followed per object
QUALITY, CORNER_GAP_PX = 0.01, 4
EDGE_PX = 5  # an object's outline is followed with it
SURROUNDINGS = 1.0  # a plain object moves as what is around it, in its box grown by this share
FEWEST = 6  # points that agree on a motion
RETURN_PX = 1.0  # a point followed there and back ends where it began, or was lost
SURVIVORS = 0.4  # share of the points that must not be lost, and of those that must agree
AGREE_PX = 2.0
ZOOM = (0.7, 1.4)  # of one frame to the next


class Flow:
    """From one image to the next of the same size; uint8 (H, W, 3)."""

    def __init__(self, before: RgbImage, now: RgbImage) -> None:
        self._before = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY)
        self._now = cv2.cvtColor(now, cv2.COLOR_RGB2GRAY)

    def motion(self, mask: CroppedMask) -> Affine | None:
        """Shift, turn and zoom of what the mask shows in the earlier image; None when it cannot be followed."""
        corners = self._corners(mask)
        if len(corners) < FEWEST:
            return None
        there, found = _followed(self._before, self._now, corners)
        back, returned = _followed(self._now, self._before, there)
        good = found & returned & (np.linalg.norm(back - corners, axis=1) < RETURN_PX)
        if good.sum() < max(FEWEST, SURVIVORS * len(corners)):
            return None
        affine, agree = cv2.estimateAffinePartial2D(corners[good], there[good], ransacReprojThreshold=AGREE_PX)
        if affine is None or agree.sum() < max(FEWEST, SURVIVORS * good.sum()):
            return None
        return affine if ZOOM[0] < np.hypot(affine[0, 0], affine[1, 0]) < ZOOM[1] else None

    def _corners(self, mask: CroppedMask) -> NDArray[np.float32]:
        """Points (K, 2) on the object, else in and around its box."""
        height, width = self._before.shape
        box = Region.of_box(mask.box_px + np.array([-EDGE_PX, -EDGE_PX, EDGE_PX, EDGE_PX]), width, height)
        if box.empty:
            return np.zeros((0, 2), np.float32)
        shape = np.zeros(box.shape, np.uint8)
        shape[Region.of_box(mask.box_px, width, height).within(box).rows_cols] = mask.crop
        own = self._corners_in(box, cv2.dilate(shape, np.ones((2 * EDGE_PX - 1,) * 2, np.uint8)))
        return own if len(own) >= FEWEST else self._corners_in(box.grown(SURROUNDINGS, width, height), None)

    def _corners_in(self, region: Region, where: NDArray | None) -> NDArray[np.float32]:
        crop = self._before[region.rows_cols]
        found = cv2.goodFeaturesToTrack(crop, CORNERS, QUALITY, CORNER_GAP_PX, mask=where)
        if found is None:
            return np.zeros((0, 2), np.float32)
        return np.asarray(found.reshape(-1, 2) + np.array([region.x0, region.y0]), np.float32)


def _followed(source: NDArray, target: NDArray, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where the points (K, 2) of one grey image are in the other, and which were found; only what is near them is looked at."""
    height, width = source.shape
    box = np.concatenate([points.min(axis=0) - REACH_PX, points.max(axis=0) + REACH_PX])
    near = Region.of_box(box, width, height)
    corner = np.array([near.x0, near.y0], np.float32)
    local, crops = points - corner, (source[near.rows_cols], target[near.rows_cols])
    there, found, _ = cv2.calcOpticalFlowPyrLK(*crops, local, local.copy(), winSize=WINDOW_PX, maxLevel=LEVELS)
    return np.asarray(there + corner, np.float32), np.asarray(found).ravel() > 0


def joined(first: Affine, then: Affine) -> Affine:
    """One motion after the other."""
    return then @ np.vstack([first, [0, 0, 1]])


def warped(mask: CroppedMask, motion: Affine) -> CroppedMask:
    """The mask after a motion, cut at the border of the image; empty when it moved out."""
    corners = mask.box_px.reshape(2, 2)[[[0, 0], [1, 0], [0, 1], [1, 1]], [0, 1]]
    moved = corners @ motion[:, :2].T + motion[:, 2]
    box = np.concatenate([moved.min(axis=0) - 1, moved.max(axis=0) + 1])
    region = Region.of_box(box, mask.width, mask.height)
    if region.empty or mask.area_px == 0:
        return CroppedMask(np.zeros((0, 0), bool), 0, 0, mask.height, mask.width)
    local = motion.copy()
    local[:, 2] += motion[:, :2] @ [mask.x_px, mask.y_px] - [region.x0, region.y0]
    crop = cv2.warpAffine(mask.crop.astype(np.float32), local, region.shape[::-1], flags=cv2.INTER_LINEAR) > 0.5
    return CroppedMask.from_part(crop, region.x0, region.y0, mask.height, mask.width)
