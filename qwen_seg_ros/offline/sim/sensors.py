"""What depth cameras make of an exact view, with strength as a number: 0 = exact, 1 = a good day, 3 = a bad one.

`noise` holds the fixed model that recordings use; here each effect has its own size, drawn for every view.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import DepthImage, RgbImage
from qwen_seg_ros.offline.sim.noise import ragged_edges, smooth_noise, stereo_shadow

EXPOSURE, WHITE, GAMMA = 0.1, 0.035, 0.06  # spread of the logarithms at strength 1
BLUR_PX, MOTION_PX, MOTION_CHANCE = 0.35, 3.0, 0.15  # in pictures 640 pixels wide
AIM_MEAN, FOLLOWS = 0.42, 0.6  # of the exposure control, and how far it goes (logarithm)
READ_NOISE = 0.003
DARK = 0.07  # luminance below which a projected pattern is lost
FEWEST_LEVELS, MOST_LEVELS = 25, 97  # JPEG quality
HOLE_SIGMAS = 2.9


@dataclass(frozen=True)
class DepthCamera:
    """step_px: smallest difference of disparity, 0 = none; sigma_px: its noise; baseline_m: > 0 = the second camera or the
    projector is to the right, and shadows lie left of things; edge_px: by how much edges fray; photons: at full white."""

    focal_px: float
    baseline_m: float
    step_px: float
    sigma_px: float
    edge_px: float
    photons: float


CAMERAS = {  # focal lengths for pictures 640 pixels wide
    "realsense": DepthCamera(380.0, 0.05, 0.0, 0.06, 0.4, 1500.0),
    "kinect": DepthCamera(575.0, -0.075, 0.125, 0.05, 0.7, 900.0),
}


def sense(
    rgb: RgbImage, depth_m: DepthImage, shine: np.ndarray, kind: str, strength: float, rng: np.random.Generator
) -> tuple[RgbImage, DepthImage]:
    """Colour (H, W, 3) uint8 and depth (H, W) float32, NaN where nothing was measured.

    shine: (H, W) 0..1, how much of a projected pattern a surface loses; kind: a key of CAMERAS.
    """
    camera = CAMERAS[kind]
    return sensed_colour(rgb, camera, strength, rng), sensed_depth(depth_m, rgb, shine, camera, strength, rng)


def sensed_colour(rgb: RgbImage, camera: DepthCamera, strength: float, rng: np.random.Generator) -> RgbImage:
    """Blur, exposure, white balance, shot noise and JPEG."""
    if strength <= 0:
        return rgb
    light = _blurred(rgb, strength, rng).astype(np.float32) / 255
    gains = np.exp(rng.normal(0, EXPOSURE * strength) + rng.normal(0, WHITE * strength, 3)).astype(np.float32)
    gains *= _auto_exposure(light)
    spread = np.sqrt(light / camera.photons + READ_NOISE**2) * np.float32(strength)
    light = np.clip((light + rng.standard_normal(light.shape, np.float32) * spread) * gains, 0, 1)
    light **= np.float32(np.exp(rng.normal(0, GAMMA * strength)))
    return _compressed(np.rint(light * 255).astype(np.uint8), strength, rng)


def sensed_depth(
    depth_m: DepthImage, rgb: RgbImage, shine: np.ndarray, camera: DepthCamera, strength: float, rng: np.random.Generator
) -> DepthImage:
    """Frayed edges, noise and steps that grow with the square of the distance, shadows, and holes in what is dark or shiny."""
    if strength <= 0:
        return depth_m
    frayed = ragged_edges(depth_m, rng, camera.edge_px * strength)
    per_px = camera.focal_px * abs(camera.baseline_m)
    disparity = per_px / np.maximum(frayed, 0.05) + smooth_noise(rng, depth_m.shape, 1.5) * camera.sigma_px * strength
    if camera.step_px:
        disparity = np.rint(disparity / camera.step_px) * camera.step_px
    measured = np.rint(per_px / np.maximum(disparity, 1e-3) * 1000) / 1000
    lost = _shadow(depth_m, camera) | _holes(rgb, shine, strength, rng)
    return np.where(lost, np.nan, measured).astype(np.float32)


def _auto_exposure(light: np.ndarray) -> np.float32:
    """Gain that brings the mean nearer to what a camera aims at; its noise grows with it."""
    return np.float32(np.clip((AIM_MEAN / max(float(light.mean()), 1e-3)) ** FOLLOWS, 0.6, 2.5))


def _blurred(rgb: RgbImage, strength: float, rng: np.random.Generator) -> RgbImage:
    scale = rgb.shape[1] / 640 * strength
    soft = cv2.GaussianBlur(rgb, (0, 0), max(BLUR_PX * scale * float(rng.uniform(0.5, 1.5)), 0.1))
    if rng.random() > MOTION_CHANCE * strength:
        return np.asarray(soft, np.uint8)
    return np.asarray(cv2.filter2D(soft, -1, _streak(MOTION_PX * scale * rng.uniform(0.5, 1.5), rng.uniform(0, np.pi))), np.uint8)


def _streak(length_px: float, angle_rad: float) -> np.ndarray:
    """Kernel of a straight movement."""
    half = int(np.ceil(length_px / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    steps = np.linspace(-length_px / 2, length_px / 2, 8 * half)
    rows, cols = (np.rint(half + steps * part(angle_rad)).astype(int) for part in (np.sin, np.cos))
    np.add.at(kernel, (rows, cols), 1)
    return kernel / kernel.sum()


def _compressed(rgb: RgbImage, strength: float, rng: np.random.Generator) -> RgbImage:
    quality = int(np.clip(MOST_LEVELS - 18 * strength * rng.uniform(0.4, 1.4), FEWEST_LEVELS, MOST_LEVELS))
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _shadow(depth_m: DepthImage, camera: DepthCamera) -> np.ndarray:
    """Seen by the camera but not lit by the projector, or not seen by the second camera."""
    if camera.baseline_m > 0:
        return stereo_shadow(depth_m, camera.baseline_m)
    return stereo_shadow(depth_m[:, ::-1], -camera.baseline_m)[:, ::-1]


def _holes(rgb: RgbImage, shine: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Here and there, and in patches of surfaces that swallow or mirror the pattern."""
    patches = smooth_noise(rng, shine.shape, 2.0)
    red, green, blue = (rgb[..., channel] for channel in range(3))
    dark = np.clip(1 - np.maximum(np.maximum(red, green), blue).astype(np.float32) / (255 * DARK), 0, 1)
    bright = np.clip(np.minimum(np.minimum(red, green), blue).astype(np.float32) / 255 - 0.75, 0, 0.25) * 4  # a mirrored lamp
    loss = np.clip(0.5 * shine + 0.8 * dark + 2.0 * shine * bright, 0, 1) * min(strength, 2.0)
    return patches > HOLE_SIGMAS - 2.2 * loss - 0.25 * strength
