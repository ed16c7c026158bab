"""The other side of the topics: a camera to publish with, and somebody who asks."""

import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from node_support.process import DOMAIN
from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.msg import GraspPreferences, GraspTargetArray, SceneObjectArray, SegmentArray
from qwen_seg_ros.srv import Segment

ANSWER_SET = {"segments": SegmentArray, "objects": SceneObjectArray, "grasp_targets": GraspTargetArray}
EXTRAS = {"label_image": Image, "overlay": Image, "markers": MarkerArray, "object_cloud": PointCloud2}
CLIENTS = {"segment": Segment, "set_parameters": SetParameters, "change_state": ChangeState, "get_state": GetState}
PATIENCE_S = 30.0  # for anything that must happen; a loaded machine is slow
ASK_AGAIN_S = 3.0


@dataclass(frozen=True)
class Shot:
    """What the camera publishes at one moment; None leaves a topic silent. depth_offset_s moves the depth's stamp.

    depth_frame_id, depth_camera: of a depth camera of its own.
    """

    rgb: NDArray | None
    depth: NDArray | None
    camera: Camera | None
    frame_id: str = "camera"
    encoding: str = "rgb8"
    depth_encoding: str = "16UC1"
    depth_offset_s: float = 0.0
    calibrated: bool = True
    depth_frame_id: str | None = None
    depth_camera: Camera | None = None
    depth_calibrated: bool = True

    @property
    def depth_frame(self) -> str:
        return self.frame_id if self.depth_frame_id is None else self.depth_frame_id

    @classmethod
    def of(cls, frame: Frame, **changes: Any) -> "Shot":
        assert frame.depth_m is not None
        depth_mm = np.nan_to_num(frame.depth_m * 1000).round().astype(np.uint16)
        return replace(cls(frame.rgb, depth_mm, frame.camera), **changes)


def image(pixels: NDArray, encoding: str, frame_id: str, stamp_ns: int) -> Image:
    msg = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, data=array("B", pixels.tobytes()))
    msg.step = len(msg.data) // max(1, msg.height)
    return stamped(msg, frame_id, stamp_ns)


def stamped(msg: Any, frame_id: str, stamp_ns: int) -> Any:
    msg.header.frame_id = frame_id
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return msg


def camera_info(camera: Camera, calibrated: bool = True) -> CameraInfo:
    msg = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    msg.k = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0] if calibrated else [0.0] * 9
    return msg


class Robot:
    """A node of the test's own, with the topics, services and the action of the node `target`.

    camera: one of several that the node has, whose topics it talks on; "" = the only one.
    """

    def __init__(self, target: str, camera: str = "") -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node(f"robot_of_{target}{camera}", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.target, self.camera, self.prefix = target, camera, f"{camera}/" if camera else ""
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self._clients: dict[str, Any] = {}
        self._image, self._depth = (self._publisher(Image, topic) for topic in ("image", "depth"))
        self._info, self._depth_info = (self._publisher(CameraInfo, topic) for topic in ("camera_info", "depth_camera_info"))
        self._instruction = self.node.create_publisher(String, f"{self.prefix}instruction", 10)
        for topic, kind in ANSWER_SET.items():
            self.listen(topic, kind)
        for name, client in CLIENTS.items():  # early: DDS loses answers to clients that the node has not discovered yet
            self._client(client, name)
        self.action = ActionClient(self.node, FindGraspTargets, f"{target}/find_grasp_targets")

    def close(self) -> None:
        self.action.destroy()
        self.node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)

    def _publisher(self, kind: type, topic: str) -> Any:
        return self.node.create_publisher(kind, self.prefix + topic, qos_profile_sensor_data)

    def listen(self, topic: str, kind: type) -> Any:
        return self.node.create_subscription(kind, f"{self.target}/{self.prefix}{topic}", self.heard[topic].append, 10)

    def spin_until(self, done: Callable[[], Any], shot: Shot | None = None, timeout_s: float = PATIENCE_S) -> Any:
        """Work on the own callbacks, publish `shot` ten times a second, until `done()` is true; its value."""
        ends, next_shot = time.monotonic() + timeout_s, 0.0
        while not (value := done()):
            now = time.monotonic()
            assert now < ends, f"{self.target} did not get there in {timeout_s} s"
            if shot is not None and now >= next_shot:
                self.publish(shot)
                next_shot = now + 0.1
            self.executor.spin_once(timeout_sec=0.02)
        return value

    def rest(self, seconds: float, shot: Shot | None = None) -> None:
        """Hear what still arrives."""
        ends = time.monotonic() + seconds
        self.spin_until(lambda: time.monotonic() > ends, shot)

    def publish(self, shot: Shot, stamp_ns: int | None = None) -> None:
        stamp_ns = time.time_ns() if stamp_ns is None else stamp_ns
        if shot.camera is not None:
            self._info.publish(stamped(camera_info(shot.camera, shot.calibrated), shot.frame_id, stamp_ns))
        if shot.depth_camera is not None:
            depth_info = camera_info(shot.depth_camera, shot.depth_calibrated)
            self._depth_info.publish(stamped(depth_info, shot.depth_frame, stamp_ns))
        if shot.depth is not None:
            depth_ns = stamp_ns + int(shot.depth_offset_s * 1e9)
            self._depth.publish(self.picture(shot.depth, shot.depth_encoding, shot.depth_frame, depth_ns))
        if shot.rgb is not None:
            self._image.publish(self.picture(shot.rgb, shot.encoding, shot.frame_id, stamp_ns))

    def picture(self, pixels: NDArray, encoding: str, frame_id: str, stamp_ns: int) -> Any:
        return image(pixels, encoding, frame_id, stamp_ns)

    def say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def connected(self) -> bool:
        """The node has its subscriptions up and the robot hears it."""
        ours = (self._image, self._depth, self._info, self._depth_info, self._instruction)
        theirs = [self.node.count_publishers(f"{self.target}/{self.prefix}{topic}") for topic in ANSWER_SET]
        return all(p.get_subscription_count() for p in ours) and all(theirs)

    def answer_set(self, instruction: str, shot: Shot | None = None) -> tuple[SegmentArray, SceneObjectArray, GraspTargetArray]:
        """Say it and wait for the whole set, which must be one: same instruction, stamp and status."""
        for topic in ANSWER_SET:
            self.heard[topic].clear()
        self.spin_until(self.connected)
        self.say(instruction)
        self.spin_until(lambda: all(self.heard[topic] for topic in ANSWER_SET), shot)
        segments, objects, grasps = (self.heard[topic][0] for topic in ANSWER_SET)
        assert segments.instruction == objects.instruction == grasps.instruction
        assert segments.status == objects.status == grasps.status
        assert segments.header.stamp == objects.header.stamp == grasps.header.stamp
        return segments, objects, grasps

    def call(self, kind: type, name: str, request: Any, shot: Shot | None = None) -> Any:
        """A service of the node, for example "segment"."""
        future = self.begin(kind, name, request)
        self.spin_until(future.done, shot)
        return future.result()

    def _client(self, kind: type, name: str) -> Any:
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, f"{self.target}/{name}")
        return self._clients[name]

    def begin(self, kind: type, name: str, request: Any) -> Any:
        client = self._client(kind, name)
        self.spin_until(client.service_is_ready)
        return client.call_async(request)

    def send_goal(self, goal: FindGraspTargets.Goal) -> Any:
        """Until the goal is accepted; the future of its result."""
        self.spin_until(self.action.server_is_ready)
        sent = self.action.send_goal_async(goal)
        self.spin_until(sent.done)
        assert sent.result().accepted
        return sent.result().get_result_async()

    def segment(
        self, instruction: str, plan_grasps: bool = True, shot: Shot | None = None, preferences: GraspPreferences | None = None
    ) -> Segment.Response:
        request = Segment.Request(instruction=instruction, plan_grasps=plan_grasps, camera=self.camera)
        request.preferences = preferences or GraspPreferences()
        return self.call(Segment, "segment", request, shot)

    def diagnostics(self, wanted: Callable[[dict[str, str]], bool], shot: Shot | None = None) -> dict[str, str]:
        """The values of the first report from now on that is as wanted."""
        reports: list[dict[str, str]] = []

        def hear(msg: DiagnosticArray) -> None:
            reports.extend({value.key: value.value for value in status.values} for status in msg.status)

        heard = self.node.create_subscription(DiagnosticArray, "/diagnostics", hear, 10)
        found = self.spin_until(lambda: next(filter(wanted, reports), None), shot)
        self.node.destroy_subscription(heard)
        return found

    def play(self, shot: Shot, first_ns: int, seconds: float) -> None:
        """A camera or a bag whose clock begins at `first_ns`."""
        began = time.monotonic_ns()
        while (passed := time.monotonic_ns() - began) < seconds * 1e9:
            self.publish(shot, first_ns + passed)
            self.executor.spin_once(timeout_sec=0.05)

    def state(self) -> str:
        """Asked again every few seconds: DDS may lose the answer to a client that the node has not discovered yet."""
        asked: list[tuple[float, Any]] = []

        def answered() -> Any:
            if not asked or time.monotonic() - asked[-1][0] > ASK_AGAIN_S:
                asked.append((time.monotonic(), self.begin(GetState, "get_state", GetState.Request())))
            return next((future for _, future in asked if future.done()), None)

        return self.spin_until(answered).result().current_state.label

    def change_state(self, transition: int) -> bool:
        return self.call(ChangeState, "change_state", ChangeState.Request(transition=Transition(id=transition))).success

    def restart(self) -> None:
        """Deactivate and activate: the node forgets its images."""
        assert self.change_state(Transition.TRANSITION_DEACTIVATE) and self.change_state(Transition.TRANSITION_ACTIVATE)
        self.spin_until(self.connected)

    def set_parameter(self, name: str, value: Any) -> tuple[bool, str]:
        wanted: ParameterMessage = Parameter(name, value=value).to_parameter_msg()
        result = self.call(SetParameters, "set_parameters", SetParameters.Request(parameters=[wanted])).results[0]
        return result.successful, result.reason

    def parameter(self, name: str) -> Any:
        values = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return Parameter.from_parameter_msg(ParameterMessage(name=name, value=values[0])).value

    def describe(self, name: str) -> Any:
        return self.call(DescribeParameters, "describe_parameters", DescribeParameters.Request(names=[name])).descriptors[0]
