"""The target and what surrounds it, in the object's own gravity frame: what every step of the planner works on.

Local frame: origin at the centre of the target's box, z up, x along the box's longer side. Everything that is computed here
moves with the object, so a grasp does not depend on the frame that the clouds came in.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Matrix4, Points, Vector3
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_with_z, transform
from qwen_seg_ros.grasping.visibility import SeenSurface
from qwen_seg_ros.lifting.object_cloud import ObjectCloud, Scene

VIRTUAL_WEIGHT = 0.4  # a mirrored point is a guess
MAX_FREE_SHARE = 0.5  # of the mirrored points may lie where the camera saw through, else the object is not symmetric
RESIDUE_M = 0.0075  # unnamed scene points this near to the target are its own ragged edge


@dataclass(frozen=True, eq=False)
class Body:
    """frame_from_local: (4, 4). Everything else in the local frame.

    points: float32 (N, 3) seen points, then mirrored ones; normals: float32 (N, 3) outward; weights: float32 (N,) 1 = seen.
    obstacles: float32 (M, 3) scene without the target. table: the support, or the level of the lowest point when none was found.
    half_size: (3,) of the box. seen: what the camera saw, for questions about free space.
    """

    frame_from_local: Matrix4
    points: Points
    normals: Points
    weights: NDArray[np.float32]
    obstacles: Points
    table: Plane
    half_size: Vector3
    seen: SeenSurface

    @cached_property
    def centre_xy(self) -> NDArray[np.float32]:
        """(2,) where the weight is taken to be."""
        return self.points[:, :2].mean(axis=0)

    def table_z(self, xy: NDArray) -> NDArray:
        """Height of the table under points (..., 2)."""
        return -(xy @ self.table.normal[:2] + self.table.offset_m) / self.table.normal[2]


def body_of(target: ObjectCloud, scene: Scene) -> Body:
    """Move target and scene into the local frame and add the target's mirrored, hidden side."""
    rotation = rotation_with_z(scene.up, target.box.pose[:3, 0])
    frame_from_local = transform(rotation, target.box.pose[:3, 3])
    local_from_frame = inverse(frame_from_local)
    points = move_points(local_from_frame, target.points_m)
    normals = target.normals @ rotation.astype(np.float32)
    others = scene.object_ids != target.id
    around = move_points(local_from_frame, scene.points_m)
    camera = local_from_frame[:3, :3] @ scene.camera + local_from_frame[:3, 3]
    seen = SeenSurface(np.concatenate([points, around]), camera)
    mirrored, mirrored_normals = _mirrored(points, normals, seen)
    whole = np.concatenate([points, mirrored])
    residue = (scene.object_ids[others] == 0) & _near(around[others], whole)
    weights = np.repeat(np.array([1, VIRTUAL_WEIGHT], np.float32), [len(points), len(mirrored)])
    lowest = Plane(np.array([0.0, 0.0, 1.0]), -float(points[:, 2].min()))
    table = scene.support.moved(local_from_frame) if scene.support else lowest
    return Body(frame_from_local, whole, np.concatenate([normals, mirrored_normals]), weights, around[others][~residue], table,
                target.box.size_m / 2, seen)


def _mirrored(points: Points, normals: Points, seen: SeenSurface) -> tuple[Points, Points]:
    """The seen side turned by 180 degrees about the box's vertical axis, where the camera could not see."""
    turn = np.array([-1, -1, 1], np.float32)
    copy = points * turn
    symmetric = seen.free(copy).mean() < MAX_FREE_SHARE
    hidden = seen.hidden(copy) & symmetric
    return copy[hidden], normals[hidden] * turn


def _near(points: Points, others: Points) -> NDArray[np.bool_]:
    """Which points share a cell of size `RESIDUE_M`, or touch one, with any of `others`."""
    if len(points) == 0:
        return np.zeros(0, bool)
    low = others.min(axis=0) - 2 * RESIDUE_M
    size = np.ceil((others.max(axis=0) - low) / RESIDUE_M).astype(int) + 3
    grid = np.zeros(size, bool)
    cells = ((others - low) / RESIDUE_M).astype(int)
    for step in np.ndindex(3, 3, 3):
        grid[tuple((cells + np.array(step) - 1).T)] = True
    index = np.floor((points - low) / RESIDUE_M).astype(int)
    inside = ((index >= 0) & (index < size)).all(axis=1)
    near = np.zeros(len(points), bool)
    near[inside] = grid[tuple(index[inside].T)]
    return near
