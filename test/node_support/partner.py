"""Somebody on the other side of the topics in a process of its own, who can be killed at any moment.

python -m node_support.partner camera SCENE.npz      publishes colour, depth and calibration ten times a second
python -m node_support.partner service NODE WORDS    asks by the service, and waits for the answer
python -m node_support.partner goal NODE WORDS       asks by the action
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from node_support.process import environment
from node_support.robot import Shot, camera_info, image, stamped
from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.srv import Segment

BUSY = "at it"  # printed once the partner has begun


class Partner:
    """The process. It ends with the test, or by `kill`."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", __name__, *map(str, words)]
        folder = Path(__file__).parents[1]
        self._process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert BUSY in self._process.stdout.readline(), "the partner did not begin"

    def __enter__(self) -> "Partner":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL: no destructor runs, nobody is told."""
        self._process.kill()
        self._process.wait()


def save_shot(path: Path, shot: Shot) -> Path:
    """For `camera`: a colour and a depth image with the pinhole that they were taken through."""
    assert shot.camera is not None
    pinhole = [shot.camera.fx, shot.camera.fy, shot.camera.cx, shot.camera.cy]
    np.savez(path, rgb=shot.rgb, depth=shot.depth, pinhole=pinhole)
    return path


def film(node: Node, path: str) -> None:
    stored = np.load(path)
    rgb, depth, camera = stored["rgb"], stored["depth"], Camera(*stored["rgb"].shape[1::-1], *stored["pinhole"])
    kinds = {"image": Image, "depth": Image, "camera_info": CameraInfo}
    out = {topic: node.create_publisher(kind, topic, qos_profile_sensor_data) for topic, kind in kinds.items()}

    def take() -> None:
        now = time.time_ns()
        out["camera_info"].publish(stamped(camera_info(camera), "camera", now))
        out["depth"].publish(image(depth, "16UC1", "camera", now))
        out["image"].publish(image(rgb, "rgb8", "camera", now))

    node.create_timer(0.1, take)


def ask(node: Node, kind: str, target: str, words: str) -> Any:
    if kind == "service":
        client = node.create_client(Segment, f"{target}/segment")
        client.wait_for_service()
        answer = client.call_async(Segment.Request(instruction=words))
        rclpy.spin_until_future_complete(node, answer, timeout_sec=0.3)  # until the request is on its way
        return client, answer
    action = ActionClient(node, FindGraspTargets, f"{target}/find_grasp_targets")
    action.wait_for_server()
    goal = action.send_goal_async(FindGraspTargets.Goal(instruction=words))
    rclpy.spin_until_future_complete(node, goal)
    return action, goal.result().get_result_async()


def main(kind: str, *words: str) -> None:
    rclpy.init()
    node = rclpy.create_node(f"partner_{kind}")
    kept = film(node, *words) if kind == "camera" else ask(node, kind, *words)
    print(BUSY, flush=True)
    rclpy.spin(node)
    del kept


if __name__ == "__main__":
    main(*sys.argv[1:])
