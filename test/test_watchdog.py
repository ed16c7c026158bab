"""A worker that hangs or ends: told with its stage, answered for once, and the node goes on."""

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from node_support.bench import Bench, node_with
from node_support.fixtures import Scene
from node_support.process import DOMAIN
from node_support.robot import PATIENCE_S, Robot
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.msg import Status
from qwen_seg_ros.ros.diagnostics import diagnostic_array
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.segmentation_node import SegmentationNode
from qwen_seg_ros.segmentation.replay import ReplaySegmenter, load_answers
from qwen_seg_ros.segmentation.segmenter import SEGMENTERS
from qwen_seg_ros.segmentation.settings import SegmentationSettings
from qwen_seg_ros.srv import Segment
from qwen_seg_ros.status import StatusCode

pytest_plugins = ("node_support.fixtures",)

SOON_S = 0.05
QUICK = {"deadline_s": 3.0, "stuck_after_s": SOON_S, "frame_timeout_s": 60.0, "max_frame_age_s": 0.0}


class Device:
    """What a driver does to the thread that calls it: nothing, hang until it is released, or end it."""

    def __init__(self) -> None:
        self.entered, self.released, self.hangs, self.ends = threading.Event(), threading.Event(), False, False

    def use(self) -> None:
        self.entered.set()
        if self.ends:
            self.ends = False
            raise SystemExit("driver lost")
        self.ask()

    def ask(self) -> None:
        if self.hangs:
            assert self.released.wait(60)


class OnDevice(ReplaySegmenter):
    """Stored answers, from a device. There is no other way to a hang than to hang."""

    device = Device()

    def encode(self, frame: Frame) -> tuple[int, int]:
        self.device.use()
        return super().encode(frame)

    def info(self) -> dict[str, str]:
        self.device.ask()
        return super().info()

    def with_settings(self, settings: SegmentationSettings) -> "OnDevice":
        return self


def on_device(settings: SegmentationSettings) -> OnDevice:
    return OnDevice(load_answers(settings.checkpoint))


@pytest.fixture
def device() -> Iterator[Device]:
    OnDevice.device = Device()
    yield OnDevice.device
    OnDevice.device.released.set()


# --- The worker alone --------------------------------------------------------------------------------------------------------


class Watched(Bench):
    def __init__(self, node: Node, scene: Scene) -> None:
        super().__init__(node, scene.shot(), OnDevice(load_answers(scene.answers)))
        self._node = node

    def watch_until_answered(self, request: Request) -> None:
        """As the node's timer does."""
        ends = time.monotonic() + PATIENCE_S
        while not request.answered():
            assert time.monotonic() < ends, "nobody answers for the worker"
            self.worker.watch()
            time.sleep(0.01)

    def report(self) -> DiagnosticStatus:
        """Of cameras that are well."""
        self.see()
        return diagnostic_array(self._node, "active", self.cameras.values(), self.worker).status[0]


@pytest.fixture
def bench(scene: Scene, device: Device) -> Iterator[Watched]:
    with node_with(QUICK | {"cameras": ["front", "wrist"]}) as node:
        bench = Watched(node, scene)
        bench.see()
        bench.worker.start()
        yield bench
        device.released.set()
        bench.close()


def test_a_worker_that_hangs_is_answered_for_and_comes_back(bench: Watched, device: Device) -> None:
    device.hangs = True
    stuck = bench.ask(camera="front", deadline_s=3600.0)
    assert device.entered.wait(60)
    waiting = [bench.ask(camera=name, deadline_s=3600.0) for name in ("front", "wrist")]
    stuck.received -= 7200.0
    bench.watch_until_answered(stuck)
    answers = dict(bench.next() for _ in range(3))
    assert [answers[request].code for request in (stuck, *waiting)] == [StatusCode.DEADLINE, StatusCode.BUSY, StatusCode.BUSY]
    assert all("'encode'" in answer.message for answer in answers.values())
    assert all("restart the node" in answers[request].message for request in waiting)

    later, refused = bench.ask(camera="wrist"), bench.next()
    assert refused[0] is later and refused[1].code == StatusCode.BUSY and "'encode'" in refused[1].message
    assert bench.report().level == DiagnosticStatus.ERROR and "'encode'" in bench.report().message
    bench.worker.watch()
    assert bench.quiet([stuck, *waiting, later]), "nobody is answered twice while it hangs"

    device.hangs = False
    device.released.set()
    assert bench.quiet([stuck]), "nor when it comes back"
    assert answer_to(bench, bench.ask(camera="wrist")).code == StatusCode.OK
    assert bench.report().level == DiagnosticStatus.OK, bench.report().message


@pytest.mark.parametrize("deadline_s", [3600.0, 0.0])
def test_a_worker_that_may_still_take_its_time_is_left_alone(bench: Watched, device: Device, deadline_s: float) -> None:
    device.hangs = True
    slow = bench.ask(camera="front", deadline_s=deadline_s)
    assert device.entered.wait(60)
    slow.received -= 60.0
    bench.worker.watch()
    assert not slow.answered() and bench.report().level == DiagnosticStatus.OK
    device.released.set()
    assert answer_to(bench, slow).code == StatusCode.OK


@pytest.mark.parametrize("stuck_after_s", [3600.0, 0.0])
def test_a_deadline_is_kept_while_the_worker_is_in_a_long_stage(bench: Watched, device: Device, stuck_after_s: float) -> None:
    bench.set("stuck_after_s", stuck_after_s)
    device.hangs = True
    slow = bench.ask(camera="front", deadline_s=3600.0)
    assert device.entered.wait(60)
    behind, patient = bench.ask(camera="wrist", deadline_s=3600.0), bench.ask(camera="wrist")
    for request in (slow, behind):
        request.received -= 3700.0
    bench.worker.watch()
    answers = dict(bench.next() for _ in range(2))
    assert [answers[request].code for request in (slow, behind)] == [StatusCode.DEADLINE] * 2
    assert "'encode'" in answers[slow].message and "'waiting'" in answers[behind].message
    assert bench.report().level == DiagnosticStatus.OK and not patient.answered(), "slow is not stuck"
    device.released.set()
    assert answer_to(bench, patient).code == StatusCode.OK and bench.quiet([slow, behind])


def test_a_worker_that_ended_is_replaced(bench: Watched, device: Device) -> None:
    device.ends = True
    first, second = (bench.ask(camera="front") for _ in range(2))
    bench.watch_until_answered(first)
    answer = answer_to(bench, first)
    assert answer.code == StatusCode.INTERNAL_ERROR and "SystemExit: driver lost" in answer.message
    assert answer_to(bench, second).code == StatusCode.OK and bench.quiet([first, second])
    report = bench.report()
    assert report.level == DiagnosticStatus.WARN and "SystemExit: driver lost" in report.message
    assert {"worker restarts": "1"}.items() <= {value.key: value.value for value in report.values}.items()


def answer_to(bench: Watched, request: Request) -> Answer:
    """The next answer, which must be that request's."""
    answered, answer = bench.next()
    assert answered is request
    return answer


# --- The whole node ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def robot(scene: Scene, device: Device, monkeypatch: pytest.MonkeyPatch) -> Iterator[Robot]:
    """Talks over DDS to a node on another thread of this process, whose segmenter is on the device."""
    monkeypatch.setitem(SEGMENTERS, "replay", f"{__name__}:on_device")
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    values = QUICK | {"segmentation.segmenter": "replay", "segmentation.checkpoint": str(scene.answers)}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = SegmentationNode(context=context, parameter_overrides=overrides)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.start()
    spinning = threading.Thread(target=executor.spin, daemon=True)
    spinning.start()
    robot = Robot("segmentation_node")
    robot.spin_until(robot.connected)
    yield robot
    robot.close()
    device.released.set()
    executor.shutdown()
    spinning.join(10)
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_the_node_tells_of_a_hang_and_is_not_activated_upon_it(robot: Robot, scene: Scene, device: Device) -> None:
    reports: list[DiagnosticStatus] = []
    robot.node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: reports.extend(m.status), 10)
    device.hangs = True
    status = robot.segment("the box", shot=scene.shot()).segments.status
    assert status.code == Status.DEADLINE and "'encode'" in status.message
    busy = robot.call(Segment, "segment", Segment.Request(instruction="the box")).segments.status
    assert busy.code == Status.BUSY and "'encode'" in busy.message
    robot.spin_until(lambda: any(r.level == DiagnosticStatus.ERROR and "'encode'" in r.message for r in reports))

    assert robot.change_state(Transition.TRANSITION_DEACTIVATE)
    assert not robot.change_state(Transition.TRANSITION_ACTIVATE), "two workers must not share a model"
    device.hangs = False
    device.released.set()
    robot.spin_until(lambda: robot.change_state(Transition.TRANSITION_ACTIVATE))
    robot.spin_until(robot.connected)
    assert robot.set_parameter("deadline_s", 30.0)[0]
    assert robot.segment("the box", shot=scene.shot()).segments.status.code == Status.OK
