"""The node in a process of its own, a camera that sends serialised images to it, and somebody who hears all of its topics.

Part of node_overhead.py. Messages are serialised beforehand and heard as bytes, so that little of the times measured is spent on
this side. Stamps are put into the bytes and read from them.
"""

import os
import re
import struct
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.ros.publishers import ALWAYS, ON_DEMAND
from qwen_seg_ros.segmentation.replay import save_answers
from qwen_seg_ros.segmentation.result import SegmentationResult

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))
process, robot = (import_module(f"node_support.{name}") for name in ("process", "robot"))  # helpers of the tests
DOMAIN, PATIENCE_S = process.DOMAIN, robot.PATIENCE_S
NAME, TICKS_PER_S = "overhead", os.sysconf("SC_CLK_TCK")
INPUTS = {"camera_info": CameraInfo, "depth": Image, "image": Image}
STAMP_AT = dict.fromkeys((*ALWAYS, *ON_DEMAND), 4) | {"markers": 8}  # bytes: after CDR's head, and a list's length


def set_up_dds() -> None:
    """Before the first node: this machine only, and `config/fastdds.xml`, without which large images get lost."""
    vendor = "FASTRTPS" if os.environ.get("ROS_DISTRO") in ("humble", "jazzy") else "FASTDDS"
    os.environ.setdefault(f"{vendor}_DEFAULT_PROFILES_FILE", str(ROOT / "config" / "fastdds.xml"))
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


@dataclass
class Answered:
    """One answer set: when its image was sent, the last message heard, and the newest image by then; seconds."""

    sent_s: float
    heard: set[str] = field(default_factory=set)
    last_s: float = 0.0
    newest_s: float = 0.0

    @property
    def latency_ms(self) -> float:
        return 1e3 * (self.last_s - self.sent_s)

    @property
    def behind_ms(self) -> float:
        """Age of the answered image against the newest one sent."""
        return 1e3 * (self.newest_s - self.sent_s)


class Traffic:
    """topics: the outputs that are listened to; an answer is whole when each of them has been heard with its stamp."""

    def __init__(self, frame: Frame, topics: tuple[str, ...]) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=DOMAIN)
        self._node = rclpy.create_node("camera", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._topics, self.newest_s = topics, 0.0
        self.stage_ms: dict[str, list[float]] = defaultdict(list)  # what the node says about its stages, once a second
        self.report: dict[str, str] = {}  # its last diagnostics, by name
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._hear_diagnostics, 10)
        self._answers: dict[int, Answered] = {}  # by stamp
        self._publishers = {
            name: self._node.create_publisher(kind, name, qos_profile_sensor_data) for name, kind in INPUTS.items()
        }
        self._instruction = self._node.create_publisher(String, "instruction", 10)
        self.show(frame)
        for topic in topics:
            kind = (ALWAYS | ON_DEMAND)[topic]
            self._node.create_subscription(kind, f"{NAME}/{topic}", self._listener(topic), 10, raw=True)

    def close(self) -> None:
        self._node.destroy_node()
        self._executor.shutdown()
        rclpy.try_shutdown(context=self._context)

    def connect(self, alive: Callable[[], bool], asks: bool = True) -> None:
        """Until the images are heard, instructions too where it `asks`, and every topic has its sender.

        Raises:
            RuntimeError: when the other side ends or does not come up.
        """
        ends, ours = time.monotonic() + PATIENCE_S, [*self._publishers.values(), *[self._instruction] * asks]
        while not (
            all(publisher.get_subscription_count() for publisher in ours)
            and all(self._node.count_publishers(f"{NAME}/{topic}") for topic in self._topics)
        ):
            if not alive() or time.monotonic() > ends:
                raise RuntimeError("nobody hears the images or publishes all topics")
            self.spin(0.1)
        self.spin(1.0)  # the other side, too, has to notice that somebody listens

    def show(self, frame: Frame) -> None:
        """What the camera sees from now on."""
        self._wire = {name: bytearray(serialize_message(message)) for name, message in messages(frame).items()}

    def send(self) -> int:
        """Calibration, depth and colour of this moment; its stamp."""
        stamp = time.time_ns()
        for name, wire in self._wire.items():
            struct.pack_into("<iI", wire, 4, *divmod(stamp, 10**9))
            self._publishers[name].publish(bytes(wire))
        self.newest_s = stamp * 1e-9
        self._answers[stamp] = Answered(self.newest_s)
        return stamp

    def say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def spin(self, seconds: float, until: int | None = None) -> None:
        """Hear for some time, or until the answer to the image with this stamp is whole."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0 and not (until is not None and self._whole(self._answers[until])):
            self._executor.spin_once(timeout_sec=left)

    def play(self, seconds: float, rate_hz: float = 30.0) -> float:
        """Images at this rate; how many were sent per second, which is less where this side does not keep up."""
        began, sent = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            self.send()
            sent += 1
            self.spin(max(0.0, began + sent / rate_hz - now))
        return sent / (time.monotonic() - began)

    def whole(self) -> list[Answered]:
        """Answer sets of which every topic was heard, in the order of their images; they are forgotten here."""
        found = [answer for _, answer in sorted(self._answers.items()) if self._whole(answer)]
        self._answers.clear()
        return found

    def answered(self) -> list[Answered]:
        """The same while images are being sent: what may still be answered stays."""
        whole = [stamp for stamp, answer in self._answers.items() if self._whole(answer)]
        found = [self._answers[stamp] for stamp in sorted(whole)]
        self._answers = {stamp: answer for stamp, answer in self._answers.items() if stamp > max(whole, default=-1)}
        return found

    def _whole(self, answer: Answered) -> bool:
        return len(answer.heard) == len(self._topics)

    def _hear_diagnostics(self, report: DiagnosticArray) -> None:
        self.report = {value.key: value.value for status in report.status for value in status.values}
        for entry in (value for status in report.status for value in status.values):
            if found := re.fullmatch(r"last (\w+) ms", entry.key):
                self.stage_ms[found[1]].append(float(entry.value))

    def _listener(self, topic: str) -> Any:
        at = STAMP_AT[topic]

        def hear(data: bytes) -> None:
            seconds, nanoseconds = struct.unpack_from("<iI", data, at)
            answer = self._answers.get(seconds * 10**9 + nanoseconds)
            if answer is not None:
                answer.heard.add(topic)
                answer.last_s, answer.newest_s = time.time(), self.newest_s

        return hear


def messages(frame: Frame) -> dict[str, Any]:
    """What a camera publishes of a frame, in the order in which it does."""
    shot = robot.Shot.of(frame)
    assert shot.rgb is not None and shot.depth is not None and shot.camera is not None
    info = robot.camera_info(shot.camera)
    info.header.frame_id = shot.frame_id
    return {
        "camera_info": info,
        "depth": robot.image(shot.depth, shot.depth_encoding, shot.frame_id, 0),
        "image": robot.image(shot.rgb, shot.encoding, shot.frame_id, 0),
    }


@contextmanager
def running_node(
    frame: Frame, answer: SegmentationResult, topics: tuple[str, ...], parameters: Mapping[str, Any]
) -> Iterator[tuple[Traffic, int]]:
    """The node, and its process id, with masks that are given: it answers `answer` to its instruction on any frame."""
    with TemporaryDirectory() as folder:
        save_answers(Path(folder), {answer.instruction: answer})
        given = {"segmentation.segmenter": "replay", "segmentation.checkpoint": folder}
        node = process.NodeProcess(NAME, Path(folder) / "node.log", given | dict(parameters))
        traffic = Traffic(frame, topics)
        try:
            try:
                traffic.connect(node.alive)
            except RuntimeError as error:
                raise RuntimeError(f"{error}; the node says:\n{node.log}") from error
            yield traffic, node.pid
        finally:
            traffic.close()
            node.stop()


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def bare_node() -> None:
    """Hears what the segmentation node hears, and does nothing with it, until it is terminated."""
    rclpy.init()
    node = rclpy.create_node("bare")
    for topic, kind in INPUTS.items():
        node.create_subscription(kind, topic, lambda message: None, qos_profile_sensor_data)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


if __name__ == "__main__":
    bare_node()
