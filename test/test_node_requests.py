"""A request ends once: by its answer, by cancel, by a newer goal or by its deadline, and work on it ends with it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from action_msgs.msg import GoalStatus
from node_support.bench import Bench, node_with
from node_support.fixtures import QUICK, Scene
from node_support.robot import Robot
from rclpy.parameter import Parameter

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.errors import OutOfMemoryError, StoppedError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.msg import Status
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.parameters import NodeSettings, Parameters
from qwen_seg_ros.ros.requests import Request
from qwen_seg_ros.segmentation.instruction import Instruction
from qwen_seg_ros.segmentation.qwen import QwenSegmenter
from qwen_seg_ros.segmentation.replay import ReplaySegmenter, load_answers
from qwen_seg_ros.segmentation.result import SegmentationResult
from qwen_seg_ros.segmentation.segmenter import Stop, never
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.settings import Settings, flatten
from qwen_seg_ros.srv import Segment
from qwen_seg_ros.status import Status as Ending
from qwen_seg_ros.status import StatusCode

pytest_plugins = ("node_support.fixtures",)

MANY = "all boxes, balls, cans and cups"


# --- The action over DDS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def patient(blind: Robot) -> Iterator[Robot]:
    """The node has seen no image and waits for one as long as it takes."""
    assert blind.set_parameter("frame_timeout_s", 60.0)[0]
    yield blind
    assert blind.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


def test_a_newer_goal_preempts_an_older_one_at_once(patient: Robot, scene: Scene) -> None:
    patient.heard["segments"].clear()
    older = patient.send_goal(FindGraspTargets.Goal(instruction="things"))
    newer = patient.send_goal(FindGraspTargets.Goal(instruction="the box"))
    patient.spin_until(older.done)
    assert older.result().status == GoalStatus.STATUS_ABORTED and not newer.done()
    status = older.result().result.segments.status
    assert (status.code, status.message) == (Status.CANCELLED, "preempted by a newer goal for the same camera")
    patient.spin_until(newer.done, scene.shot())
    assert newer.result().status == GoalStatus.STATUS_SUCCEEDED and newer.result().result.objects.objects
    patient.spin_until(lambda: len(patient.heard["segments"]) >= 2)
    published = [(m.instruction, m.status.code) for m in patient.heard["segments"]]
    assert published == [("things", Status.CANCELLED), ("the box", Status.OK)], "one answer each"


def test_of_many_goals_the_last_one_is_answered(patient: Robot, scene: Scene) -> None:
    """More than the queue takes: who is preempted waits no longer."""
    goals = [patient.send_goal(FindGraspTargets.Goal(instruction="the box")) for _ in range(QUICK["queue_size"] + 3)]
    patient.spin_until(lambda: all(goal.done() for goal in goals), scene.shot())
    assert [goal.result().status for goal in goals[:-1]] == [GoalStatus.STATUS_ABORTED] * (len(goals) - 1)
    assert goals[-1].result().status == GoalStatus.STATUS_SUCCEEDED


def test_a_goal_leaves_requests_of_the_service_alone(patient: Robot, scene: Scene) -> None:
    asked = patient.begin(Segment, "segment", Segment.Request(instruction="things"))
    goal = patient.send_goal(FindGraspTargets.Goal(instruction="the box"))
    patient.spin_until(lambda: asked.done() and goal.done(), scene.shot())
    assert asked.result().segments.status.code == Status.OK and goal.result().status == GoalStatus.STATUS_SUCCEEDED


# --- Work ends with the request ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def segmenter() -> QwenSegmenter:
    return QwenSegmenter(SegmentationSettings(num_threads=1))


@pytest.fixture
def bench(scene: Scene, segmenter: QwenSegmenter) -> Iterator[Bench]:
    """A worker with the embedded model, before which a camera stands."""
    with node_with({"max_frame_age_s": 0.0}) as node:
        bench = Bench(node, scene.shot(), segmenter)
        bench.see()
        bench.worker.start()
        yield bench
        bench.close()


@pytest.mark.parametrize("passes", [1, 2, 5])
def test_an_answer_can_be_broken_off_between_two_tokens(segmenter: QwenSegmenter, scene: Scene, passes: int) -> None:
    encoded = segmenter.encode(scene.frame).image
    whole = len(segmenter.engine.answer(encoded, MANY).starts)
    asked = iter([False] * passes + [True])
    with pytest.raises(StoppedError) as stopped:
        segmenter.engine.answer(encoded, MANY, stop=lambda: next(asked))
    written = int(str(stopped.value).split("after ")[1].split()[0])
    assert passes <= written < whole, "every pass writes at least one token"
    assert next(asked, None) is None, "it is not asked again"


def test_the_pipeline_stops_inside_the_answer_and_again_before_the_masks(segmenter: QwenSegmenter, scene: Scene) -> None:
    pipeline, asked = Pipeline(segmenter=segmenter), [0]

    def counting(limit: float) -> bool:
        asked[0] += 1
        return asked[0] > limit

    whole = pipeline.run(scene.frame, MANY, plan_grasps=False, cancelled=lambda: counting(np.inf))
    assert whole.segmentation is not None
    passes = asked[0] - 4  # before encode, segment, lift, and before the masks
    for limit, words in ((3, "while the answer was written"), (passes + 2, "before masks")):
        asked[0] = 0
        result = pipeline.run(scene.frame, MANY, cancelled=lambda limit=limit: counting(limit))
        assert result.status.code == StatusCode.DEADLINE and words in result.status.message
        assert result.segmentation is None and "generate" not in result.stage_ms


def interrupted(bench: Bench, act: Callable[[Request], None]) -> tuple[StatusCode, str]:
    """What a request is answered when `act` is done to it while the model begins to write; nothing after that was worked on."""
    request = Request(MANY, True, on_stage=lambda stage: act(request) if stage == "segment" else None, deadline_s=3600.0)
    bench.worker.submit(request)
    answered, answer = bench.next()
    assert answered is request and (answer.result is None or answer.result.segmentation is None)
    following = bench.ask("")  # its answer tells that the worker is done with the other; it takes no stage
    assert bench.next()[0] is following and bench.quiet([request, following])
    spent_ms = bench.worker.stations[""].last_ms
    assert "encode" in spent_ms and not {"generate", "masks", "lift", "grasp"} & set(spent_ms)
    return answer.code, answer.message


def test_cancel_ends_the_work_inside_the_answer(bench: Bench) -> None:
    cancelled = Ending(StatusCode.CANCELLED, "cancelled by the client")
    ending = interrupted(bench, lambda request: bench.worker.end(request, cancelled))
    assert ending == (StatusCode.CANCELLED, "cancelled by the client")


def test_the_deadline_ends_the_work_inside_the_answer(bench: Bench) -> None:
    def let_pass(request: Request) -> None:
        request.received -= 7200.0

    code, message = interrupted(bench, let_pass)
    assert code == StatusCode.DEADLINE and "deadline_s = 3600" in message


def test_who_waits_in_the_queue_is_ended_without_work(bench: Bench) -> None:
    requests = [Request("things", False) for _ in range(2)]
    first = Request("things", False, on_stage=lambda stage: bench.worker.end(requests[0], Ending(StatusCode.CANCELLED, "gone")))
    for request in (first, *requests):
        bench.worker.submit(request)
    answers = {id(request): answer.code for request, answer in (bench.next() for _ in range(3))}
    assert answers[id(requests[0])] == StatusCode.CANCELLED and requests[0].began_s is None
    assert answers[id(requests[1])] != StatusCode.CANCELLED and bench.quiet(requests)


# --- Memory and settings -----------------------------------------------------------------------------------------------------


class Crowded(ReplaySegmenter):
    """A device that has no room for the second look at an image, the first time."""

    looks, full = 0, True

    def encode(self, frame: Frame) -> tuple[int, int]:
        self.looks += 1
        return super().encode(frame)

    def segment(self, encoded: tuple[int, int], instruction: Instruction, stop: Stop = never) -> SegmentationResult:
        if self.full:
            self.full = False
            raise OutOfMemoryError("the device ran out of memory; use a smaller image")
        return super().segment(encoded, instruction, stop)


def test_an_image_for_which_there_was_no_memory_is_not_kept(scene: Scene) -> None:
    with node_with({"max_frame_age_s": 0.0}) as node:
        crowded = Crowded(load_answers(scene.answers))
        bench = Bench(node, scene.shot(), crowded)
        bench.see()
        bench.worker.start()
        codes = []
        for _ in range(3):
            bench.ask("the box")
            codes.append(bench.next()[1].code)
        assert codes == [StatusCode.OUT_OF_MEMORY, StatusCode.OK, StatusCode.OK] and crowded.looks == 2
        bench.close()


def test_what_is_fixed_while_the_node_runs_is_refused_with_the_reason() -> None:
    knobs = flatten(NodeSettings()) | flatten(Settings())
    fixed = {name: knob.value for name, knob in knobs.items() if knob.field.metadata["read_only"]}
    assert {"cameras", "segmentation.checkpoint", "segmentation.device", "grasping.gripper"} <= set(fixed)
    with node_with({}) as node:
        parameters = Parameters(node)
        for name, value in fixed.items():
            other = ["front"] if isinstance(value, tuple) else value
            result = node.set_parameters([Parameter(name, value=other)])[0]
            assert not result.successful and "read-only" in result.reason and name in result.reason
        refused = node.set_parameters([Parameter("queue_size", value=1000), Parameter("mode", value="always")])
        assert not any(result.successful for result in refused)
        assert "queue_size" in refused[0].reason and "one of on_instruction, continuous" in refused[1].reason
        assert parameters.node_settings == NodeSettings() and parameters.pipeline == Settings()
