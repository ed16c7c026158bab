"""What /diagnostics tells of a node at work, and of publishers that it cannot hear."""

import time
from pathlib import Path

import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from node_support.fixtures import Scene
from node_support.process import NodeProcess
from node_support.robot import Robot
from rclpy.qos import DurabilityPolicy, QoSProfile

from qwen_seg_ros.msg import SegmentArray
from qwen_seg_ros.ros.measures import WINDOW_S, Latency, Rate
from qwen_seg_ros.ros.qos_events import unheard, unserved

pytest_plugins = ("node_support.fixtures",)


def test_rates_are_those_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    rate = Rate()
    assert rate.hz() == 0
    for _ in range(200):
        rate.tick()
        now[0] += 1 / 30
    assert rate.hz() == pytest.approx(30, rel=1e-6)
    now[0] += WINDOW_S
    assert rate.hz() == 0


def test_latencies_are_percentiles_of_the_last_answers() -> None:
    latency = Latency()
    assert latency.percentiles() == {}
    for number in range(500):
        latency.add(number / 1000)
    assert latency.percentiles()["p50"] == pytest.approx(399.5) and 485 < latency.percentiles()["p95"] < 490


def test_rates_ages_latencies_and_the_model_are_told(robot: Robot, scene: Scene) -> None:
    robot.segment("the box", shot=scene.shot())
    told = robot.diagnostics(lambda report: float(report["image rate Hz"]) > 1 and "answer p50 ms" in report, scene.shot())
    assert float(told["depth rate Hz"]) > 1 and float(told["image age s"]) < 5
    assert float(told["answer p50 ms"]) <= float(told["answer p95 ms"])
    assert any(key.startswith("model ") for key in told)


def test_a_publisher_that_cannot_be_heard_is_named_with_what_would_do(scene: Scene, tmp_path: Path) -> None:
    """The camera of the tests publishes as sensors do: best effort."""
    settings = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers, "frame_timeout_s": 0.5}
    process = NodeProcess("strict", tmp_path / "log", settings | {"qos_overrides./image.subscription.reliability": "reliable"})
    robot = Robot(process.name)
    try:
        robot.spin_until(robot.connected)
        advice = "qos_overrides./image.subscription.reliability:=best_effort"
        robot.spin_until(lambda: advice in process.log, scene.shot())
        status = robot.segment("the box", shot=scene.shot()).segments.status
        assert "no image on /image" in status.message and advice in status.message
    finally:
        robot.close()
        process.stop()


def test_a_subscriber_that_gets_nothing_is_named_with_what_would_do(robot: Robot, node: NodeProcess) -> None:
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    late = robot.node.create_subscription(SegmentArray, f"/{node.name}/segments", lambda msg: None, latched)
    robot.spin_until(lambda: f"qos_overrides./{node.name}/segments.publisher.durability:=transient_local" in node.log)
    robot.node.destroy_subscription(late)


def test_policies_without_a_remedy_here_are_named_too() -> None:
    assert "less deadline" in unheard("/image", "DEADLINE") and "qos_overrides" not in unheard("/image", "DEADLINE")
    assert "more deadline" in unserved("/image", "DEADLINE") and "subscriber" in unserved("/image", "DEADLINE")
