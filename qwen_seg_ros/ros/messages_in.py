"""What only live messages need beside `geometry.sensor_messages`: sizes before decoding, rare encodings, clouds of a request."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import Points, RgbImage
from qwen_seg_ros.geometry.compressed_images import head_of
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS
from qwen_seg_ros.geometry.sensor_messages import rgb_of

Picture: TypeAlias = Image | CompressedImage
_COORDINATE = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}


def size_of(msg: Picture) -> tuple[int, int]:
    """Width and height, without decoding. Raises InvalidInputError for compressed bytes that are no picture."""
    if isinstance(msg, CompressedImage):
        head = head_of(bytes(msg.data))
        return head.width, head.height
    return msg.width, msg.height


def rgb_from_image(msg: Picture) -> RgbImage:
    """Colour image -> uint8 (H, W, 3), red first; `rgb8` is a view of the message, the rest is converted once.

    Raises:
        InvalidInputError: for an encoding that neither this package nor an installed cv_bridge reads, too few bytes, or a
            compressed picture that is damaged or too large.
    """
    if isinstance(msg, CompressedImage) or msg.encoding in COLOUR_ENCODINGS:
        return rgb_of(msg)
    return _rgb_by_cv_bridge(msg)


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
