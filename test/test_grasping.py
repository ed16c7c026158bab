"""Laws of the grasp planner on ray-cast scenes lifted from true masks."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import Shape, synthetic_scene

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.transform import inverse, move_points, rotation_from_quaternion, transform
from qwen_seg_ros.grasping.gripper import load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted
from qwen_seg_ros.lifting.settings import LiftSettings
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

PANDA, SETTINGS = load_gripper("panda"), GraspSettings()


def lifted_scene(shapes, only=None, **view) -> Lifted:
    """The scene in the base frame; `only`: indices of the shapes that were segmented, the others are unnamed obstacles."""
    frame, masks, _ = synthetic_scene(0, shapes, **view)
    masks = [CroppedMask.from_full(masks[k]) for k in (range(len(masks)) if only is None else only)]
    instances = tuple(Instance("thing", mask.box_px, mask, 1.0, 1.0) for mask in masks)
    lifted = lift(frame, SegmentationResult("things", Outcome.FOUND, instances), LiftSettings())
    assert not lifted.refused
    return lifted.moved(frame.base_from_camera)


def plan(lifted: Lifted, number: int = 0, **changes):
    return plan_grasps(lifted.objects[number], lifted.scene, PANDA, replace(SETTINGS, **changes))


def box_at(x, y, size=(0.05, 0.05, 0.08), yaw=0.0) -> Shape:
    return Shape("box", size, (x, y), yaw)


@pytest.fixture(scope="module")
def clutter() -> Lifted:
    return lifted_scene(["box", "mug", "ball", "bowl", "bottle", "can"], noise_m=0.001)


def test_every_graspable_shape_gets_a_grasp(clutter):
    for number in range(len(clutter.objects)):
        result = plan(clutter, number)
        assert result.grasps, result.message
        assert result.message == ""


def test_grasps_obey_the_gripper_and_the_table(clutter):
    for number in range(len(clutter.objects)):
        for grasp in plan(clutter, number, max_grasps=100).grasps:
            rotation = grasp.pose[:3, :3]
            assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9) and np.isclose(np.linalg.det(rotation), 1)
            assert 0 < grasp.width_m <= PANDA.max_opening_m + 1e-6
            assert 0 <= grasp.score <= 1 and all(0 <= term <= 1 for term in grasp.terms.values())
            tip = grasp.pose[:3, 3] + PANDA.tip_beyond_tcp_m * rotation[:, 2]
            assert clutter.scene.support.height(tip) >= SETTINGS.table_clearance_m - 1e-6
            assert np.allclose(grasp.pregrasp[:3, 3], grasp.pose[:3, 3] - SETTINGS.pregrasp_m * rotation[:, 2])
            assert rotation[:, 2] @ clutter.scene.up < 1e-3  # never from below
            for centre, size in PANDA.boxes(grasp.width_m):
                corners = centre + size / 2 * (2 * np.array(list(np.ndindex(2, 2, 2))) - 1)
                hand = move_points(grasp.pose, corners)
                assert clutter.scene.support.height(hand).min() >= SETTINGS.table_clearance_m - 1e-5


def test_no_grasp_touches_another_object_on_its_way(clutter):
    checked = 0
    for number, target in enumerate(clutter.objects):
        named_others = (clutter.scene.object_ids != target.id) & (clutter.scene.object_ids != 0)
        others = clutter.scene.points_m[named_others]
        for grasp in plan(clutter, number, max_grasps=100).grasps:
            for back_m in np.linspace(0, SETTINGS.pregrasp_m, 6):
                hand = move_points(inverse(grasp.pose), others) + np.array([0, 0, back_m])
                for centre, size in PANDA.boxes(grasp.width_m):
                    assert not (np.abs(hand - centre) < size / 2).all(axis=1).any()
                    checked += 1
    assert checked > 100


def test_fingers_do_not_stand_in_the_object(clutter):
    for number, target in enumerate(clutter.objects):
        for grasp in plan(clutter, number).grasps:
            hand = move_points(inverse(grasp.pose), target.points_m)
            for centre, size in PANDA.boxes(grasp.width_m)[:2]:
                assert not (np.abs(hand - centre) < size / 2 - 5e-4).all(axis=1).any()


def test_something_is_between_the_fingers(clutter):
    for number, target in enumerate(clutter.objects):
        for grasp in plan(clutter, number).grasps:
            hand = move_points(inverse(grasp.pose), target.points_m)
            held = (np.abs(hand[:, 0]) < PANDA.finger_width_m / 2 + 0.002) & (np.abs(hand[:, 1]) < grasp.width_m / 2)
            assert (held & (hand[:, 2] < PANDA.tip_beyond_tcp_m) & (hand[:, 2] > -PANDA.palm_above_tcp_m)).sum() >= 3


def test_grasps_move_with_the_scene(clutter):
    there = transform(rotation_from_quaternion(np.array([0.3, -0.5, 0.2, 0.7])), np.array([0.4, -1.2, 0.3]))
    moved = clutter.moved(there)
    for number in range(3):
        here, other = plan(clutter, number), plan(moved, number)
        same = np.allclose([g.score for g in here.grasps], [g.score for g in other.grasps], atol=0.02)
        assert same and len(here.grasps) == len(other.grasps)
        best = here.grasps[0].moved(there).pose
        distance = [np.linalg.norm(best[:3, 3] - g.pose[:3, 3]) for g in other.grasps if g.score > other.grasps[0].score - 0.02]
        assert min(distance) < 0.003


def test_planning_twice_gives_the_same(clutter):
    first, second = plan(clutter), plan(clutter)
    assert first.rejected == second.rejected
    assert all(np.array_equal(a.pose, b.pose) and a.score == b.score for a, b in zip(first.grasps, second.grasps, strict=True))


def test_the_order_of_objects_does_not_matter():
    shapes = [box_at(0.0, 0.12), box_at(0.0, -0.1, (0.09, 0.04, 0.06), 0.5)]
    forward, backward = lifted_scene(shapes, only=(0, 1)), lifted_scene(shapes, only=(1, 0))
    for one, other in ((0, 1), (1, 0)):
        first, second = plan(forward, one), plan(backward, other)
        assert first.rejected == second.rejected
        assert all(np.allclose(a.pose, b.pose) for a, b in zip(first.grasps, second.grasps, strict=True))


@pytest.mark.parametrize("named", [True, False])
def test_neighbours_that_leave_no_room_for_a_finger_refuse_grasps(named):
    target = box_at(0.0, 0.0, (0.05, 0.05, 0.06))
    close = [target, *(box_at(x, y, (0.05, 0.05, 0.1)) for x, y in ((0.06, 0), (-0.06, 0), (0, 0.06), (0, -0.06)))]
    view = {"elevation_rad": 1.2}
    free, crowded = lifted_scene([target], **view), lifted_scene(close, only=None if named else (0,), **view)
    assert plan(free).grasps
    result = plan(crowded)
    assert not result.grasps and result.rejected["hits the scene"] > 0
    assert "would hit what stands around" in result.message


def test_one_neighbour_turns_the_hand():
    lifted = lifted_scene([box_at(0.0, 0.0), box_at(0.0, 0.06)], elevation_rad=1.1)
    best = plan(lifted).grasps[0]
    assert abs(best.pose[:3, 1] @ [1, 0, 0]) > 0.9  # closes along x, beside the neighbour


def test_a_long_box_is_taken_across_its_middle():
    lifted = lifted_scene([box_at(0.02, 0.01, (0.16, 0.05, 0.05), 0.5)], noise_m=0.001)
    best = plan(lifted).grasps[0]
    assert np.linalg.norm(best.pose[:2, 3] - [0.02, 0.01]) < 0.01
    assert abs(best.pose[:2, 1] @ [-np.sin(0.5), np.cos(0.5)]) > np.cos(np.deg2rad(8))
    assert 0.05 < best.width_m < 0.075 and best.strategy == "top_down"


@pytest.mark.parametrize("elevation", [0.6, 0.9, 1.3])
def test_a_bowl_is_taken_by_its_rim(elevation):
    lifted = lifted_scene(["bowl"], noise_m=0.001, elevation_rad=elevation)
    result = plan(lifted)
    centre = lifted.objects[0].box.pose[:2, 3]
    assert result.grasps and {grasp.strategy for grasp in result.grasps} == {"rim"}
    for grasp in result.grasps[:3]:
        assert 0.04 < np.linalg.norm(grasp.pose[:2, 3] - centre) < 0.085
        assert grasp.width_m < 0.05


@pytest.mark.parametrize(("shape", "words"), [
    (Shape("box", (0.12, 0.12, 0.08)), "cm wide, the gripper opens 8.0 cm"),
    (Shape("card", (0.10, 0.07, 0.004)), "mm high; the fingertips stay 4 mm above the table"),
])
def test_what_cannot_be_grasped_is_explained(shape, words):
    result = plan(lifted_scene([shape]))
    assert result.grasps == () and words in result.message and result.rejected


def test_the_front_of_a_deep_box_is_no_rim():
    """From a low camera only the front face is seen: no finger may go where the box may be."""
    lifted = lifted_scene([box_at(0, 0, (0.12, 0.12, 0.12))], elevation_rad=0.25)
    assert plan(lifted).grasps == ()


def test_more_friction_refuses_fewer(clutter):
    counts = [plan(clutter, 3, friction=mu).rejected.get("surfaces slope", 0) for mu in (0.2, 0.5, 1.0)]
    assert counts[0] > counts[1] > counts[2]


def test_grasps_differ_from_each_other(clutter):
    grasps = plan(clutter).grasps
    for k, one in enumerate(grasps):
        for other in grasps[k + 1:]:
            apart = np.linalg.norm(one.pose[:3, 3] - other.pose[:3, 3])
            turn = np.arccos(np.clip(abs(one.pose[:3, 1] @ other.pose[:3, 1]), 0, 1))
            lean = np.arccos(np.clip(one.pose[:3, 2] @ other.pose[:3, 2], -1, 1))
            assert apart > SETTINGS.same_distance_m or max(turn, lean) > np.deg2rad(SETTINGS.same_yaw_deg) - 0.01
    assert [g.score for g in grasps] == sorted((g.score for g in grasps), reverse=True)


def test_without_a_table_nothing_goes_below_the_object():
    lifted = lifted_scene([box_at(0, 0)])
    floating = replace(lifted, scene=replace(lifted.scene, support=None))
    result = plan(floating)
    lowest = lifted.objects[0].points_m[:, 2].min()
    assert result.grasps
    assert all(g.pose[2, 3] - PANDA.tip_beyond_tcp_m >= lowest + SETTINGS.table_clearance_m - 1e-6 for g in result.grasps)


def test_too_few_points_are_refused():
    lifted = lifted_scene([box_at(0, 0)])
    speck = lifted.objects[0]
    speck = replace(speck, points_m=speck.points_m[:5], colors=speck.colors[:5], normals=speck.normals[:5])
    assert "only 5 points" in plan_grasps(speck, lifted.scene, PANDA, SETTINGS).message


def test_an_empty_scene_is_free_space():
    lifted = lifted_scene([box_at(0, 0)])
    alone = replace(lifted.scene, points_m=np.zeros((0, 3), np.float32), object_ids=np.zeros(0, np.uint16))
    assert plan_grasps(lifted.objects[0], alone, PANDA, SETTINGS).grasps


@pytest.mark.parametrize(("text", "words"), [
    ("name: x", "must have the keys"),
    ("[]", "must have the keys"),
    ("a: [", "nor a readable YAML file"),
])
def test_a_bad_gripper_file_is_refused(tmp_path, text, words):
    path = tmp_path / "hand.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_gripper(str(path))


def test_grippers_by_name_and_by_file(tmp_path):
    with pytest.raises(SettingsError, match="neither one of panda"):
        load_gripper("claw")
    wide = tmp_path / "wide.yaml"
    text = "name: wide\nmin_opening_m: 0.0\nmax_opening_m: 0.14\nfinger_width_m: 0.02\nfinger_thickness_m: 0.01\n"
    wide.write_text(text + "pad_height_m: 0.02\ntip_beyond_tcp_m: 0.01\npalm_above_tcp_m: 0.06\n")
    lifted = lifted_scene([Shape("box", (0.12, 0.12, 0.08))])
    assert plan_grasps(lifted.objects[0], lifted.scene, load_gripper(str(wide)), SETTINGS).grasps
    wide.write_text(text + "pad_height_m: 0.02\ntip_beyond_tcp_m: -1\npalm_above_tcp_m: 0.06\n")
    with pytest.raises(SettingsError, match="tip_beyond_tcp_m must be a length"):
        load_gripper(str(wide))
