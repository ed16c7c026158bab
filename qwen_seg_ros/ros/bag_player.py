"""The ROS side of `qwen-seg play`: a node that publishes serialised messages and /clock, and is paused by a service.

What is played, and when, is not decided here.
"""

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import rclpy
from ament_index_python import get_resource
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.exceptions import NameValidationException
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

NAME = "bag_player"
CLOCK = "/clock"
ALL_ARRIVED_S = 1.0  # how long the last messages may take to arrive
_KIND = re.compile(r"([a-z][a-z0-9_]*)/msg/([A-Z][A-Za-z0-9]*)")
_EMPTY = "structure_needs_at_least_one_member"  # the field of a message without fields


class PlayerNode:
    """on_pause: called by the service ~/pause with whether to stand still. Used from one thread, as a context manager."""

    def __init__(self, on_pause: Callable[[bool], None]) -> None:
        self._on_pause = on_pause
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)  # Ctrl-C is for the caller
        self._node = rclpy.create_node(NAME, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._service = self._node.create_service(SetBool, "~/pause", self._pause)
        self._publishers: dict[str, Any] = {}
        self._clock: Any = None

    def __enter__(self) -> "PlayerNode":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def offer(
        self, topic: str, kind: str, *, reliable: bool, latched: bool, kept: int, definitions: Mapping[str, tuple[str, ...]]
    ) -> str:
        """A publisher for messages of a type that the recording defines so; returns "" or why there is none."""
        try:
            classes = {name: message_class(name) for name in {kind, *definitions}}
        except LookupError as error:
            return str(error)
        for name, fields in definitions.items():
            if _plain(fields) != _plain(classes[name].get_fields_and_field_types()):
                return f"{name} was recorded with the fields {', '.join(fields)}; the installed one has others"
        qos = QoSProfile(
            depth=kept,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        try:
            self._publishers[topic] = self._node.create_publisher(classes[kind], topic, qos)
        except NameValidationException as error:  # ROS 1 allows more
            return f"no name of a topic in ROS 2: {' '.join(str(error).split())}"
        return ""

    def publish(self, topic: str, data: bytes) -> None:
        self._publishers[topic].publish(bytes(data))

    def set_clock(self, now_ns: int) -> None:
        if self._clock is None:
            self._clock = self._node.create_publisher(Clock, CLOCK, 10)
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 10**9)
        self._clock.publish(message)

    def listeners(self, topic: str) -> int:
        return self._publishers[topic].get_subscription_count()

    def serve(self) -> None:
        """Answer what has been asked; does not wait."""
        self._executor.spin_once(timeout_sec=0)

    def flush(self) -> None:
        """Until the last messages have arrived at those who want all of them."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ALL_ARRIVED_S))

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._on_pause(request.data)
        response.success, response.message = True, "paused" if request.data else "playing"
        return response


def message_class(kind: str) -> Any:
    """The class of a type such as "sensor_msgs/msg/Image".

    Only what ROS knows as a message type is imported: the name comes from a file.

    Raises:
        LookupError: it is not installed; the message says what to install.
    """
    found = _KIND.fullmatch(kind)
    if not found:
        raise LookupError(f"{kind[:100]!r} is no type of a ROS 2 message")
    package, name = found.groups()
    try:
        listed = get_resource("rosidl_interfaces", package)[0].split()
    except LookupError:
        listed = []
    if not {f"msg/{name}.msg", f"msg/{name}.idl"} & set(listed):
        raise LookupError(f"{kind} is not installed; install the ROS 2 package {package} that has it and source its workspace")
    return getattr(import_module(f"{package}.msg"), name)


def _plain(fields: Any) -> list[str]:
    """ROS 1 writes some of its names in capitals, in the same order."""
    return [name.casefold() for name in fields if name != _EMPTY]
