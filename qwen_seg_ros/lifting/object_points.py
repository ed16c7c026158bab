"""One instance: its pixels as a clean cloud with normals and a level box, or the reason why not."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage, Points, valid_depth
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.cloud import clusters, voxel_mean, voxel_numbers
from qwen_seg_ros.geometry.normals import normals_from_depth
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.lifting.depth_cleaning import object_pixels, smoothed
from qwen_seg_ros.lifting.object_cloud import ObjectCloud, Refusal
from qwen_seg_ros.lifting.object_pose import level_box
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.lifting.view import View
from qwen_seg_ros.segmentation.result import Instance

THIN_M = 0.015
BESIDE_M = 0.05  # how far parts of one object may lie apart along the view, as a handle or a rim does


def lift_object(view: View, number: int, instance: Instance, settings: LiftSettings) -> ObjectCloud | Refusal:
    """The instance `number` (1..N) in the optical frame."""
    mask = instance.mask
    if mask.area_px == 0:
        return Refusal(number, instance.phrase, "the mask is empty")
    depth = view.depth_m[mask.rows_cols]
    coverage = float(np.count_nonzero(mask.crop & valid_depth(depth)) / mask.area_px)
    if coverage < settings.min_depth_coverage:
        return Refusal(number, instance.phrase, _no_depth(coverage, settings))
    sound = object_pixels(mask.crop, depth, view.camera, settings)
    depth = smoothed(depth, sound, view.camera, settings)
    points = np.concatenate([view.rays(mask)[sound] * depth[sound, None], depth[sound, None]], axis=1)
    keep, flat = _above_table(view.heights(points), view.support is not None, settings)
    keep[keep] = _in_main_clusters(points[keep], view.camera, settings)
    if np.count_nonzero(keep) < settings.min_points:
        count = np.count_nonzero(keep)
        reason = f"only {count} of the mask's {mask.area_px} pixels have sound depth, {settings.min_points} are needed"
        return Refusal(number, instance.phrase, reason)
    return _cloud(view, number, instance, _selected(sound, keep), points[keep], coverage, flat, settings)


def _no_depth(coverage: float, settings: LiftSettings) -> str:
    return (
        f"only {coverage:.0%} of the mask has depth, {settings.min_depth_coverage:.0%} are needed "
        "(transparent, black and shiny objects are often invisible to depth cameras)"
    )


def _above_table(heights: NDArray, has_table: bool, settings: LiftSettings) -> tuple[NDArray[np.bool_], bool]:
    """Which points stand clear of the table, and whether the object is so flat that all of them stay."""
    if not has_table or len(heights) == 0:
        return np.ones(len(heights), bool), False
    clear = heights > settings.table_clearance_m
    flat = bool(np.count_nonzero(clear) < (1 - settings.flat_share) * len(clear))
    return (np.ones(len(clear), bool) if flat else clear), flat


def _in_main_clusters(points: Points, camera: Camera, settings: LiftSettings) -> NDArray[np.bool_]:
    """Points of the largest cluster and of every other that is not tiny and lies at a similar depth (a mask can leak)."""
    if len(points) == 0:
        return np.zeros(0, bool)
    numbers = voxel_numbers(points, settings.cluster_voxel_m)
    voxels = voxel_mean(points, numbers)
    radius = max(
        settings.cluster_radius_m, 3 * float(np.median(points[:, 2])) / camera.fx
    )  # in coarse images pixels lie far apart
    labels = clusters(voxels, radius, 3)
    if labels.max() < 0:  # too sparse to tell clusters from noise
        return np.ones(len(points), bool)
    count = np.bincount(labels[labels >= 0])
    main = voxels[labels == count.argmax(), 2]
    low, high = main.min() - BESIDE_M, main.max() + BESIDE_M
    fits = [
        c >= settings.cluster_share * count.max() and low < np.median(voxels[labels == k, 2]) < high for k, c in enumerate(count)
    ]
    return np.array([*fits, False])[labels][numbers]


def _selected(sound: MaskImage, keep: NDArray[np.bool_]) -> MaskImage:
    selected = np.zeros_like(sound)
    selected[sound] = keep
    return selected


def _cloud(
    view: View,
    number: int,
    instance: Instance,
    pixels: MaskImage,
    points: Points,
    coverage: float,
    flat: bool,
    settings: LiftSettings,
) -> ObjectCloud:
    numbers = voxel_numbers(points, settings.voxel_m)
    voxels = voxel_mean(points, numbers)
    colors = voxel_mean(view.frame.rgb[instance.mask.rows_cols][pixels], numbers)
    box = level_box(view, instance.mask, points, settings)
    return ObjectCloud(
        number,
        instance.phrase,
        instance.score,
        voxels,
        np.rint(colors).astype(np.uint8),
        _normals(view, instance, pixels, numbers, voxels),
        box,
        coverage,
        _flags(instance, box, flat),
    )


def _normals(view: View, instance: Instance, pixels: MaskImage, numbers: NDArray, voxels: Points) -> Points:
    """Mean normal per voxel; towards the camera where the depth gives none."""
    depth = view.depth_m[instance.mask.rows_cols]
    radius = max(1, round(3 * view.frame.width / 640))
    normals = normals_from_depth(depth, view.rays(instance.mask), pixels, radius)[pixels]
    sums = voxel_mean(np.nan_to_num(normals), numbers)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    towards = -voxels / np.linalg.norm(voxels, axis=1, keepdims=True)
    return np.where(length > 0.1, sums / np.maximum(length, 1e-9), towards).astype(np.float32)


def _flags(instance: Instance, box: OrientedBox, flat: bool) -> tuple[str, ...]:
    """flat: lies on the table within its clearance; thin: a side under 15 mm; cut: the mask reaches the image's edge."""
    mask = instance.mask
    rows, cols = mask.crop.shape
    cut = mask.x_px == 0 or mask.y_px == 0 or mask.x_px + cols == mask.width or mask.y_px + rows == mask.height
    flags = {"flat": flat, "thin": box.size_m.min() < THIN_M, "cut": cut}
    return tuple(name for name, holds in flags.items() if holds)
