"""Depth for the pixels of the colour image: as it is published, or registered first when it belongs to another frame.

Part of the worker: nothing here runs in a callback. What can be known decides, by the table in `geometry.depth_way`, and what
had to be assumed is said.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.depth_way import FoundWay, Way, find_way
from qwen_seg_ros.geometry.registration import registered_depth
from qwen_seg_ros.geometry.sensor_messages import camera_of, depth_of
from qwen_seg_ros.ros.frame_source import View
from qwen_seg_ros.ros.messages_in import Picture, size_of
from qwen_seg_ros.ros.parameters import NodeSettings
from qwen_seg_ros.ros.transforms import TransformSource

AS_PUBLISHED, LEFT_OUT, NOT_USED = "as published", "left out", "not used"

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
        found = self._way(view, depth_m, settings)
        if found.color_from_depth is not None:
            return self._registered(view, depth_m, _cameras(view, depth_m, settings, found.color_from_depth))
        if found.way is Way.AS_IS:
            return ReadDepth(depth_m, AS_PUBLISHED)
        if found.way is Way.UNPLACED:
            return _unplaced(view, found.missing)
        return _uncalibrated(view, depth_m, found.way)

    def _way(self, view: View, depth_m: DepthImage, settings: NodeSettings) -> FoundWay:
        """Where the transform only tells whether depth can be used as it is, nobody waits for it."""
        calibrated = view.depth_info is not None
        timeout_s = settings.transform_timeout_s if calibrated else 0.0
        return find_way(
            one_frame=settings.depth_registration == "never" or not view.other_frame,
            calibrated=calibrated,
            same_size=lambda: depth_m.shape[::-1] == size_of(view.image),
            find=lambda: self._transforms().lookup(*_frames(view), view.stamp, timeout_s),
        )

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


def _unplaced(view: View, missing: str) -> ReadDepth:
    color, depth = _frames(view)
    reason = f"it cannot be registered: no transform {color} <- {depth}: {missing}"
    remedy = f"have the camera driver publish it or run tf2_ros static_transform_publisher, or {_DECLARE}"
    return ReadDepth(None, LEFT_OUT, f"{_of_another_frame(view)}, and {reason}; {remedy}")


def _uncalibrated(view: View, depth_m: DepthImage, way: Way) -> ReadDepth:
    """Without the depth camera's calibration nothing can be registered; it is used as it is, or not."""
    what = f"{_of_another_frame(view)}, with {view.note}"
    if way is Way.OTHER_SIZE:
        sizes = "{}x{} and {}x{}".format(*depth_m.shape[::-1], *size_of(view.image))
        return ReadDepth(None, LEFT_OUT, f"{what}, and the sizes differ ({sizes}); {_CONNECT}")
    if way is Way.APART:
        return ReadDepth(None, LEFT_OUT, f"{what}, and the frames lie apart; {_CONNECT}, or {_DECLARE}")
    if way is Way.ASSUMED:
        warning = "taken as registered, positions are wrong if it is not"
        return ReadDepth(depth_m, "taken as registered", f"{what}: {warning}; {_CONNECT}, or {_DECLARE}")
    return ReadDepth(depth_m, "taken as registered: both frames lie in one place")


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
