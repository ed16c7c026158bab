"""The worker on depth of another camera: registered for the answer, looked at again when something about it changes."""

from collections.abc import Iterator
from dataclasses import replace
from queue import Queue
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
import rclpy
from geometry_msgs.msg import PoseStamped, TransformStamped, Vector3
from node_support.fixtures import Scene
from node_support.process import DOMAIN
from node_support.robot import Shot, camera_info, image, stamped
from node_support.two_cameras import COLOR_FRAME, DEPTH_FRAME, TwoCameras, millimetres, two_cameras
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import inverse, transform
from qwen_seg_ros.msg import GraspPreferences, KeepOutBox
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.ros.camera import Camera
from qwen_seg_ros.ros.frame_source import FrameSource
from qwen_seg_ros.ros.messages_out import header, pose_message
from qwen_seg_ros.ros.parameters import Parameters
from qwen_seg_ros.ros.requests import Answer, Request
from qwen_seg_ros.ros.transforms import TransformBuffer
from qwen_seg_ros.ros.worker import Worker
from qwen_seg_ros.status import StatusCode

TOPICS = {name: f"/{name}" for name in ("image", "depth", "camera_info", "depth_camera_info")}
STAMP_NS = 5 * 10**9

pytest_plugins = ("node_support.fixtures",)


class Desk:
    """A worker with its mailbox and its transforms, and whoever asks it."""

    def __init__(self, node: Node) -> None:
        self.parameters = parameters = Parameters(node)
        self.transforms = TransformBuffer(0.1)
        self.frames = FrameSource(TOPICS, lambda: parameters.node_settings)
        self._answers: Queue[Answer] = Queue()
        camera = Camera("", self.frames, lambda: parameters.node_settings)
        self.worker = Worker(
            Pipeline(parameters.pipeline), parameters, [camera], lambda: self.transforms,
            lambda request, answer: self._answers.put(answer), lambda: 0, node.get_logger(),
        )
        self.station = self.worker.stations[""]
        self.worker.start()

    def publish(self, shot: Shot) -> None:
        self.frames.on_info(stamped(camera_info(shot.camera), shot.frame_id, STAMP_NS))
        self.frames.on_depth_info(stamped(camera_info(shot.depth_camera), shot.depth_frame, STAMP_NS))
        self.frames.on_depth(image(shot.depth, shot.depth_encoding, shot.depth_frame, STAMP_NS))
        self.frames.on_image(image(shot.rgb, shot.encoding, shot.frame_id, STAMP_NS))

    def ask(self, instruction: str, **request: Any) -> tuple[Answer, list[str]]:
        """The answer, and the stages on the way to it."""
        stages: list[str] = []
        self.worker.submit(Request(instruction, on_stage=stages.append, **({"plan_grasps": False} | request)))
        return self._answers.get(timeout=60), stages

    def centres(self, instruction: str) -> np.ndarray:
        """Middles (N, 3) of what is found, in the colour camera's frame, metres."""
        answer, _ = self.ask(instruction)
        assert (answer.code, answer.camera_frame) == (StatusCode.OK, COLOR_FRAME), answer.message
        return np.array([item.box.pose[:3, 3] for item in answer.result.lifted.objects])


@pytest.fixture
def desk(scene: Scene) -> Iterator[Desk]:
    values = {
        "segmentation.segmenter": "replay", "segmentation.checkpoint": str(scene.answers),
        "max_frame_age_s": 0.0, "transform_timeout_s": 0.0,
    }
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = rclpy.create_node("desk", context=context, parameter_overrides=overrides)
    desk = Desk(node)
    yield desk
    assert desk.worker.stop()
    node.destroy_node()
    rclpy.try_shutdown(context=context)


@pytest.fixture(scope="module")
def rig() -> TwoCameras:
    """Its colour image is that of `scene`."""
    return two_cameras(3, ["box", "ball"])


def test_answers_are_those_on_registered_depth(desk: Desk, rig: TwoCameras) -> None:
    desk.publish(rig.shot(depth=millimetres(rig.color), depth_frame_id=COLOR_FRAME))
    wanted = desk.centres("things")
    assert desk.station.depth_how == "as published" and "register" not in desk.station.last_ms
    desk.transforms.add(rig.link(), static=True)
    desk.frames.clear()
    desk.publish(rig.shot())
    np.testing.assert_allclose(desk.centres("things"), wanted, atol=0.002)
    assert desk.station.depth_how == f"registered from {DEPTH_FRAME} to {COLOR_FRAME}" and desk.station.last_ms["register"] > 0


def test_one_image_is_looked_at_again_when_its_depth_becomes_known(desk: Desk, rig: TwoCameras) -> None:
    desk.publish(rig.shot())
    answer, stages = desk.ask("things")
    assert answer.code == StatusCode.NO_DEPTH and answer.result.segmentation.instances and "encode" in stages
    assert f"no transform {COLOR_FRAME} <- {DEPTH_FRAME}" in answer.message
    assert desk.station.depth_note and desk.station.depth_note in answer.message
    desk.transforms.add(rig.link(), static=True)
    answer, stages = desk.ask("things")
    assert answer.code == StatusCode.OK and "encode" in stages and desk.station.depth_note == ""
    answer, stages = desk.ask("the box")
    assert answer.code == StatusCode.OK and "encode" not in stages and "register" not in desk.station.last_ms


def test_a_bad_calibration_is_an_answer_and_the_worker_lives(desk: Desk, rig: TwoCameras) -> None:
    desk.transforms.add(rig.link(), static=True)
    desk.publish(rig.shot(depth=np.ones((120, 160), np.uint16)))
    answer, _ = desk.ask("things")
    assert answer.code == StatusCode.INVALID_INPUT and "depth_camera_info is for 280x216 images" in answer.message
    desk.frames.clear()
    desk.publish(rig.shot())
    assert desk.ask("things")[0].code == StatusCode.OK


def test_wishes_in_either_frame_give_the_same_grasps_in_the_target_frame(desk: Desk, rig: TwoCameras) -> None:
    """A box over the best grasp, given in base by name and by default, and in the camera's frame."""
    base_from_camera = rig.color.base_from_camera
    stand = TransformStamped(header=header(0, "base"), child_frame_id=COLOR_FRAME)
    pose = pose_message(base_from_camera)
    stand.transform.rotation = pose.orientation
    stand.transform.translation = Vector3(x=pose.position.x, y=pose.position.y, z=pose.position.z)
    desk.transforms.add(stand, static=True)
    desk.parameters.node_settings = replace(desk.parameters.node_settings, target_frame="base")
    desk.publish(rig.shot(depth=millimetres(rig.color), depth_frame_id=COLOR_FRAME))

    def grasps(*boxes: KeepOutBox) -> np.ndarray:
        answer, _ = desk.ask("the box", plan_grasps=True, preferences=GraspPreferences(keep_out=boxes))
        assert (answer.code, answer.result_frame) == (StatusCode.OK, "base"), answer.message
        return np.array([grasp.pose for grasp in answer.result.plans[0].grasps])

    def box(frame_id: str, pose: Matrix4) -> KeepOutBox:
        placed = PoseStamped(header=header(0, frame_id), pose=pose_message(pose))
        return KeepOutBox(pose=placed, size=Vector3(x=0.05, y=0.3, z=0.1))

    best = grasps()[0]
    over = transform(np.eye(3), best[:3, 3] + [0.03, 0, 0.1])
    wanted = grasps(box("base", over))
    assert len(wanted) != len(grasps()) or not np.allclose(wanted[0], best)
    for same in (box("", over), box(COLOR_FRAME, inverse(base_from_camera) @ over)):
        np.testing.assert_allclose(grasps(same), wanted, atol=1e-5)
