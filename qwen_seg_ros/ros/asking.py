"""What may be asked of the node and how it is answered: the service, the action with cancel and preemption."""

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rclpy.task import Future

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.msg import GraspPreferences
from qwen_seg_ros.ros.messages_out import printable
from qwen_seg_ros.ros.preferences_in import frames_named
from qwen_seg_ros.ros.publishers import AnswerMessages
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.srv import Segment
from qwen_seg_ros.status import Status, StatusCode

if TYPE_CHECKING:
    from qwen_seg_ros.ros.segmentation_node import SegmentationNode

REQUESTS = QoSProfile(depth=1000)  # of the usual ten every further one would be lost without a word, its client waits for ever
_ANSWERED = {StatusCode.OK, StatusCode.NOT_FOUND, StatusCode.NO_DEPTH, StatusCode.NO_TRANSFORM}
_FEEDBACK = FindGraspTargets.Feedback
_STAGES = {  # of the pipeline -> of the action
    "waiting": _FEEDBACK.WAITING, "encode": _FEEDBACK.SEGMENTING, "segment": _FEEDBACK.SEGMENTING,
    "lift": _FEEDBACK.LIFTING, "grasp": _FEEDBACK.GRASPING,
}
_NOT_ACTIVE = Status(
    StatusCode.BUSY, "the node is not active; configure and activate it first (its log says why if that failed)"
)


class Asking:
    """`~/segment` and `~/find_grasp_targets`. Everything here runs on the executor's thread."""

    def __init__(self, node: "SegmentationNode") -> None:
        """Reentrant: a request waits for its answer without holding up the next one, which may have to be told BUSY."""
        self._node = node
        self._goals: dict[bytes, Request] = {}  # by id, until they are answered
        group = ReentrantCallbackGroup()
        node.create_service(Segment, "~/segment", self._on_segment, callback_group=group, qos_profile=REQUESTS)
        self._action = ActionServer(
            node, FindGraspTargets, "~/find_grasp_targets", self._on_goal, callback_group=group, cancel_callback=self._on_cancel,
            goal_service_qos_profile=REQUESTS, cancel_service_qos_profile=REQUESTS, result_service_qos_profile=REQUESTS,
            result_timeout=60,
        )

    def close(self) -> None:
        self._action.destroy()

    async def _on_segment(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        asked, answer = self._request(request)
        self._submit(asked, request.preferences)
        fill(response, await answer)
        return response

    async def _on_goal(self, goal: ServerGoalHandle) -> FindGraspTargets.Result:
        """The newest goal of a camera is the one that counts: it ends an older one."""
        name = bytes(goal.goal_id.uuid)
        request, answer = self._request(goal.request, partial(self._tell_stage, goal, time.monotonic()))
        for older in [other for other in self._goals.values() if other.camera == request.camera]:
            self._end(older, "preempted by a newer goal for the same camera")
        self._goals[name] = request
        request.enter("waiting")
        self._submit(request, goal.request.preferences)
        if goal.is_cancel_requested:  # before it began
            self._on_cancel(goal)
        messages = await answer
        del self._goals[name]
        if goal.is_cancel_requested:
            goal.canceled()
        elif messages.answer.code in _ANSWERED:
            goal.succeed()
        else:
            goal.abort()
        result = FindGraspTargets.Result()
        fill(result, messages)
        return result

    def _on_cancel(self, goal: ServerGoalHandle) -> CancelResponse:
        """The answer goes out now, whatever the worker is doing; it stops at its next step."""
        request = self._goals.get(bytes(goal.goal_id.uuid))
        if request is not None:
            self._end(request, "cancelled by the client")
        return CancelResponse.ACCEPT

    def _end(self, request: Request, reason: str) -> None:
        if self._node.worker is not None:
            self._node.worker.end(request, Status(StatusCode.CANCELLED, reason))

    def _tell_stage(self, goal: ServerGoalHandle, started_s: float, stage: str) -> None:
        """Of real time: a clock that is set back must not make it negative."""
        if stage in _STAGES:
            elapsed = Duration(seconds=time.monotonic() - started_s).to_msg()
            goal.publish_feedback(FindGraspTargets.Feedback(stage=_STAGES[stage], elapsed=elapsed))

    def _request(
        self, asked: Segment.Request | FindGraspTargets.Goal, on_stage: Callable[[str], None] = lambda stage: None
    ) -> tuple[Request, Any]:
        """With the future of its answer, an AnswerMessages; the executor goes on while the worker thinks."""
        future: Any = Future(executor=self._node.executor)
        future.add_done_callback(lambda _: None)  # wakes the executor, which then sees that the awaiting task can go on
        camera = asked.camera or next(iter(self._node.cameras))
        request = Request(
            asked.instruction, asked.plan_grasps, future.set_result, on_stage, self._node.parameters.node_settings.deadline_s,
            preferences=asked.preferences, camera=camera,
        )
        return request, future

    def _submit(self, request: Request, preferences: GraspPreferences) -> None:
        problem = self._cannot_ask(request.camera)
        if problem is not None or self._node.worker is None:
            status = problem or _NOT_ACTIVE
            self._node.deliver(request, Answer(request.instruction, status.code, status.message, self._node.now_ns(), ""))
            return
        known = self._node.cameras[request.camera].frames.camera_frame().lstrip("/")
        self._node.listen_to_transforms(frames_named(preferences) - {known})
        self._node.worker.submit(request)

    def _cannot_ask(self, camera: str) -> Status | None:
        cameras = self._node.cameras
        if camera in cameras:
            return None
        known = "leave it empty, there is only one" if "" in cameras else f"known are {', '.join(cameras)}"
        return Status(StatusCode.INVALID_INPUT, f"there is no camera {printable(camera, 80)!r}; {known} (parameter cameras)")


def fill(response: Any, messages: AnswerMessages) -> None:
    """Segment.Response and FindGraspTargets.Result have the same three fields."""
    response.segments, response.objects, response.grasp_targets = messages.segments, messages.objects, messages.grasp_targets
