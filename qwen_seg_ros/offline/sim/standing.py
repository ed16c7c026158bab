"""Where objects can stand: free places on the table, side by side, and on top of or inside one another, by geometry alone.

An object comes straight down until it touches: heights are compared in cells of the table, each cell with its highest (below)
or lowest (above) point, so nothing sinks into anything, and nothing is held by less than its centre needs.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from qwen_seg_ros.offline.sim.shapes import Surface

CELL_M = 0.004
TOUCH_M = 0.003  # cells this close to contact carry
SLACK_M = 0.0005  # between objects that touch side by side
HEEL_M = 0.004  # how far the centre may lie outside the cells that carry: they are only sampled


@dataclass(frozen=True, eq=False)
class Pose:
    """A surface turned (3, 3) and moved so that its origin is at place_m (3,)."""

    surface: Surface
    turn: np.ndarray
    place_m: np.ndarray

    @cached_property
    def corners_m(self) -> np.ndarray:
        return self.surface.corners_m @ self.turn.T + self.place_m

    @cached_property
    def samples_m(self) -> np.ndarray:
        return self.surface.samples_m @ self.turn.T + self.place_m

    @cached_property
    def footprint_m(self) -> np.ndarray:
        """(K, 2) convex outline seen from above, counter-clockwise."""
        return cv2.convexHull(self.corners_m[:, :2].astype(np.float32)).reshape(-1, 2).astype(np.float64)

    @property
    def low_m(self) -> float:
        return float(self.corners_m[:, 2].min())

    @property
    def high_m(self) -> float:
        return float(self.corners_m[:, 2].max())

    def moved(self, by_m: np.ndarray) -> "Pose":
        return Pose(self.surface, self.turn, self.place_m + by_m)


def standing(surface: Surface, turn: np.ndarray, spot_m: np.ndarray) -> Pose:
    """On the table, with the middle of its outline's extent at spot_m (2,)."""
    pose = Pose(surface, turn, np.zeros(3))
    low, high = pose.corners_m.min(axis=0), pose.corners_m.max(axis=0)
    return pose.moved(np.array([*(spot_m - (low + high)[:2] / 2), -low[2]]))


def gap_m(one: np.ndarray, other: np.ndarray) -> float:
    """Largest distance by which a line separates two convex outlines; negative = they overlap."""
    return float(max(_clearances(one, other)[1].max(), _clearances(other, one)[1].max()))


def pushed_against(still: Pose, moving: Pose, direction: np.ndarray) -> Pose:
    """`moving` shifted along direction (2,) from where it is to the nearest place at which the outlines just touch."""
    normals, gaps = _clearances(still.footprint_m, moving.footprint_m)
    back, back_gaps = _clearances(moving.footprint_m, still.footprint_m)
    speed = np.concatenate([normals @ direction, -back @ direction])
    needed = (SLACK_M - np.concatenate([gaps, back_gaps]))[speed > 1e-6] / speed[speed > 1e-6]
    return moving.moved(np.array([*(needed.min() * direction), 0.0]))


def dropped(pose: Pose, below: list[Pose]) -> tuple[Pose, int] | None:
    """The pose let down on what is below it, and which of them carries most; None where it would tip or miss them."""
    region = _Region.around(pose)
    tops = np.stack([region.highest(other.samples_m) for other in below])
    lifts = tops.max(axis=0) + region.highest(pose.samples_m * [1, 1, -1])  # top of what is below - bottom of the object
    lift = lifts.max()
    carrying = np.flatnonzero(lifts > lift - TOUCH_M)
    if not np.isfinite(lift) or not _holds(region.centres(carrying), pose.samples_m[:, :2].mean(axis=0)):
        return None
    most = np.bincount(tops[:, carrying].argmax(axis=0)).argmax()
    return pose.moved(np.array([0, 0, lift])), int(most)


def _clearances(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward normals (K, 2) of the edges of `one`, and how far beyond each edge all of `other` lies (K,)."""
    edges = np.roll(one, -1, axis=0) - one
    lengths = np.linalg.norm(edges, axis=1)
    keep = lengths > 1e-9
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1)[keep] / lengths[keep, None]
    return normals, (other @ normals.T).min(axis=0) - np.einsum("ij,ij->i", one[keep], normals)


@dataclass(frozen=True, eq=False)
class _Region:
    """Cells over the extent of an object: corner (2,) in whole cells, shape (2,)."""

    corner: np.ndarray
    shape: np.ndarray

    @classmethod
    def around(cls, pose: Pose) -> "_Region":
        low, high = (np.floor(end(pose.corners_m[:, :2], axis=0) / CELL_M).astype(np.int64) for end in (np.min, np.max))
        return cls(low, high - low + 1)

    def highest(self, points: np.ndarray) -> np.ndarray:
        """(cells,) highest z in each cell, -inf where there is no point."""
        cells = np.floor(points[:, :2] / CELL_M).astype(np.int64) - self.corner
        inside = ((cells >= 0) & (cells < self.shape)).all(axis=1)
        heights = np.full(self.shape.prod(), -np.inf)
        np.maximum.at(heights, cells[inside] @ np.array([self.shape[1], 1]), points[inside, 2])
        return heights

    def centres(self, cells: np.ndarray) -> np.ndarray:
        """(N, 2) metres."""
        return (np.stack(np.divmod(cells, self.shape[1]), axis=1) + self.corner + 0.5) * CELL_M


def _holds(carrying_m: np.ndarray, centre_m: np.ndarray) -> bool:
    """Whether the centre lies above the hull of the cells that carry."""
    hull = cv2.convexHull(carrying_m.astype(np.float32))
    return cv2.pointPolygonTest(hull, (float(centre_m[0]), float(centre_m[1])), True) > -HEEL_M
