"""Where the camera stood when the image was taken.

With tf2_ros its buffer answers. Without it (ROS 2 from PyPI) a small buffer over /tf_static and /tf does: poses between two
stamps are interpolated, before the first and after the last one that one holds within a tolerance. Both are asked from the
worker thread, never from the executor.
"""

import threading
import time
from typing import Any, Protocol

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.frame_tree import FrameTree
from qwen_seg_ros.geometry.sensor_messages import matrix_of, stamp_ns_of

_KEPT_NS = 10_000_000_000  # for so long tf2 keeps transforms


class TransformSource(Protocol):
    def lookup(self, target: str, source: str, stamp: int, timeout_s: float) -> Matrix4:
        """target_from_source at `stamp` (nanoseconds); LookupError with the reason after `timeout_s`."""
        ...


def transform_source(node: Node, tolerance_s: float) -> TransformSource:
    """The best source this installation has; where it has none, every lookup says what to install."""
    try:
        return Tf2Source(node)
    except ImportError:
        pass
    try:
        return TopicSource(node, tolerance_s)
    except ImportError:
        return NoSource()


class Tf2Source:
    def __init__(self, node: Node) -> None:
        from tf2_ros import Buffer, TransformListener

        self._last_ns: int | None = None  # stamp asked for last
        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp: int, timeout_s: float) -> Matrix4:
        """Stamps of long before the last one mean that time began anew: what tf2 keeps makes it refuse what comes now."""
        if self._last_ns is not None and stamp < self._last_ns - _KEPT_NS:
            self._buffer.clear()
        self._last_ns = stamp
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp), Duration(seconds=timeout_s))
        except Exception as error:  # tf2's errors have no common base class in Python
            raise LookupError(str(error)) from error
        return matrix_of(found.transform)


class NoSource:
    def __init__(self, reason: str = "tf2_ros is not installed; install it") -> None:
        self._reason = reason

    def lookup(self, target: str, source: str, stamp: int, timeout_s: float) -> Matrix4:
        raise LookupError(self._reason)


class TransformBuffer:
    """A `FrameTree` that is filled and asked from two threads."""

    def __init__(self, tolerance_s: float) -> None:
        self._lock = threading.Lock()
        self._tree = FrameTree(tolerance_s)

    def add(self, stamped: Any, static: bool) -> None:
        """One geometry_msgs/TransformStamped: pose of child_frame_id in header.frame_id."""
        matrix = matrix_of(stamped.transform)
        with self._lock:
            self._tree.add(stamped.header.frame_id, stamped.child_frame_id, matrix, stamp_ns_of(stamped.header.stamp), static)

    def find(self, target: str, source: str, stamp: int) -> Matrix4:
        """target_from_source at `stamp`; LookupError says which link is missing."""
        with self._lock:
            return self._tree.find(target, source, stamp)

    def lookup(self, target: str, source: str, stamp: int, timeout_s: float) -> Matrix4:
        """`find` until `timeout_s` is over: what a `TransformSource` does."""
        ends = time.monotonic() + timeout_s
        while True:
            try:
                return self.find(target, source, stamp)
            except LookupError:
                if time.monotonic() >= ends:
                    raise
            time.sleep(0.01)


class TopicSource(TransformBuffer):
    """Fed from /tf_static and /tf."""

    def __init__(self, node: Node, tolerance_s: float) -> None:
        from tf2_msgs.msg import TFMessage

        super().__init__(tolerance_s)
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(TFMessage, "/tf_static", lambda msg: self._add_all(msg, True), latched)
        node.create_subscription(TFMessage, "/tf", lambda msg: self._add_all(msg, False), 100)

    def _add_all(self, msg: Any, static: bool) -> None:
        for stamped in msg.transforms:
            try:
                self.add(stamped, static)
            except ValueError:  # a zero or NaN quaternion: tf2 ignores such a transform too
                continue
