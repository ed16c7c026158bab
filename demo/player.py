"""A camera driver made of a bag: publishes one recorded scene ten times a second with the time of now.

    python demo/player.py demo/bag

A line with a scene's number on standard input shows that scene; the answer "showing NUMBER STAMP" comes when its first frame is
out. The end of input ends it.
"""

import selectors
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.offline.bags.reader import read_bag
from qwen_seg_ros.offline.bags.topics import Topics
from qwen_seg_ros.offline.bags.writer import depth_mm

PERIOD_S = 0.1


class Player:
    def __init__(self, frames: list[Frame]) -> None:
        self.frames, self.topics = frames, Topics()
        self.node = rclpy.create_node("bag_player")
        publish = self.node.create_publisher
        self.colour = publish(Image, self.topics.colour, qos_profile_sensor_data)
        self.depth = publish(Image, self.topics.depth, qos_profile_sensor_data)
        self.info = publish(CameraInfo, self.topics.info, qos_profile_sensor_data)

    def show(self, number: int) -> int:
        """Publish one frame of a scene; its stamp in nanoseconds."""
        frame, stamp_ns = self.frames[number], time.time_ns()
        camera = frame.camera
        info = CameraInfo(
            width=camera.width,
            height=camera.height,
            distortion_model="plumb_bob",
            d=list(camera.distortion),
            k=camera.matrix.ravel(),
        )
        self._publish(self.info, info, frame, stamp_ns)
        self._publish(self.depth, _image(depth_mm(frame.depth_m), "16UC1"), frame, stamp_ns)
        self._publish(self.colour, _image(frame.rgb, "rgb8"), frame, stamp_ns)
        return stamp_ns

    def _publish(self, publisher, message, frame: Frame, stamp_ns: int) -> None:
        message.header.frame_id = frame.frame_id
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        publisher.publish(message)


def _image(pixels: np.ndarray, encoding: str) -> Image:
    data = array("B", np.ascontiguousarray(pixels).tobytes())
    height, width = pixels.shape[:2]
    return Image(height=height, width=width, encoding=encoding, step=len(data) // height, data=data)


def main() -> None:
    rclpy.init()
    player = Player(list(read_bag(Path(sys.argv[1]))))
    commands = selectors.DefaultSelector()
    commands.register(sys.stdin, selectors.EVENT_READ)
    shown = 0
    while True:
        stamp_ns = None
        if commands.select(PERIOD_S):
            line = sys.stdin.readline()
            if not line:
                break
            shown, stamp_ns = int(line), player.show(int(line))
            print(f"showing {shown} {stamp_ns}", flush=True)
        else:
            player.show(shown)
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
