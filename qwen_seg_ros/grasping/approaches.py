"""From which sides a hand may come, and in which directions it may close there.

From above it always may. Beside that: obliquely at the sides of the object's box and level at the one that faces the camera,
closing level (bottles, what stands behind something low), and leaning outward all around low, wide things, closing across their
rims (plates, bowls).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.preferences import Preferences
from qwen_seg_ros.grasping.settings import GraspSettings

# Tilt from the vertical, and the least cosine between the approach side and the camera's: no hand comes from where nothing was
# seen, and a level one, which closes across its approach, only from where both sides of the object were seen. Behind the outline
# that the camera sees, things are thicker than they look.
SIDES = {"oblique": (np.deg2rad(50), -0.5), "side": (np.deg2rad(90), 0.65)}
RIM_TILT = np.deg2rad(30)  # more, and the palm of common hands would touch the table
LEAST_TILT = np.deg2rad(20)  # a hand that leans less comes from above
SIDE_TILT = np.deg2rad(70)
RIMS = 8  # places around a rim
MIN_SIDE_HEIGHT_M = 0.06  # lower things leave no room between palm and table
MAX_RIM_HEIGHT_M = 0.10

AROUND, ACROSS = 0.0, np.pi / 2  # closing directions in an approach's frame: in the plane of the tilt, and level


@dataclass(frozen=True, eq=False)
class Approach:
    """local_from_approach: (3, 3); its z points back along the approach, its y is level.

    yaws_rad: (T,) closing directions. slide_steps: how many of the settings' steps lie between grasps.
    """

    strategy: str
    local_from_approach: NDArray[np.float64]
    yaws_rad: NDArray[np.float64]
    slide_steps: int = 2


def approaches(body: Body, gripper: Gripper, settings: GraspSettings, preferences: Preferences) -> list[Approach]:
    """What the settings allow and the object's shape makes sensible, from above first, and last the one that was asked for."""
    every = np.deg2rad(np.arange(0, 180, settings.yaw_step_deg))
    chosen = [] if settings.approach == "side" else [Approach("top_down", np.eye(3), every, 1)]
    if settings.approach != "top":
        chosen += _sides(body) + _rims(body, gripper) + _wanted(body, preferences)
    return chosen


def _wanted(body: Body, preferences: Preferences) -> list[Approach]:
    """The direction that was asked for, unless the hand would come from above or from below the level."""
    if preferences.approach is None:
        return []
    x, y, z = -body.frame_from_local[:3, :3].T @ preferences.approach
    tilt = float(np.arccos(np.clip(z, -1, 1)))
    if not LEAST_TILT < tilt < np.pi / 2 + 1e-3:
        return []
    name = "side" if tilt > SIDE_TILT else "oblique"
    return [Approach(name, _tilted(tilt, float(np.arctan2(y, x))), np.array([AROUND, ACROSS]))]


def _sides(body: Body) -> list[Approach]:
    if 2 * body.half_size[2] < MIN_SIDE_HEIGHT_M:
        return []
    camera = body.seen.direction
    level = np.array([ACROSS])
    return [
        Approach(name, _tilted(tilt, azimuth), level)
        for name, (tilt, least) in SIDES.items()
        for azimuth in np.arange(4) * np.pi / 2
        if np.array([np.cos(azimuth), np.sin(azimuth)]) @ camera > least
    ]


def _rims(body: Body, gripper: Gripper) -> list[Approach]:
    low = 2 * body.half_size[2] < MAX_RIM_HEIGHT_M
    wide = 2 * body.half_size[:2].min() > gripper.max_opening_m
    if not (low and wide):
        return []
    azimuths = np.arange(RIMS) * 2 * np.pi / RIMS
    return [Approach("rim", _tilted(RIM_TILT, azimuth), np.array([AROUND])) for azimuth in azimuths]


def _tilted(tilt: float, azimuth: float) -> NDArray[np.float64]:
    """A hand that leans by `tilt` from the vertical towards `azimuth`: axes in the plane of the tilt, level, and back."""
    (s, c), (sa, ca) = (np.sin(tilt), np.cos(tilt)), (np.sin(azimuth), np.cos(azimuth))
    return np.array([[c * ca, -sa, s * ca], [c * sa, ca, s * sa], [-s, 0, c]])
