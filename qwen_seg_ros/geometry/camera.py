"""Pinhole camera with lens distortion. Optical frame of REP 103: x right, y down, z along the axis."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels of a `width` x `height` image.

    distortion: coefficients of OpenCV's plumb_bob / rational model (k1 k2 p1 p2 k3 ...), or of the
    fisheye ("equidistant") model; empty = the image is rectified.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def __post_init__(self) -> None:
        numbers = np.array([self.fx, self.fy, self.cx, self.cy, *self.distortion])
        if self.width < 1 or self.height < 1 or not np.isfinite(numbers).all() or self.fx <= 0 or self.fy <= 0:
            raise InvalidInputError(
                f"camera must be calibrated: finite intrinsics with fx > 0 and fy > 0 and a size of at least 1x1, got "
                f"{self.width}x{self.height} fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy}"
            )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K, (3, 3)."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def scaled_to(self, width: int, height: int) -> "Camera":
        """The same lens for a resized image; pixel centres lie at whole numbers (OpenCV's and ROS's convention)."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )

    def rays(self, pixels: NDArray) -> NDArray[np.float32]:
        """Pixels (N, 2) as column, row -> x/z, y/z (N, 2) on the plane z = 1, undistorted."""
        pixels = np.asarray(pixels, np.float32).reshape(-1, 2)
        if not any(self.distortion) or not len(pixels):  # OpenCV refuses to do nothing
            centred = pixels - np.array([self.cx, self.cy], np.float32)
            return (centred / np.array([self.fx, self.fy], np.float32)).astype(np.float32, copy=False)
        undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        points = undistort(pixels.reshape(-1, 1, 2).astype(np.float64), self.matrix, np.array(self.distortion))
        return points.reshape(-1, 2).astype(np.float32)

    def deproject(self, pixels: NDArray, depth_m: NDArray) -> NDArray[np.float32]:
        """Pixels (N, 2) with depth (N,) along the axis -> points (N, 3) in the optical frame, metres."""
        depth = np.asarray(depth_m, np.float32).reshape(-1, 1)
        return np.hstack([self.rays(pixels) * depth, depth])

    def project(self, points_m: NDArray) -> NDArray[np.float32]:
        """Points (N, 3) in the optical frame, z > 0 -> pixels (N, 2), distorted like the image."""
        points = np.asarray(points_m, np.float64).reshape(-1, 1, 3)
        if not any(self.distortion) or not len(points):
            return (points[:, 0, :2] / points[:, 0, 2:] * [self.fx, self.fy] + [self.cx, self.cy]).astype(np.float32)
        if self.fisheye:
            pixels, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), self.matrix, np.array(self.distortion))
        else:
            pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), self.matrix, np.array(self.distortion))
        return pixels.reshape(-1, 2).astype(np.float32)
