"""Numbers that no camera has: refused before they put objects miles away or ask for memory without bound."""

import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.camera import Camera

FAR_M = 100.0  # what is nearest in a depth image lies nearer
SAME_SHARE = 0.05  # of the image's size; the inverse of a strong distortion is not exact
WIDEST, NARROWEST = 100.0, 1e-3  # tangents: 89.4 degrees off the axis, 0.06 degrees across the image


def require_metres(depth_m: NDArray) -> None:
    """
    Raises:
        InvalidInputError: for metres that must be millimetres.
    """
    nearest_m = np.fmin.reduce(depth_m, axis=None, initial=np.inf)
    if FAR_M < nearest_m < np.inf:
        raise InvalidInputError(
            f"the nearest point of the depth image would be {nearest_m:.0f} m away: are its values millimetres? 32FC1 is metres "
            "(REP 118); send millimetres as 16UC1"
        )


def require_lens(camera: Camera, topic: str) -> None:
    """topic: where the calibration is from.

    Raises:
        InvalidInputError: for focal lengths, centres and distortions that no lens has.
    """
    size, focal, centre = np.array([[camera.width, camera.height], [camera.fx, camera.fy], [camera.cx, camera.cy]])
    with np.errstate(over="ignore"):
        edges = np.stack([-centre, size - centre]) / focal  # tangents of the angles off the axis
    if np.abs(edges).max() > WIDEST or (size / focal).min() < NARROWEST:
        raise InvalidInputError(
            f"{topic} describes no lens: fx={camera.fx:g} fy={camera.fy:g} cx={camera.cx:g} cy={camera.cy:g} for a "
            f"{camera.width}x{camera.height} image; check its calibration, binning and region of interest"
        )
    if any(camera.distortion) and _undone_badly(camera):
        raise InvalidInputError(
            f"{topic} describes no lens: the distortion D {[float(f'{d:.4g}') for d in camera.distortion]} cannot be undone, not "
            "even near the centre of the image; calibrate the camera again"
        )


def _undone_badly(camera: Camera) -> bool:
    """Pixels of the middle half of the image, undistorted and distorted again, are not where they were."""
    size = np.array([camera.width, camera.height])
    pixels = (np.mgrid[1:4, 1:4].reshape(2, -1).T / 4) * size
    with np.errstate(over="ignore", invalid="ignore"):
        rays = camera.rays(pixels)
        again = camera.project(np.column_stack([rays, np.ones(len(rays))]))
        return not (np.abs(again - pixels) <= SAME_SHARE * size).all()
