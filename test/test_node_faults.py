"""What breaks around the node: partners that die, messages that contradict themselves, storms, many clients at once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
import rclpy
from node_support.fixtures import QUICK, Scene, ready
from node_support.partner import Partner, save_shot
from node_support.process import NodeProcess
from node_support.robot import Robot, Shot, camera_info, stamped
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image

from qwen_seg_ros.geometry.sensor_messages import stamp_ns_of
from qwen_seg_ros.msg import GraspPreferences, Status
from qwen_seg_ros.srv import Segment

pytest_plugins = ("node_support.fixtures",)
MB = 1 << 20
ASK_AGAIN_S = 10.0
NOTHING = Shot(None, None, None)  # another camera is on the topics


class OddRobot(Robot):
    """A robot whose camera says strange things: `change_image`, `change_info` are done to every message on its way."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.change_image: Callable[[Image], Any] = lambda msg: None
        self.change_info: Callable[[CameraInfo], Any] = lambda msg: None

    def picture(self, pixels: np.ndarray, encoding: str, frame_id: str, stamp_ns: int) -> Image:
        msg = super().picture(pixels, encoding, frame_id, stamp_ns)
        if pixels.ndim == 3:
            self.change_image(msg)
        return msg

    def publish(self, shot: Shot, stamp_ns: int | None = None) -> None:
        if shot.camera is not None:
            info = stamped(camera_info(shot.camera), shot.frame_id, time.time_ns())
            self.change_info(info)
            self._info.publish(info)
        super().publish(replace(shot, camera=None), stamp_ns)

    def segment(
        self, instruction: str, plan_grasps: bool = True, shot: Shot | None = None, preferences: GraspPreferences | None = None
    ) -> Segment.Response:
        """By a new client where the old one hears nothing: Fast DDS may forget a client when its neighbours are killed."""
        request = Segment.Request(instruction=instruction, plan_grasps=plan_grasps)
        request.preferences = preferences or GraspPreferences()
        for _ in range(3):
            future, ends = self.begin(Segment, "segment", request), time.monotonic() + ASK_AGAIN_S
            while not future.done() and time.monotonic() < ends:
                self.rest(0.05, shot)
            if future.done():
                return future.result()
            self.node.destroy_client(self._clients.pop("segment"))
        raise AssertionError("three clients got no answer")

    def asked_until(self, code: int, shot: Shot, instruction: str = "the box") -> Segment.Response:
        """The first answer with this code. DDS may lose large images, and a change reaches the node's topics one by one."""
        for _ in range(10):
            response = self.segment(instruction, shot=shot)
            if response.segments.status.code == code:
                break
        assert response.segments.status.code == code, response.segments.status.message
        return response


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[OddRobot]:
    yield from ready(OddRobot(node.name), node)


@pytest.fixture
def blind(robot: OddRobot) -> OddRobot:
    robot.restart()
    return robot


# --- partners that die -----------------------------------------------------------------------------------------------------


def test_a_camera_that_was_killed_is_told_and_its_successor_is_seen(blind: OddRobot, scene: Scene, tmp_path: Path) -> None:
    shot = save_shot(tmp_path / "shot.npz", scene.shot())
    assert blind.set_parameter("max_frame_age_s", 0.5)[0]
    with Partner("camera", shot):
        blind.asked_until(Status.OK, NOTHING)
    blind.spin_until(lambda: "the last image on /image came" in blind.segment("the box").segments.status.message)
    killed_ns = time.time_ns()
    with Partner("camera", shot):
        assert stamp_ns_of(blind.asked_until(Status.OK, NOTHING).segments.header.stamp) > killed_ns
    assert blind.set_parameter("max_frame_age_s", 5.0)[0]


@pytest.mark.parametrize("kind", ["service", "goal"])
def test_a_client_that_was_killed_while_it_waits_is_answered_once_and_the_next_is_served(
    blind: OddRobot, node: NodeProcess, scene: Scene, kind: str
) -> None:
    assert blind.set_parameter("frame_timeout_s", 60.0)[0]
    blind.heard["segments"].clear()
    with Partner(kind, node.name, f"asked by {kind}") as partner:
        partner.kill()
    blind.segment("the box", shot=scene.shot())
    blind.rest(0.5)
    answered = Counter(message.instruction for message in blind.heard["segments"])
    assert answered["the box"] >= 1 >= answered[f"asked by {kind}"] and node.alive()
    assert kind == "service" or answered["asked by goal"] == 1, "a goal that was accepted"
    assert "a callback failed" not in node.log and "could not be sent" not in node.log
    assert blind.set_parameter("frame_timeout_s", QUICK["frame_timeout_s"])[0]


# --- messages that contradict themselves -----------------------------------------------------------------------------------


def to(**fields: Any) -> Callable[[Any], None]:
    def change(msg: Any) -> None:
        for name, value in fields.items():
            setattr(msg, name, value)

    return change


UINT32 = 2**32 - 1
IMAGES = {
    "no bytes": (to(data=b""), ["got step 960 and 0 bytes"]),
    "no size": (to(width=0, height=0, step=0, data=b""), ["image of 0x0"]),
    "no step": (to(step=0), ["needs a step of at least 960", "got step 0"]),
    "a step too long": (to(step=UINT32), ["got step 4294967295"]),
    "giant width": (to(width=UINT32), ["image of 4294967295x240"]),
    "giant height": (to(height=UINT32), ["image of 320x4294967295"]),
    "giant": (to(width=UINT32, height=UINT32, step=UINT32), ["image of 4294967295x4294967295"]),
    "no encoding": (to(encoding=""), ["has the encoding ''"]),
    "long encoding": (to(encoding="x" * 100_000), ["has the encoding 'xxx"]),
    "depth's encoding": (to(encoding="32FC1"), ["has the encoding '32FC1'", "rgb8"]),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_that_contradicts_itself_is_refused(blind: OddRobot, scene: Scene, case: str) -> None:
    blind.change_image, words = IMAGES[case]
    try:
        message = blind.asked_until(Status.INVALID_INPUT, scene.shot()).segments.status.message
    finally:
        blind.change_image = to()
    assert [w for w in words if w not in message] == [], message


def k(fx: float = 288.0, cx: float = 160.0) -> Callable[[Any], None]:
    return to(k=[fx, 0.0, cx, 0.0, fx, 120.0, 0.0, 0.0, 1.0])


NAN, INF = float("nan"), float("inf")


def crop_at_the_end_of_the_world(info: CameraInfo) -> None:
    info.roi.x_offset = UINT32


CALIBRATIONS = {
    "NaN": (k(fx=NAN), "K[0] is nan"),
    "NaN centre": (k(cx=NAN), "finite intrinsics"),
    "infinite": (k(fx=INF), "finite intrinsics"),
    "no focal length": (k(fx=1e-30), "describes no lens: fx=1e-30"),
    "a telescope": (k(fx=1e30), "describes no lens: fx=1e+30"),
    "centre far off": (k(cx=1e30), "describes no lens"),
    "crop far off": (crop_at_the_end_of_the_world, "region of interest"),
    "NaN distortion": (to(d=[NAN] * 5), "finite intrinsics"),
    "distortion of no lens": (to(d=[0.0, 0.0, 0.0, 23.0, 0.0]), "cannot be undone"),
    "binned to nothing": (to(binning_x=UINT32), "a size of at least 1x1"),
    "giant": (to(width=UINT32, height=UINT32), "for a 4294967295x4294967295 image"),
    "long model": (to(distortion_model="x" * 100_000), "distortion model 'xxx"),
}


@pytest.mark.parametrize("case", CALIBRATIONS)
def test_a_calibration_that_no_lens_has_is_refused(blind: OddRobot, scene: Scene, case: str) -> None:
    blind.change_info, words = CALIBRATIONS[case]
    try:
        message = blind.asked_until(Status.INVALID_INPUT, scene.shot()).segments.status.message
    finally:
        blind.change_info = to()
    assert words in message, message


@pytest.mark.parametrize("value", [NAN, INF, -INF, -1.0, 1e-30, 1e30])
def test_specks_in_the_depth_image_change_little(blind: OddRobot, scene: Scene, value: float) -> None:
    depth = scene.frame.depth_m.copy()
    depth[np.random.default_rng(0).random(depth.shape) < 0.02] = value
    response = blind.asked_until(Status.OK, scene.shot(depth=depth, depth_encoding="32FC1"), "things")
    assert len(response.objects.objects) == 2 and response.grasp_targets.targets


def test_millimetres_sent_as_metres_are_told(blind: OddRobot, scene: Scene) -> None:
    shot = scene.shot(depth=scene.frame.depth_m * np.float32(1000), depth_encoding="32FC1")
    assert "are its values millimetres?" in blind.asked_until(Status.INVALID_INPUT, shot).segments.status.message


def test_a_house_is_found_but_not_grasped(blind: OddRobot, node: NodeProcess, scene: Scene) -> None:
    """Planning in space that a hand never reaches would take gigabytes."""
    blind.asked_until(Status.OK, scene.shot(), "things")
    before = memory_bytes(node)
    shot = scene.shot(depth=scene.frame.depth_m * np.float32(60), depth_encoding="32FC1")
    blind.restart()
    response = blind.asked_until(Status.OK, shot, "things")
    assert len(response.objects.objects) == 2
    assert "m large, grasps are planned for up to 2 m" in response.segments.status.message
    assert memory_bytes(node) - before < 100 * MB


# --- storms ----------------------------------------------------------------------------------------------------------------


def memory_bytes(node: NodeProcess) -> int:
    """Resident, of the node's process."""
    return int(Path(f"/proc/{node.pid}/statm").read_text().split()[1]) * 4096


def storm(robot: OddRobot, scene: Scene, images: int, instructions: int) -> list[int]:
    """Images as fast as they can be sent, instructions between them; the stamps of the images."""
    stamps = []
    for number in range(images):
        stamps.append(time.time_ns())
        with suppress(RuntimeError):  # what is too much for DDS on this side is part of the storm
            robot.publish(scene.shot(), stamps[-1])
            if number % (images // instructions) == 0:
                robot.say("the box")
        robot.executor.spin_once(timeout_sec=0.003)
    robot.rest(1.0)
    return stamps


def test_in_a_storm_the_newest_frame_wins_and_the_memory_stays(blind: OddRobot, node: NodeProcess, scene: Scene) -> None:
    """Several hundred messages a second. What is too much is answered BUSY, in words, and nothing piles up."""
    blind.asked_until(Status.OK, scene.shot())
    storm(blind, scene, 100, 50)
    before = memory_bytes(node)
    blind.heard["segments"].clear()
    stamps = storm(blind, scene, 400, 200)
    answers = blind.heard["segments"]
    busy = {m.status.message for m in answers if m.status.code == Status.BUSY}
    assert {m.status.code for m in answers} == {Status.OK, Status.BUSY}
    assert all("2 instructions wait already" in message and "queue_size" in message for message in busy)
    seen = [stamp_ns_of(m.header.stamp) for m in answers if m.status.code == Status.OK]
    assert seen == sorted(seen) and set(seen) <= set(stamps) and seen[-1] >= stamps[-100]
    assert memory_bytes(node) - before < 20 * MB
    last = stamp_ns_of(blind.segment("the box").segments.header.stamp)
    assert last >= stamps[-20], "the mailbox holds the end of the storm"


def test_a_thousand_requests_of_eight_clients_get_an_answer_each(robot: OddRobot, node: NodeProcess, scene: Scene) -> None:
    """Ten wait at a time and client. Clients hear each other's answers, so theirs need a deep history, as the node's has."""
    nodes = [rclpy.create_node(f"client_{n}", context=robot.context) for n in range(8)]
    clients = [n.create_client(Segment, f"{node.name}/segment", qos_profile=QoSProfile(depth=1000)) for n in nodes]
    todo = [[f"number {number} of client {n}" for number in range(125)] for n in range(8)]
    waiting: list[dict[str, Any]] = [{} for _ in clients]
    answers: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    for other in nodes:
        robot.executor.add_node(other)
    robot.spin_until(lambda: all(client.service_is_ready() for client in clients))
    robot.asked_until(Status.OK, scene.shot())

    def go_on() -> bool:
        for client, left, mine in zip(clients, todo, waiting, strict=True):
            for words in [words for words, future in mine.items() if future.done()]:
                response = mine.pop(words).result()
                assert response.segments.instruction == words, "the answer to another's question"
                answers[words] += 1
                codes[response.segments.status.code] += 1
            while left and len(mine) < 10:
                words = left.pop()
                mine[words] = client.call_async(Segment.Request(instruction=words))
        return not any(todo) and not any(waiting)

    robot.spin_until(go_on, scene.shot(), timeout_s=60)
    assert len(answers) == sum(answers.values()) == 1000
    assert set(codes) == {Status.NOT_FOUND, Status.BUSY} and codes[Status.NOT_FOUND] > 100
    for other in nodes:
        robot.executor.remove_node(other)
        other.destroy_node()


def test_after_all_that_it_still_works(blind: OddRobot, node: NodeProcess, scene: Scene) -> None:
    assert node.alive() and "Traceback" not in node.log and "a callback failed" not in node.log
    blind.asked_until(Status.OK, scene.shot())
