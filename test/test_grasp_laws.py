"""Laws of lifting and planning on drawn small scenes: boxes, cans and bowls before a noisy depth camera.

Whether a hand collides is decided here by brute force: every box of the hand against every point, without the planner's maps.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic import Shape, synthetic_scene

from qwen_seg_ros.frame import Frame
from qwen_seg_ros.geometry.arrays import MaskImage, Matrix4
from qwen_seg_ros.geometry.mask import CroppedMask
from qwen_seg_ros.geometry.oriented_box import OrientedBox
from qwen_seg_ros.geometry.transform import inverse, move_points, transform
from qwen_seg_ros.grasping.grasp import Grasp, GraspPlan
from qwen_seg_ros.grasping.gripper import Gripper, load_gripper
from qwen_seg_ros.grasping.planner import plan_grasps
from qwen_seg_ros.grasping.preferences import Preferences
from qwen_seg_ros.grasping.settings import GraspSettings
from qwen_seg_ros.lifting.lift import lift
from qwen_seg_ros.lifting.object_cloud import Lifted, ObjectCloud
from qwen_seg_ros.segmentation.result import Instance, Outcome, SegmentationResult

SETTINGS = GraspSettings(max_grasps=50)
ALL = GraspSettings(max_grasps=200, same_distance_m=0.0, same_yaw_deg=0.0)  # like grasps stay, so that sets can be compared
HANDS = {name: load_gripper(name) for name in ("panda", "robotiq_2f_85", "robotiq_2f_140")}
PLACES_M = [(x, y) for x in (-0.05, 0.06) for y in (-0.11, 0.0, 0.11)]
LEAST_PX = 60  # of an object that is asked for; less may be refused
RAGGED_M = 0.026  # unnamed points this near to the object may be its own ragged edge
few = settings(max_examples=12)


@dataclass(frozen=True, eq=False)
class Drawn:
    """things: what stands on the table; asked: how many of them are asked for, the others are obstacles without a name."""

    things: list[Shape]
    asked: int
    noise_m: float = 0.0
    elevation_rad: float = 1.2

    @cached_property
    def seen(self) -> tuple[Frame, list[MaskImage]]:
        view = {"width": 320, "height": 240, "noise_m": self.noise_m, "elevation_rad": self.elevation_rad}
        return synthetic_scene(0, self.things, **view)[:2]

    @property
    def frame(self) -> Frame:
        return self.seen[0]

    @property
    def named(self) -> tuple[int, ...]:
        return tuple(k for k, mask in enumerate(self.seen[1][: self.asked]) if mask.sum() >= LEAST_PX)

    def lifted(self, order: tuple[int, ...] | None = None, base_from_camera: Matrix4 | None = None) -> Lifted:
        """In the base frame; `order` turns the objects round, `base_from_camera` is another base frame."""
        frame = self.frame if base_from_camera is None else replace(self.frame, base_from_camera=base_from_camera)
        masks = [CroppedMask.from_full(self.seen[1][k]) for k in order or self.named]
        things = tuple(Instance("thing", mask.box_px, mask, 1.0, 1.0) for mask in masks)
        return lift(frame, SegmentationResult("things", Outcome.FOUND, things)).moved(frame.base_from_camera)


def millimetres(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda value: value / 1000)


@st.composite
def shapes(draw: st.DrawFn, place: tuple[float, float]) -> Shape:
    kind, wide = draw(st.sampled_from(["box", "can", "bowl"])), draw(millimetres(12, 100))
    if kind == "bowl":
        wide = draw(millimetres(90, 140))
    deep = draw(millimetres(12, 100)) if kind == "box" else wide
    high = draw(millimetres(30, 80) if kind == "bowl" else millimetres(15, 180))
    shift = draw(st.tuples(millimetres(-20, 20), millimetres(-20, 20)))
    return Shape(kind, (wide, deep, high), (place[0] + shift[0], place[1] + shift[1]), draw(millimetres(-3000, 3000)))


@st.composite
def scenes(draw: st.DrawFn) -> Drawn:
    places = draw(st.lists(st.sampled_from(PLACES_M), min_size=1, max_size=4, unique=True))
    things = [draw(shapes(place)) for place in places]
    asked = max(1, len(things) - draw(st.booleans()))
    scene = Drawn(things, asked, draw(st.sampled_from([0.0, 0.002, 0.004])), draw(millimetres(600, 1300)))
    assume(scene.named)
    return scene


def plans(lifted: Lifted, hand: str = "panda", how: GraspSettings = SETTINGS) -> list[GraspPlan]:
    return [plan_grasps(item, lifted.scene, HANDS[hand], how) for item in lifted.objects]


def boxes_on_the_way(hand: Gripper, grasp: Grasp) -> tuple[NDArray, NDArray]:
    """Centres and sizes (K, 3), hand frame, of what the hand's boxes fill from the pre-grasp pose to the pose."""
    way = np.linalg.norm(grasp.pregrasp[:3, 3] - grasp.pose[:3, 3]) * np.array([0, 0, 1])
    centres, sizes = hand.boxes(grasp.width_m).transpose(1, 0, 2)
    return centres - way / 2, sizes + way


def deepest_m(points: NDArray, grasp: Grasp, hand: Gripper) -> float:
    """How far the deepest of points (N, 3) lies inside the hand on its way in; below zero = outside."""
    centres, sizes = boxes_on_the_way(hand, grasp)
    in_hand = move_points(inverse(grasp.pose), points)
    return float((sizes / 2 - np.abs(in_hand[:, None] - centres)).min(axis=2).max(initial=-1.0))


def obstacles(target: ObjectCloud, lifted: Lifted) -> NDArray:
    """The scene's points that are not the target's: of named things all, of unnamed ones those clear of its edge."""
    points, ids = lifted.scene.points_m, lifted.scene.object_ids
    half_turn = target.box.pose @ np.diag([-1.0, -1, 1, 1]) @ inverse(target.box.pose)
    own = np.concatenate([target.points_m, move_points(half_turn, target.points_m)])  # its hidden back may be ragged, too
    unnamed = points[ids == 0]
    apart = np.array([np.linalg.norm(own - point, axis=1).min() > RAGGED_M for point in unnamed], bool)
    return np.concatenate([points[(ids != 0) & (ids != target.id)], unnamed[apart]])


def test_the_check_sees_what_it_shall_see():
    hand, pose = HANDS["panda"], np.eye(4)
    grasp = Grasp(pose, pose @ transform(np.eye(3), np.array([0, 0, -0.1])), 0.04, 1.0, "top_down")
    for inside in ([0, 0.021, 0.008], [0, -0.034, -0.05], [0.03, 0.1, -0.2], [0, 0.03, -0.14]):
        assert deepest_m(np.array([inside]), grasp, hand) > 0
    for outside in ([0, 0, 0], [0, 0.019, 0], [0, 0.03, 0.01], [0, 0.2, -0.1]):
        assert deepest_m(np.array([outside]), grasp, hand) < 0


@few
@given(scenes(), st.sampled_from(sorted(HANDS)))
def test_no_hand_touches_anything_on_its_way(scene, name):
    lifted = scene.lifted()
    for target, plan in zip(lifted.objects, plans(lifted, name), strict=True):
        others = obstacles(target, lifted)
        for grasp in plan.grasps:
            assert deepest_m(others, grasp, HANDS[name]) <= 1e-5
            assert deepest_m(target.points_m, grasp, HANDS[name]) <= 1e-5  # it lies between the fingers


@pytest.mark.parametrize("gap_mm", [8.0, 8.5, 9.0, 9.5])
def test_the_inner_side_of_a_finger_is_checked_too(gap_mm):
    """A thin plate beside a box, where it is met by the inner side of an open finger only."""
    plate = Shape("box", (0.06, 0.004, 0.05), (0.0, 0.025 + gap_mm / 1000))
    lifted = Drawn([Shape("box", (0.06, 0.05, 0.05)), plate], 2).lifted()
    grasps = plans(lifted)[0].grasps
    others = obstacles(lifted.objects[0], lifted)
    assert grasps and max(deepest_m(others, grasp, HANDS["panda"]) for grasp in grasps) <= 1e-5


@pytest.mark.parametrize("away_m", [0.35, 0.365, 0.39])
def test_the_far_end_of_a_long_hand_is_checked_too(away_m):
    """A post behind the hand, where only its wrist comes by before the approach, seen or told of as a box to keep out of."""
    hand, post = HANDS["robotiq_2f_140"], Shape("box", (0.06, 0.04, 0.18), (-0.07, away_m - 0.13))
    target = Shape("box", (0.05, 0.05, 0.12), (-0.07, -0.13))
    alone, both = (Drawn(things, len(things), elevation_rad=0.7).lifted() for things in ([target], [target, post]))
    box = OrientedBox(transform(np.eye(3), [*post.xy_m, 0.09]), np.array(post.size_m))
    axes = [np.linspace(-size / 2, size / 2, 12) for size in post.size_m]
    filled = move_points(box.pose, np.stack(np.meshgrid(*axes), -1).reshape(-1, 3))
    from_there = Preferences(approach=np.array([0.0, -1.0, 0.0]))
    free, seen, told = (
        plan_grasps(view.objects[0], view.scene, hand, SETTINGS, wish)
        for view, wish in ((alone, from_there), (both, from_there), (alone, replace(from_there, keep_out=(box,))))
    )
    assert max(deepest_m(filled, grasp, hand) for grasp in free.grasps) > 0
    assert max(deepest_m(obstacles(both.objects[0], both), grasp, hand) for grasp in seen.grasps) <= 1e-5
    assert max(deepest_m(filled, grasp, hand) for grasp in told.grasps) <= 1e-5
    assert seen.rejected["hits the scene"] > 0 and told.rejected["in a keep-out box"] > 0


@few
@given(scenes(), st.sampled_from(sorted(HANDS)))
def test_no_hand_reaches_below_the_table(scene, name):
    """Below the true table, z = 0, and nearer than the clearance to the one that was found."""
    lifted = scene.lifted()
    signs = 2 * np.array(list(np.ndindex(2, 2, 2))) - 1
    for plan in plans(lifted, name):
        for grasp in plan.grasps:
            corners = [move_points(grasp.pose, centre + size / 2 * signs) for centre, size in HANDS[name].boxes(grasp.width_m)]
            corners = np.concatenate(corners)
            assert corners[:, 2].min() > 0
            assert lifted.scene.support.height(corners).min() > SETTINGS.table_clearance_m - 1e-4


@few
@given(scenes(), st.sampled_from(sorted(HANDS)))
def test_every_grasp_is_well_formed(scene, name):
    for plan in plans(scene.lifted(), name):
        scores = [grasp.score for grasp in plan.grasps]
        assert all(0 <= score <= 1 for score in scores) and scores == sorted(scores, reverse=True)
        assert plan.proposed == sum(plan.rejected.values()) + len(plan.grasps)
        for grasp in plan.grasps:
            rotation = grasp.pose[:3, :3]
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
            assert np.linalg.det(rotation) == pytest.approx(1)
            np.testing.assert_array_equal(grasp.pose[3], [0, 0, 0, 1])
            back = inverse(grasp.pose) @ grasp.pregrasp
            np.testing.assert_allclose(back, transform(np.eye(3), [0, 0, -SETTINGS.pregrasp_m]), atol=1e-9)
            assert HANDS[name].min_opening_m <= grasp.width_m <= HANDS[name].max_opening_m + 1e-7


def alike(one: Grasp, other: Grasp) -> bool:
    """Within what rounding may do where a point lies on the border of a bin (2 mm): 3 mm, 2 degrees, 0.03 of the score."""
    near = np.linalg.norm(one.pose[:3, 3] - other.pose[:3, 3]) < 0.003 and abs(one.width_m - other.width_m) < 0.005
    turned = min(abs(one.pose[:3, 1] @ other.pose[:3, 1]), one.pose[:3, 2] @ other.pose[:3, 2])
    return bool(near and turned > np.cos(np.deg2rad(2)) and abs(one.score - other.score) < 0.03)


def check_moved(here: list[GraspPlan], there: list[GraspPlan], there_from_here: Matrix4) -> None:
    """Every one of the better half of the grasps has its like among the others, in both directions."""
    for first, second in zip(here, there, strict=True):
        first = first.moved(there_from_here)
        assert bool(first.grasps) == bool(second.grasps)
        for some, among in ((first, second), (second, first)):
            assert all(any(alike(grasp, other) for other in among.grasps) for grasp in some.grasps[:100])


@st.composite
def level_motions(draw: st.DrawFn) -> Matrix4:
    """A turn about gravity and a shift, the height included."""
    yaw, shift = draw(millimetres(-3141, 3141)), [draw(millimetres(-2000, 2000)) for _ in range(3)]
    c, s = np.cos(yaw), np.sin(yaw)
    return transform(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), np.array(shift))


@few
@given(scenes(), level_motions())
def test_grasps_move_with_the_scene(scene, there_from_here):
    lifted = scene.lifted()
    check_moved(plans(lifted, how=ALL), plans(lifted.moved(there_from_here), how=ALL), there_from_here)


@few
@given(scenes(), level_motions())
def test_grasps_do_not_depend_on_the_base_frame(scene, there_from_here):
    """The camera sees the same, its place is told in another frame: lifting and planning both start anew."""
    there = scene.lifted(base_from_camera=there_from_here @ scene.frame.base_from_camera)
    check_moved(plans(scene.lifted(), how=ALL), plans(there, how=ALL), there_from_here)


@few
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_objects_changes_nothing(scene, random):
    order = tuple(random.sample(scene.named, len(scene.named)))
    plain, turned = scene.lifted(), scene.lifted(order=order)
    first, second = plans(plain), plans(turned)
    places = [order.index(k) for k in scene.named]
    for k, place in enumerate(places):
        np.testing.assert_array_equal(plain.objects[k].points_m, turned.objects[place].points_m)
        np.testing.assert_array_equal(plain.objects[k].box.pose, turned.objects[place].box.pose)
        check_same(first[k], second[place])


def check_same(first: GraspPlan, second: GraspPlan) -> None:
    assert first.rejected == second.rejected
    for one, other in zip(first.grasps, second.grasps, strict=True):
        np.testing.assert_allclose(one.pose, other.pose, atol=1e-6)
        assert one.score == pytest.approx(other.score, abs=1e-6)
