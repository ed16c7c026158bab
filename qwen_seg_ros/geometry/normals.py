"""Surface normals from a depth image, by a least-squares plane in a window around every pixel."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.geometry.arrays import MaskImage


def normals_from_depth(depth_m: NDArray, rays: NDArray, valid: MaskImage, radius_px: int) -> NDArray[np.float32]:
    """Unit normals (H, W, 3) towards the camera, NaN where the window does not hold a plane.

    depth_m: (H, W); rays: (H, W, 2) as x/z, y/z (so lens distortion is no problem); valid: bool (H, W), the pixels that count.
    On a plane 1/z is an affine function of x/z and y/z, exactly; its coefficients are the normal up to scale.
    """
    weight = valid.astype(np.float64)
    inverse = np.divide(1.0, depth_m, out=np.zeros_like(weight), where=valid)
    centre = rays[valid].mean(axis=0) if valid.any() else np.zeros(2)
    x, y = (rays[..., 0] - centre[0]) * weight, (rays[..., 1] - centre[1]) * weight

    def window(image: NDArray) -> NDArray:
        return cv2.boxFilter(image, -1, (2 * radius_px + 1,) * 2, normalize=False, borderType=cv2.BORDER_CONSTANT)

    with np.errstate(divide="ignore", invalid="ignore"):
        count = window(weight)
        count[count < 5.5] = np.nan  # fewer pixels say nothing about a direction
        mean_x, mean_y, mean_w = window(x) / count, window(y) / count, window(inverse) / count
        xx, xy, yy = window(x * x) / count - mean_x**2, window(x * y) / count - mean_x * mean_y, window(y * y) / count - mean_y**2
        xw, yw = window(x * inverse) / count - mean_x * mean_w, window(y * inverse) / count - mean_y * mean_w
        det = xx * yy - xy * xy
        det[det < 1e-3 * (xx + yy) ** 2] = np.nan  # a line of pixels
        slope_x, slope_y = (yy * xw - xy * yw) / det, (xx * yw - xy * xw) / det
        constant = mean_w - slope_x * (mean_x + centre[0]) - slope_y * (mean_y + centre[1])
        normal = -np.stack([slope_x, slope_y, constant], axis=-1)
        return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
