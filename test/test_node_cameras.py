"""Several cameras, one model: each has its topics, words, images, ids and diagnostics; none waits for another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from node_support.bench import Bench, node_with
from node_support.fixtures import QUICK, Scene, ready, running
from node_support.process import NodeProcess
from node_support.robot import Robot, Shot
from rclpy.parameter import Parameter
from std_msgs.msg import String

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.msg import Status
from qwen_seg_ros.ros.parameters import PER_CAMERA, NodeSettings, Parameters
from qwen_seg_ros.srv import Segment
from qwen_seg_ros.status import StatusCode

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("front", "wrist")

pytest_plugins = ("node_support.fixtures",)


class ColourRobot(Robot):
    """Talks on the topics of a camera whose depth the node does not want."""

    def connected(self) -> bool:
        ours = (self._image, self._info, self._instruction)
        return all(p.get_subscription_count() for p in ours) and not self._depth.get_subscription_count()


@pytest.fixture(scope="module")
def rig(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A colour-and-depth camera in front and a colour camera at the wrist."""
    yield from running("rig", scene, tmp_path_factory, **{"cameras": "[front, wrist]", "wrist.use_depth": False})


@pytest.fixture(scope="module")
def front(rig: NodeProcess) -> Iterator[Robot]:
    yield from ready(Robot(rig.name, "front"), rig)


@pytest.fixture(scope="module")
def wrist(rig: NodeProcess) -> Iterator[Robot]:
    yield from ready(ColourRobot(rig.name, "wrist"), rig)


@pytest.fixture
def shots(scene: Scene) -> dict[str, Shot]:
    """What each camera sees: the same, in a frame of its own."""
    return {name: scene.shot(frame_id=f"{name}_optical") for name in NAMES}


def until(robots: tuple[Robot, ...], done: Callable[[], Any], shots: dict[str, Shot]) -> None:
    """Both robots work and publish what their cameras see."""
    def step() -> bool:
        for other in robots[1:]:
            other.spin_until(lambda: True)
            if other.camera in shots:
                other.publish(shots[other.camera])
            other.executor.spin_once(timeout_sec=0.02)
        return bool(done())

    robots[0].spin_until(step, shots.get(robots[0].camera))


# --- Over DDS ----------------------------------------------------------------------------------------------------------------


def test_a_camera_is_asked_and_answers_on_topics_of_its_own(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    segments, objects, grasps = front.answer_set("the box", shots["front"])
    assert segments.status.code == Status.OK and objects.objects and grasps.targets
    assert segments.header.frame_id == objects.header.frame_id == "front_optical"
    wrist.executor.spin_once(timeout_sec=0.2)
    assert not wrist.heard["segments"], "nobody asked this camera"


def test_what_is_given_for_one_camera_holds_for_it_alone(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    segments, objects, _ = wrist.answer_set("the box", shots["wrist"])
    assert segments.status.code == Status.OK and "use_depth is false" in segments.status.message
    assert segments.segments and not objects.objects and segments.header.frame_id == "wrist_optical"
    assert front.segment("the box", shot=shots["front"]).objects.objects
    assert front.describe("wrist.use_depth").description == front.describe("use_depth").description


def test_one_instruction_for_all_is_answered_by_each(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    for robot in (front, wrist):
        robot.heard["segments"].clear()
    everybody = front.node.create_publisher(String, "instruction", 10)
    front.spin_until(everybody.get_subscription_count)
    everybody.publish(String(data="things"))
    until((front, wrist), lambda: front.heard["segments"] and wrist.heard["segments"], shots)
    frames = [robot.heard["segments"][0].header.frame_id for robot in (front, wrist)]
    assert frames == ["front_optical", "wrist_optical"]
    front.node.destroy_publisher(everybody)


def test_a_request_names_its_camera_or_gets_the_first(front: Robot, shots: dict[str, Shot]) -> None:
    nameless = front.call(Segment, "segment", Segment.Request(instruction="the box"), shots["front"])
    assert nameless.segments.header.frame_id == "front_optical"
    status = front.call(Segment, "segment", Segment.Request(instruction="the box", camera="frnt")).segments.status
    assert status.code == Status.INVALID_INPUT and "no camera 'frnt'; known are front, wrist" in status.message


def test_nobody_waits_for_the_images_of_another_camera(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    front.restart()
    assert front.set_parameter("frame_timeout_s", 60.0)[0]
    waiting = wrist.begin(Segment, "segment", Segment.Request(instruction="the box", camera="wrist"))
    assert front.segment("the box", shot=shots["front"]).segments.status.code == Status.OK
    assert not waiting.done()
    assert front.set_parameter("frame_timeout_s", 0.1)[0]
    wrist.spin_until(waiting.done)
    status = waiting.result().segments.status
    assert status.code == Status.NO_FRAME and "no image on /wrist/image" in status.message
    assert "remap `wrist/image`" in status.message
    assert front.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


def test_a_goal_for_one_camera_leaves_that_of_another_alone(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    front.restart()
    assert front.set_parameter("frame_timeout_s", 60.0)[0]
    goals = [robot.send_goal(FindGraspTargets.Goal(instruction="the box", camera=robot.camera)) for robot in (front, wrist)]
    until((front, wrist), lambda: all(goal.done() for goal in goals), shots)
    assert [goal.result().status for goal in goals] == [GoalStatus.STATUS_SUCCEEDED] * 2
    assert front.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


def test_continuous_mode_follows_every_camera_with_its_own_words(front: Robot, wrist: Robot, shots: dict[str, Shot]) -> None:
    assert front.set_parameter("mode", "continuous")[0]
    for robot, words in ((front, "things"), (wrist, "the box")):
        robot.heard["segments"].clear()
        robot.say(words)
    until((front, wrist), lambda: min(len(robot.heard["segments"]) for robot in (front, wrist)) >= 4, shots)
    assert {m.instruction for m in front.heard["segments"][-2:]} == {"things"}
    assert {m.instruction for m in wrist.heard["segments"][-2:]} == {"the box"}
    ids = [[segment.track_id for segment in robot.heard["segments"][-1].segments] for robot in (front, wrist)]
    assert ids == [["1", "2"], ["1"]], "each camera counts for itself"
    assert front.set_parameter("mode", "on_instruction")[0]


def test_diagnostics_speak_of_each_camera(front: Robot, shots: dict[str, Shot]) -> None:
    front.restart()
    reports: dict[str, DiagnosticStatus] = {}
    heard = front.node.create_subscription(
        DiagnosticArray, "/diagnostics", lambda m: reports.update({status.name: status for status in m.status}), 10
    )
    well = "rig: front"
    front.spin_until(lambda: well in reports and reports[well].level == DiagnosticStatus.OK, shots["front"])
    assert set(reports) == {"rig: front", "rig: wrist"}
    assert reports["rig: wrist"].level == DiagnosticStatus.WARN and "/wrist/image" in reports["rig: wrist"].message
    front.node.destroy_subscription(heard)


# --- Turns -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(scene: Scene) -> Iterator[Bench]:
    """Two cameras; the worker is not started yet."""
    values = {
        "segmentation.segmenter": "replay", "segmentation.checkpoint": str(scene.answers), "cameras": list(NAMES),
        "tracking.refresh_s": 0.0,
    }
    with node_with(values) as node:
        bench = Bench(node, scene.shot())
        yield bench
        bench.close()


def order(bench: Bench, count: int) -> list[str]:
    """Whose the next `count` answers are; all must be well."""
    answers = [bench.next() for _ in range(count)]
    assert {answer.code for _, answer in answers} == {StatusCode.OK}
    return [request.camera for request, _ in answers]


def test_in_continuous_mode_the_cameras_take_turns(bench: Bench) -> None:
    """With always a new image of both, however fast they come."""
    bench.set("mode", "continuous")
    bench.see()
    for name in NAMES:
        bench.ask(camera=name, standing=True)
    bench.then_do = bench.see
    bench.worker.start()
    assert order(bench, 12)[2:] in (["front", "wrist"] * 5, ["wrist", "front"] * 5)


def test_a_camera_that_is_asked_without_end_does_not_starve_another(bench: Bench) -> None:
    bench.see()
    for name in ("front", "front", "front", "wrist"):
        bench.ask(camera=name)
    bench.then_do = lambda: bench.ask(camera="front") and None
    bench.worker.start()
    assert "wrist" in order(bench, 2)


def test_the_queue_of_a_camera_is_its_own(bench: Bench) -> None:
    limit = bench.parameters.node_settings.queue_size
    for _ in range(limit + 1):
        bench.ask(camera="front")
    request, answer = bench.next()
    assert (request.camera, answer.code) == ("front", StatusCode.BUSY)
    bench.ask(camera="wrist")
    assert bench.answered.empty()


# --- Names and parameters ----------------------------------------------------------------------------------------------------


SEVENTEEN = tuple("abcdefghijklmnopq")


@pytest.mark.parametrize("names", [("front", "front"), ("",), ("1st",), ("a b",), ("a__b",), ("a/b",), (3,), SEVENTEEN])
def test_names_that_make_no_topics_are_refused(names: tuple) -> None:
    with pytest.raises(SettingsError, match="cameras must be"):
        NodeSettings(cameras=names)


def parameters_of(**given: Any) -> Parameters:
    with node_with({name.replace("__", "."): value for name, value in given.items()}) as node:
        return Parameters(node)


def test_a_camera_follows_the_node_in_what_was_not_given_for_it() -> None:
    parameters = parameters_of(cameras=list(NAMES), wrist__sync_tolerance_s=1, image_is_rectified=True)
    assert parameters.of("wrist").sync_tolerance_s == 1.0 != parameters.of("front").sync_tolerance_s
    assert parameters.of("wrist").image_is_rectified and parameters.of("front").image_is_rectified
    assert parameters._on_set([Parameter("sync_tolerance_s", value=0.2), Parameter("depth_grace_s", value=3.0)]).successful
    assert [parameters.of(name).sync_tolerance_s for name in NAMES] == [0.2, 1.0]
    assert [parameters.of(name).depth_grace_s for name in NAMES] == [3.0, 3.0]
    assert not parameters._on_set([Parameter("wrist.sync_tolerance_s", value=-1.0)]).successful
    assert parameters.of("wrist").sync_tolerance_s == 1.0


def test_mistakes_in_cameras_are_told_before_the_node_is_configured() -> None:
    assert "cameras must be names" in parameters_of(cameras=["front/left"]).problems["cameras"]
    assert "must be a list" in parameters_of(cameras="front").problems["cameras"]
    problems = parameters_of(cameras=["front"], front__use_deph=False, wrist__use_depth=False).problems
    assert "did you mean front.use_depth" in problems["front.use_deph"] and "wrist.use_depth" in problems
    problems = parameters_of(cameras=["front"], front__sync_tolerance_s=99.0).problems
    assert "between 0.0 and 10.0" in problems["front.sync_tolerance_s"]


def test_the_page_names_what_can_be_given_for_one_camera() -> None:
    page = (ROOT / "docs" / "cameras.md").read_text()
    assert all(f"`{name}`" in page.split("## Several cameras")[1].split("\n## ")[0] for name in PER_CAMERA)
