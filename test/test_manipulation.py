"""Grasp targets as motion planners take them: poses of links, straight moves, joint values, boxes of the scene."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qwen_seg_ros.msg", reason="needs the built interfaces: make test, or source .ws/env.sh")
from geometry_msgs.msg import Vector3
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Shape, synthetic_scene

from qwen_seg_ros.errors import InvalidInputError, MissingExtraError
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.plane import Plane
from qwen_seg_ros.geometry.transform import move_points, rotation_with_z, transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import FOLDER, load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.msg import GraspTargetArray, SceneObject, SceneObjectArray, Status
from qwen_seg_ros.ros import manipulation as m
from qwen_seg_ros.ros.hands import HANDS, SwingingFingers, hand_for
from qwen_seg_ros.ros.messages_out import grasp_target_array, header, pose_message
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

PANDA = hand_for("panda")
DOWN = np.diag([1.0, -1.0, -1.0])  # approach against z
GRIPPERS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def targets(*grasps: Grasp, gripper: str = "panda") -> GraspTargetArray:
    return grasp_target_array(header(5, "base"), "mug", Status(), gripper, [GraspPlan(3, "mug", grasps)])


def grasp(rotation=DOWN, at=(0.4, 0.1, 0.05), width_m=0.06, score=0.75, pregrasp_m=0.1) -> Grasp:
    pose = transform(rotation, np.array(at))
    return Grasp(pose, pose @ transform(np.eye(3), np.array([0, 0, -pregrasp_m])), width_m, score, "top_down")


def scene(*boxes: tuple[tuple, tuple], yaw: float = 0.3, frame: np.ndarray | None = None) -> SceneObjectArray:
    """Boxes of these centres and sizes, turned about z, seen in a frame."""
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    array = SceneObjectArray(header=header(5, "base"))
    for number, (centre, (x, y, z)) in enumerate(boxes, start=1):
        pose = transform(turn, np.array(centre)) if frame is None else frame @ transform(turn, np.array(centre))
        array.objects.append(SceneObject(id=number, pose=pose_message(pose), size=Vector3(x=x, y=y, z=z)))
    return array


def random_rotation(numbers: tuple[float, float, float]) -> np.ndarray:
    return rotation_with_z(np.add(numbers, (0, 0, 1e-3)), np.array([0.3, 1.0, 0.2]))


DIRECTIONS = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


# --- poses and costs -----------------------------------------------------------------------------------------------------------


def test_without_a_hand_the_poses_are_those_of_the_tool_centre_point():
    array = targets(grasp(score=0.9), grasp(at=(0, 0, 1), score=0.2))
    assert [p.pose for p in m.grasp_poses(array)] == [t.pose for t in array.targets]
    assert [p.pose for p in m.pregrasp_poses(array)] == [t.pregrasp_pose for t in array.targets]
    assert all(p.header == array.header for p in m.grasp_poses(array) + m.pregrasp_poses(array))


def test_costs_rise_where_scores_fall():
    found = m.costs(targets(grasp(score=0.25), grasp(score=1.0), grasp(score=0.0)))
    np.testing.assert_allclose(found, [0.0, 0.75, 1.0], atol=1e-6)


def test_the_pandas_link_stands_above_a_grasp_from_above():
    """Known case: panda_link8 lies 103.4 mm up, and the fingers close along y of a hand turned by -45 degrees on it."""
    link = m.matrix_of(m.grasp_poses(targets(grasp()), PANDA)[0].pose)
    np.testing.assert_allclose(link[:3, 3], [0.4, 0.1, 0.05 + 0.1034], atol=1e-6)
    np.testing.assert_allclose(link[:3, 2], [0, 0, -1], atol=1e-9)
    closing_in_link = link[:3, :3].T @ DOWN[:, 1]
    np.testing.assert_allclose(closing_in_link, [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-9)


@pytest.mark.parametrize("gripper", GRIPPERS)
@given(DIRECTIONS, st.floats(0.02, 0.08))
def test_the_links_pose_leads_back_to_the_tool_centre_point(gripper, direction, width_m):
    array = targets(grasp(random_rotation(direction), width_m=width_m), gripper=gripper)
    hand = hand_for(gripper)
    link_from_hand = hand.link_from_hand(m.contact_opening_m(array.targets[0]))
    for poses, wanted in ((m.grasp_poses, array.targets[0].pose), (m.pregrasp_poses, array.targets[0].pregrasp_pose)):
        found = m.matrix_of(poses(array, hand)[0].pose) @ link_from_hand
        np.testing.assert_allclose(found, m.matrix_of(wanted), atol=1e-9)


def test_grasps_for_another_gripper_are_refused():
    with pytest.raises(InvalidInputError, match=r"planned for the gripper 'panda', the hand is a 'robotiq_2f_85'"):
        m.grasp_poses(targets(grasp()), hand_for("robotiq_2f_85"))


def test_no_targets_give_nothing():
    empty = targets()
    assert m.grasp_poses(empty, PANDA) == [] and m.costs(empty) == []


# --- straight moves ------------------------------------------------------------------------------------------------------------


@given(DIRECTIONS, st.floats(0.01, 0.3))
def test_the_approach_runs_along_z_of_the_hand(direction, length_m):
    rotation = random_rotation(direction)
    way, length = m.approach(targets(grasp(rotation, pregrasp_m=length_m)).targets[0])
    np.testing.assert_allclose(way, rotation[:, 2], atol=1e-6)
    assert length == pytest.approx(length_m, abs=1e-6)


def test_an_approach_without_length_still_has_a_direction():
    way, length = m.approach(targets(grasp(pregrasp_m=0.0)).targets[0])
    np.testing.assert_allclose(way, [0, 0, -1], atol=1e-9)
    assert length == 0


def test_the_retreat_goes_back_or_where_it_is_told():
    target = targets(grasp(random_rotation((1, 0, 0.2)))).targets[0]
    back, length = m.retreat(target)
    np.testing.assert_allclose(back, -m.approach(target)[0])
    assert length == 0.1
    up, length = m.retreat(target, m.Moves(retreat_m=0.25, retreat_direction=(0, 0, 2)))
    np.testing.assert_allclose(up, [0, 0, 1])
    assert length == 0.25


@pytest.mark.parametrize("direction", [(0, 0, 0), (0, float("nan"), 1)])
def test_a_retreat_without_direction_is_refused(direction):
    with pytest.raises(InvalidInputError, match="retreat_direction"):
        m.Moves(retreat_direction=direction)


# --- hands ---------------------------------------------------------------------------------------------------------------------


def test_every_gripper_has_a_hand_that_opens_as_far():
    assert sorted(HANDS) == GRIPPERS
    for name in GRIPPERS:
        assert load_gripper(name).name == name
        assert load_gripper(name).max_opening_m == HANDS[name].max_opening_m


def test_the_planners_margin_is_the_one_assumed():
    assert m.Moves().opening_margin_m == GraspSettings().opening_margin_m


def test_an_unknown_hand_lists_the_known_ones():
    with pytest.raises(InvalidInputError, match=r"'claw'; known are panda, robotiq_2f_85, robotiq_2f_140"):
        hand_for("claw")


def test_known_joint_values():
    """Panda: half of the opening each. Robotiq: 0 = open, the URDF's limit = closed; the crank is not linear between."""
    np.testing.assert_allclose(PANDA.positions(0.05), [0.025, 0.025])
    for name, closed in (("robotiq_2f_85", 0.8), ("robotiq_2f_140", 0.7)):
        hand = hand_for(name)
        np.testing.assert_allclose(hand.positions(hand.max_opening_m), [0.0], atol=1e-3)
        np.testing.assert_allclose(hand.positions(0.0), [closed], atol=5e-3)


def test_known_tool_centre_points():
    """The pads' middle, half a pad below the fingertips: 162.8 mm (2F-85) and 232.8 mm (2F-140) when closed."""
    for name, tip_m, travel_m in (("robotiq_2f_85", 0.1628, 0.0135), ("robotiq_2f_140", 0.2328, 0.0237)):
        hand, gripper = hand_for(name), load_gripper(name)
        closed, opened = hand.link_from_hand(0.0)[2, 3], hand.link_from_hand(hand.max_opening_m)[2, 3]
        assert closed + gripper.pad_height_m / 2 == pytest.approx(tip_m, abs=1e-3)
        assert closed - opened == pytest.approx(travel_m, abs=5e-4)
    assert PANDA.link_from_hand(0.0)[2, 3] == PANDA.link_from_hand(0.08)[2, 3] == 0.1034


@pytest.mark.parametrize("name", ["robotiq_2f_85", "robotiq_2f_140"])
@given(st.floats(0.0, 1.0))
def test_cranks_open_as_far_as_they_are_told(name, share):
    fingers = hand_for(name).fingers
    assert isinstance(fingers, SwingingFingers)
    opening_m = share * fingers.opening_m(0.0)
    assert fingers.opening_m(fingers.positions(opening_m)[0]) == pytest.approx(opening_m, abs=2e-4)


@pytest.mark.parametrize("name", GRIPPERS)
def test_openings_beyond_the_gripper_are_refused(name):
    hand = hand_for(name)
    hand.positions(np.float32(hand.max_opening_m))  # as a message carries it
    for opening_m in (-0.01, hand.max_opening_m + 0.01, float("nan")):
        with pytest.raises(InvalidInputError, match=rf"{name} opens 0 to"):
            hand.positions(opening_m)


@pytest.mark.parametrize("name", GRIPPERS)
def test_no_part_of_a_hand_reaches_between_its_pads(name):
    """The planner's boxes: nothing but air where the object is to be, and every fixed part behind the pads."""
    gripper = load_gripper(name)
    boxes = gripper.boxes(gripper.max_opening_m)
    low, high = boxes[:, 0] - boxes[:, 1] / 2, boxes[:, 0] + boxes[:, 1] / 2
    held_low = np.array([-gripper.finger_width_m, -gripper.max_opening_m, -gripper.pad_height_m]) / 2 + 1e-6
    assert not ((low < -held_low) & (high > held_low)).all(axis=1).any()
    assert (high[2:, 2] <= -gripper.pad_height_m / 2).all()


# --- the table -----------------------------------------------------------------------------------------------------------------


def slab(objects, plane=None, margin_m=0.3, thickness_m=0.02, gap_m=0.002):
    return m.table_slab(objects, plane, margin_m, thickness_m, gap_m)


def test_the_table_lies_under_the_lowest_box():
    below, on_top = ((0.5, 0, 0.05), (0.04, 0.04, 0.1)), ((0.5, 0, 0.12), (0.04, 0.04, 0.04))
    objects = scene(below, on_top, ((0.7, 0.2, 0.02), (0.1, 0.1, 0.04)))
    pose, size = slab(objects)
    assert pose[2, 3] + size[2] / 2 == pytest.approx(-0.002)
    np.testing.assert_allclose(pose[:3, 2], [0, 0, 1], atol=1e-9)
    assert size[0] > 0.6 and size[1] > 0.6


@given(DIRECTIONS, st.floats(-1, 1))
def test_the_table_moves_with_the_scene(direction, x):
    moved = transform(random_rotation(direction), np.array([x, 0.2, -0.4]))
    boxes = (((0.5, 0, 0.05), (0.04, 0.06, 0.1)), ((0.7, 0.2, 0.02), (0.1, 0.1, 0.04)))
    (pose, size), (moved_pose, moved_size) = slab(scene(*boxes)), slab(scene(*boxes, frame=moved))
    np.testing.assert_allclose(moved_pose, moved @ pose, atol=1e-5)
    np.testing.assert_allclose(moved_size, size, atol=1e-5)


def test_a_known_plane_is_taken_as_it_is():
    normal = np.array([0.1, 0.2, 1.0]) / np.linalg.norm([0.1, 0.2, 1.0])
    plane = Plane(normal, 0.03)
    pose, size = slab(scene(((0.5, 0, 0.05), (0.04, 0.04, 0.1))), plane)
    top = move_points(pose, np.array([[x, y, size[2] / 2] for x in (-size[0] / 2, size[0] / 2) for y in (-size[1] / 2, 0)]))
    np.testing.assert_allclose(plane.height(top), -0.002, atol=1e-6)


def test_a_table_without_objects_is_refused():
    with pytest.raises(InvalidInputError, match="there are none"):
        slab(SceneObjectArray())


# --- moveit_msgs ---------------------------------------------------------------------------------------------------------------


def moveit_is_installed() -> bool:
    try:
        m.MoveItMessages()
    except MissingExtraError:
        return False
    return True


with_moveit = pytest.mark.skipif(
    not moveit_is_installed(), reason="needs moveit_msgs: sudo apt install ros-$ROS_DISTRO-moveit-msgs")


@pytest.mark.skipif(moveit_is_installed(), reason="moveit_msgs is installed")
def test_without_moveit_the_error_says_what_to_install():
    with pytest.raises(MissingExtraError, match=r"moveit_msgs/Grasp.*apt install ros-\$ROS_DISTRO-moveit-msgs"):
        m.moveit_grasps(targets(grasp()), PANDA)
    with pytest.raises(MissingExtraError, match="moveit_msgs"):
        m.collision_objects(scene(((0, 0, 0), (1, 1, 1))))


@with_moveit
@pytest.mark.parametrize("gripper", GRIPPERS)
def test_moveit_grasps_say_what_the_targets_say(gripper):
    array, hand = targets(grasp(score=0.9), grasp(width_m=0.03, score=0.4), gripper=gripper), hand_for(gripper)
    found = m.moveit_grasps(array, hand, m.Moves(retreat_m=0.2, min_share=0.25))
    assert [g.id for g in found] == ["object_3_grasp_0", "object_3_grasp_1"]
    assert [g.grasp_pose for g in found] == m.grasp_poses(array, hand)
    np.testing.assert_allclose([g.grasp_quality for g in found], [0.9, 0.4], atol=1e-6)
    for one, target in zip(found, array.targets, strict=True):
        assert list(one.pre_grasp_posture.joint_names) == list(one.grasp_posture.joint_names) == list(hand.fingers.joints)
        np.testing.assert_allclose(one.pre_grasp_posture.points[0].positions, hand.positions(target.width))
        np.testing.assert_allclose(one.grasp_posture.points[0].positions, hand.positions(0.0))
        coming, going = one.pre_grasp_approach, one.post_grasp_retreat
        assert coming.direction.header.frame_id == going.direction.header.frame_id == "base"
        assert (coming.direction.vector.z, going.direction.vector.z) == pytest.approx((-1, 1))
        assert (coming.desired_distance, coming.min_distance) == pytest.approx((0.1, 0.025), abs=1e-6)
        assert (going.desired_distance, going.min_distance) == pytest.approx((0.2, 0.05), abs=1e-6)
        assert one.post_place_retreat.direction.header.frame_id == hand.link
        assert list(one.allowed_touch_objects) == ["object_3"]


@with_moveit
def test_collision_objects_are_the_oriented_boxes():
    objects = scene(((0.5, 0, 0.05), (0.04, 0.06, 0.1)), ((0.7, 0.2, 0.02), (0.1, 0.1, 0.0)))
    first, flat = m.collision_objects(objects)
    assert (first.id, flat.id, first.header) == ("object_1", "object_2", objects.header)
    assert first.pose == objects.objects[0].pose and first.primitive_poses[0] == pose_message(np.eye(4))
    assert first.primitives[0].type == first.primitives[0].BOX and first.operation == first.ADD
    np.testing.assert_allclose(first.primitives[0].dimensions, [0.04, 0.06, 0.1])
    np.testing.assert_allclose(flat.primitives[0].dimensions, [0.1, 0.1, 0.001])


@with_moveit
def test_the_table_is_a_box_under_everything():
    objects = scene(((0.5, 0, 0.05), (0.04, 0.06, 0.1)))
    table = m.table_object(objects, thickness_m=0.04)
    pose, size = slab(objects, thickness_m=0.04)
    assert table.id == "table" and table.header == objects.header
    np.testing.assert_allclose(m.matrix_of(table.pose), pose, atol=1e-9)
    np.testing.assert_allclose(table.primitives[0].dimensions, size)


def test_a_hand_on_another_flange_is_a_copy():
    tool = replace(hand_for("robotiq_2f_85"), link="tool0", yaw_rad=0.0)
    link = m.matrix_of(m.grasp_poses(targets(grasp(), gripper="robotiq_2f_85"), tool)[0].pose)
    np.testing.assert_allclose(link[:3, :3], DOWN, atol=1e-9)


@pytest.mark.parametrize("gripper", GRIPPERS)
def test_plans_for_every_gripper_reach_the_motion_planner(gripper):
    """From a seen object to the link's pose: the link stands behind the tool centre point, as far as the hand is long."""
    frame, masks, _ = synthetic_scene(0, [Shape("box", (0.05, 0.05, 0.08), (0.0, 0.0), 0.2)])
    mask = CroppedMask.from_full(masks[0])
    found = SegmentationResult("box", Outcome.FOUND, (Instance("box", mask.box_px, mask, 1.0, 1.0),))
    lifted = lift(frame, found, LiftSettings()).moved(frame.base_from_camera)
    plan = plan_grasps(lifted.objects[0], lifted.scene, load_gripper(gripper), GraspSettings())
    array = grasp_target_array(header(0, "base"), "box", Status(), gripper, [plan])
    assert array.targets, plan.message
    for pose, target in zip(m.grasp_poses(array, hand_for(gripper)), array.targets, strict=True):
        way = m.matrix_of(target.pose)[:3, 3] - m.matrix_of(pose.pose)[:3, 3]
        length_m = hand_for(gripper).link_from_hand(m.contact_opening_m(target))[2, 3]
        np.testing.assert_allclose(way, length_m * m.matrix_of(target.pose)[:3, 2], atol=1e-6)
