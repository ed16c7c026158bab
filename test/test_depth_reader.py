"""Depth of a camera of its own: which evidence leads to which use of it, and that objects stay where they are."""

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from geometry_msgs.msg import TransformStamped
from node_support.robot import Shot, camera_info, image, stamped
from node_support.two_cameras import COLOR_FRAME, DEPTH_FRAME, TwoCameras, two_cameras

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import transform
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.ros.depth_reader import AS_PUBLISHED, LEFT_OUT, DepthReader, ReadDepth
from qwen_seg_ros.ros.frame_source import FrameSource, View
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.ros.transforms import TransformBuffer
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

TOPICS = {name: f"/{name}" for name in ("image", "depth", "camera_info", "depth_camera_info")}
SETTINGS = NodeSettings(depth_grace_s=0.05, transform_timeout_s=0.0)
STAMP_NS = 5 * 10**9
CONNECT, DECLARE = "remap depth_camera_info", "set depth_registration to never"


@pytest.fixture(scope="module")
def rig() -> TwoCameras:
    return two_cameras(3, ["box", "ball", "can"])


@pytest.fixture(scope="module")
def even() -> TwoCameras:
    """Both images of one size."""
    return two_cameras(3, ["box", "ball"], depth_size=(320, 240))


def published(shot: Shot) -> View:
    """What the mailbox hands out when the cameras publish `shot`."""
    frames = FrameSource(TOPICS, lambda: SETTINGS)
    frames.on_info(stamped(camera_info(shot.camera), shot.frame_id, STAMP_NS))
    if shot.depth_camera is not None:
        frames.on_depth_info(stamped(camera_info(shot.depth_camera, shot.depth_calibrated), shot.depth_frame, STAMP_NS))
    frames.on_depth(image(shot.depth, shot.depth_encoding, shot.depth_frame, STAMP_NS))
    frames.on_image(image(shot.rgb, shot.encoding, shot.frame_id, STAMP_NS))
    return taken(frames)


def taken(frames: FrameSource) -> View:
    """The first view that the mailbox hands out."""
    ends = time.monotonic() + 10
    while (view := frames.take()) is None and time.monotonic() < ends:
        time.sleep(0.01)
    assert view is not None
    return view


def reader(*links: TransformStamped) -> DepthReader:
    transforms = TransformBuffer(0.1)
    for link in links:
        transforms.add(link, static=True)
    return DepthReader(lambda: transforms)


def read(shot: Shot, *links: TransformStamped, **settings: Any) -> ReadDepth:
    return reader(*links).read(published(shot), replace(SETTINGS, **settings))


def boxes(frame: Frame, rig: TwoCameras) -> tuple[np.ndarray, np.ndarray]:
    """Centres and sizes (N, 3) of what lies under the true masks, in the base frame, metres."""
    crops = [CroppedMask.from_full(mask) for mask in rig.masks]
    found = tuple(Instance("thing", crop.box_px, crop, 0.9, 0.8) for crop in crops)
    lifted = lift(frame, SegmentationResult("things", Outcome.FOUND, found), LiftSettings()).moved(rig.color.base_from_camera)
    assert not lifted.refused
    return np.array([item.box.pose[:3, 3] for item in lifted.objects]), np.array([item.box.size_m for item in lifted.objects])


@pytest.mark.parametrize("seed", [3, 4])
def test_objects_are_where_registered_depth_has_them(seed: int) -> None:
    rig = two_cameras(seed, ["box", "ball", "can"])
    depth = read(rig.shot(), rig.link())
    assert (depth.how, depth.note) == (f"registered from {DEPTH_FRAME} to {COLOR_FRAME}", "")
    found, wanted = boxes(published(rig.shot()).frame(depth.depth_m, rectified=False), rig), boxes(rig.color, rig)
    np.testing.assert_allclose(found[0], wanted[0], atol=0.002)
    np.testing.assert_allclose(found[1], wanted[1], atol=0.006)


def test_the_same_depth_taken_as_registered_is_a_centimetre_off(even: TwoCameras) -> None:
    """The law above can fail."""
    depth = read(even.shot(), even.link(), depth_registration="never")
    assert (depth.how, depth.note) == (AS_PUBLISHED, "")
    found, wanted = boxes(published(even.shot()).frame(depth.depth_m, rectified=False), even), boxes(even.color, even)
    assert np.linalg.norm(found[0] - wanted[0], axis=1).min() > 0.008


@pytest.mark.parametrize("name", [COLOR_FRAME, "/" + COLOR_FRAME, ""])
def test_depth_of_the_colour_frame_is_used_as_it_is(even: TwoCameras, name: str) -> None:
    shot = even.shot(depth_frame_id=name)
    depth = read(shot, even.link())
    assert (depth.how, depth.note, depth.spent_ms) == (AS_PUBLISHED, "", {})
    np.testing.assert_array_equal(np.nan_to_num(depth.depth_m * 1000).round(), shot.depth)


def test_depth_of_the_colour_frame_must_have_its_size(rig: TwoCameras) -> None:
    shot = rig.shot(depth_frame_id=COLOR_FRAME)
    with pytest.raises(InvalidInputError, match=r"280x216, colour image 320x240; subscribe to the depth that is registered"):
        published(shot).frame(read(shot).depth_m, rectified=False)


def test_without_transform_depth_is_left_out(even: TwoCameras) -> None:
    """Even of the right size: the calibration says that it is another camera's."""
    depth = read(even.shot())
    assert (depth.depth_m, depth.how) == (None, LEFT_OUT)
    for words in (f"no transform {COLOR_FRAME} <- {DEPTH_FRAME}", "static_transform_publisher", DECLARE):
        assert words in depth.note


def shifted(rig: TwoCameras, metres: float) -> TransformStamped:
    return rig.link(transform(np.eye(3), np.array([metres, 0.0, 0.0])))


def test_without_calibration_frames_in_one_place_are_one_picture(even: TwoCameras) -> None:
    depth = read(even.shot(depth_camera=None), shifted(even, 0.0))
    assert depth.depth_m is not None and "both frames lie in one place" in depth.how and depth.note == ""


def test_without_calibration_frames_apart_are_two_pictures(even: TwoCameras) -> None:
    depth = read(even.shot(depth_camera=None), shifted(even, 0.015))
    assert (depth.depth_m, depth.how) == (None, LEFT_OUT)
    for words in (repr(DEPTH_FRAME), repr(COLOR_FRAME), "lie apart", "/depth_camera_info", CONNECT, DECLARE):
        assert words in depth.note


def test_without_calibration_and_transform_a_registered_image_is_assumed_and_said(even: TwoCameras) -> None:
    depth = read(even.shot(depth_camera=None))
    assert depth.depth_m is not None and depth.how == "taken as registered"
    for words in (repr(DEPTH_FRAME), repr(COLOR_FRAME), "positions are wrong if it is not", CONNECT, DECLARE):
        assert words in depth.note


def test_without_calibration_another_size_cannot_be_registered(rig: TwoCameras) -> None:
    depth = read(rig.shot(depth_camera=None), rig.link())
    assert (depth.depth_m, depth.how) == (None, LEFT_OUT)
    for words in ("280x216 and 320x240", f"no camera_info for the depth frame '{DEPTH_FRAME}' on /depth_camera_info", CONNECT):
        assert words in depth.note


def test_a_calibration_of_another_frame_does_not_count(rig: TwoCameras) -> None:
    frames = FrameSource(TOPICS, lambda: SETTINGS)
    shot = rig.shot()
    frames.on_info(stamped(camera_info(shot.camera), COLOR_FRAME, STAMP_NS))
    frames.on_depth_info(stamped(camera_info(shot.depth_camera), "infra1", STAMP_NS))
    frames.on_depth(image(shot.depth, "16UC1", DEPTH_FRAME, STAMP_NS))
    frames.on_image(image(shot.rgb, "rgb8", COLOR_FRAME, STAMP_NS))
    assert frames.other_depth_frame()
    assert frames.take() is None, "its calibration may still come"
    view = taken(frames)
    assert view.depth_info is None and "(only for 'infra1')" in view.note


@pytest.mark.parametrize(("changes", "words"), [
    ({"depth_calibrated": False}, "depth_camera_info is not calibrated: K"),
    ({"depth": np.ones((120, 160), np.uint16)}, "depth_camera_info is for 280x216 images, the depth image is 160x120"),
    ({"depth_encoding": "mono8"}, "mono8"),
    ({"depth_encoding": "32FC1"}, "bytes"),
])
def test_bad_depth_is_refused_in_words(rig: TwoCameras, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read(rig.shot(**changes), rig.link())


@pytest.mark.parametrize(("model", "coefficients"), [("plumb_bob", [0.1, 0.2, 0.3]), ("equidistant", [0.1] * 5)])
@pytest.mark.parametrize("which", ["depth_camera_info", "camera_info"])
def test_a_wrong_number_of_coefficients_is_refused(rig: TwoCameras, which: str, model: str, coefficients: list[float]) -> None:
    view = published(rig.shot())
    info = view.depth_info if which == "depth_camera_info" else view.info
    info.distortion_model, info.d = model, coefficients
    with pytest.raises(InvalidInputError, match=f"^{which} has {len(coefficients)} coefficients D .*'{model}'; it has 4"):
        reader(rig.link()).read(view, SETTINGS)


def test_a_transform_that_looks_away_is_told(rig: TwoCameras) -> None:
    depth = read(rig.shot(), rig.link(transform(np.eye(3), np.array([0.0, 0.0, -9.0]))))
    assert not np.isfinite(depth.depth_m).any() and "check depth_camera_info and the transform" in depth.note


def test_an_image_is_registered_once_until_something_changes(rig: TwoCameras) -> None:
    view, here = published(rig.shot()), reader(rig.link())
    first, second = (here.read(view, SETTINGS) for _ in range(2))
    assert set(first.spent_ms) == {"register"} and second.spent_ms == {} and second.depth_m is first.depth_m
    assert here.read(published(rig.shot()), SETTINGS).spent_ms, "another image"
    moved = replace(view, depth_info=stamped(camera_info(replace(rig.depth.camera, fx=300.0)), DEPTH_FRAME, STAMP_NS))
    here.read(view, SETTINGS)
    assert here.read(moved, SETTINGS).spent_ms, "another calibration"


def test_rectified_depth_is_registered_by_its_projection(rig: TwoCameras) -> None:
    view = published(rig.shot())
    camera, info = rig.depth.camera, view.depth_info
    info.k = [1.5 * k for k in info.k]
    info.p = [camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    rectified = reader(rig.link()).read(view, replace(SETTINGS, depth_is_rectified=True))
    np.testing.assert_array_equal(rectified.depth_m, read(rig.shot(), rig.link()).depth_m)
