"""Pairing by stamp and the small transform buffer, without a running node."""

import time
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from geometry_msgs.msg import TransformStamped
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image

from qwen_seg_ros.geometry.transform import inverse, rotation_with_z, transform
from qwen_seg_ros.ros.frame_source import FrameSource, View
from qwen_seg_ros.ros.messages_out import header, pose_message, vector_message
from qwen_seg_ros.ros.parameters import NodeSettings, page
from qwen_seg_ros.ros.transforms import TransformBuffer
from qwen_seg_ros.settings import Settings, merged

TOPICS = {name: f"/{name}" for name in ("image", "depth", "camera_info", "depth_camera_info")}
SECOND = 10**9


def source(**settings: float) -> FrameSource:
    frames = FrameSource(TOPICS, lambda: NodeSettings(**{"depth_grace_s": 0.05, **settings}))  # type: ignore[arg-type]
    frames.on_info(CameraInfo(header=header(0, "cam")))
    return frames


def image(seconds: float, frame_id: str = "cam") -> Image:
    return Image(header=header(round(seconds * SECOND), frame_id))


def now(frames: FrameSource, timeout_s: float = 0.0, new: bool = False) -> View | None:
    ends = time.monotonic() + timeout_s
    while (view := frames.take(new)) is None and time.monotonic() < ends:
        time.sleep(0.01)
    return view


def seconds(view: View | None) -> tuple[float, float | None] | None:
    if view is None:
        return None
    depth = view.depth.header.stamp if view.depth is not None else None
    return view.stamp / SECOND, depth and depth.sec + depth.nanosec / SECOND


@given(st.permutations([("c", 1.0), ("c", 1.1), ("c", 1.2), ("d", 1.01), ("d", 1.11), ("d", 1.21)]))
def test_every_order_of_arrival_ends_with_the_newest_pair(arrivals: list[tuple[str, float]]) -> None:
    frames = source()
    for kind, stamp in arrivals:
        (frames.on_image if kind == "c" else frames.on_depth)(image(stamp))
    assert seconds(now(frames)) == (1.2, 1.21)


def test_the_nearest_depth_within_the_tolerance_is_taken() -> None:
    frames = source(sync_tolerance_s=0.05)
    for stamp in (0.93, 1.02, 1.06):
        frames.on_depth(image(stamp))
    frames.on_image(image(1.0))
    assert seconds(now(frames)) == (1.0, 1.02)


def test_without_depth_an_image_waits_for_the_grace_time() -> None:
    frames = source(depth_grace_s=0.1)
    frames.on_image(image(1.0))
    assert now(frames) is None
    view = now(frames, timeout_s=5)
    assert seconds(view) == (1.0, None) and view is not None and "no depth image on /depth" in view.note


def test_a_depth_camera_that_stops_gives_way_to_newer_images() -> None:
    frames = source(depth_grace_s=0.05)
    frames.on_image(image(1.0))
    frames.on_depth(image(1.0))
    assert seconds(now(frames)) == (1.0, 1.0)
    frames.on_image(image(2.0))
    assert seconds(now(frames)) == (1.0, 1.0), "its depth may still come"
    time.sleep(0.06)
    assert seconds(now(frames)) == (2.0, None)


def test_each_frame_is_new_once() -> None:
    frames = source()
    frames.on_depth(image(1.0))
    frames.on_image(image(1.0))
    assert now(frames, new=True) is not None and now(frames, new=True) is None
    assert now(frames) is not None, "an instruction may ask about the same frame again"


def test_frames_nobody_took_are_counted() -> None:
    frames = source()
    for stamp in (1.0, 1.1, 1.2):
        frames.on_depth(image(stamp))
        frames.on_image(image(stamp))
    assert (frames.counters.pairs, frames.counters.dropped) == (3, 2)


def test_a_jump_back_in_time_starts_again() -> None:
    frames = source()
    for stamp in (100.0, 5.0):
        frames.on_depth(image(stamp))
        frames.on_image(image(stamp))
    assert seconds(now(frames)) == (5.0, 5.0) and frames.counters.time_jumps == 1


def test_old_images_are_no_answer() -> None:
    frames = source(max_frame_age_s=0.05)
    frames.on_depth(image(1.0))
    frames.on_image(image(1.0))
    assert now(frames) is not None
    time.sleep(0.06)
    assert now(frames) is None and "s ago" in frames.missing()


def test_a_camera_info_of_another_frame_does_not_count() -> None:
    frames = source()
    frames.on_depth(image(1.0, "other"))
    frames.on_image(image(1.0, "other"))
    assert now(frames) is None
    assert "no camera_info for frame 'other' on /camera_info (only for 'cam')" in frames.missing()


def test_depth_of_another_frame_waits_for_its_calibration() -> None:
    frames = source(depth_grace_s=60.0)
    frames.on_image(image(1.0))
    frames.on_depth(image(1.0, "depth_cam"))
    assert frames.other_depth_frame() and now(frames) is None
    frames.on_depth_info(CameraInfo(header=header(0, "depth_cam")))
    view = now(frames)
    assert view is not None and view.other_frame and view.note == ""
    assert view.depth_info is not None and view.depth_info.header.frame_id == "depth_cam"
    assert frames.counters.depth_infos == 1


def link(parent: str, child: str, pose: np.ndarray, stamp_s: float = 0.0) -> TransformStamped:
    msg = TransformStamped(header=header(round(stamp_s * SECOND), parent), child_frame_id=child)
    msg.transform.rotation = pose_message(pose).orientation
    msg.transform.translation = vector_message(pose[:3, 3])
    return msg


def pose(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return transform(rotation_with_z(rng.normal(size=3), rng.normal(size=3)), rng.normal(size=3))


def tree() -> TransformBuffer:
    """world -> base -> hand (moving) -> camera, world -> lamp."""
    buffer = TransformBuffer(0.1)
    for parent, child, number in (("world", "base", 1), ("hand", "camera", 2), ("world", "lamp", 3)):
        buffer.add(link(parent, child, pose(number)), static=True)
    for stamp, number in ((10.0, 4), (10.2, 5)):
        buffer.add(link("base", "hand", pose(number), stamp), static=False)
    return buffer


def test_transforms_chain_up_and_down_the_tree() -> None:
    base_from_camera = pose(4) @ pose(2)
    np.testing.assert_allclose(tree().find("base", "camera", 10 * SECOND), base_from_camera, atol=1e-9)
    np.testing.assert_allclose(tree().find("camera", "base", 10 * SECOND), inverse(base_from_camera), atol=1e-9)
    lamp_from_camera = inverse(pose(3)) @ pose(1) @ base_from_camera
    np.testing.assert_allclose(tree().find("lamp", "camera", 10 * SECOND), lamp_from_camera, atol=1e-9)
    np.testing.assert_array_equal(tree().find("base", "base", 0), np.eye(4))


def test_the_transform_of_the_image_s_stamp_is_taken() -> None:
    between = tree().find("base", "hand", 10 * SECOND + SECOND // 20)  # a quarter of the way
    np.testing.assert_allclose(between[:3, 3], 0.75 * pose(4)[:3, 3] + 0.25 * pose(5)[:3, 3], atol=1e-9)
    turns = [np.linalg.norm(cv2.Rodrigues(pose(4)[:3, :3].T @ end[:3, :3])[0]) for end in (between, pose(5))]
    assert turns[0] == pytest.approx(0.25 * turns[1])
    np.testing.assert_allclose(tree().find("base", "hand", 10 * SECOND + SECOND // 4), pose(5), atol=1e-9)


@pytest.mark.parametrize(("target", "child", "stamp_s"), [("base", "hand", 11), ("base", "nowhere", 10), ("moon", "hand", 10)])
def test_a_missing_link_is_an_error_that_lists_the_frames(target: str, child: str, stamp_s: int) -> None:
    with pytest.raises(LookupError, match="base, camera, hand, lamp"):
        tree().find(target, child, stamp_s * SECOND)


def test_the_example_configuration_fits_the_settings() -> None:
    text = (Path(__file__).parents[1] / "config" / "tabletop.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    own = {item.name for item in fields(NodeSettings)}
    merged(NodeSettings(), {name: value for name, value in values.items() if name in own})
    merged(Settings(), {name: value for name, value in values.items() if name not in own})


def test_the_page_of_parameters_is_that_of_the_settings() -> None:
    """Where it is not: python -m qwen_seg_ros.ros.parameters > docs/parameters.md."""
    assert (Path(__file__).parents[1] / "docs" / "parameters.md").read_text() == page()


def test_a_colour_camera_alone_waits_for_nothing() -> None:
    frames = FrameSource(TOPICS, lambda: NodeSettings(use_depth=False, depth_grace_s=60.0))
    frames.on_image(image(1.0))
    view = now(frames)
    assert view is not None and not view.depth_wanted and view.note == "" and view.info is None
