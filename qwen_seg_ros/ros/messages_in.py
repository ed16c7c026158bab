"""ROS messages -> arrays and cameras. Images are viewed in place where the encoding allows it; nothing is guessed."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS, pixels_of

_DEPTH: dict[str, np.dtype] = {"16UC1": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}
_FISHEYE = {"equidistant", "fisheye"}
_PINHOLE = {"plumb_bob", "rational_polynomial", "thin_prism", ""}
_COEFFICIENTS = {False: (4, 5, 8, 12, 14), True: (4,)}  # how many OpenCV takes, by whether it is a fisheye


def stamp_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def rgb_from_image(msg: Image) -> RgbImage:
    """Colour image -> uint8 (H, W, 3), red first; `rgb8` is a view of the message, the rest is converted once.

    Raises:
        InvalidInputError: for an encoding that neither this module nor an installed cv_bridge reads, or too few bytes.
    """
    if msg.encoding not in COLOUR_ENCODINGS:
        return _rgb_by_cv_bridge(msg)
    channels, conversion = COLOUR_ENCODINGS[msg.encoding]
    pixels = pixels_of(msg, np.dtype(np.uint8), channels)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion))


def depth_from_image(msg: Image) -> DepthImage:
    """Depth image -> float32 (H, W) metres, NaN = no measurement. The encoding decides the unit (REP 118).

    16UC1: millimetres, 0 = no measurement. 32FC1: metres; NaN, infinite and non-positive values are no measurement.

    Raises:
        InvalidInputError: for another encoding or too few bytes.
    """
    if msg.encoding not in _DEPTH:
        raise InvalidInputError(
            f"depth image has the encoding {msg.encoding!r}; send 16UC1 (millimetres, 0 = none) or 32FC1 (metres, NaN = none)"
        )
    raw = pixels_of(msg, _DEPTH[msg.encoding], 1)[..., 0]
    depth = raw.astype(np.float32)
    if msg.encoding == "16UC1":
        depth *= np.float32(0.001)
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def camera_from_info(msg: CameraInfo, rectified: bool = False, topic: str = "camera_info") -> Camera:
    """CameraInfo -> Camera of the image as it is published: K and D, or P without D for rectified images.

    Binning and the region of interest are applied as sensor_msgs/CameraInfo defines them. topic: for messages to the user.

    Raises:
        InvalidInputError: for an uncalibrated camera (K all zero), an unknown distortion model or a wrong number of coefficients.
    """
    if msg.distortion_model not in _FISHEYE | _PINHOLE:
        raise InvalidInputError(
            f"{topic} has the distortion model {msg.distortion_model!r}; known are {', '.join(sorted(_PINHOLE - {''}))} "
            "and equidistant, or publish rectified images and set image_is_rectified (of depth: depth_is_rectified)"
        )
    matrix = np.array(msg.p, np.float64).reshape(3, 4) if rectified else np.array(msg.k, np.float64).reshape(3, 3)
    if not matrix[0, 0] > 0:
        raise InvalidInputError(
            f"{topic} is not calibrated: {'P' if rectified else 'K'}[0] is {matrix[0, 0]:g} for a "
            f"{msg.width}x{msg.height} image; calibrate the camera or load its calibration in the driver"
        )
    distortion = () if rectified else tuple(float(d) for d in msg.d)
    allowed = _COEFFICIENTS[msg.distortion_model in _FISHEYE]
    if any(distortion) and len(distortion) not in allowed:
        raise InvalidInputError(
            f"{topic} has {len(distortion)} coefficients D for the distortion model {msg.distortion_model!r}; "
            f"it has {' or '.join(map(str, allowed))}"
        )
    return _cropped_and_binned(msg, matrix, distortion, msg.distortion_model in _FISHEYE)


def _cropped_and_binned(msg: CameraInfo, matrix: NDArray, distortion: tuple[float, ...], fisheye: bool) -> Camera:
    roi, bin_x, bin_y = msg.roi, max(msg.binning_x, 1), max(msg.binning_y, 1)
    width, height = (roi.width or msg.width), (roi.height or msg.height)
    return Camera(
        width=width // bin_x, height=height // bin_y,
        fx=matrix[0, 0] / bin_x, fy=matrix[1, 1] / bin_y,
        cx=(matrix[0, 2] - roi.x_offset) / bin_x, cy=(matrix[1, 2] - roi.y_offset) / bin_y,
        distortion=distortion if any(distortion) else (), fisheye=fisheye and any(distortion),
    )


def _rgb_by_cv_bridge(msg: Image) -> RgbImage:
    """Bayer, yuv and other rare encodings, where cv_bridge is installed."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        known = ", ".join(COLOUR_ENCODINGS)
        raise InvalidInputError(
            f"colour image has the encoding {msg.encoding!r}; send one of {known}, or install cv_bridge for the rare ones"
        ) from None
    try:
        return np.ascontiguousarray(CvBridge().imgmsg_to_cv2(msg, "rgb8"))
    except Exception as error:  # cv_bridge raises its own and OpenCV's errors
        raise InvalidInputError(f"cv_bridge cannot turn the encoding {msg.encoding!r} into rgb8: {error}") from error
