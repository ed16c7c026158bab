"""Hands that come from the side, obliquely or across a rim: laws on ray-cast scenes lifted from true masks."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import PROFILES, Shape
from test_grasping import PANDA, SETTINGS, box_at, lifted_scene, plan

from qwen_seg_ros.errors import SettingsError
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.grasping.scoring import WEIGHTS
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.object_cloud import Lifted

PROFILES["plate"] = ((0, 0), (0.6, 0), (1, 1), (0.97, 1), (0.58, 0.2), (0, 0.2))
PLATE = Shape("plate", (0.20, 0.20, 0.028))
BOTTLE = Shape("bottle", (0.07, 0.07, 0.22))


@pytest.fixture(scope="module")
def crowd() -> Lifted:
    return lifted_scene(["bottle", "mug", "bowl", "box", "ball"], noise_m=0.001)


def lean_deg(grasp, lifted: Lifted) -> float:
    """Angle between the approach and straight down."""
    return float(np.degrees(np.arccos(np.clip(-grasp.pose[:3, 2] @ lifted.scene.up, -1, 1))))


def swept_points(grasp, points, pregrasp_m: float) -> int:
    """How many points (N, 3) lie inside the hand at a place of its straight approach."""
    inside = 0
    for back_m in np.linspace(0, pregrasp_m, 21):
        hand = move_points(inverse(grasp.pose), points) + np.array([0, 0, back_m])
        for centre, size in PANDA.boxes(grasp.width_m):
            inside += int((np.abs(hand - centre) < size / 2).all(axis=1).sum())
    return inside



@settings(max_examples=6, deadline=None)
@given(yaw=st.floats(-np.pi, np.pi), x=st.floats(-2, 2), y=st.floats(-2, 2), z=st.floats(-1, 1))
def test_grasps_move_with_a_scene_that_is_turned_about_gravity(crowd, yaw, x, y, z):
    c, s = np.cos(yaw), np.sin(yaw)
    there = transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]), np.array([x, y, z]))
    here, other = plan(crowd, 0), plan(crowd.moved(there), 0)
    assert len(here.grasps) == len(other.grasps)
    assert np.allclose([g.score for g in here.grasps], [g.score for g in other.grasps], atol=0.02)
    best = here.grasps[0].moved(there)
    like = [g for g in other.grasps if g.score > other.grasps[0].score - 0.02 and g.strategy == best.strategy]
    assert min(np.linalg.norm(best.pose[:3, 3] - g.pose[:3, 3]) for g in like) < 0.004


def test_no_grasp_collides_in_the_voxel_map_on_its_way(crowd):
    strategies = set()
    for number, target in enumerate(crowd.objects):
        named_others = (crowd.scene.object_ids != target.id) & (crowd.scene.object_ids != 0)
        others = crowd.scene.points_m[named_others]
        for grasp in plan(crowd, number, max_grasps=200).grasps:
            assert swept_points(grasp, others, SETTINGS.pregrasp_m) == 0
            strategies.add(grasp.strategy)
    assert strategies >= {"top_down", "rim", "oblique", "side"}


@pytest.mark.parametrize("way", ["side", "any"])
def test_the_order_of_objects_does_not_matter(way):
    shapes = [Shape("bottle", (0.06, 0.06, 0.18), (0.0, 0.12)), box_at(0.0, -0.1, (0.09, 0.04, 0.12), 0.5)]
    forward, backward = lifted_scene(shapes, only=(0, 1)), lifted_scene(shapes, only=(1, 0))
    for one, other in ((0, 1), (1, 0)):
        first, second = plan(forward, one, approach=way), plan(backward, other, approach=way)
        assert first.grasps and first.rejected == second.rejected
        assert all(np.allclose(a.pose, b.pose) for a, b in zip(first.grasps, second.grasps, strict=True))


def test_a_tall_bottle_gets_side_grasps_near_its_middle():
    lifted = lifted_scene([BOTTLE], noise_m=0.001)
    result = plan(lifted, max_grasps=30)
    from_side = [g for g in result.grasps if g.strategy == "side"]
    assert from_side and result.grasps.index(from_side[0]) < 10
    for grasp in from_side:
        assert 85 < lean_deg(grasp, lifted) <= 90.5
        assert abs(grasp.pose[:3, 1] @ lifted.scene.up) < 0.02  # closes level
        assert 0.03 < lifted.scene.support.height(grasp.pose[:3, 3]) < 0.22
    assert np.linalg.norm(from_side[0].pose[:2, 3]) < 0.035


@pytest.mark.parametrize("seed_xy", [(0.0, 0.0), (0.05, 0.08), (-0.04, -0.06)])
def test_a_plate_is_taken_by_its_rim(seed_xy):
    lifted = lifted_scene([replace(PLATE, xy_m=seed_xy)], noise_m=0.0005, elevation_rad=0.9)
    result = plan(lifted)
    assert result.grasps, result.message
    for grasp in result.grasps:
        assert 0.06 < np.linalg.norm(grasp.pose[:2, 3] - seed_xy) < 0.125
        assert grasp.strategy == "rim" and grasp.width_m < 0.05


def test_a_mug_is_taken_by_rim_or_handle():
    lifted = lifted_scene([Shape("mug", (0.085, 0.085, 0.09), (0.0, 0.0), 0.8)], noise_m=0.001)
    best = plan(lifted).grasps[0]
    assert best.strategy == "rim" or best.width_m < 0.045


@pytest.mark.parametrize("shape", [BOTTLE, box_at(0, 0, (0.06, 0.05, 0.15), 0.4)])
def test_the_setting_says_where_a_hand_may_come_from(shape):
    lifted = lifted_scene([shape], noise_m=0.001)
    above, beside = plan(lifted, approach="top"), plan(lifted, approach="side")
    assert above.grasps and all(lean_deg(g, lifted) < 3 for g in above.grasps)
    assert beside.grasps and all(lean_deg(g, lifted) > 20 for g in beside.grasps)


def test_low_things_are_not_taken_from_the_side_and_the_reason_is_said():
    result = plan(lifted_scene([box_at(0, 0, (0.05, 0.05, 0.03))]), approach="side")
    assert result.grasps == () and "too low to be taken from the side" in result.message


def test_a_wall_above_leaves_the_side_free():
    """A shelf over a bottle stops every hand from above."""
    lifted = lifted_scene([BOTTLE], noise_m=0.001)
    x, y = np.meshgrid(np.arange(-0.1, 0.1, 0.005), np.arange(-0.1, 0.1, 0.005))
    shelf = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, 0.30)]).astype(np.float32)
    scene = lifted.scene
    covered = replace(lifted, scene=replace(
        scene, points_m=np.vstack([scene.points_m, shelf]),
        object_ids=np.concatenate([scene.object_ids, np.zeros(len(shelf), np.uint16)]),
    ))
    result = plan(covered)
    assert result.grasps and all(g.strategy != "top_down" for g in result.grasps)
    assert all(swept_points(g, shelf, SETTINGS.pregrasp_m) == 0 for g in result.grasps)
    blocked = plan(covered, approach="top")
    assert not blocked.grasps and "from above: the hand would hit" in blocked.message


def test_an_unknown_way_to_come_is_refused():
    with pytest.raises(SettingsError, match="approach must be one of any, top, side, got 'below'"):
        GraspSettings(approach="below")


@pytest.mark.parametrize("way", ["any", "top", "side"])
def test_every_candidate_is_accounted_for_and_every_term_is_given(crowd, way):
    for number in range(len(crowd.objects)):
        result = plan(crowd, number, approach=way)
        assert result.proposed == sum(result.rejected.values()) + len(result.grasps)
        assert all(count > 0 for count in result.rejected.values())
        for grasp in result.grasps:
            assert set(grasp.terms) == set(WEIGHTS)
            assert grasp.score == pytest.approx(sum(WEIGHTS[name] * value for name, value in grasp.terms.items()), abs=1e-6)


@pytest.mark.parametrize("yaw_deg", [0, 25, 45, 70])
def test_a_level_hand_comes_from_where_both_sides_were_seen(yaw_deg):
    """Behind the outline that the camera sees, a thing is thicker than it looks: closing along the view would push it."""
    lifted = lifted_scene([replace(BOTTLE, size_m=(0.07, 0.05, 0.22), yaw_rad=np.deg2rad(yaw_deg))])
    target = lifted.objects[0]
    view = target.box.pose[:3, 3] - lifted.scene.camera
    view -= (view @ lifted.scene.up) * lifted.scene.up
    level = [g for g in plan(lifted, 0).grasps if g.strategy == "side"]
    assert level
    for grasp in level:
        assert grasp.pose[:3, 2] @ view / np.linalg.norm(view) > 0.6, "the way of the hand and the view"
