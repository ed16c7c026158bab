"""An answer and its frame -> the picture and the points of the report."""

import base64
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from qwen_seg_ros.drawing import BOX_EDGES, FINGER_M, STEM_M, draw_overlay
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import Matrix4, RgbImage
from qwen_seg_ros.geometry.mask import CroppedMask, decode_rle
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_from_quaternion, transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

LONGER_SIDE, JPEG_BYTES = 960, 200_000  # pixels and size of a picture, at most
OBJECT_POINTS, OTHER_POINTS = 12_000, 8_000  # of a scene, at most
AROUND_M, FAR_M = 0.2, 3.0  # surroundings that are shown; points beyond are left out
UNIT_M = 1e-4  # of the points' whole numbers
HAND_EDGES = ((0, 1), (2, 3), (2, 4), (3, 5))
Z_UP_FROM_OPTICAL = transform(np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), np.zeros(3))


@dataclass(frozen=True, eq=False)
class Found:
    """An answer in arrays. boxes: by object id; plans: best grasps of each object. Both in the frame of the answer."""

    segmentation: SegmentationResult
    boxes: dict[int, OrientedBox]
    plans: tuple[GraspPlan, ...]


def found_in(line: dict[str, Any], frame: Frame) -> Found:
    """Raises KeyError, TypeError, ValueError or InvalidInputError where the line is not what a replay writes about this frame."""
    instances = tuple(_instance(item, frame) for item in line["segments"])
    outcome = Outcome.FOUND if instances else Outcome.NOT_FOUND
    boxes = {int(item["id"]): OrientedBox(_matrix(item["pose"]), np.array(item["size_m"], float)) for item in line["objects"]}
    plans = tuple(GraspPlan(int(o["id"]), str(o["phrase"]), tuple(map(_grasp, o["grasps"]))) for o in line["objects"])
    return Found(SegmentationResult(str(line["instruction"]), outcome, instances), boxes, plans)


def overlay_jpeg(frame: Frame, found: Found, camera_from_answer: Matrix4) -> bytes:
    """The picture with masks, boxes, labels and grasps; smaller and coarser where it would be too large.

    The bare picture where nothing was found: why, only the answer's status tells.
    """
    plans, picture = [plan.moved(camera_from_answer) for plan in found.plans], frame.rgb
    if found.segmentation.instances:
        picture = draw_overlay(frame.rgb, found.segmentation, frame.camera, plans)
    scale = LONGER_SIDE / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return _jpeg(picture)


def camera_from_answer(frame: Frame, line: dict[str, Any]) -> Matrix4:
    """Raises InvalidInputError: the answer is in a frame that no transform of the recording leads to."""
    if line["frame"] == line["camera_frame"]:
        return np.eye(4)
    if frame.base_from_camera is None:
        raise InvalidInputError(f"no transform from {line['camera_frame']!r} leads to its frame {line['frame']!r}")
    return inverse(frame.base_from_camera)


def scene_of(frame: Frame, found: Found, camera_from_answer: Matrix4, in_camera: bool) -> dict[str, Any] | None:
    """What the page's viewer shows: depth as it was measured, boxes and best grasps as they were answered, z up.

    None: no object, or no depth. points: int16 (N, 3) of 0.1 mm from the boxes' middle; colors: uint8 (N, 3); ids: uint8 (N,),
    0 = none; grains: how far apart points of the surroundings and of objects lie, metres; lines: object's id, whether it is
    a grasp, and its ends in metres. All arrays as base64.
    """
    if not found.boxes or frame.depth_m is None or frame.camera is None:
        return None
    shown_from_answer = Z_UP_FROM_OPTICAL if in_camera else np.eye(4)
    shown_from_camera = shown_from_answer @ inverse(camera_from_answer)
    corners = {number: move_points(shown_from_answer, box.corners()) for number, box in found.boxes.items()}
    every = np.concatenate(list(corners.values()))
    middle = (every.min(axis=0) + every.max(axis=0)) / 2
    reach = float(np.linalg.norm(every - middle, axis=1).max())
    points, colors, ids, grains_m = _points(frame, found, shown_from_camera, middle, reach)
    lines = [[number, False, _ends(of, BOX_EDGES, middle)] for number, of in corners.items()]
    for plan in found.plans:
        lines += [[plan.object_id, True, _ends(hand_corners(g, shown_from_answer), HAND_EDGES, middle)] for g in plan.grasps[:1]]
    whole = np.rint(points / UNIT_M).astype("<i2")
    eye = (shown_from_camera[:3, 3] - middle).round(4).tolist()
    arrays = {"points": _text(whole), "colors": _text(colors), "ids": _text(ids)}
    return {**arrays, "unit": UNIT_M, "grains": grains_m, "lines": lines, "eye": eye, "reach": round(reach, 4)}


def _points(
    frame: Frame, found: Found, shown_from_camera: Matrix4, middle: NDArray, reach: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8], list[float]]:
    """Points (N, 3) from `middle` in metres, colours (N, 3), object ids (N,), and grains: see `scene_of`."""
    assert frame.depth_m is not None and frame.camera is not None
    labels = np.zeros((frame.height, frame.width), np.uint8)
    for number, instance in reversed(list(enumerate(found.segmentation.instances, start=1))):
        labels[instance.mask.rows_cols][instance.mask.crop] = min(number, 255)
    rows, cols = np.nonzero(np.isfinite(frame.depth_m))
    in_camera = frame.camera.deproject(np.stack([cols, rows], axis=1), frame.depth_m[rows, cols])
    points, ids = move_points(shown_from_camera, in_camera) - middle.astype(np.float32), labels[rows, cols]
    away = np.linalg.norm(points, axis=1)
    groups = (
        _thinned(rows, cols, (ids == 0) & (away < min(reach + AROUND_M, FAR_M)), OTHER_POINTS),
        _thinned(rows, cols, (ids > 0) & (away < FAR_M), OBJECT_POINTS),
    )
    grains_m = [_grain(in_camera[few, 2] / frame.camera.fx, step) for few, step in groups]
    kept = np.concatenate([few for few, _ in groups])
    return points[kept], frame.rgb[rows[kept], cols[kept]], ids[kept], grains_m


def _thinned(rows: NDArray, cols: NDArray, wanted: NDArray[np.bool_], most: int) -> tuple[NDArray[np.intp], int]:
    """At most `most` of the wanted pixels: those of every n-th row and column, and n."""
    step = 1
    while True:
        few = np.flatnonzero(wanted & (rows % step == 0) & (cols % step == 0))
        if len(few) <= most:
            return few, step
        step += 1


def _grain(pixels_m: NDArray, step: int) -> float:
    """How far apart points lie, metres: pixels_m (N,) is how wide a pixel is at each."""
    return round(float(np.median(pixels_m)) * step, 5) if len(pixels_m) else 0.0


def hand_corners(grasp: Grasp, shown_from_answer: Matrix4) -> NDArray[np.float32]:
    """(6, 3): both ends of the stem, both finger roots, both finger tips."""
    half, root = max(grasp.width_m, 0.01) / 2, -FINGER_M
    ends = [(0, 0, root - STEM_M), (0, 0, root), (0, -half, root), (0, half, root), (0, -half, 0), (0, half, 0)]
    return move_points(shown_from_answer @ grasp.pose, np.array(ends))


def _ends(points: NDArray, edges: Any, middle: NDArray) -> list[list[float]]:
    """Both ends of every edge one after the other, metres from `middle`."""
    return [(points[corner] - middle).round(4).tolist() for edge in edges for corner in edge]


def _instance(item: dict[str, Any], frame: Frame) -> Instance:
    mask = CroppedMask.from_full(decode_rle(item["mask"]["counts"], frame.height, frame.width))
    box_px = np.array(item["box_px"], np.float32).reshape(4)
    return Instance(str(item["phrase"]), box_px, mask, float(item["score"]), float(item["mask_score"]))


def _grasp(item: dict[str, Any]) -> Grasp:
    """Where the approach begins is not recorded, and not drawn."""
    pose = _matrix(item["pose"])
    return Grasp(pose, pose, float(item["width_m"]), float(item["score"]), str(item["strategy"]))


def _matrix(pose: dict[str, list[float]]) -> Matrix4:
    return transform(rotation_from_quaternion(np.array(pose["quaternion_xyzw"])), np.array(pose["position_m"], float))


def _jpeg(picture: RgbImage) -> bytes:
    for quality in (85, 65, 40, 15):
        data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= JPEG_BYTES:
            break
    return data


def _text(array: NDArray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
