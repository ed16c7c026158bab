"""Depth of one camera as another one sees it: every depth pixel is drawn as the patch of surface it stands for, nearest wins."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, require
from qwen_seg_ros.geometry.camera import Camera

Floats = NDArray[np.float32]

REACH = 0.6  # half the side of a patch in depth pixels; what exceeds 0.5 closes the seams between noisy neighbours
MAX_PATCH_PX = 24  # patches wider than this in the colour image are not drawn: no camera pair is that unequal
NEAREST_M = 0.02
JUMP_M, MAX_SLOPE = 0.01, 10.0  # neighbours belong to one surface within 1 cm, or up to 84 degrees of slope
VIEW_MARGIN = 0.02  # how far outside the colour image rays are still projected, as a share of the view


class Places(NamedTuple):
    """Where the pixels of the depth image fall in the colour image, each (H, W): column, row, 1 / depth; NaN = nowhere."""

    u: Floats
    v: Floats
    w: Floats


def registered_depth(depth_m: DepthImage, depth_camera: Camera, color_camera: Camera, color_from_depth: Matrix4) -> DepthImage:
    """Depth (H, W) of `depth_camera` -> float32 depth of `color_camera`'s image, metres along its optical axis, NaN = none.

    Both cameras may have any size and distortion. A depth pixel is drawn as a parallelogram spanned by the steps to its
    neighbours on the same surface, so that up-sampling leaves no holes; within it 1 / depth changes linearly, which is exact for
    planes. Where several surfaces fall on one pixel the nearest is kept; surfaces that show the colour camera their back are not
    drawn. What the depth camera did not see stays NaN.

    Raises:
        InvalidInputError: for a depth image that does not fit its camera, or a transform that is not finite.
    """
    require(depth_m, "depth_m", (depth_camera.height, depth_camera.width), np.float32)
    require(color_from_depth, "color_from_depth", (4, 4), np.float64)
    if not np.isfinite(color_from_depth).all():
        raise InvalidInputError(f"color_from_depth must be finite, got {color_from_depth.tolist()}")
    measured = np.where((depth_m > 0) & (depth_m < np.inf), depth_m, np.float32(np.nan))
    places = _places(measured, depth_camera, color_camera, color_from_depth)
    across, down = _steps(places, measured, depth_camera, color_camera, color_from_depth)
    nearness = _drawn(places, across, down, color_camera)
    with np.errstate(divide="ignore"):
        return np.where(nearness > 0, 1 / nearness, np.float32(np.nan))


def _places(depth_m: DepthImage, depth_camera: Camera, color_camera: Camera, color_from_depth: Matrix4) -> Places:
    places = Places(*np.full((3, depth_m.size), np.nan, np.float32))
    depth = depth_m.ravel()
    valid = np.flatnonzero(np.isfinite(depth))
    points = _rays(depth_camera)[valid] * depth[valid, None]
    points = points @ color_from_depth[:3, :3].T.astype(np.float32) + color_from_depth[:3, 3].astype(np.float32)
    seen = _in_view(points, color_camera)
    valid, points = valid[seen], points[seen]
    places.u[valid], places.v[valid] = _projected(points, color_camera)
    places.w[valid] = 1 / points[:, 2]
    return Places(*(values.reshape(depth_m.shape) for values in places))


@lru_cache(maxsize=4)
def _rays(camera: Camera) -> Floats:
    """Rays (H * W, 3) with z = 1 through all pixels, row by row. Kept: they are the same for every image."""
    columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = np.ones((columns.size, 3), np.float32)
    rays[:, :2] = camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))
    rays.flags.writeable = False
    return rays


def _in_view(points: Floats, camera: Camera) -> NDArray[np.bool_]:
    """Which points (N, 3) lie in front of the camera and near its view: distortion folds far ones back into the image."""
    low, high = _view(camera)
    x, y, z = points.T
    return (z > NEAREST_M) & (x > low[0] * z) & (x < high[0] * z) & (y > low[1] * z) & (y < high[1] * z)


@lru_cache(maxsize=4)
def _view(camera: Camera) -> tuple[Floats, Floats]:
    """Lowest and highest x / z and y / z of the image's edge."""
    xs, ys = np.linspace(-0.5, camera.width - 0.5, 65), np.linspace(-0.5, camera.height - 0.5, 65)
    sides = [(xs, np.full(65, y)) for y in ys[[0, -1]]] + [(np.full(65, x), ys) for x in xs[[0, -1]]]
    edge = camera.rays(np.concatenate([np.column_stack(side) for side in sides]))
    low, high = edge.min(axis=0), edge.max(axis=0)
    return low - VIEW_MARGIN * (high - low), high + VIEW_MARGIN * (high - low)


def _projected(points: Floats, camera: Camera) -> Floats:
    """Columns and rows (2, N) of points (N, 3)."""
    if any(camera.distortion) and len(points):
        return camera.project(points).T
    focal, centre = np.array([[camera.fx, camera.fy], [camera.cx, camera.cy]], np.float32)
    return (points[:, :2] / points[:, 2:] * focal + centre).T


def _steps(
    places: Places, depth_m: DepthImage, depth_camera: Camera, color_camera: Camera, color_from_depth: Matrix4
) -> tuple[Places, Places]:
    """How the places change from pixel to pixel along rows and down columns; the missing ones are guessed without slope."""
    tolerance = np.maximum(np.float32(JUMP_M), depth_m * np.float32(MAX_SLOPE / min(depth_camera.fx, depth_camera.fy)))
    across, down = _differences(places, depth_m, tolerance, 1), _differences(places, depth_m, tolerance, 0)
    scale = depth_m * places.w * np.float32(color_camera.fx / depth_camera.fx)
    flat = np.zeros_like(scale)
    lone = np.isnan(across.u) & np.isnan(down.u)
    across = _filled(across, lone, *(scale * np.float32(part) for part in color_from_depth[:2, 0]), flat)
    across = _filled(across, np.isnan(across.u), down.v, -down.u, flat)
    down = _filled(down, np.isnan(down.u), -across.v, across.u, flat)
    return across, down


def _differences(places: Places, depth_m: DepthImage, tolerance: Floats, axis: int) -> Places:
    """To the next pixel along an axis, or from the one before, whichever is on the same surface; NaN where neither is."""
    apart = np.abs(np.diff(depth_m, axis=axis)) > tolerance.take(range(1, tolerance.shape[axis]), axis)
    before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
    before[axis], after[axis] = (1, 0), (0, 1)

    def difference(values: Floats) -> Floats:
        change = np.diff(values, axis=axis)
        change[apart] = np.nan
        ahead = np.pad(change, after, constant_values=np.nan)
        return np.where(np.isnan(ahead), np.pad(change, before, constant_values=np.nan), ahead)

    return Places(*map(difference, places))


def _filled(steps: Places, missing: NDArray[np.bool_], *guesses: Floats) -> Places:
    return Places(*(np.where(missing, guess, step) for step, guess in zip(steps, guesses, strict=True)))


class _Patches(NamedTuple):
    """Parallelograms (K,) of surface: centre, steps across and down, area."""

    u: Floats
    v: Floats
    w: Floats
    across_u: Floats
    across_v: Floats
    across_w: Floats
    down_u: Floats
    down_v: Floats
    down_w: Floats
    area: Floats

    def at(self, x: NDArray, y: NDArray) -> tuple[NDArray[np.bool_], NDArray]:
        """Whether pixels (K,) lie in their patch, and 1 / depth of its surface there."""
        du, dv = x.astype(np.float32) - self.u, y.astype(np.float32) - self.v
        a = (du * self.down_v - dv * self.down_u) / self.area  # place in the patch, in depth pixels
        d = (dv * self.across_u - du * self.across_v) / self.area
        inside = (np.abs(a) <= REACH) & (np.abs(d) <= REACH)
        return inside, self.w + a * self.across_w + d * self.down_w


def _drawn(places: Places, across: Places, down: Places, camera: Camera) -> Floats:
    """The largest 1 / depth per pixel of the colour image, 0 = nothing."""
    area = across.u * down.v - across.v * down.u  # below zero: seen from behind
    wide, high = (REACH * (np.abs(a) + np.abs(d)) for a, d in ((across.u, down.u), (across.v, down.v)))
    drawn = (area > 1e-6) & (wide < MAX_PATCH_PX / 2) & (high < MAX_PATCH_PX / 2)  # False for NaN
    patches = _Patches(*(values[drawn] for values in (*places, *across, *down, area)))
    wide, high = wide[drawn], high[drawn]
    left, top = np.ceil(patches.u - wide).astype(np.int32), np.ceil(patches.v - high).astype(np.int32)
    columns = (np.floor(patches.u + wide) - left + 1).astype(np.int32)
    rows = (np.floor(patches.v + high) - top + 1).astype(np.int32)
    nearness = np.zeros(camera.height * camera.width, np.float32)
    for row in range(rows.max(initial=0)):  # the patches' first pixels, then their second ones: a few rounds draw all of them
        for column in range(columns.max(initial=0)):
            k = np.flatnonzero((columns > column) & (rows > row))
            x, y = left[k] + column, top[k] + row
            inside, value = _Patches(*(values[k] for values in patches)).at(x, y)
            inside &= (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
            np.maximum.at(nearness, (y * camera.width + x)[inside], value[inside])
    return nearness.reshape(camera.height, camera.width)
