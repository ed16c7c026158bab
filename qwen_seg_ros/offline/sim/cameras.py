"""Cameras as robots have them: where they hang, and the fields of view of common depth cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.offline.sim.placed import Placed

FOCAL_SHARES = {  # focal length / width of the picture
    "RealSense D435 and D415, 4:3": 0.96, "RealSense D435, 16:9 squeezed": 0.72, "RealSense D405": 0.68,
    "Kinect v1": 0.82, "Azure Kinect, narrow": 0.5,
}  # fmt: skip
CENTRE_SIGMA, CENTRE_MOST = 0.01, 0.03  # principal point off the middle, share of the width
SHARES = {"tiny": (0.0004, 0.0017), "huge": (0.45, 0.7)}  # of the image that the target is meant to fill
REACH_M = {"tiny": (0.8, 2.0), "huge": (0.1, 0.6)}
CLEAR_M = 0.03  # no camera comes closer to the box around an object
ATTEMPTS = 20


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
        elevation = np.deg2rad(rng.uniform(*mount.elevation_deg))
        item = placed[int(rng.integers(len(placed)))] if placed else None
        aim, reach = _aim(rng, mount, item, placed)
        if area in SHARES and item is not None:
            aim, reach = item.centre_m, _reach_for(rng, area, item, elevation, camera)
        pose = looking_at(aim, reach, elevation, rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(-1, 1) * mount.roll_deg))
        if _is_clear(pose[:3, 3], placed):
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


def _reach_for(rng: np.random.Generator, area: str, item: Placed, elevation_rad: float, camera: Camera) -> float:
    """Distance from which the item fills about the share of the image that its area class asks for."""
    length, width, height = item.size_m
    seen = 0.8 * (np.sqrt(length * width) * height * np.cos(elevation_rad) + length * width * np.sin(elevation_rad))
    pixels = rng.uniform(*SHARES[area]) * camera.width * camera.height
    reach = float(np.sqrt(seen * camera.fx * camera.fy / pixels))
    nearest, farthest = REACH_M[area]
    return float(np.clip(reach, nearest + np.linalg.norm(item.size_m) / 2 * (area == "huge"), farthest))


def _is_clear(eye: np.ndarray, placed: Sequence[Placed]) -> bool:
    """Whether the eye is above the table and outside everything, taken as an upright cylinder."""
    outside = (
        eye[2] > p.centre_m[2] + p.size_m[2] / 2 + CLEAR_M
        or np.linalg.norm(eye[:2] - p.centre_m[:2]) > np.linalg.norm(p.size_m[:2]) / 2 + CLEAR_M
        for p in placed
    )
    return bool(eye[2] > CLEAR_M and all(outside))
