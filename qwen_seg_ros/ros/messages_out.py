"""Results -> ROS messages. Pure functions: no node, no topic. Big arrays go through `array.array`, the only fast way in rclpy."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import Image, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header

from qwen_seg_ros.geometry.arrays import Colors, LabelImage, Matrix4, Points
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import quaternion_from_rotation
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud
from qwen_seg_ros.msg import (
    GraspTarget,
    GraspTargetArray,
    ObjectSegment,
    SceneObject,
    SceneObjectArray,
    SegmentArray,
    Status,
)
from qwen_seg_ros.segmentation.result import Instance, SegmentationResult

_LAST_NS = (1 << 31) * 1_000_000_000 - 1
_CLOUD_XYZRGB = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
_CLOUD_XYZRGB_ID = np.dtype([*_CLOUD_XYZRGB.descr, ("object_id", "<u4")])


def header(stamp_ns: int, frame_id: str) -> Header:
    """A time that builtin_interfaces/Time cannot hold becomes the nearest one that it can."""
    message = Header(frame_id=frame_id)
    message.stamp.sec, message.stamp.nanosec = divmod(min(int(stamp_ns), _LAST_NS), 1_000_000_000)
    return message


def byte_array(values: NDArray) -> array:
    """The bytes of an array, ready for a `uint8[]` field."""
    data = array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B") if values.size else b"")
    return data


def image_message(pixels: NDArray, encoding: str, head: Header) -> Image:
    """uint8 or uint16 (H, W) or (H, W, C) -> Image without row padding, little endian."""
    height, width = pixels.shape[:2]
    little = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    step = pixels.dtype.itemsize * int(np.prod(pixels.shape[1:]))
    return Image(header=head, height=height, width=width, encoding=encoding, is_bigendian=0, step=step, data=byte_array(little))


def label_image(segmentation: SegmentationResult | None, height: int, width: int) -> LabelImage:
    """uint16 (H, W): 0 = no object, else the id of the best object that covers the pixel."""
    labels = np.zeros((height, width), np.uint16)
    instances = segmentation.instances if segmentation else ()
    for number, instance in reversed(list(enumerate(instances, start=1))):
        labels[instance.mask.rows_cols][instance.mask.crop] = number
    return labels


def pose_message(matrix: Matrix4) -> Pose:
    pose = Pose()  # with its parts, which are filled in place: making them again costs more than the rest
    place, turn = pose.position, pose.orientation
    place.x, place.y, place.z = matrix[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(matrix[:3, :3]).tolist()
    return pose


def vector_message(xyz: NDArray) -> Vector3:
    x, y, z = xyz.tolist()
    return Vector3(x=x, y=y, z=z)


def segment_array(
    head: Header, instruction: str, status: Status, size: tuple[int, int], segmentation: SegmentationResult | None,
    track_ids: Sequence[str] = (),
) -> SegmentArray:
    """`size`: height and width of the colour image, (0, 0) where there was none. track_ids: one per instance, () = none."""
    message = SegmentArray(header=head, instruction=instruction, status=status, height=size[0], width=size[1])
    if segmentation is not None:
        message.segments = [
            _segment(head, number, instance, _track_id(track_ids, number))
            for number, instance in enumerate(segmentation.instances, start=1)
        ]
        message.absent = [printable(phrase) for phrase in segmentation.absent]
    return message


def _track_id(track_ids: Sequence[str], number: int) -> str:
    """Of the instance with this id, which counts from 1."""
    return track_ids[number - 1] if track_ids else ""


def _segment(head: Header, number: int, instance: Instance, track_id: str) -> ObjectSegment:
    mask = instance.mask
    return ObjectSegment(
        id=number, track_id=track_id, phrase=printable(instance.phrase), score=float(instance.score),
        mask_score=float(instance.mask_score), roi=region(mask),
        mask=image_message(mask.crop.view(np.uint8) * np.uint8(255), "mono8", head),
    )


def region(mask: CroppedMask) -> RegionOfInterest:
    rows, cols = mask.crop.shape
    return RegionOfInterest(x_offset=mask.x_px, y_offset=mask.y_px, height=rows, width=cols)


def scene_object_array(
    head: Header, instruction: str, status: Status, lifted: Lifted | None, track_ids: Sequence[str] = ()
) -> SceneObjectArray:
    """track_ids: one per instance of the segmentation, () = none."""
    message = SceneObjectArray(header=head, instruction=instruction, status=status)
    if lifted is not None:
        message.objects = [_scene_object(head, item, _track_id(track_ids, item.id)) for item in lifted.objects]
    return message


def _scene_object(head: Header, item: ObjectCloud, track_id: str) -> SceneObject:
    return SceneObject(
        id=item.id, track_id=track_id, phrase=printable(item.phrase), score=float(item.score), pose=pose_message(item.box.pose),
        size=vector_message(item.box.size_m), depth_coverage=float(item.depth_coverage),
        cloud=cloud_message(head, item.points_m, item.colors),
    )


def grasp_target_array(
    head: Header, instruction: str, status: Status, gripper: str, plans: Iterable[GraspPlan]
) -> GraspTargetArray:
    """The grasps of all objects in one list, best first."""
    targets = [(plan, grasp) for plan in plans for grasp in plan.grasps]
    targets.sort(key=lambda pair: -pair[1].score)
    message = GraspTargetArray(header=head, instruction=instruction, status=status, gripper=gripper)
    message.targets = [_grasp_target(plan, grasp) for plan, grasp in targets]
    return message


def _grasp_target(plan: GraspPlan, grasp: Grasp) -> GraspTarget:
    return GraspTarget(
        object_id=plan.object_id, phrase=printable(plan.phrase), pose=pose_message(grasp.pose),
        pregrasp_pose=pose_message(grasp.pregrasp), width=float(grasp.width_m), score=float(grasp.score), strategy=grasp.strategy,
    )


def best_grasp_pose(targets: GraspTargetArray) -> PoseStamped | None:
    return PoseStamped(header=targets.header, pose=targets.targets[0].pose) if targets.targets else None


def cloud_message(head: Header, points_m: Points, colors: Colors, object_ids: NDArray | None = None) -> PointCloud2:
    """x y z in metres and packed rgb (0x00RRGGBB in a float32, as RViz and PCL read it); with ids also `object_id` (uint32)."""
    layout = _CLOUD_XYZRGB if object_ids is None else _CLOUD_XYZRGB_ID
    cloud = np.empty(len(points_m), layout)
    for axis, name in enumerate("xyz"):
        cloud[name] = points_m[:, axis]
    red, green, blue = colors.astype(np.uint32).T
    cloud["rgb"] = red << 16 | green << 8 | blue
    if object_ids is not None:
        cloud["object_id"] = object_ids
    return PointCloud2(
        header=head, height=1, width=len(cloud), fields=_fields(layout), is_bigendian=False, point_step=layout.itemsize,
        row_step=layout.itemsize * len(cloud), data=byte_array(cloud), is_dense=True,
    )


def objects_cloud(head: Header, objects: Sequence[ObjectCloud]) -> PointCloud2:
    """All objects in one cloud, each point with its object's id."""
    points = np.concatenate([o.points_m for o in objects]) if objects else np.zeros((0, 3), np.float32)
    colors = np.concatenate([o.colors for o in objects]) if objects else np.zeros((0, 3), np.uint8)
    ids = np.repeat([o.id for o in objects], [len(o.points_m) for o in objects]) if objects else np.zeros(0, np.uint32)
    return cloud_message(head, points, colors, ids)


def printable(text: str, limit: int = 500) -> str:
    """Text that every DDS implementation can carry: no NUL, no lone surrogates, at most `limit` characters."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:limit])
    return clean + ("..." if len(text) > limit else "")


def _fields(layout: np.dtype) -> list[PointField]:
    kinds = {"object_id": PointField.UINT32}
    places = (layout.fields or {}).items()
    return [PointField(name=n, offset=at[1], datatype=kinds.get(n, PointField.FLOAT32), count=1) for n, at in places]
