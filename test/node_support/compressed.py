"""A robot whose cameras compress, as the publishers of image_transport do."""

import struct
from array import array
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage

from node_support.robot import Robot, stamped

Change = Callable[[CompressedImage], None]


def nothing(msg: CompressedImage) -> None:
    """Leaves a message as it is."""


class CompressedRobot(Robot):
    """change: done to every picture on its way; with_depth: whether the node shall want depth."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        for publisher in (self._image, self._depth):
            self.node.destroy_publisher(publisher)
        self._image = self.node.create_publisher(CompressedImage, "image/compressed", qos_profile_sensor_data)
        self._depth = self.node.create_publisher(CompressedImage, "depth/compressedDepth", qos_profile_sensor_data)
        self.change: Change = nothing
        self.with_depth = True

    def picture(self, pixels: NDArray, encoding: str, frame_id: str, stamp_ns: int) -> Any:
        msg = depth_message(pixels, encoding) if pixels.ndim == 2 else colour_message(pixels)
        self.change(msg)
        return stamped(msg, frame_id, stamp_ns)

    def connected(self) -> bool:
        """Not to depth where the node does not want it."""
        depth = self._depth.get_subscription_count() + self._depth_info.get_subscription_count()
        needed = (self._image, self._info, self._instruction)
        heard = [self.node.count_publishers(f"{self.target}/{topic}") for topic in ("segments", "objects", "grasp_targets")]
        return all(p.get_subscription_count() for p in needed) and all(heard) and depth == 2 * self.with_depth


def colour_message(rgb: NDArray, codec: str = "jpeg") -> CompressedImage:
    data = cv2.imencode(f".{codec}", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    return CompressedImage(format=f"rgb8; {codec} compressed bgr8", data=array("B", data))


def depth_message(depth: NDArray, encoding: str) -> CompressedImage:
    """16UC1 as it is; 32FC1 as quantised inverse depth, 10 m at most."""
    header, values = struct.pack("<iff", 0, 0.0, 0.0), depth
    if encoding == "32FC1":
        a = 100.0 * 101.0
        b = 1 - a / 10
        header, values = struct.pack("<iff", 1, a, b), np.nan_to_num(a / depth + b).astype(np.uint16)
    return CompressedImage(
        format=f"{encoding}; compressedDepth png", data=array("B", header + cv2.imencode(".png", values)[1].tobytes())
    )
