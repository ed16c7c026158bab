"""The surface the objects stand on, and which way is up."""

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, Vector3, valid_depth
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.plane import Plane, fit_support
from qwen_seg_ros.geometry.transform import rotation_with_z, transform
from qwen_seg_ros.lifting.settings import LiftSettings

NEAR_PX = 60.0  # the table is looked for this far around the masks (at a width of 640) ...
NEAR_M = 0.2  # ... and this far in front of and behind them, so that floor and walls do not win


def find_support(frame: Frame, masks: list[CroppedMask], settings: LiftSettings) -> Plane | None:
    """The table around the masks in the optical frame, or None when depth shows no plane there.

    With `base_from_camera` only planes within 20 degrees of level are considered, and with `table_from: target_frame` none is
    searched: the table is known.
    """
    if settings.table_from == "target_frame" and frame.base_from_camera is not None:
        return level_plane(frame.base_from_camera, settings.table_height_m)
    if frame.camera is None or frame.depth_m is None:
        return None
    rows, cols = _pixels_near(frame, frame.depth_m, masks)
    points = frame.camera.deproject(np.stack([cols, rows], axis=1), frame.depth_m[rows, cols])
    return fit_support(points, np.zeros(3), settings.table_tolerance_m, frame.up)


def level_plane(base_from_camera: Matrix4, height_m: float) -> Plane:
    """The plane z = height_m of the base frame, in the optical frame."""
    return Plane(base_from_camera[2, :3].copy(), float(base_from_camera[2, 3]) - height_m)


def up_direction(frame: Frame, support: Plane | None) -> Vector3:
    """Unit vector against gravity in the optical frame: the table's normal, else the base frame's z, else the image's up."""
    if support is not None:
        return support.normal
    return np.array([0.0, -1.0, 0.0]) if frame.up is None else frame.up


def camera_from_table(support: Plane | None, up: Vector3) -> Matrix4:
    """A level frame: z up, x away from the camera, origin at the camera's foot on the table (at the camera without a table)."""
    foot = -support.offset_m * support.normal if support is not None else np.zeros(3)
    return transform(rotation_with_z(up, np.array([0.0, -0.5, 1.0])), foot)


def _pixels_near(frame: Frame, depth_m: DepthImage, masks: list[CroppedMask]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of every fourth pixel (at a width of 640) with depth around the masks."""
    stride = max(1, round(frame.width / 160))
    margin = round(NEAR_PX * frame.width / 640)
    near = np.zeros((frame.height, frame.width), bool)
    depths = []
    for mask in masks:
        x0, y0, x1, y1 = mask.box_px.astype(int)
        near[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = True
        inside = depth_m[mask.rows_cols][mask.crop]
        depths.append(inside[valid_depth(inside)])
    depth = depth_m[::stride, ::stride]
    keep = near[::stride, ::stride] & valid_depth(depth)
    seen = np.concatenate(depths) if depths else np.zeros(0)
    if len(seen):
        keep &= (depth > seen.min() - NEAR_M) & (depth < seen.max() + NEAR_M)
    rows, cols = np.nonzero(keep)
    return rows * stride, cols * stride
