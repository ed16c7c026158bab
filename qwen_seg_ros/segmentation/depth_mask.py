"""The object in a box from depth: the surface patches above the table whose outline together is the box.

The picture is cut into patches once (`surfaces_around`); every box then picks its own (`mask_from_depth`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage
from qwen_seg_ros.geometry.box import iou
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.plane import Plane, fit_support
from qwen_seg_ros.geometry.region import Region, around
from qwen_seg_ros.geometry.surface_patches import surface_patches

WINDOW_SHARE = 0.4  # a patch is judged in the box grown by this share
INSIDE_SHARE = 0.75  # of a patch must lie in the box: what reaches farther out is another object or the room
FIT_GAIN = 0.01  # a patch joins when it brings the outline nearer to the box, in IoU of boxes
SMALL_SHARE = 0.3  # patches smaller than this share of the object join without: rims, handles, lids
MIN_PATCH_PX = 20
MIN_COVERAGE = 0.5  # share of a box's pixels that must have depth
MAX_HOLE_SHARE = 0.05  # of the mask: pixels without depth that it encloses are glossy spots of the object
TABLE_M = 0.008  # pixels lower than this above the table belong to it
TABLE_MARGIN_PX = 60  # the table is looked for this far around the boxes (at a width of 640) ...
TABLE_NEAR_M = 0.2  # ... and this far in front of and behind what they show, so that floor and walls do not win


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What depth shows in the part `region` of the image.

    patches: (h, w), number of the surface patch, 0 = table, a flying pixel or no depth; measured: bool (h, w).
    """

    region: Region
    patches: NDArray[np.int32]
    measured: MaskImage


@dataclass(frozen=True, eq=False)
class DepthMask:
    """mask: bool, the shape of `region`; agreement: IoU of the mask's outline and the box, 0..1."""

    region: Region
    mask: MaskImage
    agreement: float


def surfaces_around(frame: Frame, boxes: list[Region]) -> Surfaces | None:
    """Patches of everything above the table in and around the boxes; None without depth, camera or table."""
    if frame.depth_m is None or frame.camera is None or not boxes:
        return None
    plane = _table(frame, frame.depth_m, frame.camera, boxes)
    if plane is None:
        return None
    region = around([box.grown(WINDOW_SHARE, frame.width, frame.height) for box in boxes])
    points = _points(frame.camera, frame.depth_m, region)
    measured = _measured(points[..., 2])
    above = measured & (plane.height(points) > TABLE_M)
    return Surfaces(region, surface_patches(points, above, frame.width), measured)


def _measured(depth_m: NDArray) -> MaskImage:
    return np.isfinite(depth_m) & (depth_m > 0)


def _points(camera: Camera, depth_m: DepthImage, region: Region) -> NDArray[np.float32]:
    """Points (h, w, 3) of the region in the optical frame."""
    rows, cols = np.mgrid[region.rows_cols]
    points = camera.deproject(np.stack([cols.ravel(), rows.ravel()], axis=1), depth_m[region.rows_cols].ravel())
    return points.reshape(*region.shape, 3)


def _table(frame: Frame, depth_m: DepthImage, camera: Camera, boxes: list[Region]) -> Plane | None:
    """The plane under and around the boxes, from every fourth pixel at a width of 640."""
    stride, margin = max(1, round(frame.width / 160)), round(TABLE_MARGIN_PX * frame.width / 640)
    hull = around(boxes).box + np.array([-margin, -margin, margin, margin])
    part = Region.of_box(hull, frame.width, frame.height)
    rows, cols = np.mgrid[part.y0 : part.y1 : stride, part.x0 : part.x1 : stride]
    depth = depth_m[rows, cols]
    inside = np.concatenate([depth_m[box.rows_cols].ravel() for box in boxes])
    inside = inside[_measured(inside)]
    if len(inside) == 0:
        return None
    use = _measured(depth) & (depth > inside.min() - TABLE_NEAR_M) & (depth < inside.max() + TABLE_NEAR_M)
    points = camera.deproject(np.stack([cols[use], rows[use]], axis=1), depth[use])
    up = None if frame.base_from_camera is None else frame.base_from_camera[2, :3]
    return fit_support(points, np.zeros(3), TABLE_M, up)


def mask_from_depth(surfaces: Surfaces, box: Region, image_width: int, image_height: int) -> DepthMask | None:
    """The object in `box`; None when the box holds too little depth or no surface above the table."""
    window = box.grown(WINDOW_SHARE, image_width, image_height)
    inner, outer = box.within(surfaces.region), window.within(surfaces.region)
    if surfaces.measured[inner.rows_cols].mean() < MIN_COVERAGE:
        return None
    patches = surfaces.patches[outer.rows_cols]
    candidates = _candidates(surfaces.patches[inner.rows_cols], patches)
    if not candidates:
        return None
    chosen, agreement = _fitting(candidates, box.within(window).box)
    mask = np.isin(patches, [patch.number for patch in chosen])
    return DepthMask(window, _without_holes(mask, surfaces.measured[outer.rows_cols]), agreement)


@dataclass(frozen=True, eq=False)
class _Patch:
    """number in `Surfaces.patches`; outline: x0 y0 x1 y1 in the window."""

    number: int
    area_px: int
    outline: NDArray[np.float64]


def _candidates(inner: NDArray, window: NDArray) -> list[_Patch]:
    """Patches with most of their pixels inside the box, largest first."""
    total = np.bincount(window.ravel())
    inside = np.bincount(inner.ravel(), minlength=len(total))
    inside[0] = 0
    numbers = np.flatnonzero((inside >= np.minimum(MIN_PATCH_PX, inside.max())) & (inside > 0) & (inside >= INSIDE_SHARE * total))
    numbers = numbers[np.argsort(-total[numbers], kind="stable")]
    return [_Patch(int(number), int(total[number]), _outline(window == number)) for number in numbers]


def _outline(mask: MaskImage) -> NDArray[np.float64]:
    cols, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float64)


def _fitting(patches: list[_Patch], box: NDArray) -> tuple[list[_Patch], float]:
    """The patches whose common outline is nearest to the box, found greedily, and the IoU of that outline and the box.

    What does not help the outline is another object in front, unless it is small.
    """
    chosen: list[_Patch] = []
    rest, outline, agreement = list(patches), np.array([np.inf, np.inf, -np.inf, -np.inf]), -np.inf
    while rest:
        outlines = _joined(outline, np.array([patch.outline for patch in rest]))
        scores = iou(outlines, box)[:, 0]
        best = int(np.argmax(scores))
        if scores[best] <= agreement + FIT_GAIN:
            break
        outline, agreement = outlines[best], float(scores[best])
        chosen.append(rest.pop(best))
    limit = SMALL_SHARE * sum(patch.area_px for patch in chosen)
    return chosen + [patch for patch in rest if patch.area_px < limit], agreement


def _joined(outline: NDArray, others: NDArray) -> NDArray[np.float64]:
    return np.hstack([np.minimum(outline[:2], others[:, :2]), np.maximum(outline[2:], others[:, 2:])])


def _without_holes(mask: MaskImage, measured: MaskImage) -> MaskImage:
    """The mask with what it encloses and depth does not show; a handle's hole shows the table and stays open."""
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    numbers = numbers[1:-1, 1:-1]
    seen = np.bincount(numbers[measured], minlength=len(stats))
    holes = (stats[:, cv2.CC_STAT_AREA] < MAX_HOLE_SHARE * mask.sum()) & (seen == 0)
    holes[0] = False
    return mask | holes[numbers]
