"""Images, calibrations and transforms of ROS messages -> arrays, for live messages and recorded ones alike. Duck-typed, no ROS.

ROS 1 spells the fields of CameraInfo with capitals (K, D, P), ROS 2 without; both are read. Nothing is guessed: what a message
does not say is an error that names what would do.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage, valid_depth
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.compressed_images import colour_from_bytes, depth_from_bytes
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS, pixels_of
from qwen_seg_ros.geometry.plausible import require_lens, require_metres
from qwen_seg_ros.geometry.transform import rotation_from_quaternion, transform

DEPTH_ENCODINGS: dict[str, np.dtype] = {"16UC1": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}
FISHEYE = {"equidistant", "fisheye"}
PINHOLE = {"plumb_bob", "rational_polynomial", "thin_prism", ""}
COEFFICIENTS = {False: (4, 5, 8, 12, 14), True: (4,)}  # how many OpenCV takes, by whether it is a fisheye


def stamp_ns_of(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def matrix_of(message: Any) -> Matrix4:
    """geometry_msgs/Transform -> (4, 4). Raises InvalidInputError for a quaternion that is no rotation."""
    q, t = message.rotation, message.translation
    return transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([t.x, t.y, t.z]))


def rgb_of(message: Any) -> RgbImage:
    """Image or CompressedImage -> uint8 (H, W, 3), red first; `rgb8` is a view of the message, the rest is converted once.

    Raises:
        InvalidInputError: for an encoding not in COLOUR_ENCODINGS, too few bytes, or a compressed picture that is damaged or
            too large.
    """
    if not hasattr(message, "encoding"):
        return colour_from_bytes(bytes(message.data), message.format)
    if message.encoding not in COLOUR_ENCODINGS:
        raise InvalidInputError(f"colour image has the encoding {message.encoding!r}; known are {', '.join(COLOUR_ENCODINGS)}")
    channels, conversion = COLOUR_ENCODINGS[message.encoding]
    pixels = pixels_of(message, np.dtype(np.uint8), channels)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def depth_of(message: Any) -> DepthImage:
    """Image or CompressedImage (compressedDepth) -> float32 (H, W) metres, NaN = no measurement. The encoding decides the unit.

    16UC1: millimetres, 0 = no measurement. 32FC1: metres; NaN, infinite and non-positive values are no measurement (REP 118).

    Raises:
        InvalidInputError: for another encoding, too few bytes, a compressed picture that is damaged, too large or not PNG, or
            metres that must be millimetres.
    """
    depth = _depth_of(message)
    require_metres(depth)
    return depth


def _depth_of(message: Any) -> DepthImage:
    if not hasattr(message, "encoding"):
        return depth_from_bytes(bytes(message.data), message.format)
    if message.encoding not in DEPTH_ENCODINGS:
        raise InvalidInputError(
            f"depth image has the encoding {message.encoding!r}; send 16UC1 (millimetres, 0 = none) or 32FC1 (metres, NaN = none)"
        )
    raw = pixels_of(message, DEPTH_ENCODINGS[message.encoding], 1)[..., 0]
    depth = raw.astype(np.float32)
    if message.encoding == "16UC1":
        depth *= np.float32(0.001)
    depth[~valid_depth(depth)] = np.nan
    return depth


def camera_of(message: Any, rectified: bool = False, topic: str = "camera_info") -> Camera:
    """CameraInfo -> Camera of the image as it is published: K and D, or P without D for rectified images.

    Binning and the region of interest are applied as sensor_msgs/CameraInfo defines them. topic: for messages to the user.

    Raises:
        InvalidInputError: for an uncalibrated camera (K all zero), an unknown distortion model, a wrong number of coefficients,
            or numbers that no lens has.
    """
    model = message.distortion_model
    if model not in FISHEYE | PINHOLE:
        raise InvalidInputError(
            f"{topic} has the distortion model {model!r}; known are {', '.join(sorted(PINHOLE - {''}))} "
            "and equidistant, or publish rectified images and set image_is_rectified (of depth: depth_is_rectified)"
        )
    matrix = np.array(_field(message, "p" if rectified else "k"), np.float64).reshape(3, -1)
    if not matrix[0, 0] > 0:
        raise InvalidInputError(
            f"{topic} is not calibrated: {'P' if rectified else 'K'}[0] is {matrix[0, 0]:g} for a "
            f"{message.width}x{message.height} image; calibrate the camera or load its calibration in the driver"
        )
    distortion = () if rectified else tuple(float(value) for value in _field(message, "d"))
    allowed = COEFFICIENTS[model in FISHEYE]
    if any(distortion) and len(distortion) not in allowed:
        raise InvalidInputError(
            f"{topic} has {len(distortion)} coefficients D for the distortion model {model!r}; "
            f"it has {' or '.join(map(str, allowed))}"
        )
    camera = _cropped_and_binned(message, matrix, distortion if any(distortion) else (), model in FISHEYE)
    require_lens(camera, topic)
    return camera


def _field(message: Any, name: str) -> Any:
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())


def _cropped_and_binned(message: Any, matrix: NDArray, distortion: tuple[float, ...], fisheye: bool) -> Camera:
    roi, bin_x, bin_y = message.roi, max(message.binning_x, 1), max(message.binning_y, 1)
    width, height = int(roi.width or message.width), int(roi.height or message.height)
    return Camera(
        width=width // bin_x,
        height=height // bin_y,
        fx=float(matrix[0, 0] / bin_x),
        fy=float(matrix[1, 1] / bin_y),
        cx=float((matrix[0, 2] - roi.x_offset) / bin_x),
        cy=float((matrix[1, 2] - roi.y_offset) / bin_y),
        distortion=distortion,
        fisheye=fisheye and bool(distortion),
    )
