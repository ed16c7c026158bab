"""One moment of a recording: messages that belong together, decoded when they are wanted."""

from dataclasses import dataclass
from typing import Any

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4
from qwen_seg_ros.geometry.frame_tree import FrameTree
from qwen_seg_ros.geometry.registration import registered_depth
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of, rgb_of
from qwen_seg_ros.offline.bags.selection import Selection
from qwen_seg_ros.offline.bags.topics import BASE_FRAME

_CONNECT = "record the depth camera's camera_info and its transform, or depth registered to the colour image"


@dataclass(frozen=True, eq=False)
class View:
    """Messages of one moment. log_ns: when colour was recorded; time_s: the same as seconds from the recording's start."""

    stamp_ns: int
    log_ns: int
    time_s: float
    colour: Any
    depth: Any
    info: Any
    depth_info: Any
    tree: FrameTree
    selection: Selection

    @property
    def frame_id(self) -> str:
        return self.colour.header.frame_id.lstrip("/")

    def frame(self) -> tuple[Frame, str]:
        """Decoded, with the camera's pose in the target frame; and what belongs into the answer: what was missing or assumed.

        Raises:
            InvalidInputError: image, sizes or calibration cannot be used.
        """
        rgb = rgb_of(self.colour)
        depth_m, note = self._depth(rgb.shape[:2])
        camera = camera_of(self.info, self.selection.rectified) if self.info is not None else None
        return Frame(rgb, depth_m, camera, self._base_from_camera(), self.frame_id, self.stamp_ns), note

    def missing_transform(self) -> str:
        """Why results cannot be in the frame that was asked for; "" = they can, or none was asked for."""
        target = self.selection.target_frame
        try:
            self.tree.find(target or self.frame_id, self.frame_id, self.stamp_ns)
        except LookupError as error:
            return f"no transform {target} <- {self.frame_id}: {error}; results are in the camera frame"
        return ""

    def _base_from_camera(self) -> Matrix4 | None:
        target = self.selection.target_frame or BASE_FRAME
        if target == self.frame_id:
            return None
        try:
            return self.tree.find(target, self.frame_id, self.stamp_ns)
        except LookupError:
            return None

    def _depth(self, size: tuple[int, int]) -> tuple[DepthImage | None, str]:
        """Depth (H, W) in the pixels of a colour image of `size`; wrong positions are worse than none."""
        if self.depth is None:
            return None, ""
        depth_m, other = depth_of(self.depth), self.depth.header.frame_id.lstrip("/")
        if self.selection.registered or other in ("", self.frame_id):
            return _fitting(depth_m, size), ""
        what = f"depth is of the frame {other!r}, colour of {self.frame_id!r}"
        if self.depth_info is not None and self.info is not None:
            return self._registered(depth_m, other, what)
        if depth_m.shape != size:
            return None, f"{what}, without calibration of its own and of another size; {_CONNECT}"
        return depth_m, f"{what}: taken as registered, positions are wrong if it is not; {_CONNECT}, or say --registered"

    def _registered(self, depth_m: DepthImage, other: str, what: str) -> tuple[DepthImage | None, str]:
        try:
            color_from_depth = self.tree.find(self.frame_id, other, self.stamp_ns)
        except LookupError as error:
            return None, f"{what}, and it cannot be registered: {error}; {_CONNECT}, or say --registered"
        depth_camera = camera_of(self.depth_info, topic="the depth camera's camera_info")
        return registered_depth(depth_m, depth_camera, camera_of(self.info, self.selection.rectified), color_from_depth), ""


def _fitting(depth_m: DepthImage, size: tuple[int, int]) -> DepthImage:
    if depth_m.shape != size:
        raise InvalidInputError(
            f"depth image is {depth_m.shape[1]}x{depth_m.shape[0]}, colour image {size[1]}x{size[0]}; "
            "name the depth that is registered to the colour image (aligned_depth_to_color, depth_registered) with --depth"
        )
    return depth_m
