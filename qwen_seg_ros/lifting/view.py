"""What one frame shows, with the level frame of its table: the questions the lifting asks about it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, Points, Vector3
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import inverse, move_points
from qwen_seg_ros.lifting.support import camera_from_table


@dataclass(frozen=True, eq=False)
class View:
    """frame: with depth and camera; support: the table; up: unit vector in the optical frame.

    camera_from_table, table_from_camera: the level frame of `support.camera_from_table`; heights are its z.
    """

    frame: Frame
    support: Plane | None
    up: Vector3
    depth_m: DepthImage = field(init=False)
    camera: Camera = field(init=False)
    camera_from_table: Matrix4 = field(init=False)
    table_from_camera: Matrix4 = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth_m", self.frame.depth_m)
        object.__setattr__(self, "camera", self.frame.camera)
        object.__setattr__(self, "camera_from_table", camera_from_table(self.support, self.up))
        object.__setattr__(self, "table_from_camera", inverse(self.camera_from_table))

    def rays(self, mask: CroppedMask) -> NDArray[np.float32]:
        """x/z, y/z of every pixel of the mask's crop, (h, w, 2)."""
        rows, cols = mask.crop.shape
        grid = np.mgrid[mask.y_px : mask.y_px + rows, mask.x_px : mask.x_px + cols]
        return self.camera.rays(grid[::-1].reshape(2, -1).T).reshape(rows, cols, 2)

    def heights(self, points: Points) -> NDArray:
        """Height of points (N, 3) of the optical frame above the table (above the camera without a table), metres."""
        return points @ self.table_from_camera[2, :3].astype(np.float32) + np.float32(self.table_from_camera[2, 3])

    def gap(self, table_points: NDArray) -> NDArray:
        """How far points (N, 3) of the table frame lie in front of what the camera saw there, metres; NaN = nothing."""
        points = move_points(self.camera_from_table, table_points)
        cols, rows = np.rint(self.camera.project(points)).astype(int).T
        inside = (cols >= 0) & (cols < self.frame.width) & (rows >= 0) & (rows < self.frame.height) & (points[:, 2] > 0)
        seen = np.full(len(points), np.nan, np.float32)
        seen[inside] = self.depth_m[rows[inside], cols[inside]]
        return seen - points[:, 2]
