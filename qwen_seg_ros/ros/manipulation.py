"""GraspTargetArray and SceneObjectArray -> what motion planners take: poses with costs, moveit_msgs/Grasp and CollisionObject.

Pure functions. moveit_msgs is not a dependency of the package: what needs it loads it and says so where it is absent.
"""

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Vector3Stamped
from numpy.typing import NDArray
from std_msgs.msg import Header

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.geometry.arrays import Matrix4, Vector3
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import inverse, rotation_from_quaternion, rotation_with_z, transform
from qwen_seg_ros.msg import GraspTarget, GraspTargetArray, SceneObject, SceneObjectArray
from qwen_seg_ros.ros.hands import Hand
from qwen_seg_ros.ros.messages_out import pose_message, vector_message

CLOSING_TIME_S = 1  # fingers have this long for a posture
LEAST_SIZE_M = 1e-3  # planners refuse boxes without extent
BACK = np.array([0.0, 0.0, -1.0])  # out of the object, in the frame of the hand or its link


@dataclass(frozen=True)
class Moves:
    """How a grasp is approached and left.

    min_share: of the approach and the retreat that must be free. retreat_m: length of the retreat. retreat_direction: in the
    frame of the array's header; None = back along the approach. opening_margin_m: how much wider than the object the hand
    opens (`opening_margin_m` of the planner): fingers on cranks hold it that much further closed, and reach further.
    """

    min_share: float = 0.5
    retreat_m: float = 0.1
    retreat_direction: tuple[float, float, float] | None = None
    opening_margin_m: float = 0.015

    def __post_init__(self) -> None:
        direction = self.retreat_direction
        if direction is not None and not (np.isfinite(direction).all() and np.linalg.norm(direction) > 1e-6):
            raise InvalidInputError(f"retreat_direction must be three finite numbers, not all zero, got {direction}")


DEFAULT_MOVES = Moves()


def matrix_of(pose: Pose) -> Matrix4:
    """Pose -> (4, 4).

    Raises:
        InvalidInputError: for a quaternion of length zero.
    """
    p, q = pose.position, pose.orientation
    return transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))


def object_name(object_id: int) -> str:
    """The name under which grasps and collision objects speak of one object."""
    return f"object_{object_id}"


# --- poses and costs -----------------------------------------------------------------------------------------------------------


def grasp_poses(targets: GraspTargetArray, hand: Hand | None = None, moves: Moves = DEFAULT_MOVES) -> list[PoseStamped]:
    """Where the hand is when it closes, best first: the tool centre point, or with a hand the pose of its link.

    Raises:
        InvalidInputError: when the grasps were planned for another gripper.
    """
    _check_gripper(targets, hand)
    return [_stamped(targets, _link_pose(target, target.pose, hand, moves)) for target in targets.targets]


def pregrasp_poses(targets: GraspTargetArray, hand: Hand | None = None, moves: Moves = DEFAULT_MOVES) -> list[PoseStamped]:
    """Where the straight approach begins, in the order of `grasp_poses`."""
    _check_gripper(targets, hand)
    return [_stamped(targets, _link_pose(target, target.pregrasp_pose, hand, moves)) for target in targets.targets]


def costs(targets: GraspTargetArray) -> list[float]:
    """1 - score for each target, 0 = best: MoveIt Task Constructor and its like look for the lowest."""
    return [float(np.clip(1.0 - target.score, 0.0, 1.0)) for target in targets.targets]


def contact_opening_m(target: GraspTarget, moves: Moves = DEFAULT_MOVES) -> float:
    """Opening at which the pads meet the object, as far as the target tells: its width less the planner's margin."""
    return max(target.width - moves.opening_margin_m, 0.0)


def _link_pose(target: GraspTarget, pose: Pose, hand: Hand | None, moves: Moves) -> Pose:
    if hand is None:
        return pose
    return pose_message(matrix_of(pose) @ inverse(hand.link_from_hand(contact_opening_m(target, moves))))


def _stamped(targets: GraspTargetArray, pose: Pose) -> PoseStamped:
    return PoseStamped(header=targets.header, pose=pose)


def _check_gripper(targets: GraspTargetArray, hand: Hand | None) -> None:
    if hand is not None and targets.targets and targets.gripper != hand.gripper:
        raise InvalidInputError(
            f"the grasps were planned for the gripper {targets.gripper!r}, the hand is a {hand.gripper!r}; "
            f"set grasping.gripper to it, or take the hand that fits"
        )


# --- straight moves ------------------------------------------------------------------------------------------------------------


def approach(target: GraspTarget) -> tuple[Vector3, float]:
    """Unit direction in the array's frame and length of the straight way from the pre-grasp pose to the grasp."""
    grasp, pregrasp = matrix_of(target.pose), matrix_of(target.pregrasp_pose)
    way = grasp[:3, 3] - pregrasp[:3, 3]
    length = float(np.linalg.norm(way))
    return (way / length if length > 1e-6 else grasp[:3, 2]), length


def retreat(target: GraspTarget, moves: Moves = DEFAULT_MOVES) -> tuple[Vector3, float]:
    """Unit direction in the array's frame and length of the straight way out with the object in the hand."""
    if moves.retreat_direction is None:
        return -approach(target)[0], moves.retreat_m
    direction = np.array(moves.retreat_direction, np.float64)
    return direction / np.linalg.norm(direction), moves.retreat_m


# --- moveit_msgs ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MoveItMessages:
    """The message classes that moveit_msgs brings along.

    Raises:
        MissingExtraError: where moveit_msgs is not installed.
    """

    Grasp: Any = field(default_factory=lambda: _message("moveit_msgs", "Grasp"))
    GripperTranslation: Any = field(default_factory=lambda: _message("moveit_msgs", "GripperTranslation"))
    CollisionObject: Any = field(default_factory=lambda: _message("moveit_msgs", "CollisionObject"))
    JointTrajectory: Any = field(default_factory=lambda: _message("trajectory_msgs", "JointTrajectory"))
    JointTrajectoryPoint: Any = field(default_factory=lambda: _message("trajectory_msgs", "JointTrajectoryPoint"))
    SolidPrimitive: Any = field(default_factory=lambda: _message("shape_msgs", "SolidPrimitive"))


def _message(package: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise MissingExtraError(
            f"{package}/{name} cannot be imported ({error}); install MoveIt: sudo apt install ros-$ROS_DISTRO-moveit-msgs"
        ) from error


def moveit_grasps(targets: GraspTargetArray, hand: Hand, moves: Moves = DEFAULT_MOVES) -> list[Any]:
    """moveit_msgs/Grasp for each target, best first: poses of the hand's link, postures of its joints.

    Raises:
        MissingExtraError: where moveit_msgs is not installed. InvalidInputError: when the grasps are for another gripper.
    """
    kinds = MoveItMessages()
    poses = grasp_poses(targets, hand, moves)
    return [
        kinds.Grasp(
            id=f"{object_name(target.object_id)}_grasp_{rank}",
            pre_grasp_posture=_posture(hand, target.width, kinds), grasp_posture=_posture(hand, 0.0, kinds),
            grasp_pose=pose, grasp_quality=float(target.score),
            pre_grasp_approach=_translation(targets.header, approach(target), moves, kinds),
            post_grasp_retreat=_translation(targets.header, retreat(target, moves), moves, kinds),
            post_place_retreat=_translation(Header(frame_id=hand.link), (BACK, moves.retreat_m), moves, kinds),
            allowed_touch_objects=[object_name(target.object_id)],
        )
        for rank, (target, pose) in enumerate(zip(targets.targets, poses, strict=True))
    ]


def _posture(hand: Hand, opening_m: float, kinds: MoveItMessages) -> Any:
    point = kinds.JointTrajectoryPoint(positions=list(hand.positions(opening_m)))
    point.time_from_start.sec = CLOSING_TIME_S
    return kinds.JointTrajectory(joint_names=list(hand.fingers.joints), points=[point])


def _translation(head: Header, way: tuple[Vector3, float], moves: Moves, kinds: MoveItMessages) -> Any:
    direction = Vector3Stamped(header=head, vector=vector_message(way[0]))
    return kinds.GripperTranslation(direction=direction, desired_distance=way[1], min_distance=moves.min_share * way[1])


def collision_objects(objects: SceneObjectArray) -> list[Any]:
    """moveit_msgs/CollisionObject for each object: its oriented box, under the name that the grasps may touch.

    Raises:
        MissingExtraError: where moveit_msgs is not installed.
    """
    kinds = MoveItMessages()
    return [_box(objects, object_name(item.id), item.pose, _size(item), kinds) for item in objects.objects]


def table_object(
    objects: SceneObjectArray, plane: Plane | None = None, margin_m: float = 0.3, thickness_m: float = 0.02, gap_m: float = 0.002
) -> Any:
    """moveit_msgs/CollisionObject of the table: a slab under all objects that reaches `margin_m` beyond them.

    plane: the table in the array's frame (`Scene.support`); None = level with the boxes, under the lowest. The slab's top lies
    gap_m below it, so that what stands on the table does not count as in collision.

    Raises:
        MissingExtraError: where moveit_msgs is not installed. InvalidInputError: without objects nothing says where to put it.
    """
    kinds = MoveItMessages()
    pose, size_m = table_slab(objects, plane, margin_m, thickness_m, gap_m)
    return _box(objects, "table", pose_message(pose), size_m, kinds)


def table_slab(
    objects: SceneObjectArray, plane: Plane | None, margin_m: float, thickness_m: float, gap_m: float
) -> tuple[Matrix4, Vector3]:
    """Pose (4, 4) with z up and full size (3,) of the slab of `table_object`."""
    if not objects.objects:
        raise InvalidInputError("the table's place is taken from the objects on it, and there are none; add it by hand")
    boxes = [OrientedBox(matrix_of(item.pose), _size(item)) for item in objects.objects]
    corners = np.concatenate([box.corners() for box in boxes]).astype(np.float64)
    table = plane or _under(boxes[0].pose[:3, 2], corners)
    frame_from_table = rotation_with_z(table.normal, boxes[0].pose[:3, 0])
    places = corners @ frame_from_table
    low, high = places[:, :2].min(axis=0) - margin_m, places[:, :2].max(axis=0) + margin_m
    centre = np.array([*(low + high) / 2, -table.offset_m - gap_m - thickness_m / 2])
    return transform(frame_from_table, frame_from_table @ centre), np.array([*(high - low), thickness_m])


def _under(up: Vector3, corners: NDArray) -> Plane:
    return Plane(up, -float((corners @ up).min()))


def _size(item: SceneObject) -> Vector3:
    return np.maximum([item.size.x, item.size.y, item.size.z], LEAST_SIZE_M)


def _box(objects: SceneObjectArray, name: str, pose: Pose, size_m: Vector3, kinds: MoveItMessages) -> Any:
    shape = kinds.SolidPrimitive(type=kinds.SolidPrimitive.BOX, dimensions=[float(length) for length in size_m])
    return kinds.CollisionObject(
        header=objects.header, pose=pose, id=name, primitives=[shape], primitive_poses=[pose_message(np.eye(4))],
        operation=kinds.CollisionObject.ADD,
    )
