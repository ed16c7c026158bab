"""The ROS 2 node: a lifecycle node that configures and activates itself unless `autostart` is false."""

import traceback
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from std_srvs.srv import SetBool

from qwen_seg_ros.geometry.cloud import load_open3d
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.asking import Asking
from qwen_seg_ros.ros.camera import Camera
from qwen_seg_ros.ros.diagnostics import diagnostic_array
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.inputs import image_type, input_topics, of_camera
from qwen_seg_ros.ros.memory import keep_freed_memory
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.publishers import AnswerMessages, ResultPublishers
from qwen_seg_ros.ros.qos_events import of_subscription
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.spinning import spin
from qwen_seg_ros.ros.transforms import NoSource, TransformSource, transform_source
from qwen_seg_ros.ros.worker import Worker

_DONE, _FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
INSTRUCTIONS = QoSProfile(depth=10)


class SegmentationNode(LifecycleNode):
    """Subscriptions fill a mailbox, the worker answers, this class connects them. Only the worker blocks."""

    def __init__(self, **options: Any) -> None:
        super().__init__("segmentation_node", **options)
        self.parameters = Parameters(self)
        self._pipeline: Pipeline | None = None
        self._results: dict[str, ResultPublishers] = {}  # by camera
        self.worker: Worker | None = None
        self._stuck: Worker | None = None  # one that did not end when the node was deactivated
        self._transforms: TransformSource | None = None
        self._inputs: list[Any] = []
        self.cameras = {name: self._camera(name) for name in self.parameters.node_settings.cameras or ("",)}
        self._asking = Asking(self)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))  # /clock may stand still

    def _camera(self, name: str) -> Camera:
        settings = partial(self.parameters.of, name)
        return Camera(name, FrameSource(input_topics(self, settings(), name), settings, name), settings)

    def start(self) -> None:
        """What `autostart` promises. A failed configure leaves the node alive and unconfigured, the reason is in the log."""
        if self.parameters.node_settings.autostart and self.trigger_configure() == _DONE:
            self.trigger_activate()

    # Lifecycle. rclpy swallows exceptions of transitions without a word, so each is guarded here.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("configure", self._configure, state, super().on_configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("activate", self._activate, state, super().on_activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("deactivate", self._deactivate, state, super().on_deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("clean up", self._release, state, super().on_cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._guarded("shut down", self._release, state, super().on_shutdown)

    def _guarded(
        self, what: str, work: Callable[[], None], state: LifecycleState,
        base: Callable[[LifecycleState], TransitionCallbackReturn],
    ) -> TransitionCallbackReturn:
        try:
            work()
            return base(state)
        except Exception as error:
            self.get_logger().error(f"cannot {what}: {error}")
            self.get_logger().debug(traceback.format_exc())
            return _FAILED

    def _configure(self) -> None:
        if self.parameters.problems:
            raise ValueError("; ".join(self.parameters.problems.values()))
        self._pipeline = Pipeline(self.parameters.pipeline)
        load_open3d()  # while the first images arrive, not while the first instruction waits
        self._results = {name: ResultPublishers(self, name) for name in self.cameras}
        self.listen_to_transforms()

    def _activate(self) -> None:
        """Wholly or not at all: half of it would answer, deaf and in a state that says that it does not."""
        try:
            self._begin()
        except Exception:
            self._deactivate()
            raise

    def _begin(self) -> None:
        assert self._pipeline is not None
        if self._stuck is not None and self._stuck.alive():
            reason = self._stuck.trouble() or "it is still busy with its last instruction"
            raise RuntimeError(f"the worker of the last activation has not ended: {reason}; activate again when it has")
        self._stuck = None
        self.worker = Worker(
            self._pipeline, self.parameters, self.cameras.values(), self._transform_source, self.deliver, self.now_ns,
            self.get_logger(),
        )
        self.worker.start()
        for camera in self.cameras.values():
            self._subscribe_to(camera)
        if "" not in self.cameras:
            self._subscribe(String, "instruction", self._on_instruction_for_all, INSTRUCTIONS)

    def _subscribe_to(self, camera: Camera) -> None:
        settings, frames = camera.settings(), camera.frames
        frames.topics = topics = input_topics(self, settings, camera.name)
        inputs: list[tuple[str, type, Callable[[Any], None]]] = [
            ("image", image_type(settings.image_transport), frames.on_image),
            ("camera_info", CameraInfo, frames.on_info),
        ]
        if settings.use_depth:
            inputs += [
                ("depth", image_type(settings.depth_image_transport), frames.on_depth),
                ("depth_camera_info", CameraInfo, frames.on_depth_info),
            ]
        for name, kind, callback in inputs:
            self._subscribe(kind, topics[name], partial(self._on_camera, callback), qos_profile_sensor_data)
        instructions = of_camera(camera.name, "instruction")
        self._subscribe(String, instructions, partial(self._on_instruction, camera.name), INSTRUCTIONS)

    def _deactivate(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self.worker is not None and not self.worker.stop():
            self._stuck = self.worker
            self.get_logger().warning("the worker is still busy with the last instruction; its answer will be dropped")
        self.worker = None
        for camera in self.cameras.values():
            camera.frames.clear()

    def _release(self) -> None:
        self._deactivate()
        for results in self._results.values():
            results.close()
        self._results, self._pipeline = {}, None

    # Messages and requests

    def _on_camera(self, store: Callable[[Any], None], msg: Any) -> None:
        store(msg)
        self.listen_to_transforms()

    def _on_instruction(self, camera: str, msg: String) -> None:
        assert self.worker is not None  # the subscription lives only while the worker does
        settings = self.parameters.of(camera)
        request = Request(msg.data, settings.plan_grasps, deadline_s=settings.deadline_s, standing=True, camera=camera)
        self.worker.submit(request)

    def _on_instruction_for_all(self, msg: String) -> None:
        for name in self.cameras:
            self._on_instruction(name, msg)

    def deliver(self, request: Request, answer: Answer) -> None:
        """Publish an answer set and hand it to whoever waits for it, in this order and even if publishing fails."""
        messages = AnswerMessages(answer)
        try:
            if request.camera in self._results:
                self._results[request.camera].publish(messages)
        finally:
            request.done(messages)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self.worker is not None
        if self.worker is not None:
            self.worker.enabled = request.data
        state = "answers instructions" if request.data else "answers every instruction with BUSY"
        response.message = f"the node {state}" if response.success else "the node is not active"
        return response

    # Helpers

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
        options = QoSOverridingOptions.with_default_policies()
        resolved = self.resolve_topic_name(topic)
        events = of_subscription(resolved, partial(self._on_unheard, resolved))
        self._inputs.append(
            self.create_subscription(kind, topic, callback, qos, qos_overriding_options=options, event_callbacks=events)
        )

    def _on_unheard(self, topic: str, reason: str) -> None:
        self.get_logger().warning(reason, throttle_duration_sec=5.0)
        for camera in self.cameras.values():
            camera.frames.unheard[topic] = reason

    def listen_to_transforms(self, frames: Collection[str] = ()) -> None:
        """Only when there is something to ask: on a busy robot /tf alone costs a good part of a core. frames: of a request."""
        if self._transforms is None and any(_needs_transforms(camera, frames) for camera in self.cameras.values()):
            self._transforms = transform_source(self, self.parameters.node_settings.transform_tolerance_s)

    def _transform_source(self) -> TransformSource:
        if self._transforms is None:
            return NoSource("the node began to listen to transforms less than a second ago; ask again")
        return self._transforms

    def now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _report(self) -> None:
        self.listen_to_transforms()
        if self.worker is not None:
            self.worker.watch()
        state = self._state_machine.current_state[1]
        self._diagnostics.publish(diagnostic_array(self, state, self.cameras.values(), self.worker))

    def destroy_node(self) -> None:
        """Stop the worker before the things it publishes with go away."""
        self._deactivate()
        self._asking.close()
        super().destroy_node()


def _needs_transforms(camera: Camera, frames: Collection[str]) -> bool:
    settings = camera.settings()
    registers = settings.depth_registration == "auto" and camera.frames.other_depth_frame()
    return settings.use_depth and bool(settings.target_frame or frames or registers)


def main() -> None:
    """Exit code 0 after SIGINT or SIGTERM in any state."""
    keep_freed_memory()
    node = None
    try:
        rclpy.init()
        node = SegmentationNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.start()
        spin(executor, node.get_logger())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
