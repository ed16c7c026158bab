"""What a stereo depth camera and a small colour sensor make of exact pictures."""

import cv2
import numpy as np

from qwen_seg_ros.geometry.arrays import DepthImage, RgbImage

DISPARITY_SIGMA_PX = 0.06  # after the camera's own filters
FOCAL_PX, BASELINE_M = 380.0, 0.05  # of a stereo pair with pictures 640 pixels wide
HOLE_SIGMAS = 2.9  # smooth noise above this is a hole: about 0.2 % of the image
EDGE_SIGMA_PX = 0.4  # how far matching windows shift an edge
PHOTONS = 1500.0  # at full white; shot noise is the square root of the count


def noisy_depth(depth_m: DepthImage, seed: int) -> DepthImage:
    """float32 (H, W) metres -> the same with ragged edges, noise smooth over a few pixels that grows with the square of the
    distance, millimetre steps, and NaN where the second camera cannot see or nothing could be matched. Deterministic by seed."""
    rng = np.random.default_rng(seed)
    speckle = smooth_noise(rng, depth_m.shape, 1.5)
    ragged = ragged_edges(depth_m, rng)
    noisy = ragged + speckle * (DISPARITY_SIGMA_PX / (FOCAL_PX * BASELINE_M)) * ragged**2
    holes = smooth_noise(rng, depth_m.shape, 2.0) > HOLE_SIGMAS
    shadow = stereo_shadow(depth_m) & (rng.random(depth_m.shape) < 0.9)
    return np.where(shadow | holes, np.nan, np.rint(noisy * 1000) / 1000).astype(np.float32)


def noisy_colour(rgb: RgbImage, seed: int) -> RgbImage:
    """uint8 (H, W, 3) -> the same with exposure, white balance, blur and shot noise of a small sensor. Deterministic by seed."""
    rng = np.random.default_rng(seed)
    light = cv2.GaussianBlur(rgb, (0, 0), float(rng.uniform(0.3, 0.7))).astype(np.float32) / 255
    light = np.clip(light * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3), 0, 1)
    light += rng.standard_normal(light.shape) * np.sqrt(light / PHOTONS + 1e-5)
    return np.rint(light.clip(0, 1) * 255).astype(np.uint8)


def stereo_shadow(depth_m: DepthImage, baseline_m: float = BASELINE_M) -> np.ndarray:
    """bool (H, W): surfaces that something nearer hides from a second camera, `baseline_m` to the right of the first."""
    rows, cols = np.indices(depth_m.shape)
    disparity = FOCAL_PX * (depth_m.shape[1] / 640) * baseline_m / np.maximum(depth_m, 0.1)
    seen_at = np.clip(np.rint(cols - disparity).astype(int), 0, depth_m.shape[1] - 1)
    nearest = np.zeros(depth_m.shape, disparity.dtype)
    np.maximum.at(nearest, (rows, seen_at), disparity)
    return disparity < nearest[rows, seen_at] - 1.0


def ragged_edges(depth_m: DepthImage, rng: np.random.Generator, sigma_px: float = EDGE_SIGMA_PX) -> np.ndarray:
    """Depth whose edges are shifted by smooth noise, as matching windows do it."""
    rows, cols = np.indices(depth_m.shape, dtype=np.float32)
    shift_x, shift_y = (smooth_noise(rng, depth_m.shape, 1.0) * sigma_px for _ in range(2))
    return cv2.remap(depth_m, cols + shift_x, rows + shift_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma_px: float) -> np.ndarray:
    """Normal noise of unit variance, smooth over `sigma_px`."""
    field = cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma_px)
    return field / field.std()
