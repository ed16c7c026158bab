"""Where an object is and how large: a level box around what is seen and what its symmetry and the table imply."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Points
from qwen_seg_ros.geometry.oriented_box import OrientedBox, fit_level_box
from qwen_seg_ros.geometry.transform import move_points
from qwen_seg_ros.lifting.completion import turned_copy
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.lifting.view import View

COPIED_POINTS = 250


def level_box(view: View, voxels: Points, points: Points, settings: LiftSettings) -> OrientedBox:
    """The box in the optical frame. voxels: the object's cloud; points: all its pixels, for extents that averaging would shrink."""
    seen = move_points(view.table_from_camera, points)
    footprint = seen[:, :2]
    if settings.complete:
        few = seen[:: max(1, len(seen) // COPIED_POINTS)]
        hidden = turned_copy(few, _away(view, few), view.gap)
        footprint = np.concatenate([footprint, hidden[:, :2]])
    low, high = np.percentile(seen[:, 2], [1, 99])
    box = fit_level_box(footprint, _bottom(view, low, high), high)
    return OrientedBox(view.camera_from_table @ box.pose, box.size_m)


def _away(view: View, table_points: NDArray) -> NDArray:
    """(2,) unit vector, level, from the camera to the object; x for an object right below the camera."""
    away = table_points[:, :2].mean(axis=0) - view.table_from_camera[:2, 3]
    length = float(np.linalg.norm(away))
    return away / length if length > 0.02 else np.array([1.0, 0.0])


def _bottom(view: View, low: float, high: float) -> float:
    """The table's height 0 for an object that stands on it: its lowest seen point is near, or its lower half is turned away."""
    on_table = view.support is not None and low < max(0.03, 0.5 * high)
    return 0.0 if on_table else low
