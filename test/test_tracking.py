"""Objects keep their ids while the camera and the objects move, hide, leave and come back; none gets another one's id."""

from dataclasses import replace

import numpy as np
import pytest
from tracking_world import Block, View, orbit, view

from qwen_seg_ros.geometry.mask import mask_iou
from qwen_seg_ros.segmentation.result import Outcome
from qwen_seg_ros.tracking.matching import matches
from qwen_seg_ros.tracking.settings import TrackingSettings
from qwen_seg_ros.tracking.track import Sighting, Track, Tracked
from qwen_seg_ros.tracking.tracker import Tracker

RED = Block("red", (0.08, 0.08, 0.09), (0.02, -0.13), 0.4)
GREEN = Block("green", (0.09, 0.06, 0.11), (0.05, 0.12), 0.7)
BLUE = Block("blue", (0.07, 0.07, 0.10), (-0.12, 0.02))
BLOCKS = [RED, GREEN, BLUE]
FPS = 15
SENSORS = {"depth and pose": (True, True), "depth": (True, False), "colour": (False, False)}
every_sensor = pytest.mark.parametrize("sensors", SENSORS.values(), ids=SENSORS)


@pytest.fixture(scope="module")
def around() -> list[View]:
    """Sixty frames of a camera that goes round the table by 30 degrees, up and closer."""
    return [view(BLOCKS, orbit(180 + 0.5 * n, 0.8 - 0.002 * n, 46 + 0.1 * n), n / FPS) for n in range(60)]


def ids_by_block(tracked: Tracked, seen: View) -> dict[int, str]:
    """Block -> id of the mask that shows it best; every mask must show one."""
    found = {}
    for name, instance in zip(tracked.track_ids, tracked.segmentation.instances, strict=True):
        overlaps = [mask_iou(instance.mask.full(), mask) for mask in seen.masks]
        assert max(overlaps) > 0.6, f"the mask of {name} shows no block"
        found[int(np.argmax(overlaps))] = name
    return found


@every_sensor
def test_ids_and_masks_stay_on_their_objects_while_the_camera_moves(around, sensors) -> None:
    tracker = Tracker()
    for n, full in enumerate(around):
        seen = full.only(*sensors)
        tracked = tracker.propagate(seen.frame) if n % 10 else tracker.update(seen.frame, seen.answer())
        assert ids_by_block(tracked, seen) == {0: "1", 1: "2", 2: "3"}


@every_sensor
def test_masks_are_carried_for_two_seconds_without_the_model(around, sensors) -> None:
    tracker, overlaps = Tracker(), []
    tracker.update(around[0].only(*sensors).frame, around[0].answer())
    for seen in around[1:31]:
        tracked = tracker.propagate(seen.only(*sensors).frame)
        assert tracked.track_ids == ("1", "2", "3") and not tracked.fresh
        overlaps += [mask_iou(i.mask.full(), m) for i, m in zip(tracked.segmentation.instances, seen.masks, strict=True)]
    assert np.mean(overlaps) > 0.85


def test_masks_gain_what_the_camera_comes_to_see(around) -> None:
    """Carried alone they show one side of a block; cut anew from depth, both."""
    overlap = {}
    for reshape_s in (0.2, 3600.0):
        tracker = Tracker(TrackingSettings(reshape_s=reshape_s))
        tracker.update(around[0].frame, around[0].answer())
        for seen in around[1:46]:
            tracked = tracker.propagate(seen.frame)
        pairs = zip(tracked.segmentation.instances, seen.masks, strict=True)
        overlap[reshape_s] = np.mean([mask_iou(instance.mask.full(), mask) for instance, mask in pairs])
    assert overlap[0.2] > overlap[3600.0] + 0.02


def test_the_order_of_an_answer_does_not_matter(around) -> None:
    for order in ((0, 1, 2), (2, 0, 1)):
        tracker = Tracker()
        tracker.update(around[0].frame, around[0].answer())
        tracked = tracker.update(around[9].frame, around[9].answer(*order))
        assert dict(zip(order, tracked.track_ids, strict=True)) == {0: "1", 1: "2", 2: "3"}


def crossing(share: float) -> list[Block]:
    """Two identical blocks that pass each other, one 17 cm behind the other."""
    y = 0.16 - 0.32 * share
    return [replace(GREEN, xy_m=(-0.10, y), yaw_rad=0.0), replace(GREEN, xy_m=(0.07, -y), yaw_rad=0.0)]


@pytest.mark.parametrize("pose", [True, False], ids=["pose", "no pose"])
def test_identical_objects_that_cross_keep_their_ids(pose) -> None:
    tracker, names = Tracker(), {}
    for n in range(31):
        seen = view(crossing(n / 30), time_s=n / FPS).only(True, pose)
        if n % 3:
            tracker.propagate(seen.frame)
            continue
        visible = [k for k in range(2) if seen.masks[k].sum() > 150]
        tracked = tracker.update(seen.frame, seen.answer(*visible))
        for block, name in zip(visible, tracked.track_ids, strict=True):
            assert names.setdefault(block, name) == name
    assert len(set(names.values())) == 2


def test_objects_that_left_the_view_and_come_back_have_their_ids_again() -> None:
    """With a pose the place tells, without the model."""
    tracker = Tracker()
    for n, turn_deg in enumerate((0, 15, 30, 45, 60, 45, 30, 15, 0)):
        seen = view(BLOCKS, orbit(180, turn_deg=turn_deg), n / FPS)
        tracked = tracker.propagate(seen.frame) if n else tracker.update(seen.frame, seen.answer())
        if turn_deg == 60:
            assert tracked.track_ids == () and tracked.segmentation.outcome is Outcome.NOT_FOUND
            assert "looks again" in tracked.segmentation.message and tracker.due(seen.frame, "things")
    assert ids_by_block(tracked, seen) == {0: "1", 1: "2", 2: "3"}


def looked_away(blocks: list[Block]) -> tuple[Tracker, View]:
    """A camera without depth that saw blocks, then nothing of them, then sees them again."""
    poses = orbit(180), orbit(180, turn_deg=60), orbit(180, turn_deg=10)
    before, away, back = (view(blocks, pose, n).only(False, False) for n, pose in enumerate(poses))
    tracker = Tracker()
    tracker.update(before.frame, before.answer())
    assert tracker.propagate(away.frame).track_ids == ()
    return tracker, back


def test_without_depth_the_look_brings_an_id_back() -> None:
    tracker, back = looked_away(BLOCKS)
    assert tracker.update(back.frame, back.answer(2, 0, 1)).track_ids == ("3", "1", "2")


def test_twins_are_not_told_apart_by_look() -> None:
    tracker, back = looked_away([RED, replace(RED, xy_m=(0.02, 0.1))])
    assert tracker.update(back.frame, back.answer()).track_ids == ("3", "4")


def test_an_object_out_of_view_does_not_lend_its_id_to_its_twin() -> None:
    """Its place is known and cannot be seen, so it is thought to stand there still."""
    twins = [replace(RED, xy_m=(0.0, y)) for y in (0.4, -0.4)]
    one, other = view(twins, orbit(180, turn_deg=-25)), view(twins, orbit(180, turn_deg=25), 1)
    assert [mask.any() for mask in (*one.masks, *other.masks)] == [True, False, False, True]
    tracker = Tracker()
    assert tracker.update(one.frame, one.answer()).track_ids == ("1",)
    assert tracker.update(other.frame, other.answer()).track_ids == ("2",)


def test_an_object_that_was_moved_while_nobody_looked_keeps_its_id() -> None:
    """Its place is seen empty, and nothing else looks like what is found elsewhere."""
    moved = [RED, replace(GREEN, xy_m=(-0.15, -0.2)), BLUE]
    before, after = view(BLOCKS), view(moved, orbit(190), 1)
    tracker = Tracker()
    tracker.update(before.frame, before.answer())
    assert tracker.update(after.frame, after.answer()).track_ids == ("1", "2", "3")


@every_sensor
def test_an_object_behind_another_is_not_shown_and_comes_back(sensors) -> None:
    tracker, screen = Tracker(), Block("yellow", (0.02, 0.22, 0.2), (-0.25, 0))
    for n, y in enumerate([0.4, 0.35, *np.linspace(0.3, -0.3, 21), -0.35, -0.4]):
        seen = view([BLUE, replace(screen, xy_m=(-0.25, y))], time_s=n / FPS).only(*sensors)
        if n == 0:
            tracker.update(seen.frame, seen.answer(0))
            continue
        tracked = tracker.propagate(seen.frame)
        assert tracked.track_ids in ((), ("1",))
        if not seen.masks[0].any():
            assert tracked.track_ids == (), "the screen has the block's id"
    assert tracker.update(seen.frame, seen.answer(0)).track_ids == ("1",)


@every_sensor
def test_an_object_that_was_taken_away_loses_its_mask_and_the_others_keep_theirs(sensors) -> None:
    before, after = view(BLOCKS).only(*sensors), view([RED, BLUE], orbit(181), 1 / FPS).only(*sensors)
    tracker = Tracker()
    tracker.update(before.frame, before.answer())
    assert ids_by_block(tracker.propagate(after.frame), after) == {0: "1", 1: "3"}
    other = view([RED, BLUE, Block("yellow", (0.1, 0.1, 0.05), GREEN.xy_m)], orbit(181), 2 / FPS).only(*sensors)
    assert tracker.update(other.frame, other.answer()).track_ids == ("1", "3", "4"), "another object, the same place"


def test_another_object_of_the_same_shape_at_the_same_place_is_another_object() -> None:
    before, after = view([RED]), view([replace(RED, color="yellow")], time_s=1 / FPS)
    tracker = Tracker()
    tracker.update(before.frame, before.answer())
    assert tracker.propagate(after.frame).track_ids == ()
    assert tracker.update(after.frame, after.answer()).track_ids == ("2",)


def test_without_a_pose_a_jump_in_depth_ends_a_track() -> None:
    """The picture stays the same, as when a twin comes between."""
    before = view(BLOCKS).only(True, False)
    nearer = View(replace(before.frame, depth_m=before.frame.depth_m - np.float32(0.25), stamp_ns=1), before.masks)
    tracker = Tracker()
    tracker.update(before.frame, before.answer())
    assert tracker.propagate(nearer.frame).track_ids == ()


def test_without_a_pose_distance_tells_twins_apart_that_overlap_in_the_image() -> None:
    """The same pixels 20 cm farther off are another object: a small one close by, a large one behind it."""
    near = view([replace(BLUE, xy_m=(-0.3, 0.0))]).only(True, False)
    far = View(replace(near.frame, depth_m=near.frame.depth_m + np.float32(0.2), stamp_ns=1), near.masks)
    known, other = Sighting.of(near.frame, near.answer().instances[0]), Sighting.of(far.frame, far.answer().instances[0])
    assert matches([Track.of(1, known, 0)], [known], TrackingSettings()) == {0: 0}
    assert matches([Track.of(1, known, 0)], [other], TrackingSettings()) == {}


@every_sensor
def test_after_a_cut_to_another_scene_no_id_is_used_again(sensors) -> None:
    here = view(BLOCKS).only(*sensors)
    elsewhere = [Block("yellow", (0.1, 0.05, 0.08), (0.0, -0.05)), Block("yellow", (0.05, 0.05, 0.15), (0.05, 0.1))]
    there = view(elsewhere, orbit(120, elevation_deg=60), 1).only(*sensors)
    there = View(replace(there.frame, base_from_camera=here.frame.base_from_camera), there.masks)  # the pose knows nothing
    tracker = Tracker()
    tracker.update(here.frame, here.answer())
    assert tracker.propagate(there.frame).track_ids == () and tracker.due(there.frame, "things")
    assert tracker.update(there.frame, there.answer()).track_ids == ("4", "5")
