"""Planes in Hesse normal form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Matrix4, Vector3


@dataclass(frozen=True, eq=False)
class Plane:
    """Points p with normal . p + offset_m = 0; `normal` is a unit vector that points up, away from the supporting body."""

    normal: Vector3
    offset_m: float

    def height(self, points: NDArray) -> NDArray:
        """Signed distance above the plane of points (..., 3), metres."""
        return np.asarray(points) @ self.normal.astype(np.asarray(points).dtype) + self.offset_m

    def moved(self, target_from_source: Matrix4) -> "Plane":
        """The same plane in another frame."""
        normal = target_from_source[:3, :3] @ self.normal
        return Plane(normal, self.offset_m - float(normal @ target_from_source[:3, 3]))


def fit_support(
    points: NDArray, viewpoint: Vector3, tolerance_m: float, up: Vector3 | None = None, max_tilt_rad: float = 0.35, seed: int = 0
) -> Plane | None:
    """The plane that holds most of points (N, 3) and has fewest below it; its normal points to the side of `viewpoint`.

    Things stand on a table and nothing is seen through it: a point more than two tolerances below counts against a plane, so a
    box's top loses against the table around it. With `up` only planes within `max_tilt_rad` of level are tried.
    None when no plane holds a tenth of the points. Same points and seed, same plane.
    """
    points = np.asarray(points, np.float64)
    if len(points) < 20:
        return None
    rng = np.random.default_rng(seed)
    sample = points[rng.permutation(len(points))[:1500]]
    normals, offsets = _hypotheses(sample, viewpoint, rng)
    if up is not None:
        level = normals @ up > np.cos(max_tilt_rad)
        normals, offsets = normals[level], offsets[level]
    if len(normals) == 0:
        return None
    heights = sample @ normals.T + offsets
    inside = np.count_nonzero(np.abs(heights) < tolerance_m, axis=0)
    below = np.count_nonzero(heights < -2 * tolerance_m, axis=0)
    best = int(np.argmax(inside - below))
    if inside[best] < 0.1 * len(sample):
        return None
    return refined(Plane(normals[best], float(offsets[best])), points, tolerance_m)


def _hypotheses(points: NDArray, viewpoint: Vector3, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """Planes through 300 random triples: unit normals (K, 3) towards the viewpoint and offsets (K,)."""
    a, b, c = points[rng.integers(0, len(points), (3, 300))]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals, a = normals[length > 1e-5] / length[length > 1e-5, None], a[length > 1e-5]
    normals *= np.where(np.einsum("ij,ij->i", normals, viewpoint - a) < 0, -1.0, 1.0)[:, None]
    return normals, -np.einsum("ij,ij->i", normals, a)


def refined(plane: Plane, points: NDArray, tolerance_m: float) -> Plane:
    """Least squares through the points within the tolerance, three times with a band that shrinks to their noise."""
    band = tolerance_m
    for _ in range(3):
        heights = plane.height(points)
        near = points[np.abs(heights) < band]
        if len(near) < 20:
            return plane
        centre = near.mean(axis=0)
        spread_out = near - centre
        normal = np.linalg.eigh(spread_out.T @ spread_out)[1][:, 0]
        normal *= 1.0 if normal @ plane.normal > 0 else -1.0
        plane = Plane(normal, -float(normal @ centre))
        spread = 1.48 * float(np.median(np.abs(plane.height(near))))
        band = float(np.clip(3 * spread, 0.3 * tolerance_m, tolerance_m))
    return plane
