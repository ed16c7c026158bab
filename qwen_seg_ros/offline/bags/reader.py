"""A rosbag2 folder or mcap file -> frames: colour and depth paired by stamp, with camera_info and the pose from /tf_static."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.image_bytes import COLOUR_ENCODINGS, pixels_of
from qwen_seg_ros.geometry.transform import rotation_from_quaternion, transform
from qwen_seg_ros.offline.bags.topics import BASE_FRAME, Topics


def read_bag(path: Path, topics: Topics | None = None, tolerance_s: float = 0.02) -> Iterator[Frame]:
    """Frames in order of time. A colour topic may be compressed ("<colour>/compressed" is looked for too).

    Raises:
        InvalidInputError: there is no bag, a topic is missing (those that exist are named) or an encoding is unknown.
    """
    topics = topics or Topics()
    if not Path(path).exists():
        raise InvalidInputError(f"there is no bag {path}; make one with: qwen-seg simulate --bag {path}")
    with AnyReader([Path(path)], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        colour = _present(reader, topics.colour, topics.colour + "/compressed")
        depth, info = _present(reader, topics.depth), _present(reader, topics.info)
        wanted = [c for c in reader.connections if c.topic in (colour, depth, info, topics.static_transforms)]
        pairing = _Pairing(int(tolerance_s * 1e9))
        for connection, _, raw in reader.messages(wanted):
            message = reader.deserialize(raw, connection.msgtype)
            if connection.topic == topics.static_transforms:
                pairing.add_transforms(message)
            elif connection.topic == info:
                pairing.camera = camera(message)
            else:
                (pairing.colours if connection.topic == colour else pairing.depths).append(message)
            yield from pairing.frames()


def _present(reader: AnyReader, *names: str) -> str:
    for name in names:
        if name in reader.topics:
            return name
    known = ", ".join(sorted(reader.topics)) or "none"
    raise InvalidInputError(f"the bag has no topic {' or '.join(names)}; it has {known}")


@dataclass
class _Pairing:
    """Messages that wait for their partner."""

    tolerance_ns: int
    camera: Camera | None = None
    colours: list[Any] = field(default_factory=list)
    depths: list[Any] = field(default_factory=list)
    poses: dict[str, Matrix4] = field(default_factory=dict)

    def add_transforms(self, message: Any) -> None:
        for link in message.transforms:
            if link.header.frame_id == BASE_FRAME:
                self.poses[link.child_frame_id] = _pose(link.transform)

    def frames(self) -> Iterator[Frame]:
        """Those that are whole now; older messages without a partner are dropped."""
        while self.camera is not None and self.colours and self.depths:
            image, depth = self.colours[0], self.depths[0]
            gap = _stamp_ns(image) - _stamp_ns(depth)
            if abs(gap) > self.tolerance_ns:
                (self.depths if gap > 0 else self.colours).pop(0)
                continue
            self.colours.pop(0)
            self.depths.pop(0)
            name = image.header.frame_id
            yield Frame(rgb(image), depth_m(depth), self.camera, self.poses.get(name), name, _stamp_ns(image))


def _stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def _pose(message: Any) -> Matrix4:
    t, q = message.translation, message.rotation
    return transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([t.x, t.y, t.z]))


def rgb(message: Any) -> RgbImage:
    """Image or CompressedImage -> uint8 (H, W, 3)."""
    if not hasattr(message, "encoding"):
        return _decompressed(message)
    if message.encoding not in COLOUR_ENCODINGS:
        raise InvalidInputError(f"colour image has the encoding {message.encoding!r}; known are {', '.join(COLOUR_ENCODINGS)}")
    channels, conversion = COLOUR_ENCODINGS[message.encoding]
    pixels = pixels_of(message, np.dtype(np.uint8), channels)
    return np.ascontiguousarray(pixels) if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _decompressed(message: Any) -> RgbImage:
    picture = cv2.imdecode(np.asarray(message.data), cv2.IMREAD_COLOR)
    if picture is None:
        raise InvalidInputError(f"a compressed image of format {message.format!r} cannot be decoded; jpeg and png can")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def depth_m(message: Any) -> DepthImage:
    """16UC1 millimetres or 32FC1 metres -> float32 metres, NaN = none."""
    if message.encoding not in ("16UC1", "32FC1"):
        raise InvalidInputError(f"depth image has the encoding {message.encoding!r}; known are 16UC1 and 32FC1")
    whole = message.encoding == "16UC1"
    raw = pixels_of(message, np.dtype(np.uint16 if whole else np.float32), 1)[..., 0]
    depth = raw.astype(np.float32) * (0.001 if whole else 1.0)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)


def camera(message: Any) -> Camera:
    k = np.asarray(message.k if hasattr(message, "k") else message.K, np.float64).reshape(3, 3)
    distortion = tuple(float(v) for v in message.d)
    curved = any(distortion)
    fx, fy, cx, cy = (float(k[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    fisheye = curved and message.distortion_model in ("equidistant", "fisheye")
    return Camera(int(message.width), int(message.height), fx, fy, cx, cy, distortion if curved else (), fisheye)
