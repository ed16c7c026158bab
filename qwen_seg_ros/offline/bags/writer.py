"""Frames -> a rosbag2 folder (mcap, chunks compressed with zstd) that `ros2 bag play` and `read_bag` understand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.geometry.transform import quaternion_from_rotation
from qwen_seg_ros.offline.bags.topics import BASE_FRAME, CAMERA_INFO, IMAGE, TRANSFORM_TYPES, Topics

METADATA_VERSION = 8  # read by every ROS 2 release that reads mcap with compressed chunks
_NEVER = QosTime(0, 0)


def write_bag(folder: Path, frames: Iterable[Frame], topics: Topics | None = None) -> Path:
    """Write every frame at its stamp: colour as rgb8, depth as 16UC1 millimetres (0 = none), camera_info, the first pose.

    Raises:
        InvalidInputError: the folder exists already, or a frame has no depth or camera.
    """
    folder = Path(folder)
    if folder.exists():
        raise InvalidInputError(f"{folder} exists already; name a new folder or remove it first")
    with open_writer(folder) as writer:
        recorder = _Recorder(writer, topics or Topics())
        for frame in frames:
            recorder.add(frame)
    return folder


@contextmanager
def open_writer(folder: Path) -> Iterator[Writer]:
    """A new rosbag2 folder; its bytes depend on what is written and on nothing else."""
    writer = Writer(folder, version=METADATA_VERSION, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        yield writer


def connect(writer: Writer, store: Typestore, topic: str, kind: str, latched: bool = False) -> Connection:
    """A topic of a new recording, reliable; latched: for who joins late, too."""
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    qos = Qos(
        QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, _NEVER, _NEVER, QosLiveliness.AUTOMATIC, _NEVER, False
    )
    return writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=[qos])


class _Recorder:
    def __init__(self, writer: Writer, topics: Topics) -> None:
        self.writer, self.store = writer, get_typestore(Stores.ROS2_HUMBLE)
        self.image = connect(writer, self.store, topics.colour, IMAGE)
        self.depth = connect(writer, self.store, topics.depth, IMAGE)
        self.info = connect(writer, self.store, topics.info, CAMERA_INFO)
        self.transforms = connect(writer, self.store, topics.static_transforms, TRANSFORM_TYPES[0], latched=True)
        self.located = False

    def add(self, frame: Frame) -> None:
        if frame.depth_m is None or frame.camera is None:
            absent = "depth" if frame.depth_m is None else "camera"
            raise InvalidInputError(f"a recorded frame needs depth and a camera; this one has no {absent}")
        if frame.base_from_camera is not None and not self.located:
            self._write(self.transforms, frame, self._transforms(frame))
            self.located = True
        self._write(self.info, frame, self._camera_info(frame.camera, self._header(frame)))
        self._write(self.depth, frame, self._image(depth_mm(frame.depth_m), "16UC1", frame))
        self._write(self.image, frame, self._image(frame.rgb, "rgb8", frame))

    def _write(self, connection: Any, frame: Frame, message: Any) -> None:
        self.writer.write(connection, frame.stamp_ns, self.store.serialize_cdr(message, connection.msgtype))

    def _header(self, frame: Frame, frame_id: str | None = None) -> Any:
        stamp = self._type("builtin_interfaces/msg/Time")(*divmod(frame.stamp_ns, 10**9))
        return self._type("std_msgs/msg/Header")(stamp, frame.frame_id if frame_id is None else frame_id)

    def _type(self, name: str) -> Any:
        return self.store.types[name]

    def _image(self, pixels: np.ndarray, encoding: str, frame: Frame) -> Any:
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        return self._type("sensor_msgs/msg/Image")(self._header(frame), height, width, encoding, 0, len(data) // height, data)

    def _camera_info(self, camera: Camera, header: Any) -> Any:
        roi = self._type("sensor_msgs/msg/RegionOfInterest")(0, 0, 0, 0, False)
        model = "equidistant" if camera.fisheye else "plumb_bob"
        projection = np.hstack([camera.matrix, np.zeros((3, 1))])
        distortion = np.array(camera.distortion or (0.0,) * 5)
        return self._type("sensor_msgs/msg/CameraInfo")(
            header,
            camera.height,
            camera.width,
            model,
            distortion,
            camera.matrix.ravel(),
            np.eye(3).ravel(),
            projection.ravel(),
            0,
            0,
            roi,
        )

    def _transforms(self, frame: Frame) -> Any:
        """One link base_link -> optical frame."""
        pose = frame.base_from_camera
        place = self._type("geometry_msgs/msg/Vector3")(*map(float, pose[:3, 3]))
        turn = self._type("geometry_msgs/msg/Quaternion")(*map(float, quaternion_from_rotation(pose[:3, :3])))
        move = self._type("geometry_msgs/msg/Transform")(place, turn)
        link = self._type("geometry_msgs/msg/TransformStamped")(self._header(frame, BASE_FRAME), frame.frame_id, move)
        return self._type("tf2_msgs/msg/TFMessage")([link])


def depth_mm(depth_m: np.ndarray) -> np.ndarray:
    """float32 metres, NaN = none -> uint16 millimetres, 0 = none (REP 118)."""
    return np.rint(np.nan_to_num(depth_m, posinf=0, neginf=0) * 1000).clip(0, 65535).astype(np.uint16)
