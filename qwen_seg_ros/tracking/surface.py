"""An object's surface in the base frame: where the next view shows it, and whether it is still there."""

from dataclasses import dataclass, replace
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage, Points, Vector3, valid_depth
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import inverse, move_points

MAX_POINTS = 20_000  # of a surface; larger masks are thinned out
FEW_POINTS = 300
MIN_COVERAGE = 0.3  # share of a mask's pixels that must have depth
SPREAD_M = 0.1  # depth so far before or behind 90 % of the mask belongs to something else
TOLERANCE_M, TOLERANCE_SHARE = 0.012, 0.01  # depth that differs less, absolute plus share of the distance, is the same surface
STRETCH = 1.5  # a surface that was seen aslant is seen longer from its front
NEAREST_M = 0.02
WIDEST = 2.5  # x / z and y / z of points that are projected: beyond, lens models fold back
NEIGHBOURS = np.ones((3, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Surface:
    """points_m: (K, 3) in the base frame, K >= 1; spacing_m: distance of neighbouring points; centre_m: their median;
    extent_m: half the diagonal of the box that holds 80 % of them along each axis."""

    points_m: Points
    spacing_m: float
    centre_m: Vector3
    extent_m: float

    @property
    def thinned(self) -> "Surface":
        """A few of its points: enough to tell whether it is in sight."""
        return replace(self, points_m=self.points_m[:: ceil(len(self.points_m) / FEW_POINTS)])


@dataclass(frozen=True, eq=False)
class Sight:
    """A surface in another view. mask: what can be seen of it.

    visible, empty: shares of its points that are seen at their place, and that are seen through, so that nothing is there;
    the rest is hidden behind something or outside the image.
    """

    mask: CroppedMask
    visible: float
    empty: float


def located(frame: Frame) -> bool:
    """Whether pixels of the frame have a place in the base frame."""
    return frame.depth_m is not None and frame.camera is not None and frame.base_from_camera is not None


def depth_of(frame: Frame, mask: CroppedMask) -> float | None:
    """Median depth of the mask, metres; None where too little of it has depth."""
    if frame.depth_m is None or mask.area_px == 0:
        return None
    depth = frame.depth_m[mask.rows_cols][mask.crop]
    measured = valid_depth(depth)
    return float(np.median(depth[measured])) if measured.mean() >= MIN_COVERAGE else None


def surface_of(frame: Frame, mask: CroppedMask) -> Surface | None:
    """What the mask shows; None without depth, camera or pose, or where too little of the mask has depth.

    Pixels without depth get the median of the others, so that holes of the depth image do not become holes of later masks.
    """
    if frame.depth_m is None or frame.camera is None or frame.base_from_camera is None or mask.area_px == 0:
        return None
    step = ceil(np.sqrt(mask.area_px / MAX_POINTS))
    rows, cols = np.nonzero(mask.crop[::step, ::step])
    rows, cols = rows * step + mask.y_px, cols * step + mask.x_px
    depth = frame.depth_m[rows, cols]
    measured = valid_depth(depth)
    if len(depth) == 0 or measured.mean() < MIN_COVERAGE:
        return None
    middle = float(np.median(depth[measured]))
    depth = np.where(measured, depth, np.float32(middle))
    low, high = np.percentile(depth, [5, 95])
    keep = (depth >= low - SPREAD_M) & (depth <= high + SPREAD_M)
    points = frame.camera.deproject(np.stack([cols, rows], axis=1)[keep], depth[keep])
    return _surface(move_points(frame.base_from_camera, points), step * middle / frame.camera.fx)


def _surface(points: Points, spacing_m: float) -> Surface:
    low, middle, high = np.percentile(points, [10, 50, 90], axis=0)
    return Surface(points, spacing_m, middle, float(np.linalg.norm(high - low) / 2))


class DepthView:
    """A frame with depth, camera and pose, prepared for any number of `sight`s."""

    def __init__(self, frame: Frame) -> None:
        assert frame.depth_m is not None and frame.camera is not None and frame.base_from_camera is not None
        self._camera: Camera = frame.camera
        self._camera_from_base = inverse(frame.base_from_camera)
        measured = valid_depth(frame.depth_m)
        far, near = (np.where(measured, frame.depth_m, np.float32(nothing)) for nothing in (np.inf, -np.inf))
        self._nearest: DepthImage = np.asarray(cv2.erode(far, NEIGHBOURS), np.float32)
        self._farthest: DepthImage = np.asarray(cv2.dilate(near, NEIGHBOURS), np.float32)

    def sight(self, surface: Surface) -> Sight | None:
        """Where the surface is, if it has not moved; None where this view has no depth to tell."""
        points = move_points(self._camera_from_base, surface.points_m)
        cols, rows, depth = self._pixels(points)
        tolerance = TOLERANCE_M + TOLERANCE_SHARE * depth
        nearest, farthest = self._nearest[rows, cols], self._farthest[rows, cols]
        unknown = nearest > farthest
        empty = ~unknown & (nearest > depth + tolerance)
        hidden = ~unknown & (farthest < depth - tolerance)
        told = len(points) - int(unknown.sum())
        if told < MIN_COVERAGE * len(points):
            return None
        shown = ~(empty | hidden)
        mask = self._mask(cols[shown], rows[shown], depth[shown], surface.spacing_m)
        return Sight(mask, float((shown & ~unknown).sum() / told), float(empty.sum() / told))

    def _pixels(self, points: Points) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Columns, rows and depths of the points (K, 3) of the optical frame that fall into the image."""
        x, y, z = points.T
        front = points[(z > NEAREST_M) & (np.abs(x) < WIDEST * z) & (np.abs(y) < WIDEST * z)]
        cols, rows = np.rint(self._camera.project(front)).astype(np.int64).T
        inside = (cols >= 0) & (cols < self._camera.width) & (rows >= 0) & (rows < self._camera.height)
        return cols[inside], rows[inside], front[inside, 2]

    def _mask(self, cols: NDArray, rows: NDArray, depth: NDArray, spacing_m: float) -> CroppedMask:
        """The pixels of a surface, with the gaps between its points closed."""
        height, width = self._camera.height, self._camera.width
        if len(cols) == 0:
            return CroppedMask(np.zeros((0, 0), bool), 0, 0, height, width)
        gap_px = STRETCH * spacing_m * self._camera.fx / float(np.median(depth)) + 1  # rounding shifts points by up to one
        x0, y0 = int(cols.min()), int(rows.min())
        drawn = np.zeros((int(rows.max()) - y0 + 1, int(cols.max()) - x0 + 1), np.uint8)
        drawn[rows - y0, cols - x0] = 1
        return CroppedMask(_closed(drawn, gap_px), x0, y0, height, width)


def _closed(drawn: NDArray[np.uint8], gap_px: float) -> MaskImage:
    reach = ceil(gap_px / 2)
    closed = cv2.morphologyEx(np.pad(drawn, reach), cv2.MORPH_CLOSE, np.ones((2 * reach + 1,) * 2, np.uint8))
    return closed[reach:-reach, reach:-reach] > 0
