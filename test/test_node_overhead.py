"""The benchmark of the node's own cost: both ways make the same things, every step is timed, and the stream really runs."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from rich.console import Console
from sensor_msgs.msg import PointCloud2

from benchmarks.node_overhead import (
    COMPARED,
    TOPICS,
    WORDS,
    Times,
    case_of,
    idle_percent,
    in_one_process,
    one_by_one,
    ours,
    per_image,
    report,
    report_stream,
    the_usual_way,
    waited_ms,
)
from benchmarks.node_traffic import Answered, running_node
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.messages_out import cloud_message, header, label_image, objects_cloud
from qwen_seg_ros.segmentation.replay import ReplaySegmenter


@pytest.fixture(scope="module")
def case():
    return case_of(320, 240)


@pytest.fixture(scope="module")
def both(case):
    """The result of the node's steps, and what the usual way makes of it."""
    result = ours(case, Pipeline(segmenter=ReplaySegmenter({WORDS: case.segmentation})), False, Times())
    return result, the_usual_way(case, result, Times())


def test_the_usual_way_reads_the_same_image_and_depth(case, both) -> None:
    usual = both[1]["decode"]
    np.testing.assert_array_equal(usual.rgb, case.frame.rgb)
    np.testing.assert_allclose(usual.depth_m, case.frame.depth_m, atol=6e-4)  # whole millimetres on the wire


def test_the_usual_way_makes_the_same_clouds_and_labels(case, both) -> None:
    result, usual = both
    head, objects = header(0, "camera"), result.lifted.objects
    for cloud, item in zip(usual["objects"], objects, strict=True):
        assert_same_cloud(cloud, cloud_message(head, item.points_m, item.colors))
    assert_same_cloud(usual["object_cloud"][0], objects_cloud(head, objects))
    labels = np.frombuffer(usual["label_image"][0].data, np.uint16).reshape(240, 320)
    np.testing.assert_array_equal(labels, label_image(case.segmentation, 240, 320))


def assert_same_cloud(first: PointCloud2, second: PointCloud2) -> None:
    assert (first.width, first.point_step, bytes(first.data)) == (second.width, second.point_step, bytes(second.data))
    assert first.fields == second.fields and first.width > 50


def test_the_usual_outlines_are_those_of_the_masks(case, both) -> None:
    for outline, instance in zip(both[1]["segments"], case.segmentation.instances, strict=True):
        points = np.array([(point.x, point.y) for point in outline.polygon.points])
        np.testing.assert_array_equal([*points.min(0), *(points.max(0) + 1)], instance.mask.box_px)


def test_every_step_is_timed_and_the_overhead_leaves_the_stages_out(case) -> None:
    times, usual = in_one_process(case, grasps=True, rounds=2)
    assert set(times) == {"receive", "decode", "lift", "grasp", *TOPICS} and set(usual) == set(COMPARED)
    assert all(len(values) == 2 for values in (*times.values(), *usual.values()))
    whole, overhead = per_image(times), per_image(times, ("lift", "grasp"))
    np.testing.assert_allclose(whole - overhead, np.add(times["lift"], times["grasp"]))
    assert times.used_ms > 0 and usual.used_ms > 0
    out = StringIO()
    report((640, 480), times, usual, Console(file=out, width=120))
    assert out.getvalue().count("aim <=") == 2 and all(step in out.getvalue() for step in times)


def test_only_a_stream_that_keeps_up_meets_the_aims() -> None:
    """Images at 30 Hz, each answered 20 ms after its turn came: the newest is taken, or they queue up."""
    period = 1 / 30
    newest = [Answered(n * 3 * period, last_s=n * 3 * period + 0.08) for n in range(30)]
    queued = [Answered(n * period, last_s=n * 0.08 + 0.08) for n in range(30)]
    assert max(waited_ms(newest)) == 0 and waited_ms(queued)[-1] > 1000
    verdicts = []
    for found in (newest, queued):
        out = StringIO()
        report_stream(found, 30.0, 1.0, Console(file=out, width=200))
        verdicts.append((out.getvalue().count(": met"), out.getvalue().count(": missed")))
    assert verdicts == [(2, 0), (0, 2)]


def test_the_real_node_answers_on_every_image_that_is_asked_about(case) -> None:
    settings = {"max_frame_age_s": 0.5, "plan_grasps": False}
    with running_node(case.frame, case.segmentation, TOPICS, settings) as (traffic, pid):
        found = one_by_one(traffic, 4, pause_s=0.6)
        assert found and all(answer.latency_ms > 0 for answer in found)
        assert all(answer.heard == set(TOPICS) for answer in found)
        assert idle_percent(traffic, pid, 1.0) > 0 and traffic.whole() == []


def test_the_command_reports_every_part() -> None:
    def run(*options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "benchmarks.node_overhead", *options]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).resolve().parents[1])

    done = run("--rounds", "1", "--seconds", "1")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stderr
    for part in (
        "640x480, 3 objects",
        "1280x720, 3 objects",
        "of 4 images answered",
        "continuous:",
        "idle at 30 Hz",
        "a bare rclpy",
    ):
        assert part in said
    assert "--rounds must be 1 or more" in run("--rounds", "0").stderr
