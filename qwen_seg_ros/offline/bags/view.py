"""One moment of a recording: messages that belong together, decoded when they are wanted."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4
from qwen_seg_ros.geometry.depth_way import Way, find_way
from qwen_seg_ros.geometry.frame_tree import FrameTree
from qwen_seg_ros.geometry.registration import registered_depth
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of, rgb_of
from qwen_seg_ros.offline.bags.selection import Selection
from qwen_seg_ros.offline.bags.topics import BASE_FRAME

_CONNECT = "record the depth camera's camera_info and its transform, or depth registered to the colour image"
_NOTES = {
    Way.UNPLACED: ", and it cannot be registered: {}",
    Way.OTHER_SIZE: ", without calibration of its own and of another size",
    Way.APART: ", without calibration of its own, and the frames lie apart",
    Way.ASSUMED: ": taken as registered, positions are wrong if it is not",
}


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

    def look(self) -> "Look":
        """Decoded, with the camera's pose in the target frame.

        Raises:
            InvalidInputError: image, sizes or calibration cannot be used.
        """
        rgb = rgb_of(self.colour)
        depth_m, note = self._depth(rgb.shape[:2])
        camera = camera_of(self.info, self.selection.rectified) if self.info is not None else None
        pose, problem = self._base_from_camera()
        return Look(Frame(rgb, depth_m, camera, pose, self.frame_id, self.stamp_ns), note, problem)

    def _base_from_camera(self) -> tuple[Matrix4 | None, str]:
        """The pose, and why results cannot be in the frame that was asked for; "" = they can, or none was asked for."""
        asked = self.selection.target_frame
        target = asked or BASE_FRAME
        if target == self.frame_id:
            return None, ""
        try:
            return self.tree.find(target, self.frame_id, self.stamp_ns), ""
        except LookupError as error:
            problem = f"no transform {target} <- {self.frame_id}: {error}; results are in the camera frame"
            return None, problem if asked else ""

    def _depth(self, size: tuple[int, int]) -> tuple[DepthImage | None, str]:
        """Depth (H, W) in the pixels of a colour image of `size`, and what is missing or was assumed."""
        if self.depth is None:
            return None, ""
        depth_m, other = depth_of(self.depth), self.depth.header.frame_id.lstrip("/")
        found = find_way(
            one_frame=self.selection.registered or other in ("", self.frame_id),
            calibrated=self.depth_info is not None and self.info is not None,
            same_size=lambda: depth_m.shape == size,
            find=lambda: self.tree.find(self.frame_id, other, self.stamp_ns),
        )
        if found.color_from_depth is not None:
            return self._registered(depth_m, found.color_from_depth), ""
        if found.way is Way.AS_IS:
            return _fitting(depth_m, size), ""
        if found.way is Way.SAME_PLACE:
            return depth_m, ""
        what = f"depth is of the frame {other!r}, colour of {self.frame_id!r}"
        note = f"{what}{_NOTES[found.way].format(found.missing)}; {_CONNECT}, or say --registered"
        return depth_m if found.way is Way.ASSUMED else None, note

    def _registered(self, depth_m: DepthImage, color_from_depth: Matrix4) -> DepthImage:
        depth_camera = camera_of(self.depth_info, topic="the depth camera's camera_info")
        return registered_depth(depth_m, depth_camera, camera_of(self.info, self.selection.rectified), color_from_depth)


class Look(NamedTuple):
    """note: what was missing or assumed about depth; problem: why results are not in the frame that was asked for."""

    frame: Frame
    note: str
    problem: str


def _fitting(depth_m: DepthImage, size: tuple[int, int]) -> DepthImage:
    if depth_m.shape != size:
        raise InvalidInputError(
            f"depth image is {depth_m.shape[1]}x{depth_m.shape[0]}, colour image {size[1]}x{size[0]}; "
            "name the depth that is registered to the colour image (aligned_depth_to_color, depth_registered) with --depth"
        )
    return depth_m
