"""Cuts a depth image into patches of surface that are free of depth jumps and of concave creases.

Convex bodies have convex edges only; where two bodies touch there is a crease that is concave. So no training is needed to
tell most touching objects apart (Stein et al., Object partitioning using local convexity, CVPR 2014).
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage
from qwen_seg_ros.geometry.normals import normals_from_depth

NORMAL_RADIUS_PX = 3  # at a width of 640, like the next ones
CREASE_REACH_PX = 4  # normals are compared this far to both sides
REGROW_PX = 7
MIN_CREASE = 0.35  # sine of the bend, about 20 degrees: below is noise of a depth camera at 1 m
JUMP_M, JUMP_SHARE = 0.010, 0.012  # a step in depth that separates two surfaces
STEPS = ((0, 1), (1, 0))


def surface_patches(points: NDArray, among: MaskImage, image_width: int) -> NDArray[np.int32]:
    """Patch number of every pixel, (h, w), 0 = none.

    points: (h, w, 3) in the optical frame, metres; among: bool (h, w), the pixels that count, all with finite points.
    image_width: of the whole image that this is a crop of; windows are relative to it.
    """
    numbers = np.zeros(among.shape, np.int32)
    if among.any():
        x, y, width, height = cv2.boundingRect(among.astype(np.uint8))
        part = np.s_[y : y + height, x : x + width]
        numbers[part] = _thinned_out(points[part], among[part], image_width)
    return numbers


def _thinned_out(points: NDArray, among: MaskImage, image_width: int) -> NDArray[np.int32]:
    """Patches found on every pixel at a width of 640, every second at 1280 and so on, and carried to all pixels `among`."""
    stride = max(1, image_width // 640)
    coarse = _patches(points[::stride, ::stride], among[::stride, ::stride], max(image_width / stride / 640, 0.5))
    if stride == 1:
        return coarse
    height, width = among.shape
    numbers = np.where(among, coarse.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width], 0)
    depth = np.where(among, points[..., 2], 0).astype(np.float32)
    return _regrown(numbers, among, depth, jump_m(depth), 2 * stride)


def _patches(points: NDArray, among: MaskImage, scale: float) -> NDArray[np.int32]:
    depth = np.where(among, points[..., 2], 0).astype(np.float32)
    cut = depth_jumps(depth, among) | _creases(points, depth, among, scale)
    numbers = cv2.connectedComponents((among & ~cut).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]
    return _regrown(numbers, among, depth, jump_m(depth), round(REGROW_PX * scale))


def jump_m(depth: NDArray) -> NDArray[np.float32]:
    """The step in depth that separates two surfaces, per pixel."""
    return np.maximum(np.float32(JUMP_M), np.float32(JUMP_SHARE) * depth)


def depth_jumps(depth: NDArray, among: MaskImage) -> MaskImage:
    """The farther pixel of every step in depth (h, w) between two pixels `among`."""
    found, jump = np.zeros_like(among), jump_m(depth)
    for dy, dx in STEPS:
        here, there = _pairs(dy, dx, 1)
        step = depth[there] - depth[here]
        both = among[here] & among[there]
        found[here] |= both & (step < -jump[here])
        found[there] |= both & (step > jump[there])
    return found


def _creases(points: NDArray, depth: NDArray, among: MaskImage, scale: float) -> MaskImage:
    """Pixels with the surface bent towards the camera's side between both sides of it."""
    rays = np.divide(points[..., :2], points[..., 2:], out=np.zeros_like(points[..., :2]), where=among[..., None])
    normals = normals_from_depth(depth, rays, among, round(NORMAL_RADIUS_PX * scale))
    reach = round(CREASE_REACH_PX * scale)
    bend = np.zeros(among.shape, np.float32)
    for dy, dx in STEPS:
        first, second = _pairs(dy, dx, 2 * reach)
        middle = _middle(among.shape, dy, dx, reach)
        along = points[second] - points[first]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = _dot(normals[first] - normals[second], along) / np.sqrt(_dot(along, along))
        value[~(np.isfinite(value) & among[first] & among[second])] = 0
        bend[middle] = np.maximum(bend[middle], value)
    return bend > MIN_CREASE


def _dot(first: NDArray, second: NDArray) -> NDArray:
    return np.einsum("hwc,hwc->hw", first, second)


def _pairs(dy: int, dx: int, apart: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Index of the pixels and of their partners `apart` further along (dy, dx)."""
    y, x = dy * apart, dx * apart
    return (slice(None, -y or None), slice(None, -x or None)), (slice(y, None), slice(x, None))


def _middle(shape: tuple[int, ...], dy: int, dx: int, reach: int) -> tuple[slice, slice]:
    height, width = shape
    y, x = dy * reach, dx * reach
    return slice(y, height - y), slice(x, width - x)


def _regrown(numbers: NDArray, among: MaskImage, depth: NDArray, jump: NDArray, steps: int) -> NDArray[np.int32]:
    """Patches grown step by step into the cut pixels where the depth goes on without a jump."""
    width = numbers.shape[1] + 2
    flat = np.pad(numbers, 1).ravel()
    depths = np.pad(depth, 1).ravel()
    limit = np.pad(jump, 1).ravel()
    open_ = np.flatnonzero(np.pad(among, 1).ravel() & (flat == 0))
    for _ in range(steps):
        taken = np.zeros(len(open_), np.int32)
        for offset in (-1, 1, -width, width):
            near = np.abs(depths[open_ + offset] - depths[open_]) < limit[open_]
            taken = np.where((taken == 0) & near, flat[open_ + offset], taken)
        flat[open_] = taken
        open_ = open_[taken == 0]
    return flat.reshape(-1, width)[1:-1, 1:-1]
