"""Gravity-aligned oriented boxes."""

from dataclasses import dataclass

import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4, Vector3, require


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """pose: (4, 4) frame_from_box, origin at the centre, z up (against gravity), x along the longer side; size_m: (3,) full lengths."""

    pose: Matrix4
    size_m: Vector3

    def __post_init__(self) -> None:
        require(self.pose, "oriented box pose", (4, 4), np.float64)
        require(self.size_m, "oriented box size", (3,), np.float64)
