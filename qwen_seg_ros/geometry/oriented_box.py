"""Gravity-aligned oriented boxes."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Matrix4, Points, Vector3, require
from qwen_seg_ros.geometry.transform import move_points, transform


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """pose: (4, 4) frame_from_box, origin at the centre, z up, x along the longer side; size_m: (3,) full lengths."""

    pose: Matrix4
    size_m: Vector3

    def __post_init__(self) -> None:
        require(self.pose, "oriented box pose", (4, 4), np.float64)
        require(self.size_m, "oriented box size", (3,), np.float64)

    def corners(self) -> Points:
        """(8, 3) in the box's frame of reference: the four below counter-clockwise, then the four above."""
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        unit = np.vstack([np.column_stack([signs, np.full(4, z)]) for z in (-1, 1)])
        return move_points(self.pose, unit * (self.size_m / 2))


def fit_level_box(footprint_m: NDArray, low_m: float, high_m: float, margin_m: float = 0.0) -> OrientedBox:
    """The box of least footprint area around points (N, 2) of a level plane, from height `low_m` to `high_m`.

    margin_m is added to both footprint lengths. Coordinates are those of a frame with z up. Yaw is within a half turn: the
    box's x points to +x (or +y when across).
    """
    (cx, cy), (first, second), degrees = cv2.minAreaRect(np.ascontiguousarray(footprint_m, np.float32))
    yaw = np.deg2rad(degrees) if first >= second else np.deg2rad(degrees) + np.pi / 2
    yaw = (yaw + np.pi / 2 - 1e-6) % np.pi - np.pi / 2 + 1e-6
    c, s = np.cos(yaw), np.sin(yaw)
    pose = transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array([cx, cy, (low_m + high_m) / 2]))
    long, short = max(first, second) + margin_m, min(first, second) + margin_m
    return OrientedBox(pose, np.array([long, short, high_m - low_m], np.float64))
