"""The node's answer messages -> the library's types, moved into the base frame."""

from typing import Any

import numpy as np

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.cloud import voxel_down
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_from_quaternion, transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud, Scene
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult
from qwen_seg_ros.status import Status, StatusCode

OUTCOMES = {StatusCode.NOT_FOUND: Outcome.NOT_FOUND, StatusCode.UNREADABLE_ANSWER: Outcome.UNREADABLE_ANSWER}
AROUND_M, TABLE_CLEARANCE_M = 0.12, 0.006


def result_from_messages(response: Any, frame: Frame) -> PipelineResult:
    """Segment.Response in the camera frame of `frame`, whose base_from_camera is known.

    The scene around the objects, which no message carries, is made from the frame.
    """
    segments, head = response.segments, response.segments.header
    status = Status(StatusCode(segments.status.code), segments.status.message)
    instances = tuple(_instance(s, segments.height, segments.width) for s in segments.segments)
    segmentation = SegmentationResult(
        segments.instruction, OUTCOMES.get(status.code, Outcome.FOUND), instances, tuple(segments.absent)
    )
    objects = tuple(_object(o) for o in response.objects.objects)
    plans = tuple(_plan(o.id, o.phrase, response.grasp_targets.targets).moved(frame.base_from_camera) for o in objects)
    lifted = Lifted(objects, _scene(frame, objects)).moved(frame.base_from_camera)
    stamp_ns = head.stamp.sec * 10**9 + head.stamp.nanosec
    return PipelineResult(segments.instruction, status, head.frame_id, stamp_ns, True, segmentation, lifted, plans)


def _instance(segment: Any, height: int, width: int) -> Instance:
    roi, mask = segment.roi, segment.mask
    crop = np.frombuffer(mask.data, np.uint8).reshape(mask.height, mask.step)[:, : mask.width] > 0
    cropped = CroppedMask(crop, roi.x_offset, roi.y_offset, height, width)
    return Instance(segment.phrase, cropped.box_px, cropped, segment.score, segment.mask_score)


def _object(item: Any) -> ObjectCloud:
    points, colors = _cloud(item.cloud)
    size = np.array([item.size.x, item.size.y, item.size.z])
    unknown = np.zeros_like(points)  # normals are not sent
    return ObjectCloud(
        item.id, item.phrase, item.score, points, colors, unknown, OrientedBox(_matrix(item.pose), size), item.depth_coverage
    )


def _cloud(message: Any) -> tuple[np.ndarray, np.ndarray]:
    """x y z rgb -> float32 (P, 3), uint8 (P, 3)."""
    values = np.frombuffer(message.data, np.dtype([("xyz", "<f4", 3), ("bgra", "u1", 4)]))
    return values["xyz"].copy(), values["bgra"][:, 2::-1].copy()


def _plan(number: int, phrase: str, targets: Any) -> GraspPlan:
    mine = [t for t in targets if t.object_id == number]
    grasps = tuple(Grasp(_matrix(t.pose), _matrix(t.pregrasp_pose), t.width, t.score, t.strategy) for t in mine)
    return GraspPlan(number, phrase, grasps)


def _matrix(pose: Any) -> Matrix4:
    p, q = pose.position, pose.orientation
    return transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))


def _scene(frame: Frame, objects: tuple[ObjectCloud, ...]) -> Scene:
    """Points of the frame near the objects and above the table, which is z = 0 of the base frame."""
    camera_from_base = inverse(frame.base_from_camera)
    table = Plane(np.array([0.0, 0.0, 1.0]), 0.0).moved(camera_from_base)
    around = _surroundings(frame, objects) if objects else np.zeros((0, 3), np.float32)
    return Scene(around, np.zeros(len(around), np.uint16), table, camera_from_base[:3, 2], np.zeros(3))


def _surroundings(frame: Frame, objects: tuple[ObjectCloud, ...]) -> np.ndarray:
    rows, cols = np.nonzero(np.isfinite(frame.depth_m))
    points = frame.camera.deproject(np.stack([cols, rows], axis=1)[::3], frame.depth_m[rows, cols][::3])
    corners = np.concatenate([o.points_m for o in objects])
    near = ((points > corners.min(axis=0) - AROUND_M) & (points < corners.max(axis=0) + AROUND_M)).all(axis=1)
    high = move_points(frame.base_from_camera, points[near])[:, 2] > TABLE_CLEARANCE_M
    return voxel_down(points[near][high], 0.004)
