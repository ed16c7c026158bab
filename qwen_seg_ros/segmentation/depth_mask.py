"""The object in a box from depth: the surface patches above the table whose outline together is the box.

The picture is cut into patches once (`surfaces_around`); every box then picks its own (`mask_from_depth`).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage, valid_depth
from qwen_seg_ros.geometry.box import iou
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.plane import Plane, fit_support
from qwen_seg_ros.geometry.region import Region, around
from qwen_seg_ros.geometry.surface_patches import jump_m, surface_patches

WINDOW_SHARE = 1.0  # a patch is judged in the box grown by this share
INSIDE_SHARE = 0.75  # of a patch must lie in the box: what reaches farther out is another object or the room
FIT_GAIN = 0.01  # a patch joins when it brings the outline nearer to the box, in IoU of boxes
MIN_AGREEMENT = 0.6  # IoU of outline and box: below, depth does not show the object the box means
SMALL_SHARE = 0.1  # patches smaller than this share of the object join without: rims, handles, lids
EMBEDDED_SHARE = 0.7  # of a patch must lie in the object's convex hull for it to join as its inside, like the floor of a bowl,
TOUCHING_SHARE = 0.1  # this share of its border must touch the object,
FRONT_SHARE = 0.4  # and less than this of the touching border may stand out: that is a thing in or on the object
BORDER = np.ones((5, 5), np.uint8)
MIN_PATCH_PX = 20
MIN_COVERAGE = 0.5  # share of a box's pixels that must have depth
RIM_GAP_PX = 9  # the rim of a bowl may miss this many pixels and still enclose its floor
MAX_GAP_SHARE = 0.05  # of the mask: enclosed spots without depth are glossy places of the object
FLOOR_M = 0.003  # enclosed pixels that lie this far above the table are the object's floor, lower ones the table in a handle
TABLE_M = 0.008  # distance within which points count as the table while it is searched
CLEARANCE_M = (0.006, 0.015)  # pixels lower above the table belong to it: four deviations of its depth, within these bounds
TABLE_MARGIN_PX = 60  # the table is looked for this far around the boxes (at a width of 640) ...
TABLE_NEAR_M = 0.2  # ... and this far in front of and behind what they show, so that floor and walls do not win


@dataclass(frozen=True, eq=False)
class Surfaces:
    """What depth shows in the part `region` (h, w) of the image.

    depth_m, height_m above the table: NaN = no depth. patches: number of the surface patch, 0 = table, a flying pixel or no
    depth. clearance_m: height up to which a pixel counts as the table.
    """

    region: Region
    depth_m: DepthImage
    height_m: NDArray[np.float32]
    patches: NDArray[np.int32]
    clearance_m: float

    def part(self, region: Region) -> "Surfaces":
        """The same for a smaller region of the image, without copies."""
        crop = region.within(self.region).rows_cols
        return Surfaces(region, self.depth_m[crop], self.height_m[crop], self.patches[crop], self.clearance_m)

    @property
    def measured(self) -> MaskImage:
        return np.isfinite(self.depth_m)

    @property
    def above(self) -> MaskImage:
        """Pixels with depth that are not the table."""
        return self.height_m > self.clearance_m


@dataclass(frozen=True, eq=False)
class DepthMask:
    """mask: bool, the shape of `region`; agreement: IoU of the mask's outline and the box, 0..1.

    sunken: share of the depth around the box that lies under the table, where nothing can be seen: 0 on a real table.
    """

    region: Region
    mask: MaskImage
    agreement: float
    sunken: float


def surfaces_around(frame: Frame, boxes: list[Region]) -> Surfaces | None:
    """Patches of everything above the table in and around the boxes; None without depth, camera or table."""
    if frame.depth_m is None or frame.camera is None or not boxes:
        return None
    table = _table(frame, frame.depth_m, frame.camera, boxes)
    if table is None:
        return None
    region = around([box.grown(WINDOW_SHARE, frame.width, frame.height) for box in boxes])
    points = _points(frame.camera, frame.depth_m, region)
    points[~valid_depth(points[..., 2])] = np.nan
    height = table.height(points)
    clearance = _clearance(height)
    patches = surface_patches(points, height > clearance, frame.width)
    return Surfaces(region, points[..., 2], height, patches, clearance)


def _clearance(height_m: NDArray) -> float:
    near = np.abs(height_m[np.abs(height_m) < TABLE_M])
    deviation = 1.48 * float(np.median(near)) if len(near) else 0.0
    return float(np.clip(4 * deviation, *CLEARANCE_M))


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
    inside = inside[valid_depth(inside)]
    if len(inside) == 0:
        return None
    use = valid_depth(depth) & (depth > inside.min() - TABLE_NEAR_M) & (depth < inside.max() + TABLE_NEAR_M)
    points = camera.deproject(np.stack([cols[use], rows[use]], axis=1), depth[use])
    return fit_support(points, np.zeros(3), TABLE_M, frame.up)


def mask_from_depth(surfaces: Surfaces, box: Region, image_width: int, image_height: int) -> DepthMask | None:
    """The object in `box`; None when depth shows too little there, or nothing above the table that fits the box."""
    window = box.grown(WINDOW_SHARE, image_width, image_height)
    inner, outer = surfaces.part(box), surfaces.part(window)
    if inner.measured.mean() < MIN_COVERAGE:
        return None
    candidates = _candidates(inner.patches, outer.patches)
    chosen, rest, agreement = _fitting(candidates, box.within(window).box)
    if agreement < MIN_AGREEMENT:
        return None
    mask = _with_parts(_of(outer.patches, chosen), rest, outer)
    sunken = float((outer.height_m < -2 * outer.clearance_m).sum() / outer.measured.sum())
    return DepthMask(window, _without_holes(mask, outer), agreement, sunken)


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


def _fitting(patches: list[_Patch], box: NDArray) -> tuple[list[_Patch], list[_Patch], float]:
    """The patches whose common outline is nearest to the box, found greedily; the others; the IoU of that outline and the box."""
    chosen: list[_Patch] = []
    rest, outline, agreement = list(patches), np.array([np.inf, np.inf, -np.inf, -np.inf]), 0.0
    while rest:
        outlines = _joined(outline, np.array([patch.outline for patch in rest]))
        scores = iou(outlines, box)[:, 0]
        best = int(np.argmax(scores))
        if scores[best] <= agreement + FIT_GAIN:
            break
        outline, agreement = outlines[best], float(scores[best])
        chosen.append(rest.pop(best))
    return chosen, rest, agreement


def _with_parts(mask: MaskImage, others: list[_Patch], surfaces: Surfaces) -> MaskImage:
    """The mask with those other patches that are parts of the same object: small ones, and those embedded in it."""
    limit = SMALL_SHARE * np.count_nonzero(mask)
    in_hull = np.bincount(surfaces.patches[_hull(mask)], minlength=int(surfaces.patches.max()) + 1)
    whole = mask | _of(surfaces.patches, [patch for patch in others if patch.area_px < limit])
    for patch in others:
        if patch.area_px >= limit and in_hull[patch.number] > EMBEDDED_SHARE * patch.area_px:
            part = surfaces.patches == patch.number
            whole = whole | part if _within(part, whole, surfaces.depth_m) else whole
    return whole


def _of(patches: NDArray[np.int32], chosen: list[_Patch]) -> MaskImage:
    """The pixels of the chosen patches."""
    keep = np.zeros(int(patches.max()) + 1, bool)
    keep[[patch.number for patch in chosen]] = True
    return keep[patches]


def _hull(mask: MaskImage) -> MaskImage:
    """The convex hull of the mask's pixels."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    corners = cv2.convexHull(np.concatenate(outlines))
    return cv2.fillConvexPoly(np.zeros(mask.shape, np.uint8), corners, (1,)) > 0


def _within(patch: MaskImage, mask: MaskImage, depth_m: NDArray) -> bool:
    """Whether the patch touches the mask without standing out of it towards the camera."""
    border = (cv2.dilate(patch.astype(np.uint8), BORDER) > 0) & ~patch
    touching = border & mask
    if touching.sum() < TOUCHING_SHARE * border.sum():
        return False
    nearest = cv2.erode(np.where(patch, depth_m, np.inf).astype(np.float32), BORDER)[touching]
    standing_out = depth_m[touching] - nearest > jump_m(nearest)
    return bool(standing_out.mean() < FRONT_SHARE)


def _joined(outline: NDArray, others: NDArray) -> NDArray[np.float64]:
    return np.hstack([np.minimum(outline[:2], others[:, :2]), np.maximum(outline[2:], others[:, 2:])])


def _without_holes(mask: MaskImage, surfaces: Surfaces) -> MaskImage:
    """The mask with those holes that are places of the object itself: without depth, or its floor close to the table.

    A hole that shows another patch or, like a handle's, the table stays open.
    """
    filled = _filled(mask, mask, surfaces)
    closed = cv2.morphologyEx(np.pad(filled.astype(np.uint8), RIM_GAP_PX), cv2.MORPH_CLOSE, np.ones((RIM_GAP_PX,) * 2, np.uint8))
    return _filled(filled, closed[RIM_GAP_PX:-RIM_GAP_PX, RIM_GAP_PX:-RIM_GAP_PX] > 0, surfaces)


def _filled(mask: MaskImage, outline: MaskImage, surfaces: Surfaces) -> MaskImage:
    """The mask with the object's own holes in `outline` (mask closed or as it is) and what joins them to the mask."""
    outside = np.pad(~outline, 1, constant_values=True).astype(np.uint8)
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
    filled, small = mask.copy(), MAX_GAP_SHARE * np.count_nonzero(mask)
    for number in range(2, count):  # 0 is the outline, 1 what is around it
        x, y, width, height, size = stats[number]
        crop = np.s_[max(0, y - 1 - RIM_GAP_PX) : y + height + RIM_GAP_PX, max(0, x - 1 - RIM_GAP_PX) : x + width + RIM_GAP_PX]
        hole = numbers[1:-1, 1:-1][crop] == number
        if _own(surfaces.patches[crop][hole], surfaces.height_m[crop][hole], size < small):
            near = cv2.dilate(hole.astype(np.uint8), np.ones((RIM_GAP_PX,) * 2, np.uint8)) > 0
            filled[crop] |= hole | (near & outline[crop])
    return filled


def _own(patches: NDArray, height_m: NDArray, small: bool) -> bool:
    """Whether the pixels of a hole belong to the object around it."""
    seen = np.isfinite(height_m)
    if np.bincount(patches[patches > 0], minlength=1).max() >= MIN_PATCH_PX:
        return False
    if seen.mean() < 0.5:
        return small
    return bool(np.median(height_m[seen]) > FLOOR_M)
