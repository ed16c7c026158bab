"""The surface of an object as it usually stands, and the other ways in which it can lie on a table."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import open3d as o3d

SAMPLES_PER_M2 = 250_000  # one for every 2 mm x 2 mm
MOST_SAMPLES = 40_000
ON_FACE_M = 0.002  # points this close to the table carry the object
SIDEWAYS = 0.35  # cosine between the old and the new upward direction, below which an object is lying
MOST_SIDES = 40  # faces tried before it is left standing


@dataclass(frozen=True, eq=False)
class Surface:
    """vertices_m (V, 3) and faces (F, 3) with the centre of the ground area in the origin and the lowest point at z = 0."""

    vertices_m: np.ndarray
    faces: np.ndarray

    @cached_property
    def corners_m(self) -> np.ndarray:
        """(K, 3) corners of its convex hull: all that footprints and heights depend on."""
        return np.asarray(self._hull.vertices)

    @cached_property
    def samples_m(self) -> np.ndarray:
        """(N, 3) points spread evenly over the surface; always the same ones."""
        corners = self.vertices_m[self.faces]
        areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
        rng = np.random.default_rng(0)
        count = int(min(MOST_SAMPLES, max(500, areas.sum() * SAMPLES_PER_M2)))
        chosen = corners[rng.choice(len(areas), count, p=areas / areas.sum())]
        one, other = rng.random((2, count, 1))
        fold = one + other > 1
        one, other = np.where(fold, 1 - one, one), np.where(fold, 1 - other, other)
        return chosen[:, 0] + one * (chosen[:, 1] - chosen[:, 0]) + other * (chosen[:, 2] - chosen[:, 0])

    def side(self, rng: np.random.Generator) -> np.ndarray | None:
        """A rotation (3, 3) that brings a face of the hull down on which the object is stable and no longer upright."""
        normals, centre = np.asarray(self._hull.triangle_normals), self.samples_m.mean(axis=0)
        sideways = normals[np.abs(normals[:, 2]) < SIDEWAYS]
        for number in rng.permutation(len(sideways))[:MOST_SIDES]:
            if self._is_stable(sideways[number], centre):
                return _bring_down(sideways[number])
        return None

    @cached_property
    def _hull(self) -> o3d.geometry.TriangleMesh:
        points, triangles = o3d.utility.Vector3dVector(self.vertices_m), o3d.utility.Vector3iVector(self.faces)
        hull, _ = o3d.geometry.TriangleMesh(points, triangles).compute_convex_hull()
        return hull.compute_triangle_normals()

    def _is_stable(self, down: np.ndarray, centre: np.ndarray) -> bool:
        """Whether the centre lies above the face in the direction `down`, with a margin."""
        turned, above = self.corners_m @ _bring_down(down).T, _bring_down(down) @ centre
        face = turned[turned[:, 2] < turned[:, 2].min() + ON_FACE_M, :2].astype(np.float32)
        if len(face) < 3:
            return False
        return cv2.pointPolygonTest(cv2.convexHull(face), (float(above[0]), float(above[1])), True) > 0.001


def _bring_down(normal: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that turns `normal` to -z."""
    axis, cosine = np.cross(normal, [0, 0, -1.0]), -float(normal[2])
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return cv2.Rodrigues(axis / sine * np.arctan2(sine, cosine))[0]


def yaw_turn(yaw_rad: float) -> np.ndarray:
    """Rotation (3, 3) around z."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
