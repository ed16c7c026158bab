"""Where to look: the part of the picture in which depth shows things that stand on the table.

A network sees a picture with a limited number of pixels. Table without anything on it is a waste of them: on the part that holds
all the things the same network names more of them right (docs/answers.md has the figures).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, MaskImage, valid_depth
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.plane import Plane, fit_support
from qwen_seg_ros.geometry.region import Region
from qwen_seg_ros.geometry.transform import rotation_with_z

CELLS = 128  # depth is read at about this many places across the picture
TABLE_M = 0.01  # distance within which points count as the table while it is searched
STANDS_M = (0.010, 0.02)  # what rises higher is a thing: four deviations of the table's depth, within these bounds
BESIDE_M = 0.05  # how far beside the table's seen surface a thing may stand; what stands farther away is the room
EDGE_CELLS = 3  # a strip of the table narrower than this is none: a wall shows one at the table's height
UNSEEN_SHARE = 1 / 12  # of the width: spots without depth that hold a square of this side may hide something too
MARGIN = 0.35  # kept around the things, as a share of the length of the part
LEAST_SHARE = 0.4  # of the canvas: nothing is brought nearer than this
WORTH_SHARE = 0.9  # of the canvas: a part that is hardly smaller is not worth losing the rest


def part_with_things(frame: Frame, canvas: tuple[int, int]) -> Region:
    """The part of the picture that holds everything which may stand on the table.

    canvas: height and width that the whole picture takes up for the network, with a border where it is given one: the part has
    this shape. The whole picture without depth, camera or table, where nothing stands on it, and where the part would hardly be
    smaller. What has no depth in a large spot counts as a thing; what is flat (lower than 1 to 2 cm) does not, it is kept only
    within the margin. What stands beside the table, such as the walls, does not count either.
    """
    whole = Region(0, 0, frame.width, frame.height)
    if frame.depth_m is None or frame.camera is None:
        return whole
    stride = max(1, round(frame.width / CELLS))
    things = _things(frame, frame.depth_m, frame.camera, stride)
    if things is None or not things.any():
        return whole
    rows, cols = np.flatnonzero(things.any(axis=1)), np.flatnonzero(things.any(axis=0))
    box = np.array([cols[0], rows[0], cols[-1] + 1, rows[-1] + 1], np.float64) * stride
    return _shaped(box, canvas, whole)


def _things(frame: Frame, depth_m: DepthImage, camera: Camera, stride: int) -> MaskImage | None:
    """What stands on the table or has no depth, one value per cell of stride x stride pixels; None without a table."""
    rows, cols = np.mgrid[stride // 2 : frame.height : stride, stride // 2 : frame.width : stride]
    depth = depth_m[rows, cols]
    seen = valid_depth(depth)
    points = camera.deproject(np.stack([cols[seen], rows[seen]], axis=1), depth[seen])
    table = fit_support(points, np.zeros(3), TABLE_M, frame.up)
    if table is None:
        return None
    height, feet = np.full(depth.shape, -np.inf), np.zeros((*depth.shape, 2))
    height[seen], feet[seen] = table.height(points), _feet(table, points)
    flat = np.abs(height) < TABLE_M
    stands = float(np.clip(4 * 1.48 * np.median(np.abs(height[flat])), *STANDS_M))
    unseen = max(2, round(frame.width * UNSEEN_SHARE / stride))
    above = (height > stands) & _within(feet, feet[_opened(flat, EDGE_CELLS)])
    return _opened(above, 2) | _opened(~seen, unseen)


def _feet(table: Plane, points: NDArray) -> NDArray[np.float64]:
    """Where on the table (N, 2) the points (N, 3) stand, metres."""
    axes = rotation_with_z(table.normal, np.array([1.0, 0.0, 0.0]))[:, :2]
    return points @ axes


def _within(feet: NDArray, table: NDArray) -> MaskImage:
    """Which of the feet (h, w, 2) lie within `BESIDE_M` of the convex hull of the table's points (N, 2)."""
    if len(table) < 3:
        return np.zeros(feet.shape[:2], bool)
    corners = cv2.convexHull(table.astype(np.float32), clockwise=False)[:, 0].astype(np.float64)
    along = np.roll(corners, -1, axis=0) - corners
    outward = np.stack([along[:, 1], -along[:, 0]]) / np.maximum(np.linalg.norm(along, axis=1), 1e-9)
    beyond = feet @ outward - (corners.T * outward).sum(axis=0)
    return (beyond < BESIDE_M).all(axis=-1)


def _opened(mask: MaskImage, size: int) -> MaskImage:
    """Without what is too small to hold a square of `size` cells."""
    kernel = np.ones((size, size), np.uint8)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0


def _shaped(box: NDArray[np.float64], canvas: tuple[int, int], whole: Region) -> Region:
    """The box with its margin, in the shape of the canvas and inside the picture; the whole picture where that cannot be."""
    full, picture = np.array(canvas[::-1]), whole.box[2:]
    lengths = (box[2:] - box[:2]) * (1 + MARGIN)
    share = max(float((lengths / full).max()), LEAST_SHARE)
    size = np.rint(full * share)
    if share >= WORTH_SHARE or (size > picture).any():
        return whole
    corner = np.clip(np.rint((box[:2] + box[2:] - size) / 2), 0, picture - size)
    return Region(*(int(edge) for edge in (*corner, *(corner + size))))
