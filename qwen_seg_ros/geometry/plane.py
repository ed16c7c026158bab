"""Planes in Hesse normal form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Matrix4, Vector3


@dataclass(frozen=True, eq=False)
class Plane:
    """Points p with normal . p + offset_m = 0; `normal` is a unit vector that points up, away from the supporting body."""

    normal: Vector3
    offset_m: float

    def height(self, points: NDArray) -> NDArray:
        """Signed distance above the plane of points (..., 3), metres."""
        return np.asarray(points) @ self.normal.astype(np.asarray(points).dtype) + self.offset_m

    def moved(self, target_from_source: Matrix4) -> "Plane":
        """The same plane in another frame."""
        normal = target_from_source[:3, :3] @ self.normal
        return Plane(normal, self.offset_m - float(normal @ target_from_source[:3, 3]))
