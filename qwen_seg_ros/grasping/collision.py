"""Does the hand, on its way in, meet anything? Looked up in height maps, whatever the size of the scene.

A hand that comes along -z sweeps the columns over its parts. So only the undersides of its boxes are looked up, in a map of
the highest obstacle per cell, grown by one cell: what lies higher than the underside would be hit, now or on the way.
"""

from copy import copy
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Points, frozen
from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.candidates import NOTHING, Candidates
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.settings import GraspSettings

MAX_CELLS = 2048
FINGER_GROW, PART_GROW = 1, 2  # voxels by which obstacles are grown for the fingers and for the rest of the hand


class HeightMap:
    """Highest of `points` (N, 3) per cell of `cell_m`."""

    def __init__(self, points: Points, cell_m: float, margin: int) -> None:
        """margin: by how many cells it may be grown."""
        self._cell_m = cell_m
        x, y = (points[:, k] for k in range(2))
        low = [x.min(), y.min()] if len(points) else [0, 0]
        self._low = np.array(low, np.float32) - np.float32((margin + 1.5) * cell_m)
        row, column = ((values - start) / cell_m for values, start in zip((x, y), self._low, strict=True))
        row, column = row.astype(np.int32), column.astype(np.int32)
        size = [min(int(cells.max(initial=0)) + margin + 3, MAX_CELLS) for cells in (row, column)]
        self._top = np.full(size, NOTHING, np.float32)
        fits = (row < size[0]) & (column < size[1])
        np.maximum.at(self._top.ravel(), (row * size[1] + column)[fits], points[fits, 2])

    def grown(self, cells: int) -> "HeightMap":
        """The same with every cell as high as the highest within so many cells."""
        grown = copy(self)
        grown._top = np.asarray(cv2.dilate(self._top, np.ones((2 * cells + 1, 2 * cells + 1), np.uint8)), np.float32)
        return grown

    def top(self, xy: NDArray) -> NDArray[np.float32]:
        """Highest point (...) near places (..., 2); `NOTHING` where the map is empty."""
        rows, columns = self._top.shape  # the outermost cells are empty: places outside are moved there
        row = np.clip((xy[..., 0] - self._low[0]) * (1 / self._cell_m), 0, rows - 1).astype(np.int32)
        column = np.clip((xy[..., 1] - self._low[1]) * (1 / self._cell_m), 0, columns - 1).astype(np.int32)
        return self._top.ravel().take(row * columns + column)


def undersides(candidates: Candidates, gripper: Gripper, settings: GraspSettings, fingers: bool) -> NDArray[np.float32]:
    """Sample points (C, K, 3) in the local frame on the lower faces of the fingers, or of the fixed parts.

    To the fingers belongs the line midway between them: what lies there on the object would be held with it.
    """
    hand, side = _lower_faces(gripper, settings.voxel_m, fingers)
    y: NDArray = np.broadcast_to(hand[:, 1], (len(candidates), len(hand)))
    if fingers:  # move them apart, each face as a whole
        y = y + side * candidates.opening_m(gripper, settings)[:, None] / 2
    points = np.empty((len(candidates), len(hand), 3), np.float32)
    centre, closing, along = candidates.centre_xy, candidates.closing, candidates.along
    for k in range(2):
        points[..., k] = centre[:, None, k] + closing[:, None, k] * y + along[:, None, k] * hand[:, 0]
    points[..., 2] = (candidates.tip_z + gripper.tip_beyond_tcp_m)[:, None] - hand[:, 2]
    return points


@lru_cache(maxsize=32)  # the same for every approach to every object
def _lower_faces(gripper: Gripper, voxel_m: float, fingers: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sample points (K, 3) of the closed hand, hand frame, and to which side each moves as it opens (K,): -1, 0 or 1."""
    boxes = gripper.boxes(0.0)
    boxes = np.array([*boxes[:2], _midway(boxes[0])]) if fingers else boxes[2:]
    step_m = 2 * voxel_m * (FINGER_GROW if fingers else PART_GROW)  # what the grown map leaves no gaps at
    faces = [_grid(box, step_m) for box in boxes]
    side = np.repeat(np.sign(boxes[:, 0, 1]), [len(face) for face in faces]) if faces else np.zeros(0)
    return frozen(np.concatenate([np.zeros((0, 3)), *faces]).astype(np.float32)), frozen(side.astype(np.float32))


def _midway(finger: NDArray) -> NDArray[np.float64]:
    """A finger's box (2, 3) moved to the middle and without thickness."""
    return finger * np.array([1, 0, 1])


def _grid(box: NDArray, step_m: float) -> NDArray[np.float64]:
    """Points (K, 3) at most `step_m` apart on the +z face of a box (2, 3), its edges included."""
    (x, y, z), size = box
    xs, ys = (np.linspace(-s / 2, s / 2, int(np.ceil(s / step_m)) + 1) for s in size[:2])
    gx, gy = np.meshgrid(x + xs, y + ys, indexing="ij")
    return np.stack([gx.ravel(), gy.ravel(), np.full(gx.size, z + size[2] / 2)], axis=1)


def below(points: NDArray, obstacles: HeightMap) -> NDArray[np.bool_]:
    """Which of the sample points (C, K, 3) lie below an obstacle, bool (C, K)."""
    return obstacles.top(points[..., :2]) > points[..., 2]


def hits(points: NDArray, obstacles: HeightMap) -> NDArray[np.bool_]:
    """Candidates (C,) with a sample point (C, K, 3) below an obstacle."""
    return np.asarray(below(points, obstacles).any(axis=1))


def lowest_m(candidates: Candidates, body: Body, gripper: Gripper, settings: GraspSettings) -> NDArray[np.float64]:
    """Height of the hand's lowest corner above the table (C,) at the moment of closing; on its way it is higher."""
    normal, boxes = body.table.normal, gripper.boxes(0.0)
    sunk = np.full(len(candidates), -normal[2])
    table_in_hand = np.stack([candidates.along @ normal[:2], candidates.closing @ normal[:2], sunk], axis=1)
    corner = table_in_hand @ boxes[:, 0].T - np.abs(table_in_hand) @ boxes[:, 1].T / 2
    corner[:, :2] -= (np.abs(table_in_hand[:, 1]) * candidates.opening_m(gripper, settings) / 2)[:, None]
    return body.table.height(candidates.tcp_xyz) + normal[2] * gripper.tip_beyond_tcp_m + corner.min(axis=1)


def finger_in_unknown(candidates: Candidates, body: Body, gripper: Gripper, settings: GraspSettings) -> NDArray[np.bool_]:
    """Candidates (C,) with a finger inside the object's outline where the camera did not see that there is room."""
    side = (candidates.opening_m(gripper, settings) + gripper.finger_thickness_m) / 2
    sides = np.stack([-side, side], axis=1)[..., None]
    xy = candidates.centre_xy[:, None] + candidates.closing[:, None] * sides  # (C, 2, 2)
    bite = candidates.top_z - candidates.tip_z
    levels = candidates.tip_z[:, None] + bite[:, None] * np.array([0.1, 0.5, 0.9])  # (C, 3)
    place = np.broadcast_to(xy[:, :, None], (*xy.shape[:2], 3, 2))
    height = np.broadcast_to(levels[:, None], place.shape[:3])
    samples = np.concatenate([place, height[..., None]], axis=3).astype(np.float32)  # (C, 2, 3, 3)
    within = body.within(samples)
    row, side_of = np.nonzero(within.any(axis=2))
    inside = within[row, side_of]
    free = (body.free(samples[row, side_of]) & inside).sum(axis=1) / inside.sum(axis=1)
    unknown = np.zeros(len(candidates), bool)
    unknown[row[free < settings.min_free_share]] = True
    return unknown
