"""Depth for the pixels of the colour image: as it is published, or registered first when it belongs to another frame.

Part of the worker: nothing here runs in a callback. What can be known decides, and what had to be assumed is said:

    frame ids   depth_camera_info   transform     size    depth is
    equal       -                   -             -       taken as registered (another size is an error)
    different   known               known         any     registered
    different   known               none          any     left out
    different   none                any           other   left out
    different   none                same place    equal   taken as registered
    different   none                apart         equal   left out
    different   none                none          equal   taken as registered, with a warning
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.registration import registered_depth
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of
from qwen_seg_ros.ros.frame_source import View
from qwen_seg_ros.ros.messages_in import Picture, size_of
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.ros.transforms import TransformSource

AS_PUBLISHED, LEFT_OUT, NOT_USED = "as published", "left out", "not used"
SAME_PLACE = 1e-3  # metres, radians: frames nearer than this see one picture

_CONNECT = "remap depth_camera_info to the depth camera's calibration, or subscribe to depth registered to the colour image"
_DECLARE = "set depth_registration to never if the driver has registered it already"


@dataclass(frozen=True, eq=False)
class ReadDepth:
    """depth_m: in the colour image's pixels; None = none. how: what was done with it, the same words for every image.

    note: what belongs into the answer: what is missing or was assumed, and what would do. spent_ms: by stage.
    """

    depth_m: DepthImage | None
    how: str
    note: str = ""
    spent_ms: dict[str, float] = field(default_factory=dict)


class _Cameras(NamedTuple):
    """Everything a registration depends on but the depth image."""

    depth: Camera
    color: Camera
    color_from_depth: Matrix4

    def equal(self, other: "_Cameras") -> bool:
        return self[:2] == other[:2] and np.array_equal(self.color_from_depth, other.color_from_depth)


class DepthReader:
    """Keeps the last registered image: several instructions may be on it."""

    def __init__(self, transforms: Callable[[], TransformSource]) -> None:
        self._transforms = transforms
        self._last: tuple[Picture, _Cameras, DepthImage] | None = None

    def read(self, view: View, settings: NodeSettings) -> ReadDepth:
        """Decode, and register where that is needed and can be done; blocks for the transform's time-out at most.

        Raises:
            InvalidInputError: for a depth image or a depth_camera_info that cannot be used.
        """
        if view.depth is None:
            return ReadDepth(None, LEFT_OUT if view.depth_wanted else NOT_USED, view.note)
        depth_m = depth_of(view.depth)
        if settings.depth_registration == "never" or not view.other_frame:
            return ReadDepth(depth_m, AS_PUBLISHED)
        if view.depth_info is None:
            return self._uncalibrated(view, depth_m)
        try:
            color_from_depth = self._color_from_depth(view, settings.transform_timeout_s)
        except LookupError as error:
            color, depth = _frames(view)
            reason = f"it cannot be registered: no transform {color} <- {depth}: {error}"
            remedy = f"have the camera driver publish it or run tf2_ros static_transform_publisher, or {_DECLARE}"
            return ReadDepth(None, LEFT_OUT, f"{_of_another_frame(view)}, and {reason}; {remedy}")
        return self._registered(view, depth_m, _cameras(view, depth_m, settings, color_from_depth))

    def _color_from_depth(self, view: View, timeout_s: float) -> Matrix4:
        return self._transforms().lookup(*_frames(view), view.stamp, timeout_s)

    def _uncalibrated(self, view: View, depth_m: DepthImage) -> ReadDepth:
        """Without the depth camera's calibration nothing can be registered; what speaks for and against using it as it is?"""
        what, size = f"{_of_another_frame(view)}, with {view.note}", size_of(view.image)
        if depth_m.shape[::-1] != size:
            sizes = "{}x{} and {}x{}".format(*depth_m.shape[::-1], *size)
            return ReadDepth(None, LEFT_OUT, f"{what}, and the sizes differ ({sizes}); {_CONNECT}")
        try:
            moved = np.abs(self._color_from_depth(view, 0.0) - np.eye(4)).max()
        except LookupError:
            warning = "taken as registered, positions are wrong if it is not"
            return ReadDepth(depth_m, "taken as registered", f"{what}: {warning}; {_CONNECT}, or {_DECLARE}")
        if moved > SAME_PLACE:
            return ReadDepth(None, LEFT_OUT, f"{what}, and the frames lie apart; {_CONNECT}, or {_DECLARE}")
        return ReadDepth(depth_m, "taken as registered: both frames lie in one place")

    def _registered(self, view: View, depth_m: DepthImage, cameras: _Cameras) -> ReadDepth:
        assert view.depth is not None
        color, depth = _frames(view)
        how, spent_ms = f"registered from {depth} to {color}", {}
        if self._last is None or self._last[0] is not view.depth or not self._last[1].equal(cameras):
            started = time.perf_counter()
            self._last = (view.depth, cameras, registered_depth(depth_m, *cameras))
            spent_ms["register"] = (time.perf_counter() - started) * 1e3
        found = self._last[2]
        if np.isfinite(depth_m).any() and not np.isfinite(found).any():
            note = f"no depth of {depth} falls into the image of {color}; check depth_camera_info and the transform between them"
            return ReadDepth(found, how, note, spent_ms)
        return ReadDepth(found, how, "", spent_ms)


def _frames(view: View) -> tuple[str, str]:
    """Names of the colour image's and of the depth image's frame."""
    assert view.depth is not None
    return view.image.header.frame_id.lstrip("/"), view.depth.header.frame_id.lstrip("/")


def _of_another_frame(view: View) -> str:
    color, depth = _frames(view)
    return f"depth is of the frame {depth!r}, colour of {color!r}"


def _cameras(view: View, depth_m: DepthImage, settings: NodeSettings, color_from_depth: Matrix4) -> _Cameras:
    assert view.info is not None and view.depth_info is not None
    camera = camera_of(view.depth_info, settings.depth_is_rectified, "depth_camera_info")
    height, width = depth_m.shape
    if (camera.width, camera.height) != (width, height):
        raise InvalidInputError(
            f"depth_camera_info is for {camera.width}x{camera.height} images, the depth image is "
            f"{width}x{height}; remap it to the calibration that belongs to the depth topic"
        )
    return _Cameras(camera, camera_of(view.info, settings.image_is_rectified), color_from_depth)
