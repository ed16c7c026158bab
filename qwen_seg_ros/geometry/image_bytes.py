"""The bytes of a sensor_msgs/Image -> pixels, for whoever holds one: a live message or a recorded one. Duck-typed, no ROS."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.errors import InvalidInputError

COLOUR_ENCODINGS = {  # encoding: (channels, OpenCV conversion to RGB; None = already RGB)
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
}


def pixels_of(message: Any, dtype: np.dtype, channels: int) -> NDArray:
    """View of the message's bytes, (H, W, channels), native or big endian as the message says; rows may be padded.

    Raises:
        InvalidInputError: for an empty image, a step shorter than a row or too few bytes.
    """
    row = message.width * channels * dtype.itemsize
    needed = message.step * max(message.height - 1, 0) + row
    if message.width == 0 or message.height == 0 or message.step < row or len(message.data) < needed:
        raise InvalidInputError(
            f"{message.encoding} image of {message.width}x{message.height} needs a step of at least {row} and at least {needed} "
            f"bytes, got step {message.step} and {len(message.data)} bytes"
        )
    order = dtype.newbyteorder(">" if message.is_bigendian else "<")
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)
    return np.ndarray((message.height, message.width, channels), order, buffer=memoryview(message.data), strides=strides)
