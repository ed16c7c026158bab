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
TOLERANCE_M = 0.006
MAX_BROKEN = 0.08  # share of the copy that may stick out; above, the object is not symmetric


def turned_copy(points: Points, away: NDArray, gap: Gap) -> Points:
    """The object's points (N, 3) turned by half about its vertical axis, or no points when no axis fits.

    Frame: z up. away: (2,) unit vector, level, from the camera to the object. gap: what the camera saw.
    """
    across = np.array([-away[1], away[0]])
    depth, side = points[:, :2] @ away, points[:, :2] @ across
    near, length, width = depth.min(), np.ptp(depth), np.ptp(side)
    lengths = np.linspace(length, max(1.1 * length, 1.3 * width), STEPS)
    middle = (side.min() + side.max()) / 2
    axes = (near + lengths / 2)[:, None] * away + middle * across
    copies = np.concatenate([np.hstack([2 * axis - points[:, :2], points[:, 2:]]) for axis in axes])
    broken = (gap(copies) > TOLERANCE_M).reshape(STEPS, -1).mean(axis=1)
    best = int(np.argmax(broken <= broken.min() + 0.01))
    if broken[best] > MAX_BROKEN:
        return np.zeros((0, 3), np.float32)
    return copies.reshape(STEPS, -1, 3)[best].astype(np.float32)
