"""Where an object is and how large: a level box around what is seen and what its symmetry and the table imply."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage, Points
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.oriented_box import OrientedBox, fit_level_box
from qwen_seg_ros.geometry.transform import move_points
from qwen_seg_ros.lifting.completion import turned_copy
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.lifting.view import View

LOW_M = 0.03  # something that ends this close to the table stands on it
BESIDE_PX = 4  # where the surface below an object is looked at (at a width of 640)


def level_box(view: View, mask: CroppedMask, points: Points, settings: LiftSettings) -> OrientedBox:
    """The box in the optical frame. points: all the object's pixels, because averaging into voxels would shrink it."""
    seen = move_points(view.table_from_camera, points)
    footprint = seen[:, :2]
    if settings.complete:
        footprint = np.concatenate([footprint, turned_copy(seen, _away(view, seen), view.gap)[:, :2]])
    low, high = np.percentile(seen[:, 2], [1, 99])
    bottom = low if view.support is None or (low > LOW_M and _stands_on_another(view, mask)) else 0.0
    pixel_m = float(np.median(points[:, 2])) / view.camera.fx  # points are the middles of pixels
    box = fit_level_box(footprint, bottom, max(high, bottom + 0.001), pixel_m)
    return OrientedBox(view.camera_from_table @ box.pose, box.size_m)


def _away(view: View, table_points: NDArray) -> NDArray:
    """(2,) unit vector, level, from the camera to the object; x for an object right below the camera."""
    away = table_points[:, :2].mean(axis=0) - view.table_from_camera[:2, 3]
    length = float(np.linalg.norm(away))
    return away / length if length > 0.02 else np.array([1.0, 0.0])


def _stands_on_another(view: View, mask: CroppedMask) -> bool:
    """Whether most of what adjoins the mask from below, in depth too, lies above the table."""
    down = -view.up[:2] / max(float(np.linalg.norm(view.up[:2])), 1e-9)
    step = np.rint(down * BESIDE_PX * view.frame.width / 640).astype(int)
    inside, outside = _pairs_across_edge(mask, step)
    depth = view.depth_m
    adjoining = np.abs(depth[outside] - depth[inside]) < LOW_M
    rows, cols = outside[0][adjoining], outside[1][adjoining]
    if len(rows) < 5:
        return False
    points = view.camera.deproject(np.stack([cols, rows], axis=1), depth[rows, cols])
    return bool(np.median(view.heights(points)) > LOW_M / 2)


def _pairs_across_edge(mask: CroppedMask, step: NDArray) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray]]:
    """Rows and columns of the mask's pixels from which a `step` (x, y) leads out of it, and of where it leads."""
    crop = mask.crop.astype(np.uint8)
    shift = np.array([[1, 0, -step[0]], [0, 1, -step[1]]], np.float32)
    stays: MaskImage = cv2.warpAffine(crop, shift, crop.shape[::-1], flags=cv2.INTER_NEAREST).astype(bool)
    rows, cols = np.nonzero(mask.crop & ~stays)
    rows, cols = rows + mask.y_px, cols + mask.x_px
    within = (rows + step[1] >= 0) & (rows + step[1] < mask.height) & (cols + step[0] >= 0) & (cols + step[0] < mask.width)
    rows, cols = rows[within], cols[within]
    return (rows, cols), (rows + step[1], cols + step[0])
