"""Time that jumps, stands still or is not there: answers carry the stamp of the frame that was seen, nothing waits for ever."""

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from node_support.fixtures import QUICK, Scene, ready, running
from node_support.process import DOMAIN, NodeProcess
from node_support.robot import Robot, Shot
from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.geometry.sensor_messages import stamp_ns_of
from qwen_seg_ros.msg import Status
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.messages_out import header
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.srv import Segment

pytest_plugins = ("node_support.fixtures",)
S = 10**9
TOPICS = {name: f"/{name}" for name in ("image", "depth", "camera_info", "depth_camera_info")}


class TimeLord(Robot):
    """A robot that publishes /clock, too. `shift_ns`: between this machine's time and the robot's, images and /clock alike."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.clock = self.node.create_publisher(Clock, "/clock", 10)
        self.ticks = False
        self.shift_ns = 0
        self.stamps: list[int] = []

    def now_ns(self) -> int:
        return time.time_ns() + self.shift_ns

    def set_time(self, now_ns: int) -> None:
        self.shift_ns = now_ns - time.time_ns()
        self.stamps.clear()

    def publish(self, shot: Shot, stamp_ns: int | None = None) -> None:
        now = self.now_ns() if stamp_ns is None else stamp_ns
        if self.ticks:
            self.tell(now)
        self.stamps.append(now)
        super().publish(shot, now)

    def tell(self, now_ns: int) -> None:
        sec, nanosec = divmod(now_ns, S)
        self.clock.publish(Clock(clock=Time(sec=sec, nanosec=nanosec)))

    def ok(self, shot: Shot) -> int:
        """The stamp of the first answer on a whole image; it is one that was sent since time was set."""
        for _ in range(10):
            segments = self.segment("the box", shot=shot).segments
            if segments.status.code == Status.OK and stamp_ns_of(segments.header.stamp) in self.stamps:
                return stamp_ns_of(segments.header.stamp)
        raise AssertionError(segments.status.message)


@pytest.fixture(scope="module")
def node(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    yield from running("node_in_time", scene, tmp_path_factory, use_sim_time=True)


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[TimeLord]:
    yield from ready(TimeLord(node.name), node)


@pytest.fixture
def blind(robot: TimeLord) -> TimeLord:
    robot.restart()
    return robot


def test_without_a_clock_it_answers_and_reports(blind: TimeLord, scene: Scene) -> None:
    """The first test: nobody has published /clock yet, and for the node it is the year 1970."""
    blind.ok(scene.shot())
    assert blind.diagnostics(lambda report: int(report["images"]) > 0, scene.shot()), "the timer of the diagnostics runs"
    assert stamp_ns_of(blind.segment("").segments.header.stamp) == 0, "an answer without a frame has the node's time"


def test_a_clock_that_jumps_is_followed(robot: TimeLord, node: NodeProcess, scene: Scene) -> None:
    robot.ticks = True
    for now_s in (1000, 10**9, 50, 2**31 - 100, 0):
        robot.set_time(now_s * S)
        assert robot.ok(scene.shot()) >= now_s * S
    assert node.alive() and "a callback failed" not in node.log


def test_stages_take_no_negative_time(robot: TimeLord, scene: Scene) -> None:
    """The clock is set back while a goal waits for its image."""
    robot.set_time(5000 * S)
    robot.ok(scene.shot())
    robot.restart()
    assert robot.set_parameter("frame_timeout_s", 60.0)[0]
    elapsed: list[int] = []
    sent = robot.action.send_goal_async(
        FindGraspTargets.Goal(instruction="the box"), feedback_callback=lambda m: elapsed.append(stamp_ns_of(m.feedback.elapsed))
    )
    robot.spin_until(sent.done)
    robot.set_time(10 * S)
    result = sent.result().get_result_async()
    robot.spin_until(lambda: result.done() and len(elapsed) > 1, scene.shot())
    assert elapsed == sorted(elapsed) and elapsed[0] >= 0
    assert robot.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


def test_a_time_before_zero_on_the_clock_is_left(robot: TimeLord, node: NodeProcess, scene: Scene) -> None:
    """rclpy raises where it reads it."""
    robot.spin_until(lambda: "a callback failed and was left: ValueError" in node.log or robot.tell(-S))
    robot.set_time(200 * S)
    robot.ok(scene.shot())
    assert node.alive()


def test_a_bag_in_a_loop_is_followed_in_continuous_mode(robot: TimeLord, scene: Scene) -> None:
    """Each round begins a second and a half back. Objects get new ids, because nobody knows what happened in between."""
    assert robot.set_parameter("mode", "continuous")[0]
    robot.heard["segments"].clear()
    ids = []
    for _ in range(2):
        robot.set_time(3000 * S)
        robot.heard["segments"].clear()

        def seen() -> list[Any]:
            return [m for m in robot.heard["segments"] if stamp_ns_of(m.header.stamp) in robot.stamps and m.segments]

        robot.say("the box")
        robot.spin_until(lambda: len(seen()) > 3 and robot.now_ns() > 3001.5 * S, scene.shot())
        stamps = [stamp_ns_of(m.header.stamp) for m in seen()]
        assert stamps == sorted(stamps)
        ids.append({segment.track_id for m in seen()[-2:] for segment in m.segments})
    assert len(set.union(*ids)) == 2 and all(len(one) == 1 for one in ids)


def test_a_camera_that_stops_is_not_answered_on_again_and_comes_back(robot: TimeLord, scene: Scene) -> None:
    """Still in continuous mode."""
    robot.spin_until(lambda: robot.heard["segments"], scene.shot())
    robot.rest(0.5)
    count = len(robot.heard["segments"])
    robot.rest(0.5)
    assert len(robot.heard["segments"]) == count
    robot.set_time(100 * S)  # the driver starts anew
    robot.spin_until(lambda: stamp_ns_of(robot.heard["segments"][-1].header.stamp) < 200 * S, scene.shot())
    assert robot.set_parameter("mode", "on_instruction")[0]


def test_a_camera_info_that_arrives_late_is_waited_for(robot: TimeLord, scene: Scene) -> None:
    """Its stamp is of no matter: drivers with a fixed calibration send it once, before or after the images."""
    assert robot.set_parameter("frame_timeout_s", 60.0)[0]
    robot.restart()
    for number, info_ns in enumerate((0, 10**6 * S)):
        whole = scene.shot(frame_id=f"camera_{number}")
        pictures, info = replace(whole, camera=None), replace(whole, rgb=None, depth=None)
        robot.diagnostics(lambda report: int(report["pairs"]) > 3, pictures)
        asked = robot.begin(Segment, "segment", Segment.Request(instruction="the box"))
        robot.rest(0.5, pictures)
        assert not asked.done(), asked.result().segments.status
        Robot.publish(robot, info, info_ns)
        robot.spin_until(asked.done, pictures)
        segments = asked.result().segments
        assert segments.status.code == Status.OK and segments.header.frame_id == whole.frame_id
        assert stamp_ns_of(segments.header.stamp) in robot.stamps
    assert robot.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


FAR = 2**31 * S - 1


@pytest.mark.parametrize("stamp_ns", [0, -5 * S, -(2**31) * S, FAR])
def test_stamps_of_any_time_are_sent_back(blind: TimeLord, scene: Scene, stamp_ns: int) -> None:
    """A camera without a clock stamps everything 0. Whatever it is, colour and depth of one stamp are a pair."""
    blind.ticks = False
    for _ in range(10):
        future = blind.begin(Segment, "segment", Segment.Request(instruction="the box"))
        while not future.done():
            blind.publish(scene.shot(), stamp_ns)
            blind.rest(0.05)
        segments = future.result().segments
        if segments.status.code == Status.OK:
            break
    assert segments.status.code == Status.OK and stamp_ns_of(segments.header.stamp) == stamp_ns


def test_two_cameras_on_one_topic_are_told(blind: TimeLord, scene: Scene) -> None:
    """Their clocks differ by an hour: with every image time jumps, and no colour image finds its depth image."""
    depth, colour = scene.shot(rgb=None), scene.shot(depth=None)
    future = blind.begin(Segment, "segment", Segment.Request(instruction="the box"))
    now = time.time_ns()
    while not future.done():
        for ns, shot in ((now, colour), (now - 3600 * S, colour), (now - 7200 * S, depth)):
            blind.publish(shot, ns)
            blind.executor.spin_once(timeout_sec=0.02)
        now += S // 20
    status = future.result().segments.status
    assert status.code == Status.NO_FRAME and "do two cameras publish there?" in status.message, status.message


# --- without a node --------------------------------------------------------------------------------------------------------


def mailbox() -> FrameSource:
    frames = FrameSource(TOPICS, lambda: NodeSettings(depth_grace_s=0.0))
    frames.on_info(CameraInfo(header=header(0, "camera")))
    return frames


@given(st.lists(st.one_of(st.just(0), st.integers(-(2**31) * S, FAR)), min_size=1, max_size=12))
def test_after_any_jumps_an_image_of_the_newest_time_is_handed_out(stamps: list[int]) -> None:
    """Whatever came before, the last image is seen unless one with a later stamp, of less than a second later, is there."""
    frames = mailbox()
    for stamp in stamps:
        frames.on_depth(Image(header=header(stamp, "camera")))
        frames.on_image(Image(header=header(stamp, "camera")))
    view = frames.take()
    assert view is not None and view.depth is not None
    assert stamps[-1] <= view.stamp == stamp_ns_of(view.depth.header.stamp) <= stamps[-1] + S


def test_of_images_without_stamps_the_last_is_the_newest() -> None:
    frames = mailbox()
    for number in range(7):
        frames.on_depth(Image(header=header(0, "camera"), width=number))
        frames.on_image(Image(header=header(0, "camera"), width=number))
        view = frames.take(new=True)
        assert view is not None and view.depth is not None and view.image.width == view.depth.width == number


def test_tf2_hears_again_after_time_began_anew() -> None:
    """Its buffer refuses everything older than ten seconds before its newest transform."""
    pytest.importorskip("tf2_ros", reason="tf2_ros is not on PyPI: runs in a ROS 2 workspace only")
    from qwen_seg_ros.ros.transforms import Tf2Source

    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node("hears_transforms", context=context)
    try:
        source = Tf2Source(node)
        for now_ns in (1000 * S, 5 * S):
            link = TransformStamped(header=header(now_ns, "base"), child_frame_id="camera")
            link.transform.rotation.w = 1.0
            with pytest.raises(LookupError):
                source.lookup("base", "camera", now_ns, 0.0)
            source._buffer.set_transform(link, "test")
            assert source.lookup("base", "camera", now_ns, 0.0).shape == (4, 4)
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
