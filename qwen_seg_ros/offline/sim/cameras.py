"""Cameras as robots have them: where they hang, and the fields of view of common depth cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.offline.sim.placed import Placed

FOCAL_SHARES = {  # focal length / width of the picture
    "RealSense D435 and D415, 4:3": 0.96, "RealSense D435, 16:9 squeezed": 0.72, "RealSense D405": 0.68,
    "Kinect v1": 0.82, "Azure Kinect, narrow": 0.5,
}  # fmt: skip
CENTRE_SIGMA, CENTRE_MOST = 0.01, 0.03  # principal point off the middle, share of the width
SHARES = {"tiny": (0.0004, 0.0017), "huge": (0.48, 0.75)}  # of the image that the target is meant to fill
REACH_M = {"tiny": (0.8, 2.0), "huge": (0.1, 0.6)}
WIDEST = 0.45  # share of the distance for the widest view there could be
CLEAR_M = 0.03  # no camera comes closer to the box around an object
ATTEMPTS = 20
HALVINGS = 9  # of the range of distances, in search of the one that fits


@dataclass(frozen=True)
class Mount:
    """reach_m: distance to what it looks at; elevation_deg: of its view downwards; roll_deg: at most, around its axis."""

    reach_m: tuple[float, float]
    elevation_deg: tuple[float, float]
    roll_deg: float
    at_object: float


MOUNTS = {
    "wrist": Mount((0.28, 0.5), (48, 86), 30, 0.8),
    "shoulder": Mount((0.65, 1.1), (35, 65), 5, 0.2),
    "static": Mount((0.75, 1.4), (14, 40), 3, 0.2),
    "low": Mount((0.55, 0.95), (10, 26), 3, 0.2),
}


def draw_camera(
    rng: np.random.Generator, mount: Mount, area: str, size_px: tuple[int, int], placed: Sequence[Placed]
) -> tuple[Camera, Matrix4]:
    """Intrinsics and base_from_camera of a camera that looks at what is placed. area: "any", or how large one object shall
    be seen, "tiny" or "huge"."""
    for _ in range(ATTEMPTS):
        camera = _intrinsics(rng, *size_px)
        elevation, azimuth = np.deg2rad(rng.uniform(*mount.elevation_deg)), rng.uniform(0, 2 * np.pi)
        roll = np.deg2rad(rng.uniform(-1, 1) * mount.roll_deg)
        item = placed[int(rng.integers(len(placed)))] if placed else None
        aim, reach = _aim(rng, mount, item, placed)
        reach *= WIDEST + (1 - WIDEST) * camera.fx / camera.width  # with a wide view one goes closer
        pose, fits = looking_at(aim, reach, elevation, azimuth, roll), True
        if area in SHARES and item is not None and item.pose is not None:
            direction = partial(looking_at, item.centre_m, elevation_rad=elevation, azimuth_rad=azimuth, roll_rad=roll)
            pose, fits = _filling(rng.uniform(*SHARES[area]), REACH_M[area], item.pose.corners_m, camera, direction)
        if fits and _is_clear(pose[:3, 3], placed):
            break
    return camera, pose


def random_camera(rng: np.random.Generator) -> tuple[Matrix4, float]:
    """Looking down at the table by 30 to 68 degrees -> base_from_camera (optical frame), vertical field of view in degrees."""
    elevation, azimuth, reach = np.deg2rad(rng.uniform(30, 68)), rng.uniform(0, 2 * np.pi), rng.uniform(0.52, 0.82)
    target = np.array([*rng.uniform(-0.05, 0.05, 2), 0.04])
    return looking_at(target, reach, elevation, azimuth), float(rng.uniform(42, 56))


def centred_camera(width: int, height: int, fovy_deg: float) -> Camera:
    """Square pixels, the principal point in the middle."""
    focal = height / 2 / np.tan(np.deg2rad(fovy_deg) / 2)
    return Camera(width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5)


def looking_at(target_m: np.ndarray, reach_m: float, elevation_rad: float, azimuth_rad: float, roll_rad: float = 0.0) -> Matrix4:
    """base_from_camera (optical frame) of a camera `reach_m` from its target, seen in a direction above the table."""
    flat = np.cos(elevation_rad)
    away = np.array([flat * np.cos(azimuth_rad), flat * np.sin(azimuth_rad), np.sin(elevation_rad)])
    x = np.cross(-away, [0, 0, 1.0])
    x /= np.linalg.norm(x)
    turn = np.stack([x, np.cross(-away, x), -away], axis=1)
    if roll_rad:
        turn = turn @ cv2.Rodrigues(np.array([0.0, 0.0, roll_rad]))[0]
    return transform(turn, target_m + reach_m * away)


def _intrinsics(rng: np.random.Generator, width: int, height: int) -> Camera:
    focal = float(rng.choice(list(FOCAL_SHARES.values()))) * width * rng.uniform(0.97, 1.03)
    off_x, off_y = np.clip(rng.normal(0, CENTRE_SIGMA, 2), -CENTRE_MOST, CENTRE_MOST) * width
    focal_y = focal * rng.uniform(0.997, 1.003)
    return Camera(width, height, focal, focal_y, width / 2 - 0.5 + float(off_x), height / 2 - 0.5 + float(off_y))


def _aim(rng: np.random.Generator, mount: Mount, item: Placed | None, placed: Sequence[Placed]) -> tuple[np.ndarray, float]:
    reach = rng.uniform(*mount.reach_m)
    if item is not None and rng.random() < mount.at_object:
        return item.centre_m + np.array([*rng.uniform(-0.04, 0.04, 2), 0]), reach
    middle = np.mean([p.centre_m for p in placed], axis=0) if placed else np.zeros(3)
    return middle * [1, 1, 0] + np.array([*rng.uniform(-0.06, 0.06, 2), 0.04]), reach


def _filling(
    share: float, reach_m: tuple[float, float], corners_m: np.ndarray, camera: Camera, direction: Callable[[float], Matrix4]
) -> tuple[Matrix4, bool]:
    """The pose along a direction from which a convex outline fills a share of the image, and whether there is one."""
    near, far = reach_m
    for _ in range(HALVINGS):
        middle = float(np.sqrt(near * far))
        too_large = _filled(corners_m, camera, direction(middle)) > share
        near, far = (middle, far) if too_large else (near, middle)
    return direction(far), bool(0.7 * share < _filled(corners_m, camera, direction(far)) < 1.3 * share)


def _filled(corners_m: np.ndarray, camera: Camera, base_from_camera: Matrix4) -> float:
    """Share of the image inside the convex outline of the corners; 1 when some are beside or behind the camera."""
    inside = move_points(inverse(base_from_camera), corners_m)
    if inside[:, 2].min() < CLEAR_M:
        return 1.0
    outline = cv2.convexHull(camera.project(inside).astype(np.float32))
    image = np.array([[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]], np.float32)
    return float(cv2.intersectConvexConvex(outline, image)[0]) / (camera.width * camera.height)


def _is_clear(eye: np.ndarray, placed: Sequence[Placed]) -> bool:
    """Whether the eye is above the table and outside everything, taken as an upright cylinder."""
    outside = (
        eye[2] > p.centre_m[2] + p.size_m[2] / 2 + CLEAR_M
        or np.linalg.norm(eye[:2] - p.centre_m[:2]) > np.linalg.norm(p.size_m[:2]) / 2 + CLEAR_M
        for p in placed
    )
    return bool(eye[2] > CLEAR_M and all(outside))
