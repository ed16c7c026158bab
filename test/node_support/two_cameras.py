"""One table seen by a colour camera and, from beside it and at another size, by a depth camera."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from synthetic import Shape, Truth, synthetic_scene

from node_support.robot import Shot
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import inverse, quaternion_from_rotation

COLOR_FRAME, DEPTH_FRAME = "color_optical", "depth_optical"


@dataclass(frozen=True)
class TwoCameras:
    """color: with the depth that a driver would have registered. depth: what the depth camera itself sees."""

    color: Frame
    depth: Frame
    masks: list[NDArray]
    truths: list[Truth]

    @property
    def color_from_depth(self) -> Matrix4:
        return inverse(self.color.base_from_camera) @ self.depth.base_from_camera

    def shot(self, **changes: Any) -> Shot:
        """Colour and unregistered depth, each with its camera_info."""
        own = {"depth": millimetres(self.depth), "depth_camera": self.depth.camera}
        return Shot.of(self.color, **own | {"frame_id": COLOR_FRAME, "depth_frame_id": DEPTH_FRAME} | changes)

    def link(self, color_from_depth: Matrix4 | None = None) -> TransformStamped:
        """The static transform that a camera driver publishes."""
        pose = self.color_from_depth if color_from_depth is None else color_from_depth
        msg = TransformStamped(child_frame_id=DEPTH_FRAME)
        msg.header.frame_id = COLOR_FRAME
        turn, move = msg.transform.rotation, msg.transform.translation
        turn.x, turn.y, turn.z, turn.w = map(float, quaternion_from_rotation(pose[:3, :3]))
        move.x, move.y, move.z = map(float, pose[:3, 3])
        return msg


def millimetres(frame: Frame) -> NDArray[np.uint16]:
    assert frame.depth_m is not None
    return np.nan_to_num(frame.depth_m * 1000).round().astype(np.uint16)


def two_cameras(seed: int, shapes: list[Shape | str], depth_size: tuple[int, int] = (280, 216)) -> TwoCameras:
    """The depth camera stands 5 cm beside the colour camera, whose images are 320x240, and is turned by 3 degrees."""
    color, masks, truths = synthetic_scene(seed, shapes, 320, 240)
    depth, *_ = synthetic_scene(seed, shapes, *depth_size, distance_m=0.82, elevation_rad=0.86)
    return TwoCameras(color, depth, masks, truths)
