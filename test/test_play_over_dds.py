"""A recording over DDS: the real command in a process of its own, its bytes, its pause, its end, and what it cannot send."""

import os
import pty
import select
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("rosbags")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

import rclpy
from node_support.playing import Playing
from node_support.process import DOMAIN, environment
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from replay_recordings import COLOUR, DEPTH, INFO, recorded, recording
from rosbags.convert.converter import convert
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool
from typer.testing import CliRunner

from qwen_seg_ros.cli.main import app
from qwen_seg_ros.offline.bags.opening import open_bag
from qwen_seg_ros.offline.bags.player import Manner, Player
from qwen_seg_ros.offline.bags.tracks import Recording
from qwen_seg_ros.ros.bag_player import PlayerNode, message_class


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recording(tmp_path_factory.mktemp("played") / "bag")


@pytest.fixture(autouse=True)
def domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this run alone, and on this machine alone."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(DOMAIN))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


class Robot:
    """Hears serialised messages of some topics, and misses none."""

    def __init__(self, kinds: dict[str, str]) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: list[tuple[str, bytes]] = []
        for topic, kind in kinds.items():
            hear = self.hearing(topic)
            self.node.create_subscription(message_class(kind), topic, hear, 50, raw=True)

    def hearing(self, topic: str) -> Callable[[bytes], None]:
        return lambda data: self.heard.append((topic, bytes(data)))

    def spin_until(self, done: Callable[[], object], seconds: float = 30.0) -> None:
        ends = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < ends, f"heard so far: {[topic for topic, _ in self.heard]}"
            self.executor.spin_once(timeout_sec=0.02)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@pytest.fixture
def robot() -> Iterator[Robot]:
    robot = Robot({COLOUR: "sensor_msgs/msg/Image", DEPTH: "sensor_msgs/msg/Image", INFO: "sensor_msgs/msg/CameraInfo"})
    yield robot
    robot.close()


def test_the_command_publishes_the_recorded_bytes_and_ends_by_itself(bag: Path, robot: Robot, tmp_path: Path) -> None:
    waits = [part for topic in (COLOUR, DEPTH, INFO) for part in ("--wait-for", topic)]
    with Playing(bag, tmp_path / "log", "--rate", 2, *waits) as playing:
        robot.spin_until(lambda: len(robot.heard) == 12)
        assert "played 1" in playing.ends_well()
    for topic in (COLOUR, DEPTH, INFO):
        wanted = [data for _, name, data in recorded(bag) if name == topic]
        heard = [data for name, data in robot.heard if name == topic]
        assert [data[: len(one)] for data, one in zip(heard, wanted, strict=True)] == wanted
        assert all(len(data) - len(one) < 4 for data, one in zip(heard, wanted, strict=True))  # DDS fills up to whole words


def test_the_service_pauses_and_ctrl_c_ends_with_exit_code_0(bag: Path, robot: Robot, tmp_path: Path) -> None:
    clocks: list[int] = []
    robot.node.create_subscription(Clock, "/clock", lambda m: clocks.append(m.clock.sec * 10**9 + m.clock.nanosec), 100)
    pause = robot.node.create_client(SetBool, "/bag_player/pause")
    with Playing(bag, tmp_path / "log", "--loop") as playing:
        robot.spin_until(lambda: playing.must_run() and pause.service_is_ready())
        answer = pause.call_async(SetBool.Request(data=True))
        robot.spin_until(lambda: playing.must_run() and answer.done())
        assert answer.result().success and answer.result().message == "paused"
        robot.spin_until(lambda: len(clocks) > 20 and len(set(clocks[-20:])) == 1)  # still told, but always the same
        heard, told = len(robot.heard), len(clocks)
        robot.spin_until(lambda: len(clocks) > told + 40)
        assert len(robot.heard) == heard and len(set(clocks[told:])) == 1
        pause.call_async(SetBool.Request(data=False))
        robot.spin_until(lambda: playing.must_run() and len(robot.heard) > heard)
        playing.process.send_signal(signal.SIGINT)
        said = playing.ends_well()
    assert "stopped" in said and "played" in said


def test_the_space_bar_pauses_and_the_terminal_is_left_as_it_was(bag: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "env": environment() | {"TERM": "xterm", "COLUMNS": "100"}}
    shown = ""

    def read_until(words: str) -> None:
        nonlocal shown
        ends = time.monotonic() + 30
        while words not in shown:
            assert time.monotonic() < ends, shown
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 65536).decode(errors="replace")

    with Playing(bag, tmp_path / "log", "--start-paused", **terminal) as playing:
        read_until("paused (space goes on)")
        playing.must_run()
        os.write(ours, b" ")
        read_until("played 1")
        playing.ends_well()
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


def test_a_publisher_has_the_qos_that_it_was_offered_with() -> None:
    with PlayerNode(lambda wanted: None) as stage:
        offer = {"kept": 7, "definitions": {"std_msgs/msg/String": ("data",)}}
        assert stage.offer("/quick", "std_msgs/msg/String", reliable=False, latched=False, **offer) == ""
        assert stage.offer("/kept", "std_msgs/msg/String", reliable=True, latched=True, **offer) == ""
        quick, kept = (stage._node.get_publishers_info_by_topic(topic)[0].qos_profile for topic in ("/quick", "/kept"))
        assert (quick.reliability, quick.durability) == (ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
        assert (kept.reliability, kept.durability) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)


REFUSED = {
    "not installed": (
        "far_away_msgs/msg/Thing",
        {},
        "far_away_msgs/msg/Thing is not installed; install the ROS 2 package",
    ),
    "no message": ("os.path", {}, "'os.path' is no type of a ROS 2 message"),
    "a Python module, not of ROS": ("email/msg/Thing", {}, "email/msg/Thing is not installed"),
    "another definition": (
        "sensor_msgs/msg/Image",
        {"std_msgs/msg/Header": ("stamp", "frame_id"), "sensor_msgs/msg/Image": ("header", "pixels")},
        "sensor_msgs/msg/Image was recorded with the fields header, pixels; the installed one has others",
    ),
}


@pytest.mark.parametrize("kind, definitions, reason", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sent_is_refused_with_a_reason(kind: str, definitions: dict, reason: str) -> None:
    with PlayerNode(lambda wanted: None) as stage:
        assert stage.offer("/x", kind, reliable=True, latched=False, kept=1, definitions=definitions).startswith(reason)


def test_a_name_that_only_ros_1_allows_is_refused_with_a_reason() -> None:
    with PlayerNode(lambda wanted: None) as stage:
        offer = {"reliable": True, "latched": False, "kept": 1, "definitions": {}}
        assert stage.offer("/camera-1/info", "std_msgs/msg/String", **offer).startswith(
            "no name of a topic in ROS 2: Invalid topic"
        )


def test_the_types_of_a_recording_are_those_that_are_installed(bag: Path, tmp_path: Path) -> None:
    """Of ROS 2 and of ROS 1, whose names differ in capitals."""
    convert([bag], tmp_path / "old.bag", "sqlite3", 8, None, "file", None, get_typestore(Stores.ROS1_NOETIC), (), (), (), ())
    for file in (bag, tmp_path / "old.bag"):
        with open_bag(file) as reader, PlayerNode(lambda wanted: None) as stage:
            player = Player(Recording(reader, (COLOUR, DEPTH, INFO)), stage, Manner(), lambda player: None)
            assert player.skipped == {}


def test_help_teaches_and_bad_input_is_exit_code_2(bag: Path) -> None:
    shown = CliRunner().invoke(app, ["play", "--help"])
    assert shown.exit_code == 0 and "space bar" in shown.output and "/bag_player/pause" in shown.output
    for arguments, reason in {(bag, "--topics", "/a /b"): "no topic /a", (bag.parent / "none",): "there is no bag"}.items():
        result = CliRunner().invoke(app, ["play", *map(str, arguments)])
        assert result.exit_code == 2 and reason in " ".join(result.output.split())
