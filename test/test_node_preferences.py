"""Preferences of a request over DDS: they change its grasps, hold in the frame they name, and nonsense is answered."""

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Vector3, Vector3Stamped
from node_support.fixtures import Scene
from node_support.process import NodeProcess
from node_support.robot import Robot
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from qwen_seg_ros.action import FindGraspTargets
from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_from_quaternion, transform
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.msg import GraspPreferences, GraspTarget, KeepOutBox, Status
from qwen_seg_ros.ros.messages_in import points_from_cloud
from qwen_seg_ros.ros.messages_out import cloud_message
from qwen_seg_ros.ros.preferences_in import frames_named, wishes_from_message

pytest_plugins = ("node_support.fixtures",)
HAND, NAN = load_gripper("panda"), float("nan")
WORLD_FROM_CAMERA = transform(rotation_from_quaternion(np.array([0.7, -0.2, 0.1, 0.4])), np.array([0.3, -0.1, 0.8]))


def matrix(pose: Pose) -> NDArray:
    q, p = pose.orientation, pose.position
    return transform(rotation_from_quaternion(np.array([q.x, q.y, q.z, q.w])), np.array([p.x, p.y, p.z]))


def box(centre: NDArray, size: NDArray, frame_id: str = "", **pose: Quaternion) -> KeepOutBox:
    placed = PoseStamped(header=Header(frame_id=frame_id), pose=Pose(position=Point(**_xyz(centre)), **pose))
    return KeepOutBox(pose=placed, size=Vector3(**_xyz(size)))


def towards(direction: NDArray, frame_id: str = "", weight: float = 0.9) -> GraspPreferences:
    wanted = Vector3Stamped(header=Header(frame_id=frame_id), vector=Vector3(**_xyz(direction)))
    return GraspPreferences(approach=[wanted], approach_weight=weight)


def part(points: NDArray, frame_id: str = "") -> PointCloud2:
    return cloud_message(Header(frame_id=frame_id), np.asarray(points, np.float32), np.zeros((len(points), 3), np.uint8))


def _xyz(values: NDArray) -> dict[str, float]:
    return dict(zip("xyz", map(float, values), strict=True))


def way_of_the_palm(target: GraspTarget) -> NDArray:
    """Points (N, 3) that fill the hand behind the fingers, from the pre-grasp pose to the grasp."""
    centre, size = max(HAND.boxes(target.width), key=lambda entry: entry[1].prod())
    shares = np.linspace(-0.475, 0.475, 9)
    filled = centre + np.stack(np.meshgrid(shares, shares, shares), -1).reshape(-1, 3) * size
    start, end = matrix(target.pregrasp_pose), matrix(target.pose)
    ways = [start + (end - start) * share for share in np.linspace(0, 1, 9)]  # a straight line without turning
    return np.concatenate([move_points(pose, filled) for pose in ways])


def inside(points: NDArray, centre: NDArray, size: NDArray) -> bool:
    return bool((np.abs(points - centre) < np.asarray(size) / 2).all(axis=1).any())


@pytest.fixture(scope="module")
def free(robot: Robot, scene: Scene) -> list[GraspTarget]:
    """Grasps of the box that nobody asked anything of."""
    return list(robot.segment("the box", shot=scene.shot()).grasp_targets.targets)


def test_a_keep_out_box_keeps_the_hand_out(robot: Robot, scene: Scene, free: list[GraspTarget]) -> None:
    centre, size = way_of_the_palm(free[0]).mean(axis=0), np.full(3, 0.05)
    assert inside(way_of_the_palm(free[0]), centre, size)
    wished = GraspPreferences(keep_out=[box(centre, size, "camera")])
    response = robot.segment("the box", shot=scene.shot(), preferences=wished)
    assert response.segments.status.code == Status.OK
    for target in response.grasp_targets.targets:
        assert not inside(way_of_the_palm(target), centre, size)


def test_a_keep_out_box_around_everything_is_the_reason(robot: Robot, scene: Scene) -> None:
    wished = GraspPreferences(keep_out=[box(np.array([0, 0, 0.5]), np.full(3, 2.0))])
    response = robot.segment("the box", shot=scene.shot(), preferences=wished)
    assert not response.grasp_targets.targets and response.objects.objects
    assert "keep-out box" in response.grasp_targets.status.message


def test_a_direction_leads_the_best_grasp(robot: Robot, scene: Scene, free: list[GraspTarget]) -> None:
    straight_down = -scene.frame.base_from_camera[2, :3]
    slanted = straight_down + 0.8 * np.array([1.0, 0, 0])
    best = [robot.segment("the box", shot=scene.shot(), preferences=towards(way)).grasp_targets.targets[0]
            for way in (straight_down, slanted)]
    down, slant = (matrix(target.pose)[:3, 2] for target in best)
    assert down @ straight_down > 0.99 and slant @ slanted > down @ slanted + 0.05


def test_the_cloud_of_an_object_is_a_part_to_hold(robot: Robot, scene: Scene, free: list[GraspTarget]) -> None:
    """The answer's cloud goes back as it came; of one end of it, grasps come near that end."""
    cloud = robot.segment("the box", shot=scene.shot()).objects.objects[0].cloud
    whole = robot.segment("the box", shot=scene.shot(), preferences=GraspPreferences(part=cloud, part_weight=0.9))
    assert whole.grasp_targets.targets
    points = points_from_cloud(cloud)
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    along = (points - points.mean(axis=0)) @ axis
    for side in (-1, 1):
        end = points[side * along > np.quantile(side * along, 0.9)]
        wished = GraspPreferences(part=part(end, "camera"), part_weight=1.0)
        best = robot.segment("the box", shot=scene.shot(), preferences=wished).grasp_targets.targets[0]
        assert _gap(best, end) <= _gap(free[0], end) + 1e-4


def _gap(target: GraspTarget, points: NDArray) -> float:
    return float(np.linalg.norm(points - matrix(target.pose)[:3, 3], axis=1).min())


def nonsense() -> dict[str, tuple[GraspPreferences, str]]:
    """What cannot be used -> a word of the answer."""
    down, unit = np.array([0, 0, -1.0]), np.ones(3)
    cloud, short = part(np.ones((4, 3))), part(np.ones((4, 3)))
    cloud.fields = cloud.fields[:2]
    short.data = short.data[:-1]
    flat = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    return {
        "NaN direction": (towards(np.array([0, NAN, -1])), "approach must be three finite numbers"),
        "no direction": (towards(np.zeros(3)), "not all 0"),
        "weight of 2": (towards(down, weight=2.0), "approach_weight must be between 0 and 1"),
        "NaN weight": (GraspPreferences(part=part(np.ones((4, 3))), part_weight=NAN), "part_weight must be between 0 and 1"),
        "direction in an unknown frame": (towards(down, "nowhere"), "no transform camera <- nowhere"),
        "box in an unknown frame": (GraspPreferences(keep_out=[box(unit, unit, "lost")]), "no transform camera <- lost"),
        "part in an unknown frame": (GraspPreferences(part=part(np.ones((4, 3)), "gone")), "no transform camera <- gone"),
        "box at NaN": (GraspPreferences(keep_out=[box(unit, unit), box(unit * NAN, unit)]), "keep_out[1].pose.pose.position"),
        "flat box": (GraspPreferences(keep_out=[box(unit, np.array([1, 0, 1]))]), "keep_out[0].size must be three lengths"),
        "endless box": (GraspPreferences(keep_out=[box(unit, unit * np.inf)]), "keep_out[0].size must be three lengths"),
        "box without rotation": (GraspPreferences(keep_out=[box(unit, unit, orientation=flat)]), "keep_out[0].pose.pose.orient"),
        "17 boxes": (GraspPreferences(keep_out=[box(unit, unit)] * 17), "at most 16 keep-out boxes"),
        "cloud without z": (GraspPreferences(part=cloud), "fields x y z"),
        "cloud cut off": (GraspPreferences(part=short), "and 63 bytes"),
        "cloud of NaN": (GraspPreferences(part=part(np.full((4, 3), NAN))), "none of the 4 points"),
    }


@pytest.mark.parametrize("case", nonsense())
def test_nonsense_is_answered(robot: Robot, scene: Scene, case: str) -> None:
    preferences, words = nonsense()[case]
    response = robot.segment("the box", shot=scene.shot(), preferences=preferences)
    status = response.grasp_targets.status
    assert status.code == Status.INVALID_INPUT and words in status.message, status.message
    assert not response.grasp_targets.targets and not response.segments.segments


def test_an_action_with_nonsense_is_aborted_with_the_reason(robot: Robot, scene: Scene) -> None:
    goal = FindGraspTargets.Goal(instruction="the box", plan_grasps=True, preferences=towards(np.zeros(3)))
    accepted = robot.action.send_goal_async(goal)
    robot.spin_until(accepted.done)
    result = accepted.result().get_result_async()
    robot.spin_until(result.done, scene.shot())
    status = result.result().result.segments.status
    assert status.code == Status.INVALID_INPUT and "not all 0" in status.message


def test_without_the_target_frame_a_wish_for_it_is_refused(robot: Robot, scene: Scene) -> None:
    """Results fall back to the camera's frame; directions must not do so unseen."""
    assert robot.set_parameter("target_frame", "world")[0]
    unnamed = robot.segment("the box", shot=scene.shot(), preferences=towards(np.array([0, 0, -1])))
    named = robot.segment("the box", shot=scene.shot(), preferences=towards(np.array([0, 0, 1]), "camera"))
    assert robot.set_parameter("target_frame", "")[0]
    assert unnamed.segments.status.code == Status.INVALID_INPUT and "camera <- world" in unnamed.segments.status.message
    assert named.segments.status.code == Status.NO_TRANSFORM and named.grasp_targets.targets


def test_the_node_lives_and_asks_for_nothing_by_default(robot: Robot, node: NodeProcess, scene: Scene) -> None:
    assert node.alive() and "Traceback" not in node.log
    assert robot.segment("the box", shot=scene.shot()).grasp_targets.targets


def test_a_wish_holds_in_the_frame_it_names() -> None:
    """The same things given in world and in the camera's frame are the same preferences."""
    points = np.array([[0.1, 0.2, 0.5], [0.1, 0.3, 0.6]])
    turned = WORLD_FROM_CAMERA @ transform(rotation_from_quaternion(np.array([0, 0, 0.3, 1.0])), points[0])
    message = towards(WORLD_FROM_CAMERA[:3, :3] @ [0, 0, 1.0], "/world")
    message.keep_out = [box(turned[:3, 3], np.ones(3), "world"), box(points[1], np.ones(3), "camera")]
    message.part = part(move_points(WORLD_FROM_CAMERA, points), "world")
    known = {("camera", "world"): inverse(WORLD_FROM_CAMERA)}
    moved = wishes_from_message(message).in_frame("camera", "camera", lambda target, source: known[target, source])
    np.testing.assert_allclose(moved.approach, [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose([b.pose[:3, 3] for b in moved.keep_out], points, atol=1e-6)
    np.testing.assert_allclose(moved.part, points, atol=1e-6)
    assert frames_named(message) == {"world", "camera"}


def _lookup(target: str, source: str) -> NDArray:
    raise LookupError(f"{source} is not there")


def test_an_unknown_frame_says_what_would_do() -> None:
    wishes = wishes_from_message(towards(np.array([0, 0, -1.0]), "bin"))
    with pytest.raises(InvalidInputError, match="no transform base <- bin: bin is not there; give them in base, or ask again"):
        wishes.in_frame("base", "base", _lookup)
    assert wishes.in_frame("bin", "base", _lookup).approach is not None
