"""Small recordings for the tests of `qwen-seg replay`: one ray-cast scene seen again and again, and stored answers about it."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore
from synthetic import synthetic_scene

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.offline.bags.topics import CAMERA_INFO, COMPRESSED, IMAGE, Topics
from qwen_seg_ros.offline.bags.writer import connect, depth_mm, write_bag
from qwen_seg_ros.pipeline import Pipeline
from qwen_seg_ros.segmentation.replay import ReplaySegmenter
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.settings import Settings

STORE = get_typestore(Stores.ROS2_HUMBLE)
BEGIN_NS = 1_700_000_000 * 10**9
GAP_NS = 100_000_000
COLOUR, DEPTH, INFO, FIXED = Topics().colour, Topics().depth, Topics().info, Topics().static_transforms


@cache
def scene() -> tuple[Frame, dict[str, SegmentationResult]]:
    """A 160x120 view of a box and a ball, and the answers to "the box" and "both"."""
    frame, masks, _ = synthetic_scene(3, ["box", "ball"], width=160, height=120)
    found = [
        Instance(name, m.box_px, m, 0.9, 0.8) for name, m in zip(("box", "ball"), map(CroppedMask.from_full, masks), strict=True)
    ]
    answers = {words: SegmentationResult(words, Outcome.FOUND, tuple(found[:n])) for words, n in (("the box", 1), ("both", 2))}
    return replace(frame, frame_id="camera"), answers


def frames(count: int) -> list[Frame]:
    """The scene every tenth of a second; a mark of its number in the first pixel keeps the pictures apart."""
    made = []
    for number in range(count):
        rgb = scene()[0].rgb.copy()
        rgb[0, 0] = number
        made.append(replace(scene()[0], rgb=rgb, stamp_ns=BEGIN_NS + number * GAP_NS))
    return made


def recording(folder: Path, count: int = 4) -> Path:
    return write_bag(folder, frames(count))


def recorded(bag: Path) -> list[tuple[int, str, bytes]]:
    """Time of recording, topic and bytes of every message."""
    with AnyReader([bag]) as reader:
        return [(log_ns, connection.topic, bytes(raw)) for connection, log_ns, raw in reader.messages()]


def pipeline() -> Pipeline:
    """With stored answers in place of a network."""
    return Pipeline(Settings(), ReplaySegmenter(scene()[1]))


def write(writer, made, shift_ns: int = 0, names=("/cam/rgb", "/cam/depth", "/cam/camera_info"), jpeg: bool = False) -> None:
    """Frames with topics of other names; depth stamped `shift_ns` later; colour as a compressed picture on demand."""
    kinds = (COMPRESSED if jpeg else IMAGE, IMAGE, CAMERA_INFO)
    colour, depth, info = (connect(writer, STORE, name, kind) for name, kind in zip(names, kinds, strict=True))
    for frame in made:
        head, late = header(frame.stamp_ns), header(frame.stamp_ns + shift_ns)
        size = {"height": frame.height, "width": frame.width}
        put(writer, info, frame.stamp_ns, header=head, **size, **calibration_fields(frame.camera))
        if jpeg:
            data = cv2.imencode(".png", frame.rgb[..., ::-1])[1].ravel()
            put(writer, colour, frame.stamp_ns, header=head, format="rgb8; png compressed bgr8", data=data)
        else:
            put(writer, colour, frame.stamp_ns, header=head, **size, **pixels(frame.rgb, "rgb8", 3))
        depths = pixels(depth_mm(frame.depth_m), "16UC1", 2)
        put(writer, depth, frame.stamp_ns, header=late, **size, **depths)


def calibration_fields(camera) -> dict:
    roi = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    lens = {"d": np.zeros(5), "k": camera.matrix.ravel(), "r": np.eye(3).ravel(), "p": np.zeros(12), "roi": roi}
    return lens | {"distortion_model": "plumb_bob", "binning_x": 0, "binning_y": 0}


def make(kind: str, **fields):
    return STORE.types[kind](**fields)


def header(stamp_ns: int):
    stamp = make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id="camera")


def pixels(image: np.ndarray, encoding: str, per_pixel: int) -> dict:
    return {"encoding": encoding, "is_bigendian": 0, "step": image.shape[1] * per_pixel, "data": image.reshape(-1).view(np.uint8)}


def put(writer, connection, log_ns: int, **fields) -> None:
    writer.write(connection, log_ns, STORE.serialize_cdr(make(connection.msgtype, **fields), connection.msgtype))
