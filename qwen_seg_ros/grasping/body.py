"""The target and what surrounds it, in the object's own gravity frame: what every step of the planner works on.

Local frame: origin at the centre of the target's box, z up, x along the box's longer side. Everything that is computed here
moves with the object, so a grasp does not depend on the frame that the clouds came in. For a hand that does not come from above
the body is turned until it does: then z points back along the approach, and the rest of the planner need not know.
"""

from dataclasses import dataclass, field, replace
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
INSIDE_POWER = 3.0  # the outline of boxes and of round things alike: between an ellipse and a rectangle
BOX_MARGIN_M = 0.005
UPRIGHT = 0.95  # cosine of the tilt up to which a hand comes from above
RESIDUE_M = 0.0075  # unnamed scene points this near to the target are its own ragged edge


@dataclass(frozen=True, eq=False)
class Body:
    """frame_from_local: (4, 4). Everything else in the local frame.

    points: float32 (N, 3) seen points, then mirrored ones; normals: float32 (N, 3) outward; weights: float32 (N,) 1 = seen.
    obstacles: float32 (M, 3) scene without the target. table: the support, or the level of the lowest point when none was found.
    keep_out: float32 (K, 3) points that fill space the hand may not enter. half_size: (3,) of the box.
    seen: what the camera saw. upright_from_local: (3, 3) back to the frame in which z is up, which both of them are in.
    """

    frame_from_local: Matrix4
    points: Points
    normals: Points
    weights: NDArray[np.float32]
    obstacles: Points
    table: Plane
    half_size: Vector3
    seen: SeenSurface
    keep_out: Points = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    upright_from_local: NDArray[np.float32] = field(default_factory=lambda: np.eye(3, dtype=np.float32))

    def turned(self, local_from_turned: NDArray) -> "Body":
        """The same with the columns of a (3, 3) rotation for axes."""
        rotation = local_from_turned.astype(np.float32)
        turn = transform(local_from_turned, np.zeros(3))
        return replace(
            self,
            frame_from_local=self.frame_from_local @ turn,
            points=self.points @ rotation,
            normals=self.normals @ rotation,
            obstacles=self.obstacles @ rotation,
            keep_out=self.keep_out @ rotation,
            table=self.table.moved(inverse(turn)),
            upright_from_local=self.upright_from_local @ rotation,
        )

    @cached_property
    def centre(self) -> NDArray[np.float32]:
        """(3,) where the weight is taken to be: over the middle of the points, half-way up."""
        upright = self.points.mean(axis=0) @ self.upright_from_local.T
        return np.array([*upright[:2], 0], np.float32) @ self.upright_from_local

    @property
    def up(self) -> NDArray[np.float32]:
        """(3,) against gravity."""
        return self.upright_from_local[2]

    def table_z(self, xy: NDArray) -> NDArray:
        """Height of the table under points (..., 2)."""
        return -(xy @ self.table.normal[:2] + self.table.offset_m) / self.table.normal[2]

    def within(self, points: NDArray) -> NDArray[np.bool_]:
        """Which of points (..., 3) lie inside the object's outline, or its whole box where the hand does not come from above.

        From above the walls that stand out of the outline show as pieces; from the side an unseen wall would pass for a gap.
        """
        if self.up[2] < UPRIGHT:
            upright = np.abs(points @ self.upright_from_local.T)
            return np.asarray((upright < self.half_size.astype(np.float32) + BOX_MARGIN_M).all(axis=-1))
        share = np.abs(points[..., :2] @ self.upright_from_local[:2, :2].T) / np.maximum(self.half_size[:2], 1e-3)
        return np.asarray((share**INSIDE_POWER).sum(axis=-1) < 1)

    def free(self, points: NDArray) -> NDArray[np.bool_]:
        """Which of points (..., 3) the camera saw to be empty."""
        return self.seen.free(points @ self.upright_from_local.T)


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
