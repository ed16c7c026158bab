"""Compressed images over DDS, and a camera without depth: the same answers, and damage is answered with the reason."""

import struct
from array import array
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
import rclpy
from node_support.compressed import CompressedRobot, depth_message, nothing
from node_support.fixtures import Scene, ready, running
from node_support.process import DOMAIN, NodeProcess
from rclpy.context import Context
from sensor_msgs.msg import CompressedImage, Image

from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.msg import Status
from qwen_seg_ros.ros.inputs import image_type, input_topics, topic_of
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.segmentation.replay import load_answers

pytest_plugins = ("node_support.fixtures",)
COMPRESSED = {"image_transport": "compressed", "depth_image_transport": "compressedDepth"}


@pytest.fixture(scope="module")
def node(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    yield from running("compressed_node", scene, tmp_path_factory, **COMPRESSED)


@pytest.fixture(scope="module")
def robot(node: NodeProcess) -> Iterator[CompressedRobot]:
    yield from ready(CompressedRobot(node.name), node)


@pytest.mark.parametrize("encoding", ["16UC1", "32FC1"])
def test_objects_are_where_they_are_in_the_scene(robot: CompressedRobot, scene: Scene, encoding: str) -> None:
    depth = scene.shot().depth if encoding == "16UC1" else scene.frame.depth_m
    robot.restart()
    response = robot.segment("the box", shot=scene.shot(depth=depth, depth_encoding=encoding))
    assert response.segments.status.code == Status.OK, response.segments.status.message
    assert response.grasp_targets.targets
    (wanted,) = lift(scene.frame, load_answers(scene.answers)["the box"]).objects
    centre = response.objects.objects[0].pose.position
    np.testing.assert_allclose([centre.x, centre.y, centre.z], wanted.box.pose[:3, 3], atol=0.005)


def colour(change: Callable[[CompressedImage], None]) -> Callable[[CompressedImage], None]:
    return lambda msg: None if "compressedDepth" in msg.format else change(msg)


def depth(change: Callable[[CompressedImage], None]) -> Callable[[CompressedImage], None]:
    return lambda msg: change(msg) if "compressedDepth" in msg.format else None


def put(data: bytes, form: str = "") -> Callable[[CompressedImage], None]:
    def change(msg: CompressedImage) -> None:
        msg.data, msg.format = array("B", data), form or msg.format

    return change


def cut(msg: CompressedImage) -> None:
    msg.data = msg.data[: len(msg.data) // 2]


def giant(msg: CompressedImage) -> None:
    """A PNG of ordinary length that says that it has 10^10 pixels."""
    at = bytes(msg.data).index(b"IHDR") + 4
    msg.data[at : at + 8] = array("B", struct.pack(">II", 100_000, 100_000))


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


GREY, MM = np.full((240, 320), 90, np.uint8), np.full((240, 320), 900, np.uint16)
BAD = {
    "no bytes": (colour(put(b"")), "the 0 bytes of the compressed image are no whole JPEG or PNG"),
    "noise": (colour(put(bytes(range(200)))), "no whole JPEG or PNG: begin 00 01"),
    "cut off": (colour(cut), "no whole JPEG or PNG"),
    "video": (colour(put(b"\0\0\0\1\x67", "h264")), "format 'h264'; send jpeg or png"),
    "16 bit colour": (colour(put(png(np.dstack([MM] * 3)), "png")), "16 bits a channel"),
    "depth for colour": (colour(put(bytes(depth_message(MM, "16UC1").data), "16UC1; compressedDepth png")), "send jpeg or png"),
    "another size": (colour(put(png(GREY[:120]), "mono8; png compressed ")), "depth image is 320x240, colour image 320x120"),
    "cut off depth": (depth(cut), "no whole JPEG or PNG"),
    "giant depth": (depth(giant), "100000x100000 pixels"),
    "rvl": (depth(put(b"\0" * 60, "16UC1; compressedDepth rvl")), "png, not rvl"),
    "8 bit depth": (depth(put(b"\0" * 12 + png(GREY))), "one channel of 16 bits, got 1 of 8"),
    "depth without a scale": (depth(put(b"\0" * 12 + png(MM), "32FC1; compressedDepth png")), "quantisation A > 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_damage_is_answered_with_the_reason(robot: CompressedRobot, scene: Scene, case: str) -> None:
    robot.change, words = BAD[case]
    robot.restart()
    try:
        status = robot.segment("the box", shot=scene.shot()).segments.status
    finally:
        robot.change = nothing
    assert status.code == Status.INVALID_INPUT and words in status.message, status.message


def test_grey_pictures_are_answered_on(robot: CompressedRobot, scene: Scene) -> None:
    robot.change = colour(put(png(GREY), "mono8; png compressed "))
    robot.restart()
    status = robot.segment("the box", shot=scene.shot()).segments.status
    robot.change = nothing
    assert status.code == Status.OK, status.message


def test_after_all_that_it_still_works(robot: CompressedRobot, node: NodeProcess, scene: Scene) -> None:
    robot.restart()
    assert node.alive() and "Traceback" not in node.log
    assert robot.segment("the box", shot=scene.shot()).segments.status.code == Status.OK


def test_the_silent_topic_is_named_as_it_is_subscribed_to(robot: CompressedRobot) -> None:
    robot.restart()
    status = robot.segment("the box").segments.status
    assert status.code == Status.NO_FRAME and "no image on /image/compressed" in status.message


def test_a_colour_camera_alone_is_answered_with_masks(robot: CompressedRobot, scene: Scene) -> None:
    """No depth is waited for or complained about, and no calibration is needed."""
    assert robot.set_parameter("use_depth", False)[0]
    robot.with_depth = False
    robot.restart()
    shot = scene.shot(depth=None, camera=None)
    response = robot.segment("things", shot=shot)
    status = response.segments.status
    assert status.code == Status.OK and "in the image only" in status.message and "use_depth" in status.message
    assert len(response.segments.segments) == 2 and not response.objects.objects and not response.grasp_targets.targets
    assert robot.segment("nothing of the kind", shot=shot).segments.status.code == Status.NOT_FOUND
    assert robot.diagnostics(lambda report: report.get("depth") == "not used", shot)
    assert robot.set_parameter("use_depth", True)[0]
    robot.with_depth = True
    robot.restart()
    assert robot.segment("the box", shot=scene.shot()).objects.objects


def test_topics_follow_the_remapping_of_the_base_name_or_their_own() -> None:
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    remaps = ["image:=/camera/color/image_raw", "depth/compressedDepth:=/other/depth"]
    arguments = ["--ros-args", *(word for remap in remaps for word in ("-r", remap))]
    node = rclpy.create_node("wired", context=context, cli_args=arguments)
    try:
        topics = input_topics(node, NodeSettings(**COMPRESSED))
        assert (topics["image"], topics["depth"]) == ("/camera/color/image_raw/compressed", "/other/depth")
        assert topic_of(node, "image", "raw") == "/camera/color/image_raw" and topics["camera_info"] == "/camera_info"
        assert topic_of(node, "depth", "compressed") == "/depth/compressed"
    finally:
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    assert (image_type("raw"), image_type("compressedDepth")) == (Image, CompressedImage)
