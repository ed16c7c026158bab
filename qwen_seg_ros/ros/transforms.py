"""Where the camera stood when the image was taken.

With tf2_ros its buffer answers. Without it (ROS 2 from PyPI) a small buffer over /tf_static and /tf does: nearest stamp within a
tolerance, no interpolation. Both are asked from the worker thread, never from the executor.
"""

import threading
import time
from collections import deque
from typing import Any, Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.time import Time

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.sensor_messages import matrix_of, stamp_ns_of
from qwen_seg_ros.geometry.transform import inverse

_HISTORY = 1000  # transforms kept per frame: 10 s at 100 Hz


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

        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp: int, timeout_s: float) -> Matrix4:
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
    """Tree of frames with a short history; safe to fill and to ask from two threads."""

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_ns = int(tolerance_s * 1e9)
        self._lock = threading.Lock()
        self._moving: dict[str, deque[tuple[int, str, Matrix4]]] = {}
        self._static: dict[str, tuple[str, Matrix4]] = {}

    def add(self, stamped: Any, static: bool) -> None:
        """One geometry_msgs/TransformStamped: pose of child_frame_id in header.frame_id."""
        parent, child = stamped.header.frame_id.lstrip("/"), stamped.child_frame_id.lstrip("/")
        stamp, matrix = stamp_ns_of(stamped.header.stamp), matrix_of(stamped.transform)
        with self._lock:
            if static:
                self._static[child] = (parent, matrix)
                return
            history = self._moving.setdefault(child, deque(maxlen=_HISTORY))
            if history and stamp < history[-1][0] - 1_000_000_000:
                history.clear()  # time went back: a bag started again
            history.append((stamp, parent, matrix))

    def find(self, target: str, source: str, stamp: int) -> Matrix4:
        """target_from_source at `stamp`; LookupError says which link is missing."""
        with self._lock:
            to_source, to_target = self._chain(source, stamp), self._chain(target, stamp)
        common = next((frame for frame in to_source if frame in to_target), None)
        if common is None:
            known = ", ".join(sorted({*self._static, *self._moving})) or "none"
            raise LookupError(f"no path from {source!r} to {target!r} at the image's stamp; frames with a parent: {known}")
        return inverse(to_target[common]) @ to_source[common]

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

    def _chain(self, frame: str, stamp: int) -> dict[str, Matrix4]:
        """ancestor -> ancestor_from_frame, from the frame itself up to the root."""
        chain = {frame: np.eye(4)}
        here = frame
        while (link := self._link(here, stamp)) is not None and link[0] not in chain:
            chain[link[0]] = link[1] @ chain[here]
            here = link[0]
        return chain

    def _link(self, frame: str, stamp: int) -> tuple[str, Matrix4] | None:
        if frame in self._static:
            return self._static[frame]
        nearest = min(self._moving.get(frame, ()), key=lambda entry: abs(entry[0] - stamp), default=None)
        return (nearest[1], nearest[2]) if nearest and abs(nearest[0] - stamp) <= self._tolerance_ns else None


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
