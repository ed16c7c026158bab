"""An object that stands in a scene."""

from dataclasses import dataclass

import cv2
import numpy as np

from qwen_seg_ros.offline.sim.catalogue import CatalogueEntry
from qwen_seg_ros.offline.sim.looks import FINISHES, MATERIAL_OF, SHAPE_OF, Look
from qwen_seg_ros.offline.sim.standing import Pose


@dataclass(frozen=True, eq=False)
class Placed:
    """Object `index` of the stage. Its gravity-aligned box: centre_m (3,) in the base frame, size_m (3,), length >= width;
    support: number (from 1) of the object it stands on, 0 = the table; pose: of its surface, None
    in simple scenes."""

    index: int
    look: Look
    centre_m: np.ndarray
    size_m: np.ndarray
    support: int = 0
    lying: bool = False
    pose: Pose | None = None

    @classmethod
    def upright(cls, index: int, item: CatalogueEntry, footprint_m: np.ndarray, height_m: float) -> "Placed":
        """With the colour that the catalogue names."""
        material, shape = item.material or MATERIAL_OF.get(item.key, ""), SHAPE_OF.get(item.category, "")
        look = Look(item.key, item.name, item.colour, shape, material, item.paint, FINISHES[""])
        return cls(index, look, *box_around(footprint_m, 0.0, height_m))

    @classmethod
    def at(cls, index: int, look: Look, pose: Pose, support: int, lying: bool) -> "Placed":
        return cls(index, look, *box_around(pose.footprint_m, pose.low_m, pose.high_m), support, lying, pose)


def box_around(footprint_m: np.ndarray, low_m: float, high_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Centre (3,) and size (3,) of the smallest upright box over a footprint (K, 2)."""
    (x, y), (a, b), _ = cv2.minAreaRect(footprint_m.astype(np.float32))
    return np.array([x, y, (low_m + high_m) / 2]), np.array([max(a, b), min(a, b), high_m - low_m])
