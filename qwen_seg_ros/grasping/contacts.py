"""What the fingers touch: the surface normals at both ends of a piece, and how well they face the fingers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.grasping.body import UPRIGHT, Body
from qwen_seg_ros.grasping.candidates import Candidates
from qwen_seg_ros.grasping.gripper import Gripper

CONTACT_M = 0.006  # points this near to the end of a piece are touched
EDGE_M = 0.005  # normals this near to the top are mixed with the upper face's; at most half of what is held is left out for it
FULL_SUPPORT = 8.0  # seen points per side that leave no doubt
MIN_EVIDENCE = 1.0  # weight of points below which the side counts as unseen
MAX_POINTS = 1500
SLACK_M = 1e-4
STRIP_KEY_M = 10.0  # strips lie this far apart on the one axis that all points are sorted along

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Contacts:
    """angle_rad: (C,) the larger angle between a contact's normal and the closing direction.

    support: (C,) 0..1 how much of both sides was seen. known: (C,) whether the angle rests on anything.
    """

    angle_rad: Floats
    support: Floats
    known: NDArray[np.bool_]

    def take(self, index: NDArray) -> "Contacts":
        return Contacts(self.angle_rad[index], self.support[index], self.known[index])


def find_contacts(candidates: Candidates, body: Body, gripper: Gripper) -> Contacts:
    """Normals come from the points below the piece's top edge; the side that faces its finger worse counts.

    For a hand from above a side that was not seen is an upright wall along the outline; other hands take it to be parallel to the
    seen one. Of a rim, and for those hands, one side at least must have been seen.
    """
    held = _Held(candidates, body, gripper)
    upright = body.up[2] > UPRIGHT
    angles, weights = [], []
    for sign in (-1.0, 1.0):
        angle, weight = held.side(sign)
        unseen = np.flatnonzero(weight < MIN_EVIDENCE)
        angle[unseen] = held.outline_angle(unseen, sign) if upright else 0
        angles.append(angle)
        weights.append(weight)
    support = np.minimum(np.array(weights) / FULL_SUPPORT, 1).mean(axis=0)
    known = (np.array(weights) >= MIN_EVIDENCE).any(axis=0) | (upright & ~candidates.rim)
    return Contacts(np.max(angles, axis=0).astype(np.float32), support.astype(np.float32), known)


class _Held:
    """The points of every strip in the order of the closing direction: the ends of a piece are slices of it."""

    def __init__(self, candidates: Candidates, body: Body, gripper: Gripper) -> None:
        step = max(1, -(-len(body.points) // MAX_POINTS))
        self._points, self._normals = body.points[::step], body.normals[::step]
        self._weights = body.weights[::step] * step
        self._candidates = candidates
        _, first, self._strip = np.unique(
            candidates.yaw_rad + 1j * candidates.along_m, return_index=True, return_inverse=True
        )
        strips = candidates.take(first)
        b = strips.along @ self._points[:, :2].T - strips.along_m[:, None]
        strip, index = np.nonzero(np.abs(b) < gripper.finger_width_m / 2 + 0.002)
        a = (strips.closing[strip] * self._points[index, :2]).sum(axis=1)
        key = strip * STRIP_KEY_M + a
        order = np.argsort(key)
        self._key, self._index = key[order], index[order]
        self._a, self._b = a[order], b[strip, index][order]
        self._height = self._points[self._index, 2]

    def side(self, sign: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Angle and weight of the points (C,) of the end at the finger on the closing direction's `sign` side."""
        all_of = self._candidates
        end = all_of.high_m if sign > 0 else all_of.low_m
        inner = end - np.float32(sign * CONTACT_M)
        row, place = self._between(np.arange(len(end)), np.minimum(end, inner), np.maximum(end, inner))
        point = self._index[place]
        edge = np.minimum(EDGE_M, (all_of.top_z - all_of.tip_z) / 2)
        below_edge = self._height[place] < (all_of.top_z - edge)[row]
        row, point = row[below_edge], point[below_edge]
        outward = sign * (all_of.closing[row] * self._normals[point, :2]).sum(axis=1)  # a normal's share towards the finger
        row, point = row[outward > 0.1], point[outward > 0.1]
        total = np.bincount(row, self._weights[point], len(all_of)).astype(np.float64)
        mean = np.stack(
            [np.bincount(row, self._weights[point] * self._normals[point, k], len(all_of)) for k in range(3)], axis=1
        )
        cosine = sign * (mean[:, :2] * all_of.closing).sum(axis=1) / np.maximum(np.linalg.norm(mean, axis=1), 1e-9)
        return np.arccos(np.clip(cosine, -1, 1)), total

    def outline_angle(self, rows: Ints, sign: float) -> Floats:
        """Angle between an upright wall and the closing direction, from how far a piece reaches on either half of the finger."""
        row, place = self._between(rows, self._candidates.low_m[rows], self._candidates.high_m[rows])
        half = 2 * row + (self._b[place] >= 0)
        count = np.bincount(half, minlength=2 * len(rows))
        middle = np.bincount(half, self._b[place], 2 * len(rows)) / np.maximum(count, 1)
        reach = np.full(2 * len(rows), -1e3, np.float32)
        np.maximum.at(reach, half, np.float32(sign) * self._a[place])
        slope = (reach[1::2] - reach[::2]) / np.maximum(middle[1::2] - middle[::2], 0.004)
        known = (count[1::2] > 0) & (count[::2] > 0)
        return np.where(known, np.arctan(np.abs(slope)), np.pi / 4)

    def _between(self, rows: Ints, low: Floats, high: Floats) -> tuple[Ints, Ints]:
        """Pairs of a place in `rows` (R,) and one in the sorted points: above the fingertips, from `low` to `high` (R,)."""
        base = self._strip[rows] * STRIP_KEY_M
        first = np.searchsorted(self._key, base + low - SLACK_M)
        number = np.searchsorted(self._key, base + high + SLACK_M) - first
        row = np.repeat(np.arange(len(rows)), number)
        place = np.arange(len(row)) - np.repeat(np.cumsum(number) - number - first, number)
        above = self._height[place] > self._candidates.tip_z[rows[row]]
        return row[above], place[above]
