"""One rendered view and its truth <-> the bytes and words that are stored of it.

Pictures are compressed: colour as JPEG, ids and depth as PNG, which loses nothing but depth below a millimetre. Reading trusts
nothing: every size is bounded, and what does not fit together is refused.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.arrays import DepthImage, Matrix4, RgbImage
from qwen_seg_ros.geometry.camera import Camera
from qwen_seg_ros.offline.sim.scene import ObjectRecord, SimScene

Row = Mapping[str, Any]  # column -> value, as in docs/tabletop_ors_data.md
JPEG_QUALITY = 92
MAX_PICTURE_BYTES = 64 * 2**20
MAX_PICTURE_PIXELS = 50_000_000
MAX_TRUTH_BYTES = 2**20
MAX_ID = 255  # ids are 8-bit


@dataclass(frozen=True, eq=False)
class StoredView:
    """rgb uint8 (H, W, 3), ids uint8 (H, W) with 0 = no object, the objects in view.

    depth_m: float32 (H, W) along the axis, NaN = unknown; None where it was not stored or not asked for. camera and
    base_from_camera: None where the truth does not tell them.
    """

    key: str
    seed: int
    profile: str
    rgb: RgbImage
    ids: np.ndarray
    objects: tuple[ObjectRecord, ...]
    camera: Camera | None = None
    base_from_camera: Matrix4 | None = None
    depth_m: DepthImage | None = None


def to_row(scene: SimScene, number: int, profile: str, depth: bool) -> Row:
    """What is stored of view `number` of an arrangement; without `depth` its depth is left out."""
    truth = {
        "camera": asdict(scene.camera),
        "base_from_camera": np.asarray(scene.base_from_camera, np.float64).tolist(),
        "objects": [item.to_dict() for item in scene.objects],
    }
    return {
        "key": f"{scene.seed:07d}_{number:02d}",
        "seed": scene.seed,
        "profile": profile,
        "rgb": _encoded(".jpg", scene.rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]),
        "ids": _encoded(".png", scene.ids),
        "depth": _encoded(".png", millimetres(scene.depth_m)) if depth else None,
        "truth": json.dumps(truth),
    }


def to_view(row: Row) -> StoredView:
    """
    Raises:
        InvalidInputError: saying which column is wrong, and how.
    """
    rgb = _picture(row, "rgb", "JPEG", np.uint8, 3)[..., ::-1]
    ids = _picture(row, "ids", "PNG", np.uint8, 2)
    depth = _picture(row, "depth", "PNG", np.uint16, 2) if row.get("depth") is not None else None
    objects, camera, base_from_camera = _truth(row["truth"])
    sizes = {"rgb": rgb.shape[:2], "ids": ids.shape, "depth": ids.shape if depth is None else depth.shape}
    sizes["camera"] = (camera.height, camera.width) if camera else ids.shape
    if len(set(sizes.values())) > 1:
        raise InvalidInputError(f"rgb, ids, depth and camera must have one height and width, got {sizes}")
    words = (str(row["key"]), int(row["seed"]), str(row["profile"]))
    depth_m = None if depth is None else metres(depth)
    return StoredView(*words, np.ascontiguousarray(rgb), ids, objects, camera, base_from_camera, depth_m)


def millimetres(depth_m: DepthImage) -> np.ndarray:
    """float32 metres -> uint16 millimetres, 0 = unknown or beyond 65.535 m."""
    whole = np.rint(np.nan_to_num(depth_m * 1000.0, nan=0.0, posinf=0.0, neginf=0.0))
    return np.where((whole > 0) & (whole <= 65535), whole, 0).astype(np.uint16)


def metres(depth_mm: np.ndarray) -> DepthImage:
    """The inverse of `millimetres`: 0 becomes NaN."""
    return np.where(depth_mm == 0, np.float32(np.nan), depth_mm.astype(np.float32) / 1000).astype(np.float32)


def _encoded(kind: str, picture: np.ndarray, options: Any = ()) -> bytes:
    done, code = cv2.imencode(kind, np.ascontiguousarray(picture), list(options))
    if not done:
        raise InvalidInputError(f"a picture {picture.dtype} {picture.shape} cannot be written as {kind}")
    return code.tobytes()


def _picture(row: Row, column: str, kind: str, dtype: type, dimensions: int) -> np.ndarray:
    data = row[column]
    if not isinstance(data, bytes) or len(data) > MAX_PICTURE_BYTES:
        given = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise InvalidInputError(f"{column} must be a {kind} of at most {MAX_PICTURE_BYTES} bytes, got {given}")
    width, height = _size_of(data, column, kind)
    if width * height > MAX_PICTURE_PIXELS:
        raise InvalidInputError(f"{column} has {width}x{height} pixels, {MAX_PICTURE_PIXELS} are allowed")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise InvalidInputError(f"{column} is a damaged {kind}")
    if picture.dtype != dtype or picture.ndim != dimensions:
        raise InvalidInputError(f"{column} must be {np.dtype(dtype)} with {dimensions} axes, got {picture.dtype} {picture.shape}")
    return picture


def _size_of(data: bytes, column: str, kind: str) -> tuple[int, int]:
    """Width and height, from the header alone."""
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as problem:
        raise InvalidInputError(f"{column} is not a {kind} that can be read ({problem})") from None


def _truth(text: Any) -> tuple[tuple[ObjectRecord, ...], Camera | None, Matrix4 | None]:
    if not isinstance(text, str) or len(text) > MAX_TRUTH_BYTES:
        given = f"{len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise InvalidInputError(f"truth must be JSON of at most {MAX_TRUTH_BYTES} characters, got {given}")
    try:
        values = json.loads(text)
        objects = tuple(_record(item) for item in values["objects"])
        camera = _camera(values["camera"]) if "camera" in values else None
        pose = _pose(values["base_from_camera"]) if "base_from_camera" in values else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise InvalidInputError(f"truth cannot be read ({type(problem).__name__}: {problem})") from None
    return objects, camera, pose


def _record(values: dict) -> ObjectRecord:
    record = ObjectRecord.from_dict(values)
    if type(record.id) is not int or not 1 <= record.id <= MAX_ID or len(record.box_px) != 4:
        raise ValueError(f"an object has an id 1..{MAX_ID} and a box of four, got {record.id!r} and {record.box_px!r}")
    return record


def _camera(values: dict) -> Camera:
    return Camera(**{**values, "distortion": tuple(values.get("distortion", ()))})


def _pose(rows: Any) -> Matrix4:
    pose = np.array(rows, np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"base_from_camera must be 4 x 4 finite numbers, got shape {pose.shape}")
    return pose
