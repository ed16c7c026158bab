"""The hidden back of an object, from the symmetry of its visible front.

Seen from one side, a ball, a bottle or a lying can shows less than its footprint. Most things on a table look the same when
turned by half about a vertical axis. The turned copy must agree with the picture: it may not show up in front of the seen
surfaces or beside the mask, where the camera saw through. The axis whose copy breaks this rule least is the object's.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Points

Gap = Callable[[NDArray], NDArray]  # points (N, 3) -> how far each lies in front of the seen surface, metres; NaN = not seen

STEPS = 16
TESTED_POINTS = 300
TOLERANCE_M = 0.004
TIE = 0.004  # shares closer than this are equally good
MAX_BROKEN = 0.08  # share of the copy that may stick out; above, the object is not symmetric


def turned_copy(points: Points, away: NDArray, gap: Gap) -> Points:
    """The object's points (N, 3) turned by half about its vertical axis, or no points when no axis fits.

    Frame: z up. away: (2,) unit vector, level, from the camera to the object. gap: what the camera saw.
    """
    near, middle, lengths = _axes(points, away)
    few = points[:: max(1, len(points) // TESTED_POINTS)]
    copies = _turned(few, near, middle, lengths, away).reshape(-1, 3)
    with np.errstate(invalid="ignore"):
        broken = (gap(copies) > TOLERANCE_M).reshape(STEPS, -1).mean(axis=1)
    if broken.min() > MAX_BROKEN:
        return np.zeros((0, 3), np.float32)
    length = lengths[broken <= broken.min() + TIE].mean(keepdims=True)
    return _turned(points, near, middle, length, away)[0]


def _axes(points: Points, away: NDArray) -> tuple[float, float, NDArray]:
    """The near end along `away`, the middle across it, and the lengths to try: from the seen one up."""
    depth, side = points[:, :2] @ away, points[:, :2] @ [-away[1], away[0]]
    length, width = np.ptp(depth), np.ptp(side)
    return depth.min(), (side.min() + side.max()) / 2, np.linspace(length, max(1.1 * length, 1.3 * width), STEPS)


def _turned(points: Points, near: float, middle: float, lengths: NDArray, away: NDArray) -> NDArray[np.float32]:
    """Points (N, 3) turned by half about the axis that each of the lengths (L,) implies, (L, N, 3)."""
    axes = (near + lengths[:, None] / 2) * away + middle * np.array([-away[1], away[0]])
    turned = np.empty((len(lengths), *points.shape), np.float32)
    turned[..., :2] = 2 * axes[:, None] - points[:, :2]
    turned[..., 2] = points[:, 2]
    return turned
