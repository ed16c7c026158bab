"""Everything near the objects that a gripper could hit."""

import numpy as np

from qwen_seg_ros.geometry.arrays import Points, Vector3, valid_depth
from qwen_seg_ros.geometry.cloud import voxel_down
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.lifting.depth_cleaning import flying, jump_m
from qwen_seg_ros.lifting.object_cloud import ObjectCloud, Scene
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.lifting.view import View


def no_scene(up: Vector3) -> Scene:
    """A scene without points: nothing was seen."""
    return Scene(np.zeros((0, 3), np.float32), np.zeros(0, np.uint16), None, up, np.zeros(3))


def scene_around(view: View, objects: tuple[ObjectCloud, ...], masks: list[CroppedMask], settings: LiftSettings) -> Scene:
    """The objects' clouds and, with id 0, everything else within `scene_margin_m` of them that stands above the table."""
    parts = [_obstacles(view, objects, masks, settings)] if objects else [np.zeros((0, 3), np.float32)]
    parts += [voxel_down(o.points_m, settings.scene_voxel_m) for o in objects]
    ids = np.repeat(np.array([0, *(o.id for o in objects)], np.uint16), [len(p) for p in parts])
    return Scene(np.concatenate(parts), ids, view.support, view.up, np.zeros(3))


def _obstacles(view: View, objects: tuple[ObjectCloud, ...], masks: list[CroppedMask], settings: LiftSettings) -> Points:
    """Pixels outside the masks, voxelised. Every second pixel does: at 640x480 and 1 m they lie closer than a voxel."""
    corners = np.concatenate([o.points_m for o in objects])
    low, high = corners.min(axis=0) - settings.scene_margin_m, corners.max(axis=0) + settings.scene_margin_m
    rows, cols = _window(view, low, high)
    stride = max(1, view.frame.width // 320)
    depth = view.depth_m[rows, cols]
    keep = valid_depth(depth) & (depth > low[2]) & (depth < high[2])
    for mask in masks:
        _clear(keep, mask, rows, cols)
    keep &= ~flying(depth, keep, jump_m(np.where(keep, depth, 0), view.camera, settings))
    y, x = np.nonzero(keep[::stride, ::stride])
    y, x = y * stride, x * stride
    points = view.camera.deproject(np.stack([x + cols.start, y + rows.start], axis=1), depth[y, x])
    near = np.logical_and.reduce([(low[k] < points[:, k]) & (points[:, k] < high[k]) for k in range(3)])
    if view.support is not None:
        near &= view.heights(points) > settings.table_clearance_m
    return voxel_down(points[near], settings.scene_voxel_m)


def _window(view: View, low: Vector3, high: Vector3) -> tuple[slice, slice]:
    """Rows and columns of the image that can show points between two corners of the optical frame."""
    camera, nearest = view.camera, max(float(low[2]), 0.1)
    grid = np.stack(np.meshgrid([low[0], high[0]], [low[1], high[1]], [nearest, max(float(high[2]), 0.1)]), axis=-1).reshape(
        -1, 3
    )
    pixels = grid[:, :2] / grid[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    x0, y0 = np.clip(np.floor(pixels.min(axis=0)), 0, [camera.width - 1, camera.height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(pixels.max(axis=0)) + 1, [x0 + 1, y0 + 1], [camera.width, camera.height]).astype(int)
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _clear(keep: np.ndarray, mask: CroppedMask, rows: slice, cols: slice) -> None:
    """Take a mask's pixels out of `keep`, which shows `rows` and `cols` of the image."""
    mask_rows, mask_cols = mask.rows_cols
    y0, y1 = max(rows.start, mask_rows.start), min(rows.stop, mask_rows.stop)
    x0, x1 = max(cols.start, mask_cols.start), min(cols.stop, mask_cols.stop)
    if y0 < y1 and x0 < x1:
        inside = mask.crop[y0 - mask.y_px : y1 - mask.y_px, x0 - mask.x_px : x1 - mask.x_px]
        keep[y0 - rows.start : y1 - rows.start, x0 - cols.start : x1 - cols.start][inside] = False
