"""The node and `qwen-seg replay` give the same answers about the same recording, field by field: the node over DDS, from
`qwen-seg play`, with the network that is part of the package."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")
pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")

from node_support.playing import Playing
from node_support.process import NodeProcess, environment
from node_support.robot import ASK_AGAIN_S, PATIENCE_S, Robot
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

from qwen_seg_ros.geometry.sensor_messages import stamp_ns_of
from qwen_seg_ros.offline.bags.result_messages import OBJECTS, SEGMENTS, TARGETS
from qwen_seg_ros.offline.bags.topics import OPTICAL_FRAME, Topics
from qwen_seg_ros.srv import Segment

ROOT = Path(__file__).resolve().parents[1]
BAG = ROOT / "demo" / "bag"
ASKED = ("the blue mug", "both boxes")
SECONDS = 5.0  # three frames
INPUTS = {"image": Topics().colour, "depth": Topics().depth, "camera_info": Topics().info}
ANSWER = {SEGMENTS: "segments", OBJECTS: "objects", TARGETS: "grasp_targets"}  # topic of a recording -> field of the service
Key = tuple[int, str]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> dict[Key, dict[str, Any]]:
    """Stamp and instruction -> the messages of `qwen-seg replay`, with results in the camera's frame like the node's."""
    out = tmp_path_factory.mktemp("replayed") / "out"
    asked = [part for words in ASKED for part in ("-i", words)]
    options = ["--duration", str(SECONDS), "--target-frame", OPTICAL_FRAME, "--out", str(out)]
    command = [sys.executable, "-m", "qwen_seg_ros.cli", "replay", str(BAG), *asked, *options]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[Key, dict[str, Any]] = {}
    with AnyReader([out / "bag"]) as reader:
        for connection, _, raw in reader.messages([c for c in reader.connections if c.topic in ANSWER]):
            message = reader.deserialize(raw, connection.msgtype)
            key = stamp_ns_of(message.header.stamp), message.instruction
            answers.setdefault(key, {})[ANSWER[connection.topic]] = message
    return answers


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """Loads while the replay answers. It must not lose an image: the default, best effort, may."""
    reliable = {f"qos_overrides.{topic}.subscription.reliability": "reliable" for topic in INPUTS.values()}
    patient = {"frame_timeout_s": 20.0, "max_frame_age_s": 0.0, "deadline_s": 120.0, "depth_grace_s": 10.0}
    node = NodeProcess("segmentation_node", tmp_path_factory.mktemp("log") / "node.log", reliable | patient, INPUTS)
    yield node
    node.stop()


class Player:
    """Lets a recording that stands still run to a moment, where it stands still again."""

    def __init__(self, robot: Robot) -> None:
        self._robot, self._now_ns = robot, 0
        robot.node.create_subscription(Clock, "/clock", self._hear, 10)
        self._service = robot.node.create_client(SetBool, "/bag_player/pause")
        self._pause(True)  # once both know each other, no answer is lost

    def run_past(self, stamp_ns: int) -> None:
        self._pause(False)
        self._robot.spin_until(lambda: self._now_ns > stamp_ns)
        self._pause(True)

    def _hear(self, message: Clock) -> None:
        self._now_ns = stamp_ns_of(message.clock)

    def _pause(self, wanted: bool) -> None:
        answer_of(self._robot, self._service, SetBool.Request(data=wanted))


def about(robot: Robot, client: Any, stamp_ns: int, instruction: str) -> Segment.Response:
    """The node's answer about this image, as soon as it has arrived there."""
    request = Segment.Request(instruction=instruction, plan_grasps=True)
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        answer = answer_of(robot, client, request)
        if stamp_ns_of(answer.segments.header.stamp) == stamp_ns:
            return answer
    raise AssertionError(f"no answer about the image of {stamp_ns}, the last: {answer.segments.status}")


def answer_of(robot: Robot, client: Any, request: Any) -> Any:
    """Asked again every few seconds: DDS may lose the answer to a client that the other side has not discovered yet."""
    asked: list[tuple[float, Any]] = []

    def done() -> Any:
        if not asked or time.monotonic() - asked[-1][0] > ASK_AGAIN_S:
            asked.append((time.monotonic(), client.call_async(request)))
        return next((future for _, future in asked if future.done()), None)

    robot.spin_until(client.service_is_ready)
    return robot.spin_until(done).result()


def differences(ours: Any, theirs: Any, place: str) -> Iterator[str]:
    """Between a message of rclpy and one of rosbags: every field that is not exactly equal."""
    if hasattr(ours, "get_fields_and_field_types"):
        for name in ours.get_fields_and_field_types():
            yield from differences(getattr(ours, name), getattr(theirs, name), f"{place}.{name}")
    elif isinstance(ours, list) and len(ours) == len(theirs) > 0 and not isinstance(ours[0], str):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif not np.array_equal(np.asarray(ours), np.asarray(theirs)):
        yield f"{place}: {str(ours)[:200]} and {str(theirs)[:200]}"


def test_the_node_answers_as_the_replay_does(node: NodeProcess, replayed: dict[Key, dict[str, Any]], tmp_path: Path) -> None:
    stamps = sorted({stamp_ns for stamp_ns, _ in replayed})
    robot = Robot(node.name)
    waits = [part for topic in INPUTS.values() for part in ("--wait-for", topic)]
    try:
        with Playing(BAG, tmp_path / "log", "--duration", SECONDS, "--start-paused", *waits) as playing:
            player, client = Player(robot), robot.node.create_client(Segment, f"{robot.target}/segment")
            for stamp_ns in stamps:
                player.run_past(stamp_ns)
                for words in ASKED:
                    answer = about(robot, client, stamp_ns, words)
                    for name, wanted in replayed[stamp_ns, words].items():
                        told = differences(getattr(answer, name), wanted, f"{words!r} at {stamp_ns}: {name}")
                        assert list(told) == []
            playing.must_run()
    finally:
        robot.close()
    objects = [item for answer in replayed.values() for item in answer["objects"].objects]
    targets = [item for answer in replayed.values() for item in answer["grasp_targets"].targets]
    assert len(stamps) == 3 and len(replayed) == 6 and len(objects) >= 3 and len(targets) >= 3, "nothing was compared"
