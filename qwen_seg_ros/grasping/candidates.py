"""Where a hand that comes along -z could close: pieces of the object between two free places for the fingers.

For every closing direction (yaw) and every strip of a finger's width the object is seen as a skyline. A fingertip level cuts
the skyline into pieces; a gap wide enough for a finger parts two of them. A box gives one piece (both fingers outside), a bowl
two walls (one finger inside: "rim").
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import UPRIGHT, Body
from qwen_seg_ros.grasping.gripper import Gripper
from qwen_seg_ros.grasping.settings import GraspSettings

BIN_M = 0.002  # resolution along the closing direction
BITES_M = (0.012, 0.022, 0.036)  # how far the fingertips go below the top, besides the least bite
DEEP_BITE_M = 0.048  # from the side, where no table stands in the way
NOTHING = -1e3  # height of an empty column

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Candidates:
    """C grasps along -z of the local frame, one row each.

    yaw_rad: closing direction a = (cos, sin). along_m: place of the strip on b = (-sin, cos). low_m, high_m: ends of the piece on
    a. tip_z, top_z: fingertip level and top of the piece. spare_m: free length at the narrower side. rim: one finger inside.
    """

    yaw_rad: Floats
    along_m: Floats
    low_m: Floats
    high_m: Floats
    tip_z: Floats
    top_z: Floats
    spare_m: Floats
    rim: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.yaw_rad)

    def take(self, index: NDArray) -> "Candidates":
        return Candidates(*(getattr(self, item.name)[index] for item in fields(self)))

    @property
    def width_m(self) -> Floats:
        return self.high_m - self.low_m

    @cached_property
    def closing(self) -> Floats:
        """Unit closing directions a, (C, 2)."""
        return np.stack([np.cos(self.yaw_rad), np.sin(self.yaw_rad)], axis=1)

    @cached_property
    def along(self) -> Floats:
        """Unit directions b across the closing direction, (C, 2)."""
        return np.stack([-np.sin(self.yaw_rad), np.cos(self.yaw_rad)], axis=1)

    @property
    def centre_xy(self) -> Floats:
        """Middle of the piece, (C, 2)."""
        return self.closing * ((self.low_m + self.high_m) / 2)[:, None] + self.along * self.along_m[:, None]

    @property
    def tcp_xyz(self) -> Floats:
        """Middle of the piece at the level of the fingertips, (C, 3)."""
        return np.column_stack([self.centre_xy, self.tip_z])

    def opening_m(self, gripper: Gripper, settings: GraspSettings) -> Floats:
        """How wide the hand opens (C,): the piece and a margin, less where the gripper or the gap ends."""
        margin = np.clip(2 * (self.spare_m - gripper.finger_thickness_m), 0, settings.opening_margin_m)
        return np.clip(self.width_m + margin, gripper.min_opening_m, gripper.max_opening_m).astype(np.float32)


def propose(body: Body, yaws: NDArray, step_m: float, gripper: Gripper, settings: GraspSettings) -> Candidates:
    """Every piece at every yaw (T,), strip and fingertip level, wide ones included: the planner counts why they fall out.

    step_m: from strip to strip.
    """
    skyline, strips_m, start_m = _skylines(body, yaws, gripper.finger_width_m, step_m)
    tips, fresh = _tip_levels(body, yaws, strips_m, skyline.max(axis=2), gripper, settings)
    above = (skyline[:, :, None, :] > tips[..., None]) & fresh[..., None]
    row, column = np.nonzero(above.reshape(-1, above.shape[-1]))
    if len(row) == 0:
        return _candidates([np.zeros(0)] * 7, np.zeros(0, bool))
    yaw_of, strip_of, level_of = np.unravel_index(row, above.shape[:3])
    gap = int(np.ceil((gripper.finger_thickness_m + settings.width_margin_m) / BIN_M))
    first, last = _runs(row, column, gap)
    tops = np.maximum.reduceat(skyline[yaw_of, strip_of, column], first)
    low, high, piece_row = column[first], column[last] + 1, row[first]
    spare, several = _spare(low, high, piece_row)
    low, high, pick, tops, spare, rim = _with_whole_rows(low, high, piece_row, first, tops, spare, several)
    numbers = [yaws[yaw_of[pick]], strips_m[strip_of[pick]], low * BIN_M + start_m, high * BIN_M + start_m,
               tips[yaw_of[pick], strip_of[pick], level_of[pick]], tops, spare * BIN_M]
    return _candidates(numbers, rim)


def _candidates(numbers: list[NDArray], rim: NDArray[np.bool_]) -> Candidates:
    yaw, along, low, high, tip, top, spare = (np.asarray(values, np.float32) for values in numbers)
    return Candidates(yaw, along, low, high, tip, top, spare, rim)


def _skylines(body: Body, yaws: NDArray, finger_width_m: float, step_m: float) -> tuple[Floats, NDArray, float]:
    """Highest point per yaw, strip and bin (T, S, A), the strips' places (S,), and where bin 0 begins."""
    xy, z = body.points[:, :2], body.points[:, 2]
    fine_m = step_m / 2
    reach = float(np.linalg.norm(xy, axis=1).max())
    window = int(np.ceil((finger_width_m / 2 + BIN_M) / fine_m - 0.5))
    half_strips = int(reach / step_m)
    half_fine, bins = 2 * half_strips + window + 2, 2 * int(reach / BIN_M) + 4
    start_m = -bins / 2 * BIN_M
    a = xy @ np.stack([np.cos(yaws), np.sin(yaws)]).astype(np.float32)
    b = xy @ np.stack([-np.sin(yaws), np.cos(yaws)]).astype(np.float32)
    column = np.floor((a - start_m) / BIN_M).astype(int)
    fine = np.rint(b / fine_m).astype(int) + half_fine
    shape = (len(yaws), 2 * half_fine + 1, bins)
    heights = np.full(shape, NOTHING, np.float32)
    flat = (np.arange(len(yaws)) * shape[1] + fine) * bins + column
    np.maximum.at(heights.ravel(), flat.ravel(), np.repeat(z, len(yaws)))
    centres = half_fine + 2 * np.arange(-half_strips, half_strips + 1)
    skyline = np.max([heights[:, centres + k] for k in range(-window, window + 1)], axis=0)
    return skyline, np.arange(-half_strips, half_strips + 1) * step_m, start_m


def _tip_levels(body: Body, yaws: NDArray, strips_m: NDArray, tops: Floats, gripper: Gripper,
                settings: GraspSettings) -> tuple[Floats, NDArray[np.bool_]]:
    """Fingertip levels (T, S, D) below each strip's top, cut off above the table, and which of them are new."""
    upright = body.up[2] > UPRIGHT
    usual = BITES_M if upright else (*BITES_M, DEEP_BITE_M)
    deeper = [bite for bite in usual if settings.min_bite_m < bite < gripper.finger_length_m]
    bites = np.array([settings.min_bite_m, *deeper], np.float32)
    tips = tops[..., None] - bites
    if upright:  # a table that leans has no one level for a strip; the planner looks at the whole hand
        places = np.stack([-np.sin(yaws), np.cos(yaws)], 1)[:, None] * strips_m[:, None]
        lowest = body.table_z(places) + settings.table_clearance_m + 1e-4
        tips = np.maximum(tips, lowest[..., None]).astype(np.float32)
    fresh = np.ones(tips.shape, bool)
    fresh[..., 1:] = tips[..., 1:] < tips[..., :-1] - 1e-3
    return tips, fresh & (tops[..., None] > NOTHING)


def _runs(row: NDArray, column: NDArray, gap: int) -> tuple[NDArray, NDArray]:
    """First and last index of every run of entries of one row without a gap."""
    cut = np.flatnonzero((row[1:] != row[:-1]) | (column[1:] - column[:-1] > gap))
    return np.concatenate([[0], cut + 1]), np.concatenate([cut, [len(row) - 1]])


def _spare(low: NDArray, high: NDArray, row: NDArray) -> tuple[NDArray, NDArray]:
    """Free bins beside every piece (the narrower side) and whether its row has several pieces."""
    far = 10**6
    same = row[1:] == row[:-1]
    between = np.where(same, low[1:] - high[:-1], far)
    before, after = np.concatenate([[far], between]), np.concatenate([between, [far]])
    spare = np.minimum(before, after)
    return spare, spare < far


def _with_whole_rows(low: NDArray, high: NDArray, row: NDArray, first: NDArray, tops: NDArray, spare: NDArray,
                     several: NDArray) -> tuple[NDArray, ...]:
    """Add, for rows of several pieces, the grasp around all of them (a cup that fits between the fingers)."""
    starts = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
    ends = np.concatenate([starts[1:], [len(row)]]) - 1
    some = several[starts]
    whole_top = np.maximum.reduceat(tops, starts)[some]
    starts, ends = starts[some], ends[some]
    return (np.concatenate([low, low[starts]]), np.concatenate([high, high[ends]]), np.concatenate([first, first[starts]]),
            np.concatenate([tops, whole_top]), np.concatenate([spare, np.full(len(starts), 10**6)]),
            np.concatenate([several, np.zeros(len(starts), bool)]))
