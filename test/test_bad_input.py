"""Whatever arrives, the node answers with a status and a reason, and lives."""


from typing import Any

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from node_support.fixtures import Scene
from node_support.process import NodeProcess
from node_support.robot import Robot

from qwen_seg_ros.msg import Status

ABSENT = None
BAD_CAMERAS = {
    "wrong colour encoding": ({"encoding": "bayer_rggb8"}, Status.INVALID_INPUT, ["bayer_rggb8", "rgb8"]),
    "wrong depth encoding": ({"depth_encoding": "mono8"}, Status.INVALID_INPUT, ["mono8", "16UC1"]),
    "depth of another size": (
        {"depth": np.ones((120, 160), np.uint16)}, Status.INVALID_INPUT, ["160x120", "320x240", "registered"]),
    "too few bytes": ({"depth_encoding": "32FC1"}, Status.INVALID_INPUT, ["32FC1", "bytes"]),
    "no camera_info": (
        {"camera": ABSENT, "frame_id": "cam_0"}, Status.NO_FRAME, ["no camera_info", "cam_0", "/camera_info", "images"]),
    "zero camera_info": ({"calibrated": False, "frame_id": "cam_zero"}, Status.INVALID_INPUT, ["not calibrated", "K[0]"]),
    "no depth at any pixel": ({"depth": np.zeros((240, 320), np.uint16)}, Status.NO_DEPTH, ["depth"]),
    "depth of another time": ({"depth_offset_s": 40.0}, Status.NO_DEPTH, ["0 pairs matched", "stamps differ by", "0.05"]),
    "no colour image": ({"rgb": ABSENT}, Status.NO_FRAME, ["no image on /image", "depth images"]),
}
BAD_WORDS = {
    "empty": ("", "empty"),
    "blank": (" \t\n ", "empty"),
    "10 kB": ("red mug " * 1280, "at most 500 characters, got 10240"),
    "unprintable": ("the \x07 box", "U+0007"),
    "zero width": ("the\u200bbox", "U+200B"),
}

pytest_plugins = ("node_support.fixtures",)


@pytest.mark.parametrize("case", BAD_CAMERAS)
def test_a_bad_camera_is_answered_with_the_reason(blind: Robot, scene: Scene, case: str) -> None:
    changes, code, words = BAD_CAMERAS[case]
    segments, objects, grasps = blind.answer_set("the box", scene.shot(**changes))
    assert (segments.status.code, [w for w in words if w not in segments.status.message]) == (code, []), segments.status.message
    assert not objects.objects and not grasps.targets
    assert segments.header.frame_id == ("" if code == Status.NO_FRAME else changes.get("frame_id", "camera"))


def test_all_nan_metres_are_no_depth(blind: Robot, scene: Scene) -> None:
    shot = scene.shot(depth=np.full((240, 320), np.nan, np.float32), depth_encoding="32FC1")
    segments, objects, _ = blind.answer_set("the box", shot)
    assert segments.status.code == Status.NO_DEPTH and segments.status.message
    assert segments.segments and not objects.objects


def test_an_object_without_depth_is_no_depth(blind: Robot, scene: Scene) -> None:
    """A glass: the depth camera sees everything but the object."""
    depth = np.where(scene.masks[0], 0, scene.shot().depth).astype(np.uint16)
    segments, objects, grasps = blind.answer_set("the box", scene.shot(depth=depth))
    assert segments.status.code == Status.NO_DEPTH and segments.status.message
    assert segments.segments and not objects.objects and not grasps.targets


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words_are_refused_before_any_work(robot: Robot, case: str) -> None:
    text, reason = BAD_WORDS[case]
    segments, _, _ = robot.answer_set(text)
    assert segments.status.code == Status.INVALID_INPUT and reason in segments.status.message
    assert len(segments.instruction) <= 503
    assert robot.segment(text).segments.status == segments.status


def test_an_instruction_before_any_frame_says_what_is_missing(blind: Robot) -> None:
    segments, _, _ = blind.answer_set("the box")
    assert segments.status.code == Status.NO_FRAME and "no image on /image" in segments.status.message


def test_after_all_that_it_still_works(robot: Robot, node: NodeProcess, scene: Scene) -> None:
    assert node.alive() and "Traceback" not in node.log
    assert robot.answer_set("the box", scene.shot())[0].status.code == Status.OK


@pytest.mark.parametrize(("name", "value", "words"), [
    ("sync_tolerance_s", 99.0, ["0.0", "10.0", "99.0"]),
    ("sync_tolerance_s", -1, ["0.0", "10.0", "-1"]),
    ("sync_tolerance_s", float("nan"), ["0.0", "10.0", "nan"]),
    ("queue_size", 0, ["1", "100", "0"]),
    ("mode", "sometimes", ["on_instruction, continuous", "sometimes"]),
    ("mode", 3, ["must be a str", "3"]),
    ("lifting.voxel_m", -1.0, ["0.001", "0.02", "-1.0"]),
    ("segmentation.checkpoint", "elsewhere", ["read-only"]),
])
def test_bad_parameters_are_refused_with_the_allowed_range(robot: Robot, name: str, value: Any, words: list[str]) -> None:
    before = robot.parameter(name)
    accepted, reason = robot.set_parameter(name, value)
    assert not accepted and [w for w in (name, *words) if w not in reason] == [], reason
    assert robot.parameter(name) == before


BAD_STARTS = {
    "corrupt": ({"segmentation.checkpoint": "FOLDER"}, ["cannot configure", "answers.json"]),
    "out_of_range": ({"grasping.friction": 9.5}, ["grasping.friction must be between 0.05 and 2.0, got 9.5"]),
    "wrong_type": ({"queue_size": "many"}, ["queue_size must be a int"]),
    "misspelled": ({"target_frme": "base"}, ["there is no parameter target_frme; did you mean target_frame?"]),
}


@pytest.fixture(scope="module")
def bad_starts(scene: Scene, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """All of them at once: a process each, most of their time is Python's imports."""
    folder = tmp_path_factory.mktemp("corrupt")
    (folder / "answers.json").write_text('{"the box": ')
    processes = {}
    for name, (changes, _) in BAD_STARTS.items():
        parameters = {"segmentation.segmenter": "replay", "segmentation.checkpoint": scene.answers, **changes}
        parameters = {key: folder if value == "FOLDER" else value for key, value in parameters.items()}
        processes[name] = NodeProcess(f"bad_{name}", tmp_path_factory.mktemp("log") / "log", parameters)
    yield processes
    for process in processes.values():
        process.stop()


@pytest.mark.parametrize("case", BAD_STARTS)
def test_a_bad_start_fails_to_configure_with_the_reason_and_lives(bad_starts: dict[str, NodeProcess], case: str) -> None:
    process = bad_starts[case]
    for words in BAD_STARTS[case][1]:
        process.wait_for(words)
    other = Robot(process.name)
    try:
        assert other.state() == "unconfigured"
    finally:
        other.close()
    process.interrupt()
    assert process.exit_code() == 0 and "Traceback" not in process.log
