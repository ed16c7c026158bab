"""Pictures, depth and cameras from files -> a Frame."""

import json
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import DepthImage, RgbImage, valid_depth
from qwen_seg_ros.geometry.camera import Camera


def frame_from_files(image: Path, depth: Path | None, camera: Path | None) -> Frame:
    """Depth and camera are wanted together: one without the other gives no 3-D result."""
    if (depth is None) != (camera is None):
        given, absent = ("--depth", "--camera") if camera is None else ("--camera", "--depth")
        raise InvalidInputError(f"{given} was given without {absent}; a 3-D result needs both, masks alone need neither")
    return Frame(read_rgb(image), read_depth(depth) if depth else None, read_camera(camera) if camera else None)


def frame_from_bag(bag: Path, number: int) -> Frame:
    """Frame `number` (0 = first) of a recording."""
    try:
        from qwen_seg_ros.offline.bags.reader import read_bag
    except ImportError as error:
        raise MissingExtraError("reading bags needs rosbags: pip install 'qwen-seg-ros[bags]'") from error
    count = 0
    for count, frame in enumerate(read_bag(bag), start=1):
        if count == number + 1:
            return frame
    raise InvalidInputError(f"{bag} has {count} frames, so --frame must be between 0 and {count - 1}, got {number}")


def read_rgb(path: Path) -> RgbImage:
    _must_exist(path)
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InvalidInputError(f"{path} cannot be read as a picture; give a PNG or JPEG file")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def read_depth(path: Path) -> DepthImage:
    """PNG of 16 bit: millimetres, 0 = none. NPY of floats: metres, NaN or 0 = none. -> float32 metres, NaN = none."""
    _must_exist(path)
    values = _depth_values(path)
    if values is None or values.ndim != 2 or not (values.dtype == np.uint16 or values.dtype.kind == "f"):
        got = "something else" if values is None else f"{values.dtype} {values.shape}"
        raise InvalidInputError(f"{path} must be a 16-bit PNG in millimetres or a float NPY (H, W) in metres, got {got}")
    metres = values.astype(np.float32) * np.float32(0.001 if values.dtype == np.uint16 else 1.0)
    metres[~valid_depth(metres)] = np.nan
    return metres


def _depth_values(path: Path) -> np.ndarray | None:
    if path.suffix != ".npy":
        return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    try:
        return np.load(path, allow_pickle=False)
    except ValueError:
        return None


def read_camera(path: Path) -> Camera:
    """JSON with the fields of `Camera`: width, height, fx, fy, cx, cy and, where the lens bends, distortion and fisheye."""
    _must_exist(path)
    known = [item.name for item in fields(Camera)]
    try:
        values = json.loads(path.read_text())
        return Camera(**{**values, "distortion": tuple(values.get("distortion", ()))})
    except (ValueError, TypeError, AttributeError) as error:
        wanted = f"{', '.join(known[:6])} and maybe {', '.join(known[6:])}"
        raise InvalidInputError(f"{path} is no camera: {error}; it must be a JSON object with {wanted}") from error


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
