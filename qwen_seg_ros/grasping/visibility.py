"""What the camera saw through: the difference between free and merely unknown space."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import Points, Vector3
from qwen_seg_ros.geometry.transform import rotation_with_z

CELL_M = 0.006  # a little over the spacing of the clouds, so that surfaces have no holes
MARGIN_M = 0.004
MAX_CELLS = 512
FAR_M = 1e3


class SeenSurface:
    """A small depth image of the clouds from the camera's place; points (N, 3) and camera (3,) in one frame.

    Where no cloud point lies the camera saw the table or farther: clouds come without the table.
    """

    def __init__(self, points: Points, camera: Vector3) -> None:
        middle = points.mean(axis=0) - camera
        distance = max(float(np.linalg.norm(middle)), 0.05)
        self._camera = camera.astype(np.float32)
        level = -middle[:2].astype(np.float64)
        self.direction = level / max(float(np.linalg.norm(level)), 1e-9)  # (2,) to the camera, level
        self._rotation = rotation_with_z(middle / distance, np.array([1.0, 0.0, 0.0])).astype(np.float32)
        self._cells_per_unit = distance / CELL_M
        cells, depth = self._project(points)
        self._low = np.clip(cells.min(axis=0) - 2, -MAX_CELLS, MAX_CELLS)
        width, height = np.clip(cells.max(axis=0) - self._low + 3, 5, MAX_CELLS)
        self._depth = np.full((height, width), FAR_M, np.float32)
        column, row, inside = self._index(cells)
        np.minimum.at(self._depth, (row[inside], column[inside]), depth[inside])
        self._depth = cv2.erode(self._depth, np.ones((3, 3), np.uint8))  # the nearest of the neighbours: cautious, closes holes

    def free(self, points: NDArray) -> NDArray[np.bool_]:
        """Points (..., 3) that lie clearly in front of everything seen along their ray, bool (...)."""
        return self._ahead(points) > MARGIN_M

    def hidden(self, points: NDArray) -> NDArray[np.bool_]:
        """Points (..., 3) that lie clearly behind something seen along their ray, bool (...)."""
        return self._ahead(points) < -MARGIN_M

    def _ahead(self, points: NDArray) -> NDArray[np.float32]:
        """How far points (..., 3) lie in front of the seen surface."""
        cells, depth = self._project(points.reshape(-1, 3).astype(np.float32))
        column, row, inside = self._index(cells)
        limit = np.full(len(depth), FAR_M, np.float32)
        limit[inside] = self._depth[row[inside], column[inside]]
        return (limit - depth).reshape(points.shape[:-1])

    def _project(self, points: NDArray) -> tuple[NDArray, NDArray]:
        """Cells (N, 2) as column, row and distance along the axis (N,)."""
        seen = (points - self._camera) @ self._rotation
        depth = np.maximum(seen[:, 2], 1e-3)
        return np.floor(seen[:, :2] / depth[:, None] * self._cells_per_unit).astype(int), depth

    def _index(self, cells: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        column, row = (cells - self._low).T
        height, width = self._depth.shape
        return column, row, (column >= 0) & (column < width) & (row >= 0) & (row < height)
