"""What the fingers touch: the surface normals at both ends of a piece, and how well they face the fingers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import Body
from qwen_seg_ros.grasping.candidates import Candidates
from qwen_seg_ros.grasping.gripper import Gripper

CONTACT_M = 0.006  # points this near to the end of a piece are touched
EDGE_M = 0.005  # normals this near to the top are mixed with the upper face's
FULL_SUPPORT = 8.0  # seen points per side that leave no doubt
MIN_EVIDENCE = 1.0  # weight of points below which the side counts as unseen
MAX_POINTS = 1500

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Contacts:
    """angle_rad: (C,) the larger angle between a contact's normal and the closing direction.

    support: (C,) 0..1 how much of both sides was seen.
    """

    angle_rad: Floats
    support: Floats


def find_contacts(candidates: Candidates, body: Body, gripper: Gripper) -> Contacts:
    """Normals come from the points below the piece's top edge; an unseen side is taken as an upright wall along the outline."""
    step = -(-len(body.points) // MAX_POINTS)
    points, normals, weights = body.points[::step], body.normals[::step], body.weights[::step] * step
    a = candidates.closing @ points[:, :2].T  # (C, N)
    b = candidates.along @ points[:, :2].T - candidates.along_m[:, None]
    held = (np.abs(b) < gripper.finger_width_m / 2 + 0.002) & (points[:, 2] > candidates.tip_z[:, None])
    held &= (a >= candidates.low_m[:, None] - 1e-4) & (a <= candidates.high_m[:, None] + 1e-4)
    low = _side(-a, -candidates.low_m, b, held, points, normals, weights, candidates, -1.0)
    high = _side(a, candidates.high_m, b, held, points, normals, weights, candidates, 1.0)
    support = (low[1] + high[1]) / 2
    return Contacts(np.maximum(low[0], high[0]).astype(np.float32), support.astype(np.float32))


def _side(out: Floats, end: Floats, b: Floats, held: NDArray, points: Floats, normals: Floats, weights: Floats,
          candidates: Candidates, sign: float) -> tuple[Floats, Floats]:
    """Angle and support (C,) of the side where `out`, the coordinate towards this finger, is largest."""
    near = held & (out > (end - CONTACT_M)[:, None])
    row, column = np.nonzero(near & (points[:, 2] < (candidates.top_z - EDGE_M)[:, None]))
    outward = sign * np.einsum("ij,ij->i", candidates.closing[row], normals[column, :2])  # a normal's share towards the finger
    row, column = row[outward > 0.1], column[outward > 0.1]
    total = np.bincount(row, weights[column], len(end))
    mean = np.stack([np.bincount(row, weights[column] * normals[column, k], len(end)) for k in range(3)], axis=1)
    cosine = sign * (mean[:, :2] * candidates.closing).sum(axis=1) / np.maximum(np.linalg.norm(mean, axis=1), 1e-9)
    angle = np.arccos(np.clip(cosine, -1, 1))
    unseen = np.flatnonzero(total < MIN_EVIDENCE)
    angle[unseen] = _outline_angle(out[unseen], b[unseen], held[unseen])
    return angle, np.minimum(total / FULL_SUPPORT, 1)


def _outline_angle(out: Floats, b: Floats, held: NDArray) -> Floats:
    """Angle between an upright wall and the closing direction, from how far the piece reaches on either half of the finger."""
    ends = [_reach(out, b, held & half) for half in (b < 0, b >= 0)]
    (reach_0, middle_0, known_0), (reach_1, middle_1, known_1) = ends
    slope = (reach_1 - reach_0) / np.maximum(middle_1 - middle_0, 0.004)
    return np.where(known_0 & known_1, np.arctan(np.abs(slope)), np.pi / 4)


def _reach(out: Floats, b: Floats, chosen: NDArray) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """How far the chosen points (C, N) of every row reach, the middle of their b, and whether there are any."""
    number = chosen.sum(axis=1)
    reach = np.where(chosen, out, np.float32(-1e3)).max(axis=1, initial=-1e3)
    return reach, np.einsum("ij,ij->i", b, chosen.astype(np.float32)) / np.maximum(number, 1), number > 0
