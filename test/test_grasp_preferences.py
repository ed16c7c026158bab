"""What a request may ask of its grasps: a direction, boxes to keep out of, a part to hold."""

import numpy as np
import pytest
from synthetic import Shape
from test_grasping import PANDA, SETTINGS, box_at, lifted_scene

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.preferences import Preferences
from qwen_seg_ros.lifting.object_cloud import Lifted


def plan(lifted: Lifted, **wishes):
    return plan_grasps(lifted.objects[0], lifted.scene, PANDA, SETTINGS, Preferences(**wishes))


def box(centre, size) -> OrientedBox:
    return OrientedBox(transform(np.eye(3), np.array(centre, float)), np.array(size, float))


@pytest.fixture(scope="module")
def bottle() -> Lifted:
    return lifted_scene([Shape("bottle", (0.06, 0.06, 0.2))], noise_m=0.001)


@pytest.fixture(scope="module")
def long_box() -> Lifted:
    return lifted_scene([box_at(0, 0, (0.16, 0.05, 0.05))], noise_m=0.001)


def test_nothing_asked_for_changes_nothing(long_box):
    first = plan(long_box)
    second = plan_grasps(long_box.objects[0], long_box.scene, PANDA, SETTINGS)
    assert first.rejected == second.rejected
    assert all(np.array_equal(a.pose, b.pose) and a.terms == b.terms for a, b in zip(first.grasps, second.grasps, strict=True))


@pytest.mark.parametrize("direction", [(0, 0, -2.0), (1, 0, 0), (1, 0.5, -0.3), (0.5, -0.5, -0.7)])
def test_a_wanted_direction_leads(bottle, direction):
    wanted = np.array(direction) / np.linalg.norm(direction)
    result = plan(bottle, approach=np.array(direction), approach_weight=0.9)
    best = result.grasps[0]
    assert best.pose[:3, 2] @ wanted > np.cos(np.deg2rad(3))
    assert best.terms["approach"] > 0.96
    for grasp in result.grasps:
        angle = np.arccos(np.clip(grasp.pose[:3, 2] @ wanted, -1, 1))
        assert grasp.terms["approach"] == pytest.approx(max(0, 1 - angle / (np.pi / 2)), abs=1e-3)


def test_a_direction_from_below_is_only_a_wish(bottle):
    result = plan(bottle, approach=np.array([0, 0, 1.0]))
    assert result.grasps and all(g.pose[2, 2] < 1e-3 for g in result.grasps)


def test_no_hand_enters_a_keep_out_box_on_its_way(long_box):
    free = plan(long_box).grasps
    forbidden = box(free[0].pose[:3, 3] + [0.05, 0, 0.08], (0.06, 0.3, 0.1))
    result = plan(long_box, keep_out=(forbidden,))
    assert result.grasps and result.rejected["in a keep-out box"] > 0
    axes = [np.linspace(-s / 2, s / 2, 15) for s in forbidden.size_m]
    filled = move_points(forbidden.pose, np.stack(np.meshgrid(*axes), -1).reshape(-1, 3))
    for grasp in result.grasps:
        for back_m in np.linspace(0, SETTINGS.pregrasp_m, 11):
            hand = move_points(inverse(grasp.pose), filled) + np.array([0, 0, back_m])
            for centre, size in PANDA.boxes(grasp.width_m):
                assert not (np.abs(hand - centre) < size / 2 - 1e-4).all(axis=1).any()


def test_a_keep_out_box_around_everything_is_the_reason(long_box):
    result = plan(long_box, keep_out=(box((0, 0, 0.2), (5, 5, 0.7)),))
    assert not result.grasps and "the hand would enter a keep-out box" in result.message


def test_a_box_out_of_reach_changes_nothing(long_box):
    far = plan(long_box, keep_out=(box((2, 0, 0), (0.5, 0.5, 0.5)), box((0, 0, -1), (0.5, 0.5, 0.5))))
    assert far.rejected == plan(long_box).rejected


@pytest.mark.parametrize("side", [-1, 1])
def test_the_wanted_part_is_held(long_box, side):
    points = long_box.objects[0].points_m
    end = points[side * points[:, 0] > 0.055]
    best = plan(long_box, part=end).grasps[0]
    assert side * best.pose[0, 3] > 0.04
    assert abs(plan(long_box).grasps[0].pose[0, 3]) < 0.015


def test_a_mug_can_be_taken_by_its_handle():
    shape = Shape("mug", (0.085, 0.085, 0.09), (0.0, 0.0), -np.pi / 2)
    lifted = lifted_scene([shape], noise_m=0.0005)
    points = lifted.objects[0].points_m
    handle = points[points[:, 1] < -0.055]
    assert len(handle) > 20
    best = plan(lifted, part=handle, part_weight=0.9).grasps[0]
    assert best.pose[1, 3] < -0.045 and best.width_m < 0.045


@pytest.mark.parametrize(("wishes", "words"), [
    ({"approach": np.zeros(3)}, "not all 0, got"),
    ({"approach": np.array([np.nan, 0, 1])}, "three finite numbers"),
    ({"approach": np.ones(2)}, "three finite numbers"),
    ({"approach_weight": 1.5}, "approach_weight must be between 0 and 1, got 1.5"),
    ({"part_weight": -1}, "part_weight must be between 0 and 1, got -1"),
    ({"part": np.zeros((0, 3))}, r"N > 0, got an array of shape \(0, 3\)"),
    ({"part": np.full((5, 3), np.inf)}, "finite points"),
    ({"keep_out": (box((0, 0, 0), (1, 1, 1)),) * 17}, "at most 16 keep-out boxes can be given, got 17"),
])
def test_a_wish_that_makes_no_sense_is_refused(wishes, words):
    with pytest.raises(InvalidInputError, match=words):
        Preferences(**wishes)
