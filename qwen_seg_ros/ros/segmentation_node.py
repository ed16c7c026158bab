"""The ROS 2 node: a lifecycle node that configures and activates itself unless `autostart` is false."""

import traceback
from collections.abc import Callable, Collection
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import String
from std_srvs.srv import SetBool

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.diagnostics import diagnostic_array
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.inputs import image_type, input_topics
from qwen_seg_ros.ros.messages_in import Picture
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.preferences_in import frames_named
from qwen_seg_ros.ros.publishers import AnswerMessages, ResultPublishers
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.spinning import spin
from qwen_seg_ros.ros.transforms import NoSource, TransformSource, transform_source
from qwen_seg_ros.ros.worker import Worker
from qwen_seg_ros.srv import Segment
from qwen_seg_ros.status import StatusCode
from qwen_seg_ros.tracking.tracker import Tracker

_DONE, _FAILED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_ANSWERED = {StatusCode.OK, StatusCode.NOT_FOUND, StatusCode.NO_DEPTH, StatusCode.NO_TRANSFORM}
_FEEDBACK = FindGraspTargets.Feedback
_STAGES = {  # of the pipeline -> of the action
    "encode": _FEEDBACK.SEGMENTING, "segment": _FEEDBACK.SEGMENTING, "lift": _FEEDBACK.LIFTING, "grasp": _FEEDBACK.GRASPING,
}


class SegmentationNode(LifecycleNode):
    """Subscriptions fill a mailbox, the worker answers, this class connects them. Only the worker blocks."""

    def __init__(self, **options: Any) -> None:
        super().__init__("segmentation_node", **options)
        self.parameters = Parameters(self)
        self._pipeline: Pipeline | None = None
        self._results: ResultPublishers | None = None
        self._worker: Worker | None = None
        self._tracker = Tracker()  # outlives the worker, so that no id is used twice
        self._transforms: TransformSource | None = None
        self._inputs: list[Any] = []
        topics = input_topics(self, self.parameters.node_settings)
        self._frames = FrameSource(topics, lambda: self.parameters.node_settings)
        self._offer_services()
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_timer(1.0, self._report)

    def _offer_services(self) -> None:
        """Reentrant: a request waits for its answer without holding up the next one, which may have to be told BUSY."""
        group = ReentrantCallbackGroup()
        self.create_service(Segment, "~/segment", self._on_segment, callback_group=group)
        self.create_service(SetBool, "~/enable", self._on_enable, callback_group=group)
        self._action = ActionServer(
            self, FindGraspTargets, "~/find_grasp_targets", self._on_goal, callback_group=group,
            cancel_callback=lambda _: CancelResponse.ACCEPT, result_timeout=60,
        )

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
        self._results = ResultPublishers(self)
        self._listen_to_transforms()

    def _activate(self) -> None:
        assert self._pipeline is not None
        self._worker = Worker(
            self._pipeline, self.parameters, self._frames, self._transform_source, self._tracker, self._deliver, self._now_ns,
            self.get_logger(),
        )
        self._worker.start()
        self._subscribe_to_cameras()
        self._subscribe(String, "instruction", self._on_instruction, QoSProfile(depth=10))

    def _subscribe_to_cameras(self) -> None:
        settings = self.parameters.node_settings
        self._frames.topics = topics = input_topics(self, settings)
        inputs: list[tuple[str, type, Callable[[Any], None]]] = [
            ("image", image_type(settings.image_transport), self._on_image),
            ("camera_info", CameraInfo, self._frames.on_info),
        ]
        if settings.use_depth:
            inputs += [
                ("depth", image_type(settings.depth_image_transport), self._on_depth),
                ("depth_camera_info", CameraInfo, self._frames.on_depth_info),
            ]
        for name, kind, callback in inputs:
            self._subscribe(kind, topics[name], callback, qos_profile_sensor_data)

    def _deactivate(self) -> None:
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._worker is not None and not self._worker.stop():
            self.get_logger().warning("the worker is still busy with the last instruction; its answer will be dropped")
        self._worker = None
        self._frames.clear()

    def _release(self) -> None:
        self._deactivate()
        if self._results is not None:
            self._results.close()
        self._results, self._pipeline = None, None

    # Messages and requests

    def _on_image(self, msg: Picture) -> None:
        self._frames.on_image(msg)
        self._listen_to_transforms()

    def _on_depth(self, msg: Picture) -> None:
        self._frames.on_depth(msg)
        self._listen_to_transforms()

    def _on_instruction(self, msg: String) -> None:
        assert self._worker is not None  # the subscription lives only while the worker does
        settings = self.parameters.node_settings
        self._worker.submit(Request(msg.data, settings.plan_grasps, deadline_s=settings.deadline_s, standing=True))

    async def _on_segment(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        fill(response, await self._answer(request))
        return response

    async def _on_goal(self, goal: ServerGoalHandle) -> FindGraspTargets.Result:
        started = self.get_clock().now()

        def on_stage(stage: str) -> None:
            feedback = FindGraspTargets.Feedback(stage=_STAGES.get(stage, _FEEDBACK.WAITING))
            feedback.elapsed = (self.get_clock().now() - started).to_msg()
            goal.publish_feedback(feedback)

        on_stage("waiting")
        messages = await self._answer(goal.request, on_stage, lambda: goal.is_cancel_requested)
        if goal.is_cancel_requested:
            goal.canceled()
        elif messages.answer.code in _ANSWERED:
            goal.succeed()
        else:
            goal.abort()
        result = FindGraspTargets.Result()
        fill(result, messages)
        return result

    async def _answer(
        self, asked: Segment.Request | FindGraspTargets.Goal, on_stage: Callable[[str], None] = lambda stage: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> AnswerMessages:
        """Through the worker's queue; the executor goes on while the worker thinks."""
        self._listen_to_transforms(frames_named(asked.preferences) - {self._frames.camera_frame().lstrip("/")})
        future: Any = Future(executor=self.executor)
        future.add_done_callback(lambda _: None)  # wakes the executor, which then sees that the awaiting task can go on
        deadline_s = self.parameters.node_settings.deadline_s
        request = Request(asked.instruction, asked.plan_grasps, future.set_result, on_stage, cancelled, deadline_s,
                          preferences=asked.preferences)
        if self._worker is not None:
            self._worker.submit(request)
        else:
            message = "the node is not active; configure and activate it first (its log says why if that failed)"
            self._deliver(request, Answer(asked.instruction, StatusCode.BUSY, message, self._now_ns(), ""))
        return await future

    def _deliver(self, request: Request, answer: Answer) -> None:
        """Publish an answer set and hand it to whoever waits for it, in this order and even if publishing fails."""
        messages = AnswerMessages(answer)
        try:
            if self._results is not None:
                self._results.publish(messages)
        finally:
            request.done(messages)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._worker is not None
        if self._worker is not None:
            self._worker.enabled = request.data
        state = "answers instructions" if request.data else "answers every instruction with BUSY"
        response.message = f"the node {state}" if response.success else "the node is not active"
        return response

    # Helpers

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile) -> None:
        options = QoSOverridingOptions.with_default_policies()
        self._inputs.append(self.create_subscription(kind, topic, callback, qos, qos_overriding_options=options))

    def _listen_to_transforms(self, frames: Collection[str] = ()) -> None:
        """Only when there is something to ask: on a busy robot /tf alone costs a good part of a core. frames: of a request."""
        settings = self.parameters.node_settings
        needed = settings.use_depth and (settings.target_frame or frames or self._registers_depth())
        if self._transforms is None and needed:
            self._transforms = transform_source(self, settings.transform_tolerance_s)

    def _registers_depth(self) -> bool:
        return self.parameters.node_settings.depth_registration == "auto" and self._frames.other_depth_frame()

    def _transform_source(self) -> TransformSource:
        if self._transforms is None:
            return NoSource("the node began to listen to transforms less than a second ago; ask again")
        return self._transforms

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _report(self) -> None:
        self._listen_to_transforms()
        state = self._state_machine.current_state[1]
        self._diagnostics.publish(diagnostic_array(self, state, self._frames, self._worker))

    def destroy_node(self) -> None:
        """Stop the worker before the things it publishes with go away."""
        self._deactivate()
        self._action.destroy()
        super().destroy_node()


def fill(response: Any, messages: AnswerMessages) -> None:
    """Segment.Response and FindGraspTargets.Result have the same three fields."""
    response.segments, response.objects, response.grasp_targets = messages.segments, messages.objects, messages.grasp_targets


def main() -> None:
    """Exit code 0 after SIGINT or SIGTERM in any state."""
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
