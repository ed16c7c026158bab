"""What one request wants of a grasp beside that it holds: where the hand comes from, where it may not go, what it takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Points, Vector3
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import inverse, move_points
from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.candidates import Candidates

MAX_BOXES = 16
MAX_PART_POINTS = 300  # more say no more about where a part is
PART_M = 0.02  # distance from the part that halves the term
MAX_REACH_M = 0.7  # what lies farther from the object is left out, whatever the hand: boxes are filled with points


@dataclass(frozen=True, eq=False)
class Preferences:
    """Everything in the frame of the clouds that are planned on.

    approach: (3,) direction, any length, that the hand shall move in; others lose `approach_weight` of the score per 90 degrees.
    keep_out: boxes that no part of the hand may enter on its way, 16 at most. part: (N, 3) points of the object, for example
    those of a mask of its handle; grasps away from them lose up to `part_weight` of the score.

    Raises:
        InvalidInputError: for a direction of no length, a weight outside 0..1, too many boxes, or a part without usable points.
    """

    approach: Vector3 | None = None
    approach_weight: float = 0.4
    keep_out: tuple[OrientedBox, ...] = ()
    part: Points | None = None
    part_weight: float = 0.5

    def __post_init__(self) -> None:
        for name in ("approach_weight", "part_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"{name} must be between 0 and 1, got {getattr(self, name)!r}")
        if len(self.keep_out) > MAX_BOXES:
            raise InvalidInputError(f"at most {MAX_BOXES} keep-out boxes can be given, got {len(self.keep_out)}")
        if self.approach is not None:
            object.__setattr__(self, "approach", _unit(self.approach))
        if self.part is not None:
            object.__setattr__(self, "part", _some_points(self.part))

    def terms(self, candidates: Candidates, body: Body) -> dict[str, tuple[float, NDArray]]:
        """Weight and values 0..1 (C,) of what was asked for; `body` is turned to the approach."""
        local_from_frame = inverse(body.frame_from_local)
        terms: dict[str, tuple[float, NDArray]] = {}
        if self.approach is not None:
            angle = np.arccos(np.clip(-local_from_frame[2, :3] @ self.approach, -1, 1))
            terms["approach"] = self.approach_weight, np.full(len(candidates), max(0.0, 1 - float(angle) / (np.pi / 2)))
        if self.part is not None:
            part = move_points(local_from_frame, self.part)
            far = np.linalg.norm(candidates.tcp_xyz[:, None] - part, axis=2).min(axis=1)
            terms["part"] = self.part_weight, 1 / (1 + (far / PART_M) ** 2)
        return terms

    def keep_out_points(self, body: Body, reach_m: float, step_m: float) -> Points:
        """Points (K, 3) that fill the boxes within `reach_m` of the object, at most `step_m` apart, in `body`'s local frame."""
        filled = [_filled(box, body, min(reach_m, MAX_REACH_M), step_m) for box in self.keep_out]
        return np.concatenate(filled) if filled else np.zeros((0, 3), np.float32)


NONE = Preferences()


def _unit(direction: Vector3) -> Vector3:
    direction = np.asarray(direction, np.float64)
    length = np.linalg.norm(direction) if direction.shape == (3,) else np.nan
    if not np.isfinite(length) or length < 1e-6:
        raise InvalidInputError(f"approach must be three finite numbers x y z, not all 0, got {direction.tolist()}")
    return direction / length


def _some_points(points: Points) -> Points:
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0 or not np.isfinite(points).all():
        raise InvalidInputError(f"part must be finite points (N, 3) with N > 0, got an array of shape {points.shape}")
    return points[:: -(-len(points) // MAX_PART_POINTS)]


def _filled(box: OrientedBox, body: Body, reach_m: float, step_m: float) -> Points:
    centre = (inverse(box.pose) @ body.frame_from_local)[:3, 3]
    ends = np.clip(np.stack([-box.size_m / 2, box.size_m / 2]), centre - reach_m, centre + reach_m)
    if (np.abs(ends) > box.size_m / 2 + 1e-9).any():  # the box lies beyond reach
        return np.zeros((0, 3), np.float32)
    axes = [np.linspace(low, high, int(np.ceil((high - low) / step_m)) + 1) for low, high in ends.T]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    return move_points(inverse(body.frame_from_local) @ box.pose, grid)
