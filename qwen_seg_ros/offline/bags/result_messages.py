"""Answers -> serialised messages of this package, without ROS: the definitions are read from its .msg files.

What `qwen_seg_ros.ros.messages_out` makes for a running node, as bytes for a recording.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from qwen_seg_ros.errors import MissingExtraError
from qwen_seg_ros.geometry.arrays import Matrix4
from qwen_seg_ros.geometry.transform import quaternion_from_rotation
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.object_cloud import ObjectCloud
from qwen_seg_ros.pipeline import PipelineResult
from qwen_seg_ros.segmentation.result import Instance

SEGMENTS, OBJECTS, TARGETS, BEST = (f"/segmentation_node/{n}" for n in ("segments", "objects", "grasp_targets", "grasp_pose"))
TOPICS = {  # as the node publishes them
    SEGMENTS: "qwen_seg_ros/msg/SegmentArray",
    OBJECTS: "qwen_seg_ros/msg/SceneObjectArray",
    TARGETS: "qwen_seg_ros/msg/GraspTargetArray",
    BEST: "geometry_msgs/msg/PoseStamped",
}
CLOUD = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
FLOAT32 = 7  # sensor_msgs/PointField


def message_types() -> Typestore:
    """The types of ROS 2 Humble and those of this package. Raises MissingExtraError when its .msg files are not found."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    definitions = {}
    for file in sorted(_folder().glob("*.msg")):
        definitions.update(get_types_from_msg(file.read_text(), f"qwen_seg_ros/msg/{file.stem}"))
    store.register(definitions)
    return store


def _folder() -> Path:
    """Beside the package in a checkout, else where a ROS workspace or pip puts shared files."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    shared = [Path(prefix) / "share" / "qwen_seg_ros" / "msg" for prefix in prefixes if prefix]
    for folder in (Path(__file__).resolve().parents[3] / "msg", *shared):
        if (folder / "SegmentArray.msg").is_file():
            return folder
    raise MissingExtraError("the .msg files of qwen_seg_ros are not here; run from a clone, or source a workspace that built it")


class ResultMessages:
    """Makes the messages of one answer. target_frame: of results that are not in the camera's frame; gripper: its name."""

    def __init__(self, target_frame: str, gripper: str) -> None:
        self.store = message_types()
        self._target_frame, self._gripper = target_frame, gripper

    def of(self, result: PipelineResult, size: tuple[int, int]) -> Iterator[tuple[str, bytes]]:
        """Topic and CDR bytes; `size`: height and width of the colour image, (0, 0) where it could not be read."""
        camera = self._header(result.stamp_ns, result.frame_id)
        head = self._header(result.stamp_ns, self._target_frame if result.in_base else result.frame_id)
        said = {"instruction": text(result.instruction), "status": self._status(result)}
        targets = self._targets(result.plans)
        found = self._segments(camera, result)
        yield self._message(SEGMENTS, header=camera, **said, height=size[0], width=size[1], **found)
        yield self._message(OBJECTS, header=head, **said, objects=self._objects(head, result))
        yield self._message(TARGETS, header=head, **said, gripper=self._gripper, targets=targets)
        if targets:
            yield self._message(BEST, header=head, pose=targets[0].pose)

    def _message(self, topic: str, **fields: Any) -> tuple[str, bytes]:
        kind = TOPICS[topic]
        return topic, bytes(self.store.serialize_cdr(self._make(kind, **fields), kind))

    def _make(self, kind: str, **fields: Any) -> Any:
        return self.store.types[kind](**fields)

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        seconds, nanoseconds = divmod(stamp_ns, 10**9)
        stamp = self._make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
        return self._make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _status(self, result: PipelineResult) -> Any:
        return self._make("qwen_seg_ros/msg/Status", code=int(result.status.code), message=text(result.status.message))

    def _segments(self, head: Any, result: PipelineResult) -> dict[str, Any]:
        found = result.segmentation
        if found is None:
            return {"segments": [], "absent": []}
        segments = [self._segment(head, number, item) for number, item in enumerate(found.instances, start=1)]
        return {"segments": segments, "absent": [text(phrase) for phrase in found.absent]}

    def _segment(self, head: Any, number: int, item: Instance) -> Any:
        rows, cols = item.mask.crop.shape
        place = {"x_offset": item.mask.x_px, "y_offset": item.mask.y_px, "height": rows, "width": cols, "do_rectify": False}
        return self._make(
            "qwen_seg_ros/msg/ObjectSegment",
            id=number,
            track_id="",
            phrase=text(item.phrase),
            score=item.score,
            mask_score=item.mask_score,
            roi=self._make("sensor_msgs/msg/RegionOfInterest", **place),
            mask=self._mask(head, item.mask.crop),
        )

    def _mask(self, head: Any, crop: NDArray[np.bool_]) -> Any:
        rows, cols = crop.shape
        pixels = crop.ravel().view(np.uint8) * np.uint8(255)
        size = {"height": rows, "width": cols, "step": cols}
        return self._make("sensor_msgs/msg/Image", header=head, encoding="mono8", is_bigendian=0, data=pixels, **size)

    def _objects(self, head: Any, result: PipelineResult) -> list[Any]:
        return [self._object(head, item) for item in result.lifted.objects] if result.lifted is not None else []

    def _object(self, head: Any, item: ObjectCloud) -> Any:
        return self._make(
            "qwen_seg_ros/msg/SceneObject",
            id=item.id,
            track_id="",
            phrase=text(item.phrase),
            score=item.score,
            pose=self._pose(item.box.pose),
            size=self._xyz("geometry_msgs/msg/Vector3", item.box.size_m),
            depth_coverage=item.depth_coverage,
            cloud=self._cloud(head, item),
        )

    def _cloud(self, head: Any, item: ObjectCloud) -> Any:
        cloud = np.empty(len(item.points_m), CLOUD)
        cloud["x"], cloud["y"], cloud["z"] = item.points_m.T
        red, green, blue = item.colors.astype(np.uint32).T
        cloud["rgb"] = red << 16 | green << 8 | blue
        kind = "sensor_msgs/msg/PointField"
        fields = [self._make(kind, name=n, offset=4 * k, datatype=FLOAT32, count=1) for k, n in enumerate(CLOUD.names or ())]
        size = {"height": 1, "width": len(cloud), "point_step": CLOUD.itemsize, "row_step": CLOUD.itemsize * len(cloud)}
        data = cloud.view(np.uint8)
        return self._make(
            "sensor_msgs/msg/PointCloud2", header=head, fields=fields, is_bigendian=False, data=data, is_dense=True, **size
        )

    def _targets(self, plans: tuple[GraspPlan, ...]) -> list[Any]:
        """The grasps of all objects, best first."""
        pairs = sorted(((plan, grasp) for plan in plans for grasp in plan.grasps), key=lambda pair: -pair[1].score)
        return [self._target(plan, grasp) for plan, grasp in pairs]

    def _target(self, plan: GraspPlan, grasp: Grasp) -> Any:
        return self._make(
            "qwen_seg_ros/msg/GraspTarget",
            object_id=plan.object_id,
            phrase=text(plan.phrase),
            pose=self._pose(grasp.pose),
            pregrasp_pose=self._pose(grasp.pregrasp),
            width=grasp.width_m,
            score=grasp.score,
            strategy=grasp.strategy,
        )

    def _pose(self, matrix: Matrix4) -> Any:
        x, y, z, w = (float(value) for value in quaternion_from_rotation(matrix[:3, :3]))
        turn = self._make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        return self._make(
            "geometry_msgs/msg/Pose", position=self._xyz("geometry_msgs/msg/Point", matrix[:3, 3]), orientation=turn
        )

    def _xyz(self, kind: str, values: NDArray) -> Any:
        x, y, z = (float(value) for value in values)
        return self._make(kind, x=x, y=y, z=z)


def text(words: str, limit: int = 2000) -> str:
    """Words that every middleware can carry: printable, no lone surrogates, at most `limit` characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words[:limit])
