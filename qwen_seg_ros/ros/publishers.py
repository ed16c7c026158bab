"""Answers -> topics. Segments, objects and grasps always go out; pictures, clouds and markers only where somebody listens."""

from collections.abc import Callable
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from qwen_seg_ros.drawing import draw_overlay
from qwen_seg_ros.geometry.transform import inverse
from qwen_seg_ros.msg import GraspTargetArray, SceneObjectArray, SegmentArray, Status
from qwen_seg_ros.ros import messages_out as out
from qwen_seg_ros.ros.inputs import of_camera
from qwen_seg_ros.ros.markers import marker_array
from qwen_seg_ros.ros.qos_events import of_publisher
from qwen_seg_ros.ros.requests import Answer

RELIABLE = QoSProfile(depth=10)


class AnswerMessages:
    """The messages of one answer set, each built at most once and only when asked for."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.result = answer.result
        self.status = Status(code=int(answer.code), message=out.printable(answer.message, 2000))
        self.instruction = out.printable(" ".join(answer.instruction.split()))

    @cached_property
    def camera_header(self) -> Header:
        return out.header(self.answer.stamp_ns, self.answer.camera_frame)

    @cached_property
    def header(self) -> Header:
        """Of everything in 3-D."""
        return out.header(self.answer.stamp_ns, self.answer.result_frame or self.answer.camera_frame)

    @cached_property
    def size(self) -> tuple[int, int]:
        frame = self.answer.frame
        return (frame.height, frame.width) if frame is not None else (0, 0)

    @property
    def track_ids(self) -> tuple[str, ...]:
        return self.result.track_ids if self.result else ()

    @cached_property
    def segments(self) -> SegmentArray:
        segmentation = self.result.segmentation if self.result else None
        return out.segment_array(self.camera_header, self.instruction, self.status, self.size, segmentation, self.track_ids)

    @cached_property
    def objects(self) -> SceneObjectArray:
        lifted = self.result.lifted if self.result else None
        return out.scene_object_array(self.header, self.instruction, self.status, lifted, self.track_ids)

    @cached_property
    def grasp_targets(self) -> GraspTargetArray:
        plans = self.result.plans if self.result else ()
        return out.grasp_target_array(self.header, self.instruction, self.status, self.answer.gripper, plans)

    @cached_property
    def grasp_pose(self) -> PoseStamped | None:
        return out.best_grasp_pose(self.grasp_targets)

    @cached_property
    def label_image(self) -> Image | None:
        if self.answer.frame is None:
            return None
        labels = out.label_image(self.result.segmentation if self.result else None, *self.size)
        return out.image_message(labels, "mono16", self.camera_header)

    @cached_property
    def overlay(self) -> Image | None:
        frame, result = self.answer.frame, self.result
        if frame is None or result is None or result.segmentation is None:
            return None
        plans = result.plans
        if frame.base_from_camera is not None:  # the picture needs them in the camera's frame
            plans = tuple(plan.moved(inverse(frame.base_from_camera)) for plan in plans)
        return out.image_message(draw_overlay(frame.rgb, result.segmentation, frame.camera, plans), "rgb8", self.camera_header)

    @cached_property
    def markers(self) -> MarkerArray:
        return marker_array(self.header, self.result)

    @cached_property
    def object_cloud(self) -> PointCloud2 | None:
        lifted = self.result.lifted if self.result else None
        return out.objects_cloud(self.header, lifted.objects) if lifted is not None else None


Build = Callable[[AnswerMessages], Any]
ALWAYS = {"segments": SegmentArray, "objects": SceneObjectArray, "grasp_targets": GraspTargetArray, "grasp_pose": PoseStamped}
ON_DEMAND = {"label_image": Image, "overlay": Image, "markers": MarkerArray, "object_cloud": PointCloud2}


class ResultPublishers:
    """One publisher per topic of one camera's answer set; `close` removes them again."""

    def __init__(self, node: LifecycleNode, camera: str = "") -> None:
        self._node, self._camera = node, camera
        self._topics: list[tuple[Any, Build, bool]] = []  # publisher, what it publishes, only when somebody listens
        for name, kind in (ALWAYS | ON_DEMAND).items():
            self._add(name, kind, attrgetter(name), name in ON_DEMAND)
        self._add_detections()

    def publish(self, messages: AnswerMessages) -> None:
        for publisher, build, on_demand in self._topics:
            if on_demand and publisher.get_subscription_count() == 0:
                continue
            message = build(messages)
            if message is not None:
                publisher.publish(message)

    def close(self) -> None:
        for publisher, _, _ in self._topics:
            self._node.destroy_lifecycle_publisher(publisher)
        self._topics.clear()

    def _add(self, name: str, kind: type, build: Build, on_demand: bool) -> None:
        options = QoSOverridingOptions.with_default_policies()
        topic = f"~/{of_camera(self._camera, name)}"
        events = of_publisher(self._node.resolve_topic_name(topic), self._tell)
        publisher: Any = self._node.create_lifecycle_publisher(
            kind, topic, RELIABLE, qos_overriding_options=options, event_callbacks=events
        )
        self._topics.append((publisher, build, on_demand))

    def _tell(self, reason: str) -> None:
        self._node.get_logger().warning(reason, throttle_duration_sec=5.0)

    def _add_detections(self) -> None:
        """The common detection messages, where vision_msgs is installed."""
        try:
            from qwen_seg_ros.ros import detections
        except ImportError:
            return
        for name, (kind, build) in detections.TOPICS.items():
            self._add(name, kind, partial(_detections, build), on_demand=True)


def _detections(build: Callable[[Header, Header, Any], Any], messages: AnswerMessages) -> Any:
    return build(messages.camera_header, messages.header, messages.result)
