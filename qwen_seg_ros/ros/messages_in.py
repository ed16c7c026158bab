"""ROS messages -> arrays and cameras. Images are viewed in place where the encoding allows it; nothing is guessed."""

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Points, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.compressed_images import colour_from_bytes, depth_from_bytes, head_of
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS, pixels_of

Picture: TypeAlias = Image | CompressedImage
_DEPTH: dict[str, np.dtype] = {"16UC1": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}
_COORDINATE = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
_FISHEYE = {"equidistant", "fisheye"}
_PINHOLE = {"plumb_bob", "rational_polynomial", "thin_prism", ""}
_COEFFICIENTS = {False: (4, 5, 8, 12, 14), True: (4,)}  # how many OpenCV takes, by whether it is a fisheye


def stamp_ns(stamp: Any) -> int:
    """builtin_interfaces/Time -> nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def size_of(msg: Picture) -> tuple[int, int]:
    """Width and height, without decoding. Raises InvalidInputError for compressed bytes that are no picture."""
    if isinstance(msg, CompressedImage):
        head = head_of(bytes(msg.data))
        return head.width, head.height
    return msg.width, msg.height


def rgb_from_image(msg: Picture) -> RgbImage:
    """Colour image -> uint8 (H, W, 3), red first; `rgb8` is a view of the message, the rest is converted once.

    Raises:
        InvalidInputError: for an encoding that neither this module nor an installed cv_bridge reads, too few bytes, or a
            compressed picture that is damaged or too large.
    """
    if isinstance(msg, CompressedImage):
        return colour_from_bytes(bytes(msg.data), msg.format)
    if msg.encoding not in COLOUR_ENCODINGS:
        return _rgb_by_cv_bridge(msg)
    channels, conversion = COLOUR_ENCODINGS[msg.encoding]
    pixels = pixels_of(msg, np.dtype(np.uint8), channels)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion))


def depth_from_image(msg: Picture) -> DepthImage:
    """Depth image -> float32 (H, W) metres, NaN = no measurement. The encoding decides the unit (REP 118).

    16UC1: millimetres, 0 = no measurement. 32FC1: metres; NaN, infinite and non-positive values are no measurement.

    Raises:
        InvalidInputError: for another encoding, too few bytes, or a compressed picture that is damaged or too large.
    """
    if isinstance(msg, CompressedImage):
        return depth_from_bytes(bytes(msg.data), msg.format)
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


def points_from_cloud(msg: PointCloud2) -> Points:
    """The fields x y z of a cloud -> float32 (N, 3) in its frame, N > 0; points that are not finite are left out.

    Raises:
        InvalidInputError: for missing fields, too few bytes, or a cloud without a finite point.
    """
    layout = _xyz_layout(msg)
    needed = msg.row_step * max(msg.height - 1, 0) + msg.point_step * msg.width
    if msg.row_step < msg.point_step * msg.width or len(msg.data) < needed:
        raise InvalidInputError(
            f"a cloud of {msg.width}x{msg.height} points of {msg.point_step} bytes needs a row_step of at least "
            f"{msg.point_step * msg.width} and {needed} bytes, got row_step {msg.row_step} and {len(msg.data)} bytes"
        )
    strides = (msg.row_step, msg.point_step)
    cloud: NDArray = np.ndarray((msg.height, msg.width), layout, memoryview(msg.data), strides=strides)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is left out
        points = np.stack([cloud[name].ravel().astype(np.float32) for name in "xyz"], axis=1)
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise InvalidInputError(f"none of the {msg.width * msg.height} points of the cloud is finite")
    return points


def _xyz_layout(msg: PointCloud2) -> np.dtype:
    """Where x, y and z lie in a point; InvalidInputError where they do not."""
    fields = {field.name: field for field in msg.fields if field.datatype in _COORDINATE}
    if not {"x", "y", "z"} <= set(fields):
        names = ", ".join(field.name for field in msg.fields) or "none"
        raise InvalidInputError(f"a cloud needs fields x y z of float32 or float64, got {names}")
    formats = [(">" if msg.is_bigendian else "<") + _COORDINATE[fields[name].datatype] for name in "xyz"]
    offsets = [fields[name].offset for name in "xyz"]
    ends = max(offset + int(form[-1]) for offset, form in zip(offsets, formats, strict=True))
    if not ends <= msg.point_step <= len(msg.data):
        raise InvalidInputError(
            f"a cloud of {len(msg.data)} bytes whose fields end at byte {ends} cannot have a point_step of {msg.point_step}"
        )
    return np.dtype({"names": ["x", "y", "z"], "formats": formats, "offsets": offsets, "itemsize": msg.point_step})


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
